"""How well a neutral face that was learnt still sits: whether the driver comes back to it when he is calm.

What calm frames are off by, in the middle, is no expression but a bias: of the head, where driver or camera have
moved; of the face, where it is somebody else's, or is seen otherwise (other light, glasses). Pure: time is passed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Literal

import numpy as np

from realtime.types import Direction, MotionCode

Off = Literal["", "head", "face"]
"""What of the driver sits badly."""
WINDOW, EVERY = 20.0, 0.2
"""Seconds that are looked back, and between two codes that are kept."""
LEAST = 25
"""Calm codes that are needed to say anything."""
CALM = 0.6
"""Change a second, as a share of the directions' ranges (root of the mean square), below which a code is calm."""
LIMITS: dict[Off, tuple[float, float]] = {"head": (0.05, 0.16), "face": (0.1, 0.28)}
"""Bias, likewise, up to which it sits wholly, and from which on not at all. Of clips of webcams beside the neutral
face of the same clip the head's was 0.01 to 0.03 and the face's 0.03 to 0.04, or 0.20 where somebody talks without
pause; beside that of another clip, 0.13 to 0.40 and 0.14 to 0.35."""


class Fit:
    """Watches one driver's codes beside his neutral one."""

    def __init__(self, directions: Sequence[Direction]) -> None:
        named = [d for d in directions if d.named and d.group not in ("gaze", "body")]
        self._index = np.array([d.index for d in named], int)
        self._range = np.array([max(d.hi - d.lo, 1e-6) for d in named])
        self._head = np.array([d.group == "head" for d in named], bool)
        self._kept: deque[tuple[float, np.ndarray]] = deque()
        self._before: tuple[float, np.ndarray] | None = None
        self._bias: np.ndarray | None = None

    def restart(self) -> None:
        """Another neutral face is learnt."""
        self._kept.clear()
        self._before = self._bias = None

    def update(self, code: MotionCode, reference: MotionCode, now: float) -> None:
        """A code of the driver's, beside his neutral one, seen at `now`, seconds."""
        if not len(self._index):
            return
        if self._before is not None and 0.0 <= now - self._before[0] < EVERY:
            return
        off = (code.values - reference.values)[self._index] / self._range
        before, self._before = self._before, (now, off)
        if before is None or not 0.0 < now - before[0] < 3 * EVERY:
            return
        if _size(off - before[1]) / (now - before[0]) < CALM:
            self._kept.append((now, off))
        while self._kept and now - self._kept[0][0] > WINDOW:
            self._kept.popleft()
        self._bias = np.median([kept for _, kept in self._kept], axis=0) if len(self._kept) >= LEAST else None

    @property
    def quality(self) -> float | None:
        """1 sits wholly, 0 not at all; None before enough was seen."""
        return min(self._qualities().values(), default=None)

    @property
    def off(self) -> Off:
        """What sits worse, where anything does."""
        qualities = self._qualities()
        if not qualities or min(qualities.values()) >= 1.0:
            return ""
        return "head" if qualities["head"] <= qualities["face"] else "face"

    def _qualities(self) -> dict[Off, float]:
        """Of head and face, 0 to 1; nothing before enough was seen."""
        if self._bias is None:
            return {}
        parts: dict[Off, np.ndarray] = {"head": self._bias[self._head], "face": self._bias[~self._head]}
        return {
            part: float(np.clip((LIMITS[part][1] - _size(bias)) / (LIMITS[part][1] - LIMITS[part][0]), 0.0, 1.0))
            for part, bias in parts.items()
        }


def _size(share: np.ndarray) -> float:
    return float(np.sqrt((share**2).mean())) if share.size else 0.0
