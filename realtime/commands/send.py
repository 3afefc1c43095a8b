"""`avatar send`."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from realtime.commands import options as o
from realtime.commands.serve import need_serve_extra
from realtime.commands.terminal import say, stop_on_signals
from realtime.errors import BadValue
from realtime.flow.mailbox import Closed, Mailbox
from realtime.motion.vocabulary import can_mirror, mirrored
from realtime.settings import EngineSettings
from realtime.sources import Item, SourceOptions, Unseen, open_source
from realtime.types import MotionCode

if TYPE_CHECKING:
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
    loop: Annotated[bool, typer.Option("--loop", help="Start a clip or motion track again when it ends.")] = False,
    duration: Annotated[float | None, typer.Option(help="Stop after this many seconds.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Accept the server's own certificate.")] = False,
    quiet: o.Quiet = False,
) -> None:
    """Drive an avatar on another machine: motion codes leave this one, never the camera's picture.

    [b]Examples[/b]

      avatar send --to http://192.168.1.7:8000/?token=...

      avatar send --to http://127.0.0.1:8000 --source clip.mp4 --loop

      avatar send --to http://127.0.0.1:8000 --source motion:builtin --duration 20
    """
    need_serve_extra()
    from realtime.clients.motion_client import MotionClient, motion_url

    url = motion_url(to, session, portrait)
    driving = open_source(source, SourceOptions(fps=fps, loop=loop))
    if mirror and driving.kind is not None and not can_mirror(driving.kind):
        raise BadValue("--mirror", "on", "the codes of this motion track do not tell left from right")
    encoder = o.make_engine(EngineSettings(engine, 512))
    client = MotionClient(url, insecure=insecure, heard=lambda message: _heard(message, quiet))
    try:
        asyncio.run(_send(client, driving, encoder, mirror, duration, to, quiet))
    finally:
        encoder.close()


def _heard(message: dict[str, object], quiet: bool) -> None:
    if message.get("type") in {"error", "ended"} and not quiet:
        say(f"server: {message.get('error') or message.get('reason')}")


async def _send(
    client: object, driving: Source, encoder: Engine, mirror: bool, duration: float | None, to: str, quiet: bool
) -> None:
    from realtime.clients.motion_client import MotionClient, send_codes

    assert isinstance(client, MotionClient)
    async with client:
        if not quiet:
            base = to.partition("?")[0].rstrip("/")
            say(f"{driving.name} drives {client.hello['engine']}; seen at {base}{client.view}; Ctrl-C ends it")
        codes = _codes(driving, encoder, mirror)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(duration) as limit:
                stop_on_signals(asyncio.get_running_loop(), lambda: _end_now(limit))
                await send_codes(client, codes)
        await codes.aclose()
        if not quiet:
            sent = client.sent
            say(f"{sent.packets} codes sent, {sent.kilobits_per_s:.0f} kbit/s with all headers")


def _end_now(limit: asyncio.Timeout) -> None:
    """Let the time be over; nothing where it is already."""
    with contextlib.suppress(RuntimeError):
        limit.reschedule(asyncio.get_running_loop().time())


async def _codes(driving: Source, encoder: Engine, mirror: bool) -> AsyncGenerator[tuple[MotionCode | None, float]]:
    """Codes of the source's frames, the newest only: reading and encoding have threads of their own."""
    frames: Mailbox[Item] = Mailbox()
    codes: Mailbox[tuple[MotionCode | None, float]] = Mailbox()
    failures: list[Exception] = []

    def read() -> None:
        try:
            driving.open()
            while (item := driving.read()) is not None and frames.put(item):
                pass
        except Exception as error:
            failures.append(error)
        finally:
            frames.close()
            driving.close()

    def encode() -> None:
        try:
            while True:
                item = frames.get()
                if isinstance(item, MotionCode):
                    code = mirrored(item) if mirror else item
                    codes.put((code, item.captured or time.monotonic()))
                elif isinstance(item, Unseen):
                    codes.put((None, item.captured))
                elif item is not None:
                    frame = replace(item, image=np.ascontiguousarray(item.image[:, ::-1])) if mirror else item
                    codes.put((encoder.encode(frame), item.captured))
        except Closed:
            pass
        except Exception as error:
            failures.append(error)
        finally:
            codes.close()

    threads = [threading.Thread(target=work, daemon=True) for work in (read, encode)]
    driving.stopping = lambda: codes_done.is_set()
    codes_done = threading.Event()
    for thread in threads:
        thread.start()
    try:
        while True:
            item = await codes.aget()
            if item is not None:
                yield item
    except Closed:
        if failures:
            raise failures[0] from None
    finally:
        codes_done.set()
        frames.close()
        codes.close()
        for thread in threads:
            await asyncio.to_thread(thread.join, 3.0)
