"""How large a film is, and at which rate: sizes that the network takes, said in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from realtime.errors import BadValue
from realtime.types import Frame

STEP = 16
"""Width and height are multiples of this."""
AREAS = {"480p": 832 * 480, "720p": 1280 * 720}
LEAST, MOST = 32, 2048
FASTEST = 30.0
"""Frames a second above which a clip is thinned out; the network was trained on such films."""

_INSTANT = 1e-3
"""Seconds by which times of the same moment may differ."""


def film_size(wanted: str, height: int, width: int) -> tuple[int, int]:
    """(height, width) of the film: `wanted` is "480p" or "720p" (that many pixels in the shape height : width), or
    "832x480" as it stands. Raises BadValue."""
    if wanted in AREAS:
        scale = math.sqrt(AREAS[wanted] / (height * width))
        return _nearest(height * scale), _nearest(width * scale)
    sides = wanted.lower().split("x")
    if len(sides) != 2 or not all(side.strip().isdecimal() for side in sides):
        raise BadValue("--size", wanted, f"{', '.join(AREAS)} or WIDTHxHEIGHT, as in 832x480")
    w, h = (int(side) for side in sides)
    if not all(LEAST <= side <= MOST for side in (w, h)):
        raise BadValue("--size", wanted, f"each side is from {LEAST} to {MOST} pixels")
    if w % STEP or h % STEP:
        near = f"{_nearest(w)}x{_nearest(h)}"
        raise BadValue(
            "--size", wanted, f"width and height are multiples of {STEP}, as the network takes them: {near}"
        )
    return h, w


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


def _nearest(side: float) -> int:
    return max(LEAST, STEP * round(side / STEP))
