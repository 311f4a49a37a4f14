#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Shows that check_facade.py can fail: each case plants a breach in a small good tree."""
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
import check_facade

FOLDER = "core/include/tidepool/"
GOOD_TREE = {
    "pool.hpp": "#include <tidepool/options.hpp>\n#include <vector>\n",
    "options.hpp": "#include <tidepool/debug_options.hpp>\n#include <tidepool/ids.hpp>\n",
    "debug_options.hpp": "#include <cstdint>\n",
    "ids.hpp": "#include <string_view>\n",
    "debug.hpp": "#include <tidepool/debug_options.hpp>\n#include <functional>\n",
    "control.hpp": "#include <tidepool/debug.hpp>\n#include <tidepool/pool.hpp>\n",
}
BREACHES = [
    ("pool.hpp", "#include <tidepool/control.hpp>\n", "pool.hpp -> tidepool/control.hpp: not"),
    ("pool.hpp", "#include <array>\n", "pool.hpp -> array: not needed"),
    ("pool.hpp", '#include "tidepool/debug.hpp"\n', "pool.hpp -> tidepool/debug.hpp: not"),
    ("options.hpp", "#include <tidepool/debug.hpp>\n", "options.hpp -> tidepool/debug.hpp: not"),
    ("ids.hpp", "#include <functional>\n", "ids.hpp -> functional: not needed"),
    ("pool.hpp", "#include <tidepool/result.hpp>\n", "result.hpp: no such file"),
]


class Facade(unittest.TestCase):
    def breaches(self, tree):
        with tempfile.TemporaryDirectory() as folder:
            for name, text in tree.items():
                path = pathlib.Path(folder, FOLDER, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            return list(check_facade.check(pathlib.Path(folder)))

    def test_good_tree_passes(self):
        self.assertEqual(self.breaches(GOOD_TREE), [])

    def test_each_breach_is_found(self):
        for name, line, message in BREACHES:
            with self.subTest(name=name, line=line):
                found = self.breaches({**GOOD_TREE, name: GOOD_TREE[name] + line})
                self.assertEqual(len(found), 1, found)
                self.assertIn(message, found[0])

    def test_a_missing_facade_is_found(self):
        self.assertEqual(len(self.breaches({})), 1)


if __name__ == "__main__":
    unittest.main()
