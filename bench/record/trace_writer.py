# SPDX-License-Identifier: Apache-2.0
#
# A writer of "tidepool trace 1" in plain Python, for recorders and importers. It needs no package:
# zstd comes from `zstandard` where that is installed, else from libzstd.so.1 by ctypes; without
# either, chunks are stored uncompressed, which the format allows. The format is described in
# ../trace/README.md, and ../trace/event.hpp has the same layout in C++.
#
# It checks what would make a trace useless (a double alloc, a free of an unknown tensor) at once,
# where the recorder's author can still see why, and raises TraceError.

import ctypes
import ctypes.util
import json
import struct
import zlib
from array import array

MAGIC = b"tidepool trace 1"
LOGICAL, NANOSECONDS = 0, 1

ALLOC, FREE, TOUCH, RETAG, SYNC, TRIM, MARK_BEGIN, MARK_END = range(1, 9)
DEFINE_NAME, DEFINE_CATEGORY, DEFINE_DEVICE, TOUCH_TENSORS, TOUCH_PARTS = range(0x40, 0x45)
COMMENT = 0xC0

READ, WRITE, READ_WRITE = 1, 2, 3
OK, OUT_OF_MEMORY, OK_AFTER_RETRY = 0, 1, 2
OTHER, PHASE, LAYER, STEP = 0, 1, 2, 3

PINNED, SHARED, TRACKED, EXTERNAL, CAPTURE = (1 << bit for bit in range(5))

_RECORD = struct.Struct("<QQQIIIHHHBBBBBB")
_MAX_TEXT_BYTES = 4096
_MAX_LIST_BYTES = 8 << 20
_MAX_EXTRAS_BYTES = 4 << 20
_MAX_METADATA_BYTES = 1 << 20
_MAX_TENSOR_BYTES = 1 << 48
assert _RECORD.size == 48


class TraceError(Exception):
    """The events do not make a trace: a mistake of the recorder, not of its user."""


def _ctypes_compressor(level):
    """A compressing function over libzstd, or None."""
    for name in ("libzstd.so.1", ctypes.util.find_library("zstd")):
        try:
            lib = ctypes.CDLL(name) if name else None
        except OSError:
            continue
        if lib is not None:
            break
    else:
        return None
    if lib is None:
        return None
    lib.ZSTD_createCCtx.restype = ctypes.c_void_p
    lib.ZSTD_freeCCtx.argtypes = [ctypes.c_void_p]
    lib.ZSTD_CCtx_setParameter.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    lib.ZSTD_CCtx_setParameter.restype = ctypes.c_size_t
    lib.ZSTD_compressBound.argtypes = [ctypes.c_size_t]
    lib.ZSTD_compressBound.restype = ctypes.c_size_t
    lib.ZSTD_compress2.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t,
                                   ctypes.c_char_p, ctypes.c_size_t]
    lib.ZSTD_compress2.restype = ctypes.c_size_t
    lib.ZSTD_isError.argtypes = [ctypes.c_size_t]

    def compress(raw):
        context = lib.ZSTD_createCCtx()
        if not context:
            raise MemoryError("zstd")
        try:
            lib.ZSTD_CCtx_setParameter(context, 100, level)  # ZSTD_c_compressionLevel
            lib.ZSTD_CCtx_setParameter(context, 201, 1)      # ZSTD_c_checksumFlag
            packed = ctypes.create_string_buffer(lib.ZSTD_compressBound(len(raw)))
            size = lib.ZSTD_compress2(context, packed, len(packed), raw, len(raw))
            if lib.ZSTD_isError(size):
                raise TraceError("zstd cannot compress a chunk")
            return packed.raw[:size]
        finally:
            lib.ZSTD_freeCCtx(context)

    return compress


def find_compressor(level):
    """Returns bytes -> bytes making zstd frames, or None where there is no zstd."""
    try:
        import zstandard
    except ImportError:
        return _ctypes_compressor(level)
    return zstandard.ZstdCompressor(level=level, write_checksum=True).compress


def _filter(records):
    """Filter delta_planes: differences of the 64-bit words, then byte planes."""
    words = array("Q")
    words.frombytes(records)
    if words.itemsize != 8 or array("H", [1]).tobytes() != b"\x01\x00":
        raise TraceError("this writer needs a little-endian machine")
    planes = []
    for lane in range(6):
        column = words[lane::6]
        deltas = array("Q", [(now - before) & 0xFFFFFFFFFFFFFFFF
                             for before, now in zip([0, *column], column)]).tobytes()
        planes.extend(deltas[byte::8] for byte in range(8))
    return b"".join(planes)


class TraceWriter:
    """Writes one trace. Use as a context manager; leaving it by an exception leaves the trace
    without a footer, so that readers see that it is incomplete."""

    def __init__(self, path, metadata=None, clock=LOGICAL, chunk_events=65536, level=19):
        text = json.dumps(metadata or {}, separators=(",", ":"), ensure_ascii=False).encode()
        if len(text) > _MAX_METADATA_BYTES:
            raise TraceError("metadata of more than 1 MiB")
        self._compress = find_compressor(level) if level else None
        self._chunk_events = min(max(chunk_events, 1), 131072)
        self._names, self._categories, self._devices = {"": 0}, {"": 0}, {}
        self._records, self._extras = bytearray(), bytearray()
        self._pending = 0
        self._live = {}        # id -> (bytes, generation)
        self.time = 0          # of the last event
        self.events = self.allocs = self.frees = self.touches = self.failed_allocs = 0
        self.allocated_bytes = self.live_bytes = self.peak_live_bytes = 0
        self._file = open(path, "wb")
        head = struct.pack("<16sHHHHIIIII", MAGIC, 0, 48, 48, clock, 0, 0, len(text),
                           zlib.crc32(text), 0)
        self._file.write(head + struct.pack("<I", zlib.crc32(head)) + text)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.close()
        else:
            self._file.close()

    # ---- definitions -------------------------------------------------------------------------

    def name(self, text):
        """The index of a name, defined at its first use; "" is 0, meaning none."""
        index = self._names.get(text)
        if index is None:
            index = len(self._names)
            self._define(DEFINE_NAME, text, id=index)
            self._names[text] = index
        return index

    def category(self, text):
        number = self._categories.get(text)
        if number is None:
            number = len(self._categories)
            if number > 255:
                raise TraceError("more than 255 categories")
            self._define(DEFINE_CATEGORY, text, category=number)
            self._categories[text] = number
        return number

    def device(self, text, capacity_bytes=0):
        number = self._devices.get(text)
        if number is None:
            number = len(self._devices)
            if number > 255:
                raise TraceError("more than 256 devices")
            self._define(DEFINE_DEVICE, text, id=capacity_bytes, device=number)
            self._devices[text] = number
        return number

    def _define(self, kind, text, **fields):
        raw = text.encode()
        if len(raw) > _MAX_TEXT_BYTES:
            raise TraceError("a text of more than 4096 bytes")
        self._append(kind, extra=raw, **fields)

    # ---- events ------------------------------------------------------------------------------

    def alloc(self, id, bytes, *, device, category="", name="", generation=0, alignment=1,
              stream=0, thread=0, site=0, flags=0, result=OK, time=None):
        if alignment < 1 or alignment & (alignment - 1) or alignment > 1 << 32:
            raise TraceError(f"an alignment of {alignment}")
        if not 0 <= bytes <= _MAX_TENSOR_BYTES:
            raise TraceError(f"a tensor of {bytes} bytes")
        numbers = self.name(name), self.category(category), self.device(device)
        if result == OUT_OF_MEMORY:
            self.failed_allocs += 1
        else:
            if id == 0 or id in self._live:
                raise TraceError(f"alloc of tensor {id}, which lives (0 means none)")
            self._live[id] = bytes, generation
            self.allocs += 1
            self.allocated_bytes += bytes
            self.live_bytes += bytes
            self.peak_live_bytes = max(self.peak_live_bytes, self.live_bytes)
        self._append(ALLOC, id=id, bytes=bytes, generation=generation, name=numbers[0], site=site,
                     stream=stream, thread=thread, flags=flags, category=numbers[1],
                     device=numbers[2], alignment_log2=alignment.bit_length() - 1, detail=result,
                     time=time)

    def free(self, id, *, stream=0, thread=0, time=None):
        if id not in self._live:
            raise TraceError(f"free of tensor {id}, which does not live")
        bytes, generation = self._live.pop(id)
        self.frees += 1
        self.live_bytes -= bytes
        self._append(FREE, id=id, bytes=bytes, generation=generation, stream=stream, thread=thread,
                     time=time)

    def touch(self, ids, access=READ, *, stream=0, thread=0, site=0, time=None):
        """One operation's touches of one or several tensors."""
        ids = list(ids)
        for id in ids:
            if id not in self._live:
                raise TraceError(f"use of tensor {id}, which does not live")
        self.touches += len(ids)
        if len(ids) == 1:
            self._append(TOUCH, id=ids[0], generation=self._live[ids[0]][1], detail=access,
                         stream=stream, thread=thread, site=site, time=time)
        elif ids:
            self._append(TOUCH_TENSORS, extra=struct.pack(f"<{len(ids)}Q", *ids), detail=access,
                         stream=stream, thread=thread, site=site, time=time)

    def touch_parts(self, id, parts, access=READ, *, stream=0, thread=0, site=0, time=None):
        if id not in self._live:
            raise TraceError(f"use of tensor {id}, which does not live")
        self.touches += 1
        self._append(TOUCH_PARTS, id=id, generation=self._live[id][1], detail=access,
                     extra=struct.pack(f"<{len(parts)}I", *parts), stream=stream, thread=thread,
                     site=site, time=time)

    def retag(self, id, *, category, name="", flags=0, thread=0, time=None):
        if id not in self._live:
            raise TraceError(f"use of tensor {id}, which does not live")
        numbers = self.name(name), self.category(category)
        self._append(RETAG, id=id, generation=self._live[id][1], name=numbers[0],
                     category=numbers[1], flags=flags, thread=thread, time=time)

    def begin(self, scope, name, ordinal=0, *, thread=0, time=None):
        self._append(MARK_BEGIN, id=ordinal, name=self.name(name), detail=scope, thread=thread,
                     time=time)

    def end(self, scope, name, ordinal=0, *, thread=0, time=None):
        self._append(MARK_END, id=ordinal, name=self.name(name), detail=scope, thread=thread,
                     time=time)

    def comment(self, text):
        self._append(COMMENT, extra=text.encode()[:_MAX_TEXT_BYTES])

    def _append(self, kind, *, id=0, bytes=0, generation=0, name=0, site=0, stream=0, thread=0,
                flags=0, category=0, device=0, alignment_log2=0, detail=0, extra=b"", time=None):
        if len(extra) > _MAX_LIST_BYTES:
            raise TraceError("more than 8 MiB of extra for one event")
        # The logical clock counts events; definitions made on the way share the time before.
        if time is None:
            time = self.time + 1
        if time < self.time:
            raise TraceError(f"time went back from {self.time} to {time}")
        self.time = time
        if kind & 0x40:
            bytes = len(extra)
        if self._pending and (self._pending >= self._chunk_events or
                              len(self._extras) + len(extra) > _MAX_EXTRAS_BYTES):
            self._flush()
        self._records += _RECORD.pack(time, id, bytes, generation, name, site, stream, thread,
                                      flags, kind, category, device, alignment_log2, detail, 0)
        self._extras += extra
        self._pending += 1
        self.events += 1

    # ---- chunks ------------------------------------------------------------------------------

    def _write_chunk(self, tag, first_event, count, raw, filter_kind):
        stored, codec = raw, 0
        if tag == b"EVTS" and self._compress:
            stored, codec = self._compress(raw), 1
        head = struct.pack("<4sHHQIIIII", tag, codec, filter_kind, first_event, count, len(stored),
                           len(raw), zlib.crc32(stored), 0)
        self._file.write(head + struct.pack("<I", zlib.crc32(head)) + stored)

    def _flush(self):
        if not self._pending:
            return
        records = bytes(self._records)
        if self._compress:
            records = _filter(records)
        self._write_chunk(b"EVTS", self.events - self._pending, self._pending,
                          records + bytes(self._extras), 1 if self._compress else 0)
        self._records, self._extras, self._pending = bytearray(), bytearray(), 0

    def close(self):
        """Writes what is left and the footer."""
        if self._file.closed:
            return
        self._flush()
        footer = struct.pack("<9Q", self.events, self.allocs, self.frees, self.touches,
                             self.failed_allocs, self.allocated_bytes, self.peak_live_bytes,
                             self.live_bytes, self.time)
        self._write_chunk(b"FOOT", self.events, 0, footer, 0)
        self._file.close()
