"""CPU time of one frame of LIA at 256 pixels: the straightforward loop against the engine.

    python -m benchmarks.lia_cpu [--frames 10] [--threads 1] [--size 256]

The straightforward loop is the definition, frame by frame, as a script written from the paper has it: the portrait is
encoded again for every frame, the dictionary is orthonormalised again in each of its three uses, every weight is
scaled and modulated when it is used, and the sampling grids are built anew. Both run interleaved in one process on
recipe weights (no trained weights), so that a busy machine disturbs both alike; process CPU time is what is compared.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

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
