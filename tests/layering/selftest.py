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
import check_limits
import check_symbols

HEAD = "// SPDX-License-Identifier: Apache-2.0\n//\n// A file that is here to be checked.\n"
CMAKE = "# SPDX-License-Identifier: Apache-2.0\n#\n# A list that is here to be checked.\n"
GOOD_TREE = {
    "CMakeLists.txt": CMAKE,
    "core/include/tidepool/pool.hpp": HEAD + "#include <vector>\n#include <tidepool/record.hpp>\n",
    "core/include/tidepool/record.hpp": HEAD + "#include <cstdint>\n",
    "core/include/tidepool/access_record.hpp": HEAD + "#include <cstdint>\n",
    "core/src/pool/pool.cpp": HEAD + '#include "record/table.hpp"\n#include <sys/mman.h>\n',
    "core/src/pool/pool.hpp": HEAD,
    "core/src/pool/lanes.hpp": HEAD,
    "core/src/pool/directory.cpp": HEAD + '#include "pool/lanes.hpp"\n',
    "core/src/record/table.hpp": HEAD,
    "cpu/include/tidepool/cpu/backend.hpp": HEAD + "#include <tidepool/pool.hpp>\n",
    "cpu/src/arena.hpp": HEAD,
    "cpu/src/kernel_table.hpp": HEAD + "#include <cstddef>\n",
    "cpu/src/access_avx2.cpp": HEAD + '#include "kernel_table.hpp"\n#include <immintrin.h>\n',
    "cuda/include/tidepool/cuda/interop.hpp": HEAD + "#include <cuda_runtime_api.h>\n",
    "cuda/src/access.cu": HEAD + '#include "launch.hpp"\n#include <cub/cub.cuh>\n'
                                 "#include <tidepool/access_record.hpp>\n",
    "cuda/src/launch.hpp": HEAD + "#include <cstdint>\n",
    "tests/core/table_test.cpp": HEAD + '#include "record/table.hpp"\n#include <gtest/gtest.h>\n',
    "cuda/src/backend.hpp": HEAD + '#include "heap/extent.hpp"\n',
    "cuda/src/driver/driver.hpp": HEAD + "#include <cuda.h>\n",
    "cuda/src/heap/extent.hpp": HEAD + '#include "driver/driver.hpp"\n#include "heap/tree.hpp"\n',
    "cuda/src/heap/tree.hpp": HEAD,
    "tests/cuda/extent_test.cpp": HEAD + '#include "heap/extent.hpp"\n',
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
    ("core/include/tidepool/x.hpp", include('"../../src/record/table.hpp"'), "core/src/record"),
    ("core/include/tidepool/x_record.hpp", include("<vector>"), "may not include vector"),
    ("core/src/pool/x.cpp", include("<tidepool/cpu/backend.hpp>"), "(cpu/include)"),
    ("core/src/pool/x.cpp", include("<cuda.h>"), "(cuda)"),
    ("core/src/pool/x.cpp", include("<tidepool/gone.hpp>"), "(no such file)"),
    ("core/src/pool/x.cpp", include('"gone.hpp"'), "(no such file)"),
    ("core/src/record/x.cpp", include('"pool/pool.hpp"'), "may not include pool/pool.hpp"),
    ("core/src/x.cpp", include("<vector>"), "may not include vector"),
    ("core/src/pool/lanes.cpp", include('"pool/pool.hpp"'), "parts call downwards only"),
    ("core/src/pool/block_stock.hpp", include('"pool/thread_caches.hpp"'), "no such file"),
    ("cpu/include/tidepool/cpu/x.hpp", include("<sys/mman.h>"), "(os)"),
    ("cpu/src/x.cpp", include('"../../core/src/record/table.hpp"'), "core/src/record"),
    ("cpu/src/x.cpp", include('"record/table.hpp"'), "core/src/record"),
    ("cpu/src/x.cpp", include("<tidepool/cuda/interop.hpp>"), "(cuda/include)"),
    ("cpu/src/x.cpp", include("<immintrin.h>"), "(simd)"),
    ("cpu/src/x_avx512.cpp", include("<algorithm>"), "may not include algorithm"),
    ("cpu/src/x_avx512.cpp", include('"arena.hpp"'), "(cpu/src)"),
    ("cpu/src/x/kernel_table.hpp", include("<atomic>"), "may not include atomic"),
    ("cuda/include/tidepool/cuda/x.hpp", include("<cuda_runtime_api.h>"), "(cuda)"),
    ("cuda/src/x.cpp", include("<thrust/sort.h>"), "(cub)"),
    ("cuda/src/x.cpp", include("<tidepool/cpu/backend.hpp>"), "(cpu/include)"),
    ("cuda/src/x.cu", include("<tidepool/pool.hpp>"), "(core/include)"),
    ("tests/cpu/x_test.cpp", include('"record/table.hpp"'), "core/src/record"),
    ("tests/conformance/x_test.cpp", include('"record/table.hpp"'), "core/src/record"),
    ("cuda/src/driver/x.cpp", include('"heap/extent.hpp"'), "(cuda/src, cuda/src/heap)"),
    ("cuda/src/driver/x.cpp", include('"../heap/extent.hpp"'), "(cuda/src, cuda/src/heap)"),
    ("cuda/src/heap/x.cpp", include('"backend.hpp"'), "(cuda/src)"),
    ("cuda/src/new/x.cpp", include('"driver/driver.hpp"'), "(cuda/src, cuda/src/driver)"),
    ("tests/cpu/x_test.cpp", include('"../../cuda/src/heap/extent.hpp"'), "(cuda/src,"),
    ("tests/cudasim/x.cpp", include("<tidepool/pool.hpp>"), "(core/include)"),
    ("tests/install/x.cpp", include('"../../cpu/src/arena.hpp"'), "(cpu/src)"),
    ("bench/x.cpp", include('"record/table.hpp"'), "core/src/record"),
    ("examples/x/main.cpp", include('"trace/reader.hpp"'), "(bench)"),
    ("examples/x/main.cpp", include("<gtest/gtest.h>"), "(third)"),
    ("docs/x.md", "text\n", "docs: not an entry"),
    ("core/src/pool/x.cpp", "// No licence.\n//\n// A file to check.\n", "not the SPDX line"),
    ("cpu/src/x.cpp", "// SPDX-License-Identifier: Apache-2.0\n#include <a>\n", "no head comment"),
    ("tests/x/x.py", '#!/bin/x\n# None.\n"""A file to check."""\n', "not the SPDX line"),
    ("core/src/pool/x.cpp", HEAD + "\n" * 400, "403 lines"),
    ("core/src/pool/x.cpp", HEAD + "// " + "x" * 98 + "\n", "101 columns"),
]

DOCS = {
    "README.md": "# Title\n\n<!-- example: examples/a/main.cpp#use -->\n"
                 "```cpp\nint x = 1;\nuse(x);\n```\n" + "x" * 100 + "\n```\ncode\n```\n"
                 "| " + "x" * 200 + " |\n[text](" + "x" * 100 + ")\n- [text]: " + "x" * 100 + "\n",
    "CONTRIBUTING.md": "All labels are `unit sim\ncuda bench-smoke`.\n",
    "tests/CMakeLists.txt": "tidepool_add_test(\n  a LABEL unit)\nset(b LABELS \"sim;cuda\")\n"
                            "set(c LABELS bench-smoke)\nset(d LABELS ${label})\n",
    "examples/a/main.cpp": "int main() {\n  // [use]\n  int x = 1;\n  use(x);\n  // [/use]\n}\n",
}
DOC_BREACHES = [
    ("README.md", ("int x = 1;\nuse", "int x = 2;\nuse"), "README.md:4: differs from"),
    ("README.md", ("#use -->", "#gone -->"), "no region"),
    ("README.md", ("examples/a", "examples/b"), "no such file"),
    ("README.md", ("```cpp\n", "text\n"), "no code block"),
    ("README.md", ("#use -->", " -->"), "cannot be read"),
    ("README.md", ("x" * 100, "x" * 101), "README.md:8: 101 columns"),
    ("README.md", ("code", "c" * 101), "README.md:10: 101 columns"),
    ("README.md", ("[text](", "See [text]("), "README.md:13:"),
    ("CONTRIBUTING.md", ("cuda ", ""), "does not name the label cuda"),
    ("CONTRIBUTING.md", ("cuda ", "cuda gone "), "names the label gone"),
    ("tests/CMakeLists.txt", ("sim;cuda", "sim;cuda;fuzz"), "does not name the label fuzz"),
    ("examples/a/main.cpp", ("  // [/use]\n", ""), "no region"),
    ("examples/a/main.cpp", ("  use(x);\n", "  use(x);\n\n  more();\n"), "differs from"),
]

LONGEST = "int f(int a) {\n" + "  g();\n" * 58 + "}\n"
FIVE = "int a, int b, int c, int d, int e"
# What must not be taken for a function, for one parameter more, or for an out-parameter.
GOOD_CODE = [
    LONGEST,
    LONGEST + "\n\n" + LONGEST.replace("f(", "h("),
    "int f(int a, int b, std::map<int, int> c = {1, 2}, void (*d)(int, int) = nullptr);\n",
    "struct s {\n  s(int a, int b, int c) : a_{f(a, b, c, 1, 2)}, b_(b) {}\n  int a_{0};\n};\n",
    "using f = int(" + FIVE + ");\n",
    "const auto f = [](" + FIVE + ") { return a; };\n",
    "int made = f(1, 2, 3, 4, 5);\n",
    "// int f(" + FIVE + ");\n/* int f(" + FIVE + "); */\nint a = 1'000; int b = 2'000;\n",
    'const char* text = R"(int f(' + FIVE + '); {)";\nconst char c = \'{\';\n',
    "int tidepool_f(" + FIVE + ");\n",
    "void f(int& sum, int more) {\n  sum += more;\n}\n",
    "void f(std::string& text) {\n  text.append(1, 'x');\n}\n",
    "void f(int& a) {\n  const int b = a;\n  a = b * 2;\n}\n",
    "void f(int* all, int n) {\n  all[n] = 1;\n}\n",
    "void f(int* p) {\n  p = nullptr;\n}\n",
    "void f(const int& a, int b) {\n  b = a;\n}\n",
    "struct lane {\n  std::atomic<int> n;\n  int of;\n};\nvoid f(lane& a) {\n  a.of = 1;\n}\n",
    "void swap(int& a, int& b) {\n  a = b;\n}\n",
]
BAD_CODE = [
    (LONGEST.replace("}\n", "\n}\n"), ":1: 61 lines [lines f]"),
    ("struct s {\n  int b;\n  " + LONGEST.replace("}\n", "\n}\n") + "};\n",
     ":3: 61 lines [lines s::f]"),
    ("template <class T>\n[[nodiscard]] int f(int a,\n" + LONGEST[6:].replace("g();", "", 1),
     ":2: 61 lines [lines f]"),
    ("int f(" + FIVE + ");\n", ":1: 5 parameters [parameters f]"),
    ("struct s {\n  explicit s(" + FIVE + ") noexcept : a_{a}, b_{b} {}\n  int a_, b_;\n};\n",
     ":2: 5 parameters [parameters s::s]"),
    ("namespace a {\nclass b::c final : public d<int> {\n  int operator()(" + FIVE + ");\n};\n}\n",
     ":3: 5 parameters [parameters b::c::operator()]"),
    ("template <class T>\nrequires(sizeof(T) > 4)\nauto s<T>::f(" + FIVE + ") -> int {\n}\n",
     ":2: 5 parameters [parameters s<T>::f]"),
    ('extern "C" {\n__global__ void __launch_bounds__(32) f(' + FIVE + ") {}\n}\n",
     ":2: 5 parameters [parameters f]"),
    ("bool f(int& a) {\n  a = 1;\n  return a == 1;\n}\n",
     ":1: a is an out-parameter [output f(a)]"),
    ("bool f(int* a = nullptr) {\n  *a = 1;\n}\n", "[output f(a)]"),
    ("void f(std::vector<int>& all) {\n  all.clear();\n}\n", "[output f(all)]"),
    ("void f(char*& text) {\n  text = nullptr;\n}\n", "[output f(text)]"),
    ("struct made {\n  int a;\n};\nint f(b::made& to) {\n  to.a = 1;\n}\n", ":4: to is an"),
    ("void f() {\n  if (true) {\n}\n", "cannot be read: line 1: no closing }"),
]
EXCEPTED = "int f(" + FIVE + ");\n"
# Text of the list of exceptions, and what is wrong with it.
EXCEPTIONS = [
    ("", "5 parameters"),
    ("because it has to\n  parameters g\n  parameters f\n", "exceptions.txt:2: no longer needed"),
    ("because it has to\n  lines f\n  parameters f\n", "no longer needed, remove it: lines f"),
    ("parameters f\n", "limits_exceptions.txt:1: an exception without a reason"),
    ("because it has to\nparameters f\nparameters f\n", ":3: named twice"),
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


class Limits(Layering):
    def found_in(self, code, exceptions=""):
        tree = {"core/src/x.cpp": code, check_limits.EXCEPTIONS: exceptions}
        return self.breaches(check_limits.check, tree)

    def test_good_tree_passes(self):
        for code in GOOD_CODE:
            with self.subTest(code=code):
                self.assertEqual(self.found_in(code), [])

    def test_each_breach_is_found(self):
        for code, message in BAD_CODE:
            with self.subTest(code=code):
                found = self.found_in(code)
                self.assertEqual(len(found), 1, found)
                self.assertIn(message, found[0])

    def test_an_out_parameter_is_found_through_calls(self):
        code = "void f(int& a) {\n  g(1, a);\n}\nvoid g(int b, int& a) {\n  a = b;\n}\n"
        self.assertEqual(len(self.found_in(code)), 2)

    def test_an_exception_covers_declaration_and_definition(self):
        code = "class c {\n  int f(" + FIVE + ");\n};\nint c::f(" + FIVE + ") {}\n"
        self.assertEqual(len(self.found_in(code)), 2)
        self.assertEqual(self.found_in(code, "because it has to\n  parameters c::f\n"), [])

    def test_each_wrong_exception_is_found(self):
        for exceptions, message in EXCEPTIONS:
            with self.subTest(exceptions=exceptions):
                found = self.found_in(EXCEPTED, exceptions)
                self.assertEqual(len(found), 1, found)
                self.assertIn(message, found[0])


class Symbols(unittest.TestCase):
    def test_own_symbols_pass(self):
        self.assertEqual(list(check_symbols.strangers(GOOD_SYMBOLS)), [])

    def test_each_other_symbol_is_found(self):
        self.assertEqual(list(check_symbols.strangers(BAD_SYMBOLS)), BAD_SYMBOLS)


if __name__ == "__main__":
    unittest.main()
