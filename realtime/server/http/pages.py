"""The page, the view for OBS, and a picture stream for where WebRTC cannot go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from realtime.flow.mailbox import Closed
from realtime.media.uploads import encode_jpeg
from realtime.server.places.here import Session, Studio, TooManyViewers
from realtime.server.rtc.peer import ice_servers_for_browser
from realtime.server.sessions import Book

PICTURES = ("image/png", "image/jpeg", "image/webp")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".png": "image/png",
}
T = TypeVar("T")


async def in_thread(function: Callable[..., T], *args: Any) -> T:
    """Blocking work off the event loop."""
    return await asyncio.get_running_loop().run_in_executor(None, partial(function, *args))


def add(app: FastAPI, web: Path) -> None:
    """Add the routes. web: the folder of the page; its files are listed once: no other can be asked for."""
    files = {path.relative_to(web).as_posix(): path for path in web.rglob("*") if path.suffix in TYPES}

    def page(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "There is no such page")
        return FileResponse(files[name], media_type=TYPES[files[name].suffix], headers={"Cache-Control": "no-cache"})

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def index() -> Response:
        return page("index.html")

    @app.api_route("/view/{id}", methods=["GET", "HEAD"], include_in_schema=False, name="view")
    async def view(id: str) -> Response:
        return page("view.html")

    @app.api_route("/app/{name:path}", methods=["GET", "HEAD"], include_in_schema=False)
    async def file(name: str) -> Response:
        return page(name)

    @app.api_route("/favicon.ico", methods=["GET", "HEAD"], include_in_schema=False)
    async def icon() -> Response:
        return page("icon.svg")

    @app.get("/api/config", include_in_schema=False)
    async def config(request: Request) -> dict[str, Any]:
        studio: Studio = request.app.state.studio
        return {
            "iceServers": ice_servers_for_browser(studio.settings.rtc.ice_servers),
            "panel": studio.panel,
            "maxPixels": studio.settings.limits.portrait_pixels,
            "maxBytes": studio.settings.limits.body_bytes,
        }

    @app.get("/api/sessions/{id}/preview", include_in_schema=False)
    async def preview(request: Request, id: str) -> Response:
        """The avatar as a stream of JPEG pictures, for clients that WebRTC cannot reach."""
        studio: Studio = request.app.state.studio
        session = studio.get(id)
        if session.performer.viewers >= studio.settings.limits.viewers:
            raise TooManyViewers
        return StreamingResponse(
            _pictures(session, studio.book, studio.now), media_type="multipart/x-mixed-replace; boundary=picture"
        )


async def _pictures(session: Session, book: Book, now: Callable[[], float]) -> AsyncIterator[bytes]:
    box = session.performer.watch()
    book.attach(session.id, now())
    try:
        while True:
            shown = await box.aget(10.0)
            if shown is None:
                return
            data = await in_thread(encode_jpeg, shown.image, None, 80)
            head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            yield head.encode() + data + b"\r\n"
    except Closed:
        return
    finally:
        box.close()
        book.detach(session.id, now())
