"""The driver's voice on its way to the viewers, held back until the picture that goes with it has been made."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

LONGEST = 100
"""Packets of 20 ms that a slow listener's queue holds; the oldest give way."""
LATE_S = 0.06
"""A packet that is later than this behind its picture is left out, where another one waits: a burst of late packets
would stay late in the listener's own queue."""
EASE = 0.05
"""Share of the way to the measured delay that each packet moves the delay by: no jumps that one hears."""


class VoiceTrack(MediaStreamTrack):
    """One listener's track. delay: seconds that a picture takes from its driving frame, as measured now."""

    kind = "audio"

    def __init__(self, delay: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._delay, self._clock = delay, clock
        self._queue: deque[tuple[Any, float]] = deque(maxlen=LONGEST)
        self._more = asyncio.Event()
        self.held = 0.0
        """Seconds by which sound is held back now."""
        self.left_out = 0

    def put(self, frame: Any, arrived: float) -> None:
        """A packet of the driver's sound, `arrived` at this monotonic time."""
        self._queue.append((frame, arrived))
        self._more.set()

    async def recv(self) -> Any:
        """The next packet, at the time of its picture. Raises MediaStreamError when the session has ended."""
        while not self._queue and self.readyState == "live":
            self._more.clear()
            await self._more.wait()
        if self.readyState != "live":
            raise MediaStreamError
        self.held += EASE * (self._delay() - self.held) if self.held else self._delay()
        frame, arrived = self._queue.popleft()
        while self._queue and self._clock() - arrived - self.held > LATE_S:
            frame, arrived = self._queue.popleft()
            self.left_out += 1
        await asyncio.sleep(max(0.0, arrived + self.held - self._clock()))
        return frame

    def stop(self) -> None:
        """No more sound is wanted."""
        super().stop()
        self._more.set()


class Voice:
    """The sound of one session: from the peer that drives it to all who listen."""

    def __init__(self, delay: Callable[[], float]) -> None:
        self._delay = delay
        self.listeners: list[VoiceTrack] = []

    def listen(self, delay: Callable[[], float | None] = lambda: None) -> VoiceTrack:
        """A track for one more listener. delay: what the listener's own pictures take, None while that is unknown."""

        def known() -> float:
            own = delay()
            return self._delay() if own is None else own

        track = VoiceTrack(known)
        self.listeners = [*self._live(), track]
        return track

    def _live(self) -> list[VoiceTrack]:
        return [track for track in self.listeners if track.readyState == "live"]

    async def relay(self, source: MediaStreamTrack, hear: Callable[[Any], None] = lambda frame: None) -> None:
        """Hand on all that comes from the driver, until it ends. hear: is given each packet as well."""
        try:
            while True:
                frame = await source.recv()
                now = time.monotonic()
                hear(frame)
                self.listeners = self._live()
                for track in self.listeners:
                    track.put(frame, now)
        except MediaStreamError:
            return
