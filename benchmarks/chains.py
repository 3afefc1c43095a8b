"""What the kernels are measured against: the same work as a chain of PyTorch operators, in half precision throughout,
as one would write it without them. (`kernels.reference` is the definition; it widens to float32 and is slower.)"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SQRT2 = 2.0**0.5


def fir_weight(channels: int, gain: float, like: Tensor) -> Tensor:
    """Depthwise weight of the FIR filter."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], device=like.device)
    return (torch.outer(taps, taps) * (gain / 64)).to(like.dtype).expand(channels, 1, 4, 4).contiguous()


def warp_blend(
    features: Tensor, trunk: Tensor, logits: Tensor, previous: Tensor, grid: Tensor, up: Tensor, align: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """grid: (1, H, W, 2) base grid; up: the up-sampling filter, (3, 1, 4, 4)."""
    raw = logits + F.conv_transpose2d(previous, up, stride=2, padding=1, groups=3)
    offset = torch.tanh(raw[:, :2]).permute(0, 2, 3, 1)
    mask = torch.sigmoid(raw[:, 2:])
    warped = F.grid_sample(features, grid + offset, "bilinear", "zeros", align) * mask
    return warped, warped + (1 - mask) * trunk, raw


def bias_act(x: Tensor, bias: Tensor, scale: Tensor, residual: Tensor) -> Tensor:
    """Demodulation, bias, activation, sum. bias, scale: (1 or B, C, 1, 1)."""
    return F.leaky_relu(x * scale + bias, 0.2) * SQRT2 + residual


def act_blur(x: Tensor, bias: Tensor, weight: Tensor) -> Tensor:
    """The encoder's activation, then its blur."""
    x = F.leaky_relu(x + bias, 0.2) * SQRT2
    return F.conv2d(x, weight, padding=2, groups=x.shape[1])


def blur_act(x: Tensor, bias: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    """The blur after an up-sampling convolution, demodulation and activation."""
    x = F.conv2d(x, weight, padding=1, groups=x.shape[1])
    return F.leaky_relu(x * scale + bias, 0.2) * SQRT2


def blur_down(x: Tensor, weight: Tensor) -> Tensor:
    """The blur of a skip, every other sample."""
    return F.conv2d(x, weight, stride=2, padding=1, groups=x.shape[1])


def upsample2(x: Tensor, weight: Tensor) -> Tensor:
    """FIR up-sampling."""
    return F.conv_transpose2d(x, weight, stride=2, padding=1, groups=x.shape[1])


def picture_skip(x: Tensor, previous: Tensor, act_bias: Tensor, bias: Tensor, up: Tensor) -> Tensor:
    """The running picture."""
    x = F.leaky_relu(x + act_bias, 0.2) * SQRT2 + bias
    return x + F.conv_transpose2d(previous, up, stride=2, padding=1, groups=3)


def preprocess(frame: Tensor, side: int) -> Tensor:
    """A frame (H, W, 3), already cropped, to (1, 3, side, side)."""
    x = frame.permute(2, 0, 1)[None].float()
    x = F.interpolate(x, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return (x / 127.5 - 1).half()


def preprocess_nv12(frame: Tensor, side: int) -> Tensor:
    """The same from NV12 (H * 3 / 2, W), BT.709 limited range."""
    h, w = frame.shape[0] * 2 // 3, frame.shape[1]
    luma = (frame[:h].float() - 16) * (255 / 219)
    chroma = frame[h:].reshape(h // 2, w // 2, 2).float() - 128
    u, v = chroma.repeat_interleave(2, 0).repeat_interleave(2, 1).unbind(-1)
    rgb = torch.stack([luma + 1.7927 * v, luma - 0.2132 * u - 0.5329 * v, luma + 2.1124 * u])[None].clamp(0, 255)
    x = F.interpolate(rgb, (side, side), mode="bilinear", antialias=True, align_corners=False)
    return (x / 127.5 - 1).half()


def postprocess(x: Tensor) -> Tensor:
    """(1, 3, H, W) to uint8 (H, W, 3)."""
    return (x[0] * 127.5 + 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).contiguous()


def remap(picture: Tensor, flow: Tensor) -> Tensor:
    """(1, 3, H, W) through a flow (2, H, W) in pixels, to uint8 (H, W, 3)."""
    h, w = picture.shape[2:]
    size = torch.tensor([w, h], device=flow.device, dtype=flow.dtype)
    grid = (2 * flow.permute(1, 2, 0) + 1) / size - 1
    y = F.grid_sample(picture, grid[None], "bilinear", "zeros", False)
    return y[0].round().byte().permute(1, 2, 0).contiguous()
