"""Golden vectors of the neural networks: where they are, how they are read, and how an output is held against them.

A set belongs to recipe weights (`realtime.engines.weights.recipe`), so no weight file is needed. All sets lie in
`tests/data`, whose README says what each holds, where it comes from and how near an output has to be.
"""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch

DATA = Path(__file__).parents[1] / "data"


def reference(*names: str) -> Path:
    """The file `names` of the golden sets: reference("lia", "manifest.json")."""
    return DATA.joinpath(*names)


def manifest(path: Path, prefix: str = "") -> dict[str, tuple[int, ...]]:
    """Names and shapes of a published checkpoint, in its order; `prefix` selects and is taken off."""
    entries = json.loads(path.read_text())["entries"]
    return {e["key"][len(prefix) :]: tuple(e["shape"]) for e in entries if e["key"].startswith(prefix)}


def made_picture(tag: str, size: int, seed: int) -> np.ndarray:
    """The made-up picture `tag`: int8 (3, size, size), value noise of four scales. Every step is exact, so that all
    machines make the same."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(f"image:{tag}".encode()) ^ seed))
    total = np.zeros((3, size, size))
    for cells, amplitude in ((2, 0.75), (8, 0.5), (32, 0.25), (64, 0.125)):
        lattice = generator.integers(-128, 128, size=(3, cells + 1, cells + 1)).astype(np.float64)
        step = size // cells
        at, f = np.arange(size) // step, (np.arange(size) % step) / step
        rows = lattice[:, at] * (1 - f)[None, :, None] + lattice[:, at + 1] * f[None, :, None]
        total += amplitude * (rows[:, :, at] * (1 - f) + rows[:, :, at + 1] * f)
    return np.clip(np.floor(total + 0.5), -128, 127).astype(np.int8)


def picture(vectors: np.lib.npyio.NpzFile, tag: str, made_as: str | None = None) -> torch.Tensor:
    """The network input `tag`: float32 (1, 3, S, S) in [-1, 1). It is stored, or made again under its name in the
    recipe, `made_as`; then its size and checksum are stored."""
    if f"in.{tag}_q" in vectors:
        q = vectors[f"in.{tag}_q"]
    else:
        size, checksum = vectors[f"in.{tag}_made"].tolist()
        q = made_picture(made_as or tag, size, int(vectors["meta.seed"]))
        assert zlib.crc32(q.tobytes()) == checksum, f"{tag}: numpy makes other numbers than the recipe's"
    return torch.from_numpy(q.astype(np.float32) / 128)[None]


def pooled(x: torch.Tensor, side: int) -> torch.Tensor:
    """Block average of (C, H, H) down to `side` x `side`, or H where that is smaller."""
    c, h, _ = x.shape
    n = min(side, h)
    return x.double().reshape(c, n, h // n, n, h // n).mean((2, 4))


class Comparison:
    """Collects the differences of one run; `worst` names the largest one relative to its tolerance."""

    def __init__(self, vectors: np.lib.npyio.NpzFile) -> None:
        self.vectors = vectors
        self.checked: set[str] = set()
        self.worst: tuple[float, str] = (0.0, "")

    def exact(self, key: str, value: torch.Tensor, tolerance: float) -> None:
        """Every number within `tolerance`."""
        want = torch.from_numpy(np.asarray(self.vectors[key], np.float64))
        got = value.detach().double().reshape(want.shape)
        self._note(key, float((got - want).abs().max()), tolerance)

    def crop(self, key: str, value: torch.Tensor, tolerance: float) -> None:
        """Every number within `tolerance`, and 99.9 % of them within a tenth of it."""
        want = torch.from_numpy(np.asarray(self.vectors[key], np.float64))
        difference = (value.detach().double().reshape(want.shape) - want).abs().flatten()
        self._note(key, float(difference.max()), tolerance)
        self._note(key + " (99.9 %)", float(difference.quantile(0.999)), tolerance / 10)

    def map(self, name: str, value: torch.Tensor, pools: float, crops: float) -> None:
        """A feature map (1, C, H, W) against whichever summaries of it are stored."""
        x = value[0]
        c, h = x.shape[0], x.shape[-1]
        first, at = x[: min(8, c)], (h - 8) // 2
        if f"{name}.mean" in self.vectors:
            self.exact(f"{name}.mean", x.mean((1, 2)), pools)
            self.exact(f"{name}.std", x.std((1, 2), correction=0), pools)
        pool = f"{name}.pool"
        if pool in self.vectors:
            self.exact(pool, pooled(first, self.vectors[pool].shape[-1]), pools)
        corners = {"tl": first[:, :8, :8], "br": first[:, -8:, -8:], "ctr": first[:, at : at + 8, at : at + 8]}
        for corner, part in corners.items():
            if f"{name}.{corner}" in self.vectors:
                self.exact(f"{name}.{corner}", part, crops)

    def image(self, mode: str, value: torch.Tensor, pools: float, crops: float) -> None:
        """The picture (1, 3, S, S) of a mode against its stored block mean and whichever crops are stored."""
        x = value[0]
        s = x.shape[-1]
        at = (s - 64) // 2
        self.exact(f"{mode}.image_pool", pooled(x, 64), pools)
        if f"{mode}.image_crop" in self.vectors:
            corner = self.vectors[f"{mode}.image_tl"].shape[-1]
            self.crop(f"{mode}.image_crop", x[:, at : at + 64, at : at + 64], crops)
            self.crop(f"{mode}.image_tl", x[:, :corner, :corner], crops)
            self.crop(f"{mode}.image_br", x[:, -corner:, -corner:], crops)
        if f"{mode}.image_f16" in self.vectors:
            self.exact(f"{mode}.image_f16", x, crops + 2e-3)

    def _note(self, key: str, error: float, tolerance: float) -> None:
        self.checked.add(key.removesuffix(" (99.9 %)"))
        if error / tolerance > self.worst[0]:
            self.worst = (error / tolerance, key)
        assert error <= tolerance, f"{key}: off by {error:.3g}, allowed {tolerance:.3g}"

    def unchecked(self) -> set[str]:
        """Stored results that nothing was held against."""
        return {k for k in self.vectors.files if not k.startswith(("in.", "meta."))} - self.checked
