#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks what binaries define for others, as nm sees it.

    check_symbols.py --shared <library>...   only names of tidepool::v0 and tidepool_* leave it
    check_symbols.py --kernel <object>...    it defines one global name, its kernel table

The second is for objects of one instruction set: an inline function compiled with -mavx512 may be
the copy that the linker keeps.
"""
import os
import re
import subprocess
import sys

# A name in tidepool::v0; the virtual table, type information or thunk of one; a C function.
OWN = re.compile(r"_ZNK?8tidepool2v0|_ZT[ISVTWH]N8tidepool2v0|_ZT[hvc].*_NK?8tidepool2v0|tidepool_")


def defined(path, *options):
    nm = os.environ.get("NM", "nm")
    command = [nm, "--defined-only", "--extern-only", "--format=posix", *options, path]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    names = (line.split()[0] for line in answer.stdout.splitlines() if not line.endswith(":"))
    # What sanitizers add: a mark for each global variable; a pointer to the handler of exceptions,
    # the same in all objects.
    return [name for name in names if not name.startswith(("__odr_asan.", "DW.ref."))]


def strangers(names):
    return (name for name in names if not OWN.match(name))


def check(mode, path):
    if mode == "--shared":
        names = defined(path, "--dynamic")
        for name in strangers(names):
            yield f"{path}: exports {name}"
        if not names:
            yield f"{path}: exports nothing"
    elif len(names := defined(path)) != 1:
        yield f"{path}: defines {len(names)} global names, not one: {' '.join(names)}"


if __name__ == "__main__":
    breaches = [b for path in sys.argv[2:] for b in check(sys.argv[1], path)]
    print(*breaches, sep="\n")
    sys.exit(1 if breaches else 0)
