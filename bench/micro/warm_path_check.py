#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Disassembles the built core library and looks for what the warm path must not contain: an atomic
# read-modify-write (lock prefix, or xchg with memory, which locks by itself), a fence, or a system
# call, in the bodies of the functions named in WARM. Slow paths are functions of their own
# (noinline, or split off by the compiler as *.cold) and are not looked at: what keeps the warm path
# out of them is counted by instruction_count.py.
#
# Exit codes: 0 clean, 1 something found, 2 could not look, 77 not x86-64, no objdump, or a build
# whose functions are instrumented.
import argparse
import re
import shutil
import subprocess
import sys

SKIP = 77
# Names without arguments; each must be found.
WARM = ["tidepool::v0::detail::allocate_plain", "tidepool::v0::detail::allocate_on",
        "tidepool::v0::detail::deallocate_id"]

FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\t(.*)$")


def breach(instruction):
    """What is forbidden about one instruction, or None."""
    text = instruction.split("#")[0].strip()
    words = text.split()
    if not words:
        return None
    if words[0] == "lock":
        return "lock prefix"
    if words[0].startswith("xchg") and "(" in text:
        return "xchg with memory"
    if words[0] in ("mfence", "syscall", "rdtsc", "rdtscp", "cpuid"):
        return words[0]
    return None


def bare(name):
    """tidepool::v0::f(unsigned long) -> tidepool::v0::f; None for split parts: [clone .cold]."""
    if "[clone" in name or ".cold" in name:
        return None
    return name.split("(")[0]


def functions(disassembly):
    """Pairs of name and list of instructions."""
    name, body = None, []
    for line in disassembly.splitlines():
        head = FUNCTION.match(line)
        if head:
            if name is not None:
                yield name, body
            name, body = head.group(1), []
            continue
        instruction = INSTRUCTION.match(line)
        if instruction:
            body.append(instruction.group(1))
    if name is not None:
        yield name, body


def check(disassembly, wanted):
    """Prints what it finds; answers an exit code."""
    missing, found, instrumented = set(wanted), 0, False
    for name, body in functions(disassembly):
        if bare(name) not in wanted:
            continue
        missing.discard(bare(name))
        instrumented = instrumented or any("__tsan_" in i or "__asan_" in i for i in body)
        breaches = [(i, breach(i)) for i in body if breach(i)]
        print(f"{name}: {len(body)} instructions, {len(breaches)} breaches")
        for instruction, what in breaches:
            print(f"  {what}: {instruction.strip()}")
        found += len(breaches)
    if instrumented:
        print("warm_path_check: skipped, the library is instrumented by a sanitizer")
        return SKIP
    if missing:
        print("warm_path_check: not found: " + ", ".join(sorted(missing)))
        return 2
    return 1 if found else 0


def self_test():
    clean = "0000000000000010 <f(int)>:\n  10:\tmov    %rax,(%rdi)\n  13:\txchg   %ax,%ax\n"
    split = clean + "0000000000000020 <f(int) [clone .cold]>:\n  20:\tlock xadd %eax,(%rdi)\n"
    locked = clean + "  15:\tlock cmpxchg %edx,(%rdi)\n"
    swapped = clean + "  15:\txchg   %eax,0x8(%rdi)\n"
    fenced = clean + "  15:\tmfence\n"
    expected = [(clean, 0), (split, 0), (locked, 1), (swapped, 1), (fenced, 1), ("", 2)]
    for disassembly, code in expected:
        if check(disassembly, ["f"]) != code:
            print(f"warm_path_check: self-test failed on\n{disassembly}")
            return 1
    return 0


def main():
    parser = argparse.ArgumentParser(description="Looks for locked instructions on the warm path.")
    parser.add_argument("library", nargs="?", help="libtidepool_core.so or .a")
    parser.add_argument("--function", action="append", default=[], help="one more to check")
    parser.add_argument("--self-test", action="store_true", help="check this script")
    chosen = parser.parse_args()
    if chosen.self_test:
        return self_test()
    if not chosen.library:
        parser.error("a library is needed")
    if shutil.which("objdump") is None:
        print("warm_path_check: skipped, objdump is not installed")
        return SKIP
    command = ["objdump", "-d", "-C", "--no-show-raw-insn", chosen.library]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stderr)
        return 2
    if "x86-64" not in done.stdout:
        print("warm_path_check: skipped, not an x86-64 library")
        return SKIP
    return check(done.stdout, WARM + chosen.function)


if __name__ == "__main__":
    sys.exit(main())
