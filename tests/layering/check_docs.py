#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that code blocks in README files equal the marked regions of the programs they quote.

    check_docs.py <repository>

    <!-- example: examples/quickstart/main.cpp#region -->
    ```cpp
    the lines between "// [region]" and "// [/region]" of that file, indented less
    ```
"""
import pathlib
import re
import sys
import textwrap

sys.dont_write_bytecode = True
from check_layering import tracked_files

MARKER = re.compile(r"^<!-- example: ([^#\s]+)#(\S+) -->$")


def region(text, name):
    mark = re.escape(name)
    found = re.search(rf"^[ \t]*// \[{mark}\]\n(.*?)^[ \t]*// \[/{mark}\]$", text, re.M | re.S)
    return textwrap.dedent(found[1]).rstrip() if found else None


def check_block(root, lines, marker):
    """What is wrong with the block after lines[marker], or None."""
    source, name = MARKER.match(lines[marker]).groups()
    if not (root / source).is_file():
        return f"no such file: {source}"
    expected = region((root / source).read_text(encoding="utf-8"), name)
    if expected is None:
        return f"no region [{name}] in {source}"
    start = marker + 1
    if start == len(lines) or not lines[start].startswith("```"):
        return "no code block below the marker"
    end = next((i for i in range(start + 1, len(lines)) if lines[i] == "```"), len(lines))
    if "\n".join(lines[start + 1:end]).rstrip() != expected:
        return f"differs from {source}#{name}, which is:\n{textwrap.indent(expected, '    ')}"
    return None


def check(root):
    for path in sorted(f for f in tracked_files(root) if f.endswith(".md")):
        lines = (root / path).read_text(encoding="utf-8").split("\n")
        for number, line in enumerate(lines):
            if MARKER.match(line):
                wrong = check_block(root, lines, number)
                if wrong:
                    yield f"{path}:{number + 2}: {wrong}"
            elif line.lstrip().startswith("<!-- example"):
                yield f"{path}:{number + 1}: an example marker that cannot be read"


if __name__ == "__main__":
    breaches = list(check(pathlib.Path(sys.argv[1])))
    print(*breaches, sep="\n")
    sys.exit(1 if breaches else 0)
