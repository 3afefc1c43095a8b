"""A sink that takes every picture and keeps none: for measuring."""

from __future__ import annotations

from realtime.errors import BadValue
from realtime.sinks import SinkBase, SinkOptions
from realtime.types import Picture


class NullSink(SinkBase):
    """Counts the pictures it takes."""

    name = "null"

    def __init__(self, argument: str, options: SinkOptions) -> None:
        super().__init__(options)
        if argument:
            raise BadValue("--sink", f"null:{argument}", "null takes nothing after a colon")
        self.taken = 0

    def open(self, width: int, height: int, fps: float) -> None:
        """Nothing to get ready."""

    def write(self, picture: Picture) -> None:
        self.taken += 1
