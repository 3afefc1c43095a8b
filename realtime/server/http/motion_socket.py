"""`WS /api/motion`: motion codes in place of video. One binary packet per frame, see `realtime.motion.wire`.

The server's first message is the `hello` of the control channel. Text messages are control messages. `?session=KEY`
drives a session that exists (its id, or its key for driving); without it one is opened, and it stays for a while
after the socket is gone, so that a client may come back to it."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from realtime.errors import AvatarError
from realtime.server.common import messages
from realtime.server.common.sessions import ServerFull
from realtime.server.http.door import Door, client_of
from realtime.server.places import Busy, Line, LineOver, Wish

log = logging.getLogger(__name__)
router = APIRouter()

GOING_AWAY, UNSUPPORTED, POLICY, TRY_AGAIN_LATER = 1001, 1003, 1008, 1013


@router.websocket("/api/motion")
async def motion(socket: WebSocket) -> None:
    """One client."""
    door: Door = socket.app.state.door
    await socket.accept()
    try:
        async with contextlib.AsyncExitStack() as stack:
            line = await stack.enter_async_context(door.place.drive(await _key(door, socket)))
            await socket.send_text(line.hello.model_dump_json())
            await _receive(line, socket, door.limits.silent_s)
    except LineOver as over:
        await socket.close(UNSUPPORTED if over.fault else GOING_AWAY, str(over))
    except AvatarError as error:
        await socket.send_text(messages.Error(error=str(error)).model_dump_json())
        await socket.close(TRY_AGAIN_LATER if isinstance(error, ServerFull | Busy) else POLICY, str(error)[:120])
    except (WebSocketDisconnect, RuntimeError):
        log.debug("motion client gone")


async def _key(door: Door, socket: WebSocket) -> str:
    if door.wait(client_of(socket)):
        raise Busy("Too many connections in a short time", 1)
    wanted = socket.query_params.get("session")
    if wanted is not None:
        return wanted
    opened = await door.place.begin(
        Wish(source="motion", portrait=socket.query_params.get("portrait"), client=client_of(socket))
    )
    door.announce(opened.keys.view, "motion")
    return opened.keys.id


async def _receive(line: Line, socket: WebSocket, silent_s: float) -> None:
    while True:
        try:
            async with asyncio.timeout(silent_s):
                message = await socket.receive()
        except TimeoutError:
            raise LineOver("nothing was sent for too long") from None
        if message["type"] == "websocket.disconnect":
            return
        data = message.get("bytes")
        reply = await line.take(data if data is not None else message.get("text") or "")
        if reply is not None:
            await socket.send_text(reply)
