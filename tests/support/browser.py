"""A real Chromium for tests: found, started with a camera made from a clip, and looked into."""

from __future__ import annotations

import base64
import contextlib
import io
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--enable-unsafe-swiftshader",  # WebGL without a GPU
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--allow-loopback-in-peer-connection",
]


def chromium() -> str:
    """Path of a Chromium. Skips the test where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium here: apt-get install chromium")


def write_camera(
    frames: Iterator[np.ndarray], path: Path, width: int = 640, height: int = 480, fps: int = 30
) -> Path:
    """What `--use-file-for-fake-video-capture` takes: MJPEG with full-range 4:2:0 (with 4:4:4 Chromium shows one
    still picture and says nothing). frames: uint8 (H, W, 3) RGB, fitted into the size."""
    with av.open(str(path), "w", format="mjpeg") as out:
        stream = out.add_stream("mjpeg", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
        stream.codec_context.qmin = stream.codec_context.qmax = 3
        for i, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(fit(image, width, height), format="rgb24")
            frame = frame.reformat(width, height, "yuvj420p")
            frame.pts, frame.time_base = i, Fraction(1, fps)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def fit(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """The picture in the middle of another size, its edge colours around."""
    scale = min(width / image.shape[1], height / image.shape[0])
    small = np.array(Image.fromarray(image).resize((round(image.shape[1] * scale), round(image.shape[0] * scale))))
    x, y = width - small.shape[1], height - small.shape[0]
    return np.pad(small, ((y // 2, y - y // 2), (x // 2, x - x // 2), (0, 0)), mode="edge")


@contextlib.contextmanager
def playwright() -> Iterator[Any]:
    """Playwright's driver. One per thread at a time. Skips the test where it is not installed."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
    chromium()
    with api.sync_playwright() as driver:
        yield driver


@contextlib.contextmanager
def browser(
    driver: Any, camera: Path | None = None, device: bool = True, asks: bool = False, webgl: bool = True
) -> Iterator[Any]:
    """A Chromium. camera: the file its camera plays; device False: it has no camera at all.
    asks: cameras are asked for, and nobody is there to allow them. webgl False: it has none."""
    out = {"--use-fake-ui-for-media-stream": asks, "--enable-unsafe-swiftshader": not webgl}
    flags = [flag for flag in FLAGS if not out.get(flag)] + ([] if webgl else ["--disable-software-rasterizer"])
    if device:
        flags.append("--use-fake-device-for-media-stream")
    if camera is not None:
        flags.append(f"--use-file-for-fake-video-capture={camera}")
    chrome = driver.chromium.launch(executable_path=chromium(), args=flags, headless=True)
    try:
        yield chrome
    finally:
        chrome.close()


def picture_of(page, selector: str = "#avatar") -> np.ndarray:
    """What a video shows now: uint8 (H, W, 3)."""
    data = page.evaluate(
        """selector => { const v = document.querySelector(selector), c = document.createElement('canvas');
        c.width = v.videoWidth; c.height = v.videoHeight; c.getContext('2d').drawImage(v, 0, 0);
        return c.toDataURL('image/png').split(',')[1]; }""",
        selector,
    )
    return np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


RECORD = """async ([seconds, side]) => {
  const pairs = [], [a, b] = ['#camera-view', '#avatar'].map(id => document.querySelector(id));
  const canvas = document.createElement('canvas'), g = canvas.getContext('2d');
  const shot = video => {
    canvas.width = Math.round(side * video.videoWidth / video.videoHeight);
    canvas.height = side;
    g.drawImage(video, 0, 0, canvas.width, canvas.height);
    return canvas.toDataURL('image/jpeg', 0.9).split(',')[1];
  };
  const end = performance.now() + 1000 * seconds;
  while (performance.now() < end) {
    pairs.push([performance.now() / 1000, shot(a), shot(b)]);
    await new Promise(r => setTimeout(r, 100));
  }
  return pairs;
}"""


def record_pairs(page, seconds: float, side: int = 256) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """(time, camera, avatar) as the page shows them side by side."""

    def picture(data: str) -> np.ndarray:
        return np.array(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))

    return [(at, picture(a), picture(b)) for at, a, b in page.evaluate(RECORD, [seconds, side])]
