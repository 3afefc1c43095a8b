"""What one frame costs on one core: motion encoder, render, both; and preparing a portrait. By size.

Everything runs in one thread on one core. `wall` is elapsed time, `cpu` the processor time of the process, which a
busy machine does not change much.

  python -m benchmarks stages --json stages.json --plot stages.png
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.live.subjects import clip_name, driving_clip, engine_options, portrait_of
from benchmarks.report.page import by_case
from benchmarks.report.result import Result
from benchmarks.report.show import cell, show_notes, target
from benchmarks.report.statistics import chunks

PARTS = ("frame", "encode", "render")
# (size, part, clock, percentile): milliseconds
TARGETS = {(512, "frame", "cpu", 50): 9.0, (512, "frame", "cpu", 95): 12.0, (512, "render", "cpu", 50): 5.5}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `stages`."""
    parser.add_argument("--engine", default="mesh")
    parser.add_argument("--engine-option", action="append", default=[], metavar="KEY=VALUE", help="for load_engine")
    parser.add_argument("--sizes", nargs="+", type=int, default=[256, 512, 720], metavar="PX")
    parser.add_argument("--frames", type=int, help="frames of the clip (300; quick 60)")
    parser.add_argument("--clip", metavar="PATH", help="driving clip; default a webcam clip of the test data")
    parser.add_argument("--portrait", metavar="PATH", help="default the built-in one")


def run(options: argparse.Namespace) -> Result:
    """Time every size in a process of its own."""
    frames = options.frames or (60 if options.quick else 300)
    sizes = [512] if options.quick and options.sizes == [256, 512, 720] else options.sizes
    result = Result("stages", settings={
        "engine": options.engine, "sizes": sizes, "frames": frames, "clip": clip_name(options.clip),
        "portrait": options.portrait or "built-in",
    })  # fmt: skip
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for size in progress.track(sizes, description="stages"):
            extra = {**engine_options(options.engine_option), "size": size}
            arguments = (options.engine, extra, frames, options.clip, options.portrait)
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                _figures(result, f"{options.engine} {size}", size, pool.apply(time_one, arguments))
    return result


def time_one(
    engine_name: str, extra: dict[str, Any], frames: int, clip_path: str | None, portrait: str | None
) -> dict[str, Any]:
    """Wall and processor seconds of every frame, in this process, on one core."""
    import cv2

    from realtime import load_engine
    from realtime.types import Frame

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    clip, picture = driving_clip(clip_path, frames), portrait_of(portrait)
    engine = load_engine(engine_name, **extra)
    prepared = []
    for _ in range(4):
        begun = (time.perf_counter(), time.process_time())
        engine.set_portrait(picture)
        prepared.append((time.perf_counter() - begun[0], time.process_time() - begun[1]))
    rows, code = [], engine.portrait_code
    engine.reference = None
    for index in range(-10, len(clip.frames)):  # ten to warm up, of the first frame: it is the neutral one, as live
        at = index / clip.fps
        frame = Frame(clip.frames[max(0, index)], captured=at, index=index, pts=at)
        marks = [(time.perf_counter(), time.process_time())]
        code = engine.encode(frame) or code
        marks.append((time.perf_counter(), time.process_time()))
        engine.render(code)
        marks.append((time.perf_counter(), time.process_time()))
        if index >= 0:
            rows.append(marks)
    engine.close()
    table = np.array(rows)  # (frames, 3 marks, 2 clocks)
    return {
        "encode": (table[:, 1] - table[:, 0]).tolist(),
        "render": (table[:, 2] - table[:, 1]).tolist(),
        "frame": (table[:, 2] - table[:, 0]).tolist(),
        "prepare": prepared[1:],  # the first pays for loading models and compiling
    }


def _figures(result: Result, name: str, size: int, times: dict[str, Any]) -> None:
    for part in PARTS:
        for clock, index in (("wall", 0), ("cpu", 1)):
            values = 1000 * np.array(times[part])[:, index]
            for q in (50, 95):
                result.add(
                    f"{name}.{part}.{clock}.p{q}", float(np.percentile(values, q)), "ms", better="lower",
                    samples=[float(np.percentile(c, q)) for c in chunks(values, 6)],
                    target=TARGETS.get((size, part, clock, q)),
                )  # fmt: skip
    prepare = [wall for wall, _ in times["prepare"]]
    result.add(f"{name}.prepare", float(np.median(prepare)), "s", samples=prepare, better="lower",
               target=0.4 if size == 512 else None, about="set_portrait, after the first")  # fmt: skip
    result.series[name] = {part: [round(1000 * wall, 3) for wall, _ in times[part]] for part in PARTS}


def show(result: Result, console: Console) -> None:
    """One row per size and part."""
    heads = ("", "part", "wall p50", "p95", "cpu p50", "target", "p95", "target")
    table = Table(*heads, title="one frame on one core, ms")
    for name in result.series:
        for part in PARTS:
            key = f"{name}.{part}"
            p50, p95 = result.get(f"{key}.cpu.p50"), result.get(f"{key}.cpu.p95")
            wall = [cell(result.get(f"{key}.wall.p{q}")) for q in (50, 95)]
            table.add_row(name, part, *wall, cell(p50), target(p50), cell(p95), target(p95))
        prepare = result.get(f"{name}.prepare")
        table.add_row(name, "prepare", cell(prepare), "s", "", target(prepare))
    console.print(table)
    show_notes(result, console)


split = by_case


def figure(result: Result) -> Any:
    """Bars of encode and render by size."""
    from benchmarks.report.figures import stages_figure

    return stages_figure(result)
