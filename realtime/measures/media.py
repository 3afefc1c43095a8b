"""Clips and portraits to measure with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from realtime.errors import BadFile


@dataclass(frozen=True, slots=True)
class Clip:
    """A driving clip, wholly decoded. frames: uint8 (N, H, W, 3) RGB; fps: its own pace."""

    name: str
    frames: Sequence[np.ndarray]
    fps: float


def read_clip(path: str | Path, limit: int | None = None, square: int | None = None) -> Clip:
    """Decode a video file, at most `limit` frames of it. Raises BadFile.

    square: keep the middle square of each frame, scaled to so many px: what a portrait's picture and its driving
    frames share.
    """
    import av

    try:
        with av.open(str(Path(path).absolute())) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            fps = float(stream.average_rate or 30)
            frames = []
            for frame in container.decode(stream):
                image = frame.to_ndarray(format="rgb24")
                frames.append(image if square is None else to_size(middle_square(image), square))
                if limit and len(frames) >= limit:
                    break
    except (av.FFmpegError, IndexError, OSError) as error:
        raise BadFile(path, "is no video that can be read") from error
    if not frames:
        raise BadFile(path, "holds no frames")
    return Clip(Path(path).stem, frames, fps)


def read_picture(path: str | Path) -> np.ndarray:
    """A picture file as uint8 (H, W, 3) RGB. Raises BadFile."""
    data = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if data is None:
        raise BadFile(path, "is no picture that can be read")
    return cv2.cvtColor(data, cv2.COLOR_BGR2RGB)


def to_size(image: np.ndarray, side: int) -> np.ndarray:
    """Scaled to side x side; averaged where it shrinks."""
    if image.shape[:2] == (side, side):
        return image
    shrinks = image.shape[0] >= side
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def middle_square(image: np.ndarray) -> np.ndarray:
    """The largest centred square."""
    h, w = image.shape[:2]
    s = min(h, w)
    y, x = (h - s) // 2, (w - s) // 2
    return np.ascontiguousarray(image[y : y + s, x : x + s])


def spread(count: int, wanted: int) -> list[int]:
    """`wanted` indices spread evenly over 1..count-1: frame 0, the portrait, is left out."""
    if count < 2:
        return [0] * min(count, 1)
    return sorted({int(i) for i in np.linspace(0, count - 1, wanted + 1).round()[1:]} - {0})
