"""Endurance: does anything grow while one caller stays and others come and go, for minutes or for a day?

A real `avatar serve` in a process of its own. One caller with a camera of 30 fps stays (in a process of its own as
well); beside it callers come and leave properly or vanish, portraits are uploaded, motion sockets are opened and
dropped. Memory, threads, descriptors and the delay of the caller who stays are read all the time. Of each the growth
per hour is given with its 95 % interval; the exit code is 1 where even the interval's lower end is above the bound,
where the caller lost its session, or where sessions were left behind. Growth is judged from ten minutes on.

  python -m benchmarks soak --minutes 120 --json soak.json --plot soak.png
  python -m benchmarks soak --quick                                  a minute: does it run at all?
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.live.caller import CAMERA, FPS, Caller, calling
from benchmarks.live.glass import post
from benchmarks.live.loopback import offer_loopback, served
from benchmarks.live.peers import Stamped, SyntheticPeer, encode_clip
from benchmarks.live.subjects import clip_name, driving_clip, letterboxed, portrait_of
from benchmarks.report.page import by_case
from benchmarks.report.result import Result
from benchmarks.report.show import show_notes
from benchmarks.report.statistics import chunks, growth
from realtime.clients.motion_client import MotionClient, motion_url
from realtime.errors import BadValue, ConnectionLost, DeviceError
from realtime.measures.sheets import number

SESSIONS = 24
"""Places of the server: more than are taken at once, also while those of the vanished are kept for them."""
SETTLING_S = 60.0
"""In which the sessions of those who left have to go: the server keeps them for half a minute."""
LONG_ENOUGH = 10.0
"""Minutes from which on growth is judged: before, caches fill."""
KEPT = 1500
"""Points of each curve in the result."""


@dataclass(frozen=True)
class Bound:
    """What may grow by how much in an hour; `unit` is that of the readings."""

    unit: str
    most: float


BOUNDS = {
    "memory": Bound("MiB", 20.0),
    "threads": Bound("", 1.0),
    "descriptors": Bound("", 2.0),
    "delay": Bound("ms", 5.0),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `soak`."""
    parser.add_argument("--minutes", type=float, help="how long, up to a day and more (30; quick 1)")
    parser.add_argument("--size", type=int, default=512, help="size of the avatar's picture (512)")
    parser.add_argument(
        "--pause", type=float, default=2.0, metavar="S", help="between two of those who come and go (2)"
    )
    parser.add_argument("--clip", metavar="PATH", help="driving clip; default a webcam clip of the test data")


def run(options: argparse.Namespace) -> Result:
    """Soak. Raises DeviceError where the server does not start or ends."""
    minutes = options.minutes or (1 if options.quick else 30)
    if minutes < 0.3:
        raise BadValue("--minutes", minutes, "a third of a minute at least")
    result = Result("soak", settings={
        "minutes": minutes, "size": options.size, "pause": options.pause, "clip": clip_name(options.clip),
        "bounds per hour": {name: bound.most for name, bound in BOUNDS.items()},
    })  # fmt: skip
    offer_loopback()
    clip = encode_clip(letterboxed(driving_clip(options.clip, 90).frames, *CAMERA), FPS)
    with served(options.size, SESSIONS) as (address, process), calling(address, options.clip) as caller:
        meter = Meter(process.pid)
        crowd = Crowd(address, clip, options.pause)
        left = asyncio.run(_soak(meter, crowd, caller, 60 * minutes))
        if process.poll() is not None:
            raise DeviceError("avatar serve", f"ended with exit code {process.returncode}")
    figures(result, meter.rows, list(caller.seconds), crowd.counts, left)
    load = [float(np.percentile(meter.loads, q)) for q in (5, 50, 95)]
    result.notes.append(
        "load average of the machine during the run, 5th, 50th and 95th percentile: "
        + ", ".join(f"{each:.1f}" for each in load)
    )
    return result


async def _soak(meter: Meter, crowd: Crowd, caller: Caller, seconds: float) -> int:
    """Sessions that are there in the end, the caller's own left out."""
    begun = time.monotonic()
    until = begun + seconds
    coming = [asyncio.create_task(part) for part in (crowd.callers(), crowd.uploaders(), crowd.motion())]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("soak", total=seconds)
        while (now := time.monotonic()) < until:
            if not meter.read(now):
                break
            progress.update(task, completed=now - begun, description=f"soak: {crowd.counts.total()} came and went")
            await asyncio.sleep(min(1.0, until - now))
    for part in coming:
        part.cancel()
    await asyncio.gather(*coming, return_exceptions=True)
    try:
        return await left_behind(crowd.address, 1)
    except httpx.HTTPError as error:
        raise DeviceError("avatar serve", f"does not answer in the end: {type(error).__name__}") from error


async def left_behind(address: str, staying: int) -> int:
    """Sessions beside those that stay, once they had time to go. Raises httpx.HTTPError."""
    until = time.monotonic() + SETTLING_S
    async with httpx.AsyncClient(base_url=address, timeout=30) as http:
        while (left := (await http.get("/api/health")).json()["sessions"] - staying) and time.monotonic() < until:
            await asyncio.sleep(1.0)
    return left


class Meter:
    """Reads what a process holds. rows: (time, MiB, threads, descriptors). loads: the machine's load average."""

    def __init__(self, pid: int) -> None:
        import psutil

        self._gone = psutil.NoSuchProcess
        self._process = psutil.Process(pid)
        self.rows: list[tuple[float, float, int, int]] = []
        self.loads: list[float] = []

    def read(self, now: float) -> bool:
        """False where the process is gone."""
        try:
            with self._process.oneshot():
                memory = self._process.memory_info().rss / 2**20
                self.rows.append((now, memory, self._process.num_threads(), self._process.num_fds()))
        except self._gone:
            return False
        self.loads.append(os.getloadavg()[0])
        return True


@dataclass
class Crowd:
    """Those who come and go. counts: what they did, and what went wrong."""

    address: str
    clip: Stamped
    pause: float
    counts: Counter[str] = field(default_factory=Counter)

    async def callers(self) -> None:
        """One after the other calls with a camera and stays three seconds; every other one says goodbye."""
        for turn in itertools.count():
            peer = SyntheticPeer(self.clip, turn)
            try:
                with self._counted("calls"):
                    answer = await peer.call(lambda offer: post(f"{self.address}/api/sessions", offer))
                    await asyncio.sleep(3.0)
                    self.counts["calls without a picture"] += not peer.seen
                    if turn % 2:
                        async with self._http() as http:
                            await http.delete(f"/api/sessions/{answer['id']}")
            finally:
                await peer.close()
            await asyncio.sleep(self.pause)

    async def uploaders(self) -> None:
        """One after the other opens a session without a camera and brings a portrait."""
        from realtime.media.uploads import encode_jpeg

        picture = encode_jpeg(portrait_of(None), 512)
        while True:
            with self._counted("uploads"):
                async with self._http() as http:
                    opened = (await http.post("/api/sessions", json={})).raise_for_status().json()
                    at = f"/api/sessions/{opened['id']}"
                    brought = await http.post(
                        f"{at}/portraits", params={"consent": True}, content=picture,
                        headers={"content-type": "image/jpeg"},
                    )  # fmt: skip
                    brought.raise_for_status()
                    await http.delete(at)
            await asyncio.sleep(self.pause)

    async def motion(self) -> None:
        """One after the other drives by motion codes for two seconds and drops the line."""
        while True:
            with self._counted("motion sockets"):
                async with MotionClient(motion_url(self.address)) as client:
                    for _ in range(60):
                        await client.send(None, time.monotonic())
                        await asyncio.sleep(1 / 30)
            await asyncio.sleep(self.pause)

    def _http(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=self.address, timeout=60)

    @contextlib.contextmanager
    def _counted(self, what: str) -> Any:
        """Count it; what is refused or breaks is counted by its reason."""
        try:
            yield
            self.counts[what] += 1
        except httpx.HTTPStatusError as error:
            self.counts[f"{what} refused: {error.response.status_code}"] += 1
        except ConnectionLost as error:
            self.counts[f"{what} refused: {error.reason[:40]}"] += 1
        except httpx.HTTPError as error:
            self.counts[f"{what} broke off: {type(error).__name__}"] += 1


def figures(
    result: Result, held: list[tuple[float, float, int, int]], seconds: list, counts: Counter[str], left: int
) -> None:
    """What was read, as figures and curves. held: rows of `Meter`. seconds: of the caller who stayed."""
    begun, ended = held[0][0], held[-1][0]
    settled = begun + min(300.0, 0.2 * (ended - begun))
    result.settings["warm-up"] = (
        f"{settled - begun:.0f} s, in which caches fill: a figure of its own, no part of the growth"
    )
    judged = ended - begun >= 60 * LONG_ENOUGH - 5
    inside = [s for s in seconds if begun <= s.at <= ended]
    curves = {name: ([r[0] for r in held], [r[k] for r in held]) for k, name in enumerate(BOUNDS, 1) if k < 4}
    read = [(s.at, 1000 * s.delay) for s in inside if s.delay is not None]
    curves["delay"] = ([at for at, _ in read], [d for _, d in read])
    for name, (times, values) in curves.items():
        bound = BOUNDS[name]
        kept = [(t, v) for t, v in zip(times, values, strict=True) if t >= settled]
        at, of = [t / 3600 for t, _ in kept], [v for _, v in kept]
        unit = f"{bound.unit} an hour".strip()
        slope, low, high = growth(at, of)
        result.add(f"{name}.growth", slope, unit, better="lower")
        result.add(f"{name}.growth at least", low, unit, better="lower", target=bound.most if judged else None,
                   about="lower end of the 95 % interval")  # fmt: skip
        result.add(f"{name}.growth at most", high, unit, about="upper end of the 95 % interval")
        warming = [v for t, v in zip(times, values, strict=True) if t < settled]
        if warming and of:
            about = f"from the first reading to the median of the first tenth after the first {settled - begun:.0f} s"
            rise = float(np.median(of[: max(1, len(of) // 10)])) - warming[0]
            result.add(f"{name}.warm-up", rise, bound.unit, about=about)
        for when, part in (("begin", of[: max(1, len(of) // 10)]), ("end", of[-max(1, len(of) // 10) :])):
            value = float(np.median(part)) if part else None
            result.add(f"{name}.{when}", value, bound.unit, about="median of a tenth of the run")
        result.series[name] = thinned([t - begun for t in times], values)
    rates = [float(s.pictures) for s in inside]
    result.add("caller.fps", None, "fps", samples=[float(np.mean(c)) for c in chunks(rates, 10)], better="higher")
    result.add("caller.sessions lost", float(seconds[-1].calls - 1), better="lower", target=0)
    result.add("left behind.sessions", float(left), better="lower", target=0,
               about=f"{SETTLING_S:.0f} s after the last one left")  # fmt: skip
    for what, count in sorted(counts.items()):
        result.add(f"came and went.{what}", float(count))
    answered = sum(n for what, n in counts.items() if "refused: 5" in what and "refused: 503" not in what)
    result.add("came and went.server errors", float(answered), better="lower", target=0)


def thinned(times: list[float], values: list[float]) -> dict[str, list]:
    """At most `KEPT` points of a curve, each a median."""
    count = min(KEPT, len(times))
    at, of = ([round(float(np.median(c)), 2) for c in chunks(x, max(1, count))] for x in (times, values))
    return {"seconds": at, "values": of}


def passed(result: Result) -> bool:
    """Nothing grows beyond its bound, nobody lost a session, nothing stays behind."""
    return all(figure.met is not False for figure in result.figures)


def show(result: Result, console: Console) -> None:
    """What grows, one row each, and what else happened."""
    title = f"{result.settings['minutes']:g} minutes"
    table = Table("", "warm-up", "begin", "end", "growth an hour", "95 %", "at most", "", title=title)
    for name, bound in BOUNDS.items():
        begin, end, slope, low, high = (
            result.get(f"{name}.{part}")
            for part in ("begin", "end", "growth", "growth at least", "growth at most")
        )  # fmt: skip
        verdict = {True: "[green]holds[/]", False: "[red]grows[/]", None: "not judged"}[low.met]
        span = f"{number(low.value)} to {number(high.value)}"
        title = f"{name}, {bound.unit}" if bound.unit else name
        warm = result.get(f"{name}.warm-up")
        values = tuple(number(each.value) if each else "" for each in (warm, begin, end, slope))
        table.add_row(title, *values, span, number(bound.most), verdict)
    console.print(table)
    for figure in result.figures:
        if figure.name.partition(".")[0] not in BOUNDS:
            mark = " [red](not 0)[/]" if figure.met is False else ""
            console.print(f"{figure.name.replace('.', ': ', 1)}: {number(figure.value)}{mark}", highlight=False)
    show_notes(result, console)


split = by_case


def figure(result: Result) -> Any:
    """Each reading over time with its growth."""
    from benchmarks.report.figures import soak_figure

    return soak_figure(result, {name: bound.unit for name, bound in BOUNDS.items()})
