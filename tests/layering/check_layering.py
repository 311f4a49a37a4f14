#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks who may include whom, and the marks that every source file carries.

    check_layering.py <repository>

Reads the text of #include lines; it does not run a preprocessor. Prints one line per breach and
exits with 1 if there is any. selftest.py plants breaches to show that it can.
"""
import os
import pathlib
import re
import subprocess
import sys

TOP_LEVEL = {
    "CMakeLists.txt", "CMakePresets.json",
    "LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md",
    ".clang-format", ".clang-tidy", ".editorconfig", ".gitattributes", ".gitignore", ".ci",
    "core", "cpu", "cuda", "tests", "bench", "examples",
}
MAX_LINES = 400
MAX_COLUMNS = 100
CXX = {".hpp", ".h", ".cpp", ".cu", ".cuh", ".c"}

PUBLIC = "core/include cpu/include cuda/include"
# These have folders that are layers of their own.
PARTED = ("core/src", "cuda/src")


def folders(src, common, order):
    """Rules for the folders of src: what each may include beside itself and what all may."""
    for name, below in order.items():
        layers = [f"{src}/{other}" for other in (name + " " + below).split()]
        yield rf"{src}/{name}/", " ".join([common, *layers])


# The parts of pool_core, from the lowest up, and which headers of core/src/pool the files of each
# may include: calls between parts go one way. Other files there are steps of the root.
POOL_PARTS = {
    "process": "",
    "operation_count": "operation_entry",
    "operation_entry": "operation_count process",
    "event_log": "",
    "incidents": "event_log operation_count operation_entry",
    "lanes": "",
    "stream_uses": "",
    "directory": "lanes stream_uses",
    "block_stock": "operation_count lanes incidents directory",
    "cache_list": "operation_count",
    "thread_caches": "operation_count lanes block_stock cache_list",
    "cached_blocks": "thread_caches",
    "this_thread": "process thread_caches",
}
# First match wins: files -> layers and kinds of system headers that they may include.
RULES = [(re.compile(pattern), set(allowed.split())) for pattern, allowed in [
    # Read by kernels and by C++17: plain data, nothing inline from elsewhere.
    (r".*(/kernel_table|/launch|include/.*_record)\.hpp$", "fixed"),
    (r"core/include/", "std core/include"),
    *folders("core/src", "std os core/include", {
        "system": "",
        "record": "system",
        "cache": "record system",
        "access": "record system",
        "debug": "cache record system",
        "text": "system",
        "backend": "system",
        "pool": "system record cache access debug text backend",
        "api": "pool access system",
    }),
    (r"cpu/include/", "std core/include cpu/include"),
    # One inline function compiled with -mavx512 may be the copy that the linker keeps.
    (r"cpu/src/.*(avx2|avx512|neon)[^/]*\.cpp$", "fixed simd plain"),
    (r"cpu/src/", "std os core/include cpu/include cpu/src"),
    (r"cuda/include/.*/(interop|stream)\.hpp$", "std core/include cuda/include cuda"),
    (r"cuda/include/", "std core/include cuda/include"),
    (r"cuda/src/.*\.(cu|cuh)$", "std cuda cub plain"),
    *folders("cuda/src", "std os core/include cuda/include cuda", {
        "driver": "",
        "slabs": "driver",
        "heap": "driver slabs",
        "annotate": "slabs",
        "registration": "driver",
    }),
    (r"cuda/src/[^/]+$", "std os core/include cuda/include cuda/src cuda"),
    (r"tests/(core|property)/", f"std os third {PUBLIC} core/src tests/support"),
    (r"tests/fuzz/", f"std os third {PUBLIC} tests/support tests/property bench"),
    (r"tests/cpu/", f"std os third {PUBLIC} cpu/src tests/support"),
    (r"tests/cuda/", f"std os third {PUBLIC} cuda/src cuda tests/cudasim tests/conformance "
                     "tests/support"),
    (r"tests/gpu/", f"std os {PUBLIC} cuda/src cuda tests/cudasim tests/cuda"),
    (r"tests/cudasim/", "std os third cuda cub"),
    (r"tests/(bench|trace)/", f"std os third {PUBLIC} bench"),
    (r"tests/", f"std os third {PUBLIC} tests/support"),
    (r"bench/", f"std os third {PUBLIC} bench cuda cub"),
    (r"examples/", f"std {PUBLIC} cuda"),
]]
# First match wins here too.
SYSTEM = [(kind, re.compile(pattern)) for kind, pattern in [
    ("fixed std", r"cstdint|cstddef"),
    ("cub", r"(cub|thrust)/.*"),
    ("cuda", r"(cuda|nv|nvtx3|cooperative_groups)/.*|(cuda|cu|nv|driver_)\w*\.h"),
    ("simd", r"\w+intrin\.h|arm_\w+\.h"),
    ("third", r"(gtest|gmock|benchmark|CLI|nlohmann|valgrind)/.*|zstd\w*\.h"),
    ("std", r"[a-z_0-9]+|(std(def|int|bool|arg|io|lib|align)|string|float|limits|math|errno)\.h"),
    ("os", r"(sys|linux|asm|x86)/.*|\w+\.h"),
]]
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


def layer_of(path):
    """bench, tests/property, cuda/src/heap: as many folders as a rule can name."""
    parts = path.split("/")
    depth = 2 if parts[0] in ("core", "cpu", "cuda", "tests") else 1
    return "/".join(parts[:-1][:3 if source_root(path) in PARTED else depth])


def source_root(path):
    """The first two folders: where the includes of a component's sources begin."""
    return "/".join(path.split("/")[:2])


def rule_of(path):
    return next((allowed for pattern, allowed in RULES if pattern.match(path)), set())


def kinds_of(path, quote, name, files):
    """What an include is: the names under which a rule may allow it."""
    roots = PUBLIC.split()
    if quote == '"':
        tested = path.split("/")[1] + "/src" if path.startswith("tests/") else "core/src"
        roots = [os.path.dirname(path), source_root(path), tested, "core/src", "bench"] + roots
    for root in roots:
        target = os.path.normpath(os.path.join(root, name))
        if target in files:
            found = {layer_of(target)}
            if source_root(target) in PARTED:
                found.add(source_root(target))
            if rule_of(target) == {"fixed"}:
                found.add("plain")
            return found
    if quote == '"' or name.startswith("tidepool"):
        return {"no such file"}
    system = next((kind for kind, pattern in SYSTEM if pattern.fullmatch(name)), "unknown")
    return set(system.split())


def check_part(path, name):
    """What is wrong with a part of pool_core that includes this header, or None."""
    folder, _, part = path.rpartition("/")
    part = part.partition(".")[0]
    other = re.fullmatch(r"pool/(\w+)\.hpp", name)
    if folder != "core/src/pool" or part not in POOL_PARTS or not other:
        return None
    if other[1] in (part, *POOL_PARTS[part].split()):
        return None
    return f"the part {part} may not include {name}: parts call downwards only"


def check_file(root, path, files):
    text = (root / path).read_text(encoding="utf-8")
    lines = text.split("\n")
    head = [line.strip(' \t/#*"') for line in lines[text.startswith("#!"):][:4]]
    if head[0] != "SPDX-License-Identifier: Apache-2.0":
        yield f"{path}:1: the first line is not the SPDX line"
    if not any(" " in line and not line.startswith("include") for line in head[1:3]):
        yield f"{path}:2: no head comment that says what the file is for"
    if len(lines) - 1 > MAX_LINES:
        yield f"{path}: {len(lines) - 1} lines, more than {MAX_LINES}: split it"
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_COLUMNS:
            yield f"{path}:{number}: {len(line)} columns, more than {MAX_COLUMNS}"
    if pathlib.PurePosixPath(path).suffix not in CXX:
        return
    allowed = set(rule_of(path))
    if path.startswith(("tests/", "bench/", "examples/")):
        allowed.add(layer_of(path))
    for match in INCLUDE.finditer(text):
        number = text.count("\n", 0, match.start()) + 1
        found = kinds_of(path, match[1], match[2], files)
        if not found & allowed:
            yield f"{path}:{number}: may not include {match[2]} ({', '.join(sorted(found))})"
        elif upwards := check_part(path, match[2]):
            yield f"{path}:{number}: {upwards}"


def tracked_files(root):
    """Files that git knows or would add; without git, all but build trees."""
    command = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if (root / ".git").exists() and answer.returncode == 0:
        names = answer.stdout.split("\0")
    else:
        names = (p.relative_to(root).as_posix() for p in root.rglob("*"))
        names = (n for n in names if not re.search(r"(^|/)(build|\.git|__pycache__)/", n))
    return {n for n in names if n and (root / n).is_file()}


def check(root):
    files = tracked_files(root)
    for name in sorted({f.split("/")[0] for f in files} - TOP_LEVEL):
        yield f"{name}: not an entry of the repository's top level"
    for path in sorted(files):
        name = pathlib.PurePosixPath(path)
        scripted = name.suffix in {".py", ".sh", ".cmake"} or path.startswith(".ci/")
        if name.suffix in CXX or scripted or name.name == "CMakeLists.txt":
            yield from check_file(root, path, files)


if __name__ == "__main__":
    breaches = list(check(pathlib.Path(sys.argv[1])))
    print(*breaches, sep="\n")
    sys.exit(1 if breaches else 0)
