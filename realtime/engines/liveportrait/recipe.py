"""LivePortrait's weights from a recipe: no trained weights (see `realtime.engines.weights.recipe`).

The numbers are those of the golden vectors: unit normals from the name, of the size that He's rule gives a layer;
some heads and modulations are set smaller or larger, so that poses, masks and pictures vary and nothing saturates.
"""

from __future__ import annotations

import re
import zlib

import numpy as np
import torch
from torch import Tensor, nn

_FACTORS: tuple[tuple[str, float], ...] = (
    (r"appearance_feature_extractor\.second\.weight", 0.4),
    (r"appearance_feature_extractor\.resblocks_3d\..*\.conv2\.weight", 0.5),
    (r"motion_extractor\.detector\.fc_(pitch|yaw|roll)\.weight", 2.0),
    (r"motion_extractor\.detector\.fc_t\.weight", 0.1),
    (r"motion_extractor\.detector\.fc_exp\.weight", 0.05),
    (r"motion_extractor\.detector\.fc_kp\.weight", 0.25),
    (r"warping_module\.dense_motion_network\.occlusion\.weight", 0.3),
    (r"spade_generator\..*\.mlp_gamma\.weight", 0.3),
    (r"spade_generator\..*\.mlp_beta\.weight", 0.5),
    (r"retarget_shoulder\.mlp\.6\.weight", 0.05),
    (r"retarget_mouth\.mlp\.6\.weight", 0.1),
    (r"retarget_eye\.mlp\.10\.weight", 0.1),
)
"""What a convolution's or a linear layer's weight is multiplied with, beyond He's rule."""

_FIXED: tuple[tuple[str, float, float], ...] = (
    (r"motion_extractor\.detector\.fc_scale\.weight", 0.01, 0.0),
    (r"motion_extractor\.detector\.fc_scale\.bias", 0.05, 1.5),
    (r"motion_extractor\.detector\.fc_t\.bias", 0.02, 0.0),
    (r"motion_extractor\.detector\.fc_exp\.bias", 0.005, 0.0),
    (r"motion_extractor\.detector\.fc_kp\.bias", 0.1, 0.0),
    (r"warping_module\.dense_motion_network\.occlusion\.bias", 0.1, 0.5),
    (r"retarget_(shoulder\.mlp\.6|mouth\.mlp\.6|eye\.mlp\.10)\.bias", 0.005, 0.0),
    (r".*\.grn\.gamma", 0.5, 0.0),
    (r".*\.weight_orig", 0.05, 0.0),
    (r".*\.running_mean", 0.2, 0.0),
    (r".*\.(bias|beta)", 0.1, 0.0),
)
"""Scale and offset of everything that He's rule says nothing of; the first pattern that matches holds."""


def _rounded(x: float) -> float:
    """To four significant digits, as the vectors were made."""
    return float(f"{x:.4g}")


def scale_and_offset(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Of the normals of the parameter or buffer `name`, which begins with its network's name."""
    for pattern, scale, offset in _FIXED:
        if re.fullmatch(pattern, name):
            return scale, offset
    if len(shape) == 1:  # a normalisation's weight
        return 0.2, 1.0
    scale = _rounded((2.0 / int(np.prod(shape[1:]))) ** 0.5)
    factor = next((f for pattern, f in _FACTORS if re.fullmatch(pattern, name)), 1.0)
    return (scale if factor == 1.0 else _rounded(scale * factor)), 0.0


def tensor(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """The value of a parameter or buffer, all but a spectral norm's v."""
    if name.endswith("num_batches_tracked"):
        return torch.tensor(1)
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode()) ^ seed))
    values = generator.standard_normal(size=shape, dtype=np.float32)
    if name.endswith("running_var"):
        values = values * values * np.float32(0.5) + np.float32(0.5)
    elif name.endswith("weight_u"):
        exact = values.astype(np.float64)
        values = (exact / np.sqrt(np.square(exact).sum())).astype(np.float32)
    else:
        scale, offset = scale_and_offset(name, shape)
        values = values * np.float32(scale) + np.float32(offset)
    return torch.from_numpy(values)


def state(network: str, net: nn.Module, seed: int) -> dict[str, Tensor]:
    """A whole state dict for `net`, which may live on the meta device."""
    made: dict[str, Tensor] = {}
    for key, like in net.state_dict().items():
        if not key.endswith("weight_v"):
            made[key] = tensor(f"{network}.{key}", tuple(like.shape), seed)
    for key in net.state_dict():
        if key.endswith("weight_v"):  # W^T u over its norm
            weight, u = made[key[: -len("_v")] + "_orig"].double(), made[key[: -len("_v")] + "_u"].double()
            v = weight.flatten(1).T @ u
            made[key] = (v / v.norm()).float()
    return made
