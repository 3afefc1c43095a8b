"""A source and a sink of your own: a nodding head out of a formula, shown as letters in the terminal.

A source gives driving frames, or, as here, motion codes; a sink takes pictures. To use them by name on the command
line, put each into a file of its own and add one line to `SOURCES` and to `SINKS`.

    python examples/own_source_and_sink.py --seconds 3
"""

from __future__ import annotations

import argparse
import asyncio
import math
import time
from collections.abc import Sequence

import numpy as np

from realtime import Direction, MotionCode, Picture, Pipeline, PipelineSettings, builtin_portrait, load_engine
from realtime.sinks import SinkBase, SinkOptions
from realtime.sources import SourceBase, SourceOptions

RATE = 30.0


class Nodding(SourceBase):
    """Thirty motion codes a second: yaw and smile follow a sine."""

    name = "a formula"
    fps: float | None = RATE
    kind: str | None = "mesh"

    def __init__(self, rest: MotionCode, directions: Sequence[Direction]) -> None:
        super().__init__(SourceOptions())
        self.rest = self.reference = rest
        self._index = {d.name: d.index for d in directions}
        self._n = 0

    def read(self) -> MotionCode | None:
        """The next code, at its time."""
        began = getattr(self, "_began", None) or time.monotonic()
        self._began, self._n = began, self._n + 1
        self.sleep_until(began + self._n / RATE)
        values = self.rest.values.copy()
        values[self._index["yaw"]] += 18 * math.sin(self._n / 12)
        values[self._index["smile"]] += 0.5 + 0.5 * math.sin(self._n / 20)
        return MotionCode("mesh", values, captured=time.monotonic(), pts=self._n / RATE, index=self._n)


class Letters(SinkBase):
    """Shows each tenth picture as letters."""

    name = "terminal"

    def __init__(self) -> None:
        super().__init__(SinkOptions())
        self.taken = 0

    def open(self, width: int, height: int, fps: float) -> None:
        """Nothing to get ready."""

    def write(self, picture: Picture) -> None:
        """Take one picture."""
        self.taken += 1
        if self.taken % 10 == 1:
            gray = picture.image[::16, ::8].mean(axis=2)
            marks = np.array(list(" .:-=+*#%@"))[np.clip(gray // 26, 0, 9).astype(int)]
            print("\n".join("".join(row) for row in marks), end="\n\n")


async def main() -> None:
    """Run one through the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()

    engine = load_engine("mesh", size=512)
    engine.set_portrait(builtin_portrait())
    source, sink = Nodding(engine.portrait_code, engine.directions), Letters()
    try:
        await Pipeline(source, engine, [sink], PipelineSettings(duration=options.seconds)).run()
    finally:
        engine.close()
    print(f"{sink.taken} pictures")


if __name__ == "__main__":
    asyncio.run(main())
