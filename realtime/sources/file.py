"""A video file as driving frames: at its own pace (`run`) or as fast as it can be read (`render`)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from realtime.errors import BadFile
from realtime.flow.pacing import MediaClock
from realtime.home import user_path
from realtime.media.decode import to_rgb
from realtime.sources import SourceBase, SourceOptions
from realtime.types import Frame


class FileSource(SourceBase):
    """Frames of a video file, upright, with their own timestamps (variable frame rates included)."""

    def __init__(self, path: str, options: SourceOptions) -> None:
        super().__init__(options)
        self.path = user_path(path)
        self.name = self.path.name
        self._container: Any = None
        self._frames: Iterator[tuple[Any, float]] = iter(())
        self._clock = MediaClock()
        self._index = 0
        self._offset = 0.0  # media time at which this round of a loop begins

    def check(self) -> None:
        """Raises BadFile where there is no video in the file. What a FIFO holds shows when it is opened, once: its
        writer would be gone after a first look."""
        if self.path.is_fifo():
            return
        try:
            self._open_container()
        finally:
            self.close()

    def open(self) -> None:
        self._open_container()
        self._frames = self._decode()

    def read(self) -> Frame | None:
        import av

        while not self.stopping():
            try:
                decoded, pts = next(self._frames)
                image = to_rgb(decoded, self._reformatter, self.options.max_side, exact=not self.options.paced)
            except StopIteration:
                if not (self.options.loop and self._pts_end > 0.0):
                    return None
                self._offset += self._pts_end
                self._open_container()
                self._frames = self._decode()
                continue
            except (av.FFmpegError, ValueError) as error:
                if self._index == 0:
                    raise BadFile(self.path, f"the video cannot be decoded ({error})") from error
                self.tell(f"{self.name} is damaged: it ends after {self._index} frames")
                return None
            if self.options.paced:
                self.sleep_until(self._clock.due(pts, time.monotonic()))
            frame = Frame(image, time.monotonic(), self._index, pts)
            self._index += 1
            return frame
        return None

    def close(self) -> None:
        self._frames = iter(())
        if self._container is not None:
            self._container.close()
            self._container = None

    def _open_container(self) -> None:
        import av
        from av.video.reformatter import VideoReformatter

        self.close()
        if self.path.is_dir() or not self.path.exists():
            raise BadFile(self.path, "is a folder, not a video" if self.path.is_dir() else "no such file")
        try:
            self._container = av.open(str(self.path.absolute()))  # a:b.mp4 alone would be an address to FFmpeg
        except PermissionError as error:
            raise BadFile(self.path, "may not be read (permission denied)") from error
        except (av.FFmpegError, OSError, ValueError) as error:
            raise BadFile(self.path, "is not a video that can be read") from error
        if not self._container.streams.video:
            self.close()
            raise BadFile(self.path, "holds no video, only sound or data")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = 2
        self._reformatter = VideoReformatter()
        rate = self._stream.average_rate or self._stream.guessed_rate
        self.fps = float(rate) if rate else None
        self.frames = self._stream.frames or self._estimate_frames()
        self._pts_end = 0.0

    def _estimate_frames(self) -> int | None:
        duration = self._container.duration
        return round(duration / 1e6 * self.fps) if duration and self.fps else None

    def _decode(self) -> Iterator[tuple[Any, float]]:
        """Decoded frames with pts in seconds from the first one. A frame without a timestamp, or one that goes
        back in time, follows the one before by a period."""
        period = 1.0 / self.fps if self.fps else 1.0 / 30
        first, last = None, -period
        for decoded in self._container.decode(self._stream):
            stamp = decoded.time
            if first is None:
                first = stamp or 0.0
            pts = last + period if stamp is None else stamp - first
            if pts <= last:
                pts = last + period
            last = pts
            self._pts_end = pts + period
            yield decoded, pts + self._offset
