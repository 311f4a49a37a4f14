#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Shows that the checks of this folder can fail: each case plants a breach in a small good tree."""
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
import check_docs
import check_layering
import check_symbols

HEAD = "// SPDX-License-Identifier: Apache-2.0\n//\n// A file that is here to be checked.\n"
CMAKE = "# SPDX-License-Identifier: Apache-2.0\n#\n# A list that is here to be checked.\n"
GOOD_TREE = {
    "CMakeLists.txt": CMAKE,
    "core/include/tidepool/pool.hpp": HEAD + "#include <vector>\n#include <tidepool/record.hpp>\n",
    "core/include/tidepool/record.hpp": HEAD + "#include <cstdint>\n",
    "core/include/tidepool/access_record.hpp": HEAD + "#include <cstdint>\n",
    "core/src/pool.cpp": HEAD + '#include "table.hpp"\n#include <sys/mman.h>\n',
    "core/src/table.hpp": HEAD,
    "cpu/include/tidepool/cpu/backend.hpp": HEAD + "#include <tidepool/pool.hpp>\n",
    "cpu/src/arena.hpp": HEAD,
    "cpu/src/kernel_table.hpp": HEAD + "#include <cstddef>\n",
    "cpu/src/access_avx2.cpp": HEAD + '#include "kernel_table.hpp"\n#include <immintrin.h>\n',
    "cuda/include/tidepool/cuda/interop.hpp": HEAD + "#include <cuda_runtime_api.h>\n",
    "cuda/src/access.cu": HEAD + '#include "launch.hpp"\n#include <cub/cub.cuh>\n'
                                 "#include <tidepool/access_record.hpp>\n",
    "cuda/src/launch.hpp": HEAD + "#include <cstdint>\n",
    "cuda/src/backend.hpp": HEAD + '#include "heap/extent.hpp"\n',
    "cuda/src/driver/driver.hpp": HEAD + "#include <cuda.h>\n",
    "cuda/src/heap/extent.hpp": HEAD + '#include "driver/driver.hpp"\n#include "heap/tree.hpp"\n',
    "cuda/src/heap/tree.hpp": HEAD,
    "tests/cuda/extent_test.cpp": HEAD + '#include "heap/extent.hpp"\n',
    "tests/core/table_test.cpp": HEAD + '#include "table.hpp"\n#include <gtest/gtest.h>\n',
    "tests/cpu/arena_test.cpp": HEAD + '#include "arena.hpp"\n#include "helper.hpp"\n',
    "tests/cpu/helper.hpp": HEAD,
    "bench/trace/reader.hpp": HEAD,
    "bench/main.cpp": HEAD + '#include "trace/reader.hpp"\n#include <benchmark/benchmark.h>\n',
    "tests/trace/reader_test.cpp": HEAD + '#include "trace/reader.hpp"\n',
    "examples/quickstart/main.cpp": HEAD + "#include <cstdio>\n#include <tidepool/pool.hpp>\n",
}


def include(name):
    return HEAD + f"#include {name}\n"


LAYER_BREACHES = [
    ("core/include/tidepool/x.hpp", include("<cuda_runtime_api.h>"), "x.hpp:4: may not"),
    ("core/include/tidepool/x.hpp", include("<immintrin.h>"), "may not include immintrin.h"),
    ("core/include/tidepool/x.hpp", include("<unistd.h>"), "may not include unistd.h (os)"),
    ("core/include/tidepool/x.hpp", include("<boost/any.hpp>"), "(unknown)"),
    ("core/include/tidepool/x.hpp", include('"../../src/table.hpp"'), "(core/src)"),
    ("core/include/tidepool/x_record.hpp", include("<vector>"), "may not include vector"),
    ("core/src/x.cpp", include("<tidepool/cpu/backend.hpp>"), "(cpu/include)"),
    ("core/src/x.cpp", include("<cuda.h>"), "(cuda)"),
    ("core/src/x.cpp", include("<tidepool/gone.hpp>"), "(no such file)"),
    ("core/src/x.cpp", include('"gone.hpp"'), "(no such file)"),
    ("cpu/include/tidepool/cpu/x.hpp", include("<sys/mman.h>"), "(os)"),
    ("cpu/src/x.cpp", include('"../../core/src/table.hpp"'), "(core/src)"),
    ("cpu/src/x.cpp", include('"table.hpp"'), "(core/src)"),
    ("cpu/src/x.cpp", include("<tidepool/cuda/interop.hpp>"), "(cuda/include)"),
    ("cpu/src/x.cpp", include("<immintrin.h>"), "(simd)"),
    ("cpu/src/x_avx512.cpp", include("<algorithm>"), "may not include algorithm"),
    ("cpu/src/x_avx512.cpp", include('"arena.hpp"'), "(cpu/src)"),
    ("cpu/src/x/kernel_table.hpp", include("<atomic>"), "may not include atomic"),
    ("cuda/include/tidepool/cuda/x.hpp", include("<cuda_runtime_api.h>"), "(cuda)"),
    ("cuda/src/x.cpp", include("<thrust/sort.h>"), "(cub)"),
    ("cuda/src/x.cpp", include("<tidepool/cpu/backend.hpp>"), "(cpu/include)"),
    ("cuda/src/x.cu", include("<tidepool/pool.hpp>"), "(core/include)"),
    ("cuda/src/driver/x.cpp", include('"heap/extent.hpp"'), "(cuda/src, cuda/src/heap)"),
    ("cuda/src/driver/x.cpp", include('"../heap/extent.hpp"'), "(cuda/src, cuda/src/heap)"),
    ("cuda/src/heap/x.cpp", include('"backend.hpp"'), "(cuda/src)"),
    ("cuda/src/new/x.cpp", include('"driver/driver.hpp"'), "(cuda/src, cuda/src/driver)"),
    ("tests/cpu/x_test.cpp", include('"../../cuda/src/heap/extent.hpp"'), "(cuda/src,"),
    ("tests/cpu/x_test.cpp", include('"table.hpp"'), "(core/src)"),
    ("tests/conformance/x_test.cpp", include('"table.hpp"'), "(core/src)"),
    ("tests/cudasim/x.cpp", include("<tidepool/pool.hpp>"), "(core/include)"),
    ("tests/install/x.cpp", include('"../../cpu/src/arena.hpp"'), "(cpu/src)"),
    ("bench/x.cpp", include('"table.hpp"'), "(core/src)"),
    ("examples/x/main.cpp", include('"trace/reader.hpp"'), "(bench)"),
    ("examples/x/main.cpp", include("<gtest/gtest.h>"), "(third)"),
    ("docs/x.md", "text\n", "docs: not an entry"),
    ("core/src/x.cpp", "// No licence.\n//\n// A file to check.\n", "not the SPDX line"),
    ("core/src/x.cpp", "// SPDX-License-Identifier: Apache-2.0\n#include <a>\n", "no head comment"),
    ("tests/x/x.py", '#!/bin/x\n# None.\n"""A file to check."""\n', "not the SPDX line"),
    ("core/src/x.cpp", HEAD + "\n" * 400, "403 lines"),
    ("core/src/x.cpp", HEAD + "// " + "x" * 98 + "\n", "101 columns"),
]

DOCS = {
    "README.md": "# Title\n\n<!-- example: examples/a/main.cpp#use -->\n"
                 "```cpp\nint x = 1;\nuse(x);\n```\n",
    "examples/a/main.cpp": "int main() {\n  // [use]\n  int x = 1;\n  use(x);\n  // [/use]\n}\n",
}
DOC_BREACHES = [
    ("README.md", ("int x = 1;\nuse", "int x = 2;\nuse"), "README.md:4: differs from"),
    ("README.md", ("#use -->", "#gone -->"), "no region"),
    ("README.md", ("examples/a", "examples/b"), "no such file"),
    ("README.md", ("```cpp\n", "text\n"), "no code block"),
    ("README.md", ("#use -->", " -->"), "cannot be read"),
    ("examples/a/main.cpp", ("  // [/use]\n", ""), "no region"),
    ("examples/a/main.cpp", ("  use(x);\n", "  use(x);\n\n  more();\n"), "differs from"),
]

GOOD_SYMBOLS = [
    "_ZN8tidepool2v04pool5resetEv", "_ZNK8tidepool2v04pool4sizeEv", "_ZTIN8tidepool2v07backendE",
    "_ZTSN8tidepool2v07backendE", "_ZTVN8tidepool2v07backendE", "tidepool_pool_create",
    "_ZThn16_N8tidepool2v04poolD1Ev", "_ZN8tidepool2v0eqENS0_6deviceES1_",
]
BAD_SYMBOLS = [
    "_ZN8tidepool4pool5resetEv", "main", "_ZNSt6vectorIiSaIiEE9push_backEOi", "tidepoolx",
    "_ZNSt6vectorIN8tidepool2v05blockESaIS2_EE9push_backEOS2_", "_ZN5other8tidepool2v01fEv",
]


def plant(folder, tree):
    for name, text in tree.items():
        path = pathlib.Path(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


class Layering(unittest.TestCase):
    def breaches(self, check, *trees):
        with tempfile.TemporaryDirectory() as folder:
            for tree in trees:
                plant(folder, tree)
            return list(check(pathlib.Path(folder)))

    def test_good_tree_passes(self):
        self.assertEqual(self.breaches(check_layering.check, GOOD_TREE), [])

    def test_each_breach_is_found(self):
        for path, text, message in LAYER_BREACHES:
            with self.subTest(path=path, message=message):
                found = self.breaches(check_layering.check, GOOD_TREE, {path: text})
                self.assertEqual(len(found), 1, found)
                self.assertIn(message, found[0])
                self.assertIn(path.split("/")[0], found[0])


class Docs(Layering):
    def test_good_tree_passes(self):
        self.assertEqual(self.breaches(check_docs.check, DOCS), [])

    def test_each_breach_is_found(self):
        for path, (old, new), message in DOC_BREACHES:
            with self.subTest(path=path, message=message):
                self.assertIn(old, DOCS[path])
                changed = {path: DOCS[path].replace(old, new, 1)}
                found = self.breaches(check_docs.check, DOCS, changed)
                self.assertEqual(len(found), 1, found)
                self.assertIn(message, found[0])


class Symbols(unittest.TestCase):
    def test_own_symbols_pass(self):
        self.assertEqual(list(check_symbols.strangers(GOOD_SYMBOLS)), [])

    def test_each_other_symbol_is_found(self):
        self.assertEqual(list(check_symbols.strangers(BAD_SYMBOLS)), BAD_SYMBOLS)


if __name__ == "__main__":
    unittest.main()
