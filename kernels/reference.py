"""The kernels as chains of PyTorch's own operators: the definition the tests compare with, what runs on CPU tensors,
and the eager chain of the benchmarks. Half-precision inputs are widened first, so results are those of float32."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def tensor(x: Any) -> Tensor:
    """`x` as a tensor, without a copy."""
    if isinstance(x, Tensor):
        return x
    return torch.from_numpy(x) if isinstance(x, np.ndarray) else torch.utils.dlpack.from_dlpack(x)


def copied(result: Any, out: Any, kind: Any = None, *, drop_first: bool = False) -> Any:
    """`result`, written into `out` where that is given. kind: the tuple type, for several results."""
    if kind is None:
        if out is None:
            return result
        tensor(out).copy_(result)
        return out
    if out is None:
        return kind(*((None, *result[1:]) if drop_first else result))
    for part, target in zip(result, out, strict=True):
        if target is not None:
            tensor(target).copy_(part)
    return out


def _wide(x: Any) -> Tensor:
    x = tensor(x)
    return x.float() if x.dtype == torch.float16 else x


def _last(x: Tensor, like: Any) -> Tensor:
    """A wide map in the element type of `like`, channels-last as the kernels give it."""
    return x.to(tensor(like).dtype).contiguous(memory_format=torch.channels_last)


def _columns(p: Any) -> Any:
    """A per-channel parameter (C) or (B, C) as (1 or B, C, 1, 1); numbers pass."""
    return 1.0 if p is None else _wide(p).reshape(-1, tensor(p).shape[-1], 1, 1)


def fir(device: torch.device, dtype: torch.dtype, gain: float = 1.0) -> Tensor:
    """outer([1,3,3,1]) / 64 * gain as a convolution weight (1, 1, 4, 4)."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=dtype, device=device)
    return (torch.outer(taps, taps) * (gain / 64))[None, None]


def filtered(x: Tensor, pad: tuple[int, int], down: int, gain: float) -> Tensor:
    """Zero padding and FIR filter of every channel."""
    b, c, h, w = x.shape
    x = F.pad(x.reshape(b * c, 1, h, w), (*pad, *pad))
    x = F.conv2d(x, fir(x.device, x.dtype, gain), stride=down)
    return x.reshape(b, c, *x.shape[2:])


def up2(x: Tensor) -> Tensor:
    """x2 FIR up-sampling."""
    b, c, h, w = x.shape
    x = F.conv_transpose2d(x.reshape(b * c, 1, h, w), fir(x.device, x.dtype, 4.0), stride=2, padding=1)
    return x.reshape(b, c, 2 * h, 2 * w)


@functools.lru_cache(maxsize=64)
def base_grid(h: int, w: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(1, H, W, 2): linspace(-1, 1) in both axes, x first."""
    x = torch.linspace(-1, 1, w, device=device, dtype=torch.float64).to(dtype)
    y = torch.linspace(-1, 1, h, device=device, dtype=torch.float64).to(dtype)
    return torch.stack([x.expand(h, w), y[:, None].expand(h, w)], -1)[None]


def warp_blend(
    features: Any,
    trunk: Any,
    logits: Any = None,
    previous: Any = None,
    *,
    align_corners: bool,
    head: Any = None,
    bias: Any = None,
    post: Any = None,
    colour: Any = None,
) -> tuple[Tensor | None, ...]:
    """See `kernels.warp_blend`."""
    h, f = _wide(trunk), _wide(features)
    flow = torch.einsum("bkc,bchw->bkhw", tensor(head), h) if logits is None else tensor(logits)
    if bias is not None:
        flow = flow + tensor(bias)[None, :, None, None]
    if previous is not None:
        flow = flow + up2(tensor(previous))
    offset = torch.tanh(flow[:, :2])
    offset = torch.where(offset.isnan(), 16.0, offset).permute(0, 2, 3, 1)  # not a number: far outside
    mask = torch.where(flow[:, 2:].isnan(), 0.0, torch.sigmoid(flow[:, 2:]))
    grid = base_grid(h.shape[2], h.shape[3], h.device, h.dtype) + offset
    sampled = F.grid_sample(f.expand(h.shape[0], -1, -1, -1), grid, "bilinear", "zeros", align_corners)
    warped = sampled * mask
    blended = (warped + (1 - mask) * h) * _columns(post)
    picture = None
    if colour is not None:
        picture = torch.einsum("kc,bchw->bkhw", tensor(colour.weight), warped) + _columns(colour.inner)
        picture = F.leaky_relu(picture, colour.slope) + _columns(colour.outer)
        if colour.previous is not None:
            picture = picture + up2(tensor(colour.previous))
        picture = picture.contiguous()
    return _last(warped, trunk), _last(blended, trunk), flow.contiguous(), picture


def bias_act(
    x: Any,
    bias: Any = None,
    *,
    scale: Any = None,
    post: Any = None,
    residual: Any = None,
    slope: float = 0.2,
    gain: float = 1.0,
    out_gain: float = 1.0,
) -> Tensor:
    """See `kernels.bias_act`."""
    y = _wide(x) * _columns(scale)
    if bias is not None:
        y = y + _columns(bias)
    y = F.leaky_relu(y, slope) * gain * _columns(post)
    if residual is not None:
        y = y + _wide(residual)
    return _last(y * out_gain, x)


def blur(
    x: Any,
    pad: tuple[int, int],
    *,
    down: int = 1,
    gain: float = 1.0,
    act: str | None = None,
    bias: Any = None,
    scale: Any = None,
    post: Any = None,
    slope: float = 0.2,
    act_gain: float = 1.0,
) -> Tensor:
    """See `kernels.blur`."""

    def activated(v: Tensor) -> Tensor:
        v = v * _columns(scale)
        if bias is not None:
            v = v + _columns(bias)
        return F.leaky_relu(v, slope) * act_gain * _columns(post)

    y = _wide(x)
    if act == "before":
        y = activated(y)
    y = filtered(y, pad, down, gain)
    if act == "after":
        y = activated(y)
    return _last(y, x)


def upsample2(x: Any, *, add: Any = None) -> Tensor:
    """See `kernels.upsample2`."""
    y = up2(_wide(x))
    return _last(y if add is None else y + _wide(add), x)


def picture_skip(
    x: Any, previous: Any = None, *, act_bias: Any = None, bias: Any = None, slope: float = 0.2, gain: float = 1.0
) -> Tensor:
    """See `kernels.picture_skip`."""
    y = _wide(x)
    if act_bias is not None:
        y = F.leaky_relu(y + _columns(act_bias), slope) * gain
    if bias is not None:
        y = y + _columns(bias)
    return (y if previous is None else y + up2(tensor(previous))).contiguous()


def resampling(count: int, start: float, ratio: float, n: int) -> Tensor:
    """(count, n) float64: weights of the antialiased triangle filter; see resample.cuh."""
    reach = max(ratio, 1.0)
    centre = start + (torch.arange(count, dtype=torch.float64)[:, None] + 0.5) * ratio
    samples = torch.arange(n, dtype=torch.float64)[None]
    weight = (1 - (samples + 0.5 - centre).abs() / reach).clamp_min(0)
    total = weight.sum(1, keepdim=True)
    nearest = F.one_hot(centre[:, 0].floor().clamp(0, n - 1).long(), n).double()
    return torch.where(total > 1e-6, weight / total.clamp_min(1e-12), nearest)


def to_rgb(frame: Any, format: str, constants: tuple[float, ...]) -> Tensor:
    """A frame in `format` as float32 (H, W, 3), 0..255; chroma is repeated over its 2 x 2 block."""
    x = tensor(frame).float()
    if format == "rgb24":
        return x
    height, width = x.shape[0] * 2 // 3, x.shape[1]
    chroma = x[height:].reshape(-1)
    if format == "nv12":
        u, v = chroma.reshape(height // 2, width // 2, 2).unbind(-1)
    else:
        u, v = chroma.reshape(2, height // 2, width // 2)
    u, v = (p.repeat_interleave(2, 0).repeat_interleave(2, 1) - 128 for p in (u, v))
    offset, luma_gain, red_v, green_u, green_v, blue_u = constants
    luma = (x[:height] - offset) * luma_gain
    return torch.stack([luma + red_v * v, luma + green_u * u + green_v * v, luma + blue_u * u], -1).clamp(0, 255)


def preprocess(
    frame: Any,
    size: tuple[int, ...],
    format: str,
    box: Any,
    *,
    mirror: bool,
    constants: tuple[float, ...],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Tensor:
    """See `kernels.preprocess`; float32 (1, 3, height, width)."""
    rgb = to_rgb(frame, format, constants)
    h, w = rgb.shape[:2]
    left, top, right, bottom = (0.0, 0.0, w, h) if box is None else tensor(box).tolist()
    rows = resampling(size[0], top, (bottom - top) / size[0], h).to(rgb)
    columns = resampling(size[1], left, (right - left) / size[1], w).to(rgb)
    picture = torch.einsum("ih,hwc,jw->cij", rows, rgb, columns)
    shift, gain = (torch.tensor(k, dtype=rgb.dtype, device=rgb.device)[:, None, None] for k in (mean, std))
    picture = (picture / 255 - shift) / gain
    return (picture.flip(2) if mirror else picture)[None]


def postprocess(
    x: Any, size: tuple[int, int], format: str, background: Any = None, box: Any = None, feather: float = 0.0
) -> Tensor:
    """See `kernels.postprocess`."""
    y = _wide(x)[0]
    (h, w), (height, width) = y.shape[1:], size
    left, top, right, bottom = (0.0, 0.0, width, height) if box is None else tensor(box).tolist()
    ratio_x, ratio_y = w / (right - left), h / (bottom - top)
    rows, columns = resampling(height, -top * ratio_y, ratio_y, h), resampling(width, -left * ratio_x, ratio_x, w)
    picture = torch.einsum("ih,chw,jw->ijc", rows.to(y), y, columns.to(y)) * 127.5 + 127.5
    picture = picture.nan_to_num(0, 255, 0).clamp(0, 255)
    if background is not None:
        cover = coverage(height, width, (left, top, right, bottom), feather).to(y)[..., None]
        picture = picture * cover + tensor(background).to(y) * (1 - cover)
    if format == "rgb24":
        return picture.round().to(torch.uint8)
    r, g, b = picture.unbind(-1)
    luma = 0.2126 * r + 0.7152 * g + 0.0722 * b
    planes = torch.stack([(b - luma) / 1.8556, (r - luma) / 1.5748])[None]
    chroma = (F.avg_pool2d(planes, 2)[0] * (224 / 255) + 128).round()
    chroma = chroma.permute(1, 2, 0) if format == "nv12" else chroma
    full = torch.cat([(16 + luma * (219 / 255)).round().reshape(-1), chroma.reshape(-1)])
    return full.clamp(0, 255).to(torch.uint8).reshape(height * 3 // 2, width)


def coverage(height: int, width: int, box: tuple[float, float, float, float], feather: float) -> Tensor:
    """(height, width) float64: how much of the pasted square each pixel shows."""
    left, top, right, bottom = box
    x = torch.arange(width, dtype=torch.float64)[None] + 0.5
    y = torch.arange(height, dtype=torch.float64)[:, None] + 0.5
    depth = torch.full((height, width), float("inf"), dtype=torch.float64)
    for inside, fades in ((x - left, left > 0), (y - top, top > 0), (right - x, right < width),
                          (bottom - y, bottom < height)):  # fmt: skip
        if fades:
            depth = torch.minimum(depth, inside.expand(height, width))
    within = (x >= left) & (x < right) & (y >= top) & (y < bottom)
    ramp = (depth / feather).clamp(0, 1) if feather > 0 else torch.ones_like(depth)
    return torch.where(within, ramp, 0.0)


def mesh_flow(points: Any, depth: Any, uv: Any, triangles: Any, out: Any, outside: float | None) -> Any:
    """See `kernels.mesh_flow`; written into `out`. One triangle after the other, in double precision."""
    slack = 1e-5
    flow = tensor(out)
    p, z, t = (tensor(v).double() for v in (points, depth, uv))
    height, width = flow.shape[1:]
    if outside is not None:
        flow.fill_(outside)
    nearest = torch.full((height, width), float("inf"), dtype=torch.float64)
    for corner in tensor(triangles).long():
        a, b, c = p[corner]
        (bx, by), (cx, cy) = (b - a).tolist(), (c - a).tolist()
        area = bx * cy - cx * by
        if not abs(area) > 1e-6:
            continue
        low = p[corner].amin(0).sub(slack).ceil().clamp_min(0).int().tolist()
        high = p[corner].amax(0).add(slack).floor().int().tolist()
        x0, y0, x1, y1 = *low, min(high[0], width - 1), min(high[1], height - 1)
        if x0 > x1 or y0 > y1:
            continue
        x = torch.arange(x0, x1 + 1, dtype=torch.float64)[None] - a[0]
        y = torch.arange(y0, y1 + 1, dtype=torch.float64)[:, None] - a[1]
        wb, wc = (x * cy - y * cx) / area, (y * bx - x * by) / area
        at = z[corner[0]] + wb * (z[corner[1]] - z[corner[0]]) + wc * (z[corner[2]] - z[corner[0]])
        window = (slice(y0, y1 + 1), slice(x0, x1 + 1))
        shown = (wb >= -slack) & (wc >= -slack) & (wb + wc <= 1 + slack) & (at < nearest[window])
        nearest[window][shown] = at[shown]
        for axis in range(2):
            ta, tb, tc = t[corner, axis]
            flow[axis][window][shown] = (ta + wb * (tb - ta) + wc * (tc - ta))[shown].to(flow.dtype)
    return out


def remap(picture: Any, flow: Any, *, behind: Any = None, repeat_border: bool = False) -> Tensor:
    """See `kernels.remap`."""
    source, field = tensor(picture).permute(2, 0, 1)[None].double(), tensor(flow).double()
    h, w = source.shape[2:]
    field = torch.where(field.isnan(), -1e4, field)
    grid = torch.stack([(2 * field[0] + 1) / w - 1, (2 * field[1] + 1) / h - 1], -1)[None]
    border = "border" if repeat_border else "zeros"
    y = F.grid_sample(source, grid, "bilinear", border, align_corners=False)[0].permute(1, 2, 0)
    if behind is not None:
        y = y[..., :3] + tensor(behind).double() * (1 - y[..., 3:] / 255)
    return y.round().clamp(0, 255).to(torch.uint8)


def volume_grid(sides: tuple[int, ...], like: Tensor) -> list[Tensor]:
    """linspace(-1, 1) of the depth, the height and the width, float32."""
    return [torch.linspace(-1, 1, n, device=like.device) for n in sides]


def keypoint_warp(thin: Any, source: Any, driving: Any) -> Tensor:
    """See `kernels.keypoint_warp`. A shift moves all lines of an axis alike: the warp is three matrix products."""
    x, s, k = tensor(thin).float(), tensor(source), tensor(driving)
    b, count, _ = k.shape
    c, sides = x.shape[1], x.shape[2:]
    shifts = F.pad(s - k, (0, 0, 1, 0))  # (B, K + 1, 3)
    weights, heats = [], []
    for n, (axis, line) in enumerate(zip((2, 1, 0), volume_grid(tuple(sides), x), strict=True)):
        at = ((line + shifts[..., axis, None] + 1) * sides[n] - 1) / 2  # (B, K + 1, n)
        at = torch.where(at.isnan(), -2.0, at)
        weights.append((1 - (at[..., None] - torch.arange(sides[n], device=x.device)).abs()).clamp_min(0))
        heats.append([torch.exp(-50 * (line - p[..., axis, None]).square()) for p in (k, s)])
    (z0, z1), (y0, y1), (x0, x1) = heats  # (B, K, n), of driving and of source
    at_driving, at_source = (
        z[:, :, :, None, None] * y[:, :, None, :, None] * w[:, :, None, None, :]
        for z, y, w in ((z0, y0, x0), (z1, y1, x1))
    )
    heat = F.pad(at_driving - at_source, (0, 0, 0, 0, 0, 0, 1, 0))  # (B, K + 1, D, H, W)
    depths, rows, columns = weights
    lines = x.transpose(1, 2).flatten(2)  # (B or 1, D, C H W)
    moved = (depths.flatten(1, 2) @ lines).view(b, count + 1, sides[0], c, *sides[1:])
    moved = rows[:, :, None, None] @ moved @ columns.transpose(-1, -2)[:, :, None, None]  # (B, K + 1, D, C, H, W)
    both = torch.cat([heat[:, :, :, None], moved], 3).permute(0, 2, 4, 5, 1, 3)  # (B, D, H, W, K + 1, C + 1)
    return both.to(tensor(thin).dtype).flatten(4).permute(0, 4, 1, 2, 3)


def mask_warp(logits: Any, volume: Any, source: Any, driving: Any) -> Tensor:
    """See `kernels.mask_warp`."""
    v, shifts = tensor(volume), tensor(source) - tensor(driving)
    mask = tensor(logits).float().softmax(1)[:, 1:]  # (B, K, D, H, W)
    sides = v.shape[2:]
    z, y, x = volume_grid(tuple(sides), v)
    grid = torch.stack(torch.broadcast_tensors(x[None, None], y[None, :, None], z[:, None, None]), -1)
    grid = grid + torch.einsum("bkdhw,bka->bdhwa", mask, shifts)
    grid = torch.where(grid.isnan(), -8.0, grid)
    moved = trilinear(v.float().expand(len(grid), -1, -1, -1, -1), grid)
    return moved.to(v.dtype).permute(0, 3, 4, 2, 1).flatten(3).permute(0, 3, 1, 2)


def trilinear(volume: Tensor, grid: Tensor) -> Tensor:
    """(B, C, D, H, W) at (B, D', H', W', 3), zeros outside, align_corners False: PyTorch's own, save where it has
    none."""
    if volume.device.type == "mps":
        return gathered(volume, grid)
    return F.grid_sample(volume, grid, "bilinear", "zeros", align_corners=False)


def gathered(volume: Tensor, grid: Tensor) -> Tensor:
    """`trilinear` by eight look-ups."""
    sides = volume.shape[2:]
    lines = volume.flatten(2)  # (B, C, D H W)
    low, shares = [], []
    for axis, n in zip((2, 1, 0), sides, strict=True):
        at = (((grid[..., axis] + 1) * n - 1) / 2).clamp(-2, n + 1)
        low.append(at.floor().long())
        shares.append(at - low[-1])
    total = torch.zeros((*lines.shape[:2], grid[0, ..., 0].numel()), dtype=volume.dtype, device=volume.device)
    for corner in range(8):
        index, weight = torch.zeros_like(low[0]), torch.ones_like(shares[0])
        for axis, n in enumerate(sides):
            high = corner >> axis & 1
            at = low[axis] + high
            weight = weight * (shares[axis] if high else 1 - shares[axis]) * ((at >= 0) & (at < n))
            index = index * n + at.clamp(0, n - 1)
        picked = lines.gather(2, index.flatten(1)[:, None].expand(-1, lines.shape[1], -1))
        total = total + picked * weight.flatten(1)[:, None]
    return total.view(*lines.shape[:2], *grid.shape[1:4])
