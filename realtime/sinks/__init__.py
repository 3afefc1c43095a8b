"""Sinks: where pictures go.

A new sink is one file and one line in `SINKS`. On the command line: ``vcam``, ``vcam:/dev/video10``,
``file:out.mp4``, ``preview``, ``vmc``, ``osc:HOST:PORT``, ``null``. Several may run at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from realtime.errors import UnknownName
from realtime.types import Picture

SINKS: dict[str, str] = {
    "file": "realtime.sinks.file:FileSink",
    "images": "realtime.sinks.images:ImagesSink",
    "null": "realtime.sinks.null:NullSink",
    "osc": "realtime.sinks.osc:OscSink",
    "preview": "realtime.sinks.preview:PreviewSink",
    "vcam": "realtime.sinks.virtual_camera:VirtualCameraSink",
    "vmc": "realtime.sinks.vmc:VmcSink",
}

Tell = Callable[[str], None]


@dataclass(frozen=True)
class SinkOptions:
    """How a sink is fed."""

    fps: float = 30.0
    """Nominal rate of the pictures."""
    live: bool = True
    """Pictures come as they happen; otherwise they come as fast as they can be made, and none is skipped."""
    audio: Path | None = None
    """A clip whose sound goes into the file as it is."""
    microphone: str | None = None
    """Whose sound goes into the file as it is heard: a number, a part of its name, "" the system's own."""
    mark: bool = True
    """Put the invisible mark into what leaves this program (see `realtime.media.watermark`)."""
    round: bool = False
    """Of each picture only the circle in its middle is shown, transparent around it where the sink can, else flat."""


class Sink(Protocol):
    """Contract of a sink.

    `check` is called first, from any thread, and must be cheap. `open`, `write`, `idle` and `close` are called
    from one thread, the sink's own (the main thread where `on_main_thread`). A sink that is slow or that fails
    stops no other. `close` is safe to call twice, and without `open`; it finishes files.
    """

    name: str
    """For people: "virtual camera", "out.mp4"."""
    on_main_thread: bool
    """True for windows: some systems allow them on the main thread only."""
    tell: Tell
    """Set by the pipeline: takes a sentence for the user."""
    on_key: Callable[[str], None]
    """Set by the pipeline: takes a command that the user gave in a window ("quit", "calibrate")."""
    complete: Callable[[], bool]
    """Set by the pipeline: whether all pictures that should come have come. A file asks it in `close`."""
    kept: str
    """After `close`: a sentence about what is left of a file that is not complete; empty for all else."""
    made: str
    """After `close`: a sentence about the file that is complete; empty for all else."""

    def check(self) -> None:
        """Raise BadFile, BadValue, DeviceError or MissingExtra for what can be known without heavy work."""

    def open(self, width: int, height: int, fps: float) -> None:
        """Get ready for pictures of this size. Raises DeviceError, BadFile."""

    def write(self, picture: Picture) -> None:
        """Take one picture; when this returns it counts as delivered. Pictures of another size are fitted in."""

    def idle(self, now: float) -> float:
        """Called when no new picture came. Gives the seconds after which it wants to be called again."""

    def close(self) -> None:
        """Finish and free what is held."""


class SinkBase:
    """What sinks have in common. Not part of the contract."""

    name = "sink"
    on_main_thread = False
    kept = ""
    made = ""

    def __init__(self, options: SinkOptions) -> None:
        self.options = options
        self.tell: Tell = _silent
        self.on_key: Callable[[str], None] = _silent
        self.complete: Callable[[], bool] = _always

    def check(self) -> None:
        """Nothing to check."""

    def idle(self, now: float) -> float:
        return 1.0

    def close(self) -> None:
        """Nothing to free."""

    def shown(self, picture: Picture) -> np.ndarray:
        """What this sink, which has no transparency, shows of a picture: uint8 (H, W, 3)."""
        if not self.options.round:
            return picture.image
        from realtime.media.round import on_colour

        return on_colour(picture.image)


def open_sink(spec: str, options: SinkOptions | None = None) -> Sink:
    """The sink that `spec` names, checked but not opened yet. Raises UnknownName, BadFile, BadValue, DeviceError."""
    kind, _, argument = spec.partition(":")
    if kind not in SINKS:
        raise UnknownName("sink", kind, SINKS)
    module, _, attribute = SINKS[kind].partition(":")
    sink: Sink = getattr(importlib.import_module(module), attribute)(argument, options or SinkOptions())
    sink.check()
    return sink


def _silent(_sentence: str) -> None:
    return None


def _always() -> bool:
    return True
