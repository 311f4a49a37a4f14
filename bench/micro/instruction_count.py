#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# Instructions per warm pair of allocate_raw and deallocate (64 KiB), counted by callgrind: on the
# pool's first device, or with --stream in the order of a stream of another one.
#
# Three figures, each the difference of two runs with different numbers of pairs, so that start-up,
# the first calls' symbol look-up and function frames cancel; nothing else is left out:
#   inside the library   all instructions from entry to return of allocate_plain and deallocate_id:
#                        what the limit is for
#   with the calls       that, and the two call instructions
#   with the loop        everything executed by measured_pairs of warm_pair.cpp: the loop, the
#                        inline part of pool::allocate_raw and, with shared libraries, the linkage
#                        table
# One pair in many that takes a sampled, longer way is in the mean. Instructions do not depend on
# the machine's load: one run is enough. Valgrind may refuse membarrier, which the library then does
# without (core/src/system/README.md): the count is then of that path.
#
# Exit codes: 0 ok, 1 above the limit, 2 failed to measure, 77 no valgrind.
import argparse
import re
import shutil
import subprocess
import sys

SKIP = 77


FREE = "tidepool::v0::detail::deallocate_id*"
PLAIN = {"library": ["tidepool::v0::detail::allocate_plain*", FREE], "loop": ["measured_pairs"],
         "words": []}
STREAM = {"library": ["tidepool::v0::detail::allocate_on(*", FREE],
          "loop": ["measured_stream_pairs"], "words": ["stream"]}
CALLS = 2


def collected(program, pairs, functions, words):
    """Instructions from entry to return of the functions."""
    command = ["valgrind", "--tool=callgrind", "--collect-atstart=no",
               "--callgrind-out-file=/dev/null",
               *[f"--toggle-collect={name}" for name in functions], program, str(pairs), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    if done.returncode != 0 or not found:
        sys.stderr.write(done.stderr)
        sys.exit(f"instruction_count: {program} failed under valgrind (exit {done.returncode})")
    return int(found.group(1))


def each(program, pairs, functions, words):
    """Instructions per pair."""
    few = collected(program, pairs, functions, words)
    many = collected(program, 3 * pairs, functions, words)
    return (many - few) / (2 * pairs)


def main():
    parser = argparse.ArgumentParser(description="Counts instructions per warm pair.")
    parser.add_argument("--warm-pair", required=True, help="path of the program warm_pair")
    parser.add_argument("--pairs", type=int, default=20000, help="pairs of the short run")
    parser.add_argument("--limit", type=float, default=60,
                        help="most instructions allowed per pair; 0: any")
    parser.add_argument("--stream", action="store_true",
                        help="in the order of a stream of a device that is not the pool's first")
    chosen = parser.parse_args()
    what = STREAM if chosen.stream else PLAIN
    if shutil.which("valgrind") is None:
        print("instruction_count: skipped, valgrind is not installed")
        return SKIP
    inside = each(chosen.warm_pair, chosen.pairs, what["library"], what["words"])
    loop = each(chosen.warm_pair, chosen.pairs, what["loop"], what["words"])
    print("instructions per warm pair of allocate_raw and deallocate, 64 KiB"
          + (", on a stream" if chosen.stream else ""))
    print(f"  inside the library {inside:.2f}\n  with the calls     {inside + CALLS:.2f}\n"
          f"  with the loop      {loop:.2f}")
    if inside <= 0 or loop < inside + CALLS:
        print("instruction_count: that cannot be; were functions renamed or inlined?")
        return 2
    if chosen.limit and inside > chosen.limit:
        print(f"instruction_count: inside the library more than the limit of {chosen.limit:g}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
