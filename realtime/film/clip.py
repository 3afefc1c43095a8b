"""The driving clip of a film: what is known of it, and its frames at the film's rate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import numpy as np

from realtime.errors import BadFile, BadValue
from realtime.sources import Source, SourceOptions, open_source, parse_source
from realtime.types import Frame

MAX_SIDE = 1920
"""Larger driving frames are scaled down to this."""
FASTEST = 30.0
"""Frames a second above which a clip is thinned out."""

_INSTANT = 1e-3
"""Seconds by which times of the same moment may differ."""


class Clip(NamedTuple):
    """What is known of a driving clip before it is read. frames: about how many the film will have, None: unknown."""

    height: int
    width: int
    fps: float
    frames: int | None


def look_at(driving: Path, fps: float | None, duration: float | None) -> Clip:
    """Raises BadFile, BadValue."""
    with closing(_opened(driving)) as source:
        first = source.read()
        if not isinstance(first, Frame):
            raise BadFile(driving, "holds no frames")
        rate = film_rate(fps, source.fps)
        seconds = None if source.frames is None or not source.fps else source.frames / source.fps
        if duration is not None:
            seconds = duration if seconds is None else min(seconds, duration)
        frames = None if seconds is None else max(1, round(seconds * rate))
        return Clip(first.image.shape[0], first.image.shape[1], rate, frames)


def images(driving: Path, fps: float, duration: float | None) -> Iterator[np.ndarray]:
    """The driving pictures, uint8 (H, W, 3), at this rate, of the first seconds alone where `duration` is given.
    Raises BadFile."""

    def frames() -> Iterator[Frame]:
        while isinstance(item := source.read(), Frame):
            if duration is not None and item.pts >= duration - 1e-9:
                return
            yield item

    with closing(_opened(driving)) as source:
        for frame in at_rate(frames(), fps):
            yield frame.image


def _opened(driving: Path) -> Source:
    kind, _ = parse_source(str(driving))
    if kind != "file":
        raise BadFile(driving, "a film is made of a video file")
    source = open_source(f"file:{driving}", SourceOptions(paced=False, max_side=MAX_SIDE))
    source.open()
    return source


def film_rate(wanted: float | None, clip: float | None) -> float:
    """Frames a second: `wanted`, else the clip's own up to 30, a whole part of it above. Raises BadValue."""
    if wanted is not None:
        if not 1 <= wanted <= 60:
            raise BadValue("--fps", wanted, "frames a second, from 1 to 60; the clip's own without it")
        return wanted
    own = clip or FASTEST
    return own / math.ceil(own / FASTEST - 1e-3)


def at_rate(frames: Iterable[Frame], fps: float) -> Iterator[Frame]:
    """The frames as they are seen at this rate: each moment n / fps shows the last frame that has begun."""
    shown, period = None, 1 / fps
    n = 0
    for frame in frames:
        while shown is not None and n / fps < frame.pts - _INSTANT:
            yield shown
            n += 1
        period = period if shown is None else frame.pts - shown.pts
        shown = frame
    while shown is not None and n / fps < shown.pts + period - _INSTANT:
        yield shown
        n += 1
