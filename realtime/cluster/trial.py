"""How many sessions a machine takes: a few pictures are made, and their cost is compared with what there is."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from realtime.engines import Engine
from realtime.errors import EngineError
from realtime.flow.threads import cores

FPS = 30
ENCODER_S = 0.006
"""Processor time of encoding and decoding a picture of video, and of its packets, at 512 px."""
MOST = 8
"""Sessions of one process: beyond, they wait for one Python however many cores there are."""
TRIAL_S = 2.0
KEEP_FREE = 0.1
"""Share of a GPU's memory that is left alone."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What was found. frame_s: processor seconds of one driven picture. gpu_bytes: what one engine takes of the GPU's
    memory, gpu_free what there was before; 0 without a GPU."""

    frame_s: float
    gpu_bytes: int = 0
    gpu_free: int = 0

    def slots(self, cores: int) -> int:
        """Sessions at `FPS` at once, at least one."""
        fit = cores / (FPS * (self.frame_s + ENCODER_S))
        if self.gpu_bytes > 0:
            fit = min(fit, (1 - KEEP_FREE) * self.gpu_free / self.gpu_bytes)
        return max(1, min(MOST, int(fit)))


def measure(engine: Engine, portrait: np.ndarray, gpu_before: int = 0) -> Trial:
    """Let an engine follow a face for a moment. portrait: uint8 (H, W, 3), driver and portrait at once.
    gpu_before: the GPU's free memory before the engine was made.

    Raises EngineError where the picture cannot be followed."""
    engine.set_portrait(portrait)
    code = engine.encode(portrait)
    if code is None:
        raise EngineError(engine.name, "it finds no face in the portrait that it was tried with; give --slots")
    engine.render(code)
    count, began, spent = 0, time.monotonic(), time.process_time()
    while count < 3 or time.monotonic() - began < TRIAL_S:
        engine.render(engine.encode(portrait) or code)
        count += 1
    frame_s = (time.process_time() - spent) / count
    free = gpu_memory()
    return Trial(frame_s, max(0, gpu_before - free) if gpu_before else 0, gpu_before)


def gpu_memory() -> int:
    """Free bytes of the GPU, 0 without one or without PyTorch."""
    try:
        import torch
    except ImportError:
        return 0
    return int(torch.cuda.mem_get_info()[0]) if torch.cuda.is_available() else 0


def suitable(trial: Trial) -> int:
    """Slots of this machine."""
    return trial.slots(cores())
