"""A network camera (RTSP) or a video at an http(s) address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from realtime.errors import BadValue, NoConnection
from realtime.flow.pacing import MediaClock
from realtime.sources import SourceOptions
from realtime.sources.reconnecting import ReconnectingSource

OPEN_SECONDS, READ_SECONDS = 8.0, 5.0
"""How long connecting, and waiting for the next picture, may take."""


class UrlSource(ReconnectingSource):
    """Frames of a stream as they come; of a recorded video at its own pace. Reconnects when a stream breaks."""

    def __init__(self, argument: str, options: SourceOptions) -> None:
        super().__init__(options)
        self.url = argument
        self.name = without_password(argument)
        self._recorded = False
        self._clock = MediaClock()

    def check(self) -> None:
        """Raises BadValue where the address has no host."""
        try:
            host = urlsplit(self.url).hostname
        except ValueError:
            host = None
        if not host:
            raise BadValue("--source", self.name, "an address with a host, as in rtsp://192.168.1.20/stream")

    def connect(self) -> Any:
        import av

        begun = self.clock()
        try:
            container = av.open(self.url, options=options_for(self.url), timeout=(OPEN_SECONDS, READ_SECONDS))
        except (av.FFmpegError, OSError, ValueError) as error:
            reason = str(getattr(error, "strerror", None) or error).replace(self.url, self.name)
            if self.clock() - begun > READ_SECONDS - 0.5:
                reason = "no answer"
            raise NoConnection(self.name, f"cannot be opened ({reason})") from error
        self._recorded = bool(container.duration and container.duration > 0)
        self.live = not self._recorded
        return container

    def _decode(self, container: Any, stream: Any) -> Iterator[tuple[Any, float]]:
        if not self._recorded:
            yield from super()._decode(container, stream)
            return
        for decoded in container.decode(stream):
            due = self._clock.due(decoded.time or 0.0, self.clock())
            if not self._wait(due - self.clock()):
                return
            yield decoded, self.clock()

    def _reconnect(self, reason: str) -> bool:
        """A recorded video ends, or starts again with `loop`; a stream is connected again."""
        if not self._recorded:
            return super()._reconnect(reason)
        self.close()
        if not self.options.loop or self.stopping():
            return False
        self._clock.restart()
        self._take(self.connect())
        return True


def options_for(url: str) -> dict[str, str]:
    """FFmpeg options that keep latency low: no probing for long, no reordering buffer, RTSP over TCP."""
    common = {"fflags": "nobuffer", "flags": "low_delay", "analyzeduration": "1000000"}
    if re.match(r"rtsps?://", url, re.IGNORECASE):
        return {**common, "rtsp_transport": "tcp", "max_delay": "200000", "reorder_queue_size": "0"}
    return {"analyzeduration": "1000000"}


def without_password(url: str) -> str:
    """The address as it may be shown: user and password as ***, and no query, which often holds a key."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if ":" in host:
            host = f"[{host}]"
        where = f"{host}:{parts.port}" if parts.port else host
    except ValueError:
        return url.split("@")[-1].split("?")[0]
    if parts.username or parts.password:
        where = f"***@{where}"
    return urlunsplit((parts.scheme, where, parts.path, "", ""))
