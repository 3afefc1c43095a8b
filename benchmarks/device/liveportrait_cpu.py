"""CPU time of one frame of LivePortrait, network by network: the straightforward loop against the engine's form.

The straightforward loop is the definition: motion extractor, warp, generator and heads run frame by frame in float32
as they are written down, with nothing folded and nothing kept but the portrait's volume. The engine's form is what a
session runs, in float32 and in bfloat16. All ways run interleaved in one process, on recipe weights (no trained
weights) and pictures of smooth noise, so that a busy machine disturbs them alike. What is compared is the process's
CPU time. A round is the portrait and a frame of each way; one comes before, unmeasured, in which the engine prepares
its weights.

Beside it stand the parameters and the work of each network, and what was published of them: the same, and the CPU
times of the authors' code on another machine (Intel Xeon 2.5 GHz, one thread, float32, PyTorch 2.13).

  python -m benchmarks liveportrait-cpu --json liveportrait_cpu.json
  python -m benchmarks liveportrait-cpu --quick                          one round, float32 alone: about a minute
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.device.lia_cpu import smooth_noise
from benchmarks.report.result import Result
from benchmarks.report.show import cell, show_notes, target
from realtime import kernels
from realtime.engines.liveportrait import keypoints as kp
from realtime.engines.liveportrait.layers import DEPTH, KEYPOINTS, VOLUME
from realtime.engines.liveportrait.networks import Networks
from realtime.engines.liveportrait.prepared import FastLivePortrait
from realtime.engines.liveportrait.warping import MOTIONS, THIN, heats, identity_grid, sample
from realtime.engines.liveportrait.weights import load_networks
from realtime.engines.neural.place import DTYPES, Placement
from realtime.engines.weights.recipe import NO_TRAINED_WEIGHTS
from realtime.errors import BadValue
from realtime.measures.sheets import number


@dataclass(frozen=True)
class Known:
    """What is known of a network. parameters: millions. work: GFLOP of a call at 256 pixels. ms: CPU milliseconds of
    the authors' code on the Xeon, median. part: its name in the checkpoints."""

    parameters: float
    work: float
    ms: float
    part: str


KNOWN = {
    "F": Known(0.836224, 64.114, 877.93, "appearance_feature_extractor"),
    "M": Known(28.118728, 11.637, 289.97, "motion_extractor"),
    "W": Known(45.529829, 342.071, 7205.78, "warping_module"),
    "G": Known(55.365388, 891.575, 11401.42, "spade_generator"),
    "S": Known(0.045249, 8.9728e-05, 0.23, "retarget_shoulder"),
    "lip": Known(0.037311, 7.3856e-05, 0.22, "retarget_mouth"),
    "eye": Known(0.144703, 2.87616e-04, 0.36, "retarget_eye"),
}
KNOWN_FRAME_MS = 18897.4
"""M, W, G and S of the authors' code on the Xeon; F is once per portrait."""
KNOWN_PARTS = {
    "W.mask": (140.45, ("dense_motion_network.mask",)),
    "W.hourglass, last": (71.36, ("dense_motion_network.hourglass.decoder.conv",)),
    "W.hourglass, down": (53.91, ("dense_motion_network.hourglass.encoder",)),
    "W.hourglass, up": (65.23, tuple(f"dense_motion_network.hourglass.decoder.up_blocks.{k}" for k in range(5))),
    "W.occlusion": (0.91, ("dense_motion_network.occlusion",)),
    "W.third, fourth": (10.2, ("third", "fourth")),
    "G.fc": (9.66, ("fc",)),
    "G.middle": (376.86, tuple(f"G_middle_{k}" for k in range(6))),
    "G.up_0": (187.9, ("up_0",)),
    "G.up_1": (316.22, ("up_1",)),
}
"""Where the work lies: GFLOP as published, and the modules."""
KNOWN_WARPS_MS = (148.3, 54.1)
"""The 22 sparse warps on the Xeon, without their heat: by `grid_sample`, and by the separable form."""
SMALL = 128
"""Side of the pictures on which the straightforward loop warms up, a quarter of the work."""
REPEATS = 20
"""Calls of what takes milliseconds."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `liveportrait-cpu`."""
    parser.add_argument("--size", type=int, default=256, choices=(128, 256), help="side of what the networks read")
    parser.add_argument("--frames", type=int, help="rounds (3; quick 1)")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch (default 1)")
    parser.add_argument("--dtypes", help="precisions of the engine's form (fp32,bf16; quick fp32)")
    parser.add_argument("--seed", type=int, default=1)


def run(options: argparse.Namespace) -> Result:
    """All ways on the same frames, one after the other for each frame."""
    frames = options.frames or (1 if options.quick else 3)
    dtypes = (options.dtypes or ("fp32" if options.quick else "fp32,bf16")).split(",")
    for name in dtypes:
        if name not in ("fp32", "bf16"):
            raise BadValue("--dtypes", name, "fp32, bf16 or both with a comma between")
    torch.set_num_threads(options.threads)
    settings = {
        "size": options.size, "frames": frames, "threads": options.threads, "weights": f"recipe:{options.seed}",
        "dtypes": dtypes,
    }  # fmt: skip
    result = Result("liveportrait-cpu", settings=settings, notes=[f"recipe weights: {NO_TRAINED_WEIGHTS}"])
    with torch.inference_mode():
        add_sizes(result, options.size)
        with _progress() as progress:
            task = progress.add_task("weights from the recipe", total=(1 + frames) * (1 + len(dtypes)))
            nets = load_networks(f"recipe:{options.seed}")
            ways: dict[str, Way] = {"straightforward": Straightforward(nets)}
            for name in dtypes:
                place = Placement(torch.device("cpu"), DTYPES[name])
                ways[f"engine {name}"] = Engine(FastLivePortrait(nets, place, 2 * options.size))

            rng = np.random.default_rng(options.seed)
            portrait, *driving = (as_input(smooth_noise(rng, options.size)) for _ in range(frames + 2))
            for k, x in enumerate(driving):
                for name, way in ways.items():
                    progress.update(task, description=f"{name}, {f'round {k} of {frames}' if k else 'warm-up'}")
                    small = SMALL if not k and name == "straightforward" else options.size  # it prepares nothing
                    way.round(portrait[..., :small, :small], x[..., :small, :small])
                    if not k:
                        way.forget()
                    progress.advance(task)
            progress.update(task, description="heads and sparse warps")
            _heads(result, nets)
            _warps(result, options.size)
    add_times(result, ways)
    return result


def counted(size: int) -> dict[str, FlopCounterMode]:
    """The work of one call of each network at `size` pixels, counted on no device at all."""
    with torch.device("meta"):
        nets = Networks()
        x, points = torch.zeros(1, 3, size, size), torch.zeros(1, KEYPOINTS, 3)
        volume = torch.zeros(1, VOLUME, DEPTH, size // 4, size // 4)
        features, one, two = torch.zeros(1, 256, size // 4, size // 4), torch.zeros(1, 2), torch.zeros(1, 3)
    calls: dict[str, Callable[[], Any]] = {
        "F": lambda: nets.appearance(x),
        "M": lambda: nets.motion(x),
        "W": lambda: nets.warp(volume, points, points),
        "G": lambda: nets.generate(features),
        "S": lambda: nets.stitch(points, points),
        "lip": lambda: nets.retarget_lip(points, one),
        "eye": lambda: nets.retarget_eye(points, two),
    }
    counters = {}
    for name, call in calls.items():
        with torch.inference_mode(), FlopCounterMode(display=False) as counters[name]:
            call()
    return counters


def add_sizes(result: Result, size: int) -> None:
    """Parameters and work of each network, and of the parts of W and G."""
    with torch.device("meta"):
        nets = Networks()
    share = (size / 256) ** 2
    for name, counter in counted(size).items():
        known = KNOWN[name]
        parameters = sum(p.numel() for p in nets.parts[known.part].parameters())
        result.add(f"{name}.parameters", parameters / 1e6, "M", about=f"published: {known.parameters:g}")
        published = known.work * (share if known.work > 1 else 1)
        result.add(f"{name}.work", counter.get_total_flops() / 1e9, "GFLOP", about=f"published: {published:.4g}")
        flops = counter.get_flop_counts()
        for part, (work, modules) in KNOWN_PARTS.items():
            if part.startswith(f"{name}."):
                total = sum(sum(_of_module(flops, module).values()) for module in modules)
                result.add(f"{part}.work", total / 1e9, "GFLOP", about=f"published: {work * share:.4g}")


def _of_module(flops: dict[str, dict[Any, int]], module: str) -> dict[Any, int]:
    return next((counts for name, counts in flops.items() if name.partition(".")[2] == module), {})


class Way:
    """One way to make frames, step by step. `spent`: CPU milliseconds of each step, `pictures`: what came out."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Nothing was measured yet."""
        self.spent: dict[str, list[float]] = {}
        self.pictures: list[Tensor] = []

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Counts what is inside as the step `name`."""
        begun = time.process_time()
        yield
        self.spent.setdefault(name, []).append(1000 * (time.process_time() - begun))

    def round(self, portrait: Tensor, x: Tensor) -> None:
        """The portrait and one frame, measured."""
        self.portrait(portrait)
        with self.step("frame"):
            self.pictures.append(self.frame(x))

    def portrait(self, x: Tensor) -> None:
        """Encodes the portrait (1, 3, S, S) in 0..1, in the step "F"; mirrored it is the driver's neutral face."""
        raise NotImplementedError

    def frame(self, x: Tensor) -> Tensor:
        """The picture in 0..1, float32, of a driving frame (1, 3, S, S) in 0..1, in steps."""
        raise NotImplementedError


class Straightforward(Way):
    """The definition."""

    def __init__(self, nets: Networks, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.nets, self.rules = nets, kp.Rules().tensor(device)
        self.heads = kp.Heads(nets.stitch, nets.retarget_eye, nets.retarget_lip)

    def portrait(self, x: Tensor) -> None:
        with self.step("F"):
            self.volume = self.nets.appearance(x)
        source, start = self.nets.motion(x), self.nets.motion(x.flip(3))
        self.canonical, self.code = source["kp"].unflatten(1, (KEYPOINTS, 3)), kp.code_of(source)
        self.home = kp.Motion.of(self.code).place(self.canonical)
        self.start = kp.code_of(start)

    def frame(self, x: Tensor) -> Tensor:
        with self.step("M"):
            code = kp.code_of(self.nets.motion(x))
        with self.step("keypoints"):
            driven = kp.drive(code, self.start, self.code, self.canonical, self.heads, self.rules)
        with self.step("W"):
            features = self.nets.warp(self.volume, self.home, driven)
        with self.step("G"):
            return self.nets.generate(features)


class Engine(Way):
    """The engine's form."""

    def __init__(self, net: FastLivePortrait) -> None:
        super().__init__()
        self.net, self.rules = net, kp.Rules().tensor()

    def portrait(self, x: Tensor) -> None:
        with self.step("F"):
            self.net.appearance(x.to(self.net.place.dtype))
        self.source = self.net.source(x)
        self.start = self.net.motion(x.flip(3))[0]

    def frame(self, x: Tensor) -> Tensor:
        with self.step("M"):
            code = self.net.motion(x)[0]
        with self.step("keypoints"):
            home, driven = self.net.keypoints(self.source, code, self.start, self.rules)
        with self.step("W"):
            features = self.net.warp(self.source.volume, self.source.thin, home, driven)
        with self.step("G"):
            return self.net.generate(features)


def add_times(result: Result, ways: dict[str, Way]) -> None:
    """The steps of each way, how much faster the others are than the first, and how far their pictures are apart."""
    base, *others = ways.items()
    for name, way in ways.items():
        for step, spent in way.spent.items():
            result.add(f"{step}.{name}", float(np.median(spent)), "ms", better="lower", samples=spent)
    for name, way in others:
        exact = name == "engine fp32"
        for step, spent in way.spent.items():
            ratios = [a / b for a, b in zip(base[1].spent[step], spent, strict=True) if b]
            result.add(
                f"{step}.{name}.faster", float(np.median(ratios)) if ratios else None, "x", better="higher",
                samples=ratios, target=1.25 if exact and step == "frame" else None,
            )  # fmt: skip
        apart = [(a - b).abs() for a, b in zip(way.pictures, base[1].pictures, strict=True)]
        largest, mean = max(float(a.max()) for a in apart), float(torch.stack(apart).mean())
        wanted = 1e-3 if exact else None
        result.add(f"{name}.largest difference", largest, "of 0..1", better="lower", target=wanted)
        result.add(f"{name}.mean difference", mean, "of 0..1", better="lower")


def _heads(result: Result, nets: Networks) -> None:
    """The three small networks, the same in both ways."""
    points, one, two = torch.zeros(1, KEYPOINTS, 3), torch.zeros(1, 2), torch.zeros(1, 3)
    calls: dict[str, Callable[[], Any]] = {
        "S": lambda: nets.stitch(points, points),
        "lip": lambda: nets.retarget_lip(points, one),
        "eye": lambda: nets.retarget_eye(points, two),
    }
    for name, call in calls.items():
        spent = _repeated(call)
        result.add(f"{name}.straightforward", float(np.median(spent)), "ms", better="lower", samples=spent)


def _warps(result: Result, size: int) -> None:
    """The 22 warps of the thin volume with their heat: by `grid_sample`, and as they are."""
    side = size // 4
    rng = torch.Generator().manual_seed(1)
    thin = torch.randn(1, THIN, DEPTH, side, side, generator=rng)
    source, driving = 0.3 * torch.randn(2, 1, KEYPOINTS, 3, generator=rng)
    fast = thin.contiguous(memory_format=torch.channels_last_3d)

    def sampled() -> Tensor:
        grid = identity_grid(DEPTH, side, side, thin)
        shifts = torch.nn.functional.pad(source - driving, (0, 0, 1, 0))
        moved = sample(thin.expand(MOTIONS, -1, -1, -1, -1), grid + shifts[0, :, None, None, None])
        heat = torch.nn.functional.pad(heats(grid, driving) - heats(grid, source), (0, 0, 0, 0, 0, 0, 1, 0))
        return torch.cat([heat[0, :, None], moved], 1)

    for way, call, ms in (
        ("straightforward", sampled, KNOWN_WARPS_MS[0]),
        ("engine fp32", lambda: kernels.keypoint_warp(fast, source, driving), KNOWN_WARPS_MS[1]),
    ):
        spent = _repeated(call)
        name, about = f"sparse warps.{way}", f"published: {ms:g}"
        result.add(name, float(np.median(spent)), "ms", better="lower", samples=spent, about=about)


def _repeated(call: Callable[[], Any]) -> list[float]:
    call()
    way = Way()
    for _ in range(REPEATS):
        with way.step(""):
            call()
    return way.spent[""]


def as_input(picture: np.ndarray) -> Tensor:
    """uint8 (S, S, 3) as float32 (1, 3, S, S) in 0..1."""
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


def show(result: Result, console: Console) -> None:
    """The networks beside what was published, then the ratios."""
    ways = ["straightforward", *(f"engine {name}" for name in result.settings["dtypes"])]
    titles = ("", "M parameters", "GFLOP", *(f"{way}, ms" for way in ways), "authors' code on a Xeon, ms")
    table = Table(*titles, title=f"LivePortrait at {result.settings['size']} px, CPU time, medians")
    for name, known in KNOWN.items():
        sizes = [_beside(result, f"{name}.parameters"), _beside(result, f"{name}.work")]
        table.add_row(name, *sizes, *(cell(result.get(f"{name}.{way}")) for way in ways), number(known.ms))
    for name, ms in (("frame", KNOWN_FRAME_MS), ("sparse warps", KNOWN_WARPS_MS[0])):
        table.add_row(name, "", "", *(cell(result.get(f"{name}.{way}")) for way in ways), number(ms))
    console.print(table)
    more = Table("figure", "value", "unit", "target", "", title=f"{result.seconds:.0f} s")
    for figure in result.figures:
        part = figure.name.removesuffix(".work")
        if part in KNOWN_PARTS or "faster" in figure.name or "difference" in figure.name:
            more.add_row(figure.name, cell(figure), figure.unit, target(figure), figure.about)
    console.print(more)
    show_notes(result, console)


def _beside(result: Result, name: str) -> str:
    figure = result.get(name)
    return "" if figure is None else f"{number(figure.value)} ({figure.about})"
