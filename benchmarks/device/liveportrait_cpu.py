"""CPU time of one frame of LivePortrait, network by network: the straightforward loop against the engine's form.

The straightforward loop is the definition: motion extractor, warp, generator and heads run frame by frame in float32
as they are written down, with nothing folded and nothing kept but the portrait's volume. The engine's form is what a
session runs. Both ways run interleaved in one process, on recipe weights (no trained weights) and pictures of smooth
noise, so that a busy machine disturbs them alike. What is compared is the process's CPU time. Beside it stand the
parameters and the work of each network, and the CPU times of the authors' code on another machine (Intel Xeon
2.5 GHz, one thread, float32, PyTorch 2.13).

  python -m benchmarks liveportrait-cpu --frames 3 --json liveportrait_cpu.json
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.device.lia_cpu import smooth_noise
from benchmarks.report.result import Result
from realtime.engines.liveportrait import keypoints as kp
from realtime.engines.liveportrait.networks import Networks
from realtime.engines.liveportrait.prepared import FastLivePortrait
from realtime.engines.liveportrait.weights import load_networks
from realtime.engines.neural.place import DTYPES, Placement
from realtime.engines.weights.recipe import NO_TRAINED_WEIGHTS

AUTHORS_MS = {"F": 877.9, "M": 290.0, "W": 7205.8, "G": 11401.4, "S": 0.23}
"""CPU milliseconds of the authors' code on the Xeon, one call of each network at 256 pixels, medians."""
PARTS = {
    "F": "appearance_feature_extractor",
    "M": "motion_extractor",
    "W": "warping_module",
    "G": "spade_generator",
    "S": "retarget_shoulder",
}
PER_FRAME = ("M", "W", "G", "S")
"""F is once per portrait."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `liveportrait-cpu`."""
    parser.add_argument("--size", type=int, default=256, help="side of what the networks read, 128 or 256")
    parser.add_argument("--frames", type=int, help="frames of each way (3; quick 1)")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    parser.add_argument("--dtype", default="fp32", choices=("fp32", "bf16"), help="precision of the engine's form")
    parser.add_argument("--seed", type=int, default=1)


def run(options: argparse.Namespace) -> Result:
    """Both ways on the same frames, one after the other for each frame."""
    frames = options.frames or (1 if options.quick else 3)
    torch.set_num_threads(options.threads)
    settings = {
        "size": options.size, "frames": frames, "threads": options.threads, "weights": f"recipe:{options.seed}",
        "dtype": options.dtype,
    }  # fmt: skip
    result = Result("liveportrait-cpu", settings=settings, notes=[f"recipe weights: {NO_TRAINED_WEIGHTS}"])
    with torch.inference_mode():
        _sizes(result, options.size)
        _compare(result, options.size, frames, options.seed, DTYPES[options.dtype])
    if options.size == 256:
        result.notes += [f"{name}, the authors' code on a Xeon 2.5 GHz: {ms:g} ms" for name, ms in AUTHORS_MS.items()]
    return result


def _sizes(result: Result, size: int) -> None:
    """Parameters and work of each network, on no device at all."""
    with torch.device("meta"):
        nets = Networks()
        x, points = torch.zeros(1, 3, size, size), torch.zeros(1, 21, 3)
        volume, features = torch.zeros(1, 32, 16, size // 4, size // 4), torch.zeros(1, 256, size // 4, size // 4)
    calls: dict[str, Callable[[], Any]] = {
        "F": lambda: nets.appearance(x),
        "M": lambda: nets.motion(x),
        "W": lambda: nets.warp(volume, points, points),
        "G": lambda: nets.generate(features),
        "S": lambda: nets.stitch(points, points),
    }
    for name, call in calls.items():
        with FlopCounterMode(display=False) as counter:
            call()
        parameters = sum(p.numel() for p in nets.parts[PARTS[name]].parameters())
        result.add(f"{name}.parameters", parameters / 1e6, "M")
        result.add(f"{name}.work", counter.get_total_flops() / 1e9, "GFLOP")


def _compare(result: Result, size: int, frames: int, seed: int, dtype: torch.dtype) -> None:
    import numpy as np

    rng = np.random.default_rng(seed)
    nets = load_networks(f"recipe:{seed}")
    fast = FastLivePortrait(nets, Placement(torch.device("cpu"), dtype), 2 * size)
    portrait, *driving = (_input(smooth_noise(rng, size)) for _ in range(frames + 2))
    spent: dict[str, dict[str, list[float]]] = {way: {n: [] for n in PARTS} for way in ("plain", "engine")}
    apart: list[float] = []
    rules = kp.Rules().tensor()
    start = fast.motion(driving[0])[0]
    for k, x in enumerate(driving):
        pair: list[Tensor] = []
        for way, times in spent.items():
            took: dict[str, float] = {}
            pair.append((_plain if way == "plain" else _engine)(nets, fast, portrait, x, start, rules, took))
            if k:  # the first frame warms up
                for name, ms in took.items():
                    times[name].append(ms)
        if k:
            apart.append(float((pair[0] - pair[1]).abs().max()))
    for name in PARTS:
        for way, times in spent.items():
            result.add(f"{name}.{way}", float(np.median(times[name])), "ms", better="lower", samples=times[name])
    totals = {
        way: [sum(times[n][k] for n in PER_FRAME) for k in range(frames)] for way, times in spent.items()
    }  # fmt: skip
    for way, values in totals.items():
        result.add(f"frame.{way}", float(np.median(values)), "ms", better="lower", samples=values)
    ratios = [a / b for a, b in zip(totals["plain"], totals["engine"], strict=True)]
    exact = dtype == torch.float32
    result.add(
        "frame.faster", float(np.median(ratios)), "x", better="higher", samples=ratios, target=1.25 if exact else None
    )
    result.add("largest difference", max(apart), "of 0..1", better="lower", target=1e-3 if exact else None)


def _input(picture: Any) -> Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255


def _timed(took: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    begun = time.process_time()
    out = work()
    took[name] = 1000 * (time.process_time() - begun)
    return out


def _plain(
    nets: Networks, fast: FastLivePortrait, portrait: Tensor, x: Tensor, start: Tensor, rules: Tensor, took: dict
) -> Tensor:
    """A frame by the definition, 0..1."""
    volume = _timed(took, "F", lambda: nets.appearance(portrait))
    source = nets.motion(portrait)
    code = _timed(took, "M", lambda: kp.code_of(nets.motion(x)))
    canonical, own = source["kp"].unflatten(1, (21, 3)), kp.code_of(source)
    home = kp.Motion.of(own).place(canonical)
    driven = kp.drive(code, start, own, canonical, fast.heads, rules)
    _timed(took, "S", lambda: nets.stitch(home, driven))
    features = _timed(took, "W", lambda: nets.warp(volume, home, driven))
    return _timed(took, "G", lambda: nets.generate(features))


def _engine(
    nets: Networks, fast: FastLivePortrait, portrait: Tensor, x: Tensor, start: Tensor, rules: Tensor, took: dict
) -> Tensor:
    """A frame as the engine draws it, 0..1."""
    source = _timed(took, "F", lambda: fast.source(portrait))
    code = _timed(took, "M", lambda: fast.motion(x)[0])
    home, driven = fast.keypoints(source, code, start, rules)
    _timed(took, "S", lambda: fast.heads.stitch(home, driven))
    features = _timed(took, "W", lambda: fast.warp(source.volume, source.thin, home, driven))
    return _timed(took, "G", lambda: fast.generate(features))
