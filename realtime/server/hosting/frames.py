"""Pictures between WebRTC and arrays. Matrix and range are said explicitly: BT.601, limited, as VP8 means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

import cv2
import numpy as np

from realtime.server.common import messages
from realtime.server.hosting.clock import RATE
from realtime.sources import Item, Unseen
from realtime.types import Frame, Landmarks, MotionCode

if TYPE_CHECKING:
    import av

TIME_BASE = Fraction(1, RATE)


@dataclass(frozen=True, slots=True)
class Driven:
    """What drives the next picture. One of `frame` (a received picture), `landmarks` and `code`, or none (only time
    passes: hold, idle, sample). seen: False where a client that extracts codes itself saw no face.

    arrived: monotonic seconds. media: the driver's own media time in seconds, None without one."""

    arrived: float
    media: float | None = None
    frame: av.VideoFrame | None = None
    code: MotionCode | None = None
    seen: bool = True
    index: int = 0
    landmarks: Landmarks | None = None

    @property
    def source(self) -> messages.Source:
        """What it comes from."""
        return "camera" if self.frame is not None else "landmarks" if self.landmarks is not None else "motion"

    def item(self) -> Item | None:
        """As a session takes it, with the driver's own media time as `pts`; None where only time passes."""
        pts = self.arrived if self.media is None else self.media
        if self.frame is not None:
            return Frame(to_rgb(self.frame), self.arrived, self.index, pts)
        if self.landmarks is not None:
            return replace(self.landmarks, captured=self.arrived, index=self.index, pts=pts)
        if self.code is None:
            return None if self.seen else Unseen(self.arrived, pts, self.index)
        return self.code


class Stream:
    """Stands for pictures that follow each other: who sees one of them, sees all. sparing: the machine is full, and
    coding them is to cost less."""

    sparing = False


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """What a frame says to its encoder of the stream it belongs to. A new one for each frame: PyAV forgets what
    several frames carry with the first of them."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class Shown:
    """One picture on its way out.

    image: uint8 (H, W, 3) RGB. yuv: uint8 (H * 3 / 2, W), planar 4:2:0. pts: ticks of 1/90000 s of the avatar's
    clock. captured: when its driving frame arrived, monotonic seconds. made: when it was handed over.
    index: of the driving frame. stream: what it belongs to, where several may see it."""

    image: np.ndarray
    yuv: np.ndarray
    pts: int
    captured: float
    made: float
    index: int = 0
    stream: Stream | None = None


def to_yuv(image: np.ndarray) -> np.ndarray:
    """RGB to planar 4:2:0. An odd side loses its last row or column."""
    height, width = image.shape[0] & ~1, image.shape[1] & ~1
    return cv2.cvtColor(np.ascontiguousarray(image[:height, :width]), cv2.COLOR_RGB2YUV_I420)


def to_video_frame(yuv: np.ndarray, pts: int) -> av.VideoFrame:
    """A frame for an encoder. It shares the memory of `yuv`, which must stay as it is: encoders only read.
    Where the height is no multiple of 4, for which PyAV cannot share memory, it holds a copy."""
    import av

    make = av.VideoFrame.from_ndarray if yuv.shape[0] % 6 else av.VideoFrame.from_numpy_buffer
    frame = make(yuv, format="yuv420p")
    frame.pts, frame.time_base = pts, TIME_BASE
    frame.colorspace, frame.color_range = 5, 1  # BT.601 (BT.470BG), limited
    return frame


def to_rgb(frame: av.VideoFrame, max_side: int = 1280) -> np.ndarray:
    """A received frame as uint8 (H, W, 3) RGB, scaled down where a side is above `max_side`."""
    if frame.format.name == "yuv420p" and not (frame.width | frame.height) & 1:
        image = cv2.cvtColor(frame.to_ndarray(), cv2.COLOR_YUV2RGB_I420)
    else:
        image = frame.to_ndarray(format="rgb24")
    largest = max(image.shape[:2])
    if largest > max_side:
        scale = max_side / largest
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return image
