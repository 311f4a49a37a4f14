#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that the C interface is whole.

    check_interface.py <repository> <library>...

What the headers declare, what the libraries define with C linkage, and what the tests of this
folder call are the same functions.
"""
import os
import pathlib
import re
import subprocess
import sys

HEADERS = ["core/include/tidepool.h", "core/include/tidepool/access.h",
           "cpu/include/tidepool/cpu.h",
           "cuda/include/tidepool/cuda.h"]


def without_comments(text):
    return re.sub(r"//[^\n]*", "", text)


def declared(root):
    for header in HEADERS:
        text = without_comments((root / header).read_text(encoding="utf-8"))
        yield from re.findall(r"TIDEPOOL_EXPORT\s[^;(]*?\b(tidepool_\w+)\s*\(", text)


def defined(libraries):
    command = [os.environ.get("NM", "nm"), "--defined-only", "--extern-only", "--format=posix"]
    for library in libraries:
        dynamic = ["--dynamic"] if ".so" in library else []
        answer = subprocess.run(command + dynamic + [library], capture_output=True, text=True,
                                check=True)
        yield from re.findall(r"^(tidepool_\w+) T ", answer.stdout, re.M)


def called():
    for path in pathlib.Path(__file__).parent.glob("*_test.cpp"):
        yield from re.findall(r"\b(tidepool_\w+)\s*\(", path.read_text(encoding="utf-8"))


def main():
    names = set(declared(pathlib.Path(sys.argv[1])))
    wrong = [f"{name} is declared, but no library defines it"
             for name in sorted(names - set(defined(sys.argv[2:])))]
    wrong += [f"{name} is defined, but no header declares it"
              for name in sorted(set(defined(sys.argv[2:])) - names)]
    wrong += [f"{name} is called by no test" for name in sorted(names - set(called()))]
    wrong += [] if len(names) > 50 else [f"only {len(names)} functions found"]
    print(*wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
