#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks what a program compiles that includes nothing but tidepool/pool.hpp.

    check_facade.py <repository>

Allocating a tensor needs the headers named below. Statistics, reports, debug findings, pre-warming,
observers, limits and accesses are for the programs that use them, through control.hpp and
access_tracker.hpp. Prints one line per header that comes along all the same, with the includes that
lead to it, and exits with 1 if there is any. facade_selftest.py shows that it can fail.
"""
import pathlib
import re
import sys

sys.dont_write_bytecode = True
from check_layering import INCLUDE

ROOT = "core/include"
FACADE = "tidepool/pool.hpp"
NEEDED = {f"tidepool/{name}.hpp" for name in [
    "attributes", "debug_options", "detail/allocate", "device", "error", "export", "ids", "info",
    "options", "pool", "result", "stream", "tensor", "transfer",
]}
# Not <functional>: it takes longer to compile than all headers of ours together.
NEEDED_STANDARD = {
    "compare", "cstddef", "cstdint", "memory", "new", "span", "stdexcept", "string", "string_view",
    "type_traits", "utility", "vector",
}


def check(root):
    ways = {FACADE: [FACADE]}  # header -> the includes that lead to it
    queue = [FACADE]
    for header in queue:
        path = root / ROOT / header
        if not path.is_file():
            yield f"{ROOT}/{header}: no such file"
            continue
        for _, name in INCLUDE.findall(path.read_text(encoding="utf-8")):
            if name in ways:
                continue
            ways[name] = ways[header] + [name]
            if name in NEEDED:
                queue.append(name)
            elif name not in NEEDED_STANDARD:
                yield f"{' -> '.join(ways[name])}: not needed to allocate a tensor"


if __name__ == "__main__":
    breaches = list(check(pathlib.Path(sys.argv[1])))
    print(*breaches, sep="\n")
    sys.exit(1 if breaches else 0)
