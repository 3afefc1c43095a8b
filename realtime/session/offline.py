"""A whole clip at hand: every frame is encoded, in order, with the driver's neutral face."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from realtime.engines import Engine
from realtime.motion.track import MotionTrack
from realtime.session.core import Encoding
from realtime.session.driver import Driver
from realtime.sources import Source
from realtime.types import Frame, MotionCode


def encode_track(
    source: Source,
    engine: Engine,
    mirror: bool = False,
    duration: float | None = None,
    on_frame: Callable[[], None] = lambda: None,
) -> MotionTrack:
    """The codes of all frames of an open source, with the driver's neutral code. Raises BadValue without any face,
    AvatarError where the encoder fails."""
    codes: list[MotionCode | None] = []
    times: list[float] = []
    encoding, driver = Encoding(engine, media_time=True, strict=True), Driver(engine)
    while (item := source.read()) is not None:
        if not isinstance(item, Frame) or (duration is not None and item.pts >= duration - 1e-9):
            break
        code = encoding.see(item, mirror, item.pts)
        driver.observe(code, item.pts)
        codes.append(code)
        times.append(item.pts)
        on_frame()
    driver.settle()
    track = MotionTrack.of_codes(codes, source.fps or 30.0, engine.directions, driver.neutral)
    return replace(track, times=np.array(times))
