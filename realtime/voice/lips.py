"""What the lips do, heard: a small network tells the sounds of speech apart by what lips do for them, and their mouth
shapes are blended as speech blends them, by dominance (Cohen and Massaro 1993).

The network sees a tenth of a second of what was, and `AHEAD` frames of what comes; the mouth follows it by a moment
more. `DELAY` says how much later than the sound a mouth is known, in all. The weights are fitted by
`realtime.training.fits.lips`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np

from realtime.voice.hearing import BANDS, FRAME_SECONDS, GATE, HOP, RATE, WINDOW, Hearing

BEHIND, AHEAD = 10, 3
"""Frames before and after the one that is judged, which the network sees as well."""
CONTEXT = BEHIND + 1 + AHEAD
FOLLOW_SECONDS = 0.012
"""Time constant of the blend."""
DELAY = AHEAD * FRAME_SECONDS + WINDOW / RATE / 2 + FOLLOW_SECONDS
"""Seconds of sound that must have come after a moment until its mouth is known: 0.0545."""
HOLD_FRAMES = 4
"""So long lips stay shut at least, that a picture at 30 a second shows it."""
RELEASE_SECONDS = 0.02
PRESSED = (0.18, 0.42)
"""Of the network's belief in p, b or m: where lips begin to shut, and where they are shut."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What lips do for a sound, each 0 to 1. dominance: how strongly it insists on that beside its neighbours."""

    open: float = 0.0
    round: float = 0.0
    wide: float = 0.0
    teeth: float = 0.0
    dominance: float = 1.0


SOUNDS = {
    "": Shape(dominance=0.9),
    "pbm": Shape(open=0.05, dominance=1.0),
    "fv": Shape(open=0.10, teeth=1.0, wide=0.1, dominance=1.6),
    "ah": Shape(open=1.00, wide=0.10, dominance=1.3),
    "eh": Shape(open=0.55, wide=0.35, dominance=1.0),
    "ee": Shape(open=0.28, wide=0.85, dominance=1.1),
    "oh": Shape(open=0.60, round=0.75, dominance=1.2),
    "oo": Shape(open=0.22, round=1.00, dominance=1.3),
    "s": Shape(open=0.18, wide=0.35, dominance=0.9),
    "sh": Shape(open=0.22, round=0.55, dominance=1.1),
    "t": Shape(open=0.25, wide=0.20, dominance=0.5),
    "k": Shape(open=0.32, wide=0.10, dominance=0.4),
    "r": Shape(open=0.28, round=0.35, dominance=0.7),
}
"""By the sound; "pbm" stands for p, b and m, "" for silence. The order is that of the network's outputs."""

MOUTH = ("open", "round", "wide", "teeth", "shut")
"""What `Lips` tells. shut: the lips touch, whatever else."""
_BLENDED = np.array([(s.open, s.round, s.wide, s.teeth) for s in SOUNDS.values()])
_DOMINANCE = np.array([s.dominance for s in SOUNDS.values()])
_PBM = list(SOUNDS).index("pbm")


@dataclass(frozen=True)
class Network:
    """Fully connected layers with rectifiers between them, over `CONTEXT` frames of `BANDS` bands: (in, out) each."""

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> Network:
        """The one that comes with the package."""
        with np.load(str(files("realtime.data") / "lips.npz")) as file:
            layers = sum(name.startswith("w") for name in file.files)
            return cls(
                tuple(file[f"w{n}"].astype(np.float32) for n in range(layers)),
                tuple(file[f"b{n}"].astype(np.float32) for n in range(layers)),
            )

    def beliefs(self, seen: np.ndarray) -> np.ndarray:
        """How likely each of `SOUNDS` is: (n, 13), of frames with their neighbours (n, CONTEXT * BANDS)."""
        out = seen
        for n, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            out = out @ weight + bias
            if n < len(self.weights) - 1:
                out = np.maximum(out, 0.0)
        out = np.exp(out - out.max(axis=-1, keepdims=True))
        return out / out.sum(axis=-1, keepdims=True)


def in_context(bands: np.ndarray) -> np.ndarray:
    """Each frame with those around it: (n - CONTEXT + 1, CONTEXT * BANDS) of (n, BANDS)."""
    windows = np.lib.stride_tricks.sliding_window_view(bands, CONTEXT, axis=0)
    return windows.transpose(0, 2, 1).reshape(len(windows), CONTEXT * BANDS)


@dataclass(frozen=True)
class Mouths:
    """Mouths one after another. first: number of the frame whose mouth comes first. shapes: (n, 5), as in `MOUTH`.
    loud: (n,), decibels above the speaker's level."""

    first: int
    shapes: np.ndarray
    loud: np.ndarray


class Lips:
    """Follows one speaker. Mouth n is that of the moment `moment(n)` of the sound."""

    def __init__(self, network: Network | None = None) -> None:
        self._network = network or Network.load()
        self._hearing = Hearing()
        self._bands = np.full((CONTEXT - 1 - AHEAD, BANDS), -6.0, np.float32)  # silence before the first frame
        self._loud: deque[float] = deque()
        self._told = 0
        self._blend = np.zeros(4)
        self._weight = 1.0
        self._shut = 0.0
        self._held = 0

    @staticmethod
    def moment(n: int) -> float:
        """Seconds from the beginning of the sound to the moment that mouth n shows."""
        return (n * HOP + WINDOW / 2) / RATE - FOLLOW_SECONDS

    def feed(self, samples: np.ndarray) -> Mouths:
        """samples: float32 (N,), `RATE` a second. The mouths that are known by now and were not before."""
        heard = self._hearing.feed(samples)
        self._loud.extend(heard.loud.tolist())
        bands = np.concatenate([self._bands, heard.bands])
        first = self._told
        if len(bands) < CONTEXT:
            self._bands = bands
            return Mouths(first, np.zeros((0, len(MOUTH))), np.zeros(0))
        self._bands = bands[len(bands) - CONTEXT + 1 :]
        beliefs = self._network.beliefs(in_context(bands))
        loud = np.array([self._loud.popleft() for _ in range(len(beliefs))])
        self._told += len(beliefs)
        return Mouths(first, np.array([self._follow(*one) for one in zip(beliefs, loud, strict=True)]), loud)

    def _follow(self, belief: np.ndarray, loud: float) -> np.ndarray:
        if loud < -GATE:
            belief = np.eye(len(SOUNDS))[0]
        step = 1 - np.exp(-FRAME_SECONDS / FOLLOW_SECONDS)
        dominance = belief * _DOMINANCE
        self._blend += step * (dominance @ _BLENDED - self._blend)
        self._weight += step * (dominance.sum() - self._weight)
        wanted = float(np.clip((belief[_PBM] - PRESSED[0]) / (PRESSED[1] - PRESSED[0]), 0.0, 1.0))
        if wanted >= self._shut:
            self._shut, self._held = wanted, HOLD_FRAMES
        elif self._held > 0:
            self._held -= 1
        else:
            self._shut += (wanted - self._shut) * (1 - np.exp(-FRAME_SECONDS / RELEASE_SECONDS))
        return np.append(self._blend / max(self._weight, 1e-6), self._shut)
