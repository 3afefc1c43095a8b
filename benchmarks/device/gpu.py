"""A whole frame of LIA, LIA-X and LivePortrait on a GPU: upload to download, four ways, one to eight sessions."""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.device.device import (
    add_device_options,
    chosen_device,
    copy_bandwidth,
    matmul_rate,
    note_device,
    seconds_each,
)
from benchmarks.device.subjects import DRY, SUBJECTS, Frame, Subject
from benchmarks.report.result import Result
from benchmarks.report.show import cell, show_notes
from benchmarks.report.statistics import percentiles
from realtime.engines.gpu.graph import BATCHES, CudaDevice, FrameGraph, Immediate
from realtime.engines.gpu.program import Part, Programs
from realtime.engines.neural.place import Placement
from realtime.errors import UnknownName
from realtime.measures.sheets import number


class CompiledFrame:
    """`torch.compile` in half precision, of the network with everything already folded: the strongest form of this
    baseline. Preprocessing, navigation and postprocessing are inside the compiled function."""

    def __init__(self, whole: Callable[[Tensor], Tensor], device: torch.device) -> None:
        self.device = device
        torch._dynamo.reset()
        if device.type == "cpu":
            self._whole = torch.compile(whole, backend="eager")
        else:
            self._whole = torch.compile(whole, mode="max-autotune")

    @torch.inference_mode()
    def __call__(self, frame: np.ndarray) -> np.ndarray:
        return self._whole(torch.from_numpy(frame).to(self.device)).cpu().numpy()


class OwnFrame:
    """Our frame: captured, or eager with the same kernels."""

    def __init__(
        self, programs: Programs, portrait: Tensor, device: torch.device, *, eager: str = "", batch: int = 1,
        part: Part = "frame",
    ) -> None:  # fmt: skip
        side = portrait.shape[-1]
        program = programs(part, (side, side), device)
        runner = Immediate() if device.type == "cpu" else CudaDevice(device)
        self.graph = FrameGraph(program, runner, batches=(batch,), eager=eager)
        if program.state:
            state = program.portrait(portrait.to(device))
            for row in range(batch):
                self.graph.set_state(row, **state)
        zeros = np.zeros(program.net.motion_dim, np.float32)
        box = np.array([0, 0, side, side], np.float32)
        every = {"box": box, "reference": zeros, "edits": zeros, "code": zeros}
        self.fixed = {name: every[name] for name in program.inputs if name != "frame"}
        self.takes_frame = "frame" in program.inputs
        self.result = "picture" if "picture" in program.outputs else "code"
        self.batch = batch

    def submit(self, frame: np.ndarray) -> Any:
        values = {**self.fixed, "frame": frame} if self.takes_frame else self.fixed
        return self.graph.submit(dict.fromkeys(range(self.batch), values))

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        return self.submit(frame).results()[0][self.result]


def frame_times(frame: Frame, frames: list[np.ndarray], count: int) -> list[float]:
    """Milliseconds from handing over a driving frame to having its picture in host memory, one after the other."""
    times = []
    for k in range(count):
        started = time.perf_counter()
        frame(frames[k % len(frames)])
        times.append((time.perf_counter() - started) * 1e3)
    return times


def fewer(count: int, part: int) -> int:
    """A part of `count` frames, four at least where there are so many."""
    return max(min(4, count), count // part)


def pipelined_rate(own: OwnFrame, frames: list[np.ndarray], count: int) -> float:
    """Frames per second with two under way, so that copies and work overlap."""
    started = time.perf_counter()
    before = None
    for k in range(count):
        pending = own.submit(frames[k % len(frames)])
        if before is not None:
            before.results()
        before = pending
    if before is not None:
        before.results()
    return count * own.batch / (time.perf_counter() - started)


def add_options(parser: argparse.ArgumentParser) -> None:
    add_device_options(parser)
    parser.add_argument(
        "--engines",
        help=f"comma-separated, of {', '.join(SUBJECTS)} (default: all); in a dry run of {', '.join(DRY)} "
        f"(default: {next(iter(DRY))})",
    )
    parser.add_argument("--frames", type=int, default=500, help="measured frames per way (default 500)")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which takes minutes")
    parser.add_argument("--no-authors", action="store_true", help="leave out the authors' float32 loop")


def run(options: argparse.Namespace) -> Result:
    subjects = DRY if options.dry else SUBJECTS
    every = next(iter(DRY)) if options.dry else ",".join(SUBJECTS)
    names = [name.strip() for name in (options.engines or every).split(",") if name.strip()]
    for name in names:
        if name not in subjects:
            raise UnknownName("engine", name, subjects)
    device = chosen_device(options.dry)
    result = Result("gpu", settings={"engines": names, "frames": options.frames, "dry": options.dry})
    note_device(result, device)
    roof = matmul_rate(device, torch.float32 if options.dry else torch.float16)
    result.add("matmul rate", roof / 1e12, "TFLOP/s", about="8192 x 8192 x 8192, half precision, random numbers")
    result.add("copy bandwidth", copy_bandwidth(device) / 1e9, "GB/s")
    for name in names:
        _measure(result, name, subjects[name], device, roof, options)
    return result


def _measure(
    result: Result, name: str, subject: Subject, device: torch.device, roof: float, options: argparse.Namespace
) -> None:
    count = min(4, options.frames) if options.dry else max(20, options.frames // (5 if options.quick else 1))
    net = subject.define()
    work_of = subject.work(net, device)
    for part, value in work_of.items():
        result.add(f"{name}.gflop.{part}", value / 1e9, "GFLOP")
    work = sum(work_of.values())
    side = subject.reads(net)
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (side, side, 3), dtype=np.uint8) for _ in range(4)]
    portrait = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1

    medians: dict[str, float] = {}
    wanted: np.ndarray | None = None
    if not options.no_authors:
        loop = subject.authors(net, portrait, device)
        wanted = loop(frames[0]).astype(np.float32) + 0.5  # it cuts off, the others round
        medians["authors fp32"] = _one_way(result, name, "authors fp32", loop, frames, fewer(count, 5), work, roof)
        del loop

    place = Placement(device, torch.float32 if options.dry else torch.float16)
    with torch.inference_mode():
        fast = subject.prepare(net, place)
        programs = subject.programs(fast)
    del net
    _free(device)
    if not options.no_compile:
        try:
            compiled = CompiledFrame(subject.whole(fast, portrait.to(device)), device)
            medians["compile fp16"] = _one_way(result, name, "compile fp16", compiled, frames, count, work, roof)
            del compiled
        except Exception as error:  # a baseline; where it fails the rest still counts
            result.notes.append(f"{name}: torch.compile fails ({type(error).__name__}: {str(error)[:160]})")
        _free(device)

    for stage, call in subject.stages(fast, portrait.to(device)).items():
        spent = statistics.median(seconds_each([call], device))
        result.add(f"{name}.stage {stage}", 1e3 * spent, "ms", better="lower", about="device time")
    eager = OwnFrame(programs, portrait, device, eager="asked for")
    medians["eager fp16"] = _one_way(result, name, "eager fp16", eager, frames, count, work, roof)
    if device.type == "cuda":
        result.series[f"{name}.profile"] = _profile(eager, frames)
    del eager
    _free(device)
    _captured(result, name, subject, programs, portrait, frames, count, work, roof, device, medians, wanted)


def _captured(
    result: Result, name: str, subject: Subject, programs: Programs, portrait: Tensor, frames: list[np.ndarray],
    count: int, work: float, roof: float, device: torch.device, medians: dict[str, float], wanted: np.ndarray | None,
) -> None:  # fmt: skip
    started = time.perf_counter()
    own = OwnFrame(programs, portrait, device)
    picture = own(frames[0])
    result.add(f"{name}.graph.first frame", time.perf_counter() - started, "s", better="lower", target=10.0)
    if wanted is not None:
        apart = float(np.abs(picture - wanted).mean())
        result.add(f"{name}.graph.apart", apart, "steps", better="lower", target=2.0, about="from fp32, 0..255, mean")
    medians["graph"] = p50 = _one_way(result, name, "graph", own, frames, count, work, roof, target=subject.target_ms)
    p99 = result.get(f"{name}.graph.p99")
    if p99 is not None and p99.value:
        result.add(f"{name}.graph.p99 over p50", p99.value / p50, "x", better="lower", target=1.3)
    for way, least in (("authors fp32", subject.target_gain), ("compile fp16", 1.15), ("eager fp16", None)):
        if way in medians:
            result.add(f"{name}.graph over {way}", medians[way] / p50, "x", better="higher", target=least)
    result.notes.append(f"{name}: {own.graph.describe()}")
    del own
    for part in ("encode", "render"):
        _free(device)
        own = OwnFrame(programs, portrait, device, part=part)
        times = frame_times(own, frames, fewer(count, 2))
        result.add(f"{name}.graph.{part} p50", statistics.median(times[2:] or times), "ms", better="lower")
        del own
    best = 0.0
    for batch in BATCHES[:2] if device.type == "cpu" else BATCHES:
        _free(device)
        try:
            own = OwnFrame(programs, portrait, device, batch=batch)
            times = frame_times(own, frames, fewer(count, 5))
            rate = pipelined_rate(own, frames, fewer(count, 5))
        except torch.OutOfMemoryError:
            result.notes.append(f"{name}: a batch of {batch} does not fit into memory")
            break
        result.add(f"{name}.batch {batch}.p50", statistics.median(times[2:] or times), "ms", better="lower")
        result.add(f"{name}.batch {batch}.rate", rate, "frames/s", better="higher", about="two batches under way")
        best = max(best, rate)
        result.add(f"{name}.batch {batch}.memory", _memory(device), "GiB", better="lower")
        del own
    result.add(f"{name}.sessions at 30 fps", best // 30, "", better="higher", about="by the best batch")


def _one_way(
    result: Result, name: str, way: str, frame: Frame, frames: list[np.ndarray], count: int, work: float, roof: float,
    target: float | None = None,
) -> float:  # fmt: skip
    """Measure one way of making frames; the figures go into `result`. Returns the median in ms."""
    frame_times(frame, frames, min(count // 2, 20))
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    times = frame_times(frame, frames, count)
    for key, value in percentiles(times).items():
        result.add(f"{name}.{way}.{key}", value, "ms", better="lower", target=target if key == "p50" else None)
    p50 = statistics.median(times)
    rate = work / (p50 / 1e3)
    result.add(f"{name}.{way}.rate", rate / 1e12, "TFLOP/s", better="higher")
    result.add(f"{name}.{way}.of matmul", rate / roof, "", better="higher", about="of the measured matrix rate")
    result.add(f"{name}.{way}.memory", _memory(torch.device("cuda") if torch.cuda.is_available() else None), "GiB")
    result.series[f"{name}.{way}"] = {"ms": times}
    return p50


def _profile(own: OwnFrame, frames: list[np.ndarray]) -> dict[str, list]:
    """The twenty kernels that take the most device time in eager frames: where the time is."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for frame in frames:
            own(frame)
    top = sorted(profile.key_averages(), key=lambda e: -e.self_device_time_total)[:20]
    return {
        "kernel": [e.key[:100] for e in top],
        "us per frame": [e.self_device_time_total / len(frames) for e in top],
        "launches per frame": [e.count / len(frames) for e in top],
    }


def _memory(device: torch.device | None) -> float | None:
    if device is None or device.type != "cuda":
        return None
    return torch.cuda.max_memory_allocated(device) / 2**30


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


WAYS = ("authors fp32", "compile fp16", "eager fp16", "graph")


SHOWN = (" over ", "batch", "first frame", "encode p50", "render p50", ".stage ", "sessions at")
"""Parts of the names of what the second table shows."""


def show(result: Result, console: Console) -> None:
    table = Table(title=f"one frame, upload to download, on {result.settings.get('device')}")
    keys = {"p50": "p50 ms", "p95": "p95 ms", "p99": "p99 ms", "rate": "TFLOP/s", "of matmul": "of matmul"}
    keys |= {"memory": "GiB"}
    for title in ("engine", "way", *keys.values()):
        table.add_column(title)
    engines = list(dict.fromkeys(f.name.split(".")[0] for f in result.figures if ".gflop." in f.name))
    for engine in engines:
        for way in WAYS:
            if result.get(f"{engine}.{way}.p50") is not None:
                table.add_row(engine, way, *(cell(result.get(f"{engine}.{way}.{key}")) for key in keys))
    console.print(table)
    more = Table("figure", "value", "unit", "target", title="sessions, stages and ratios")
    for figure in result.figures:
        if any(part in figure.name for part in SHOWN):
            sense = "" if figure.target is None else ("≤ " if figure.better == "lower" else "≥ ")
            target = sense + (number(figure.target) if figure.target is not None else "")
            more.add_row(figure.name, cell(figure), figure.unit, target)
    console.print(more)
    show_notes(result, console)
