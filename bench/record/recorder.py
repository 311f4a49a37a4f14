# SPDX-License-Identifier: Apache-2.0
#
# Records what a PyTorch program asks of its memory: every storage that begins or ends, every
# tensor that an operation reads or writes, with phases, layers, names and categories. No weights,
# no GPU and next to no memory are needed: tensors are fake (torch's FakeTensorMode), shapes are
# true.
#
#   with Recorder("run.tpt", metadata={"model": "mine"}) as r:
#       model = MyModel().eval()            # built inside: its parameters are fake
#       r.adopt(model)                      # parameters and buffers: category weight
#       with r.phase("prefill"):
#           out = model(torch.zeros(1, 512, dtype=torch.long))
#
# What it sees: each ATen operation, after composite ones are taken apart. What it cannot see:
# memory that a kernel takes for itself (workspaces). One thread; operations of other threads are
# not seen.

import collections
import contextlib
import gc
import weakref
import zlib

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

import trace_writer as tw

# In-place operations that do not look at what they overwrite.
_PURE_WRITES = ("copy_", "zero_", "fill_", "normal_", "uniform_", "set_")

_active = []  # the recorders that are recording, innermost last


@contextlib.contextmanager
def tag(category=None, name=None):
    """Tensors allocated inside get this category and name; nothing happens while nobody records.
    For model code: it does not need to know the recorder."""
    if not _active:
        yield
        return
    recorder = _active[-1]
    recorder._tags.append((category, name))
    try:
        yield
    finally:
        recorder._tags.pop()


def _storage(tensor):
    return tensor.untyped_storage() if hasattr(tensor, "untyped_storage") else tensor.storage()


class _Storage:
    """One storage that lives: its id, and how many Python tensors are seen on it."""

    __slots__ = ("id", "key", "tensors", "alive")

    def __init__(self, id, key, alive):
        self.id, self.key, self.alive, self.tensors = id, key, alive, 0


class _Dispatch(TorchDispatchMode):
    def __init__(self, recorder):
        super().__init__()
        self._recorder = recorder

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if self._recorder._is_paused:
            return func(*args, **kwargs)
        self._recorder._before()
        out = func(*args, **kwargs)
        self._recorder._after(func, args, kwargs, out)
        return out


class Recorder:
    """A context manager that records into a trace file.

    path      the trace to write
    metadata  JSON-serialisable dict for its header; torch's version and the recorder are added
    device    what the trace calls the device of its tensors
    alignment of every tensor, in bytes
    level     of zstd; 0 stores the trace uncompressed
    fake_mode the FakeTensorMode of tensors that exist already, if there are any
    """

    def __init__(self, path, metadata=None, device="cpu", alignment=64, level=19,
                 fake_mode=None):
        known = {"recorder": "tidepool bench/record", "torch": torch.__version__}
        self._path, self._metadata = path, {**known, **(metadata or {})}
        self._device, self._alignment, self._level = device, alignment, level
        self._storages = {}             # address of the storage -> _Storage
        self._dying = collections.deque()  # storages without Python tensors, in order of death
        self._names = {}                # id(parameter) -> name, while adopting
        self._next_id = 1
        self._tags = []
        self._modules = [["", 0]]       # path and operations so far of the open modules
        self._hooks = []
        self._sites = {}
        self._is_paused = False
        self._fake_mode = fake_mode or FakeTensorMode()
        self.op_count = 0

    # ---- life --------------------------------------------------------------------------------

    def __enter__(self):
        self._stack = contextlib.ExitStack()
        writer = tw.TraceWriter(self._path, self._metadata, level=self._level)
        self._writer = self._stack.enter_context(writer)
        self._had_gc = gc.isenabled()
        gc.collect()
        gc.disable()  # a collection at an arbitrary moment would move frees from run to run
        self._stack.callback(self._restore)
        self._stack.enter_context(torch.no_grad())
        self._stack.enter_context(self._fake_mode)
        self._stack.enter_context(_Dispatch(self))
        _active.append(self)
        return self

    def _restore(self):
        if self in _active:
            _active.remove(self)
        for hook in self._hooks:
            hook.remove()
        if self._had_gc:
            gc.enable()

    def __exit__(self, *failure):
        if failure[0] is None:
            self.settle()
        return self._stack.__exit__(*failure)

    @contextlib.contextmanager
    def pause(self):
        """Inside, nothing is recorded, and tensors are fake all the same: for building a model,
        whose parameters adopt() then records as loaded, without their initialisation."""
        self._before()
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False

    def settle(self):
        """Runs the cycle collector and records the frees that are due."""
        gc.collect()
        self._before()

    @property
    def writer(self):
        """The trace written so far: counts and peak. Only to look at."""
        return self._writer

    # ---- what the program says -----------------------------------------------------------------

    @contextlib.contextmanager
    def phase(self, name, ordinal=0, scope=tw.PHASE):
        """Marks a phase: load, prefill, decode, ..."""
        self._before()
        self._writer.begin(scope, name, ordinal)
        yield
        if scope == tw.PHASE:
            self.settle()
        self._before()
        self._writer.end(scope, name, ordinal)

    def step(self, name, ordinal):
        """Marks one step within a phase."""
        return self.phase(name, ordinal, scope=tw.STEP)

    tag = staticmethod(tag)

    def retag(self, tensor, category, name=""):
        """Changes the category of a tensor that lives already."""
        known = self._storages.get(_storage(tensor)._cdata)
        if known is None or known.alive.expired():
            raise ValueError("the recorder does not know this tensor")
        self._writer.retag(known.id, category=category, name=name)

    def adopt(self, module, category="weight", phase="load"):
        """Records parameters and buffers as allocated now, in the module's order, and marks the
        modules' calls from here on."""
        with self.phase(phase):
            tensors = list(module.named_parameters()) + list(module.named_buffers())
            for name, tensor in tensors:
                if _storage(tensor)._cdata not in self._storages:
                    self._begin(tensor, category, name)
                    self._writer.touch([self._id_of(tensor)], tw.WRITE)
                else:
                    # Made while recording: it has an alloc, and now a meaning.
                    self.retag(tensor, category, name)
        self.watch(module)

    def watch(self, module):
        """Marks the calls of `module`'s parts: the items of its ModuleLists are layers, and every
        operation's site tells the part it happened in."""
        layers = {}
        for path, part in module.named_modules():
            if isinstance(part, torch.nn.ModuleList):
                layers.update((id(item), number) for number, item in enumerate(part))
        for path, part in module.named_modules():
            self._hook(part, path, layers.get(id(part)))

    def _hook(self, part, path, layer):
        def enter(*_):
            self._modules.append([path, 0])
            if layer is not None:
                self._before()
                self._writer.begin(tw.LAYER, path, layer)

        def leave(*_):
            self._modules.pop()
            if layer is not None:
                self._before()
                self._writer.end(tw.LAYER, path, layer)

        self._hooks.append(part.register_forward_pre_hook(enter))
        self._hooks.append(part.register_forward_hook(leave))

    # ---- what the dispatcher says ----------------------------------------------------------------

    def _before(self):
        """Records the frees that happened since the last event, in their order."""
        for _ in range(len(self._dying)):
            storage = self._dying.popleft()
            if storage.tensors:
                continue  # another view came to light: it will die again
            if not storage.alive.expired():
                self._dying.append(storage)  # held by C++ still
                continue
            del self._storages[storage.key]
            self._writer.free(storage.id)

    def _after(self, func, args, kwargs, out):
        self._before()
        inputs = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
        outputs = [t for t in tree_flatten(out)[0] if isinstance(t, torch.Tensor)]
        if not inputs and not outputs:
            return
        self.op_count += 1
        site = self._site(func)
        for tensor in inputs:  # tensors made before the recording began
            if _storage(tensor)._cdata not in self._storages and _storage(tensor).nbytes():
                self._begin(tensor, "external", "", flags=tw.EXTERNAL)
            else:
                self._see(tensor)
        is_new = False
        for tensor in outputs:
            if _storage(tensor)._cdata not in self._storages:
                category, name = self._tags[-1] if self._tags else (None, None)
                self._begin(tensor, category or "temporary", name or str(func.overloadpacket),
                            site=site)
                is_new = True
            else:
                self._see(tensor)
        written, is_pure = self._written(func, args, kwargs)
        if not is_new and not written:
            return  # a view, or a question about shapes: no data is touched
        writes = self._ids(written)
        reads = [id for id in self._ids(inputs) if id not in writes]
        if reads:
            self._writer.touch(reads, tw.READ, site=site)
        if writes:
            self._writer.touch(writes, tw.WRITE if is_pure else tw.READ_WRITE, site=site)

    @staticmethod
    def _written(func, args, kwargs):
        """The tensors that the operation's schema says it writes, and whether it only writes."""
        found, is_out = [], False
        for position, argument in enumerate(func._schema.arguments):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            value = args[position] if position < len(args) else kwargs.get(argument.name)
            found += [t for t in tree_flatten(value)[0] if isinstance(t, torch.Tensor)]
            is_out = is_out or argument.is_out
        name = func._schema.name.rpartition("::")[2]
        return found, is_out or name in _PURE_WRITES

    def _ids(self, tensors):
        """Their storages' ids, each once, in order; empty storages have no data to touch."""
        return list(dict.fromkeys(self._id_of(t) for t in tensors
                                  if _storage(t)._cdata in self._storages))

    def _id_of(self, tensor):
        return self._storages[_storage(tensor)._cdata].id

    def _site(self, func):
        """A hash of where in the model the operation stands: the same in every step and run."""
        module = self._modules[-1]
        module[1] += 1
        key = (module[0], func, module[1])
        site = self._sites.get(key)
        if site is None:
            site = self._sites[key] = zlib.crc32(f"{module[0]}/{module[1]}/{func}".encode()) or 1
        return site

    def _begin(self, tensor, category, name, site=0, flags=0):
        storage = _storage(tensor)
        known = _Storage(self._next_id, storage._cdata, StorageWeakRef(storage))
        self._next_id += 1
        self._storages[known.key] = known
        self._writer.alloc(known.id, storage.nbytes(), device=self._device, category=category,
                           name=name, alignment=self._alignment, site=site, flags=flags)
        self._see(tensor)

    def _see(self, tensor):
        """Counts a Python tensor on its storage, and notices its end."""
        known = self._storages.get(_storage(tensor)._cdata)
        if known is None or getattr(tensor, "_tidepool_seen", None) is known:
            return
        tensor._tidepool_seen = known
        known.tensors += 1
        weakref.finalize(tensor, self._unsee, known).atexit = False

    def _unsee(self, known):
        known.tensors -= 1
        if known.tensors == 0:
            self._dying.append(known)
