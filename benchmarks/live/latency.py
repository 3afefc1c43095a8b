"""From camera to sink: latency of every stage, drops, processor and memory, also when the engine is too slow.

A real clip is handed to the real pipeline at a camera's pace from memory, so that decoding a file is not counted.
Capture is the moment a frame was due. Each case runs in a process of its own, `--repeats` times.

  python -m benchmarks latency --json latency.json --plot latency.png
  python -m benchmarks latency --only "mesh 512" --seconds 600          ten minutes: does anything grow?
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.live.live import STAGES, Case, in_process, stage_times
from benchmarks.live.subjects import clip_name, engine_options
from benchmarks.report.page import by_case
from benchmarks.report.result import Result
from benchmarks.report.show import cell, show_notes, target
from benchmarks.report.statistics import chunks, percentiles, slope
from realtime.errors import BadValue
from realtime.measures.sheets import number

LONG_ENOUGH = 15.0
"""Seconds from which on a slope over time says something."""


@dataclass(frozen=True)
class Goal:
    """What a case is to reach, milliseconds; None where nothing is demanded."""

    p50: float | None = None
    p99: float | None = None


def cases(engine: str, options: dict[str, Any]) -> dict[str, tuple[Case, Goal]]:
    """All cases by name."""
    out: dict[str, tuple[Case, Goal]] = {}
    for size in (256, 512, 720):
        goal = Goal(15, 30) if size == 512 else Goal()
        out[f"{engine} {size}"] = (Case(engine, {**options, "size": size}), goal)
    out[f"{engine} 512 at 60 fps"] = (Case(engine, {**options, "size": 512}, fps=60), Goal())
    slow = 3 / 30  # seconds a picture: three frame intervals
    options = {**options, "inner": engine, "size": 512, "seconds": slow}
    out["overload"] = (Case("slow", options), Goal())
    return out


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `latency`."""
    parser.add_argument("--engine", default="mesh")
    parser.add_argument("--engine-option", action="append", default=[], metavar="KEY=VALUE", help="for load_engine")
    parser.add_argument("--clip", metavar="PATH", help="driving clip; default a webcam clip of the test data")
    parser.add_argument("--portrait", metavar="PATH", help="default the built-in one")
    parser.add_argument("--seconds", type=float, help="measured seconds of each case (20; quick 5)")
    parser.add_argument("--repeats", type=int, help="runs of each case (3; quick 1)")
    parser.add_argument("--only", nargs="+", metavar="CASE", help="only these cases, by name")


def run(options: argparse.Namespace) -> Result:
    """Run every case."""
    known = cases(options.engine, engine_options(options.engine_option))
    chosen = list(known)
    if options.quick:
        chosen = [f"{options.engine} 512", f"{options.engine} 512 at 60 fps", "overload"]
    for name in options.only or []:
        if name not in known:
            raise BadValue("--only", name, f"one of {', '.join(known)}")
    chosen = options.only or chosen
    seconds = options.seconds or (5 if options.quick else 20)
    repeats = options.repeats or (1 if options.quick else 3)
    result = Result("latency", settings={
        "engine": options.engine, "engine options": options.engine_option, "seconds": seconds, "repeats": repeats,
        "cases": chosen, "clip": clip_name(options.clip), "portrait": options.portrait or "built-in",
    })  # fmt: skip
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("latency", total=len(chosen) * repeats)
        for name in chosen:
            case, goal = known[name]
            case = replace(case, seconds=seconds, clip=options.clip, portrait=options.portrait)
            runs = []
            for _ in range(repeats):
                runs.append(in_process(case))
                progress.advance(task)
            _figures(result, name, case, goal, runs)
    return result


def _figures(result: Result, name: str, case: Case, goal: Goal, runs: list[dict[str, Any]]) -> None:
    times = [stage_times(r["rows"]) for r in runs]
    for stage in ("total", *STAGES):
        for q in (50, 95, 99):
            wanted = {50: goal.p50, 99: goal.p99}.get(q) if stage == "total" else None
            whole = percentiles(np.concatenate([t[stage] for t in times])).get(f"p{q}")
            samples = [float(np.percentile(part, q)) for part in _parts([t[stage] for t in times])]
            result.add(f"{name}.{stage}.p{q}", whole, "ms", samples=samples, better="lower", target=wanted)
    if case.engine == "slow":
        waits = [_beyond_render(r) for r in runs]
        result.add(f"{name}.beyond_render.p99", None, "ms", samples=[float(np.percentile(w, 99)) for w in waits],
                   better="lower", target=2000 / case.fps,
                   about="total less this picture's own rendering; two frame intervals allowed")  # fmt: skip
    spans = [r["rows"][-1][1] - r["rows"][0][1] for r in runs]
    rates = [(len(r["rows"]) - 1) / span for r, span in zip(runs, spans, strict=True)]
    slow = name == "overload"
    result.add(f"{name}.fps", None, "fps", samples=rates, better="higher", target=None if slow else 0.98 * case.fps)
    dropped = [100 * r["counts"]["dropped"] / max(1, r["counts"]["captured"]) for r in runs]
    result.add(f"{name}.dropped", None, "%", samples=dropped, better="lower", target=None if slow else 1.0)
    result.add(f"{name}.no_face", float(sum(r["counts"]["no_face"] for r in runs)), "frames")
    cores = [np.diff([m[1] for m in r["meter"]]) / np.diff([m[0] for m in r["meter"]]) for r in runs]
    result.add(f"{name}.cpu", None, "% of a core", samples=[100 * float(c.mean()) for c in cores], better="lower")
    per_core = np.mean([m[3] for r in runs for m in r["meter"]], axis=0)
    for index, load in enumerate(per_core):
        result.add(f"{name}.core {index}", load, "%", about="load of this core, other processes included")
    memory = [[m[2] for m in r["meter"]] for r in runs]
    result.add(f"{name}.memory", None, "MiB", samples=[max(m) for m in memory], better="lower")
    first = runs[0]
    total = times[0]["total"]
    at = np.array([r[1] for r in first["rows"]])
    if case.seconds >= LONG_ENOUGH:
        about = "Theil-Sen slope of the total latency"
        result.add(f"{name}.growth", slope(at / 60, total), "ms a minute", about=about)
        rss = first["meter"]
        result.add(f"{name}.memory_growth", slope([m[0] / 60 for m in rss], [m[2] for m in rss]), "MiB a minute")
    keep = slice(None, None, max(1, len(total) // 3000))
    result.series[name] = {
        "seconds": at[keep].round(3).tolist(), "total_ms": total[keep].round(3).tolist(),
        "encode_ms": times[0]["encode"][keep].round(3).tolist(),
        "render_ms": times[0]["render"][keep].round(3).tolist(),
    }  # fmt: skip


def _beyond_render(run: dict[str, Any]) -> np.ndarray:
    """Milliseconds of each picture's latency that were not its own rendering: waiting, mostly."""
    took = {round(captured, 6): seconds for captured, seconds in run["took"]}
    return np.array([1000 * (r[5] - r[1] - took[round(r[1], 6)]) for r in run["rows"] if round(r[1], 6) in took])


def _parts(runs: list[np.ndarray]) -> list[np.ndarray]:
    """The samples behind a figure: the runs where there are three or more, else stretches of them."""
    return runs if len(runs) >= 3 else [part for run in runs for part in chunks(run, 5)]


def show(result: Result, console: Console) -> None:
    """One row per case."""
    title = f"camera to sink, ms; {result.settings['seconds']:g} s x {result.settings['repeats']}"
    stages = [f"{s} p50" for s in STAGES]
    table = Table("case", "total p50", "p95", "p99", *stages, "fps", "drops %", "cpu %", "MiB", title=title)
    middles = [f"{s}.p50" for s in STAGES]
    keys = ("total.p50", "total.p95", "total.p99", *middles, "fps", "dropped", "cpu", "memory")
    for name in result.settings["cases"]:
        table.add_row(name, *(cell(result.get(f"{name}.{k}")) for k in keys))
    console.print(table)
    for name in result.settings["cases"]:
        keys = ("total.p50", "total.p99", "beyond_render.p99")
        goals = [f"{k} {number(f.value)} {target(f)}" for k in keys if (f := result.get(f"{name}.{k}")) and f.target]
        said = [f"{', '.join(goals)} ms"] if goals else []
        if result.get(f"{name}.growth") is not None:
            growth, memory = (number(result.get(f"{name}.{k}").value) for k in ("growth", "memory_growth"))
            said.append(f"latency grows by {growth} ms a minute, memory by {memory} MiB a minute")
        if said:
            console.print(f"{name}: {'; '.join(said)}", highlight=False)
    show_notes(result, console)


split = by_case


def figure(result: Result) -> Any:
    """Latency over time, one panel per case, and the share of each stage."""
    from benchmarks.report.figures import latency_figure

    return latency_figure(result)
