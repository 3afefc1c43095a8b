"""How large a film is: sizes that the network takes, said in words."""

from __future__ import annotations

import math

from realtime.errors import BadValue

STEP = 16
"""Width and height are multiples of this."""
AREAS = {"480p": 832 * 480, "720p": 1280 * 720}
LEAST, MOST = 32, 2048


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


def _nearest(side: float) -> int:
    return max(LEAST, STEP * round(side / STEP))
