"""Weights from a recipe: seeded noise of a size that keeps latents, flows and pictures lively.

They make speed and parity measurable without a weight file: any machine gets the same numbers from the parameter
names alone. A network filled this way has learnt nothing; everything that shows its pictures must say so
(`NO_TRAINED_WEIGHTS`).
"""

from __future__ import annotations

import re
import zlib

import numpy as np
import torch
from torch import Tensor, nn

from realtime.errors import BadValue

NO_TRAINED_WEIGHTS = "no trained weights"
PREFIX = "recipe:"

# The factor on unit normals, by the first pattern that a parameter's name matches.
_SCALES: tuple[tuple[str, float], ...] = (
    (r"\.norm\.weight$", 1.0),
    (r"bias$", 0.1),
    (r"\.gamma$", 0.25),
    (r"\.noise\.weight$", 0.5),
    (r"\.modulation\.weight$", 1.0),
    (r"^enc\.enc_2r\.block8\.weight$", 3.0),
    (r"^enc\.enc_r2t\.0\.weight$", 2.0),
    (r"^enc\.fc\.4\.weight$", 3.0),
    (r"^dec\.to_rgbs?\d*\.(\d+\.)?conv\.0\.weight$", 2.0),
    (r"^dec\.to_flows\.\d+\.conv\.weight$", 0.6),
    (r"^dec\.conv\w+_2_rgb\.", 0.85),
    (r"^dec\.conv\w+_2_up\.", 0.7),
    (r"^dec\.rgb\w+\.conv\.0\.weight$", 0.9),
    (r"^dec\.flow\w+\.conv\.weight$", 0.45),
)


def parse_seed(weights: str) -> int:
    """The seed in "recipe:SEED". Raises BadValue."""
    text = weights.removeprefix(PREFIX)
    if not weights.startswith(PREFIX) or not text.isdecimal():
        raise BadValue("weights", weights, "a recipe is written recipe:SEED, as in recipe:1")
    return int(text)


def scale_of(key: str) -> float:
    """Standard deviation of the recipe for the parameter `key`."""
    if re.fullmatch(r"enc\.net_app\.convs\.\d+\.weight", key):  # LIA's last convolution, to the latent
        return 4.0
    return next((scale for pattern, scale in _SCALES if re.search(pattern, key)), 1.0)


def recipe_tensor(key: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """float32 normals from the bit generator PCG64(crc32(key) xor seed), times `scale_of`."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()) ^ seed))
    values = generator.standard_normal(size=shape, dtype=np.float32)
    values *= np.float32(scale_of(key))
    return torch.from_numpy(values)


def fill(net: nn.Module, seed: int) -> None:
    """Overwrites every parameter of `net` (on the CPU or on a device) by its recipe values; filters stay."""
    with torch.no_grad():
        for key, parameter in net.named_parameters():
            parameter.copy_(recipe_tensor(key, tuple(parameter.shape), seed))


def state_dict(net: nn.Module, seed: int) -> dict[str, Tensor]:
    """A whole state dict for `net` (which may live on the meta device, except for its filters)."""
    parameters = {k: recipe_tensor(k, tuple(p.shape), seed) for k, p in net.named_parameters()}
    return {k: parameters.get(k, v) for k, v in net.state_dict().items()}
