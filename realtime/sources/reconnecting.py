"""What a camera and a network stream have in common: they go away, and come back."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

from realtime.errors import AvatarError, NoConnection
from realtime.flow.pacing import Backoff
from realtime.media.decode import to_rgb
from realtime.sources import SourceBase, SourceOptions
from realtime.types import Frame


class ReconnectingSource(SourceBase):
    """Reads frames from `connect()`; when they stop coming it tells the user and connects again, with back-off.

    clock, sleep: the time, and how to wait; tests pass their own.
    """

    live = True

    def __init__(self, options: SourceOptions) -> None:
        super().__init__(options)
        self.clock: Callable[[], float] = time.monotonic
        self.sleep: Callable[[float], None] = time.sleep
        self._container: Any = None
        self._packets: Iterator[tuple[Any, float]] = iter(())
        self._reformatter: Any = None
        self._index = 0
        self._started: float | None = None
        self._back_off = Backoff()

    @abstractmethod
    def connect(self) -> Any:
        """A freshly opened PyAV container. Raises AvatarError."""

    def open(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()
        self._take(self.connect())

    def read(self) -> Frame | None:
        import av

        while not self.stopping():
            try:
                decoded, captured = next(self._packets)
                image = to_rgb(decoded, self._reformatter, self.options.max_side, exact=False)
            except StopIteration:
                if not self._reconnect("sends no more pictures"):
                    return None
                continue
            except (av.FFmpegError, OSError, ValueError) as error:
                if not self._reconnect(str(getattr(error, "strerror", None) or error)):
                    return None
                continue
            if self.waiting:
                self.waiting = False
                self.tell(f"{self.name} is back")
            self._back_off.reset()
            if self._started is None:
                self._started = captured
            frame = Frame(image, captured, self._index, captured - self._started)
            self._index += 1
            return frame
        return None

    def close(self) -> None:
        self._packets = iter(())
        container, self._container = self._container, None
        if container is not None:
            container.close()

    def _take(self, container: Any) -> None:
        if not container.streams.video:
            container.close()
            raise NoConnection(self.name, "holds no video")
        self._container = container
        stream = container.streams.video[0]
        stream.thread_type = "SLICE"  # frame threads would hold frames back
        rate = stream.average_rate or stream.guessed_rate
        self.fps = float(rate) if rate and 1 <= rate <= 240 else None
        self._packets = self._decode(container, stream)

    def _decode(self, container: Any, stream: Any) -> Iterator[tuple[Any, float]]:
        for packet in container.demux(stream):
            captured = self.clock()
            for decoded in packet.decode():
                yield decoded, captured

    def _reconnect(self, reason: str) -> bool:
        """Close, wait, connect; until it works. False when the session ends meanwhile."""
        self.close()
        if not self.waiting:
            self.waiting = True
            self.tell(f"{self.name}: {reason}; the avatar idles until it is back")
        while not self.stopping():
            if not self._wait(self._back_off.next()):
                return False
            try:
                self._take(self.connect())
                return True
            except AvatarError:
                continue
        return False

    def _wait(self, seconds: float) -> bool:
        deadline = self.clock() + seconds
        while (left := deadline - self.clock()) > 0:
            if self.stopping():
                return False
            self.sleep(min(left, 0.2))
        return not self.stopping()
