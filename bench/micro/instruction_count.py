#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Instructions per warm pair of allocate_raw and deallocate (64 KiB), counted by callgrind.
#
# What is counted: every instruction executed between entry to and return from measured_pairs of
# warm_pair.cpp: the loop, the inline part of pool::allocate_raw, the calls (through the linkage
# table with shared libraries) and everything inside the library. warm_pair runs with two numbers of
# pairs and the difference is divided by the difference of the numbers, so start-up, the first
# calls' symbol look-up and the function's own frame cancel; nothing else is left out. One pair in
# many that takes a sampled, longer way is in the mean. Instructions do not depend on the machine's
# load: one run is enough. Valgrind may refuse membarrier, which the library then does without
# (core/README.md): the count is then of that path.
#
# Exit codes: 0 ok, 1 above the limit, 2 failed to measure, 77 no valgrind.
import argparse
import re
import shutil
import subprocess
import sys
import tempfile

SKIP = 77


def collected(program, pairs, folder):
    """Instructions inside measured_pairs."""
    command = ["valgrind", "--tool=callgrind", "--collect-atstart=no",
               "--toggle-collect=measured_pairs", f"--callgrind-out-file={folder}/out",
               program, str(pairs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    if done.returncode != 0 or not found:
        sys.stderr.write(done.stderr)
        sys.exit(f"instruction_count: {program} failed under valgrind (exit {done.returncode})")
    return int(found.group(1))


def main():
    parser = argparse.ArgumentParser(description="Counts instructions per warm pair.")
    parser.add_argument("--warm-pair", required=True, help="path of the program warm_pair")
    parser.add_argument("--pairs", type=int, default=20000, help="pairs of the short run")
    parser.add_argument("--limit", type=float, default=60,
                        help="most instructions allowed per pair; 0: any")
    chosen = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("instruction_count: skipped, valgrind is not installed")
        return SKIP
    with tempfile.TemporaryDirectory() as folder:
        few = collected(chosen.warm_pair, chosen.pairs, folder)
        many = collected(chosen.warm_pair, 3 * chosen.pairs, folder)
    each = (many - few) / (2 * chosen.pairs)
    print(f"{each:.2f} instructions per warm pair (allocate_raw + deallocate, 64 KiB, with loop)")
    if few == 0:
        print("instruction_count: nothing was counted; was measured_pairs inlined?")
        return 2
    if chosen.limit and each > chosen.limit:
        print(f"instruction_count: more than the limit of {chosen.limit:g}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
