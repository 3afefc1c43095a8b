"""The first stages of HRNet: features at a quarter of the picture's size that never left that size.

Source: Sun et al., "Deep High-Resolution Representation Learning", CVPR 2019 (reference 39 of the Motion
Transformer paper, which takes the first three stages). Module names and shapes are those of timm's ``hrnet_w32``
and ``hrnet_w48``, so that their ImageNet weights load by key; timm itself cannot be imported without
torchvision, which this package does without.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STAGE2_MODULES = 1
STAGE3_MODULES = 4


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions beside a shortcut; the outer width is four times the inner one."""

    def __init__(self, inputs: int, inner: int) -> None:
        super().__init__()
        outer = 4 * inner
        self.conv1, self.bn1 = _conv(inputs, inner, 1), _norm(inner)
        self.conv2, self.bn2 = _conv(inner, inner, 3), _norm(inner)
        self.conv3, self.bn3 = _conv(inner, outer, 1), _norm(outer)
        self.downsample = nn.Sequential(_conv(inputs, outer, 1), _norm(outer)) if inputs != outer else None

    def forward(self, x: Tensor) -> Tensor:
        short = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return F.relu(self.bn3(self.conv3(x)) + short)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(channels, channels, 3), _norm(channels)
        self.conv2, self.bn2 = _conv(channels, channels, 3), _norm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + x)


class ParallelBranches(nn.Module):
    """Four basic blocks on each resolution, then every resolution receives the sum of all of them.

    widths: channels per branch; branch b works at 1 / 2**b of the first one's size. outputs: how many of the
    branches are fused and given out (the last module of the estimator needs the finest one only).
    """

    def __init__(self, widths: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(BasicBlock(w) for _ in range(4))) for w in widths)
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(self._path(widths, source, target) for source in range(len(widths)))
            for target in range(outputs)
        )

    @staticmethod
    def _path(widths: tuple[int, ...], source: int, target: int) -> nn.Module:
        if source == target:
            return nn.Identity()
        if source > target:
            up = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
            return nn.Sequential(_conv(widths[source], widths[target], 1), _norm(widths[target]), up)
        steps: list[nn.Module] = []
        for step in range(target - source):
            last = step == target - source - 1
            width = widths[target] if last else widths[source]
            parts: list[nn.Module] = [_conv(widths[source], width, 3, stride=2), _norm(width)]
            steps.append(nn.Sequential(*parts, *([] if last else [nn.ReLU()])))
        return nn.Sequential(*steps)

    def forward(self, xs: list[Tensor]) -> list[Tensor]:
        xs = [branch(x) for branch, x in zip(self.branches, xs, strict=True)]
        fused = []
        for paths in self.fuse_layers:
            total = None
            for path, x in zip(cast(nn.ModuleList, paths), xs, strict=True):
                y = path(x)
                total = y if total is None else total + y
            assert total is not None
            fused.append(F.relu(total))
        return fused


class Stem(nn.Module):
    """Two 3x3 convolutions of stride 2 and four bottleneck blocks: (B, 256, H/4, W/4).

    The lightest of the paper's three backbones (Table 5, "Stem"). Its 5.56 M parameters say that the blocks before
    HRNet's first branching belong to it: the two convolutions alone would give 4.68 M.
    """

    width = 256

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(3, 64, 3, stride=2), _norm(64)
        self.conv2, self.bn2 = _conv(64, 64, 3, stride=2), _norm(64)
        self.layer1 = nn.Sequential(Bottleneck(64, 64), *(Bottleneck(256, 64) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))  # (B, 64, H/2, W/2)
        x = F.relu(self.bn2(self.conv2(x)))  # (B, 64, H/4, W/4)
        return self.layer1(x)


class HighResolutionNet(Stem):
    """Stem and the first three stages of HRNet; gives the finest branch: (B, width, H/4, W/4).

    width: 32 or 48 in the paper (any number of channels otherwise).
    """

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.width = width
        two, three = (width, 2 * width), (width, 2 * width, 4 * width)
        self.transition1 = nn.ModuleList(
            [
                nn.Sequential(_conv(256, width, 3), _norm(width), nn.ReLU()),
                nn.Sequential(nn.Sequential(_conv(256, 2 * width, 3, stride=2), _norm(2 * width), nn.ReLU())),
            ]
        )
        self.stage2 = nn.Sequential(*(ParallelBranches(two, 2) for _ in range(STAGE2_MODULES)))
        coarser = nn.Sequential(_conv(2 * width, 4 * width, 3, stride=2), _norm(4 * width), nn.ReLU())
        self.transition2 = nn.ModuleList([nn.Identity(), nn.Identity(), nn.Sequential(coarser)])
        outputs = [3] * (STAGE3_MODULES - 1) + [1]
        self.stage3 = nn.Sequential(*(ParallelBranches(three, n) for n in outputs))

    def forward(self, x: Tensor) -> Tensor:
        x = super().forward(x)  # (B, 256, H/4, W/4)
        xs = self.stage2([self.transition1[0](x), self.transition1[1](x)])
        xs = self.stage3([*xs, self.transition2[2](xs[-1])])
        return xs[0]  # (B, width, H/4, W/4)


def load_imagenet(network: Stem, state: Mapping[str, Tensor]) -> int:
    """Copy the entries of timm's ``hrnet_w32``/``hrnet_w48`` `state` that `network` has. Returns how many.

    The checkpoint also holds stage 4 and a classifier, which the estimator has no use for. Raises KeyError where
    an entry that `network` needs is absent, ValueError where one has another shape.
    """
    own = network.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    if missing:
        raise KeyError(f"{len(missing)} entries are absent, the first is {missing[0]}")
    wrong = [key for key in own if key in state and own[key].shape != state[key].shape]
    if wrong:
        raise ValueError(f"{wrong[0]} has the shape {tuple(state[wrong[0]].shape)}, not {tuple(own[wrong[0]].shape)}")
    with torch.no_grad():
        for key, value in own.items():
            if key in state:
                value.copy_(state[key])
    return len(own)


def make_backbone(name: str) -> Stem:
    """The backbone "stem", "hr-w32", "hr-w48", or "hr-wN" with N channels.

    Raises ValueError for another name."""
    if name == "stem":
        return Stem()
    head, _, width = name.partition("hr-w")
    if head == "" and width.isdigit() and int(width) > 0:
        return HighResolutionNet(int(width))
    raise ValueError(f"there is no backbone {name!r}: take stem, hr-w32 or hr-w48")
