"""A virtual camera in memory, behind the real pyvirtualcam package and the product's own sink."""

from __future__ import annotations

import time
import zlib
from typing import Any

import numpy as np
import pyvirtualcam.camera

from realtime.sinks import Sink, SinkOptions, open_sink
from realtime.types import Picture


class MemoryBackend:
    """A backend of pyvirtualcam that notes when each picture came and a number that tells pictures apart."""

    sent: list[tuple[float, int]] = []  # noqa: RUF012 - one camera a process, read after it is gone

    def __init__(self, *, width: int, height: int, fps: float, fourcc: int, device: str | None, **_: Any) -> None:
        self.size = (width, height)

    def close(self) -> None:
        """Nothing to free."""

    def send(self, frame: np.ndarray) -> None:
        """Note the picture."""
        self.sent.append((time.monotonic(), zlib.crc32(frame[::31].tobytes())))

    def device(self) -> str:
        """Its name."""
        return "memory"

    def native_fourcc(self) -> int | None:
        """No format of its own."""
        return None


class RecordedCamera:
    """The product's virtual camera sink, with the times of its pictures written down (see `live.Recorder`)."""

    on_main_thread = False

    def __init__(self, options: SinkOptions) -> None:
        pyvirtualcam.camera.BACKENDS.clear()
        pyvirtualcam.register_backend("memory", MemoryBackend)
        MemoryBackend.sent.clear()
        self._sink: Sink = open_sink("vcam", options)
        self.rows: list[tuple[int, float, float, float, float, float]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)

    def write(self, picture: Picture) -> None:
        """Hand on, then note the times."""
        self._sink.write(picture)
        s, c = picture.stamps, picture.captured
        row = (s.get("capture", c), s.get("encode", c), s.get("render", c), time.monotonic())
        self.rows.append((picture.index, c, *row))

    @staticmethod
    def sent() -> list[tuple[float, int]]:
        """(time, number) of every picture that reached the camera."""
        return list(MemoryBackend.sent)
