"""`WS /api/motion`: motion codes in place of video. One binary packet per frame, see `realtime.motion.wire`.

The server's first message is the `hello` of the control channel with one more field, `view`: the path at which the
avatar is seen. Text messages are control messages. `?session=ID` drives a session that exists; without it one is
opened, and it stays for a while after the socket is gone, so that a client may come back to it."""

from __future__ import annotations

import json
import logging

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from realtime.errors import AvatarError
from realtime.motion.wire import MAX_PACKET, BadPacket, ClockOffset, Newest, unpack
from realtime.server import messages
from realtime.server.limits import Bucket
from realtime.server.places.here import Session, Studio, UnknownSession
from realtime.server.rtc.frames import Driven
from realtime.server.sessions import ServerFull

log = logging.getLogger(__name__)
router = APIRouter()

TRY_AGAIN_LATER, POLICY, UNSUPPORTED = 1013, 1008, 1003


class MotionIntake:
    """Decides about each packet of one client. Pure: time is passed in."""

    def __init__(self, kind: str, size: int, rate: float) -> None:
        self.kind, self.size = kind, size
        self.newest, self.clock = Newest(), ClockOffset()
        self.bucket = Bucket(rate, 2 * rate)
        self.bad = 0

    def take(self, data: bytes, now: float) -> Driven | None:
        """What drives the next picture; None for a packet that is too old or too many. Raises BadPacket."""
        if not self.bucket.take(now):
            return None
        try:
            packet = unpack(data)
            if packet.kind != self.kind:
                raise BadPacket(f"codes of kind {packet.kind}; this avatar takes {self.kind}")
            if packet.values is not None and packet.values.size != self.size:
                raise BadPacket(f"{packet.values.size} values; this avatar takes {self.size}")
        except BadPacket:
            self.bad += 1
            raise
        if not self.newest.admit(packet.sequence):
            return None
        captured = self.clock.map(packet.captured, now)
        code = packet.code(captured, pts=packet.captured)
        return Driven(captured, packet.captured, code=code, seen=code is not None, index=packet.sequence)


@router.websocket("/api/motion")
async def motion(socket: WebSocket) -> None:
    """One client."""
    studio: Studio = socket.app.state.studio
    await socket.accept()
    try:
        session = await _session(studio, socket)
    except (ServerFull, UnknownSession, AvatarError) as error:
        await socket.send_text(messages.Error(error=str(error)).model_dump_json())
        await socket.close(TRY_AGAIN_LATER if isinstance(error, ServerFull) else POLICY, str(error)[:120])
        return
    session.performer.command(messages.ChooseSource(type="source", source="motion"))
    studio.book.attach(session.id, studio.now())
    try:
        hello = {**studio.hello(session).model_dump(mode="json"), "view": f"/view/{session.id}"}
        await socket.send_text(json.dumps(hello))
        await _receive(studio, session, socket)
    except (WebSocketDisconnect, RuntimeError):
        log.debug("motion client gone")
    finally:
        studio.book.detach(session.id, studio.now())


async def _session(studio: Studio, socket: WebSocket) -> Session:
    wanted = socket.query_params.get("session")
    if wanted is not None:
        return studio.get(wanted)
    session = await studio.begin("motion", socket.query_params.get("portrait"))
    studio.announce(session, "motion")
    return session


async def _receive(studio: Studio, session: Session, socket: WebSocket) -> None:
    engine = session.performer.engine
    intake = MotionIntake(engine.kind, engine.portrait_code.values.size, studio.settings.limits.packets_per_s)
    while session.id in studio.sessions:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return
        now = studio.now()
        data = message.get("bytes")
        if data is None:
            await _control(studio, session, socket, message.get("text") or "", now)
            continue
        try:
            driven = intake.take(data[: MAX_PACKET + 1], now)
        except BadPacket as error:
            if intake.bad > 100:
                await socket.close(UNSUPPORTED, "too many packets that are none")
                return
            if session.complaints.take(now):
                await socket.send_text(messages.Error(error=str(error)).model_dump_json())
            continue
        if driven is not None:
            session.performer.offer(driven)
    await socket.close(1001, "the session has ended")


async def _control(studio: Studio, session: Session, socket: WebSocket, text: str, now: float) -> None:
    if session.messages.take(now):
        reply = studio.control(session, text)
        if reply is not None:
            await socket.send_text(reply.model_dump_json())
