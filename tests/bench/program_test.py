#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
#
# The program tidepool as its users see it: exit codes, the table, the JSON, bad traces.
# Run by ctest: program_test.py <program> <source folder>.
import json
import os
import random
import subprocess
import sys
import tempfile
import unittest

PROGRAM = ""
SOURCE = ""

KEYS = ["trace", "device", "threads", "touch", "operations", "ns_per_op_median", "ns_per_op_p99",
        "hit_rate", "hit_rate_cold", "peak_live_bytes", "peak_reserved_bytes", "reserved_over_live",
        "page_faults_per_op", "driver_calls_per_op", "malloc_ns_per_op_median",
        "naive_ns_per_op_median", "format_version", "machine"]

# Live bytes: 1000, 5096, 4096, 4196, 69732 (the peak), 4196, 100 and so on.
HAND_WRITTEN = """\
{"trace":"tidepool trace 1","clock":"logical","metadata":{"model":"hand-written"}}
{"op":"alloc","t":1,"id":1,"bytes":1000,"device":"cpu","category":"weight","name":"w"}
{"op":"alloc","t":2,"id":2,"bytes":4096,"device":"cpu","category":"activation"}
{"op":"free","t":3,"id":1}
{"op":"alloc","t":4,"id":3,"bytes":100,"device":"cpu","category":"my own kind"}
{"op":"alloc","t":5,"id":4,"bytes":65536,"align":256,"device":"cpu"}
{"op":"free","t":6,"id":4}
{"op":"free","t":7,"id":2}
{"op":"alloc","t":8,"id":5,"bytes":0,"device":"cpu"}
{"op":"free","t":9,"id":5}
"""
PEAK = 4096 + 100 + 65536


def run(*arguments, stdin=None, environment=None):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, stdin=stdin, check=False,
                          timeout=200, env=environment)


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.text = os.path.join(self.folder, "hand.jsonl")
        self.trace = os.path.join(self.folder, "hand.tpt")
        with open(self.text, "w", encoding="utf-8") as file:
            file.write(HAND_WRITTEN)
        self.expect(0, "pack", self.text, self.trace)

    def expect(self, code, *arguments, **more):
        done = run(*arguments, **more)
        self.assertEqual(done.returncode, code, (arguments, done.stdout, done.stderr))
        return done

    def replay_json(self, *arguments):
        return json.loads(self.expect(0, "replay", *arguments, "--json", "-").stdout)


class Replay(Folder):
    def test_json_has_the_promised_keys_first_and_the_exact_peak(self):
        figures = self.replay_json(self.trace, "--passes", "2")
        self.assertEqual(list(figures)[: len(KEYS)], KEYS)
        self.assertEqual(figures["trace"], self.trace)
        self.assertEqual(figures["device"], "cpu")
        self.assertEqual(figures["threads"], 1)
        self.assertEqual(figures["touch"], "none")
        self.assertEqual(figures["operations"], 9)
        self.assertEqual(figures["peak_live_bytes"], PEAK)
        self.assertEqual(figures["format_version"], 1)
        self.assertEqual(figures["misuses"], 0)
        self.assertEqual(figures["failed_allocations"], 0)
        self.assertGreater(figures["ns_per_op_median"], 0)
        self.assertGreater(figures["malloc_ns_per_op_median"], 0)
        self.assertGreater(figures["naive_ns_per_op_median"], 0)
        self.assertGreaterEqual(figures["peak_reserved_bytes"], PEAK)
        self.assertAlmostEqual(figures["reserved_over_live"], figures["peak_reserved_bytes"] / PEAK)
        self.assertTrue(0 <= figures["hit_rate"] <= 1)
        self.assertTrue(figures["machine"]["cores"] >= 1)

    def test_table_and_json_file(self):
        path = os.path.join(self.folder, "figures.json")
        done = self.expect(0, "replay", self.trace, "--passes", "1", "--json", path)
        table = done.stdout.decode()
        for text in ["tidepool", "aligned_alloc", "naive pool", "peak reserved", "hit rate"]:
            self.assertIn(text, table)
        self.assertNotIn(b"\r", done.stderr, "no progress bar where stderr is no terminal")
        with open(path, encoding="utf-8") as file:
            self.assertEqual(list(json.load(file))[: len(KEYS)], KEYS)

    def test_recorded_reads_are_replayed(self):
        text = os.path.join(self.folder, "reads.jsonl")
        with open(text, "w", encoding="utf-8") as file:
            file.write('{"trace":"tidepool trace 1","clock":"logical","metadata":{}}\n')
            lines = ['{"op":"alloc","t":1,"id":1,"bytes":10,"device":"cpu","category":"weight",'
                     '"name":"hot"}',
                     '{"op":"alloc","t":2,"id":2,"bytes":10,"device":"cpu","category":"weight",'
                     '"name":"cold"}',
                     '{"op":"alloc","t":3,"id":3,"bytes":10,"device":"cpu","category":"expert",'
                     '"name":"parts"}',
                     '{"op":"alloc","t":4,"id":4,"bytes":10,"device":"cpu"}',
                     '{"op":"read","t":5,"id":1}',
                     '{"op":"read","t":6,"ids":[1,2,4]}',
                     '{"op":"write","t":7,"id":1}',
                     '{"op":"read","t":8,"id":3,"parts":[0,2,2]}']
            file.write("\n".join(lines) + "\n")
        trace = os.path.join(self.folder, "reads.tpt")
        self.expect(0, "pack", text, trace)
        reads = self.replay_json(trace)["accesses"]
        self.assertEqual((reads["reads"], reads["left_out"]), (6, 1))
        self.assertEqual(reads["hottest"][:2],
                         [{"name": "hot", "part": None, "reads": 2},
                          {"name": "parts", "part": 2, "reads": 2}])
        self.assertEqual(reads["coldest"][0], {"name": "parts", "part": 1, "reads": 0})
        self.assertIn(b"Recorded reads", self.expect(0, "replay", trace).stdout)

    def test_compare_prints_rows_beside_their_rivals(self):
        keys = ["case", "pattern", "size", "threads", "touch", "unit", "ours", "ours_min",
                "best_peer", "best", "best_min", "ratio"]
        rows = json.loads(self.expect(0, "compare", "--case", "D1,D5", "--quick", "--json",
                                      "-").stdout)
        self.assertEqual({row["case"] for row in rows}, {"D1", "D5"})
        for row in rows:
            self.assertEqual(list(row)[:len(keys)], keys)
            self.assertGreater(min(row["ours_min"], row["best_min"], row["ratio"]), 0)
        self.expect(2, "compare", "--case", "D9")

    def test_without_peers(self):
        figures = self.replay_json(self.trace, "--passes", "1", "--no-peers")
        self.assertIsNone(figures["malloc_ns_per_op_median"])
        self.assertIsNone(figures["naive_ns_per_op_median"])
        names = [each["name"] for each in figures["contestants"]]
        self.assertEqual(names, ["tidepool", "(nothing)"])

    def test_threads_touch_and_prewarm(self):
        figures = self.replay_json(self.trace, "--threads", "3", "--touch", "all", "--prewarm",
                                   "trace", "--passes", "2")
        self.assertEqual(figures["threads"], 3)
        self.assertEqual(figures["operations"], 27)
        self.assertEqual(figures["peak_live_bytes"], 3 * PEAK)
        self.assertEqual(figures["touch"], "all")
        self.assertGreater(figures["prewarmed_bytes"], 0)

    def test_limit_counts_failures_and_does_not_crash(self):
        lines = ['{"trace":"tidepool trace 1","clock":"logical","metadata":{}}']
        for i in range(1, 65):
            lines.append(f'{{"op":"alloc","t":{i},"id":{i},"bytes":1048576,"device":"cpu"}}')
        for i in range(1, 65):
            lines.append(f'{{"op":"free","t":{64 + i},"id":{i}}}')
        text = os.path.join(self.folder, "big.jsonl")
        with open(text, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        trace = os.path.join(self.folder, "big.tpt")
        self.expect(0, "pack", text, trace)
        figures = self.replay_json(trace, "--limit", "16MiB", "--passes", "2", "--no-peers")
        self.assertGreaterEqual(figures["failed_allocations"], 3 * 48)
        self.assertLess(figures["failed_allocations"], 3 * 64)
        self.assertLessEqual(figures["peak_reserved_bytes"], 16 << 20)
        self.assertEqual(figures["limit_bytes"], 16 << 20)

    def test_from_standard_input(self):
        with open(self.trace, "rb") as file:
            done = self.expect(0, "replay", "-", "--passes", "1", "--json", "-", stdin=file)
        self.assertEqual(json.loads(done.stdout)["peak_live_bytes"], PEAK)

    def test_trace_without_allocations_fails(self):
        text = os.path.join(self.folder, "empty.jsonl")
        with open(text, "w", encoding="utf-8") as file:
            file.write('{"trace":"tidepool trace 1","clock":"logical","metadata":{}}\n')
        trace = os.path.join(self.folder, "empty.tpt")
        self.expect(0, "pack", text, trace)
        self.expect(1, "replay", trace)

    def test_json_file_that_cannot_be_written_fails(self):
        self.expect(1, "replay", self.trace, "--passes", "1", "--json", "/nonexistent/x.json")


class Usage(Folder):
    def test_help_is_success_everywhere(self):
        self.assertIn(b"replay", self.expect(0, "--help").stdout)
        self.assertIn(b".", self.expect(0, "--version").stdout)
        for command in ["replay", "info", "validate", "dump", "pack", "prewarm-plan"]:
            self.assertIn(b"Usage", self.expect(0, command, "--help").stdout)

    def test_wrong_usage_is_2(self):
        for arguments in [[], ["fly"], ["replay"], ["replay", self.trace, "--touch", "some"],
                          ["replay", self.trace, "--limit", "3Q"],
                          ["replay", self.trace, "--limit", "0"],
                          ["replay", self.trace, "--device", "toaster"],
                          ["replay", self.trace, "--threads", "0"],
                          ["replay", self.trace, "--passes", "x"],
                          ["replay", self.trace, "--wings"], ["pack", "one"], ["validate"]]:
            with self.subTest(arguments):
                self.assertTrue(self.expect(2, *arguments).stderr)

    def test_absent_device_fails_with_a_reason(self):
        done = self.expect(1, "replay", self.trace, "--device", "cuda:63")
        self.assertIn(b"cuda:63", done.stderr)

    def test_info(self):
        text = self.expect(0, "info").stdout.decode()
        for word in ["tidepool", "cpu", "cuda:0", "huge pages"]:
            self.assertIn(word, text)
        self.assertIn(str(PEAK), self.expect(0, "info", self.trace).stdout.decode())
        json.loads(self.expect(0, "info", self.trace, "--json").stdout)

    def test_prewarm_plan(self):
        text = self.expect(0, "prewarm-plan", self.trace).stdout.decode()
        self.assertIn("64 KiB", text)


class Traces(Folder):
    def test_pack_and_dump_are_inverse(self):
        text = self.expect(0, "dump", self.trace, "--json-lines").stdout
        again = os.path.join(self.folder, "again.jsonl")
        with open(again, "wb") as file:
            file.write(text)
        packed = os.path.join(self.folder, "again.tpt")
        self.expect(0, "pack", again, packed)
        self.assertEqual(self.expect(0, "dump", packed, "--json-lines").stdout, text)
        self.assertIn(b"alloc", self.expect(0, "dump", self.trace).stdout)

    def test_validate(self):
        self.assertIn(b"0 errors", self.expect(0, "validate", self.trace).stdout)

    def test_pack_of_nonsense_is_3_and_leaves_no_file(self):
        with open(self.text, "a", encoding="utf-8") as file:
            file.write('{"op":"aloc"}\n')
        out = os.path.join(self.folder, "none.tpt")
        self.assertIn(b"line", self.expect(3, "pack", self.text, out).stderr)
        self.assertFalse(os.path.exists(out))

    def commands_on(self, path, code):
        for command in [["replay", path, "--passes", "1", "--no-peers"], ["validate", path],
                        ["info", path], ["dump", path], ["dump", path, "--json-lines"],
                        ["prewarm-plan", path]]:
            with self.subTest(command):
                self.expect(code, *command)

    def test_missing_file_is_3(self):
        self.commands_on(os.path.join(self.folder, "absent.tpt"), 3)

    def test_folder_and_foreign_files_are_3(self):
        self.commands_on(self.folder, 3)
        self.commands_on(self.text, 3)

    def test_cut_trace_is_3(self):
        with open(self.trace, "rb") as file:
            content = file.read()
        cut = os.path.join(self.folder, "cut.tpt")
        for length in [0, 1, 15, 16, 47, len(content) // 2, len(content) - 1]:
            with open(cut, "wb") as file:
                file.write(content[:length])
            self.expect(3, "replay", cut, "--passes", "1", "--no-peers")

    def test_damaged_traces_never_crash(self):
        with open(self.trace, "rb") as file:
            content = file.read()
        damaged = os.path.join(self.folder, "damaged.tpt")
        numbers = random.Random(7)
        for _ in range(40):
            wrong = bytearray(content)
            wrong[numbers.randrange(len(wrong))] ^= 1 << numbers.randrange(8)
            with open(damaged, "wb") as file:
                file.write(wrong)
            done = run("replay", damaged, "--passes", "1", "--no-peers")
            self.assertIn(done.returncode, (0, 3), done.stderr)

    def test_events_that_make_no_sense_are_3(self):
        for lines in ['{"op":"free","t":1,"id":9}\n',
                      '{"op":"alloc","t":1,"id":1,"bytes":1,"device":"cpu"}\n'
                      '{"op":"alloc","t":2,"id":1,"bytes":1,"device":"cpu"}\n']:
            text = os.path.join(self.folder, "wrong.jsonl")
            with open(text, "w", encoding="utf-8") as file:
                file.write('{"trace":"tidepool trace 1","clock":"logical","metadata":{}}\n' + lines)
            trace = os.path.join(self.folder, "wrong.tpt")
            self.expect(0, "pack", text, trace)
            self.expect(3, "replay", trace, "--passes", "1", "--no-peers")
            self.expect(3, "validate", trace)

    def test_giant_allocations_fail_without_harm(self):
        text = os.path.join(self.folder, "giant.jsonl")
        with open(text, "w", encoding="utf-8") as file:
            file.write('{"trace":"tidepool trace 1","clock":"logical","metadata":{}}\n'
                       f'{{"op":"alloc","t":1,"id":1,"bytes":{1 << 48},"device":"cpu"}}\n'
                       '{"op":"free","t":2,"id":1}\n')
        trace = os.path.join(self.folder, "giant.tpt")
        self.expect(0, "pack", text, trace)
        figures = self.replay_json(trace, "--passes", "1")
        self.assertEqual(figures["failed_allocations"], 2)
        self.expect(1, "replay", trace, "--touch", "all")


class Recorded(unittest.TestCase):
    def test_recorded_traces_replay_once(self):
        folder = os.path.join(SOURCE, "bench", "traces")
        names = sorted(each for each in os.listdir(folder) if each.endswith(".tpt")) \
            if os.path.isdir(folder) else []
        if not names:
            self.skipTest("no recorded trace")
        for name in names:
            with self.subTest(name):
                done = run("replay", os.path.join(folder, name), "--passes", "1", "--no-peers",
                           "--json", "-")
                self.assertEqual(done.returncode, 0, done.stderr)
                figures = json.loads(done.stdout)
                self.assertEqual(figures["misuses"], 0)
                self.assertEqual(figures["failed_allocations"], 0)


if __name__ == "__main__":
    PROGRAM, SOURCE = sys.argv.pop(1), sys.argv.pop(1)
    unittest.main()
