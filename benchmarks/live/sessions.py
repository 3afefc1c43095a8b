"""Many avatars on one server: fps, latency and cost of each session as their number grows, and who is refused.

The clients are synthetic (aiortc, a clip encoded beforehand, stamps read from what comes back) and run on the same
machine, so they take a share of it; their processor time is given. Latency is from the client's sending to its
decoding, without camera and display. Clients that send landmarks in place of video found them beforehand. All cases
of one count run one after the other, again in each round.

  python -m benchmarks sessions --json sessions.json --plot sessions.png
  python -m benchmarks sessions --counts 4 6 --ways video landmarks --workers 1 2 --rounds 2 --settle 8
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import time
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.live import glass
from benchmarks.live.loopback import offer_loopback, served
from benchmarks.live.peers import LandmarkPeer, SyntheticPeer, encode_clip
from benchmarks.live.subjects import clip_name, driving_clip, letterboxed
from benchmarks.report.machine import ROOT
from benchmarks.report.page import by_case
from benchmarks.report.result import Result
from benchmarks.report.show import cell, show_notes
from realtime.errors import ConnectionLost
from realtime.face.landmarks import FaceTracker
from realtime.types import Landmarks

GOOD_SHARE = 0.9
"""A session is well served when it gets this share of the camera's rate."""
FPS = 30


@dataclass(frozen=True)
class Case:
    """count: sessions. way: what drives them. workers: processes of the server; 0: it knows no such option. before:
    the code that it is compared with."""

    count: int
    way: str = "video"
    workers: int = 1
    before: bool = False

    @property
    def name(self) -> str:
        """As figures begin; a count alone is one process of this code with video."""
        more = ["before"] * self.before + [self.way] * (self.way != "video")
        return " ".join([*more, *([f"{self.workers} workers"] if self.workers > 1 else []), str(self.count)])


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sessions`."""
    parser.add_argument("--counts", nargs="+", type=int, help="sessions at once (1 2 4 8; quick 1 2 4)")
    parser.add_argument("--ways", nargs="+", choices=("video", "landmarks"), default=["video"], help="what drives")
    parser.add_argument("--workers", nargs="+", type=int, default=[1], help="processes of the server, each tried (1)")
    parser.add_argument("--before", metavar="PATH", type=Path, help="another checkout, whose server is tried as well")
    parser.add_argument("--rounds", type=int, default=1, help="how often each case runs (1)")
    parser.add_argument("--size", type=int, default=512, help="size of the avatar's picture (512)")
    parser.add_argument("--clip", metavar="PATH", help="driving clip; default a webcam clip of the test data")
    parser.add_argument("--seconds", type=float, help="measured seconds at each count (10; quick 5)")
    parser.add_argument(
        "--settle", metavar="SECONDS", type=float, default=3.0,
        help="left out before that (3); a full server has decided on a fair drop after 8",
    )  # fmt: skip


def run(options: argparse.Namespace) -> Result:
    """One server for each case, as many sessions as it may hold, then two more that must be refused."""
    counts = options.counts or ([1, 2, 4] if options.quick else [1, 2, 4, 8])
    seconds = options.seconds or (5 if options.quick else 10)
    cases = [Case(n, way, workers) for n in counts for way in options.ways for workers in options.workers]
    if options.before:
        cases += [Case(n, way, before=True) for n in counts for way in options.ways]
        cases.sort(key=lambda case: case.count)  # one after the other
    result = Result("sessions", settings={
        "counts": counts, "size": options.size, "seconds": seconds, "clip": clip_name(options.clip),
        "camera": "640x480", "cases": [case.name for case in cases], "rounds": options.rounds,
        "settle": options.settle,
    })  # fmt: skip
    offer_loopback()
    frames = letterboxed(driving_clip(options.clip, 150).frames, 640, 480)
    clip, found = encode_clip(frames, FPS), _landmarks(frames) if "landmarks" in options.ways else []

    def peer(case: Case, number: int) -> SyntheticPeer:
        return SyntheticPeer(clip, number) if case.way == "video" else LandmarkPeer(clip, number, found=found)

    measured: dict[Case, list[dict[str, Any]]] = {case: [] for case in cases}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("sessions", total=options.rounds * len(cases))
        for _ in range(options.rounds):
            for case in cases:
                more = ["--workers", str(case.workers)] if case.workers > 1 else []
                root = options.before.resolve() if case.before else ROOT
                with served(options.size, case.count, more, root=root) as (address, process):
                    _wait_for_all(address)

                    def exchange(offer: dict[str, str], address: str = address) -> dict[str, str]:
                        return glass.post(f"{address}/api/sessions", offer)

                    once = at_once(case, peer, exchange, process.pid, seconds, options.settle)
                    measured[case].append(asyncio.run(once))
                progress.advance(task)
    for case, many in measured.items():
        _figures(result, case, many)
    _ratios(result, cases)
    well = [case for case in cases if (result.get(f"{case.name}.fps least").value or 0) >= GOOD_SHARE * FPS]
    for kind in dict.fromkeys(case.name.rpartition(" ")[0] for case in cases):
        most = max((case.count for case in well if case.name.rpartition(" ")[0] == kind), default=0)
        about = f"every session gets {GOOD_SHARE:.0%} of {FPS} fps; clients on the same machine"
        name = f"{kind}.most served" if kind else "most served"
        result.add(name, float(most), "sessions", better="higher", about=about)
    return result


def _wait_for_all(address: str, patience: float = 600.0) -> None:
    """Until no process of the server is being made ready any more. Raises ConnectionLost."""
    until = time.monotonic() + patience
    while json.loads(urllib.request.urlopen(f"{address}/api/health", timeout=60).read()).get("starting"):
        if time.monotonic() > until:
            raise ConnectionLost(address, "not all of its processes became ready")
        time.sleep(0.2)


def _landmarks(frames: Sequence[np.ndarray]) -> list[Landmarks]:
    """Of each frame, as a browser would send them."""
    with FaceTracker() as tracker:
        return [Landmarks(tracker.track(frame), frame.shape[1], frame.shape[0]) for frame in frames]


async def at_once(
    case: Case,
    make: Callable[[Case, int], SyntheticPeer],
    exchange: glass.Exchange,
    server: int,
    seconds: float,
    warm: float = 3.0,
) -> dict[str, Any]:
    """So many calls at the same time on one server, then two more than it may hold."""
    import psutil

    process, me = psutil.Process(server), psutil.Process()
    peers = [make(case, k) for k in range(case.count)]
    extra: list[SyntheticPeer] = []
    try:
        for peer in peers:
            await peer.call(exchange)
        await asyncio.sleep(warm)
        whole = [process, *process.children(recursive=True)]
        before = (time.monotonic(), sum(map(_spent, whole)), _spent(me))
        await asyncio.sleep(seconds)
        after = (time.monotonic(), sum(map(_spent, whole)), _spent(me))
        memory = sum(_memory(each) for each in whole) / 2**20
        refused = []
        for k in range(2):
            extra.append(make(case, case.count + k))
            try:
                await extra[-1].call(exchange)
            except ConnectionLost as error:
                refused.append(error.reason)
        await asyncio.sleep(1.0)
        still = [sum(t > time.monotonic() - 1.0 for t, _ in p.seen) for p in peers]
    finally:
        for peer in [*peers, *extra]:
            with contextlib.suppress(Exception):
                await peer.close()
    span = after[0] - before[0]
    inside = [[(t, d) for t, d in p.seen if before[0] <= t < after[0]] for p in peers]
    return {
        "fps": [len(rows) / span for rows in inside],
        "delays": [[1000 * d for _, d in rows if d is not None] for rows in inside],
        "server": 100 * (after[1] - before[1]) / span,
        "clients": 100 * (after[2] - before[2]) / span,
        "memory": memory,
        "refused": refused,
        "fps_after_refusal": still,
    }


def _memory(process: Any) -> float:
    """What it would give back: pages that several share are counted once (Linux)."""
    found = process.memory_full_info()
    return float(getattr(found, "pss", found.rss))


def _spent(process: Any) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _figures(result: Result, case: Case, many: list[dict[str, Any]]) -> None:
    name, count = case.name, case.count
    rates = [rate for measured in many for rate in measured["fps"]]
    result.add(f"{name}.fps", None, "fps", samples=rates, better="higher", about="mean over sessions")
    result.add(f"{name}.fps least", min(rates), "fps", better="higher", about="the session that gets the fewest")
    fairness = sum(rates) ** 2 / (len(rates) * sum(r * r for r in rates)) if any(rates) else float("nan")
    result.add(f"{name}.fairness", fairness, better="higher", about="Jain's index of the rates: 1 is even")
    each = [delays for measured in many for delays in measured["delays"]]
    everyone = [d for delays in each for d in delays]
    for q in (50, 95):
        samples = [float(np.percentile(d, q)) for d in each if d]
        value = float(np.percentile(everyone, q)) if everyone else None
        result.add(f"{name}.latency.p{q}", value, "ms", samples=samples, better="lower")
    spent = float(np.mean([measured["server"] for measured in many]))
    made = sum(rates) / len(many)
    result.add(f"{name}.server cpu", spent, "% of a core", better="lower")
    result.add(f"{name}.server cpu each", spent / count, "% of a core", better="lower")
    result.add(f"{name}.server ms a picture", 10 * spent / made if made else None, "ms", better="lower",
               about="processor time of the server, all that it does, over the pictures that arrived")  # fmt: skip
    result.add(f"{name}.clients cpu", float(np.mean([measured["clients"] for measured in many])), "% of a core")
    memory = float(np.mean([measured["memory"] for measured in many]))
    result.add(f"{name}.server memory", memory, "MiB", better="lower")
    refused = [reason for measured in many for reason in measured["refused"]]
    result.add(f"{name}.refused", len(refused) / len(many), "of 2", better="higher", target=2,
               about="calls beyond --max-sessions")  # fmt: skip
    if refused:
        result.settings[f"refusal at {name}"] = refused[0]
    still = [rate for measured in many for rate in measured["fps_after_refusal"]]
    result.add(f"{name}.fps after refusal", None, "fps", samples=still, better="higher")


def _ratios(result: Result, cases: Sequence[Case]) -> None:
    """Each case over one process of the same code with video, and over the code before, where they ran."""
    for case in cases:
        for other in (Case(case.count), Case(case.count, case.way, before=True)):
            if other == case or other not in cases or case.before:
                continue
            for what in ("fps", "server ms a picture"):
                mine, its = result.get(f"{case.name}.{what}").value, result.get(f"{other.name}.{what}").value
                if mine and its:
                    better = "higher" if what == "fps" else "lower"
                    result.add(f"{case.name}.{what} over {other.name}", mine / its, better=better)


def show(result: Result, console: Console) -> None:
    """One row per case."""
    heads = ["fps", "fps least", "fairness", "latency.p50", "latency.p95", "server cpu", "server cpu each"]
    heads += ["server ms a picture", "clients cpu", "server memory", "refused"]
    table = Table("sessions", *heads, title="fps; ms; % of a core; ms; MiB; refusals of 2 calls too many")
    for name in result.settings["cases"]:
        table.add_row(name, *(cell(result.get(f"{name}.{h}")) for h in heads))
    console.print(table)
    for ratio in (figure for figure in result.figures if " over " in figure.name):
        console.print(f"{ratio.name}: {cell(ratio)}", highlight=False)
    for most in (figure for figure in result.figures if figure.name.endswith("most served")):
        kind = most.name.rpartition(".")[0]
        console.print(f"{kind} sessions that all get {GOOD_SHARE:.0%} of {FPS} fps: {cell(most)}", highlight=False)
    show_notes(result, console)


split = by_case


def figure(result: Result) -> Any:
    """Rate, latency and cost over the number of sessions."""
    from benchmarks.report.figures import sessions_figure

    return sessions_figure(result)
