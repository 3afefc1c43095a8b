"""Each CUDA kernel against the same work in PyTorch: time, bandwidth, share of what a copy reaches."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.device import chains
from benchmarks.device.device import (
    add_device_options,
    chosen_device,
    copy_bandwidth,
    note_device,
    rotations,
    seconds_each,
)
from benchmarks.report.result import Result
from benchmarks.report.show import cell, show_notes
from realtime import kernels
from realtime.kernels import backends, reference
from realtime.kernels.camera import colour_constants
from realtime.kernels.warp import Colour, Warped
from realtime.measures.sheets import number

HALF = torch.float16
COMPILED_SETS = 2
"""Sets of inputs that torch.compile is measured with: each is compiled on its own. Small kernels then find their data
in the cache, which is in favour of torch.compile."""


@dataclass
class Job:
    """One kernel at one size, on memory of its own.

    ours: fills its outputs and returns them. chain: the same in PyTorch's operators. exact: the definition, for the
    check. bytes: each input read once, each output written once.
    """

    ours: Callable[[], Any]
    chain: Callable[[], Any]
    exact: Callable[[], Any]
    bytes: int


Maker = Callable[[torch.device, bool], Job]
CASES: dict[str, Maker] = {}
TARGETS = {"warp_blend 64x512x512": {"share": 0.8, "speedup": 2.0}}


def case(name: str) -> Callable[[Maker], Maker]:
    """Registers a maker of jobs under the name it has in the results."""

    def register(make: Maker) -> Maker:
        CASES[name] = make
        return make

    return register


def wide(device: torch.device, c: int, h: int, w: int) -> Tensor:
    """Random half-precision channels-last map (1, C, H, W)."""
    x = torch.randn(1, c, h, w, device=device, dtype=torch.float32).to(HALF)
    return x.contiguous(memory_format=torch.channels_last)


def size_of(*tensors: Tensor | None) -> int:
    """Bytes of tensors."""
    return sum(t.numel() * t.element_size() for t in tensors if t is not None)


def _warp(device: torch.device, c: int, side: int, *, head: bool, colour: bool, align: bool) -> Job:
    f, h = wide(device, c, side, side), wide(device, c, side, side)
    logits = torch.randn(1, 3, side, side, device=device) * 0.1
    previous = torch.randn(1, 3, side // 2, side // 2, device=device) * 0.1
    weight = torch.randn(1, 3, c, device=device) * 0.1 / c**0.5
    rgb = None
    if colour:
        a, b = torch.randn(2, 3, device=device)
        rgb = Colour(torch.randn(3, c, device=device) / c**0.5, a.clone(), b.clone(), torch.zeros_like(previous))
    flow = {"head": weight} if head else {"logits": logits}
    out = Warped(
        None if colour else torch.empty_like(h),
        torch.empty_like(h),
        torch.empty(1, 3, side, side, device=device),
        torch.empty(1, 3, side, side, device=device) if colour else None,
    )
    half_logits, half_previous = logits.half(), previous.half()
    grid, up = reference.base_grid(side, side, torch.device(device), torch.float32).half(), chains.fir_weight(3, 4, f)
    kernel = weight.half()[0, :, :, None, None]

    def chain() -> Any:
        first = torch.nn.functional.conv2d(h, kernel) if head else half_logits
        warped, blended, raw = chains.warp_blend(f, h, first, half_previous, grid, up, align)
        if rgb is None:
            return warped, blended, raw
        x = torch.nn.functional.conv2d(warped, rgb.weight.half()[:, :, None, None])
        a, b = rgb.inner.half()[:, None, None], rgb.outer.half()[:, None, None]
        return blended, raw, chains.picture_skip(x, half_previous, a, b, up)

    def ours() -> Any:
        return kernels.warp_blend(
            f, h, previous=previous, align_corners=align, colour=rgb, want_warped=not colour, out=out, **flow
        )[1]

    def exact() -> Any:
        return reference.warp_blend(f, h, previous=previous, align_corners=align, colour=rgb, **flow)[1]

    moved = size_of(f, h, out.warped, out.blended, out.logits, out.picture, previous)
    return Job(ours, chain, exact, moved + size_of(weight if head else logits))


@case("warp_blend 64x512x512")
def _warp_target(device: torch.device, dry: bool) -> Job:
    return _warp(device, 16 if dry else 64, 16 if dry else 512, head=False, colour=False, align=True)


@case("warp_blend with flow head 128x512x512")
def _warp_lia_x(device: torch.device, dry: bool) -> Job:
    return _warp(device, 16 if dry else 128, 16 if dry else 512, head=True, colour=False, align=True)


@case("warp_blend with both heads 64x256x256")
def _warp_lia(device: torch.device, dry: bool) -> Job:
    return _warp(device, 16 if dry else 64, 16 if dry else 256, head=True, colour=True, align=False)


@case("warp_blend with both heads 512x32x32")
def _warp_small(device: torch.device, dry: bool) -> Job:
    return _warp(device, 16 if dry else 512, 8 if dry else 32, head=True, colour=True, align=False)


def _vectors(device: torch.device, c: int) -> tuple[Tensor, Tensor]:
    return torch.randn(c, device=device), torch.rand(1, c, device=device) + 0.5


@case("bias_act 64x512x512")
def _bias_act(device: torch.device, dry: bool) -> Job:
    c, side = (16, 16) if dry else (64, 512)
    x, residual = wide(device, c, side, side), wide(device, c, side, side)
    out, (bias, scale) = torch.empty_like(x), _vectors(device, c)
    half_bias, half_scale = bias.half().reshape(1, c, 1, 1), scale.half().reshape(1, c, 1, 1)
    return Job(
        lambda: kernels.bias_act(x, bias, scale=scale, residual=residual, out=out),
        lambda: chains.bias_act(x, half_bias, half_scale, residual),
        lambda: reference.bias_act(x, bias, scale=scale, residual=residual, gain=chains.SQRT2),
        size_of(x, residual, out),
    )


@case("activation then blur 64x512x512")
def _act_blur(device: torch.device, dry: bool) -> Job:
    c, side = (16, 16) if dry else (64, 512)
    x, (bias, _) = wide(device, c, side, side), _vectors(device, c)
    out = wide(device, c, side + 1, side + 1)
    half, weight = bias.half().reshape(1, c, 1, 1), chains.fir_weight(c, 1, x)
    return Job(
        lambda: kernels.blur(x, (2, 2), act="before", bias=bias, out=out),
        lambda: chains.act_blur(x, half, weight),
        lambda: reference.blur(x, (2, 2), act="before", bias=bias, act_gain=chains.SQRT2),
        size_of(x, out),
    )


@case("blur then activation 64x512x512")
def _blur_act(device: torch.device, dry: bool) -> Job:
    c, side = (16, 16) if dry else (64, 512)
    x, (bias, scale) = wide(device, c, side + 1, side + 1), _vectors(device, c)
    out, weight = wide(device, c, side, side), chains.fir_weight(c, 4, x)
    half_bias, half_scale = bias.half().reshape(1, c, 1, 1), scale.half().reshape(1, c, 1, 1)
    return Job(
        lambda: kernels.blur(x, (1, 1), gain=4.0, act="after", bias=bias, scale=scale, out=out),
        lambda: chains.blur_act(x, half_bias, half_scale, weight),
        lambda: reference.blur(x, (1, 1), gain=4.0, act="after", bias=bias, scale=scale, act_gain=chains.SQRT2),
        size_of(x, out),
    )


@case("blur to half size 64x512x512")
def _blur_down(device: torch.device, dry: bool) -> Job:
    c, side = (16, 16) if dry else (64, 512)
    x, out = wide(device, c, side, side), wide(device, c, side // 2, side // 2)
    weight = chains.fir_weight(c, 1, x)
    return Job(
        lambda: kernels.blur(x, (1, 1), down=2, out=out),
        lambda: chains.blur_down(x, weight),
        lambda: reference.blur(x, (1, 1), down=2),
        size_of(x, out),
    )


@case("upsample2 128x256x256")
def _upsample(device: torch.device, dry: bool) -> Job:
    c, side = (16, 8) if dry else (128, 256)
    x, out = wide(device, c, side, side), wide(device, c, 2 * side, 2 * side)
    weight = chains.fir_weight(c, 4, x)
    return Job(
        lambda: kernels.upsample2(x, out=out),
        lambda: chains.upsample2(x, weight),
        lambda: reference.upsample2(x),
        size_of(x, out),
    )


@case("picture_skip 3x512x512")
def _skip(device: torch.device, dry: bool) -> Job:
    side = 16 if dry else 512
    x = torch.randn(1, 3, side, side, device=device).half()
    previous, (a, b) = torch.randn(1, 3, side // 2, side // 2, device=device), torch.randn(2, 3, device=device)
    a, b = a.clone(), b.clone()
    out, up, half = torch.empty(1, 3, side, side, device=device), chains.fir_weight(3, 4, x), previous.half()
    first, second = a.half()[:, None, None], b.half()[:, None, None]
    return Job(
        lambda: kernels.picture_skip(x, previous, act_bias=a, bias=b, out=out),
        lambda: chains.picture_skip(x, half, first, second, up),
        lambda: reference.picture_skip(x, previous, act_bias=a, bias=b, gain=chains.SQRT2),
        size_of(x, previous, out),
    )


def _frame(device: torch.device, *shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, device=device)


@case("preprocess RGB 1080x1080 to 512")
def _pre(device: torch.device, dry: bool) -> Job:
    side, to = (36, 16) if dry else (1080, 512)
    frame, out = _frame(device, side, side, 3), wide(device, 3, to, to)
    return Job(
        lambda: kernels.preprocess(frame, out=out),
        lambda: chains.preprocess(frame, to),
        lambda: reference.preprocess(
            frame, (to, to), "rgb24", None, mirror=False, constants=(0,) * 6, mean=(0.5,) * 3, std=(0.5,) * 3
        ),
        size_of(frame, out),
    )


@case("preprocess NV12 1920x1080 to 512")
def _pre_nv12(device: torch.device, dry: bool) -> Job:
    (h, w), to = ((36, 64), 16) if dry else ((1080, 1920), 512)
    frame, out = _frame(device, h * 3 // 2, w), wide(device, 3, to, to)
    constants = colour_constants("bt709", False)
    return Job(
        lambda: kernels.preprocess(frame, format="nv12", out=out),
        lambda: chains.preprocess_nv12(frame, to),
        lambda: reference.preprocess(
            frame, (to, to), "nv12", None, mirror=False, constants=constants, mean=(0.5,) * 3, std=(0.5,) * 3
        ),
        size_of(frame, out),
    )


@case("postprocess 512 to RGB")
def _post(device: torch.device, dry: bool) -> Job:
    side = 16 if dry else 512
    x, out = torch.randn(1, 3, side, side, device=device), _frame(device, side, side, 3)
    return Job(
        lambda: kernels.postprocess(x, out=out),
        lambda: chains.postprocess(x),
        lambda: reference.postprocess(x, (side, side), "rgb24"),
        size_of(x, out),
    )


@case("remap 512 RGB")
def _remap(device: torch.device, dry: bool) -> Job:
    side = 16 if dry else 512
    picture, out = _frame(device, side, side, 3), _frame(device, side, side, 3)
    axis = torch.arange(side, device=device, dtype=torch.float32)
    flow = torch.stack([axis.expand(side, side), axis[:, None].expand(side, side)])
    flow = (flow + torch.randn(2, side, side, device=device)).contiguous()
    planar = picture.permute(2, 0, 1)[None].float().contiguous()
    return Job(
        lambda: kernels.remap(picture, flow, out=out),
        lambda: chains.remap(planar, flow),
        lambda: reference.remap(picture, flow),
        size_of(picture, flow, out),
    )


@case("remap 1024 RGBA over 512 RGB")
def _remap_over(device: torch.device, dry: bool) -> Job:
    side = 16 if dry else 512
    texture, behind, out = (_frame(device, n, n, c) for n, c in ((2 * side, 4), (side, 3), (side, 3)))
    texture[..., :3] = torch.minimum(texture[..., :3], texture[..., 3:])  # colours are multiplied by alpha
    axis = torch.arange(side, device=device, dtype=torch.float32)
    flow = torch.stack([axis.expand(side, side), axis[:, None].expand(side, side)])
    flow = (2 * flow + torch.randn(2, side, side, device=device)).contiguous()
    planar = texture.permute(2, 0, 1)[None].float().contiguous()
    return Job(
        lambda: kernels.remap(texture, flow, behind=behind, out=out),
        lambda: chains.remap_over(planar, flow, behind),
        lambda: reference.remap(texture, flow, behind=behind),
        size_of(texture, flow, behind, out),
    )


@case("mesh_flow 1936 triangles 512x512")
def _mesh(device: torch.device, dry: bool) -> Job:
    """Two sheets of triangles that fill the picture, the first drawn hidden behind the second."""
    side, cells = (16, 3) if dry else (512, 22)
    axis = torch.linspace(-0.1, 1.1, cells + 1)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).reshape(-1, 2)
    index = torch.arange(len(grid)).reshape(cells + 1, cells + 1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    sheet = torch.cat([torch.stack(k, -1).reshape(-1, 3) for k in ((a, b, c), (b, d, c))])
    points = (torch.cat([grid, grid]) + torch.randn(2 * len(grid), 2) * 0.1 / cells) * side
    depth = torch.cat([torch.ones(len(grid)), torch.zeros(len(grid))]) + torch.rand(2 * len(grid)) * 0.5
    uv = torch.cat([1000 - grid * 500, grid * 500])
    triangles = torch.cat([sheet, sheet + len(grid)]).int()
    sides = points[triangles.long()]
    box = int((sides.amax(1) - sides.amin(1)).max()) + 2
    mesh = [t.to(device).contiguous() for t in (points, depth, uv, triangles)]
    out = torch.empty(2, side, side, device=device)
    scratch = torch.empty(side, side, dtype=torch.int64, device=device)
    return Job(
        lambda: kernels.mesh_flow(*mesh, scratch=scratch, out=out),
        lambda: chains.mesh_flow(mesh[0], mesh[1], mesh[2], mesh[3], (side, side), box),
        lambda: reference.mesh_flow(points, depth, uv, triangles, torch.empty(2, side, side), -1e4),
        size_of(*mesh, out),
    )


def relative_error(got: Tensor, want: Tensor) -> float:
    """‖got - want‖ / ‖want‖."""
    got, want = got.double().cpu(), want.double().cpu()
    return float((got - want).norm() / want.norm().clamp_min(1e-30))


def add_options(parser: argparse.ArgumentParser) -> None:
    add_device_options(parser)
    parser.add_argument("--only", metavar="TEXT", default="", help="kernels whose name contains TEXT")
    parser.add_argument("--no-compile", action="store_true", help="leave out torch.compile, which takes minutes")


def run(options: argparse.Namespace) -> Result:
    device = chosen_device(options.dry)
    result = Result("kernels", settings={"only": options.only, "dry": options.dry})
    note_device(result, device)
    roof = copy_bandwidth(device)
    result.add("copy bandwidth", roof / 1e9, "GB/s", about="device to device, bytes read plus bytes written")
    for name in CASES:
        if options.only in name:
            with backends.emulated() if options.dry else nullcontext():
                _measure(result, name, device, roof, options)
    return result


def _measure(result: Result, name: str, device: torch.device, roof: float, options: argparse.Namespace) -> None:
    first = CASES[name](device, options.dry)
    error = relative_error(_one(first.ours()), _one(first.exact()))
    result.add(f"{name}.error", error, "", better="lower", target=4e-3, about="against float32, relative norm")
    jobs = [first, *(CASES[name](device, options.dry) for _ in range(rotations(first.bytes, device) - 1))]
    repeats = 10 if options.quick else 30
    ours = seconds_each([j.ours for j in jobs], device, repeats=repeats)
    eager = seconds_each([j.chain for j in jobs], device, repeats=repeats)
    seconds = statistics.median(ours)
    targets = TARGETS.get(name, {})
    result.add(f"{name}.us", None, "us", better="lower", samples=[s * 1e6 for s in ours])
    result.add(f"{name}.bandwidth", first.bytes / seconds / 1e9, "GB/s", better="higher")
    result.add(
        f"{name}.share", first.bytes / seconds / roof, "", better="higher", target=targets.get("share"),
        about="of the measured copy bandwidth",
    )  # fmt: skip
    result.add(f"{name}.eager us", None, "us", samples=[s * 1e6 for s in eager])
    result.add(
        f"{name}.speedup", statistics.median(eager) / seconds, "x", better="higher", target=targets.get("speedup"),
        about="over PyTorch's operators in half precision, both replayed from a graph",
    )  # fmt: skip
    if options.no_compile:
        return
    try:
        compiled = [_compiled(j.chain, device) for j in jobs[: 1 if device.type == "cpu" else COMPILED_SETS]]
        times = seconds_each(compiled, device, repeats=repeats)
    except Exception as error:  # the compiler is a baseline; where it fails the rest still counts
        result.notes.append(f"{name}: torch.compile fails ({type(error).__name__}: {str(error)[:120]})")
        return
    result.add(f"{name}.compiled us", None, "us", samples=[s * 1e6 for s in times])
    result.add(f"{name}.over compiled", statistics.median(times) / seconds, "x", better="higher")


def _compiled(chain: Callable[[], Any], device: torch.device) -> Callable[[], Any]:
    torch._dynamo.reset()
    if device.type == "cpu":
        return torch.compile(chain, backend="eager")
    return torch.compile(chain, mode="max-autotune-no-cudagraphs")


def _one(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def rows(result: Result) -> Iterator[str]:
    """Names of the kernels that were measured."""
    for figure in result.figures:
        if figure.name.endswith(".us"):
            yield figure.name.removesuffix(".us")


def show(result: Result, console: Console) -> None:
    table = Table(title=f"kernels on {result.settings.get('device')}")
    columns = {"us": "us", "bandwidth": "GB/s", "share": "of copy", "eager us": "eager us", "speedup": "x eager"}
    columns |= {"compiled us": "compiled us", "over compiled": "x compiled", "error": "error"}
    for title in ("kernel", *columns.values()):
        table.add_column(title)
    for name in rows(result):
        table.add_row(name, *(cell(result.get(f"{name}.{key}")) for key in columns))
    console.print(table)
    roof = result.get("copy bandwidth")
    console.print(f"copy bandwidth {number(roof.value if roof else None)} GB/s", highlight=False)
    show_notes(result, console)
