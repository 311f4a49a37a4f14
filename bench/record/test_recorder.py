# SPDX-License-Identifier: Apache-2.0
#
# Tests of the recorder and the Python writer: `python3 -m unittest test_recorder` in this folder.
# Without PyTorch (1.13 or later) the recorder's tests are skipped. With TIDEPOOL_TRACE_TOOL set to
# the program `tidepool`, every trace is also checked by its `validate`.

import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest
import zlib
from collections import namedtuple

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import trace_writer as tw  # noqa: E402

try:
    import torch
    import torch._subclasses.fake_tensor  # noqa: F401
    from models import SHAPES, Decoder
    from recorder import Recorder, tag
    WHY_NOT = None
except ImportError as missing:
    WHY_NOT = f"no usable PyTorch: {missing}"

Event = namedtuple("Event", "time id bytes generation name site stream thread flags kind category "
                            "device alignment_log2 detail reserved extra")
FOOTER = ("events", "allocs", "frees", "touches", "failed_allocs", "allocated_bytes",
          "peak_live_bytes", "live_bytes", "last_time")


def read(path):
    """(metadata, events, footer) of a trace written with level 0: a reader of its own, so that the
    writer is not checked against itself."""
    with open(path, "rb") as file:
        data = file.read()
    length, = struct.unpack_from("<I", data, 32)
    metadata, at, events = json.loads(data[48:48 + length]), 48 + length, []
    while True:
        kind, codec, how, first, count, stored, raw, crc, _, own = struct.unpack_from(
            "<4sHHQIIIIII", data, at)
        assert zlib.crc32(data[at:at + 36]) == own and (codec, how) == (0, 0)
        body = data[at + 40:at + 40 + stored]
        assert zlib.crc32(body) == crc and first == len(events) and raw == stored
        at += 40 + stored
        if kind == b"FOOT":
            assert at == len(data)
            return metadata, events, dict(zip(FOOTER, struct.unpack("<9Q", body)))
        extra_at = count * 48
        for i in range(count):
            fields = struct.unpack_from("<QQQIIIHHHBBBBBB", body, i * 48)
            extra = b""
            if fields[9] & 0x40:
                extra = body[extra_at:extra_at + fields[2]]
                extra_at += fields[2]
            events.append(Event(*fields, extra))
        assert extra_at == len(body)


def ids_of(event):
    if event.kind == tw.TOUCH_TENSORS:
        return struct.unpack(f"<{len(event.extra) // 8}Q", event.extra)
    return (event.id,)


def texts(events, kind):
    return [e.extra.decode() for e in events if e.kind == kind]


class Case(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "trace.tpt")

    def validate(self, path):
        tool = os.environ.get("TIDEPOOL_TRACE_TOOL")
        if tool:
            done = subprocess.run([tool, "validate", path], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def content(self, path=None):
        """The trace, with the rules that hold for all of them checked."""
        self.validate(path or self.path)
        metadata, events, footer = read(path or self.path)
        live, peak = {}, 0
        for event in events:
            if event.kind == tw.ALLOC and event.detail != tw.OUT_OF_MEMORY:
                self.assertNotIn(event.id, live)
                live[event.id] = event.bytes
                peak = max(peak, sum(live.values()))
            elif event.kind == tw.FREE:
                self.assertEqual(live.pop(event.id), event.bytes)
            elif event.kind in (tw.TOUCH, tw.TOUCH_TENSORS):
                for each in ids_of(event):
                    self.assertIn(each, live)
        self.assertEqual(footer["peak_live_bytes"], peak)
        self.assertEqual(footer["live_bytes"], sum(live.values()))
        self.assertEqual(footer["events"], len(events))
        return metadata, events, footer


class WriterTest(Case):
    def test_filter_is_what_the_format_says(self):
        first = tw._RECORD.pack(5, 2, 300, 1, 0, 9, 0, 0, 0, 1, 0, 0, 6, 0, 0)
        second = tw._RECORD.pack(6, 1, 300, 1, 0, 9, 0, 0, 0, 2, 0, 0, 0, 0, 0)
        planes = tw._filter(first + second)
        self.assertEqual(len(planes), 96)
        self.assertEqual(planes[0:2], bytes([5, 1]))      # lowest byte of time: 5, then +1
        self.assertEqual(planes[16:18], bytes([2, 255]))  # of id: 2, then -1 modulo 2^64
        self.assertEqual(planes[30:32], bytes([0, 255]))  # its highest byte
        self.assertEqual(planes[32:36], bytes([44, 0, 1, 0]))  # bytes: 300, then the same

    def test_every_kind_is_written(self):
        for level in (0, 19):
            with tw.TraceWriter(self.path, {"model": "none"}, level=level, chunk_events=3) as out:
                out.begin(tw.PHASE, "load")
                out.alloc(1, 64, device="cpu", category="weight", name="w", alignment=64)
                out.alloc(2, 64, device="cuda:0", result=tw.OUT_OF_MEMORY)
                out.alloc(3, 32, device="cpu", generation=4)
                out.touch([1, 3])
                out.touch([3], tw.READ_WRITE)
                out.touch_parts(1, [0, 5, 7])
                out.retag(3, category="kv", name="k")
                out.free(3)
                out.end(tw.PHASE, "load")
                out.comment("done")
            self.validate(self.path)
            if level == 0:
                _, events, footer = self.content()
                self.assertEqual(footer["failed_allocs"], 1)
                self.assertEqual(footer["touches"], 4)
                self.assertEqual(texts(events, tw.DEFINE_NAME), ["load", "w", "k"])

    def test_mistakes_are_refused(self):
        out = tw.TraceWriter(self.path)
        out.alloc(1, 64, device="cpu")
        for mistake in (lambda: out.alloc(1, 64, device="cpu"),
                        lambda: out.alloc(2, 64, device="cpu", alignment=24),
                        lambda: out.alloc(2, 1 << 49, device="cpu"),
                        lambda: out.free(2), lambda: out.touch([2]),
                        lambda: out.retag(2, category="kv"), lambda: out.name("x" * 5000),
                        lambda: out.begin(tw.PHASE, "p", time=0)):
            self.assertRaises(tw.TraceError, mistake)
        out.close()

    def test_abandoned_trace_has_no_footer(self):
        with self.assertRaises(KeyError):
            with tw.TraceWriter(self.path, level=0) as out:
                out.alloc(1, 64, device="cpu")
                raise KeyError
        self.assertRaises(struct.error, read, self.path)


@unittest.skipIf(WHY_NOT, WHY_NOT)
class RecorderTest(Case):
    def record(self, path=None, kv="cat", prefill=20, decode=5, level=0):
        with Recorder(path or self.path, {"model": "tiny"}, level=level) as r:
            with r.pause():
                model = Decoder(SHAPES["tiny"], kv).eval()
            r.adopt(model)
            caches = model.make_caches()
            with r.phase("prefill"):
                token = model(torch.zeros(1, prefill, dtype=torch.long), 0, caches)
            with r.phase("decode"):
                for step in range(decode):
                    with r.step("token", step):
                        token = model(token, prefill + step, caches)
            with r.phase("release"):
                del token, caches
        return sum(p.numel() for p in model.parameters()) * 2

    def test_allocations_and_frees_are_exact(self):
        with Recorder(self.path, level=0) as r:
            a = torch.empty(1000, dtype=torch.float32)  # 1: 4000 bytes
            b = a + 1                                   # 2: 4000, peak part 1
            view = b.view(10, 100)[2:]                  # no allocation
            del b
            c = view.sum()                              # 3: 4; b lives by its view
            del view                                    # frees 2
            d = torch.empty(1500)                       # 4: 6000, the peak: 4000 + 4 + 6000
            a.add_(1)
            del a, c, d
            r.settle()
        _, events, footer = self.content()
        story = [(e.kind, e.id) for e in events if e.kind in (tw.ALLOC, tw.FREE)]
        self.assertEqual(story, [(tw.ALLOC, 1), (tw.ALLOC, 2), (tw.ALLOC, 3), (tw.FREE, 2),
                                 (tw.ALLOC, 4), (tw.FREE, 1), (tw.FREE, 3), (tw.FREE, 4)])
        self.assertEqual(footer["peak_live_bytes"], 4000 + 4 + 6000)
        touches = [(e.detail, ids_of(e)) for e in events if e.kind in (tw.TOUCH, tw.TOUCH_TENSORS)]
        self.assertEqual(touches, [(tw.READ, (1,)), (tw.READ, (2,)), (tw.READ_WRITE, (1,))])

    def test_copies_only_write_and_shared_inputs_count_once(self):
        with Recorder(self.path, level=0):
            a, b = torch.empty(8), torch.empty(8)
            a.copy_(b)
            torch.mul(a, a)
        _, events, _ = self.content()
        touches = [(e.detail, ids_of(e)) for e in events if e.kind in (tw.TOUCH, tw.TOUCH_TENSORS)]
        self.assertEqual(touches, [(tw.READ, (2,)), (tw.WRITE, (1,)), (tw.READ, (1,))])

    def test_model_balances(self):
        for kv in ("cat", "paged"):
            weights = self.record(kv=kv)
            metadata, events, footer = self.content()
            self.assertEqual(metadata["model"], "tiny")
            self.assertEqual(footer["live_bytes"], weights, "only the weights live on")
            categories = [""] + texts(events, tw.DEFINE_CATEGORY)
            names = [""] + texts(events, tw.DEFINE_NAME)
            self.assertNotIn("external", categories)
            freed = {e.id for e in events if e.kind == tw.FREE}
            for event in events:
                if event.kind == tw.ALLOC:
                    is_weight = categories[event.category] == "weight"
                    self.assertEqual(event.id in freed, not is_weight, names[event.name])
            self.assertIn("layers.1.mlp.up_proj.weight", names)
            read_ids = {each for e in events if e.kind in (tw.TOUCH, tw.TOUCH_TENSORS)
                        and e.detail & tw.READ for each in ids_of(e)}
            for event in events:
                if event.kind == tw.ALLOC and categories[event.category] in ("weight", "kv_cache"):
                    self.assertIn(event.id, read_ids, names[event.name])

    def test_kv_sizes_follow_the_formula(self):
        shape, prefill, decode = SHAPES["tiny"], 20, 5
        per_token = shape.kv_heads * shape.head_width * 2
        for kv, expected in (
                ("cat", [(prefill + n) * per_token for n in range(decode + 1)] * 2 * shape.layers),
                ("paged", [2 * 16 * per_token] * ((prefill + decode + 15) // 16) * shape.layers)):
            self.record(kv=kv, prefill=prefill, decode=decode)
            _, events, _ = self.content()
            number = texts(events, tw.DEFINE_CATEGORY).index("kv_cache") + 1
            sizes = [e.bytes for e in events if e.kind == tw.ALLOC and e.category == number]
            self.assertEqual(sorted(sizes), sorted(expected))

    def test_marks_nest_and_count(self):
        self.record(decode=3)
        _, events, _ = self.content()
        names, open_marks, seen = [""] + texts(events, tw.DEFINE_NAME), [], {}
        for event in events:
            mark = event.detail, names[event.name], event.id
            if event.kind == tw.MARK_BEGIN:
                open_marks.append(mark)
                seen[mark[0]] = seen.get(mark[0], 0) + 1
            elif event.kind == tw.MARK_END:
                self.assertEqual(open_marks.pop(), mark)
        self.assertEqual(open_marks, [])
        self.assertEqual(seen, {tw.PHASE: 4, tw.STEP: 3, tw.LAYER: 4 * SHAPES["tiny"].layers})

    def test_same_input_gives_the_same_bytes(self):
        contents = []
        for name in ("one.tpt", "two.tpt"):
            path = os.path.join(os.path.dirname(self.path), name)
            self.record(path, level=19)
            self.validate(path)
            with open(path, "rb") as file:
                contents.append(file.read())
        self.assertEqual(contents[0], contents[1])

    def test_tensors_from_before_are_external(self):
        with torch._subclasses.fake_tensor.FakeTensorMode() as mode:
            before = torch.empty(100)
        with Recorder(self.path, level=0, fake_mode=mode):
            before + 1
        _, events, _ = self.content()
        self.assertIn("external", texts(events, tw.DEFINE_CATEGORY))

    def test_tag_does_nothing_outside(self):
        with tag("kv_cache", "k"):
            self.assertEqual(torch.ones(2).sum().item(), 2)

    def test_model_computes(self):
        """On real tensors, tokens one by one give what all at once give, for both caches."""
        torch.manual_seed(1)
        model = Decoder(SHAPES["tiny"]).float().eval()
        tokens = torch.randint(0, 256, (1, 40))
        with torch.no_grad():
            for kv in ("cat", "paged"):
                model._kv = kv
                whole = model(tokens, 0, model.make_caches())
                caches = model.make_caches()
                model(tokens[:, :7], 0, caches)
                for at in range(7, 40):
                    last = model(tokens[:, at:at + 1], at, caches)
                self.assertEqual(whole.item(), last.item(), kv)


@unittest.skipIf(WHY_NOT, WHY_NOT)
class CommandTest(Case):
    def run_command(self, *arguments):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "record.py")
        return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)

    def test_records(self):
        done = self.run_command("--model", "tiny", "--prefill", "4", "--decode", "2", "--out",
                                self.path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("allocs", done.stderr)
        self.validate(self.path)
        self.assertEqual(os.listdir(os.path.dirname(self.path)), ["trace.tpt"])

    def test_exit_codes(self):
        self.assertEqual(self.run_command("--help").returncode, 0)
        self.assertEqual(self.run_command("--out", "x", "--prefill", "0").returncode, 2)
        missing = os.path.join(self.path, "no", "such", "folder")
        done = self.run_command("--model", "tiny", "--out", missing)
        self.assertEqual(done.returncode, 1)
        self.assertNotIn("Traceback", done.stderr)


if __name__ == "__main__":
    unittest.main()
