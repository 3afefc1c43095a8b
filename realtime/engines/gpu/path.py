"""What a neural engine calls on a GPU: captured frames on the device's own thread, shared by a network's sessions.

Engines with the same network share its graphs: the driving frames of all sessions that wait are encoded in one
launch, and their pictures drawn in another. Where cameras give frames of different sizes, each size has a graph.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from realtime.engines.gpu.batching import Batcher, Seat
from realtime.engines.gpu.graph import BATCHES, CudaDevice, Device, FrameGraph
from realtime.engines.gpu.program import AnimatorProgram, Network, Part, Programs
from realtime.engines.gpu.thread import GpuThread, gpu_thread, out_of_memory
from realtime.errors import DeviceError

T = TypeVar("T")
Box = tuple[float, float, float, float]

_lock = threading.Lock()


class Station:
    """The graphs of one network on one device. Everything here runs on the device's thread."""

    def __init__(
        self,
        net: Network,
        programs: Callable[[Any], Programs],
        device: torch.device,
        thread: GpuThread,
        make_device: Callable[[torch.device], Device],
    ) -> None:
        self.thread = thread
        self._net, self._make_programs = net, programs
        self._device, self._make_device = device, make_device
        self._programs: Programs | None = None
        self._batchers: dict[tuple[Part, tuple[int, int]], Batcher] = {}
        self.graphs: dict[tuple[Part, tuple[int, int]], FrameGraph] = {}

    def batcher(self, part: Part, frame: tuple[int, int] = (0, 0)) -> Batcher:
        """The batcher of `part`, for driving frames of that height and width; made when it is first asked for."""
        key = (part, frame)
        if key not in self._batchers:
            program = self._program(part, frame)
            self.graphs[key] = graph = _fitting(program, self._make_device(self._device), BATCHES)
            self._batchers[key] = Batcher(graph, self.thread)
        return self._batchers[key]

    def _program(self, part: Part, frame: tuple[int, int]) -> AnimatorProgram:
        if self._programs is None:
            self._programs = self._make_programs(self._net)
        return self._programs(part, frame, self._device)

    def portrait(self, x: Tensor) -> dict[str, Tensor]:
        """State of a portrait for the graph that renders."""
        program = self.graphs[("render", (0, 0))].program
        assert isinstance(program, AnimatorProgram)
        return program.portrait(x.to(self._device))


def _fitting(program: AnimatorProgram, device: Device, batches: Sequence[int]) -> FrameGraph:
    """A graph with as many rows as fit into memory."""
    while True:
        try:
            graph = FrameGraph(program, device, batches=batches, eager=_no_capture(device))
            graph.prepare(batches[0])
            return graph
        except Exception as error:
            if not out_of_memory(error) or len(batches) == 1:
                raise
            batches = batches[:-1]


def _no_capture(device: Device) -> str:
    return "" if isinstance(device, CudaDevice) else "this device has no graphs"


_stations: weakref.WeakValueDictionary[int, Station] = weakref.WeakValueDictionary()
"""By the network's id, which stays its own while the station holds the network."""


class GpuPath:
    """One session of a network on a GPU. Its methods block their caller until the device is done; `encode` and
    `render` may be called from two threads at once.

    programs: makes the network's programs, in the form that is fastest on a GPU; called once per network and device,
    on the device's thread. device: what to run on. name: for messages. make_device: for tests.
    Raises DeviceError where the session was shed because memory ran out.
    """

    def __init__(
        self,
        net: Network,
        programs: Callable[[Any], Programs],
        device: torch.device,
        name: str = "avatar",
        make_device: Callable[[torch.device], Device] = CudaDevice,
    ) -> None:
        thread = gpu_thread(device)
        with _lock:
            station = _stations.get(id(net))
            if station is None:
                station = _stations[id(net)] = Station(net, programs, device, thread, make_device)
        self._station, self._name, self._codes = station, name, net.motion_dim
        self._render: Seat | None = None
        self._encode: tuple[tuple[int, int], Seat] | None = None

    def call(self, work: Callable[[], T]) -> T:
        """Run `work` on the device's thread."""
        return self._station.thread.submit(work).result()

    def set_portrait(self, x: Tensor, **known: Tensor) -> None:
        """x: (1, 3, S, S) in [-1, 1]. Frames before it show the old portrait, frames after it the new one.

        known: entries of the program's state that the network does not see for itself."""
        if self._render is None:
            self._render = self._seat("render")
        state = self.call(lambda: self._station.portrait(x))
        self._render.set_state(**state | known).result()

    def encode(self, image: np.ndarray, box: Box) -> np.ndarray:
        """Motion code of a driving frame, float32 (M). image: uint8 (H, W, 3); box: left, top, right, bottom."""
        size = (image.shape[0], image.shape[1])
        if self._encode is None or self._encode[0] != size:
            if self._encode is not None:
                self._encode[1].leave()
            self._encode = (size, self._seat("encode", size))
        values = {"frame": image, "box": np.asarray(box, np.float32)}
        return self._encode[1].submit(values).result()["code"]

    def render(self, code: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """The portrait moved by code - reference: uint8 (S, S, 3). Both float32 (M)."""
        if self._render is None:
            raise DeviceError("GPU", "no portrait has been set")
        values = {"code": code, "reference": reference, "edits": np.zeros(self._codes, np.float32)}
        return self._render.submit(values).result()["picture"]

    def describe(self) -> str:
        """Which path frames take: one captured graph, or eager and why."""
        lines = {graph.describe() for graph in self._station.graphs.values()}
        return "; ".join(sorted(lines)) or "nothing has run yet"

    def close(self) -> None:
        """Give back the seats. Safe to call twice."""
        for seat in (self._render, self._encode[1] if self._encode else None):
            if seat is not None:
                seat.leave()
        self._render = self._encode = None

    def _seat(self, part: Part, frame: tuple[int, int] = (0, 0)) -> Seat:
        batcher = self.call(lambda: self._station.batcher(part, frame))
        return batcher.join(self._name).result()
