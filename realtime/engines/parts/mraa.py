"""MRAA's motion estimator: the affine matrix of a part is the shape of its heat map.

Source: Siarohin et al., "Motion Representations for Articulated Animation", CVPR 2021, section 3.2: the mean of a
heat map is the keypoint, and the principal axes of its covariance, each as long as the standard deviation along it,
are the columns of the affine matrix. Written from the paper; module names are our own.
"""

from __future__ import annotations

import torch
from torch import Tensor

from realtime.engines.parts.fomm import HeatMaps, heat_mean
from realtime.engines.parts.motion import PartMotion, coordinate_grid, full_precision


@full_precision
def heat_covariance(heat: Tensor, mean: Tensor) -> Tensor:
    """Covariance (B, K, 2, 2) of heat maps (B, K, H, W) around their means (B, K, 2)."""
    grid = coordinate_grid(heat.shape[2], heat.shape[3], heat)
    away = grid - mean[:, :, None, None, :]  # (B, K, H, W, 2)
    return torch.einsum("bkhw,bkhwi,bkhwj->bkij", heat, away, away)


def principal_affine(covariance: Tensor, least: float = 1e-6) -> Tensor:
    """U S^(1/2) of symmetric positive (..., 2, 2) matrices: longest axis first, each axis of a length that is the
    standard deviation along it.

    In closed form: the eigenvalues are m +- r with m half the trace, and the longer axis lies at half the angle of
    (a - c, 2 b). Its derivative stays finite for a round heat map, where that of a general decomposition does not.
    The axis points to +x (an axis has no sign; a fixed rule keeps it steady from frame to frame).
    """
    a, b, c = covariance[..., 0, 0], covariance[..., 0, 1], covariance[..., 1, 1]
    middle, half = (a + c) / 2, (a - c) / 2
    radius = torch.sqrt(half.square() + b.square() + least**2)
    cos2 = half / radius  # cosine of twice the angle
    cos = torch.sqrt(((1 + cos2) / 2).clamp(min=least))
    sin = b / radius / (2 * cos)
    long = torch.sqrt((middle + radius).clamp(min=least))
    short = torch.sqrt((middle - radius).clamp(min=least))
    rows = torch.stack([torch.stack([cos * long, -sin * short], -1), torch.stack([sin * long, cos * short], -1)], -2)
    return rows


class MraaEstimator(HeatMaps):
    """Picture (B, 3, H, W) in 0..1, H and W multiples of 4 * 2**blocks, to `PartMotion` of K parts."""

    def __init__(
        self, parts: int = 10, *, base: int = 32, blocks: int = 5, limit: int = 1024, temperature: float = 0.1
    ) -> None:
        super().__init__("regions", parts, base=base, blocks=blocks, limit=limit, temperature=temperature, padding=3)

    def forward(self, picture: Tensor) -> PartMotion:
        heat, _ = self.heat(picture)
        mean = heat_mean(heat)
        return PartMotion(mean, principal_affine(heat_covariance(heat, mean)))
