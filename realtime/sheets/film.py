"""The built-in performance as a film and a contact sheet, for machines without a browser or a display."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from realtime.engines import Engine
from realtime.errors import Interrupted
from realtime.media.pictures import fit_into, write_picture
from realtime.session.local import Pipeline
from realtime.settings import PipelineSettings
from realtime.sinks import SinkBase, SinkOptions, open_sink
from realtime.sources import SourceOptions, open_source
from realtime.types import Picture

TRACK = "motion:builtin"
SHEET_PICTURES = 12
CELL = 256


@dataclass(frozen=True)
class Film:
    """What was made: the film, the sheet, how many frames, and how many of them a second."""

    path: Path
    sheet: Path
    frames: int
    fps: float


Play = Callable[[Pipeline], Coroutine[Any, Any, Any]]


def make_film(engine: Engine, output: Path, duration: float | None = None, play: Play = Pipeline.run) -> Film:
    """Render the built-in motion with the engine's portrait into `output`, and a contact sheet (.png) beside it.

    duration: seconds, None for all. play: how the session is run. Raises Interrupted, BadFile, NotWritten,
    EngineError."""
    source = open_source(TRACK, SourceOptions(paced=False))
    total = source.frames or 1
    if duration is not None and source.fps:
        total = min(total, max(1, round(duration * source.fps)))
    sampler = Sampler(total)
    sink = open_sink(f"file:{output}", SinkOptions(live=False))
    pipeline = Pipeline(source, engine, [sink, sampler], PipelineSettings(lossless=True, duration=duration))
    asyncio.run(play(pipeline))
    if pipeline.interrupted:
        raise Interrupted(sink.kept)
    stats = pipeline.stats
    picture = output.with_suffix(".png")
    write_picture(picture, sampler.sheet())
    return Film(output, picture, stats.counts.delivered, stats.fps())


class Sampler(SinkBase):
    """Keeps a few of `total` pictures, evenly spread, for a contact sheet."""

    name = "contact sheet"

    def __init__(self, total: int) -> None:
        super().__init__(SinkOptions(live=False))
        self._wanted = {round(n * (total - 1) / (SHEET_PICTURES - 1)) for n in range(SHEET_PICTURES)}
        self._kept: list[np.ndarray] = []

    def open(self, width: int, height: int, fps: float) -> None:
        """Nothing to open."""

    def write(self, picture: Picture) -> None:
        if picture.index in self._wanted:
            self._kept.append(fit_into(picture.image, CELL, CELL))

    def sheet(self) -> np.ndarray:
        """The pictures in rows of four: uint8 (H, W, 3) RGB."""
        blank = np.full((CELL, CELL, 3), 255, np.uint8)
        cells = self._kept + [blank] * (-len(self._kept) % 4 if self._kept else 4)
        return np.vstack([np.hstack(cells[i : i + 4]) for i in range(0, len(cells), 4)])
