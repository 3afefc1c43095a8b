"""Many avatars on one server: fps, latency and cost of each session as their number grows, and who is refused.

The clients are synthetic (aiortc, a clip encoded beforehand, stamps read from what comes back) and run on the same
machine, so they take a share of it; their processor time is given. Latency is from the client's sending to its
decoding, without camera and display.

  python -m benchmarks sessions --json sessions.json --plot sessions.png
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.live import glass
from benchmarks.live.loopback import offer_loopback
from benchmarks.live.peers import Stamped, SyntheticPeer, encode_clip
from benchmarks.live.subjects import clip_name, driving_clip, letterboxed
from benchmarks.report.page import by_case
from benchmarks.report.result import Result
from benchmarks.report.show import cell, show_notes
from realtime.errors import ConnectionLost

GOOD_SHARE = 0.9
"""A session is well served when it gets this share of the camera's rate."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sessions`."""
    parser.add_argument("--counts", nargs="+", type=int, help="sessions at once (1 2 4 8; quick 1 2 4)")
    parser.add_argument("--size", type=int, default=512, help="size of the avatar's picture (512)")
    parser.add_argument("--clip", metavar="PATH", help="driving clip; default a webcam clip of the test data")
    parser.add_argument("--seconds", type=float, help="measured seconds at each count (10; quick 5)")


def run(options: argparse.Namespace) -> Result:
    """One server for each count, as many sessions as it may hold, then two more that must be refused."""
    counts = options.counts or ([1, 2, 4] if options.quick else [1, 2, 4, 8])
    seconds = options.seconds or (5 if options.quick else 10)
    fps = 30
    result = Result("sessions", settings={
        "counts": counts, "size": options.size, "seconds": seconds, "clip": clip_name(options.clip),
        "camera": "640x480",
    })  # fmt: skip
    offer_loopback()
    clip = encode_clip(letterboxed(driving_clip(options.clip, 150).frames, 640, 480), fps)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for count in progress.track(counts, description="sessions"):
            with glass.avatar(options.size, sessions=count) as (exchange, server):
                measured = asyncio.run(at_once(count, clip, exchange, server, seconds))
            _figures(result, count, measured, fps)
    served = [n for n in counts if (result.get(f"{n}.fps least").value or 0) >= GOOD_SHARE * fps]
    result.add("most served", float(max(served, default=0)), "sessions", better="higher",
               about=f"every session gets {GOOD_SHARE:.0%} of {fps} fps; clients on the same machine")  # fmt: skip
    return result


async def at_once(
    count: int, clip: Stamped, exchange: glass.Exchange, server: int, seconds: float, warm: float = 3.0
) -> dict[str, Any]:
    """`count` calls at the same time on one server, then two more than it may hold."""
    import psutil

    process, me = psutil.Process(server), psutil.Process()
    peers = [SyntheticPeer(clip, k) for k in range(count)]
    extra: list[SyntheticPeer] = []
    try:
        for peer in peers:
            await peer.call(exchange)
        await asyncio.sleep(warm)
        before = (time.monotonic(), _spent(process), _spent(me))
        await asyncio.sleep(seconds)
        after = (time.monotonic(), _spent(process), _spent(me))
        memory = process.memory_info().rss / 2**20
        refused = []
        for k in range(2):
            extra.append(SyntheticPeer(clip, count + k))
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


def _spent(process: Any) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _figures(result: Result, count: int, measured: dict[str, Any], fps: int) -> None:
    name = str(count)
    rates = measured["fps"]
    result.add(f"{name}.fps", None, "fps", samples=rates, better="higher", about="mean over sessions")
    result.add(f"{name}.fps least", min(rates), "fps", better="higher", about="the session that gets the fewest")
    fairness = sum(rates) ** 2 / (len(rates) * sum(r * r for r in rates)) if any(rates) else float("nan")
    result.add(f"{name}.fairness", fairness, better="higher", about="Jain's index of the rates: 1 is even")
    everyone = [d for delays in measured["delays"] for d in delays]
    for q in (50, 95):
        samples = [float(np.percentile(d, q)) for d in measured["delays"] if d]
        value = float(np.percentile(everyone, q)) if everyone else None
        result.add(f"{name}.latency.p{q}", value, "ms", samples=samples, better="lower")
    result.add(f"{name}.server cpu", measured["server"], "% of a core", better="lower")
    result.add(f"{name}.server cpu each", measured["server"] / count, "% of a core", better="lower")
    result.add(f"{name}.clients cpu", measured["clients"], "% of a core")
    result.add(f"{name}.server memory", measured["memory"], "MiB", better="lower")
    result.add(f"{name}.refused", float(len(measured["refused"])), "of 2", better="higher", target=2,
               about="calls beyond --max-sessions")  # fmt: skip
    if measured["refused"]:
        result.settings[f"refusal at {count}"] = measured["refused"][0]
    result.add(f"{name}.fps after refusal", None, "fps", samples=measured["fps_after_refusal"], better="higher")


def show(result: Result, console: Console) -> None:
    """One row per count."""
    heads = ["fps", "fps least", "fairness", "latency.p50", "latency.p95", "server cpu", "server cpu each"]
    heads += ["clients cpu", "server memory", "refused"]
    table = Table("sessions", *heads, title="fps; ms; % of a core; MiB; refusals of 2 calls too many")
    for count in result.settings["counts"]:
        table.add_row(str(count), *(cell(result.get(f"{count}.{h}")) for h in heads))
    console.print(table)
    most = result.get("most served")
    console.print(f"sessions that all get {GOOD_SHARE:.0%} of the camera's rate: {cell(most)}", highlight=False)
    show_notes(result, console)


split = by_case


def figure(result: Result) -> Any:
    """Rate, latency and cost over the number of sessions."""
    from benchmarks.report.figures import sessions_figure

    return sessions_figure(result)
