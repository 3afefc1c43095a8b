"""What an ear tells of sound: how loud it is in each band of pitch, a hundred times a second, as against how loud
the speaker usually is. Causal; every number comes from sound that was fed in already."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

RATE = 16_000
"""Samples a second that are fed in."""
HOP, WINDOW = 160, 400
"""Samples from one frame to the next, and of a frame: 10 and 25 ms."""
FRAME_SECONDS = HOP / RATE
BANDS = 26
LOWEST, HIGHEST = 80.0, 7600.0
"""Hertz: what the bands cover."""
_FFT = 512

FIRST_LEVEL, QUIETEST = -38.0, -58.0
"""Decibels under full scale: how loud a speaker is taken to be at first, and at least. Sound that is quieter than
this for long is noise, and stays small."""
RISE_SECONDS, FALL_A_SECOND = 0.12, 1.5
"""How the level follows: up within this time, down by so many decibels a second, so that pauses do not count."""
GATE = 34.0
"""Decibels under the level from which on a frame is silence."""
DEEPEST = -6.0
"""Bands are told in tens of decibels against the level; less than this is told as this."""


@dataclass(frozen=True)
class Heard:
    """Frames of sound. bands: (n, BANDS), tens of decibels against the level. loud: (n,), decibels above it."""

    bands: np.ndarray
    loud: np.ndarray

    def __len__(self) -> int:
        return len(self.loud)


class Hearing:
    """Turns samples into frames. Frame i covers samples from ``i * HOP`` to ``i * HOP + WINDOW``."""

    def __init__(self) -> None:
        self._rest = np.zeros(0, np.float32)
        self._level = FIRST_LEVEL

    def feed(self, samples: np.ndarray) -> Heard:
        """samples: float32 (N,) from -1 to 1, any number of them. What is whole by now."""
        whole = np.clip(np.nan_to_num(samples.astype(np.float32, copy=False)), -1.0, 1.0)
        sound = np.concatenate([self._rest, whole])
        count = max(0, (len(sound) - WINDOW) // HOP + 1)
        self._rest = sound[count * HOP :]
        if not count:
            return Heard(np.zeros((0, BANDS), np.float32), np.zeros(0, np.float32))
        frames = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[: count * HOP : HOP]
        power = np.abs(np.fft.rfft((frames - frames.mean(axis=1, keepdims=True)) * np.hanning(WINDOW), _FFT)) ** 2
        bands = 10 * np.log10(power @ _bands() + 1e-9)
        loud = 10 * np.log10(power.sum(axis=1) / (0.1875 * _FFT * WINDOW) + 1e-10)
        levels = np.array([self._follow(float(one)) for one in loud])
        told = np.clip((bands - levels[:, None]) / 10, DEEPEST, None)
        return Heard(told.astype(np.float32), (loud - levels).astype(np.float32))

    def _follow(self, loud: float) -> float:
        if loud > self._level:
            self._level += (loud - self._level) * (1 - np.exp(-FRAME_SECONDS / RISE_SECONDS))
        else:
            self._level = max(QUIETEST, self._level - FALL_A_SECOND * FRAME_SECONDS)
        return self._level


@lru_cache(maxsize=1)
def _bands() -> np.ndarray:
    """(257, BANDS): triangles evenly spaced on the mel scale (Stevens, Volkmann and Newman 1937), area 1."""

    def mel(hertz: float) -> float:
        return 2595 * np.log10(1 + hertz / 700)

    corners = 700 * (10 ** (np.linspace(mel(LOWEST), mel(HIGHEST), BANDS + 2) / 2595) - 1)
    hertz = np.arange(_FFT // 2 + 1) * RATE / _FFT
    rising = (hertz[:, None] - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - hertz[:, None]) / (corners[2:] - corners[1:-1])
    triangles = np.maximum(0, np.minimum(rising, falling))
    return triangles / np.maximum(triangles.sum(axis=0), 1e-9)
