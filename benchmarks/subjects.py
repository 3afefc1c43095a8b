"""Who drives and who is driven where the pictures do not matter, only the time they take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from benchmarks.media import Clip, read_clip, read_picture, test_data_folder
from realtime.errors import BadValue


def driving_clip(path: str | None, limit: int = 300) -> Clip:
    """The clip at `path`; without one, a webcam clip of the test data. Raises BadFile, BadValue."""
    if path is not None:
        return read_clip(path, limit)
    data = test_data_folder()
    if data is None:
        raise BadValue("--clip", "", "a driving clip, for no test data is at hand (AVATAR_TEST_DATA)")
    return read_clip(next(iter(sorted((data / "clips").glob("a08*.mp4")))), limit)


def portrait_of(path: str | Path | None, clip: Clip) -> np.ndarray:
    """The picture at `path`; without one, the first frame of the clip."""
    return read_picture(path) if path is not None else clip.frames[0]


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

