"""A guard against getting slower that does not flake: counts of drops, copies, allocations, imports and bytes."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest

from benchmarks.live import startup
from benchmarks.live.live import Camera, Recorder
from benchmarks.live.subjects import letterboxed, portrait_of
from benchmarks.report.machine import ROOT
from realtime import load_engine
from realtime.engines.mesh.motion.code import LENGTH
from realtime.measures.baselines import StillEngine
from realtime.motion.wire import Packet, pack
from realtime.session.local import Pipeline
from realtime.settings import PipelineSettings
from realtime.sources import SourceBase, SourceOptions
from realtime.types import Direction, Frame, MotionCode

SIZE = 256


class FrameByFrame(SourceBase):
    """Hands out `count` frames, the next one whenever `allow` says so."""

    live = True

    def __init__(self, count: int, allow: threading.Semaphore) -> None:
        super().__init__(SourceOptions())
        self.fps = 30.0
        self.images = [np.full((120, 160, 3), 40 + k, np.uint8) for k in range(count)]
        self._next, self._allow = 0, allow

    def read(self) -> Frame | None:
        if self._next == len(self.images):
            return None
        while not self._allow.acquire(timeout=0.1):
            if self.stopping():
                return None
        self._next += 1
        k = self._next - 1
        return Frame(self.images[k], captured=k / 30, index=k, pts=k / 30)


class Gated(StillEngine):
    """Keeps what it is given and gives back; where `hold` is given, it renders only when that is released."""

    def __init__(self, hold: threading.Semaphore | None = None) -> None:
        super().__init__(64)
        self.hold = hold
        self.directions = (Direction("lift", 0, -1.0, 1.0, group="mouth"),)
        self.rendering = threading.Event()
        self.seen: list[np.ndarray] = []
        self.made: list[np.ndarray] = []
        self.set_portrait(np.zeros((64, 64, 3), np.uint8))

    def encode(self, frame):
        if frame.image.shape != (64, 64, 3):  # it is not the still portrait, with which the pipeline warms up
            self.seen.append(frame.image)
        return self.portrait_code

    def render(self, code: MotionCode) -> np.ndarray:
        picture = super().render(code)
        if self.seen and self.hold is not None:
            self.rendering.set()
            self.hold.acquire(timeout=10)
        self.made.append(picture)
        return picture


class Kept(Recorder):
    """Keeps the pictures too."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[np.ndarray] = []

    def write(self, picture):
        super().write(picture)
        if picture.index >= 0:
            self.pictures.append(picture.image)


async def until(true) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.002)


async def test_a_renderer_that_stands_still_costs_all_frames_but_the_newest():
    allow, hold = threading.Semaphore(0), threading.Semaphore(0)
    source, engine, sink = FrameByFrame(10, allow), Gated(hold), Kept()
    pipeline = Pipeline(source, engine, [sink], PipelineSettings(fps=1))
    running = asyncio.create_task(pipeline.run())
    allow.release()
    await until(engine.rendering.is_set)  # frame 0 is being rendered
    for k in range(1, 10):
        allow.release()
        await until(lambda k=k: pipeline.stats.counts.dropped == k - 1 and len(engine.seen) == k + 1)
    hold.release()
    await until(lambda: sink.pictures)
    for _ in range(10):
        hold.release()
    counts = (await running).counts
    assert [row[0] for row in sink.rows if row[0] >= 0] == [0, 9]
    assert (counts.captured, counts.encoded, counts.delivered, counts.dropped) == (10, 10, 2, 8)


async def test_no_frame_and_no_picture_is_copied_on_its_way():
    allow = threading.Semaphore(0)
    source, engine, sink = FrameByFrame(5, allow), Gated(), Kept()
    pipeline = Pipeline(source, engine, [sink], PipelineSettings(fps=1))
    running = asyncio.create_task(pipeline.run())
    for k in range(5):
        allow.release()
        await until(lambda k=k: len(sink.pictures) > k)
    await running
    assert [id(image) for image in engine.seen] == [id(image) for image in source.images]
    made = {id(picture) for picture in engine.made}
    assert len(sink.pictures) == 5
    assert all(id(picture) in made for picture in sink.pictures)


@pytest.fixture(scope="module")
def mesh():
    engine = load_engine("mesh", size=SIZE)
    engine.set_portrait(portrait_of(None))
    frame = letterboxed([portrait_of(None)], 320, 240)[0]
    for k in range(4):
        code = engine.encode(Frame(frame, captured=k / 30, index=k))
        engine.render(code)
    yield engine, frame
    engine.close()


def peak(work) -> int:
    """Most bytes that `work` held at once beyond what was held before."""
    gc.collect()
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_rendering_allocates_its_picture_and_little_else(mesh):
    engine, frame = mesh
    code = engine.encode(Frame(frame, captured=1.0, index=30))
    assert peak(lambda: engine.render(code)) < 1.6 * SIZE * SIZE * 3  # 1.2 when written


def test_encoding_allocates_no_second_frame(mesh):
    engine, frame = mesh
    assert peak(lambda: engine.encode(Frame(frame, captured=2.0, index=60))) < 0.8 * frame.nbytes  # 0.4 when written


def test_memory_is_flat_over_frames(mesh):
    engine, frame = mesh

    def some(first: int, count: int) -> None:
        for k in range(first, first + count):
            engine.render(engine.encode(Frame(frame, captured=3 + k / 30, index=k)))
        engine.reset()  # of the body's network, which takes many frames, nothing is on its way

    some(0, 5)
    gc.collect()
    tracemalloc.start()
    try:
        some(5, 5)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        some(10, 25)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 98_000  # one kept picture in 25 frames is 196,608
    finally:
        tracemalloc.stop()


def test_import_loads_nothing_heavy_and_few_modules():
    found = startup.imported()
    assert not set(startup.HEAVY) & set(found["tops"])
    assert found["modules"] < 300  # 231 when written, most of them numpy's


def test_numpy_gets_one_thread_unless_told_otherwise():
    program = "import os, realtime; print(os.environ['OPENBLAS_NUM_THREADS'])"
    for given, expected in ((None, "1"), ("3", "3")):
        environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
        environment |= {"OPENBLAS_NUM_THREADS": given} if given else {}
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=True)
        assert done.stdout.strip() == expected


def test_a_mesh_code_fits_a_small_packet():
    data = pack(Packet("mesh", sequence=1, captured=0.5, values=np.zeros(LENGTH, np.float32)))
    assert len(data) == 18 + 2 * LENGTH
    assert 8 * 30 * len(data) <= 64_000  # bits a second at 30 fps


def test_the_camera_of_the_benchmarks_skips_what_is_due_while_nobody_reads(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("benchmarks.live.live.time.monotonic", lambda: now[0])
    monkeypatch.setattr("benchmarks.live.live.time.sleep", lambda s: now.__setitem__(0, now[0] + s))
    camera = Camera([np.zeros((2, 2, 3), np.uint8)] * 3, fps=10, count=5)
    first, second = camera.read(), camera.read()
    assert (first.captured, second.captured) == (100.0, pytest.approx(100.1))
    now[0] += 0.35  # the reader was away for three and a half periods
    late = camera.read()
    assert late.index == 2
    assert camera.skipped == 2
    assert now[0] - late.captured < 0.1
