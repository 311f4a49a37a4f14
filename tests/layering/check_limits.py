#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks the limits of a function: its length, its parameters, and that it has no out-parameters.

    check_limits.py <repository>          one line for each breach; status 1 if there is any
    check_limits.py --list <repository>   breaches as lines for limits_exceptions.txt

It reads the libraries, the benchmarks and the examples. It leaves out the tests, because cudasim
and the fault tests have signatures of CUDA and libc, and a table of cases may be a long function.
A function named tidepool_* may have any parameters, because the C interface is fixed.

An out-parameter is a reference or pointer to a plain value whose first mention in the body
overwrites it, or hands it to a function that does: what the caller passed is not used. Plain values
are numbers, pointers, standard values and our structs without atomics, locks or threads. A function
that only adds to a parameter has no out-parameter.

check_layering.py has the limit of a file; selftest.py plants breaches of each limit here.
"""
import collections
import pathlib
import re
import sys

sys.dont_write_bytecode = True
import check_layering
import cxx_functions

MAX_LINES = 60
MAX_PARAMETERS = 4
FOLDERS = ("core/", "cpu/", "cuda/", "bench/", "examples/")
EXCEPTIONS = "tests/layering/limits_exceptions.txt"

# place is for the reader, key is what an exception names. Keys have no path, so that a function
# keeps its exception where its file is moved.
Breach = collections.namedtuple("Breach", "place key text")
# A parameter, its type without the last & or *, and the Function that has it.
Reference = collections.namedtuple("Reference", "path function type by name")

REFERENCE = re.compile(r"(?P<type>[^&*=]+?)(?P<pointer> ?\*)?(?P<kind>[&*])\s*(?P<name>\w+)")
VALUE = re.compile(r"(std::)?(u?int\d+_t|size_t|ptrdiff_t|uintptr_t|byte|(string|optional|vector|"
                   r"variant|array|pair)\b.*)|bool|char|int|unsigned|long|float|double|.*\*")
LIVING = re.compile(r"\b(atomic|mutex|unique_ptr|thread)\b")
MEMBERS = r"(?:\s*(?:\.|->)\s*\w+(?!\w|\s*\())*"
OVERWRITES = re.compile(MEMBERS + r"(?:\[[^\]]*\])?\s*=(?!=)|(?:\.|->)(?:clear|assign)\(")
ASSIGNS = re.compile(r"\s*=(?!=)")
HANDED_TO = re.compile(r"(\w+)\((?:[^()]|\([^()]*\))*$")


def last_name(name):
    return name.split("::")[-1].strip()


def references_of(path, function, values):
    """Parameters by which a function could answer with a plain value."""
    c_interface = last_name(function.name).startswith("tidepool_")
    if function.body is None or c_interface or re.search(r"\b(operator|swap)\b", function.name):
        return
    for parameter in function.parameters:
        found = REFERENCE.fullmatch(parameter.split("=")[0].strip())
        if found is None or re.search(r"\bconst\b", found["type"]):
            continue
        kind = found["type"].strip() + ("*" if found["pointer"] else "")
        if VALUE.fullmatch(kind) or last_name(kind) in values:
            yield Reference(path, function, last_name(kind), found["kind"], found["name"])


def is_overwritten(reference, known):
    """Whether the first mention of the parameter discards the value that the caller passed."""
    body = reference.function.body
    mention = re.search(rf"(?<![\w.])(?<!->){reference.name}\b", body)
    if mention is None:
        return False
    before, after = body[:mention.start()].rstrip(), body[mention.end():]
    if reference.by == "*" and ASSIGNS.match(after):
        return before.endswith("*")  # without it, the pointer itself is changed
    if OVERWRITES.match(after):
        return reference.by == "&" or not after.startswith("[")  # p[i] = fills the caller's array
    handed = re.match(r"[,)]", after) and HANDED_TO.search(before[-400:])
    return bool(handed) and (handed[1], reference.type) in known


def out_parameters(references):
    """Those that are, however many functions they are handed through."""
    known, found = set(), {}
    while True:
        for each in references:
            key = (each.path, each.function.line, each.name)
            if key not in found and is_overwritten(each, known):
                found[key] = each
        names = {(last_name(each.function.name), each.type) for each in found.values()}
        if names == known:
            return list(found.values())
        known = names


def plain_values(readers):
    """Names of structs that hold values alone: whose every struct of that name does."""
    structs = [each for reader in readers for each in reader.structs]
    living = {last_name(each.name) for each in structs if LIVING.search(each.body)}
    return {last_name(each.name) for each in structs} - living


def breaches_of(files):
    """All breaches in files, a map of path to text, exceptions not yet taken out."""
    readers = {}
    for path, text in sorted(files.items()):
        try:
            readers[path] = cxx_functions.Reader(text)
        except ValueError as error:
            yield Breach(path, "", f"cannot be read: {error}")
    values = plain_values(readers.values())
    references = []
    for path, reader in readers.items():
        for each in reader.functions:
            place = f"{path}:{each.line}"
            if each.lines > MAX_LINES:
                yield Breach(place, f"lines {each.name}", f"{each.lines} lines")
            is_c = last_name(each.name).startswith("tidepool_")
            if len(each.parameters) > MAX_PARAMETERS and not is_c:
                yield Breach(place, f"parameters {each.name}", f"{len(each.parameters)} parameters")
            references += references_of(path, each, values)
    for each in out_parameters(references):
        key = f"output {each.function.name}({each.name})"
        place = f"{each.path}:{each.function.line}"
        yield Breach(place, key, f"{each.name} is an out-parameter")


def read_exceptions(text):
    """(map of key to line number, errors). A line 'because ...' is the reason of those below it."""
    keys, wrong, has_reason = {}, [], False
    for number, line in enumerate(text.split("\n"), 1):
        line = line.strip()
        if line.startswith("because "):
            has_reason = True
        elif line and not line.startswith("#"):
            if not has_reason:
                wrong.append(f"{EXCEPTIONS}:{number}: an exception without a reason: {line}")
            if line in keys:
                wrong.append(f"{EXCEPTIONS}:{number}: named twice: {line}")
            keys[line] = number
    return keys, wrong


def sources(root):
    names = (f for f in check_layering.tracked_files(root) if f.startswith(FOLDERS))
    return {f: (root / f).read_text(encoding="utf-8") for f in names
            if pathlib.PurePosixPath(f).suffix in check_layering.CXX}


def check(root):
    listed = root / EXCEPTIONS
    exceptions, wrong = read_exceptions(listed.read_text() if listed.is_file() else "")
    yield from wrong
    used = set()
    for breach in breaches_of(sources(root)):
        used.add(breach.key)
        if breach.key not in exceptions:
            yield f"{breach.place}: {breach.text} [{breach.key}]"
    for key, number in exceptions.items():
        if key not in used:
            yield f"{EXCEPTIONS}:{number}: no longer needed, remove it: {key}"


if __name__ == "__main__":
    where = pathlib.Path(sys.argv[-1])
    if sys.argv[1] == "--list":
        print(*dict.fromkeys("  " + each.key for each in breaches_of(sources(where))), sep="\n")
        sys.exit(0)
    breaches = list(check(where))
    print(*breaches, sep="\n")
    sys.exit(1 if breaches else 0)
