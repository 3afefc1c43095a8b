"""A linear sweep of directions as an animation: each goes from rest to one end of its range, back, to the other end,
and back to rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from realtime.engines import Engine
from realtime.errors import Interrupted
from realtime.sheets.contact import contact_row, edited_portrait
from realtime.sinks import SinkOptions, open_sink
from realtime.types import Direction, Picture

FPS = 24.0
LEG = 16
"""Frames from rest to an end."""


def sweep_amounts(direction: Direction, leg: int = LEG) -> list[float]:
    """Rest, the upper end, rest, the lower end, rest, in equal steps; an end at rest is left out."""
    amounts = [0.0]
    for end in (direction.hi, direction.lo):
        if end:
            there = [end * k / leg for k in range(1, leg + 1)]
            amounts += [*there, *there[-2::-1], 0.0]
    return amounts


def sweep_pictures(engine: Engine, directions: Sequence[Direction], leg: int = LEG) -> Iterator[np.ndarray]:
    """One picture per step, with the direction's name and amount above: uint8 (H, W, 3) RGB."""
    for direction in directions:
        for amount in sweep_amounts(direction, leg):
            words = f"{direction.name} {amount:+.3g}{direction.unit}"
            yield contact_row([edited_portrait(engine, {direction.name: amount})], words)


def write_sweep(
    engine: Engine, directions: Sequence[Direction], path: Path, on_one: Callable[[], None] = lambda: None
) -> int:
    """The sweep as a video file; gives the number of frames. `on_one` is called after each. Raises BadFile,
    NotWritten, Interrupted."""
    sink = open_sink(f"file:{path}", SinkOptions(fps=FPS, live=False))
    count, complete = 0, False
    sink.complete = lambda: complete
    try:
        for count, picture in enumerate(sweep_pictures(engine, directions), 1):
            if count == 1:
                sink.open(picture.shape[1], picture.shape[0], FPS)
            sink.write(Picture(picture, captured=0.0, pts=(count - 1) / FPS, index=count - 1))
            on_one()
        complete = True
    except KeyboardInterrupt as stop:
        sink.close()
        raise Interrupted(sink.kept) from stop
    finally:
        sink.close()
    return count
