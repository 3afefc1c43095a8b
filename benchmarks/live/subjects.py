"""Who drives and who is driven where the pictures do not matter, only the time they take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.recordings import test_data_folder
from realtime.errors import BadValue
from realtime.measures.media import Clip, read_clip, read_picture


def driving_clip(path: str | None, limit: int = 300) -> Clip:
    """The clip at `path`; without one, a webcam clip of the test data; without that, one made up. Raises BadFile."""
    if path is not None:
        return read_clip(path, limit)
    data = test_data_folder()
    found = sorted((data / "clips").glob("a08*.mp4")) if data is not None else []
    return read_clip(found[0], limit) if found else made_up_clip(min(limit, 150))


def clip_name(path: str | None) -> str:
    """What `driving_clip` would give, for the record."""
    if path is not None:
        return Path(path).name
    return "a08, a webcam clip of the test data" if test_data_folder() is not None else "made up: see made_up_clip"


def portrait_of(path: str | Path | None) -> np.ndarray:
    """The picture at `path`; without one, the built-in portrait."""
    if path is not None:
        return read_picture(path)
    from realtime.media.portraits import builtin_portrait

    return builtin_portrait()


_PLAY = (
    ("yaw", 0.4, 0.3),
    ("pitch", 0.3, 0.45),
    ("mouth_open", 0.5, 2.1),
    ("smile", 0.4, 0.15),
    ("blink", 1.0, 0.25),
)
"""Direction, share of its range, how often a second."""


def made_up_clip(count: int, fps: float = 30.0) -> Clip:
    """A driving clip for machines without one: the built-in portrait nods, turns, talks and blinks, 640 x 480."""
    from realtime import load_engine

    engine = load_engine("mesh", size=480)
    engine.set_portrait(portrait_of(None))
    rest = engine.portrait_code
    engine.reference = rest
    by_name = {d.name: d for d in engine.directions}
    pictures = []
    for k in range(count):
        t = k / fps
        values = rest.values.copy()
        for name, share, hertz in _PLAY:
            direction = by_name.get(name)
            if direction is None:
                continue
            wave = np.sin(2 * np.pi * hertz * t)
            wave = max(0.0, wave) ** 12 if name == "blink" else wave if direction.lo < 0 else abs(wave)
            values[direction.index] += share * wave * direction.hi
        pictures.append(engine.render(rest.with_values(values)))
    engine.close()
    return Clip("made up", letterboxed(pictures, 640, 480), fps)


def engine_options(items: Sequence[str]) -> dict[str, Any]:
    """KEY=VALUE texts as keywords for `load_engine`; true, false and none are taken for what they say.

    Raises BadValue.
    """
    out: dict[str, Any] = {}
    for item in items:
        key, found, value = item.partition("=")
        if not found:
            raise BadValue("--engine-option", item, "it has the form KEY=VALUE")
        out[key] = {"true": True, "false": False, "none": None}.get(value.lower(), value)
    return out


def there_and_back(clip: Clip) -> Clip:
    """The clip forwards, then backwards: it can be repeated without a jump."""
    return Clip(clip.name, [*clip.frames, *clip.frames[-2:0:-1]], clip.fps)


def letterboxed(frames: Sequence[np.ndarray], width: int, height: int) -> list[np.ndarray]:
    """Each frame inside width x height, as large as it fits, on grey."""
    out = []
    for frame in frames:
        scale = min(width / frame.shape[1], height / frame.shape[0])
        size = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
        small = frame if size == frame.shape[1::-1] else cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
        canvas = np.full((height, width, 3), 127, np.uint8)
        x, y = (width - size[0]) // 2, (height - size[1]) // 2
        canvas[y : y + size[1], x : x + size[0]] = small
        out.append(canvas)
    return out
