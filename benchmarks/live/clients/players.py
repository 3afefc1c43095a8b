"""Clients that watch: WHEP players on a session whose driver flashes and beeps, and our own page."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.live.clients import gstreamer
from benchmarks.live.clients.bench import Bench, chromium_page
from benchmarks.live.clients.calls import watch
from benchmarks.live.clients.firefox import firefox
from benchmarks.live.clients.seen import Line, Seen, from_page
from benchmarks.live.clients.webkit import webkit
from realtime.errors import ConnectionLost

NO_RTC = "our page, WebKitGTK (no WebRTC)"
PROBE = (Path(__file__).with_name("web") / "probe.js").read_text(encoding="utf-8")


def aiortc(bench: Bench) -> Line:
    """aiortc as a WHEP player."""

    async def hold() -> None:
        await asyncio.sleep(2.0 + bench.seconds)

    return bench.run(watch(bench.url, bench.driven(), hold)).line()


def webrtcbin(kinds: str, policy: str) -> Callable[[Bench], Line]:
    """GStreamer, with this order of sections and this bundle policy."""

    def row(bench: Bench) -> Line:
        url = f"{bench.url}/whep/{bench.driven()}"
        command = gstreamer.command("whep", url, 4.0 + bench.seconds, kinds, policy)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60 + bench.seconds, check=False)
        if not done.stdout:
            raise ConnectionLost("GStreamer", (done.stderr.strip().splitlines() or ["it said nothing"])[-1])
        said = json.loads(done.stdout.splitlines()[0])
        seen = [
            (at, np.frombuffer(base64.b64decode(grid), np.uint8).reshape(24, 32, 1).astype(np.int16))
            for at, grid in said["seen"]
        ]
        return Seen(said["first"], seen, said["heard"]).line()

    return row


def probed(page: Any, video: str, seconds: float, begun: str) -> Seen:
    """What a video of a page shows from now on. begun: an expression, the moment from which `first` counts."""
    return from_page(page.evaluate(f"(() => {{ {PROBE}\nreturn probe({video}, {seconds}, {begun}); }})()"))


def library(name: str) -> Callable[[Bench], Line]:
    """A library from npm, in a page of another origin."""

    def row(bench: Bench) -> Line:
        url = f"{bench.url}/whep/{bench.driven()}"
        with bench.strange_page() as page:
            page.evaluate(f"watch({json.dumps(name)}, {json.dumps(url)})")
            found = probed(page, "document.querySelector('video')", bench.seconds, "window.begun")
            page.evaluate("stop()")
        return found.line()

    return row


def itself(bench: Bench) -> Line:
    """No server at all: what the page of another origin makes of the driver's own stream."""
    with bench.strange_page() as page:
        page.evaluate("showItself()")
        return probed(page, "document.querySelector('video')", bench.seconds, "window.begun").line()


def _own(page: Any, bench: Bench) -> Line:
    """Our page: opened, then driven by its camera. It sends no sound."""
    bench.close()
    page.goto(bench.url + "/")
    video = "document.querySelector('#avatar')"
    first = probed(page, video, 0.1, "0").first
    page.evaluate("document.querySelector('#camera').click()")
    time.sleep(2.0)
    found = probed(page, video, bench.seconds, "0")
    found.first = first
    return found.line()


def own_in_chromium(bench: Bench) -> Line:
    """Our page in Chromium; its camera plays the driver."""
    with chromium_page(bench.camera) as page:
        return _own(page, bench)


def own_in_firefox(bench: Bench) -> Line:
    """Our page in Firefox; its camera is Firefox's test picture, without a face."""
    with firefox() as page:
        return _own(page, bench)


PICTURES = """(async (seconds) => {
  const image = document.querySelector("#preview"), seen = [], patience = performance.now() + 20000;
  while (!image.naturalWidth) {
    if (performance.now() > patience) throw new Error("no picture came in 20 s");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  const first = performance.now() / 1000, canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [32, 24];
  const g = canvas.getContext("2d", { willReadFrequently: true });
  let before = "";
  while (performance.now() / 1000 < first + seconds) {
    g.drawImage(image, 0, 0, 32, 24);
    const rgba = g.getImageData(0, 0, 32, 24).data, grid = Array.from({ length: 768 }, (_, k) => rgba[4 * k + 1]);
    if (before !== (before = grid.join())) seen.push([performance.now() / 1000, grid]);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return { first, seen, heard: [], believed: [], rtc: "RTCPeerConnection" in window };
})"""
"""Times the pictures that our page shows where there is no WebRTC: those that differ from the one before."""


def own_in_webkit(bench: Bench) -> Line:
    """Our page in WebKitGTK, which knows no WebRTC as Debian builds it."""
    bench.close()
    with webkit() as page:
        page.goto(bench.url + "/")
        found = page.evaluate(f"await {PICTURES}({bench.seconds})")
    if found["rtc"]:
        raise ConnectionLost("WebKit", "knows WebRTC here; what is measured in this row is our page without it")
    return from_page(found).line()


def rows() -> dict[str, Callable[[Bench], Line]]:
    """Name of a client, and how it is measured."""
    out: dict[str, Callable[[Bench], Line]] = {
        "no server: Chromium shows the driver itself": itself,
        "aiortc WHEP": aiortc,
    }
    for kinds, policy in gstreamer.SHAPES:
        out[f"GStreamer WHEP, {kinds}, {policy}"] = webrtcbin(kinds, policy)
    for name in ("@eyevinn/webrtc-player", "whip-whep", "whep-client"):
        out[f"{name} WHEP"] = library(name)
    return out | {"our page, Chromium": own_in_chromium, "our page, Firefox": own_in_firefox, NO_RTC: own_in_webkit}
