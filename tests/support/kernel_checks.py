"""One check per kernel: random inputs of a seed, the kernel's result against PyTorch's operators.

A check takes `run`, which calls a kernel where it is to be tested (host shim or GPU), and raises AssertionError.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from realtime import kernels
from realtime.kernels import backends, reference, sources
from realtime.kernels.camera import colour_constants
from realtime.kernels.warp import Colour, Warped

Run = Callable[..., Any]
HALF = {"float16": torch.float16, "float32": torch.float32}


def to_device(x: Any, device: str) -> Any:
    if isinstance(x, torch.Tensor):
        return x.to(device, memory_format=torch.preserve_format)
    if isinstance(x, Warped | Colour):
        return type(x)(*(to_device(v, device) for v in x))
    return x


def host_run(*, falling: bool = False, folder: Path = sources.HERE) -> Run:
    """Runs a kernel through the host shim."""

    def run(kernel: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with backends.emulated(falling=falling, folder=folder):
            return kernel(*args, **kwargs)

    return run


def cuda_run(kernel: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Runs a kernel on the GPU: arguments go there, results come back."""
    args = tuple(to_device(a, "cuda") for a in args)
    result = kernel(*args, **{k: to_device(v, "cuda") for k, v in kwargs.items()})
    return to_device(result, "cpu")


@contextmanager
def seeded(seed: int):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def nhwc(x: torch.Tensor) -> torch.Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def poisoned(shape: tuple[int, ...], dtype: torch.dtype, *, channels_last: bool = False) -> torch.Tensor:
    """An output buffer in which an element that is never written is seen."""
    fill = 77 if dtype == torch.uint8 else float("nan")
    x = torch.full(shape, fill, dtype=dtype)
    return nhwc(x) if channels_last else x


def close(got: torch.Tensor, want: torch.Tensor, dtype: torch.dtype, *, steep: float = 1.0) -> None:
    """Equal up to the rounding of `dtype`; steep: how much a rounding of positions is magnified."""
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    tolerance = 2e-3 if dtype == torch.float16 else 5e-6
    torch.testing.assert_close(
        got.float(), want.float(), rtol=tolerance, atol=tolerance * steep, equal_nan=True
    )  # fmt: skip


def check_warp(
    run: Run,
    seed: int = 0,
    *,
    dtype: str = "float32",
    batch: int = 2,
    channels: int = 24,
    height: int = 10,
    width: int = 6,
    align_corners: bool = False,
    head: bool = False,
    shared: bool = True,
    flow: str = "plain",
    planar: bool = True,
    extras: bool = True,
    colour: bool = False,
) -> None:
    t = HALF[dtype]
    with seeded(seed):
        features = nhwc(torch.randn(1 if shared else batch, channels, height, width).to(t))
        trunk = nhwc(torch.randn(batch, channels, height, width).to(t))
        logits = torch.randn(batch, 3, height, width)
        weight = torch.randn(batch, 3, channels) / channels**0.5
        even = height % 2 == 0 and width % 2 == 0
        previous = torch.randn(batch, 3, height // 2, width // 2) if even and extras else None
        bias, post = (torch.randn(3), torch.rand(batch, channels) + 0.5) if extras else (None, None)
        rgb = None
        if colour:
            before = torch.randn(batch, 3, height // 2, width // 2) if even else None
            rgb = Colour(torch.randn(3, channels) / channels**0.5, torch.randn(3), torch.randn(3), before)
        if flow == "wild":  # far out of range, infinite, not a number
            wild = torch.tensor([60.0, -60.0, float("inf"), -float("inf"), float("nan")])
            hit = torch.rand(logits.shape) < 0.3
            logits[hit] = wild[torch.randint(0, 5, (int(hit.sum()),))]
        if flow == "none":
            logits.zero_()
    if not planar:
        logits = nhwc(logits)
    given = {"head": weight} if head else {"logits": logits}
    want = reference.warp_blend(
        features, trunk, previous=previous, align_corners=align_corners, bias=bias, post=post, colour=rgb, **given
    )
    out = Warped(
        None if colour else poisoned(trunk.shape, t, channels_last=True),
        poisoned(trunk.shape, t, channels_last=True),
        poisoned(logits.shape, torch.float32),
        poisoned(logits.shape, torch.float32) if colour else None,
    )
    got = run(
        kernels.warp_blend, features, trunk, previous=previous, align_corners=align_corners, bias=bias, post=post,
        colour=rgb, out=out, **given,
    )  # fmt: skip
    close(got.logits, want[2], torch.float32, steep=2)
    if colour:
        close(got.picture, want[3], torch.float32, steep=max(height, width))
    for mine, torchs in list(zip(got[:2], want[:2], strict=True))[1 if colour else 0 :]:
        close(mine, torchs, t, steep=max(height, width) if t == torch.float32 else 2)


def check_volume(
    run: Run,
    seed: int = 0,
    *,
    dtype: str = "float32",
    batch: int = 2,
    keypoints: int = 3,
    channels: int = 8,
    sides: tuple[int, int, int] = (4, 6, 5),
    shared: bool = True,
    wild: bool = False,
) -> None:
    """`keypoint_warp` and `mask_warp` against PyTorch's `grid_sample` on the whole grid of motions."""
    t = HALF[dtype]
    with seeded(seed):
        source, driving = (torch.rand(batch, keypoints, 3) * 2 - 1 for _ in range(2))
        thin = torch.randn(1 if shared else batch, 4, *sides).to(t)
        volume = torch.randn(1 if shared else batch, channels, *sides).to(t)
        logits = (3 * torch.randn(batch, keypoints + 1, *sides)).to(t)
    if wild:
        driving[0, 0] = torch.tensor([40.0, -1e6, float("nan")])
    last = torch.channels_last_3d
    thin, volume, logits = (x.contiguous(memory_format=last) for x in (thin, volume, logits))
    z, y, x = (torch.linspace(-1, 1, n) for n in sides)
    grid = torch.stack(torch.broadcast_tensors(x[None, None], y[None, :, None], z[:, None, None]), -1)
    shifts = F.pad(source - driving, (0, 0, 1, 0))
    motions = grid + shifts[:, :, None, None, None]  # (B, K + 1, D, H, W, 3)

    def sampled(values: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        at = torch.where(at.isnan(), 99.0, at)
        return F.grid_sample(values.float().expand(len(at), -1, -1, -1, -1), at, align_corners=False)

    heat = [torch.exp(-50 * (grid - p[:, :, None, None, None]).square().sum(-1)) for p in (driving, source)]
    moved = torch.stack([sampled(thin, motions[:, k]) for k in range(keypoints + 1)], 1)  # (B, K + 1, 4, D, H, W)
    whole = torch.cat([F.pad(heat[0] - heat[1], (0, 0, 0, 0, 0, 0, 1, 0))[:, :, None], moved], 2).flatten(1, 2)
    out = torch.full(whole.shape, float("nan"), dtype=t).contiguous(memory_format=last)
    got = run(kernels.keypoint_warp, thin, source, driving, out=out)
    close(got, whole.to(t), t, steep=8)

    mask = logits.float().softmax(1)
    masked = sampled(volume, (mask[..., None] * motions).sum(1)).to(t)  # (B, C, D, H, W)
    want = masked.permute(0, 2, 1, 3, 4).flatten(1, 2)
    got = run(kernels.mask_warp, logits, volume, source, driving, out=poisoned(want.shape, t, channels_last=True))
    close(got, nhwc(want), t, steep=16)


def check_bias_act(
    run: Run, seed: int = 0, *, dtype: str = "float32", batch: int = 2, channels: int = 24, height: int = 5,
    width: int = 7, full: bool = True,
) -> None:  # fmt: skip
    t = HALF[dtype]
    with seeded(seed):
        x, residual = (nhwc(torch.randn(batch, channels, height, width).to(t)) for _ in range(2))
        bias, scale, post = torch.randn(channels), torch.rand(batch, channels) + 0.5, torch.randn(channels)
    options = {"scale": scale, "post": post, "residual": residual, "out_gain": 0.7} if full else {}
    want = reference.bias_act(x, bias, gain=1.5, slope=0.2, **options)
    got = run(kernels.bias_act, x, bias, gain=1.5, slope=0.2, out=poisoned(x.shape, t, channels_last=True), **options)
    close(got, want, t)


def check_blur(
    run: Run, seed: int = 0, *, dtype: str = "float32", batch: int = 2, channels: int = 8, height: int = 11,
    width: int = 6, pad: tuple[int, int] = (2, 1), down: int = 1, act: str | None = None,
) -> None:  # fmt: skip
    t = HALF[dtype]
    with seeded(seed):
        x = nhwc(torch.randn(batch, channels, height, width).to(t))
        options = {}
        if act:
            options = {
                "bias": torch.randn(channels),
                "scale": torch.rand(batch, channels) + 0.5,
                "post": torch.rand(batch, channels) + 0.5,
                "act_gain": 1.4,
            }
    want = reference.blur(x, pad, down=down, gain=4.0, act=act, **options)
    out = poisoned(want.shape, t, channels_last=True)
    close(run(kernels.blur, x, pad, down=down, gain=4.0, act=act, out=out, **options), want, t, steep=3)


def check_upsample(
    run: Run, seed: int = 0, *, dtype: str = "float32", batch: int = 2, channels: int = 8, height: int = 5,
    width: int = 6, add: bool = True,
) -> None:  # fmt: skip
    t = HALF[dtype]
    with seeded(seed):
        x = nhwc(torch.randn(batch, channels, height, width).to(t))
        other = nhwc(torch.randn(batch, channels, 2 * height, 2 * width).to(t)) if add else None
    want = reference.upsample2(x, add=other)
    close(run(kernels.upsample2, x, add=other, out=poisoned(want.shape, t, channels_last=True)), want, t)


def check_picture_skip(
    run: Run, seed: int = 0, *, dtype: str = "float32", batch: int = 2, channels: int = 3, height: int = 6,
    width: int = 10, full: bool = True, planar: bool = True,
) -> None:  # fmt: skip
    with seeded(seed):
        x = torch.randn(batch, channels, height, width).to(HALF[dtype])
        previous, (a, b) = torch.randn(batch, channels, height // 2, width // 2), torch.randn(2, channels)
    x = x if planar else nhwc(x)
    given = {"previous": previous, "act_bias": a, "bias": b} if full else {}
    want = reference.picture_skip(x, gain=1.3, **given)
    got = run(kernels.picture_skip, x, gain=1.3, out=poisoned(want.shape, torch.float32), **given)
    close(got, want, torch.float32)


def frame_of(format: str, height: int, width: int) -> torch.Tensor:
    shape = (height, width, 3) if format == "rgb24" else (height * 3 // 2, width)
    return torch.randint(0, 256, shape, dtype=torch.uint8)


def check_preprocess(
    run: Run, seed: int = 0, *, format: str = "rgb24", height: int = 30, width: int = 22,
    box: tuple[float, ...] | None = None, size: tuple[int, int] = (9, 12), mirror: bool = False,
    dtype: str = "float32", matrix: str = "bt709", full_range: bool = False, channels_last: bool = True,
) -> None:  # fmt: skip
    with seeded(seed):
        frame = frame_of(format, height, width)
        mean, std = torch.rand(2, 3).add(0.2).tolist()
    where = None if box is None else torch.tensor(box, dtype=torch.float32)
    want = reference.preprocess(
        frame, size, format, where, mirror=mirror, constants=colour_constants(matrix, full_range), mean=mean, std=std
    ).to(HALF[dtype])
    out = poisoned((1, 3, *size), HALF[dtype], channels_last=channels_last)
    got = run(
        kernels.preprocess, frame, format=format, box=where, mirror=mirror, matrix=matrix, full_range=full_range,
        mean=tuple(mean), std=tuple(std), out=out,
    )  # fmt: skip
    close(got, want, HALF[dtype], steep=20)


def check_postprocess(
    run: Run, seed: int = 0, *, format: str = "rgb24", dtype: str = "float32", side: tuple[int, int] = (12, 14),
    picture: tuple[int, int] | None = (20, 26), box: tuple[float, ...] | None = (3.5, 2.0, 21.0, 15.25),
    feather: float = 3.0, planar: bool = False,
) -> None:  # fmt: skip
    with seeded(seed):
        x = (torch.randn(1, 3, *side) * 0.8).to(HALF[dtype])
        background = torch.randint(0, 256, (*picture, 3), dtype=torch.uint8) if picture else None
    x[0, 1, side[0] // 2, side[1] // 2] = 300.0  # far out of range
    x = x if planar else nhwc(x)
    where = torch.tensor(box, dtype=torch.float32) if box and picture else None
    size = picture or side
    want = reference.postprocess(x, size, format, background, where, feather)
    got = run(
        kernels.postprocess, x, format=format, background=background, box=where, feather=feather,
        out=poisoned(want.shape, torch.uint8),
    )  # fmt: skip
    difference = (got.int() - want.int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 0.02 + 3 / difference.numel()  # ties round either way


def face_like_mesh(cells: int, side: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A bent, jittered grid of triangles that folds over itself: points, depth, uv, triangles."""
    axis = torch.linspace(-0.1, 1.1, cells + 1)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([x, y], -1).reshape(-1, 2)
    points = grid * side + torch.randn_like(grid) * side / cells * 0.4
    depth = torch.randn(len(grid))
    index = torch.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    triangles = torch.cat([torch.stack(k, -1).reshape(-1, 3) for k in ((a, b, c), (b, d, c))]).int()
    return points.contiguous(), depth, (grid * 100).contiguous(), triangles.contiguous()


def check_mesh(run: Run, seed: int = 0, *, cells: int = 5, height: int = 40, width: int = 33) -> None:
    with seeded(seed):
        points, depth, uv, triangles = face_like_mesh(cells, min(height, width))
    scratch = torch.full((height, width), 1, dtype=torch.int64)
    got = run(
        kernels.mesh_flow, points, depth, uv, triangles, out=poisoned((2, height, width), torch.float32),
        scratch=scratch,
    )  # fmt: skip
    want = reference.mesh_flow(points, depth, uv, triangles, torch.empty(2, height, width), -1e4)
    assert not got.isnan().any()
    apart = ((got - want).abs() > 2e-2).any(0)
    assert apart.float().mean() < 0.005, "only pixels on an edge or at a depth tie may be decided otherwise"


def check_remap(
    run: Run, seed: int = 0, *, channels: int = 3, height: int = 17, width: int = 21, repeat_border: bool = False,
    behind: bool = False,
) -> None:  # fmt: skip
    with seeded(seed):
        picture = torch.randint(0, 256, (13, 19, channels), dtype=torch.uint8)
        flow = torch.rand(2, height, width) * torch.tensor([24.0, 18.0])[:, None, None] - 3
        flow[torch.rand(flow.shape) < 0.05] = float("nan")
        flow[torch.rand(flow.shape) < 0.05] = -1e4
        back = torch.randint(0, 256, (height, width, 3), dtype=torch.uint8) if behind else None
    if repeat_border:
        flow = flow.nan_to_num(-1e4)
    want = reference.remap(picture, flow, behind=back, repeat_border=repeat_border)
    got = run(
        kernels.remap, picture, flow, behind=back, repeat_border=repeat_border, out=poisoned(want.shape, torch.uint8)
    )
    difference = (got.int() - want.int()).abs()
    assert difference.max() <= 1
    assert (difference > 0).float().mean() < 0.02 + 3 / difference.numel()


def pillow_like(frame: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """torch's own antialiased bilinear resize of (H, W, 3)."""
    x = frame.permute(2, 0, 1)[None].float()
    return F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)
