"""`avatar send`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from realtime.commands import options as o
from realtime.commands.serve import need_serve_extra
from realtime.commands.terminal import say, stop_on_signals
from realtime.engines.choose import make_engine
from realtime.errors import BadValue
from realtime.motion.vocabulary import can_mirror
from realtime.session.sender import codes_of, landmarks_of
from realtime.settings import EngineSettings
from realtime.sources import SourceOptions, open_source

if TYPE_CHECKING:
    from realtime.clients.motion_client import MotionClient
    from realtime.engines import Engine
    from realtime.sources import Source


def command(
    to: Annotated[str, typer.Option(help="Link of the server: http://host:port, with ?token= where it needs one.")],
    source: Annotated[
        str, typer.Option(help="camera, camera:N, a clip, motion:PATH, or an rtsp/http address.")
    ] = "camera",
    engine: o.EngineName = "auto",
    session: Annotated[str | None, typer.Option(help="Drive a session that exists, by its id.")] = None,
    portrait: Annotated[str | None, typer.Option(help="Portrait of the server's gallery, by its id.")] = None,
    fps: Annotated[float, typer.Option(help="Frames a second asked of the camera.")] = 30.0,
    mirror: o.Mirror = False,
    landmarks: Annotated[
        bool,
        typer.Option("--landmarks", help="Send the points of your face: no engine runs here. For the mesh engine."),
    ] = False,
    loop: Annotated[bool, typer.Option("--loop", help="Start a clip or motion track again when it ends.")] = False,
    duration: Annotated[float | None, typer.Option(help="Stop after this many seconds.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Accept the server's own certificate.")] = False,
    quiet: o.Quiet = False,
) -> None:
    """Drive an avatar on another machine: motion codes, or landmarks, leave this one, never the camera's picture.

    [b]Examples[/b]

      avatar send --to http://192.168.1.7:8000/?token=...

      avatar send --to http://127.0.0.1:8000 --source clip.mp4 --loop

      avatar send --to http://127.0.0.1:8000 --source motion:builtin --duration 20

      avatar send --to http://192.168.1.7:8000/?token=... --landmarks
    """
    need_serve_extra()
    from realtime.clients.motion_client import MotionClient, motion_url

    url = motion_url(to, session, portrait)
    driving = open_source(source, SourceOptions(fps=fps, loop=loop))
    if mirror and driving.kind is not None and not can_mirror(driving.kind):
        raise BadValue("--mirror", "on", "the codes of this motion track do not tell left from right")
    if landmarks and driving.kind is not None:
        raise BadValue("--landmarks", "on", "a motion track has no faces to look for; leave it out")
    client = MotionClient(url, insecure=insecure, heard=lambda message: _heard(message, quiet))
    if landmarks:
        asyncio.run(_send(client, driving, None, mirror, duration, to, quiet))
        return
    encoder = make_engine(EngineSettings(engine, 512))
    try:
        asyncio.run(_send(client, driving, encoder, mirror, duration, to, quiet))
    finally:
        encoder.close()


def _heard(message: dict[str, object], quiet: bool) -> None:
    if message.get("type") in {"error", "ended"} and not quiet:
        say(f"server: {message.get('error') or message.get('reason')}")


async def _send(
    client: MotionClient,
    driving: Source,
    encoder: Engine | None,
    mirror: bool,
    duration: float | None,
    to: str,
    quiet: bool,
) -> None:
    """encoder: None to send landmarks. Raises BadValue where the server's engine reads none."""
    from realtime.clients.motion_client import send_codes

    async with client:
        if encoder is None and not client.hello.get("landmarks"):
            reads = "needs the picture, or codes of its own: leave it out"
            raise BadValue("--landmarks", "on", f"the engine there ({client.hello['engine']}) {reads}")
        if not quiet:
            base = to.partition("?")[0].rstrip("/")
            say(f"{driving.name} drives {client.hello['engine']}; seen at {base}{client.view}; Ctrl-C ends it")
        seen: AsyncGenerator[Any] = (
            landmarks_of(driving, mirror) if encoder is None else codes_of(driving, encoder, mirror)
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(duration) as limit, contextlib.aclosing(seen):
                stop_on_signals(asyncio.get_running_loop(), lambda: _end_now(limit))
                if encoder is not None:
                    await send_codes(client, seen)
                else:
                    async for found in seen:
                        await client.send_landmarks(found)
        if not quiet:
            sent, what = client.sent, "codes" if encoder is not None else "faces"
            say(f"{sent.packets} {what} sent, {sent.kilobits_per_s:.0f} kbit/s with all headers")


def _end_now(limit: asyncio.Timeout) -> None:
    """Let the time be over; nothing where it is already."""
    with contextlib.suppress(RuntimeError):
        limit.reschedule(asyncio.get_running_loop().time())
