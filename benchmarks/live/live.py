"""The real pipeline on a clip that comes as from a camera, in a process of its own, with everything written down."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.live import wrappers
from benchmarks.live.subjects import driving_clip, portrait_of, there_and_back
from realtime import load_engine
from realtime.flow.pacing import Cadence
from realtime.measures import baselines
from realtime.session.local import Pipeline
from realtime.settings import PipelineSettings
from realtime.sinks import SinkBase, SinkOptions
from realtime.sources import SourceBase, SourceOptions
from realtime.types import Frame, Picture

STAGES = ("capture", "encode", "render", "deliver")


@dataclass(frozen=True)
class Case:
    """One run of the pipeline.

    options: for `load_engine`. vcam: pictures go through pyvirtualcam into memory, else into nothing.
    warm: seconds at the start that are not measured.
    """

    engine: str = "mesh"
    options: dict[str, Any] = field(default_factory=dict)
    fps: float = 30.0
    seconds: float = 20.0
    warm: float = 2.0
    clip: str | None = None
    portrait: str | None = None
    vcam: bool = False


class Camera(SourceBase):
    """Frames in memory, handed out at a fixed pace. `captured` is when the frame was due, not when it was fetched,
    so that a late reader is seen."""

    name = "camera"
    live = True

    def __init__(self, frames: list[np.ndarray], fps: float, count: int) -> None:
        super().__init__(SourceOptions(fps=fps))
        self.fps, self.frames, self._images = fps, None, frames
        self._count, self._index = count, 0
        self._beat = Cadence(fps)

    def read(self) -> Frame | None:
        """Wait until the next frame is due."""
        if self._index >= self._count or self.stopping():
            return None
        due = self._beat.due(time.monotonic())
        while (left := due - time.monotonic()) > 0:
            time.sleep(left)
        index, self._index = self._index, self._index + 1
        return Frame(self._images[index % len(self._images)], captured=due, index=index, pts=index / self.fps)

    @property
    def skipped(self) -> int:
        """Ticks that passed while nobody read."""
        return self._beat.skipped


class Recorder(SinkBase):
    """Keeps of each picture when each stage was done, and nothing of the picture."""

    name = "recorder"

    def __init__(self) -> None:
        super().__init__(SinkOptions())
        self.rows: list[tuple[int, float, float, float, float, float]] = []

    def open(self, width: int, height: int, fps: float) -> None:
        """Nothing to get ready."""

    def write(self, picture: Picture) -> None:
        """Note the times: index, captured, encoder began, encoded, rendered, delivered."""
        s, c = picture.stamps, picture.captured
        row = (s.get("capture", c), s.get("encode", c), s.get("render", c), time.monotonic())
        self.rows.append((picture.index, c, *row))


class Meter(threading.Thread):
    """Reads processor time and memory of this process, and the load of each core, twice a second."""

    def __init__(self, period: float = 0.5) -> None:
        super().__init__(name="meter", daemon=True)
        import psutil

        self._psutil, self._me = psutil, psutil.Process()
        self._over = threading.Event()
        self._period = period
        self.rows: list[tuple[float, float, float, list[float]]] = []
        psutil.cpu_percent(percpu=True)

    def run(self) -> None:
        """Until `stop`: (time, processor seconds, resident MiB, percent of each core)."""
        while not self._over.wait(self._period):
            spent = self._me.cpu_times()
            cores = self._psutil.cpu_percent(percpu=True)
            self.rows.append((time.monotonic(), spent.user + spent.system, self._me.memory_info().rss / 2**20, cores))

    def stop(self) -> None:
        """End the thread."""
        self._over.set()
        self.join(2)


def run_case(case: Case) -> dict[str, Any]:
    """Run the pipeline once, in this process. Times in seconds from the first measured frame."""
    baselines.register()
    wrappers.register()
    clip = there_and_back(driving_clip(case.clip))
    engine = load_engine(case.engine, **case.options)
    engine.set_portrait(portrait_of(case.portrait))
    camera = Camera(list(clip.frames), case.fps, count=round((case.seconds + case.warm) * case.fps))
    recorder: Any = Recorder()
    if case.vcam:
        from benchmarks.live.memory_camera import RecordedCamera

        recorder = RecordedCamera(SinkOptions(fps=case.fps))
    pipeline = Pipeline(camera, engine, [recorder], PipelineSettings(fps=case.fps))
    meter = Meter()
    meter.start()
    stats = asyncio.run(pipeline.run())
    meter.stop()
    engine.close()
    begin = recorder.rows[0][1] + case.warm if recorder.rows else 0.0
    rows = [r for r in recorder.rows if r[1] >= begin and r[0] >= 0]
    out: dict[str, Any] = {  # plain numbers only: it goes from one process to another
        "rows": [(r[0], *(t - begin for t in r[1:])) for r in rows],
        "meter": [(t - begin, cpu, rss, cores) for t, cpu, rss, cores in meter.rows if t >= begin],
        "counts": stats.to_json()["frames"],
        "camera_skipped": camera.skipped,
        "engine": engine.name,
        "device": engine.device,
        "size": engine.size,
        "took": [(t - begin, s) for t, s in getattr(engine, "took", ()) if t >= begin],
    }
    if case.vcam:
        out["sent"] = [(t - begin, name) for t, name in recorder.sent() if t >= begin]
    return out


def in_process(case: Case) -> dict[str, Any]:
    """`run_case` in a fresh process, so that memory, threads and caches are its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(run_case, (case,))


def stage_times(rows: list[tuple[float, ...]]) -> dict[str, np.ndarray]:
    """Milliseconds of every picture by stage, each from the end of the one before, and in total."""
    table = np.array(rows, float).reshape(-1, 6)[:, 1:]
    out = {name: 1000 * (table[:, k + 1] - table[:, k]) for k, name in enumerate(STAGES)}
    out["total"] = 1000 * (table[:, -1] - table[:, 0])
    return out
