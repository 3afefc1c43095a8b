"""A real Chromium with a fake camera that plays a stamped clip."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.live import stamp
from realtime.errors import DeviceError, MissingExtra

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream", "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns", "--autoplay-policy=no-user-gesture-required",
    "--disable-backgrounding-occluded-windows", "--disable-renderer-backgrounding",
)  # fmt: skip


def chromium_path() -> str | None:
    """The system's Chromium or Chrome, None where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
    return next((p for n in names if (p := shutil.which(n))), None)


def why_not() -> str | None:
    """Why no browser can be driven here, None where one can."""
    if chromium_path() is None:
        return "there is no Chromium"
    try:
        import playwright.sync_api  # noqa: F401
    except ImportError:
        return "playwright is not installed"
    return None


def write_camera(path: Path, frames: Sequence[np.ndarray], fps: int) -> None:
    """A stamped clip for Chromium's fake camera, as Y4M: of the two forms it plays, the one whose rate can be chosen
    (MJPEG always has 30).

    frames: uint8 (H, W, 3), all of one size; frame k carries the number k.
    """
    import av

    height, width = frames[0].shape[:2]
    with path.open("wb") as out:
        out.write(f"YUV4MPEG2 W{width} H{height} F{fps}:1 Ip A1:1 C420jpeg\n".encode())
        for index, image in enumerate(frames):
            image = image.copy()
            stamp.draw(image, index)
            planes = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p").to_ndarray()
            out.write(b"FRAME\n" + planes.tobytes())


@contextlib.contextmanager
def chromium(camera: Path, *flags: str) -> Iterator[Any]:
    """A Playwright browser whose camera plays the file `camera`. flags: further ones. Raises MissingExtra,
    DeviceError."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise MissingExtra("measuring in a browser", "playwright", "dev") from error
    path = chromium_path()
    if path is None:
        raise DeviceError("Chromium", "is not installed", "On Debian: apt-get install chromium")
    with sync_playwright() as play:
        try:
            args = [*FLAGS, *flags, f"--use-file-for-fake-video-capture={camera}"]
            browser = play.chromium.launch(executable_path=path, headless=True, args=args)
        except Error as error:
            raise DeviceError("Chromium", str(error).splitlines()[0]) from error
        try:
            yield browser
        finally:
            browser.close()


def open_page(browser: Any, exchange: Callable[[dict[str, str]], dict[str, str] | Awaitable[dict[str, str]]]) -> Any:
    """A page on 127.0.0.1 with two videos and glass.js; its `exchange` (offer in, answer out) is the given one."""
    page = browser.new_context(permissions=["camera"]).new_page()
    address = "http://127.0.0.1:9/glass"  # never asked for: the route below answers
    script = Path(__file__).with_name("glass.js").read_text(encoding="utf-8")
    video = '<video id="{}" muted autoplay playsinline width="512" height="512"></video>'
    videos = "".join(video.format(name) for name in ("mine", "theirs"))
    body = f"<!doctype html><title>glass</title>{videos}<script>{script}</script>"
    page.route(address, lambda route: route.fulfill(body=body, content_type="text/html; charset=utf-8"))
    page.goto(address)
    page.expose_function("exchange", exchange)
    return page


GEOMETRY = {
    "left": stamp.LEFT, "height": stamp.HEIGHT, "cells": stamp.CELLS, "check": stamp.CHECK,
    "leastContrast": stamp.LEAST_CONTRAST,
}  # fmt: skip
