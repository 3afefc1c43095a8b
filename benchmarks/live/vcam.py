"""Pictures on time at the virtual camera: intervals, repeats, drops; real pyvirtualcam, a backend in memory.

python -m benchmarks vcam --json vcam.json --plot vcam.png
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from benchmarks.live.live import Case, in_process, stage_times
from benchmarks.live.subjects import clip_name
from benchmarks.report.page import by_case
from benchmarks.report.result import Result
from benchmarks.report.show import show_figures
from benchmarks.report.statistics import chunks


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `vcam`."""
    parser.add_argument("--engine", default="mesh")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--clip", metavar="PATH", help="driving clip; default a webcam clip of the test data")
    parser.add_argument("--seconds", type=float, help="measured seconds at each rate (20; quick 5)")


def run(options: argparse.Namespace) -> Result:
    """Run the pipeline into the camera at 30 and 60 fps."""
    seconds = options.seconds or (5 if options.quick else 20)
    rates = (30,) if options.quick else (30, 60)
    result = Result("vcam", settings={
        "engine": options.engine, "size": options.size, "seconds": seconds, "clip": clip_name(options.clip),
        "backend": "memory",
    })  # fmt: skip
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for fps in progress.track(rates, description="vcam"):
            case = Case(options.engine, {"size": options.size}, fps, seconds, clip=options.clip, vcam=True)
            _figures(result, fps, in_process(case))
    return result


def _figures(result: Result, fps: int, run: dict[str, Any]) -> None:
    name, period = f"{fps} fps", 1000 / fps
    times = np.array([t for t, _ in run["sent"]])
    marks = np.array([mark for _, mark in run["sent"]])
    gaps = 1000 * np.diff(times)
    off = np.abs(gaps - period)
    for q in (50, 99):
        result.add(f"{name}.interval.p{q}", float(np.percentile(gaps, q)), "ms",
                   samples=[float(np.percentile(c, q)) for c in chunks(gaps, 5)],
                   about=f"time between two pictures; {period:.1f} is even")  # fmt: skip
        result.add(f"{name}.unevenness.p{q}", float(np.percentile(off, q)), "ms", better="lower",
                   samples=[float(np.percentile(c, q)) for c in chunks(off, 5)],
                   about="how far an interval is from even")  # fmt: skip
    repeats = marks[1:] == marks[:-1]
    result.add(f"{name}.repeats", 100 * float(repeats.mean()), "%", better="lower",
               samples=[100 * float(c.mean()) for c in chunks(repeats, 5)],
               about="pictures sent again because no new one had come")  # fmt: skip
    counts = run["counts"]
    result.add(f"{name}.dropped", 100 * counts["dropped"] / max(1, counts["captured"]), "%", better="lower")
    result.add(f"{name}.sent", (len(times) - 1) / (times[-1] - times[0]), "fps", better="higher")
    total = stage_times(run["rows"])["total"]
    for q in (50, 99):
        result.add(f"{name}.total.p{q}", float(np.percentile(total, q)), "ms", better="lower",
                   samples=[float(np.percentile(c, q)) for c in chunks(total, 5)],
                   about="camera to virtual camera")  # fmt: skip
    result.series[name] = {"seconds": times[1:].round(3).tolist(), "interval_ms": gaps.round(3).tolist()}


show = show_figures


split = by_case


def figure(result: Result) -> Any:
    """Intervals between pictures over time."""
    from benchmarks.report.figures import vcam_figure

    return vcam_figure(result)
