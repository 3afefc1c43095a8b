"""What rate LivePortrait can be expected to have here."""

from __future__ import annotations

import functools
import time

import torch
import torch.nn.functional as F

FRAME_GFLOP = 1245.0
"""Work of one frame at the published size, by the definition: M 11.6, W 342, G 892."""
GAIN = 1.7
"""How much faster than the definition the prepared form is on a CPU (`benchmarks liveportrait-cpu`)."""


@functools.lru_cache(maxsize=1)
def seconds_a_frame() -> float:
    """Seconds of a frame on this machine's CPU, from one of the network's convolutions; 30 ms to find out."""
    x = torch.zeros(1, 256, 64, 64).contiguous(memory_format=torch.channels_last)
    weight = torch.zeros(256, 256, 3, 3).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        F.conv2d(x, weight, padding=1)
        begun = time.perf_counter()
        F.conv2d(x, weight, padding=1)
        took = time.perf_counter() - begun
    work = 2 * 9 * 256 * 256 * 64 * 64 / 1e9
    return took * FRAME_GFLOP / work / GAIN


def expectation(device: str, share: float = 1.0) -> str:
    """For people. device: "cpu", "cuda" or "mps". share: of the published size's work."""
    if device == "cuda":
        return "its rate has not been measured on a GPU yet"
    if device == "mps":
        return "it has not been run on an Apple GPU yet"
    return f"about {share * seconds_a_frame():.1f} s a frame: for films; live it needs a GPU"
