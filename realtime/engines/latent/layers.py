"""Layers shared by LIA, LIA-X and the Wan face encoder, as the papers define them.

Equalised learning rate: Karras et al., "Progressive Growing of GANs" (2018), section 4.1. Weight modulation and
demodulation: Karras et al., "Analyzing and Improving the Image Quality of StyleGAN" (2020), equations 1 to 3.
Warping by flow and mask, and the motion dictionary: Wang et al., "Latent Image Animator" (2022), equations 2 to 5.

These modules are the definition: they hold the published parameter names and recompute everything per call. The form
that runs per frame, with all constants folded, is in `realtime.engines.latent.prepared`.

A new network holds zeros in memory pages that the system maps on first use, so constructing 3.6 B parameters to look
at their names costs nothing; load a state dict (strict) before use.
"""

from __future__ import annotations

import math
from collections.abc import MutableMapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SQRT2 = math.sqrt(2.0)
Trace = MutableMapping[str, Tensor]


def lazy_zeros(*shape: int) -> Tensor:
    """Zeros of `shape` that take no memory until they are written (CPU), or plain zeros on another device."""
    if torch.get_default_device().type != "cpu" or torch.get_default_dtype() != torch.float32:
        return torch.zeros(*shape)
    return torch.from_numpy(np.zeros(shape, np.float32))


def parameter(*shape: int) -> nn.Parameter:
    """A parameter of `lazy_zeros`."""
    return nn.Parameter(lazy_zeros(*shape))


def widened(x: Tensor) -> Tensor:
    """Half-precision tensors as float32; float32 and float64 as they are."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def fir_kernel(gain: float) -> Tensor:
    """The 4 x 4 low-pass filter outer([1, 3, 3, 1]) / 64, times `gain`."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    return torch.outer(taps, taps) * (gain / 64.0)


class Fir(nn.Module):
    """Zero-pads every side by `pad`, then convolves every channel with the FIR filter."""

    kernel: Tensor

    def __init__(self, pad: int, gain: float = 1.0) -> None:
        super().__init__()
        self.pad = pad
        self.register_buffer("kernel", fir_kernel(gain))

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C, H + 2 pad - 3, W + 2 pad - 3)
        kernel = self.kernel.to(x.dtype).flip(0, 1).expand(x.shape[1], 1, 4, 4)
        return F.conv2d(x, kernel, padding=self.pad, groups=x.shape[1])


class FirUp2(nn.Module):
    """Doubles both sides: a zero after every sample, padding (2, 1), then the FIR filter with gain 4."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", fir_kernel(4.0))

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C, 2H, 2W)
        # A transposed convolution spreads each sample by the kernel; padding 1 crops to the window of (2, 1).
        kernel = self.kernel.to(x.dtype).expand(x.shape[1], 1, 4, 4)
        return F.conv_transpose2d(x, kernel, stride=2, padding=1, groups=x.shape[1])


class EqualConv2d(nn.Module):
    """Convolution without bias whose weight is scaled by 1 / sqrt(fan_in) when it is used."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, padding: int = 0) -> None:
        super().__init__()
        self.weight = parameter(c_out, c_in, kernel, kernel)
        self.scale = 1.0 / math.sqrt(c_in * kernel * kernel)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, stride=self.stride, padding=self.padding)


class EqualLinear(nn.Module):
    """Linear layer whose weight is scaled by 1 / sqrt(fan_in); the bias is used as it is."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.weight = parameter(c_out, c_in)
        self.bias = parameter(c_out)
        self.scale = 1.0 / math.sqrt(c_in)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias)


class Activation(nn.Module):
    """leaky_relu(x + bias, 0.2) * sqrt(2). `bias` is (1, C, 1, 1) in LIA's files and (C) in LIA-X's (`flat`)."""

    def __init__(self, channels: int, flat: bool) -> None:
        super().__init__()
        self.bias = parameter(channels) if flat else parameter(1, channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(x + self.bias.reshape(1, -1, 1, 1), 0.2) * SQRT2


def conv_layer(
    c_in: int, c_out: int, kernel: int, *, flat: bool, down: bool = False, act: bool = True
) -> nn.Sequential:
    """[blur,] equalised convolution [, activation]. `down` halves the sides: blur, then stride 2 without padding."""
    parts: list[nn.Module] = []
    if down:
        parts.append(Fir((kernel + 1) // 2))
    parts.append(EqualConv2d(c_in, c_out, kernel, stride=2 if down else 1, padding=0 if down else kernel // 2))
    if act:
        parts.append(Activation(c_out, flat))
    return nn.Sequential(*parts)


class HalvingResidual(nn.Module):
    """Residual block that halves the sides: (conv2(conv1(x)) + skip(x)) / sqrt(2).

    `wide_first` is LIA-X's variant: the channels change in conv1 and not in conv2.
    """

    def __init__(self, c_in: int, c_out: int, *, flat: bool, wide_first: bool) -> None:
        super().__init__()
        middle = c_out if wide_first else c_in
        self.conv1 = conv_layer(c_in, middle, 3, flat=flat)
        self.conv2 = conv_layer(middle, c_out, 3, flat=flat, down=True)
        self.skip = conv_layer(c_in, c_out, 1, flat=flat, down=True, act=False)

    def forward(self, x: Tensor) -> Tensor:  # (B, C, H, W) -> (B, C', H/2, W/2)
        return (self.conv2(self.conv1(x)) + self.skip(x)) / SQRT2


class ModulatedConv2d(nn.Module):
    """Convolution whose weight is scaled per input channel by a style, and optionally demodulated.

    With w the equalised weight and s = modulation(z) (StyleGAN2, equations 1 and 3):
    w' = w * s[in], and w'' = w' / sqrt(sum over in and taps of w'^2 + 1e-8). A batch is one convolution with a group
    per sample. Scaling activations instead is the same map (`prepared` does so), but doubles the rounding error of
    the picture.
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: int, style: int, *, up: bool = False, demodulate: bool = True
    ) -> None:
        super().__init__()
        self.weight = parameter(1, c_out, c_in, kernel, kernel)
        if up:
            self.blur = Fir(1, gain=4.0)
        self.modulation = EqualLinear(style, c_in)
        self.scale = 1.0 / math.sqrt(c_in * kernel * kernel)
        self.padding = kernel // 2
        self.up, self.demodulate = up, demodulate

    def forward(self, x: Tensor, z: Tensor) -> Tensor:  # (B, C, H, W), (B, D) -> (B, C', H, W), or 2H, 2W
        batch, channels, height, width = x.shape
        s = widened(self.modulation(z))  # (B, C)
        w = widened(self.weight * self.scale) * s[:, None, :, None, None]  # (B, C', C, k, k)
        if self.demodulate:
            w = w * torch.rsqrt(w.square().sum((2, 3, 4), keepdim=True) + 1e-8)
        w = w.to(x.dtype)
        x = x.reshape(1, batch * channels, height, width)
        if self.up:
            x = F.conv_transpose2d(x, w.transpose(1, 2).flatten(0, 1), stride=2, groups=batch)  # sides 2H + 1, 2W + 1
        else:
            x = F.conv2d(x, w.flatten(0, 1), padding=self.padding, groups=batch)
        x = x.reshape(batch, -1, x.shape[2], x.shape[3])
        return self.blur(x) if self.up else x


class NoiseWeight(nn.Module):
    """A parameter of LIA's files that its forward pass never uses; kept so that the files load strictly."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = parameter(1)


class StyledConv(nn.Module):
    """3 x 3 modulated, demodulated convolution and activation. `noise` keeps LIA's unused noise parameter."""

    def __init__(
        self, c_in: int, c_out: int, style: int, *, flat: bool, up: bool = False, noise: bool = False
    ) -> None:
        super().__init__()
        self.conv = ModulatedConv2d(c_in, c_out, 3, style, up=up)
        if noise:
            self.noise = NoiseWeight()
        self.activate = Activation(c_out, flat)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.activate(self.conv(x, z))


class ConstantInput(nn.Module):
    """The learned 4 x 4 picture that every decoder starts from."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = parameter(1, channels, 4, 4)

    def forward(self, batch: int) -> Tensor:  # (B, C, 4, 4)
        return self.input.expand(batch, -1, -1, -1)


class ToRgb(nn.Module):
    """Running picture: act(1 x 1 convolution of the warped features) + bias + the picture so far, doubled."""

    def __init__(self, channels: int, *, flat: bool, up_name: str | None) -> None:
        super().__init__()
        self.bias = parameter(1, 3, 1, 1)
        if up_name:
            self.add_module(up_name, FirUp2())
        self.up_name = up_name
        self.conv = conv_layer(channels, 3, 1, flat=flat)

    def forward(self, x: Tensor, previous: Tensor | None) -> Tensor:  # (B, C, H, W) -> (B, 3, H, W)
        rgb = self.conv(x) + self.bias
        if previous is None:
            return rgb
        assert self.up_name is not None
        return rgb + self.get_submodule(self.up_name)(previous)


def identity_grid(size: int, device: torch.device) -> Tensor:
    """Sampling positions of `grid_sample`, corner-aligned: float32 (1, H, W, 2), x first, each axis -1 ... 1."""
    axis = torch.linspace(-1.0, 1.0, size, dtype=torch.float64, device=device).float()
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.stack([x, y], -1)[None]


def warp(features: Tensor, logits: Tensor, *, align_corners: bool) -> tuple[Tensor, Tensor]:
    """Moves `features` by the flow in `logits` and masks them.

    features: (B, C, H, W). logits: (B, 3, H, W): x offset and y offset before tanh, mask before sigmoid.
    Returns (masked warped features (B, C, H, W), mask (B, 1, H, W)). Positions are always float32: in half precision
    a position near the border of a 512-pixel map would be a quarter of a pixel wrong.
    """
    logits = widened(logits)
    grid = identity_grid(logits.shape[-1], logits.device).to(logits.dtype) + torch.tanh(logits[:, :2]).permute(
        0, 2, 3, 1
    )
    sampled = F.grid_sample(
        features.to(grid.dtype).expand(grid.shape[0], -1, -1, -1),
        grid,
        mode="bilinear",
        padding_mode="zeros",
        align_corners=align_corners,
    )
    mask = torch.sigmoid(logits[:, 2:])
    return (sampled * mask).to(features.dtype), mask.to(features.dtype)


class ToFlow(nn.Module):
    """Flow and mask head: raw logits from the trunk plus those of the coarser level, doubled; then the warp.

    LIA samples with align_corners=False and LIA-X with True; both place the grid corner-aligned.
    """

    def __init__(self, channels: int, style: int, *, align_corners: bool, up_name: str) -> None:
        super().__init__()
        self.bias = parameter(1, 3, 1, 1)
        self.add_module(up_name, FirUp2())
        self.up_name, self.align_corners = up_name, align_corners
        self.conv = ModulatedConv2d(channels, 3, 1, style, demodulate=False)

    def forward(
        self, h: Tensor, feature: Tensor, z: Tensor, previous: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:  # warped (B, C, H, W), blended trunk (B, C, H, W), raw logits (B, 3, H, W)
        logits = widened(self.conv(h, z) + self.bias)
        if previous is not None:
            logits = logits + self.get_submodule(self.up_name)(previous)
        warped, mask = warp(feature, logits, align_corners=self.align_corners)
        return warped, warped + (1 - mask) * h, logits


class MotionDictionary(nn.Module):
    """The motion dictionary: columns of Q, the orthonormal factor of the learned matrix (LIA, equation 3)."""

    def __init__(self, dim: int, directions: int) -> None:
        super().__init__()
        self.weight = parameter(dim, directions)

    def forward(self) -> Tensor:  # (D, M), float32 at least
        """Q of the reduced QR of (weight + 1e-8) with the signs that Householder reflections give (R may be negative
        on its diagonal). Runs on the CPU, in float32 or wider, so that every device gets the same signs."""
        shifted = widened(self.weight) + 1e-8
        q, _ = torch.linalg.qr(shifted if shifted.is_meta else shifted.cpu())
        return q.to(self.weight.device)


def check_directions(motion_dim: int, dim: int) -> None:
    """At most `dim` directions of a `dim`-dimensional latent can be orthogonal. Raises ValueError."""
    if not 1 <= motion_dim <= dim:
        raise ValueError(f"a dictionary in {dim} dimensions has 1 to {dim} directions, not {motion_dim}")


def check_pictures(x: Tensor, size: int) -> None:
    """Raises ValueError where x is not (B, 3, size, size)."""
    if x.ndim != 4 or tuple(x.shape[1:]) != (3, size, size):
        raise ValueError(f"pictures must be (B, 3, {size}, {size}), not {tuple(x.shape)}")


class LatentAnimator(nn.Module):
    """What LIA, LIA-X and the Wan face encoder have in common: motion as a walk along the dictionary in latent space.

    A subclass sets `size` (pixels), `dim` (latent numbers D), `motion_dim` (directions M) and `dec`, whose
    `direction` is the dictionary, and defines `encode` and `alpha`.
    """

    size: int
    dim: int
    motion_dim: int
    dec: Any

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """x: (B, 3, S, S) in [-1, 1]. Returns z (B, D) and the feature maps for the decoder, coarse (8 x 8) first.
        Raises ValueError for another shape."""
        raise NotImplementedError

    def alpha(self, z: Tensor) -> Tensor:
        """Motion code of a latent: (B, D) -> (B, M)."""
        raise NotImplementedError

    def dictionary(self) -> MotionDictionary:
        """The part of the network that holds Q."""
        found: MotionDictionary = self.dec.direction
        return found

    def directions(self) -> Tensor:
        """Q, (D, M): the motion dictionary, one direction per column."""
        return self.dictionary()()

    def navigate(
        self, z: Tensor, *, target: Tensor, start: Tensor | None = None, source: Tensor | None = None
    ) -> Tensor:
        """The latent that the decoder draws.

        z: (B, D) latent of the portrait. target: (B, M) code of the driving frame.
        Absolute motion, without `start` and `source`: z + Q target (LIA, equation 2).
        Relative motion, with both: z + (Q target - Q start) + Q source; `start` is the code of the first driving
        frame and `source` the portrait's own code. Edits are added to `source` (relative) or `target` (absolute).
        Raises ValueError.
        """
        if (start is None) != (source is None):
            raise ValueError("relative motion needs both start and source; absolute motion needs neither")
        for name, code in (("target", target), ("start", start), ("source", source)):
            if code is not None and code.shape[-1] != self.motion_dim:
                raise ValueError(f"{name} must be (B, {self.motion_dim}), not {tuple(code.shape)}")
        q = self.directions()

        def move(code: Tensor) -> Tensor:
            return (code.to(q.dtype)[..., None] * q.T).sum(-2)  # (B, M, 1) * (M, D) -> (B, D), summed as published

        if start is None or source is None:
            return (z.to(q.dtype) + move(target)).to(z.dtype)
        return (z.to(q.dtype) + (move(target) - move(start)) + move(source)).to(z.dtype)
