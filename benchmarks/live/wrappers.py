"""Engines around an engine: made slow on purpose, or carrying a number from the driving frame into the picture."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.live import stamp
from realtime import load_engine
from realtime.engines import Engine
from realtime.families import FAMILIES, Family
from realtime.types import Direction, Frame, MotionCode

WRAPPERS = {
    "slow": Family("benchmarks.live.wrappers:SlowEngine"),
    "stamped": Family("benchmarks.live.wrappers:StampedEngine"),
}


def register() -> None:
    """Make the wrappers known to `load_engine`, in this process only."""
    FAMILIES.update(WRAPPERS)


class Wrapper:
    """An engine that hands everything on to another one, `inner`."""

    def __init__(self, inner: str = "mesh", **options: Any) -> None:
        self.inner: Engine = load_engine(inner, **options)
        self.name, self.kind, self.device = self.inner.name, self.inner.kind, self.inner.device

    @property
    def size(self) -> int:
        """Side of the picture, px."""
        return self.inner.size

    @property
    def directions(self) -> Sequence[Direction]:
        """The motion dictionary."""
        return self.inner.directions

    @property
    def reference(self) -> MotionCode | None:
        """The driver's neutral code."""
        return self.inner.reference

    @reference.setter
    def reference(self, code: MotionCode | None) -> None:
        self.inner.reference = code

    def __getattr__(self, name: str) -> Any:
        if name == "inner":
            raise AttributeError(name)
        return getattr(self.inner, name)

    def set_portrait(self, image: Any) -> None:
        """Hand on."""
        self.inner.set_portrait(image)

    @property
    def portrait_code(self) -> MotionCode:
        """The portrait's own code."""
        return self.inner.portrait_code

    def encode(self, frame: np.ndarray | Frame) -> MotionCode | None:
        """Hand on."""
        return self.inner.encode(frame)

    def render(self, code: MotionCode) -> np.ndarray:
        """Hand on."""
        return self.inner.render(code)

    def reset(self) -> None:
        """Hand on."""
        self.inner.reset()

    def close(self) -> None:
        """Hand on."""
        self.inner.close()


class SlowEngine(Wrapper):
    """Takes `seconds` for every picture: it renders again and again until then, so it really takes a core."""

    def __init__(self, seconds: float = 0.1, **options: Any) -> None:
        super().__init__(**options)
        self._seconds = seconds
        self.took: list[tuple[float, float]] = []
        """(capture time of the frame, seconds its picture really took)."""

    def render(self, code: MotionCode) -> np.ndarray:
        """The picture, late."""
        start = time.monotonic()
        until = start + self._seconds
        longest = 0.0
        while True:
            begun = time.monotonic()
            picture = self.inner.render(code)
            longest = max(longest, time.monotonic() - begun)
            if time.monotonic() + longest > until:
                break
        time.sleep(max(0.0, until - time.monotonic()))
        self.took.append((code.captured, time.monotonic() - start))
        return picture


class StampedEngine(Wrapper):
    """Reads the number stamped into a driving frame and draws it onto the picture that this frame becomes.

    The picture holds nothing of the driving frame, so this is how a measurement gets through it. The number travels
    beside the code: known again by the frame's time and index, else (a bare array) by the code's index.
    """

    KEPT = 64
    MARK = 1 << 24
    """Added to a number that travels as the index of a code."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._numbers: OrderedDict[tuple[float, int], int] = OrderedDict()

    def encode(self, frame: np.ndarray | Frame) -> MotionCode | None:
        """The inner engine's code; the number is remembered."""
        number = stamp.read(frame.image if isinstance(frame, Frame) else frame)
        code = self.inner.encode(frame)
        if number is None or code is None:
            return code
        if not isinstance(frame, Frame):
            return replace(code, index=self.MARK + number)
        self._numbers[frame.pts, frame.index] = number
        while len(self._numbers) > self.KEPT:
            self._numbers.popitem(last=False)
        return code

    def render(self, code: MotionCode) -> np.ndarray:
        """The inner engine's picture, with the number where there is one."""
        picture = self.inner.render(code)
        number = code.index - self.MARK if code.index >= self.MARK else self._numbers.get((code.pts, code.index))
        if number is not None:
            stamp.draw(picture, number)
        return picture
