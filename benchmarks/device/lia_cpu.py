"""CPU time of one frame of LIA: the straightforward loop against the engine, in fp32 and bf16.

The straightforward loop is the definition, frame by frame, as a script written from the paper has it: the portrait is
encoded again for every frame, the dictionary is orthonormalised again in each of its three uses, every weight is
scaled and modulated when it is used, and the sampling grids are built anew. All ways run interleaved in one process,
on recipe weights (no trained weights) and pictures of smooth noise, so that a busy machine disturbs them alike. What
is compared is the process's CPU time from a uint8 driving frame to a uint8 picture.

  python -m benchmarks lia-cpu --frames 10 --json lia_cpu.json
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.report.result import Result
from realtime import load_engine
from realtime.engines.latent.lia import Lia
from realtime.engines.neural.engine import NeuralEngine
from realtime.engines.weights.recipe import NO_TRAINED_WEIGHTS, fill

Weights = dict[str, Tensor]


class StraightforwardLia:
    """LIA from a state dict, written from its definition with nothing kept between frames."""

    def __init__(self, weights: Weights, size: int) -> None:
        self.w, self.size = weights, size
        self.blocks = int(math.log2(size)) - 2

    def frame(self, portrait: Tensor, driving: Tensor, start: Tensor) -> Tensor:
        """Portrait and driving frame (1, 3, S, S) in [-1, 1], code of the first driving frame (1, 20) -> picture."""
        z, feats = self.encode(portrait)
        source = self.code(z)
        target = self.code(self.encode(driving)[0])
        return self.decode(z + (self.direction(target) - self.direction(start)) + self.direction(source), feats)

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        p = "enc.net_app.convs."
        x = self.act(self.conv(x, p + "0.0"), p + "0.1")
        feats = [x]
        for k in range(1, self.blocks + 1):
            b = f"{p}{k}."
            h = self.act(self.conv(x, b + "conv1.0", padding=1), b + "conv1.1")
            h = self.act(self.conv(self.fir(h, b + "conv2.0", 2, 2), b + "conv2.1", stride=2), b + "conv2.2")
            x = (h + self.conv(self.fir(x, b + "skip.0", 1, 1), b + "skip.1", stride=2)) / math.sqrt(2)
            feats.append(x)
        return self.conv(x, f"{p}{self.blocks + 1}").flatten(1), feats[-2::-1]

    def code(self, z: Tensor) -> Tensor:
        for k in range(5):
            z = self.linear(z, f"enc.fc.{k}")
        return z

    def direction(self, code: Tensor) -> Tensor:
        q, _ = torch.linalg.qr(self.w["dec.direction.weight"] + 1e-8)
        return (torch.diag_embed(code) @ q.T).sum(1)

    def decode(self, z: Tensor, feats: list[Tensor]) -> Tensor:
        h = self.styled(self.w["dec.input.input"], z, "dec.conv1")
        rgb: Tensor | None = None
        logits: Tensor | None = None
        for k, feature in enumerate(feats):
            h = self.styled(h, z, f"dec.convs.{2 * k}", up=True)
            h = self.styled(h, z, f"dec.convs.{2 * k + 1}")
            flow, colour = f"dec.to_flows.{k}", f"dec.to_rgbs.{k}"
            raw = self.modulated(h, z, flow + ".conv", demodulate=False) + self.w[flow + ".bias"]
            if logits is not None:
                raw = raw + self.up2(logits, flow + ".upsample")
            logits = raw
            axis = np.linspace(-1, 1, h.shape[-1])
            grid = torch.from_numpy(np.stack(np.meshgrid(axis, axis), -1)[None].astype(np.float32))
            grid = grid + torch.tanh(raw[:, :2]).permute(0, 2, 3, 1)
            mask = torch.sigmoid(raw[:, 2:])
            warped = F.grid_sample(feature, grid, align_corners=False) * mask
            h = warped + (1 - mask) * h
            new = self.act(self.conv(warped, colour + ".conv.0"), colour + ".conv.1") + self.w[colour + ".bias"]
            rgb = new if rgb is None else new + self.up2(rgb, colour + ".upsample")
        assert rgb is not None
        return rgb

    def styled(self, h: Tensor, z: Tensor, name: str, up: bool = False) -> Tensor:
        return self.act(self.modulated(h, z, name + ".conv", up=up), name + ".activate")

    def modulated(self, h: Tensor, z: Tensor, name: str, up: bool = False, demodulate: bool = True) -> Tensor:
        weight = self.w[name + ".weight"]  # (1, out, in, k, k)
        _, _, c_in, k, _ = weight.shape
        style = self.linear(z, name + ".modulation").view(-1, 1, c_in, 1, 1)
        weight = weight / math.sqrt(c_in * k * k) * style
        if demodulate:
            weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        if up:
            h = F.conv_transpose2d(h, weight[0].transpose(0, 1), stride=2)
            return self.fir(h, name + ".blur", 1, 1)
        return F.conv2d(h, weight[0], padding=k // 2)

    def conv(self, x: Tensor, name: str, stride: int = 1, padding: int = 0) -> Tensor:
        weight = self.w[name + ".weight"]
        return F.conv2d(x, weight / math.sqrt(weight[0].numel()), stride=stride, padding=padding)

    def linear(self, x: Tensor, name: str) -> Tensor:
        weight = self.w[name + ".weight"]
        return F.linear(x, weight / math.sqrt(weight.shape[1]), self.w[name + ".bias"])

    def act(self, x: Tensor, name: str) -> Tensor:
        return F.leaky_relu(x + self.w[name + ".bias"], 0.2) * math.sqrt(2)

    def fir(self, x: Tensor, name: str, before: int, after: int) -> Tensor:
        b, c, h, w = x.shape
        x = F.pad(x.reshape(b * c, 1, h, w), (before, after, before, after))
        x = F.conv2d(x, self.w[name + ".kernel"][None, None])
        return x.reshape(b, c, x.shape[2], x.shape[3])

    def up2(self, x: Tensor, name: str) -> Tensor:
        b, c, h, w = x.shape
        spread = x.new_zeros(b, c, 2 * h, 2 * w)
        spread[:, :, ::2, ::2] = x
        return self.fir(spread, name, 2, 1)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `lia-cpu`."""
    parser.add_argument("--size", type=int, default=256, help="side of the network, 64, 128 or 256")
    parser.add_argument("--frames", type=int, help="frames of each way (12; quick 4)")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch")
    parser.add_argument("--seed", type=int, default=1)


def run(options: argparse.Namespace) -> Result:
    """All ways on the same frames, one after the other for each frame."""
    frames, size = options.frames or (4 if options.quick else 12), options.size
    torch.set_num_threads(options.threads)
    settings = {"size": size, "frames": frames, "threads": options.threads, "weights": f"recipe:{options.seed}"}
    result = Result("lia-cpu", settings=settings, notes=[f"recipe weights: {NO_TRAINED_WEIGHTS}"])
    with torch.inference_mode():
        _compare(result, size, frames, options.seed)
    return result


def _compare(result: Result, size: int, frames: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    portrait, driving = smooth_noise(rng, size), [smooth_noise(rng, size) for _ in range(frames + 1)]
    net = Lia(size)
    fill(net, seed)
    straight = StraightforwardLia(net.state_dict(), size)
    x = as_input(portrait)
    start = straight.code(straight.encode(as_input(driving[0]))[0])
    ways: dict[str, Way] = {"straightforward": Way(lambda frame: straight.frame(x, as_input(frame), start))}
    for dtype in ("fp32", "bf16"):
        ways[f"engine {dtype}"] = engine_way(size, seed, dtype, portrait, driving[0])
    for n, frame in enumerate(driving):
        truth: Tensor | None = None
        for way in ways.values():
            used, rgb = way.measure(frame)
            truth = rgb if truth is None else truth
            if n:  # the first frame warms up
                way.spent.append(used)
                way.apart.append((rgb - truth).abs())
    base = ways.pop("straightforward")
    result.add("straightforward.cpu", float(np.median(base.spent)), "ms", better="lower", samples=base.spent)
    for name, way in ways.items():
        exact = name == "engine fp32"
        ratios = [a / b for a, b in zip(base.spent, way.spent, strict=True)]
        apart = torch.stack(way.apart)
        result.add(f"{name}.cpu", float(np.median(way.spent)), "ms", better="lower", samples=way.spent)
        result.add(
            f"{name}.faster", float(np.median(ratios)), "x", better="higher", samples=ratios,
            target=2.5 if exact else None,
        )  # fmt: skip
        largest = float(apart.max())
        result.add(
            f"{name}.largest difference", largest, "of [-1, 1]", better="lower", target=1e-3 if exact else None
        )
        result.add(f"{name}.mean difference", float(apart.mean()), "of [-1, 1]", better="lower")


class Way:
    """One way to make frames; `spent`: CPU ms per frame, `apart`: differences of pictures."""

    def __init__(self, frame: Callable[[np.ndarray], Tensor], picture: Callable[[], Tensor] | None = None) -> None:
        self._frame, self._picture = frame, picture
        self.spent: list[float] = []
        self.apart: list[Tensor] = []

    def measure(self, driving: np.ndarray) -> tuple[float, Tensor]:
        """CPU milliseconds, and the picture before it became bytes."""
        begun = time.process_time()
        out = self._frame(driving)
        used = 1000 * (time.process_time() - begun)
        return used, out if self._picture is None else self._picture()


def engine_way(size: int, seed: int, dtype: str, portrait: np.ndarray, first: np.ndarray) -> Way:
    """The engine as a session uses it: encode, then render."""
    engine = load_engine("lia", size=size, weights=f"recipe:{seed}", device="cpu", dtype=dtype, crop="none")
    assert isinstance(engine, NeuralEngine)
    engine.set_portrait(portrait)
    start = engine.reference = engine.encode(first)
    assert start is not None
    z, feats = engine.net.encode(as_input(portrait))
    feats = engine.net.features(feats)
    code = start

    def frame(driving: np.ndarray) -> Tensor:
        nonlocal code
        seen = engine.encode(driving)
        assert seen is not None
        code = seen
        return torch.from_numpy(engine.render(code))

    def picture() -> Tensor:
        change = torch.from_numpy(code.values - start.values)[None] + engine.net.alpha(z)
        return engine.net.decode(z + engine.net.move(change), feats)

    return Way(frame, picture)


def smooth_noise(rng: np.random.Generator, size: int) -> np.ndarray:
    """A picture with structure at all scales, as photographs have: uint8 (S, S, 3)."""
    layers = [(4, 0.75), (8, 0.5), (32, 0.25)]
    total = torch.zeros(1, 3, size, size, dtype=torch.float64)
    for n, amount in layers:
        total += amount * F.interpolate(
            torch.from_numpy(rng.uniform(-1, 1, (1, 3, n, n))), (size, size), mode="bilinear"
        )
    return (127.5 + 100 * total[0]).clamp(0, 255).round().byte().permute(1, 2, 0).contiguous().numpy()


def as_input(picture: np.ndarray) -> Tensor:
    """uint8 (S, S, 3) as float32 (1, 3, S, S) in [-1, 1]."""
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 127.5 - 1.0
