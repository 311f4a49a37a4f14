#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# `tidepool replay` on CUDA devices: recorded traces, the trace's streams, driver calls, no device.
# Run by ctest on tests/cudasim: replay_test.py <program> <source folder>. Times are not looked at.
import json
import os
import subprocess
import sys
import tempfile
import unittest

PROGRAM = ""
SOURCE = ""
MIB = 1 << 20


def run(*arguments, **variables):
    # Nothing reads the memory, and a model's weights are 16 GiB: they need not be there.
    return subprocess.run([PROGRAM, *arguments], capture_output=True, check=False, timeout=500,
                          env={**os.environ, "CUDASIM_POISON": "0", **variables})


class Recorded(unittest.TestCase):
    def check(self, name, most_reserved):
        path = os.path.join(SOURCE, "bench", "traces", name)
        done = run("replay", path, "--device", "cuda:0", "--touch", "none", "--passes", "2",
                   "--json", "-")
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        figures = json.loads(done.stdout)
        self.assertEqual(figures["device"], "cuda:0")
        self.assertEqual(figures["failed_allocations"], 0)
        self.assertEqual([each["name"] for each in figures["contestants"]],
                         ["tidepool", "(nothing)"])
        self.assertLessEqual(figures["peak_reserved_bytes"],
                             most_reserved * figures["peak_live_bytes"] + 4 * MIB)
        self.assertGreater(figures["driver_calls_per_op"], 0, "it is counted")
        self.assertLess(figures["driver_calls_per_op"], 0.02)
        self.assertGreater(figures["hit_rate"], 0.98)

    def test_paged(self):
        self.check("llama8b_paged.tpt", 1.05)

    def test_concatenated(self):
        self.check("llama8b_cat.tpt", 1.10)


class Streams(unittest.TestCase):
    """200 tensors, one alive at a time."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def replay(self, device, begin, end):
        """Tensor i begins on stream begin(i) and ends on end(i)."""
        text = os.path.join(self.folder, "streams.jsonl")
        with open(text, "w", encoding="utf-8") as file:
            file.write('{"trace":"tidepool trace 1","clock":"logical","metadata":{}}\n')
            for i in range(1, 201):
                file.write(f'{{"op":"alloc","t":{2 * i},"id":{i},"bytes":1048576,'
                           f'"device":"cuda:3","stream":{begin(i)}}}\n'
                           f'{{"op":"free","t":{2 * i + 1},"id":{i},"stream":{end(i)}}}\n')
        trace = os.path.join(self.folder, "streams.tpt")
        self.assertEqual(run("pack", text, trace).returncode, 0)
        done = run("replay", trace, "--device", device, "--passes", "2", "--json", "-",
                   CUDASIM_LEAKS="1")
        self.assertEqual((done.returncode, done.stderr), (0, b""), "what cudasim reports is there")
        figures = json.loads(done.stdout)
        self.assertEqual(figures["failed_allocations"], 0)
        self.assertEqual(figures["misuses"], 0)
        return figures

    def test_tensors_that_stay_on_their_stream_hardly_need_the_driver(self):
        for streams in (1, 3):
            figures = self.replay("cuda:0", lambda i, n=streams: i % n, lambda i, n=streams: i % n)
            self.assertEqual(figures["streams"], streams - 1)
            self.assertLess(figures["driver_calls_per_op"], 0.01)
            self.assertGreater(figures["hit_rate"], 0.98)

    def test_an_end_on_another_stream_is_an_event_there(self):
        for end in (0, 2):
            figures = self.replay("cuda", lambda i: 1, lambda i, to=end: to)
            self.assertEqual(figures["streams"], 1 + end // 2)
            self.assertGreater(figures["driver_calls_per_op"], 0.1)

    def test_pinned_and_managed(self):
        for device in ("pinned:0", "managed:0"):
            figures = self.replay(device, lambda i: 1 + i % 2, lambda i: 1 + i % 2)
            self.assertEqual((figures["device"], figures["streams"]), (device, 2))
            self.assertIsNotNone(figures["driver_calls_per_op"])

    def test_pinned_memory_of_a_numa_node(self):
        figures = self.replay("pinned:node0", lambda i: 1 + i % 2, lambda i: 2)
        self.assertGreaterEqual(figures["peak_reserved_bytes"], MIB)

    def test_streams_mean_nothing_on_cpu(self):
        self.assertEqual(self.replay("cpu", lambda i: i % 3, lambda i: 1)["streams"], 0)


class Absent(unittest.TestCase):
    def test_no_device_and_one_too_few_are_reasons(self):
        path = os.path.join(SOURCE, "bench", "traces", "llama8b_paged.tpt")
        for device, devices in (("cuda:0", "0"), ("pinned:0", "0"), ("managed:0", "0"),
                                ("cuda:1", "1")):
            with self.subTest(device):
                done = run("replay", path, "--device", device, CUDASIM_DEVICES=devices)
                self.assertEqual(done.returncode, 1)
                self.assertIn(b"no pool for device " + device.encode(), done.stderr)


if __name__ == "__main__":
    PROGRAM, SOURCE = sys.argv.pop(1), sys.argv.pop(1)
    unittest.main()
