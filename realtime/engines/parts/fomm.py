"""FOMM's motion estimator: keypoints and Jacobians from heat maps.

Source: Siarohin et al., "First Order Motion Model for Image Animation", NeurIPS 2019. Each part has a heat map; its
mean is the keypoint and the heat-weighted mean of a Jacobian map is the affine matrix. Module names are those of
`kp_detector` in the published checkpoints.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from realtime.engines.parts.motion import Hourglass, PartMotion, SmoothDown, coordinate_grid, dtype_of, full_precision


@full_precision
def heat_mean(heat: Tensor) -> Tensor:
    """Mean coordinate (B, K, 2) of heat maps (B, K, H, W) that each sum to 1."""
    grid = coordinate_grid(heat.shape[2], heat.shape[3], heat)
    return torch.einsum("bkhw,hwc->bkc", heat, grid)


class HeatMaps(nn.Module):
    """A quarter-size hourglass and a 7x7 head: what FOMM and MRAA have in common.

    Gives the heat maps (B, K, h, w), each summing to 1, and the features they come from. padding: 0 as FOMM
    (the maps lose 3 pixels on each side, so that a keypoint cannot sit in the border), or 3.
    """

    def __init__(
        self, head: str, parts: int, *, base: int, blocks: int, limit: int, temperature: float, padding: int
    ) -> None:
        super().__init__()
        self.predictor = Hourglass(3, base, blocks, limit)
        self.head = head
        self.add_module(head, nn.Conv2d(self.predictor.out_channels, parts, 7, padding=padding))
        self.temperature = temperature
        self.down = SmoothDown(3, 4)

    def heat(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        features = self.predictor(self.down(picture).to(dtype_of(self.predictor)))
        raw = self.read(self.head, features)
        heat = torch.softmax(raw.flatten(2) / self.temperature, dim=2).view_as(raw)
        return heat, features

    @full_precision
    def read(self, head: str, features: Tensor) -> Tensor:
        """The maps that the convolution `head` sees in the features."""
        conv = self.get_submodule(head)
        return conv(features.to(dtype_of(conv)))


class FommEstimator(HeatMaps):
    """Picture (B, 3, H, W) in 0..1, H and W multiples of 4 * 2**blocks, to `PartMotion` of K parts.

    shared_jacobian: one Jacobian map for all parts instead of one each. The published vox checkpoint has one each;
    the 14.21 M parameters of the Motion Transformer paper's Table 1 are those of the shared map.
    """

    def __init__(
        self,
        parts: int = 10,
        *,
        base: int = 32,
        blocks: int = 5,
        limit: int = 1024,
        temperature: float = 0.1,
        shared_jacobian: bool = False,
    ) -> None:
        super().__init__("kp", parts, base=base, blocks=blocks, limit=limit, temperature=temperature, padding=0)
        self.parts = parts
        self.maps = 1 if shared_jacobian else parts
        self.jacobian = nn.Conv2d(self.predictor.out_channels, 4 * self.maps, 7)
        nn.init.zeros_(self.jacobian.weight)
        with torch.no_grad():
            assert self.jacobian.bias is not None
            self.jacobian.bias.copy_(torch.eye(2).flatten().repeat(self.maps))

    def forward(self, picture: Tensor) -> PartMotion:
        heat, features = self.heat(picture)
        maps = self.read("jacobian", features).unflatten(1, (self.maps, 4))  # (B, 1 or K, 4, h, w)
        affine = (heat.unsqueeze(2) * maps).sum((3, 4))  # (B, K, 4)
        return PartMotion(heat_mean(heat), affine.unflatten(2, (2, 2)))
