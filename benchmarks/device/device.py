"""Clocks, roofs and refusals for the GPU benchmarks; and a tiny stand-in for the device that checks their code."""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.report.result import Result
from realtime import kernels
from realtime.errors import DeviceError

Work = Callable[[], Any]
CACHE_FACTOR = 4
"""Rotating inputs are this many times the second-level cache, so that a repeated run reads memory, not the cache."""


def add_device_options(parser: argparse.ArgumentParser) -> None:
    """Options that both GPU benchmarks have."""
    parser.add_argument(
        "--dry",
        action="store_true",
        help="run everything once, tiny, on the CPU: checks the benchmark's own code; its times mean nothing",
    )


def chosen_device(dry: bool) -> torch.device:
    """The CUDA device, or the CPU for a dry run. Raises DeviceError where there is no GPU to measure."""
    if dry:
        return torch.device("cpu")
    reason = kernels.why_unavailable()
    if reason:
        raise DeviceError("GPU", f"nothing to measure: {reason}", "--dry checks the benchmark itself without a GPU")
    return torch.device("cuda:0")


def note_device(result: Result, device: torch.device) -> None:
    """Device, driver and versions into the result; a dry run says that it measured nothing."""
    if device.type == "cpu":
        result.settings["device"] = "cpu (dry run)"
        result.notes.append("Dry run on the CPU: the code works; not measured on a GPU.")
        return
    import cupy

    facts = torch.cuda.get_device_properties(device)
    result.settings |= {
        "device": facts.name,
        "capability": f"sm_{facts.major}{facts.minor}",
        "multiprocessors": facts.multi_processor_count,
        "memory_gib": round(facts.total_memory / 2**30, 1),
        "driver": _driver(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "cupy": cupy.__version__,
    }


def _driver() -> str:
    import subprocess

    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return ""
    return done.stdout.strip().splitlines()[0] if done.returncode == 0 and done.stdout.strip() else ""


def rotations(bytes_per_set: int, device: torch.device) -> int:
    """How many sets of inputs make a run larger than the cache."""
    if device.type == "cpu":
        return 1
    cache = getattr(torch.cuda.get_device_properties(device), "L2_cache_size", 64 << 20)
    return max(2, min(64, math.ceil(CACHE_FACTOR * cache / max(bytes_per_set, 1))))


def seconds_each(works: Sequence[Work], device: torch.device, *, repeats: int = 30) -> list[float]:
    """Device time of one call, once per repeat. `works` do the same on different memory; a repeat runs them all,
    replayed from one captured graph, so that launches by the CPU cost nothing; where capture fails they are launched
    one by one."""
    if device.type == "cpu":
        started = time.perf_counter()
        for work in works:
            work()
        return [(time.perf_counter() - started) / len(works)]
    stream = torch.cuda.Stream(device)
    with torch.inference_mode(), torch.cuda.stream(stream):
        for _ in range(3):
            for work in works:
                work()
        stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                for work in works:
                    work()
            run: Work = graph.replay
        except RuntimeError:
            torch.cuda.synchronize(device)

            def run() -> None:
                for work in works:
                    work()

        run()
        times = []
        for _ in range(repeats):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            run()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end) / 1e3 / len(works))
    return times


def copy_bandwidth(device: torch.device) -> float:
    """Bytes per second of a device-to-device copy, read and written bytes counted."""
    count = (1 << 20) if device.type == "cpu" else (2 << 30)
    source = torch.randint(0, 255, (count,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * count / statistics.median(seconds_each([lambda: target.copy_(source)], device, repeats=20))


def matmul_rate(device: torch.device, dtype: torch.dtype = torch.float16) -> float:
    """Floating-point operations per second of a large matrix product of random numbers in `dtype`."""
    n = 64 if device.type == "cpu" else 8192
    a, b = (torch.randn(n, n, device=device, dtype=torch.float32).to(dtype) for _ in range(2))
    out = torch.empty(n, n, device=device, dtype=dtype)
    return 2 * n**3 / statistics.median(seconds_each([lambda: torch.mm(a, b, out=out)], device, repeats=20))
