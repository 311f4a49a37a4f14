#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Says how many tests of the simulated CUDA device a run of ctest has executed.

    simulator_tests.py <preset>

Compares the tests of label sim that the preset has with what build/<preset>/tests.xml, which the
preset's run of ctest left, tells of them. Prints one line. Exits with 1 and a sentence that says
what to do if there are no such tests, or if one did not run or did not pass: a build that left the
CUDA backend out would otherwise be green without having executed it.
"""
import json
import pathlib
import subprocess
import sys
import xml.etree.ElementTree


def labelled(preset):
    """Names of the tests in the preset's build that have the label sim."""
    # By folder: with --preset, even a list of tests would be written over the results.
    shown = subprocess.run(
        ["ctest", "--test-dir", f"build/{preset}", "--label-regex", "^sim$",
         "--show-only=json-v1"],
        check=True, stdout=subprocess.PIPE, text=True).stdout
    return {test["name"] for test in json.loads(shown[shown.index("{"):])["tests"]}


def outcomes(preset):
    """What the run's file says of each test: run, fail, notrun or disabled."""
    file = pathlib.Path("build", preset, "tests.xml")
    if not file.is_file():
        return {}
    cases = xml.etree.ElementTree.parse(file).getroot().iter("testcase")
    return {case.get("name"): case.get("status") for case in cases}


def main(preset):
    names = labelled(preset)
    if not names:
        return (f"FAILED: preset {preset} has no test of the simulated CUDA device, so the CUDA "
                "backend was not run. Run ./.ci/setup with a network, or install nvcc 13.0 and "
                "libzstd, and configure again: what is missing stands in CMake's output.")
    found = outcomes(preset)
    passed = sum(found.get(name) == "run" for name in names)
    line = f"{passed} of {len(names)} simulator tests ran and passed (preset {preset}, label sim)"
    if passed == len(names):
        print(line)
        return None
    missing = sorted(name for name in names if found.get(name) != "run")
    return (f"FAILED: {line}; run ctest --preset {preset} again. Not among them: "
            + ", ".join(missing))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
