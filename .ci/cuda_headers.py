#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles the CUDA backend against the headers of several CUDA toolkits, warnings as errors.

    cuda_headers.py <build folder> <headers>...

Takes the commands of tidepool_cuda and of its public headers from the build folder's
compile_commands.json, so sources and warnings are those of the build, and puts the headers of
<headers>/include in place of the toolkit's. Most are checked for syntax only. The last CUDA 12 is
compiled, because a library that was built with it has to load on the first: its symbols are
compared with those of <headers>/lib/libcudart.so.12 of the first folder that has one. Prints what
the compiler says; exits with 1 if it says anything.
"""
import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

RUNTIME = "libcudart.so.12"
WITH_VALUE = {"-include", "-o", "-c"}


def units(build):
    """Compilations of the backend and of its public headers: folder and arguments without a
    compiler cache, without the precompiled header, and without what is compiled into what."""
    commands = json.loads((build / "compile_commands.json").read_text(encoding="utf-8"))
    for entry in commands:
        words = shlex.split(entry["command"])
        target = words[words.index("-o") + 1]
        if not target.startswith("cuda/CMakeFiles/tidepool_cuda") or "cmake_pch" in target:
            continue
        if pathlib.Path(words[0]).name == "ccache":
            words = words[1:]
        kept = []
        while words:
            word = words.pop(0)
            if word in WITH_VALUE:
                words.pop(0)
            elif word != "-Winvalid-pch":
                kept.append(word)
        yield entry["directory"], kept, entry["file"]


def standard_folders(compiler):
    """The compiler's own folders of headers, without /usr/local: some machines have CUDA there."""
    said = subprocess.run([compiler, "-x", "c++", "-E", "-v", os.devnull], check=True,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          env=dict(os.environ, LC_ALL="C")).stderr
    listed = said.split("search starts here:\n")[-1].split("End of search list")[0].split("\n")
    folders = [line.strip() for line in listed if line.strip()]
    return [each for each in folders if not os.path.realpath(each).startswith("/usr/local/include")]


def with_headers(arguments, headers):
    """The arguments with these CUDA headers and no others."""
    changed = []
    replaced = False
    words = list(arguments)
    while words:
        word = words.pop(0)
        if word == "-isystem" and (pathlib.Path(words[0]) / "cuda_runtime_api.h").is_file():
            words[0] = str(headers / "include")
            replaced = True
        changed.append(word)
    if not replaced:
        raise SystemExit("cuda_headers: the build has no CUDA headers; is it built without CUDA?")
    changed.append("-nostdinc")
    for folder in standard_folders(arguments[0]):
        changed += ["-isystem", folder]
    return changed


def compile_one(unit, headers, result):
    """What the compiler says of one unit; compiles into result, or checks if that is None."""
    directory, arguments, file = unit
    wanted = ["-fsyntax-only"] if result is None else ["-O0", "-g0", "-o", str(result)]
    command = with_headers(arguments, headers) + wanted + ["-c", file]
    done = subprocess.run(command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, check=False)
    if done.returncode == 0 and not done.stdout:
        return ""
    lines = done.stdout.splitlines() or [f"status {done.returncode}: {shlex.join(command)}"]
    return "\n".join([f"CUDA {headers.name}, {file}:", *lines[:40]])


def symbols(kind, file):
    listed = subprocess.run(["nm", *kind, str(file)], check=True, stdout=subprocess.PIPE,
                            text=True).stdout
    names = (line.split()[-1].split("@")[0] for line in listed.splitlines() if line.split())
    return {name for name in names if name.startswith("cuda")}


def missing_symbols(results, runtime):
    used = set().union(*(symbols(["-u"], file) for file in results if file.is_file()))
    for name in sorted(used - symbols(["-D", "--defined-only"], runtime)):
        yield f"{name}: built with the headers of 12.9, the library does not load on {runtime}"


def main(build, *folders):
    build = pathlib.Path(build).resolve()
    folders = [pathlib.Path(folder).resolve() for folder in folders]
    work = list(units(build))
    if not work:
        return f"cuda_headers: {build} builds no tidepool_cuda"
    twelve = [folder for folder in folders if folder.name.startswith("12.")]
    runtimes = [f / "lib" / RUNTIME for f in folders if (f / "lib" / RUNTIME).is_file()]
    compiled = twelve[-1] if runtimes and len(twelve) > 1 else None
    with tempfile.TemporaryDirectory() as results, concurrent.futures.ThreadPoolExecutor(
            os.cpu_count()) as pool:
        jobs = []
        objects = []
        for folder in folders:
            for number, unit in enumerate(work):
                result = None
                if folder == compiled:
                    result = pathlib.Path(results, f"{number}.o")
                    objects.append(result)
                jobs.append(pool.submit(compile_one, unit, folder, result))
        failures = [said for said in (job.result() for job in jobs) if said]
        if compiled and not failures:
            failures += missing_symbols(objects, runtimes[0])
    print("\n".join(failures) if failures else
          f"{len(work)} units compile with the headers of CUDA "
          + ", ".join(folder.name for folder in folders))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
