"""LivePortrait's golden vectors: made-up inputs, and outputs held against them as shares of an array's own rms."""

from __future__ import annotations

import zlib

import numpy as np
import torch


def picture(vectors: np.lib.npyio.NpzFile, tag: str) -> torch.Tensor:
    """The stored network input `tag`: float32 (1, 3, S, S) in 0..1."""
    u = np.cumsum(vectors[f"in.{tag}_dx"], axis=2, dtype=np.uint8)
    return torch.from_numpy(u[None].astype(np.float32) / 255)


def field(kind: str, channels: int, size: int, seed: int) -> torch.Tensor:
    """A made-up inner input: "volume" (1, C, 16, size, size) or "map" (1, C, size, size), exact in float32."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(f"{kind}:feature".encode()) ^ seed))
    sides = (16, size, size) if kind == "volume" else (size, size)
    a = generator.integers(-128, 128, size=(channels, *[side // 4 + 1 for side in sides])).astype(np.float64)
    for k, side in enumerate(sides):
        at, f = np.arange(side) // 4, (np.arange(side) % 4) / 4
        f = f.reshape([-1 if axis == k + 1 else 1 for axis in range(a.ndim)])
        a = a.take(at, k + 1) * (1 - f) + a.take(at + 1, k + 1) * f
    return torch.from_numpy((a / 64).astype(np.float32))[None]


class Shares:
    """Collects the differences of one run."""

    def __init__(self, vectors: np.lib.npyio.NpzFile) -> None:
        self.vectors = vectors
        self.checked: set[str] = set()

    def exact(self, key: str, value: torch.Tensor, share: float) -> None:
        """Every number within that share of the stored array's rms, and what rounding it to 16 bits took."""
        want = np.asarray(self.vectors[key], np.float64)
        got = value.detach().double().numpy().reshape(want.shape)
        off = float((np.abs(got - want) - 7.7e-6 * np.abs(want)).max())
        rms = float(np.sqrt(np.square(want).mean()))
        self.checked.add(key)
        assert off <= share * rms, f"{key}: off by {off / rms:.3g} of its rms, allowed {share:.3g}"

    def map(self, name: str, value: torch.Tensor, share: float) -> None:
        """A map (1, C, H, W) or volume (1, C, D, H, W) against whichever summaries of it are stored."""
        x = value[0]
        c, h = x.shape[0], x.shape[-1]
        parts = {"mean": x.flatten(1).mean(1), "std": x.flatten(1).std(1, correction=0)}
        if x.ndim == 3:
            first = x[: min(8, c)]
            stored = self.vectors[f"{name}.pool"].shape[-1] if f"{name}.pool" in self.vectors else min(16, h)
            parts["pool"] = first.reshape(len(first), stored, h // stored, stored, h // stored).mean((2, 4))
        else:
            whole = x[:4]
            first = whole[:, [0, x.shape[1] // 2, x.shape[1] - 1]]
            parts["all4"] = whole
            if h >= 8:
                parts["pool"] = whole.reshape(*whole.shape[:2], 8, h // 8, 8, h // 8).mean((3, 5))
        at = (h - 8) // 2
        parts |= {"tl": first[..., :8, :8], "br": first[..., -8:, -8:], "ctr": first[..., at : at + 8, at : at + 8]}
        for part, got in parts.items():
            if f"{name}.{part}" in self.vectors:
                self.exact(f"{name}.{part}", got, share)

    def warp(self, name: str, trace: dict[str, torch.Tensor], share: float) -> None:
        """What the warp noted on its way, under the names of the set `name`."""
        for key, value in trace.items():
            full = f"{name}.{key}"
            if key == "deformed":  # (1, 22, 4, D, H, W)
                stored = {"sub": value[0, :, :, ::5, ::8, ::8], "mean": value[0].mean((2, 3, 4)),
                          "std": value[0].std((2, 3, 4), correction=0)}  # fmt: skip
            elif key == "deformation":  # (1, D, H, W, 3)
                stored = {"sub": value[0, ::3, ::4, ::4], "d8": value[0, 8, ::2, ::2], "mean": value[0].mean((1, 2)),
                          "std": value[0].std((1, 2), correction=0)}  # fmt: skip
            elif key in ("mask", "mask_logit"):
                stored = {"sub": value[0, :, ::5, ::8, ::8], "mean": value[0].mean((1, 2, 3)),
                          "std": value[0].std((1, 2, 3), correction=0)}  # fmt: skip
            elif key == "heat":
                stored = {"sub": value[0, :, ::3, ::4, ::4]}
            elif key == "occlusion":
                self.exact(full, value, share)
                continue
            else:
                self.map(full, value, share)
                stored = {"sub": value[0, ::8, ::8, ::8]} if key == "out" else {}
            for part, got in stored.items():
                if f"{full}.{part}" in self.vectors:
                    self.exact(f"{full}.{part}", got, share)

    def image(self, name: str, value: torch.Tensor, share: float) -> None:
        """The picture (1, 3, S, S) in 0..1."""
        x = value[0]
        s, at = x.shape[-1], (x.shape[-1] - 64) // 2
        self.exact(f"{name}.image_pool", x.reshape(3, 64, s // 64, 64, s // 64).mean((2, 4)), share)
        self.exact(f"{name}.image_crop", x[:, at : at + 64, at : at + 64], share)
        self.exact(f"{name}.image_tl", x[:, :32, :32], share)
        self.exact(f"{name}.image_br", x[:, -32:, -32:], share)
        self.exact(f"{name}.image_sub", x[:, 1::8, 2::8], share)

    def unchecked(self) -> set[str]:
        """Stored results that nothing was held against."""
        return {k for k in self.vectors.files if not k.startswith(("in.", "meta."))} - self.checked
