"""From command to first animated picture; what `import realtime` costs; switching portraits while it runs.

Each start is a fresh process. "first ever" starts with an empty compiler cache, as after an install.

  python -m benchmarks startup --json startup.json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from benchmarks.live.subjects import portrait_of
from benchmarks.report.machine import ROOT
from benchmarks.report.result import Result
from benchmarks.report.show import show_figures
from realtime.errors import EngineError

HEAVY = ("torch", "mediapipe", "cv2", "av", "numba", "scipy", "matplotlib")

_IMPORT = """
import json, sys, time
begun = time.perf_counter()
import numpy
between = time.perf_counter()
import realtime
done = time.perf_counter()
tops = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"total": done - begun, "own": done - between, "modules": len(sys.modules), "tops": tops}))
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `startup`."""
    parser.add_argument("--engine", default="mesh")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--starts", type=int, help="starts of each kind (7; quick 3)")


def run(options: argparse.Namespace) -> Result:
    """Start again and again."""
    starts = options.starts or (3 if options.quick else 7)
    result = Result("startup", settings={"engine": options.engine, "size": options.size, "starts": starts})
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("startup", total=2 * starts + 2)
        imports = []
        for _ in range(max(3, starts)):
            imports.append(imported())
            progress.advance(task)
        _import_figures(result, imports)
        first_picture(options.engine, options.size)  # the compiler cache is filled
        times = []
        for _ in range(starts):
            times.append(first_picture(options.engine, options.size))
            progress.advance(task)
        _median(result, "first picture", times, "s", "from the command to the first animated picture")
        if not options.quick:
            with tempfile.TemporaryDirectory() as cache:
                ever = first_picture(options.engine, options.size, {"NUMBA_CACHE_DIR": cache})
            result.add("first picture.first ever", ever, "s", better="lower", about="with an empty compiler cache")
        progress.advance(task)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            switch = pool.apply(switch_portraits, (options.engine, options.size, 3 if options.quick else 6))
        progress.advance(task)
    _median(result, "switch.unprepared", switch["unprepared"], "s", "set_portrait of a picture never seen")
    if switch["prepared"]:
        _median(result, "switch.prepared", switch["prepared"], "s", "set_portrait and first render of a prepared one")
    _median(result, "switch.gap", switch["gap"], "s", "longest wait between two pictures when switched while running")
    result.add("switch.usual gap", switch["usual"], "s", about="the usual wait between two pictures, at 30 fps")
    return result


def _median(result: Result, name: str, samples: list[float], unit: str, about: str) -> None:
    result.add(name, float(np.median(samples)), unit, samples=samples, better="lower", about=about)


def imported() -> dict[str, Any]:
    """`import realtime` in a fresh interpreter: seconds, with and without numpy's share, and what it loads."""
    done = subprocess.run([sys.executable, "-c", _IMPORT], cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _import_figures(result: Result, imports: list[dict[str, Any]]) -> None:
    totals = [i["total"] for i in imports]
    result.add("import", float(np.median(totals)), "s", samples=totals, better="lower", target=0.3,
               about="import realtime in a fresh interpreter")  # fmt: skip
    own = [i["own"] for i in imports]
    result.add("import.without numpy", float(np.median(own)), "s", samples=own, better="lower")
    result.add("import.modules", float(imports[0]["modules"]), "modules", better="lower")
    heavy = sorted(set(HEAVY) & set(imports[0]["tops"]))
    result.add("import.heavy", float(len(heavy)), "libraries", better="lower", target=0,
               about=f"of {', '.join(HEAVY)}: {', '.join(heavy) or 'none'}")  # fmt: skip


def first_picture(engine: str, size: int, environment: dict[str, str] | None = None) -> float:
    """Seconds from starting `avatar run` on the built-in motion track to the first picture at the sink."""
    arguments = ["run", "--source", "motion:builtin", "--sink", "first", "--engine", engine, "--size", str(size)]
    begun = time.monotonic()  # one clock for all processes of this machine
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.live.first_picture", *arguments], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | (environment or {}), timeout=180,
    )  # fmt: skip
    said = [line for line in done.stdout.splitlines() if line.startswith("first picture ")]
    if not said:
        raise EngineError(engine, (done.stderr.strip().splitlines() or ["it showed no picture"])[-1])
    return float(said[0].split()[-1]) - begun


def switch_portraits(engine_name: str, size: int, times: int) -> dict[str, Any]:
    """How long it takes to show another portrait, and how long the pictures stop when it is asked for live."""
    from benchmarks.live.live import Camera, Recorder
    from benchmarks.live.subjects import driving_clip
    from realtime import load_engine
    from realtime.session.local import Pipeline
    from realtime.settings import PipelineSettings

    engine = load_engine(engine_name, size=size)
    picture = portrait_of(None)
    others = [np.ascontiguousarray(np.roll(picture, 3 * k, axis=1)[:, ::-1]) for k in range(1, times + 1)]
    engine.set_portrait(picture)
    engine.render(engine.portrait_code)
    unprepared, prepared = [], []
    for other in others:
        begun = time.perf_counter()
        engine.set_portrait(other)
        unprepared.append(time.perf_counter() - begun)
    prepare = getattr(engine, "prepare", None)
    for ready in [prepare(other) for other in others[:3]] if prepare is not None else []:
        begun = time.perf_counter()
        engine.set_portrait(ready)
        engine.render(engine.portrait_code)
        prepared.append(time.perf_counter() - begun)

    clip = driving_clip(None, 90)
    recorder: Any = Recorder()
    seconds = 1.5 * (times + 2)
    camera = Camera(list(clip.frames), 30, round(seconds * 30))
    pipeline = Pipeline(camera, engine, [recorder], PipelineSettings(fps=30))
    asked: list[float] = []

    async def session() -> None:
        running = asyncio.create_task(pipeline.run())
        await asyncio.sleep(2.0)
        for k, other in enumerate(others):
            asked.append(time.monotonic())
            pipeline.control.set_portrait(other, f"portrait {k}")
            await asyncio.sleep(1.5)
        await running

    asyncio.run(session())
    engine.close()
    at = np.array([row[5] for row in recorder.rows])
    gaps = np.diff(at)
    after = [gaps[(at[1:] > t) & (at[1:] < t + 1.5)] for t in asked]
    gap = [float(waits.max()) for waits in after if waits.size]
    return {"unprepared": unprepared, "prepared": prepared, "gap": gap, "usual": float(np.median(gaps))}


show = show_figures


def figure(result: Result) -> Any:
    """Bars of the times."""
    from benchmarks.report.figures import bars_figure

    names = ["import", "first picture", "switch.unprepared", "switch.prepared", "switch.gap"]
    return bars_figure([f for n in names if (f := result.get(n)) is not None], "seconds")
