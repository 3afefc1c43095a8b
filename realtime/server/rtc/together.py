"""One coding for all who see the same pictures: each is coded once, however many watch."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from realtime.server.common.limits import Bucket
from realtime.server.hosting.frames import Stream
from realtime.server.rtc.decoders import is_key

KEPT = 8
"""Coded pictures that are kept for those who come for them later than the first."""
KEYS_EACH_PER_S, KEYS_EACH_AT_ONCE = 0.2, 3.0
"""Key frames that one viewer may ask for: all get them. Who asks for more is coded for by himself."""


class _Seat:
    """One viewer. at: the number of the picture that he got last, None for a newcomer; apart: he is coded for by
    himself, until a key frame comes that he can go on from. barred: for good."""

    __slots__ = ("apart", "at", "barred", "keys")

    def __init__(self) -> None:
        self.at: int | None = None
        self.apart = self.barred = False
        self.keys = Bucket(KEYS_EACH_PER_S, KEYS_EACH_AT_ONCE)


class Together:
    """The coding of one stream in one codec. Any thread.

    encode: makes the next coded picture, of a frame and whether it has to be a key frame; what must come later may
    leave that for later."""

    def __init__(self, encode: Callable[[Any, bool], bytes], clock: Callable[[], float] = time.monotonic) -> None:
        self._encode, self._clock = encode, clock
        self._lock = threading.Lock()
        self._coded: OrderedDict[int, tuple[int, bytes]] = OrderedDict()  # by the time of presentation
        self._newest = self._count = -1
        self._wanted = False
        self._seats: WeakKeyDictionary[object, _Seat] = WeakKeyDictionary()

    def take(self, viewer: object, frame: Any, force_key: bool) -> bytes | None:
        """The coded picture for a viewer; None where he has to be coded for by himself, beginning with a key frame:
        he is new and others are under way, he has left out a picture, or he wants too many key frames."""
        with self._lock:
            seat = self._seats.setdefault(viewer, _Seat())
            if force_key and not seat.apart:
                seat.barred = not seat.keys.take(self._clock())
                self._wanted |= not seat.barred
            if seat.barred:
                return None
            number, data = self._of(frame, seat)
            if not data or (seat.at != number - 1 and not is_key(data)):
                seat.apart = seat.at is not None
                return None
            seat.at, seat.apart = number, False
            return data

    def leave(self, viewer: object) -> None:
        """He needs another rate, and comes back with a key frame only."""
        with self._lock:
            self._seats.setdefault(viewer, _Seat()).apart = True

    def _of(self, frame: Any, seat: _Seat) -> tuple[int, bytes]:
        """Number and coded picture; nothing where it is gone, or not to be made for this viewer."""
        found = self._coded.get(frame.pts)
        if found is not None:
            self._wanted |= seat.at is None and not is_key(found[1])
            return found
        if seat.apart or frame.pts <= self._newest:
            return 0, b""
        wanted, self._wanted = self._wanted or seat.at is None, False
        data = self._encode(frame, wanted)
        self._newest, self._count = frame.pts, self._count + 1
        self._coded[frame.pts] = (self._count, data)
        while len(self._coded) > KEPT:
            self._coded.popitem(last=False)
        return self._count, data


_STREAMS: WeakKeyDictionary[Stream, dict[type, Together]] = WeakKeyDictionary()
_LOCK = threading.Lock()


def together(stream: Stream, kind: type, encode: Callable[[], Callable[[Any, bool], bytes]]) -> Together:
    """The coding of a stream by encoders of one kind. encode: makes what makes the pictures, for the first one."""
    with _LOCK:
        kinds = _STREAMS.setdefault(stream, {})
        if kind not in kinds:
            kinds[kind] = Together(encode())
        return kinds[kind]
