"""The warped person over the background: on the CPU, or on a GPU by the project's own kernels.

Both fill the triangles with the texture coordinates they show, fetch the colours there, lay them over the background
and soften the folds. What is painted afterwards (eyes, mouth) covers small boxes and stays on the CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import cv2
import numpy as np

from realtime.engines.gpu.thread import GpuThread, gpu_thread
from realtime.engines.mesh.eyes import ZOOM
from realtime.engines.mesh.portrait import PreparedPortrait
from realtime.engines.mesh.raster import composite, rasterise, soften_folds
from realtime.errors import BadValue, NoDevice

if TYPE_CHECKING:
    import torch

FOLD = 5.0
"""Neighbours that come from farther apart than this (pixels of the portrait) lie on either side of a fold."""
BAND = 64
"""On the CPU the picture is made in bands of so many rows, whose maps stay in the processor's cache."""
SHARE = 5.0 / 16.0
"""What a pixel beside a fold takes from its neighbour across it, as in `soften_folds`."""


class Warp(Protocol):
    """Holds the buffers of one picture; use it from one thread at a time."""

    device: str
    """What it runs on, for people: "cpu", "cuda:0 NVIDIA H200"."""

    def draw(self, portrait: PreparedPortrait, points: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """The person of `portrait` with the mesh's points moved, over the background: uint8 (H, W, 3), a new array.

        points: float32 (n, 2), pixels. depth: float32 (n,), smaller is nearer.
        """


def warp_on(device: str) -> Warp:
    """The warp for "auto" and "cpu" (the CPU, which is fast enough), "cuda" or "cuda:N".

    Raises BadValue for another name and NoDevice where that GPU cannot be used.
    """
    if device in ("auto", "cpu"):
        return CpuWarp()
    name, _, index = device.partition(":")
    if name != "cuda" or (device != "cuda" and not index.isdecimal()):
        raise BadValue("device", device, "auto, cpu, cuda or cuda:N")
    from realtime import kernels

    reason = kernels.why_unavailable()
    if reason:
        raise NoDevice(device, f"the mesh engine cannot run there: {reason}", "Without --device it runs on the CPU")
    import torch

    from realtime.kernels import backends

    if int(index or 0) >= torch.cuda.device_count():
        raise NoDevice(device, f"there are {torch.cuda.device_count()} CUDA devices, counted from 0")
    place = torch.device("cuda", int(index or 0))
    thread = gpu_thread(place)
    # compiled now, so that no frame waits for it
    thread.submit(lambda: backends.cuda_backend().warm_up(str(place), ("mesh",))).result()
    return KernelWarp(place, thread)


class CpuWarp:
    """Compiled loops and OpenCV."""

    device = "cpu"

    def __init__(self) -> None:
        self._width = 0

    def draw(self, portrait: PreparedPortrait, points: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """See `Warp.draw`."""
        self._reserve(portrait.width)
        out = np.empty((portrait.height, portrait.width, 3), np.uint8)
        for top in range(0, portrait.height, BAND):
            rows = slice(top, min(top + BAND, portrait.height))
            n = rows.stop - top
            map_x, map_y, front = self._map_x[:n], self._map_y[:n], self._front[:n]
            first, end = rasterise(points, depth, portrait.uv, portrait.triangles, top, map_x, map_y, self._depth[:n])
            if first < end:
                seen = slice(first, end)
                cv2.remap(
                    portrait.texture,
                    map_x[:, seen],
                    map_y[:, seen],
                    cv2.INTER_LINEAR,
                    dst=front[:, seen],
                    borderMode=cv2.BORDER_CONSTANT,
                    borderValue=(0, 0, 0, 0),
                )
            composite(front, portrait.background[rows], first, end, out[rows])
            soften_folds(map_x, map_y, FOLD * ZOOM, first, end, out[rows])
        return out

    def _reserve(self, width: int) -> None:
        if self._width == width:
            return
        self._width = width
        self._map_x, self._map_y, self._depth = (np.empty((BAND, width), np.float32) for _ in range(3))
        self._front = np.empty((BAND, width, 4), np.uint8)


class KernelWarp:
    """`kernels.mesh_flow` and `kernels.remap` on tensors of torch.

    The portrait's texture, background and mesh go up once; in a frame the points and depths go up and the picture
    comes down, on a stream of its own. On a torch device "cpu" the same code runs PyTorch's operators, for tests.
    thread: the one that owns the device; all work on it is done there. Without one it is done by whoever calls.
    """

    def __init__(self, device: torch.device, thread: GpuThread | None = None) -> None:
        import torch

        self._torch = torch
        self._device = device
        self._thread = thread
        self._on_gpu = device.type == "cuda"
        self._stream: torch.cuda.Stream | None = None
        self._portrait: PreparedPortrait | None = None
        self.device = f"{device} {torch.cuda.get_device_name(device)}" if self._on_gpu else str(device)

    def draw(self, portrait: PreparedPortrait, points: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """See `Warp.draw`."""
        if self._thread is None:
            return self._draw(portrait, points, depth)
        return self._thread.submit(lambda: self._draw(portrait, points, depth)).result()

    def _draw(self, portrait: PreparedPortrait, points: np.ndarray, depth: np.ndarray) -> np.ndarray:
        from realtime import kernels

        if self._on_gpu and self._stream is None:
            self._stream = self._torch.cuda.Stream(self._device)
        with self._torch.inference_mode(), self._torch.cuda.stream(self._stream):
            if portrait is not self._portrait:
                self._take(portrait)
            n = len(points)
            self._sent[: 2 * n] = self._torch.from_numpy(points).reshape(-1)
            self._sent[2 * n :] = self._torch.from_numpy(depth)
            self._moved.copy_(self._sent, non_blocking=True)
            at, far = self._moved[: 2 * n].view(n, 2), self._moved[2 * n :]
            kernels.mesh_flow(at, far, self._uv, self._triangles, scratch=self._scratch, out=self._flow)
            kernels.remap(self._texture, self._flow, behind=self._background, out=self._picture)
            self._received.copy_(_softened(self._torch, self._picture, self._flow), non_blocking=True)
            if self._stream is not None:
                self._stream.synchronize()
            return self._received.numpy().copy()

    def _take(self, portrait: PreparedPortrait) -> None:
        torch, device = self._torch, self._device
        fixed = (portrait.texture, portrait.background, portrait.uv, portrait.triangles)
        self._texture, self._background, self._uv, self._triangles = (
            torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in fixed
        )
        size = (portrait.height, portrait.width)
        self._flow = torch.empty(2, *size, device=device)
        self._scratch = torch.empty(size, dtype=torch.int64, device=device)
        self._picture = torch.empty(*size, 3, dtype=torch.uint8, device=device)
        self._moved = torch.empty(3 * len(portrait.uv), device=device)
        self._sent = torch.empty(3 * len(portrait.uv), pin_memory=self._on_gpu)
        self._received = torch.empty(*size, 3, dtype=torch.uint8, pin_memory=self._on_gpu)
        self._portrait = portrait


def _softened(torch: Any, picture: torch.Tensor, flow: torch.Tensor) -> torch.Tensor:
    """`soften_folds` for all pixels at once: `picture` uint8 (H, W, 3), `flow` (2, H, W); float32 (H, W, 3) rounded.

    Where several folds meet, the loop on the CPU goes on from what it just blended; this takes rows, then columns.
    """
    drawn = flow[0] >= 0.0
    out = picture.float()
    for axis in (1, 0):
        n = out.shape[axis] - 1
        here, there = ((drawn.narrow(axis, k, n), flow.narrow(axis + 1, k, n)) for k in (0, 1))
        fold = here[0] & there[0] & ((there[1] - here[1]).abs().sum(0) > FOLD * ZOOM)
        step = (out.narrow(axis, 1, n) - out.narrow(axis, 0, n)) * fold[..., None] * SHARE
        out.narrow(axis, 0, n).add_(step)
        out.narrow(axis, 1, n).sub_(step)
    return out.round_().clamp_(0, 255)
