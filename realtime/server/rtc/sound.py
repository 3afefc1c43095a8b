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
        frame, arrived = self._queue.popleft()
        self.held += EASE * (self._delay() - self.held) if self.held else self._delay()
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

    def listen(self) -> VoiceTrack:
        """A track for one more listener."""
        track = VoiceTrack(self._delay)
        self.listeners.append(track)
        return track

    async def relay(self, source: MediaStreamTrack) -> None:
        """Hand on all that comes from the driver, until it ends."""
        try:
            while True:
                frame = await source.recv()
                now = time.monotonic()
                self.listeners = [track for track in self.listeners if track.readyState == "live"]
                for track in self.listeners:
                    track.put(frame, now)
        except MediaStreamError:
            return
