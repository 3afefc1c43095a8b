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
    grid = torch.stack([(2 * flow[0] + 1) / w - 1, (2 * flow[1] + 1) / h - 1], -1)
    y = F.grid_sample(picture, grid[None], "bilinear", "zeros", False)
    return y[0].round().byte().permute(1, 2, 0).contiguous()


def remap_over(picture: Tensor, flow: Tensor, behind: Tensor) -> Tensor:
    """(1, 4, PH, PW), RGB times alpha and alpha, through a flow (2, H, W) and over `behind` (H, W, 3)."""
    h, w = picture.shape[2:]
    grid = torch.stack([(2 * flow[0] + 1) / w - 1, (2 * flow[1] + 1) / h - 1], -1)
    y = F.grid_sample(picture, grid[None], "bilinear", "zeros", False)[0].permute(1, 2, 0)
    return (y[..., :3] + behind * (1 - y[..., 3:] / 255)).round().clamp(0, 255).byte()


def mesh_flow(
    points: Tensor, depth: Tensor, uv: Tensor, triangles: Tensor, size: tuple[int, int], box: int
) -> Tensor:
    """Triangles (m, 3) to a flow (2, H, W): every triangle over a box of `box` x `box` pixels, which it must fit in;
    the nearest is found by one `scatter_reduce` of depth and number, put together in 64 bits."""
    h, w = size
    corners = points[triangles]  # (m, 3, 2)
    low = corners.amin(1).ceil()  # (m, 2)
    side = torch.arange(box, device=points.device)
    x, y = low[:, 0, None, None] + side, low[:, 1, None, None] + side[:, None]
    b, c = _barycentric(corners[:, :, :, None, None], x, y)
    z = depth[triangles][..., None, None]  # (m, 3, 1, 1)
    z = z[:, 0] + b * (z[:, 1] - z[:, 0]) + c * (z[:, 2] - z[:, 0])
    shown = (b >= -1e-5) & (c >= -1e-5) & (b + c <= 1 + 1e-5) & (x >= 0) & (x < w) & (y >= 0) & (y < h)
    bits = z.contiguous().view(torch.int32)
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).long()
    key = (ordered << 32) | torch.arange(len(triangles), device=points.device)[:, None, None]
    pixel = torch.where(shown, (y * w + x).long(), h * w)
    nothing = torch.iinfo(torch.int64).max
    nearest = torch.full((h * w + 1,), nothing, dtype=torch.int64, device=points.device)
    nearest = nearest.scatter_reduce(0, pixel.reshape(-1), key.reshape(-1), "amin")[: h * w].view(h, w)
    drawn = nearest != nothing
    chosen = triangles[torch.where(drawn, nearest & 0xFFFFFFFF, 0)]  # (H, W, 3)
    rows, columns = torch.arange(h, device=points.device)[:, None], torch.arange(w, device=points.device)
    b, c = _barycentric(points[chosen].permute(2, 3, 0, 1)[None], columns, rows)
    t = uv[chosen].permute(2, 3, 0, 1)  # (3, 2, H, W)
    return torch.where(drawn, t[0] + b[0] * (t[1] - t[0]) + c[0] * (t[2] - t[0]), -1e4)


def _barycentric(corners: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of the second and third corner at (x, y); corners: (n, 3, 2, ...)."""
    a, b, c = corners.unbind(1)
    (bx, by), (cx, cy) = (b - a).unbind(1), (c - a).unbind(1)
    x, y, area = x - a[:, 0], y - a[:, 1], bx * cy - cx * by
    return (x * cy - y * cx) / area, (y * bx - x * by) / area
