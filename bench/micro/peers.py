#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# peers.py: an allocate+free pair of tidepool beside glibc, tcmalloc, jemalloc and the naive pool.
#
# Method: every figure comes from a fresh process of pair_bench. In each round, for each size, all
# contestants run back to back in random order, so that what else the machine does hits all of them.
# Two ratios to the better of tcmalloc and jemalloc are printed: the median over rounds of (ours /
# better peer of that round), and the ratio of the least chunk times of all rounds. A target counts
# as met only if both ratios hold it. Ours has 64-byte alignment, the peers their own (16), which
# favours them; --alignment 64 asks them for the same.
#
# Exit codes: 0 measured (targets may be missed), 1 a target is missed and --check was given,
# 2 could not measure.
import argparse
import datetime
import json
import os
import platform
import random
import statistics
import subprocess
import sys

FORMAT_VERSION = 1
KIB, MIB = 1 << 10, 1 << 20
SIZES = [256, 4 * KIB, 64 * KIB, MIB, 16 * MIB, 64 * MIB, 512 * MIB]
PEERS = {"tcmalloc": "libtcmalloc_minimal.so.4", "jemalloc": "libjemalloc.so.2"}
LIBRARY_FOLDERS = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64",
                   "/usr/lib", "/usr/local/lib"]
NAIVE_TARGET = 0.05


def target(size):
    """The most that ours / better of tcmalloc and jemalloc may be; None: no target."""
    if size <= 64 * KIB:
        return 1.0
    return {MIB: 0.40, 16 * MIB: 0.25, 64 * MIB: 0.25}.get(size)


def size_text(size):
    for unit, name in ((MIB, "MiB"), (KIB, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} B"


def parse_size(text):
    units = {"KiB": KIB, "MiB": MIB, "B": 1}
    for name, unit in units.items():
        if text.endswith(name):
            return int(text[: -len(name)]) * unit
    return int(text)


def find_library(name):
    for folder in LIBRARY_FOLDERS:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            return path
    return None


def contestants():
    """Name -> (allocator of pair_bench, library to preload)."""
    chosen = {"tidepool": ("tidepool", None), "naive": ("naive", None), "glibc": ("malloc", None)}
    for name, library in PEERS.items():
        path = find_library(library)
        if path:
            chosen[name] = ("malloc", path)
        else:
            print(f"peers.py: {library} not found, {name} is left out", file=sys.stderr)
    return chosen


def run_one(options, size, allocator, preload):
    environment = dict(os.environ)
    environment.pop("LD_PRELOAD", None)
    if preload:
        environment["LD_PRELOAD"] = preload
    command = [options.pair_bench, "--allocator", allocator, "--size", str(size), "--pattern",
               options.pattern, "--touch", options.touch, "--threads", str(options.threads),
               "--chunks", str(options.chunks), "--chunk-ms", str(options.chunk_ms), "--json"]
    if options.alignment and allocator != "tidepool":
        command += ["--alignment", str(options.alignment)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        sys.stderr.write(done.stderr)
        print(f"peers.py: {' '.join(command)} failed with {done.returncode}", file=sys.stderr)
        sys.exit(2)
    answer = json.loads(done.stdout)
    return {"median_ns": answer["median_ns"], "min_ns": answer["min_ns"]}


def measure(options, sizes, chosen, order):
    """[size][contestant] -> a list with the figures of each round."""
    figures = {size: {name: [] for name in chosen} for size in sizes}
    for number in range(options.rounds):
        for size in sizes:
            names = list(chosen)
            order.shuffle(names)
            for name in names:
                figures[size][name].append(run_one(options, size, *chosen[name]))
        if sys.stderr.isatty():
            print(f"\rround {number + 1} of {options.rounds}", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print("\r" + " " * 30 + "\r", end="", file=sys.stderr)
    return figures


def ratios(rounds, against):
    """Median of paired rounds, and ratio of the minima; None without anyone to compare with."""
    against = [name for name in against if name in rounds]
    if not against:
        return None, None
    paired = [ours["median_ns"] / min(rounds[name][i]["median_ns"] for name in against)
              for i, ours in enumerate(rounds["tidepool"])]
    least = {name: min(each["min_ns"] for each in rounds[name]) for name in rounds}
    return statistics.median(paired), least["tidepool"] / min(least[name] for name in against)


def verdict(limit, *found):
    if limit is None or None in found:
        return None
    return all(each <= limit for each in found)


def summarize(figures, sizes):
    rows = []
    for size in sizes:
        rounds = figures[size]
        paired, least = ratios(rounds, list(PEERS))
        naive_paired, naive_least = ratios(rounds, ["naive"])
        rows.append({
            "size": size,
            "median_ns": {name: statistics.median(each["median_ns"] for each in rounds[name])
                          for name in rounds},
            "min_ns": {name: min(each["min_ns"] for each in rounds[name]) for name in rounds},
            "ratio_paired_median": paired,
            "ratio_of_minima": least,
            "target": target(size),
            "met": verdict(target(size), paired, least),
            "naive_ratio_paired_median": naive_paired,
            "naive_ratio_of_minima": naive_least,
            "naive_target": NAIVE_TARGET,
            "naive_met": verdict(NAIVE_TARGET, naive_paired, naive_least),
        })
    return rows


def ratio_text(value):
    return "-" if value is None else f"{value:.3f}"


def met_text(value):
    return {None: "-", True: "yes", False: "NO"}[value]


def print_table(rows, names):
    print("ns per allocate+free pair: median of rounds (least chunk)")
    print(f"{'size':>9}" + "".join(f"{name:>18}" for name in names))
    for row in rows:
        cells = "".join(f"{row['median_ns'][n]:>9.1f} ({row['min_ns'][n]:>5.1f}) " for n in names)
        print(f"{size_text(row['size']):>9}{cells}")
    print("\nours / better of tcmalloc and jemalloc        ours / naive pool")
    print(f"{'size':>9}{'paired':>9}{'minima':>9}{'target':>8}{'met':>5}"
          f"{'paired':>15}{'minima':>9}{'target':>8}{'met':>5}")
    for row in rows:
        limit = "-" if row["target"] is None else f"{row['target']:.2f}"
        print(f"{size_text(row['size']):>9}{ratio_text(row['ratio_paired_median']):>9}"
              f"{ratio_text(row['ratio_of_minima']):>9}{limit:>8}{met_text(row['met']):>5}"
              f"{ratio_text(row['naive_ratio_paired_median']):>15}"
              f"{ratio_text(row['naive_ratio_of_minima']):>9}{row['naive_target']:>8.2f}"
              f"{met_text(row['naive_met']):>5}")


def machine():
    model = ""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next((line.split(":", 1)[1].strip() for line in file
                          if line.startswith("model name")), "")
    except OSError:
        pass
    return {"cpu": model, "cores": len(os.sched_getaffinity(0)), "kernel": platform.release(),
            "load": os.getloadavg()[0]}


def parse_command_line():
    parser = argparse.ArgumentParser(description="Compares allocate+free pairs of allocators.")
    parser.add_argument("--pair-bench", required=True, help="path of the program pair_bench")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--chunks", type=int, default=7)
    parser.add_argument("--chunk-ms", type=int, default=20)
    parser.add_argument("--sizes", type=parse_size, nargs="+", default=SIZES,
                        help="for instance 256 64KiB 16MiB")
    parser.add_argument("--pattern", choices=["lifo", "random64", "random1024"], default="lifo")
    parser.add_argument("--touch", choices=["none", "line"], default="none")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--alignment", type=int, default=0,
                        help="asked of the others; 0: their own")
    parser.add_argument("--seed", type=int, default=1, help="of the order of runs")
    parser.add_argument("--json", help="writes all figures to this file")
    parser.add_argument("--check", action="store_true", help="exit code 1 if a target is missed")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("at least one round")
    return options


def main():
    options = parse_command_line()
    chosen = contestants()
    before = machine()
    figures = measure(options, options.sizes, chosen, random.Random(options.seed))
    rows = summarize(figures, options.sizes)
    print_table(rows, list(chosen))
    if options.json:
        settings = {key: value for key, value in vars(options).items() if key != "json"}
        document = {"format_version": FORMAT_VERSION,
                    "date": datetime.datetime.now(datetime.timezone.utc).isoformat(),
                    "machine": before, "settings": settings, "rows": rows,
                    "rounds": {str(size): figures[size] for size in options.sizes}}
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.write("\n")
    missed = [row for row in rows if row["met"] is False or row["naive_met"] is False]
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
