"""Whole frames as one captured CUDA graph: from the uploaded camera frame to the picture ready for download.

An eager frame of a network is hundreds of kernel launches, each a few microseconds of the CPU; a captured one is a
single launch. What changes from frame to frame (the frame, its crop box, sliders, the reference code) lies in device
memory that the graph reads, so nothing is captured twice:

- per frame, *inputs* travel in one upload and *outputs* in one download, each through pinned memory; there are two
  slots of both, on copy streams of their own, so that the upload of frame n + 1 runs beside frame n;
- per portrait, *state* (latent, features, background) lies in rows, one per session; a new portrait overwrites its
  row in place, in order with the frames around it;
- one graph is captured per batch size (1, 2, 4, 8 rows), when it is first needed, and all of them share one memory
  pool, because they run one after the other.

Where capture fails, the same buffers and the same function run eagerly, and `FrameGraph.reason` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

ALIGNMENT = 256
BATCHES = (1, 2, 4, 8)
WARM_UP = 3
"""Runs before capture: libraries choose their algorithms, kernels are compiled, caches fill."""

Buffers = Mapping[str, Tensor]


@dataclass(frozen=True)
class Spec:
    """One buffer: shape of a row (without the batch), element type, and for (C, H, W) maps their order in memory."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    channels_last: bool = False

    @property
    def bytes(self) -> int:
        """Size of one row."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


class Program(Protocol):
    """What one frame does. All buffers have the batch as their first dimension."""

    @property
    def inputs(self) -> Mapping[str, Spec]: ...
    @property
    def outputs(self) -> Mapping[str, Spec]: ...
    @property
    def state(self) -> Mapping[str, Spec]: ...

    def run(self, inputs: Buffers, state: Buffers, outputs: Buffers) -> None:
        """Fill `outputs`. Enqueues work on the current stream and never waits for it; takes every value that may
        change between frames from the buffers. Called to warm up, to be captured, and per frame where eager."""


class Waiting(Protocol):
    """A frame under way on a device."""

    def wait(self) -> None:
        """Returns when its download is complete."""


class Device(Protocol):
    """Where frames run. `CudaDevice` is the real one; tests use others."""

    def zeros(self, count: int, *, pinned: bool = False) -> Tensor:
        """uint8 (count), on the device, or in host memory that it copies from without the CPU."""

    def warm_up(self, work: Callable[[], None], times: int) -> None:
        """Run `work` a few times and wait."""

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        """Record `work`; the result repeats it. Raises RuntimeError where it cannot be recorded."""

    def run(self, upload: Callable[[], None], work: Callable[[], None], download: Callable[[], None]) -> Waiting:
        """Enqueue one frame: `upload` may overlap the frame before, `work` follows it, `download` follows `work`."""

    def ordered(self, work: Callable[[], None]) -> None:
        """Enqueue `work` after all frames enqueued so far and before those that follow."""


@dataclass(frozen=True)
class Layout:
    """Where each buffer lies in one block of memory. offsets: bytes; size: bytes of the whole block."""

    specs: Mapping[str, Spec]
    rows: int
    offsets: Mapping[str, int]
    size: int

    @classmethod
    def plan(cls, specs: Mapping[str, Spec], rows: int) -> Layout:
        """Lay buffers of `rows` rows one after the other, each at a multiple of `ALIGNMENT`."""
        offsets, at = {}, 0
        for name, spec in specs.items():
            offsets[name] = at
            at += -(-spec.bytes * rows // ALIGNMENT) * ALIGNMENT
        return cls(specs, rows, offsets, max(at, ALIGNMENT))

    def views(self, block: Tensor) -> dict[str, Tensor]:
        """The buffers in `block`, uint8 (size): (rows, *shape), without a copy."""
        found = {}
        for name, spec in self.specs.items():
            start = self.offsets[name]
            flat = block[start : start + spec.bytes * self.rows].view(spec.dtype)
            found[name] = _shaped(flat, spec, self.rows)
        return found


def _shaped(flat: Tensor, spec: Spec, rows: int) -> Tensor:
    if not spec.channels_last:
        return flat.view(rows, *spec.shape)
    c, h, w = spec.shape
    return flat.view(rows, h, w, c).permute(0, 3, 1, 2)


def batch_for(rows: int, batches: Sequence[int]) -> int:
    """The smallest batch that holds `rows`. Raises ValueError where none does."""
    fitting = [b for b in batches if b >= rows]
    if rows < 1 or not fitting:
        raise ValueError(f"{rows} rows do not fit a batch of {', '.join(map(str, sorted(batches)))}")
    return min(fitting)


class Rows:
    """Which session has which row. Rows in use are always 0 ... n - 1, so that a batch is a prefix of the state."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._owners: list[Any] = []

    def __len__(self) -> int:
        return len(self._owners)

    def take(self, owner: Any) -> int:
        """A row for `owner`. Raises ValueError when all are taken."""
        if len(self._owners) == self.capacity:
            raise ValueError(f"all {self.capacity} rows are taken")
        self._owners.append(owner)
        return len(self._owners) - 1

    def row(self, owner: Any) -> int:
        """The row of `owner` at this moment."""
        return self._owners.index(owner)

    def give_back(self, owner: Any) -> tuple[int, int] | None:
        """Free the row of `owner`. Returns (from, to) where the last row moves into the gap: copy the state so."""
        row, last = self.row(owner), len(self._owners) - 1
        self._owners[row] = self._owners[last]
        self._owners.pop()
        return None if row == last else (last, row)


class Pending:
    """A submitted frame."""

    def __init__(self, waiting: Waiting, outputs: Buffers, rows: Sequence[int]) -> None:
        self._waiting, self._outputs, self._rows = waiting, outputs, rows
        self._results: dict[int, dict[str, np.ndarray]] | None = None

    def results(self) -> dict[int, dict[str, np.ndarray]]:
        """Waits; per row its outputs as new arrays."""
        if self._results is None:
            self._waiting.wait()
            host = {name: view.numpy() for name, view in self._outputs.items()}
            self._results = {row: {name: a[row].copy() for name, a in host.items()} for row in self._rows}
        return self._results


class _Slot:
    """Buffers of one frame under way, at one batch size."""

    def __init__(self, program: Program, device: Device, batch: int) -> None:
        into, out = Layout.plan(program.inputs, batch), Layout.plan(program.outputs, batch)
        self.host_in, self.host_out = device.zeros(into.size, pinned=True), device.zeros(out.size, pinned=True)
        self.device_in, self.device_out = device.zeros(into.size), device.zeros(out.size)
        self.given, self.inputs = into.views(self.host_in), into.views(self.device_in)
        self.outputs, self.taken = out.views(self.device_out), out.views(self.host_out)
        self.work: Callable[[], None] | None = None
        self.pending: Pending | None = None

    def upload(self) -> None:
        self.device_in.copy_(self.host_in, non_blocking=True)

    def download(self) -> None:
        self.host_out.copy_(self.device_out, non_blocking=True)


class FrameGraph:
    """Runs a `Program` frame by frame, captured where that is possible. Used from one thread.

    path: "graph" or "eager". reason: why it is not "graph", else "". batches: batch sizes that can be used; larger
    ones that did not fit into memory are taken out, and `notes` says so.
    """

    def __init__(
        self,
        program: Program,
        device: Device,
        *,
        batches: Sequence[int] = (1,),
        slots: int = 2,
        eager: str = "",
        out_of_memory: Callable[[BaseException], bool] | None = None,
    ) -> None:
        """eager: a reason not to capture at all. out_of_memory: whether an error is that (default: torch's)."""
        self.program, self.device = program, device
        self.batches = sorted(batches)
        self.path, self.reason = ("eager", eager) if eager else ("graph", "")
        self.notes: list[str] = []
        self._slots: dict[int, list[_Slot]] = {}
        self._count, self._next = slots, 0
        self._out_of_memory = out_of_memory or is_out_of_memory
        capacity = self.batches[-1]
        self.state: dict[str, Tensor] = {}
        for name, spec in program.state.items():
            flat = device.zeros(max(spec.bytes * capacity, 1))[: spec.bytes * capacity].view(spec.dtype)
            self.state[name] = _shaped(flat, spec, capacity)

    def describe(self) -> str:
        """One line for people: which path runs, and why if it is not the fast one."""
        if self.path == "eager":
            return f"eager, one launch per kernel: {self.reason}"
        ready = ", ".join(str(b) for b in sorted(self._slots)) or "none yet"
        return f"one CUDA graph per frame (captured for batch {ready})" + "".join(f"; {n}" for n in self.notes)

    def prepare(self, batch: int) -> int:
        """Make batch size `batch` ready and return it, or the largest that fits into memory.

        Raises what the program raises, and the error of the smallest batch where not even that fits."""
        while batch not in self._slots:
            try:
                self._slots[batch] = self._make(batch)
            except Exception as error:
                smaller = [b for b in self.batches if b < batch]
                if not self._out_of_memory(error) or not smaller:
                    raise
                self.batches = smaller
                self.notes.append(f"a batch of {batch} does not fit into memory")
                batch = smaller[-1]
        return batch

    def _make(self, batch: int) -> list[_Slot]:
        made = []
        state = {name: view[:batch] for name, view in self.state.items()}
        for _ in range(self._count):
            slot = _Slot(self.program, self.device, batch)

            def work(slot: _Slot = slot) -> None:
                self.program.run(slot.inputs, state, slot.outputs)

            self.device.warm_up(work, WARM_UP)
            slot.work = work
            if self.path == "graph":
                try:
                    slot.work = self.device.capture(work)
                except Exception as error:
                    if self._out_of_memory(error):
                        raise
                    text = " ".join(str(error).split()) or type(error).__name__
                    self.path, self.reason = "eager", f"capture failed: {text[:300]}"
            made.append(slot)
        return made

    def set_state(self, row: int, **values: Tensor) -> None:
        """Overwrite the state of `row`: tensors of one row, with or without the batch dimension. Frames submitted
        before still see the old values, frames submitted after see the new ones; nothing is captured again."""
        for name, value in values.items():
            target = self.state[name][row]
            if value.numel() != target.numel():
                raise ValueError(f"state {name} of one row is {tuple(target.shape)}, not {tuple(value.shape)}")

        def copy() -> None:
            for name, value in values.items():
                target = self.state[name][row]
                target.copy_(value.reshape(target.shape) if value.shape != target.shape else value, non_blocking=True)

        self.device.ordered(copy)

    def move_state(self, source: int, target: int) -> None:
        """Copy the state of row `source` to row `target` (see `Rows.give_back`)."""
        self.set_state(target, **{name: view[source] for name, view in self.state.items()})

    def submit(self, rows: Mapping[int, Mapping[str, np.ndarray]]) -> Pending:
        """Enqueue one frame for some rows: {row: {input: array}}, every input of the program given. Rows of the batch
        that are not named run on the values they had; their outputs are not returned.

        At most two frames are under way: the third waits for the first, whose results stay available.
        """
        batch = self.prepare(batch_for(max(rows) + 1, self.batches))
        if max(rows) >= batch:
            raise ValueError(f"row {max(rows)} does not fit: {self.notes[-1]}")
        slots = self._slots[batch]
        self._next = (self._next + 1) % len(slots)
        slot = slots[self._next]
        if slot.pending is not None:
            slot.pending.results()  # its buffers are about to be reused
        for row, values in rows.items():
            if missing := set(self.program.inputs) - set(values):
                raise ValueError(f"row {row} lacks {', '.join(sorted(missing))}")
            for name, given in slot.given.items():
                np.copyto(given[row].numpy(), values[name], casting="same_kind")
        assert slot.work is not None
        slot.pending = Pending(self.device.run(slot.upload, slot.work, slot.download), slot.taken, list(rows))
        return slot.pending


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` is the device's memory running out, in torch or in CuPy."""
    return isinstance(error, torch.OutOfMemoryError) or type(error).__name__ == "OutOfMemoryError"


class Immediate:
    """A `Device` that is the CPU: every step happens at once. "Capturing" keeps the function."""

    class _Done:
        def wait(self) -> None:
            return

    def zeros(self, count: int, *, pinned: bool = False) -> Tensor:
        return torch.zeros(count, dtype=torch.uint8)

    def warm_up(self, work: Callable[[], None], times: int) -> None:
        with torch.inference_mode():
            work()

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("the CPU has no graphs")

    def run(self, upload: Callable[[], None], work: Callable[[], None], download: Callable[[], None]) -> Waiting:
        with torch.inference_mode():
            upload()
            work()
            download()
        return self._Done()

    def ordered(self, work: Callable[[], None]) -> None:
        with torch.inference_mode():
            work()


class CudaDevice:
    """A CUDA device with one stream for work and one per direction of copying."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        torch.backends.cudnn.benchmark = True  # shapes never change: the warm-up finds the fastest convolutions
        with torch.cuda.device(device):
            self._work, self._up, self._down = (torch.cuda.Stream(device) for _ in range(3))
            self._pool = torch.cuda.graph_pool_handle()

    def zeros(self, count: int, *, pinned: bool = False) -> Tensor:
        if pinned:
            return torch.zeros(count, dtype=torch.uint8, pin_memory=True)
        made = torch.zeros(count, dtype=torch.uint8, device=self.device)
        torch.cuda.synchronize(self.device)  # made on another stream than it is used on
        return made

    def warm_up(self, work: Callable[[], None], times: int) -> None:
        with torch.inference_mode(), torch.cuda.stream(self._work):
            for _ in range(times):
                work()
        self._work.synchronize()

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        # thread_local: another thread that uses the device (a second engine) does not spoil the capture.
        with (
            torch.inference_mode(),
            torch.cuda.graph(graph, pool=self._pool, stream=self._work, capture_error_mode="thread_local"),
        ):
            work()
        return graph.replay

    def run(self, upload: Callable[[], None], work: Callable[[], None], download: Callable[[], None]) -> Waiting:
        uploaded, worked, done = (torch.cuda.Event() for _ in range(3))
        with torch.inference_mode():
            with torch.cuda.stream(self._up):
                upload()
                uploaded.record()
            with torch.cuda.stream(self._work):
                self._work.wait_event(uploaded)
                work()
                worked.record()
            with torch.cuda.stream(self._down):
                self._down.wait_event(worked)
                download()
                done.record()
        return _CudaFrame(done)

    def ordered(self, work: Callable[[], None]) -> None:
        caller = torch.cuda.current_stream(self.device)
        self._work.wait_stream(caller)  # what made the values must be done
        with torch.inference_mode(), torch.cuda.stream(self._work):
            work()
        caller.wait_stream(self._work)  # the values may be freed or changed after this


class _CudaFrame:
    def __init__(self, done: torch.cuda.Event) -> None:
        self._done = done

    def wait(self) -> None:
        self._done.synchronize()
