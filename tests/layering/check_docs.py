#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the documentation, all Markdown files of the repository.

    check_docs.py <repository>

Code blocks equal the marked regions of the programs that they quote:

    <!-- example: examples/quickstart/main.cpp#region -->
    ```cpp
    the lines between "// [region]" and "// [/region]" of that file, indented less
    ```

No line is wider than a line of code may be. Rows of a table and lines that hold only a link, which
cannot be broken, are exempt. CONTRIBUTING.md names the labels that the tests have, no more and no
less.
"""
import pathlib
import re
import sys
import textwrap

sys.dont_write_bytecode = True
from check_layering import MAX_COLUMNS, tracked_files

MARKER = re.compile(r"^<!-- example: ([^#\s]+)#(\S+) -->$")
LINK = r"<?https?://\S+|\[[^\]]*\](\(\S+\)|: \S+)"
UNBREAKABLE = re.compile(rf"\||<!-- example|\s*([-*+] )?({LINK})$")
# Labels in the CMake lists, "a" or "a;b"; and in CONTRIBUTING.md: The labels are `a b`.
LABELS = re.compile(r'\bLABELS? "?([a-z][a-z;-]*)')
NAMED_LABELS = re.compile(r"labels are\s+`([^`]+)`")


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


def check_width(path, lines):
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS and not UNBREAKABLE.match(line):
            yield f"{path}:{number}: {len(line)} columns, more than {MAX_COLUMNS}"


def check_labels(root, files):
    """Compares the labels that CONTRIBUTING.md names with those that the CMake lists give."""
    named = NAMED_LABELS.search((root / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    named = set(named[1].split()) if named else set()
    lists = ((root / f).read_text(encoding="utf-8") for f in files if f.endswith("CMakeLists.txt"))
    given = {label for text in lists for each in LABELS.findall(text) for label in each.split(";")}
    for label in sorted(given - named):
        yield f"CONTRIBUTING.md: does not name the label {label}"
    for label in sorted(named - given):
        yield f"CONTRIBUTING.md: names the label {label}, which no test has"


def check(root):
    files = tracked_files(root)
    if "CONTRIBUTING.md" in files:
        yield from check_labels(root, files)
    for path in sorted(f for f in files if f.endswith(".md")):
        lines = (root / path).read_text(encoding="utf-8").split("\n")
        yield from check_width(path, lines)
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
