"""Pictures and motion over HTTP: a stream of JPEG pictures to each who watches, a line from each who drives."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from realtime.errors import UsageError
from realtime.flow.mailbox import Closed
from realtime.media.uploads import encode_jpeg
from realtime.motion import landmark_wire
from realtime.motion.wire import MAX_PACKET, BadPacket
from realtime.server.common import messages
from realtime.server.common.sessions import Right
from realtime.server.places import LineOver, TooManyDrivers, TooManyViewers
from realtime.server.places.control import Controls
from realtime.server.places.house import House
from realtime.server.places.intake import LandmarkIntake, MotionIntake
from realtime.server.places.session import Session

_LANDMARKS = bytes([landmark_wire.MAGIC])
_LONGEST = max(MAX_PACKET, landmark_wire.MAX_PACKET)


async def pictures(house: House, key: str) -> AsyncIterator[bytes]:
    """The avatar as JPEG pictures, until the session ends. Raises TooManyViewers."""
    session = house.get(key, Right.WATCH)
    if session.watchers >= house.limits.viewers:
        raise TooManyViewers
    stream = _pictures(house, session, key)
    await anext(stream)  # takes the place, before anybody else runs; asyncio closes a stream that is let go of
    return stream


async def _pictures(house: House, session: Session, key: str) -> AsyncIterator[bytes]:
    """An empty one first, once its place is taken."""
    session.streams += 1
    box = session.performer.watch()
    house.book.attach(session.id, house.now())
    try:
        yield b""
        while house.book.find(key) is not None:
            shown = await box.aget(10.0)
            if shown is None:
                return
            yield await asyncio.to_thread(encode_jpeg, shown.image, None, 80)
    except Closed:
        return
    finally:
        session.streams -= 1
        box.close()
        house.book.detach(session.id, house.now())


@contextlib.asynccontextmanager
async def motion_line(house: House, controls: Controls, key: str) -> AsyncIterator[MotionLine]:
    """Motion from one client. Raises TooManyDrivers."""
    session = house.get(key, Right.DRIVE)
    if session.lines >= house.limits.drivers:
        raise TooManyDrivers
    session.performer.command(messages.ChooseSource(type="source", source="motion"))
    session.lines += 1
    house.book.attach(session.id, house.now())
    try:
        yield MotionLine(house, controls, session, key)
    finally:
        session.lines -= 1
        house.book.detach(session.id, house.now())


class MotionLine:
    """What one motion client sends: a `Line`."""

    def __init__(self, house: House, controls: Controls, session: Session, key: str) -> None:
        self._house, self._controls, self._session, self._key = house, controls, session, key
        self._packets = Packets(session, house.limits.packets_per_s, drives="motion")
        self.hello = session.hello(key)

    async def take(self, data: bytes | str) -> str | None:
        """A motion or landmark packet (bytes) or a control message (text); what to answer, if anything. Raises
        LineOver."""
        session, now = self._session, self._house.now()
        entry, right = self._house.book.find(self._key) or (None, Right.WATCH)
        if entry is None or entry.id != session.id:
            raise LineOver("the session has ended")
        if isinstance(data, str):
            reply = self._controls.told(session, data, right) if session.messages[right].take(now) else None
            return reply.model_dump_json() if reply else None
        return self._packets.take(data, now)


class Packets:
    """What one client sends in place of video, by whatever way. drives: what the session was told to follow when the
    client came: from then on it follows what he sends. None: it is told by himself."""

    def __init__(self, session: Session, rate: float, drives: messages.Source | None = None) -> None:
        engine = session.performer.engine
        self._session, self._drives = session, drives
        self._codes = MotionIntake(engine.kind, engine.portrait_code.values.size, rate)
        self._landmarks = LandmarkIntake(rate)

    def take(self, data: bytes, now: float) -> str | None:
        """A motion or landmark packet; what to answer, if anything. Raises LineOver."""
        session = self._session
        intake = self._landmarks if data[:1] == _LANDMARKS else self._codes
        try:
            driven = intake.take(data[: _LONGEST + 1], now)
        except BadPacket as error:
            if self._codes.bad + self._landmarks.bad > 100:
                raise LineOver("too many packets that are none", fault=True) from None
            return messages.Error(error=str(error)).model_dump_json() if session.complaints.take(now) else None
        if driven is not None:
            self._lead(driven.source)
            session.performer.offer(driven)
        kept = self._landmarks.news()
        return None if kept is None else messages.Kept(sequence=kept).model_dump_json()

    def _lead(self, source: messages.Source) -> None:
        if self._drives not in (None, source):
            try:
                self._session.performer.command(messages.ChooseSource(type="source", source=source))
            except UsageError as error:
                raise LineOver(str(error), fault=True) from None
            self._drives = source
