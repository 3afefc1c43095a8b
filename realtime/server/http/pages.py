"""The page, the view for OBS, and a picture stream for where WebRTC cannot go."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from realtime.clients import browser_model
from realtime.server.http.door import Door

_KINDS = ("png", "jpeg", "webp", "gif", "tiff", "avif", "heic", "heif")
PICTURES = (*(f"image/{kind}" for kind in _KINDS), "application/octet-stream")
"""Types of pictures that are taken; browsers do not know that of every file."""
BACKGROUNDS = (*PICTURES, "video/mp4", "video/webm", "video/quicktime")
"""Types of what may lie behind a portrait."""
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".png": "image/png",
    ".wasm": "application/wasm",
    ".data": "application/octet-stream",
    ".binarypb": "application/octet-stream",
}
WORKER = "landmark-worker.js"
WORKER_POLICY = "default-src 'none'; script-src blob: 'unsafe-eval'; connect-src blob:"
"""What finds landmarks makes code while it runs, which the page forbids. It is given all that it loads by the page,
and can reach no network: what it sees goes nowhere."""
_FOR_GOOD = "private, max-age=31536000, immutable"
"""Files whose address changes with them."""


def add(app: FastAPI, web: Path) -> None:
    """Add the routes. web: the folder of the page; its files are listed once: no other can be asked for."""
    files = {path.relative_to(web).as_posix(): path for path in web.rglob("*") if path.suffix in TYPES}

    model = [
        f"/app/{browser_model.FOLDER.name}/{name}?{browser_model.VERSION}"
        for name in browser_model.FILES
        if f"{browser_model.FOLDER.name}/{name}" in files
    ]
    model = model if len(model) == len(browser_model.FILES) else []

    def page(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "There is no such page")
        headers = {"Cache-Control": _FOR_GOOD if name.startswith(f"{browser_model.FOLDER.name}/") else "no-cache"}
        if name == WORKER:
            headers["Content-Security-Policy"] = WORKER_POLICY
        return FileResponse(files[name], media_type=TYPES[files[name].suffix], headers=headers)

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
        door: Door = request.app.state.door
        terms = door.place.terms
        return {
            "iceServers": terms.ice_servers,
            "panel": terms.panel,
            "maxPixels": terms.limits.portrait_pixels,
            "maxBytes": terms.limits.body_bytes,
            "faceModel": model,
        }

    @app.get("/api/sessions/{id}/preview", include_in_schema=False)
    async def preview(request: Request, id: str) -> Response:
        """The avatar as a stream of JPEG pictures, for clients that WebRTC cannot reach."""
        door: Door = request.app.state.door
        pictures = await door.place.pictures(id)
        return StreamingResponse(_parts(pictures), media_type="multipart/x-mixed-replace; boundary=picture")


async def _parts(pictures: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for data in pictures:
        head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
        yield head.encode() + data + b"\r\n"
