"""True glass-to-glass: camera to display, through a real Chromium over WebRTC on loopback, beside an echo server.

The browser's fake camera plays a clip with a number stamped into every frame. The page reads the number from its own
camera's frames, which gives the moment of capture, and again from the pixels of the avatar that comes back, which
gives the moment of display. The control is the same page with a server that sends the frames back untouched (aiortc's
own relay), once as aiortc is ("echo"), once taking pictures from the packets as our server does ("prompt"): aiortc
waits for the next picture's first packet. They are run in turn, so what we add is a difference within one run. The
camera's 29 fps do not divide the display's 60 Hz, so every phase between the two occurs. At 30 fps a run has one
phase, and what we add is nothing or a whole interval, by chance.

  python -m benchmarks glass --json glass.json --plot glass.png
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.live import stamp
from benchmarks.live.browser import GEOMETRY, chromium, open_page, why_not, write_camera
from benchmarks.live.loopback import child, free_port, served
from benchmarks.live.subjects import clip_name, driving_clip, letterboxed
from benchmarks.report.page import by_case
from benchmarks.report.result import Result
from benchmarks.report.show import cell, show_notes, target
from benchmarks.report.statistics import chunks
from realtime.errors import ConnectionLost, DeviceError

Exchange = Callable[[dict[str, str]], dict[str, str]]
SIDES = ("echo", "prompt", "avatar")
JITTER_BUFFER = ("jitterBufferDelay", "jitterBufferEmittedCount")
ADDED_MS = 25.0
"""What the avatar may add to the echo's median, milliseconds."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `glass`."""
    parser.add_argument("--size", type=int, default=512, help="size of the avatar's picture (512)")
    parser.add_argument("--camera", default="640x480", metavar="WxH", help="size of the camera's picture (640x480)")
    parser.add_argument("--fps", type=int, default=29, help="camera's frame rate; better no divisor of 60 (29)")
    parser.add_argument("--clip", metavar="PATH", help="driving clip; default a webcam clip of the test data")
    parser.add_argument("--seconds", type=float, help="measured seconds of each round (20; quick 8)")
    parser.add_argument("--rounds", type=int, help="rounds, each with both echoes and the avatar (3; quick 1)")


def run(options: argparse.Namespace) -> Result:
    """Rounds of the echoes and the avatar. Raises DeviceError where no browser can be driven."""
    if (reason := why_not()) is not None:
        raise DeviceError("glass-to-glass", reason, "On Debian: apt-get install chromium; pip install playwright")
    seconds = options.seconds or (8 if options.quick else 20)
    rounds = options.rounds or (1 if options.quick else 3)
    width, height = (int(n) for n in options.camera.split("x"))
    result = Result("glass", settings={
        "size": options.size, "camera": options.camera, "fps": options.fps, "seconds": seconds, "rounds": rounds,
        "clip": clip_name(options.clip),
    })  # fmt: skip
    plan = {"geometry": GEOMETRY, "seconds": seconds, "warm": 3, "width": width, "height": height, "fps": options.fps}
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder, Progress(console=Console(stderr=True), transient=True) as progress:
        camera = Path(folder) / "camera.y4m"
        write_camera(camera, letterboxed(driving_clip(options.clip).frames, width, height), options.fps)
        task = progress.add_task("glass", total=rounds * len(SIDES))
        for number in range(rounds):
            for side in SIDES if number % 2 == 0 else SIDES[::-1]:
                with SERVERS[side](options.size) as (exchange, process), chromium(camera) as browser:
                    found[side].append(one_round(browser, exchange, plan, process))
                progress.advance(task)
    _figures(result, found)
    return result


def one_round(browser: Any, exchange: Exchange, plan: dict[str, Any], server: int) -> dict[str, Any]:
    """One page, one call, one measurement. `server`: the process whose processor time is read."""
    import psutil

    process = psutil.Process(server)
    marks: list[tuple[float, float]] = []

    def mark() -> None:
        spent = process.cpu_times()
        marks.append((time.monotonic(), spent.user + spent.system))

    page = open_page(browser, exchange)
    page.expose_function("mark", mark)
    measured = page.evaluate("plan => measure(plan)", plan)
    page.close()
    (begun, before), (done, after) = marks
    measured["server_load"] = 100 * (after - before) / (done - begun)
    measured["delays"] = delays(measured["captured"], measured["shown"])
    arrived = [(number, receive) for number, _, _, receive, *_ in measured["shown"] if receive is not None]
    measured["arrivals"] = delays(measured["captured"], arrived)
    if not measured["delays"]:
        raise ConnectionLost("the page", "no stamped picture came back")
    return measured


def delays(
    captured: Sequence[Sequence[float]], shown: Sequence[Sequence[float]], longest: float = 3000.0
) -> list[tuple[float, float]]:
    """(moment of display, delay) in milliseconds for every picture whose capture was seen.

    captured: (number, moment). shown: (number, moment, ...). Numbers come again, so a capture counts only where it
    is at most `longest` older than the display.
    """
    by_number: dict[int, list[float]] = {}
    for number, moment, *_ in captured:
        by_number.setdefault(int(number) % stamp.PERIOD, []).append(moment)
    out = []
    for number, moment, *_ in shown:
        ages = [moment - t for t in by_number.get(int(number), ()) if 0 <= moment - t <= longest]
        if ages:
            out.append((moment, min(ages)))
    return out


def _figures(result: Result, found: dict[str, list[dict[str, Any]]]) -> None:
    for side, rounds in found.items():
        for name, key, percentiles in (("display", "delays", (50, 95, 99)), ("arrival", "arrivals", (50, 95))):
            waits = [np.array([d for _, d in r[key]]) for r in rounds]
            parts = waits if len(waits) >= 3 else [part for w in waits for part in chunks(w, 5)]
            for q in percentiles:
                result.add(f"{side}.camera to {name}.p{q}", float(np.percentile(np.concatenate(waits), q)), "ms",
                           samples=[float(np.percentile(p, q)) for p in parts], better="lower")  # fmt: skip
        for name, unit, better, values in (
            ("fps shown", "fps", "higher", [_shown_rate(r) for r in rounds]),
            ("fps decoded", "fps", "higher", [_rate(r, "framesDecoded") for r in rounds]),
            ("jitter buffer", "ms", "lower", [_share(r, *JITTER_BUFFER) for r in rounds]),
            ("decode", "ms", "lower", [_share(r, "totalDecodeTime", "framesDecoded") for r in rounds]),
            ("bitrate down", "Mbit/s", "", [8e-6 * _rate(r, "bytesReceived") for r in rounds]),
            ("bitrate up", "Mbit/s", "", [8e-6 * _rate(r, "bytesSent", "outbound") for r in rounds]),
            ("freezes", "", "lower", [_change(r, "freezeCount") for r in rounds]),
            ("first picture", "ms", "lower", [r["firstShown"] for r in rounds]),
            ("server cpu", "% of a core", "lower", [r["server_load"] for r in rounds]),
        ):
            result.add(f"{side}.{name}", None, unit, samples=values, better=better)
        last = rounds[-1]
        result.settings[f"{side} picture"] = "{width}x{height}".format(**last["picture"])
        result.settings[f"{side} codec"] = last["after"]["codec"]
        result.settings[f"{side} camera sent"] = _sent_size(last)
        start = rounds[0]["delays"][0][0]
        result.series[side] = {
            "seconds": [round((t - start) / 1000, 3) for t, _ in rounds[0]["delays"]],
            "delay_ms": [round(d, 2) for _, d in rounds[0]["delays"]],
        }
    for control, key, name, most in (
        ("echo", "delays", "added.p50", ADDED_MS),
        ("echo", "arrivals", "added.arrival.p50", None),
        ("prompt", "delays", "added to prompt.p50", None),
        ("prompt", "arrivals", "added to prompt.arrival.p50", None),
    ):
        medians = {side: [float(np.median([d for _, d in r[key]])) for r in rounds] for side, rounds in found.items()}
        about = f"median of the avatar less median of the {control}, round by round"
        if key == "arrivals":
            about += ", until a picture's last packet has come"
        result.add(name, None, "ms", better="lower", target=most, about=about,
                   samples=[b - a for a, b in zip(medians[control], medians["avatar"], strict=True)])  # fmt: skip


def _change(measured: dict[str, Any], key: str, side: str = "inbound") -> float:
    return float(measured["after"][side].get(key, 0) - measured["before"][side].get(key, 0))


def _rate(measured: dict[str, Any], key: str, side: str = "inbound") -> float:
    return _change(measured, key, side) / (measured["after"]["at"] - measured["before"]["at"]) * 1000


def _share(measured: dict[str, Any], key: str, count: str) -> float:
    """Seconds in all over a count, as milliseconds each."""
    return 1000 * _change(measured, key) / max(1.0, _change(measured, count))


def _shown_rate(measured: dict[str, Any]) -> float:
    moments = [t for t, _ in measured["delays"]]
    return 1000 * (len(moments) - 1) / max(1.0, moments[-1] - moments[0])


def _sent_size(measured: dict[str, Any]) -> str:
    sent = measured["after"]["outbound"]
    return f"{sent.get('frameWidth', 0):.0f}x{sent.get('frameHeight', 0):.0f}"


@contextmanager
def echo(_size: int, *more: str) -> Iterator[tuple[Exchange, int]]:
    """The control server and how to make a call to it. more: its further arguments."""
    address = f"http://127.0.0.1:{free_port()}"
    arguments = ["-m", "benchmarks.live.echo_server", address.rpartition(":")[2], *more]
    with child(arguments, f"{address}/health") as process:
        yield lambda offer: post(f"{address}/offer", offer), process.pid


@contextmanager
def avatar(size: int, sessions: int = 1) -> Iterator[tuple[Exchange, int]]:
    """Our server with the stamped engine, and how to make a call to it."""
    with served(size, sessions) as (address, process):
        yield lambda offer: post(f"{address}/api/sessions", offer), process.pid


def prompt(size: int) -> AbstractContextManager[tuple[Exchange, int]]:
    """The control server with our receiver."""
    return echo(size, "prompt")


SERVERS: dict[str, Callable[[int], Any]] = {"echo": echo, "prompt": prompt, "avatar": avatar}


def post(address: str, offer: dict[str, str]) -> dict[str, str]:
    """Send an offer ("type", "sdp", perhaps "source"); the answer. Raises ConnectionLost with the server's words."""
    body = json.dumps({key: offer[key] for key in ("type", "sdp", "source") if key in offer}).encode()
    request = urllib.request.Request(address, body, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            said = json.load(answer)
    except urllib.error.HTTPError as error:
        raise ConnectionLost(address, f"{error.code}: {error.read(200).decode(errors='replace')}") from error
    except OSError as error:
        raise ConnectionLost(address, str(error)) from error
    return {"type": said["type"], "sdp": said["sdp"], "id": said.get("id", "")}


def show(result: Result, console: Console) -> None:
    """Echoes and avatar side by side."""
    table = Table("camera to display, Chromium on loopback", *SIDES, "unit")
    names = [f.name.partition(".")[2] for f in result.figures if f.name.startswith("echo.")]
    for name in names:
        row = [result.get(f"{side}.{name}") for side in SIDES]
        table.add_row(name, *(cell(f) for f in row), row[0].unit)
    console.print(table)
    added, over = result.get("added.p50"), result.get("added to prompt.p50")
    console.print(f"what the avatar adds at the median: {cell(added)} ms to the echo (target {target(added)}), "
                  f"{cell(over)} ms to the prompt one", highlight=False)  # fmt: skip
    show_notes(result, console)


split = by_case


def figure(result: Result) -> Any:
    """Delay of every picture over time, and its distribution."""
    from benchmarks.report.figures import glass_figure

    return glass_figure(result)
