"""Every kernel, run through the host shim (and on a GPU where there is one), against PyTorch's operators."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realtime import kernels
from realtime.kernels import host, reference, sources
from tests.support import kernel_checks as checks
from tests.support.kernel_checks import host_run, nhwc

needs_compiler = pytest.mark.skipif(bool(host.missing()), reason=host.missing() or "a C++ compiler is there")
few = settings(max_examples=12, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
seeds = st.integers(0, 10_000)
dtypes = st.sampled_from(["float16", "float32"])
channels = st.integers(1, 9).map(lambda n: 8 * n)
sides = st.integers(1, 19)
flags = st.booleans()


@pytest.fixture(params=["host", pytest.param("cuda", marks=pytest.mark.gpu)], scope="module")
def run(request):
    if request.param == "cuda":
        if not kernels.available():
            pytest.skip(kernels.why_unavailable())
        return checks.cuda_run
    if host.missing():
        pytest.skip(host.missing())
    return host_run()


@few
@given(seeds, dtypes, st.integers(1, 3), channels, sides, sides, flags, flags, flags,
       st.sampled_from(["plain", "wild", "none"]), flags, flags, flags)  # fmt: skip
def test_warp_blend_is_grid_sample_and_blend(
    run, seed, dtype, b, c, h, w, align, head, shared, flow, planar, extras, colour
):
    checks.check_warp(
        run, seed, dtype=dtype, batch=b, channels=c, height=h, width=w, align_corners=align, head=head,
        shared=shared, flow=flow, planar=planar, extras=extras, colour=colour,
    )  # fmt: skip


@pytest.mark.parametrize("align", [False, True])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_warp_blend_at_the_sizes_of_the_networks(run, align, dtype):
    checks.check_warp(run, 1, dtype=dtype, batch=1, channels=512, height=8, width=8, align_corners=align, head=True)
    checks.check_warp(run, 2, dtype=dtype, batch=1, channels=64, height=64, width=64, align_corners=align)
    checks.check_warp(run, 5, dtype=dtype, batch=1, channels=768, height=16, width=16, head=True, colour=True)
    checks.check_warp(run, 3, dtype=dtype, batch=1, channels=512, height=32, width=32, align_corners=align, head=True)


@few
@given(seeds, dtypes, st.integers(1, 2), st.integers(1, 5), st.integers(1, 3),
       st.tuples(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9)), flags, flags)  # fmt: skip
def test_volume_warps_are_grid_sample(run, seed, dtype, b, k, c, sides, shared, wild):
    checks.check_volume(
        run, seed, dtype=dtype, batch=b, keypoints=k, channels=8 * c, sides=sides, shared=shared, wild=wild
    )


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_volume_warps_at_the_depth_and_keypoints_of_the_network(run, dtype):
    checks.check_volume(run, 1, dtype=dtype, batch=1, keypoints=21, channels=32, sides=(16, 12, 12))


def test_volume_warps_on_pytorch_are_grid_sample():
    checks.check_volume(lambda kernel, *args, **kwargs: kernel(*args, **kwargs), 3, keypoints=5, sides=(16, 8, 6))


def test_trilinear_sampling_without_a_library_operator_is_grid_sample():
    """What Apple's GPUs run, which have no `grid_sample` of volumes."""
    volume, grid = torch.randn(2, 3, 4, 5, 6), torch.rand(2, 3, 4, 5, 3) * 2.6 - 1.3
    want = reference.trilinear(volume, grid)
    torch.testing.assert_close(reference.gathered(volume, grid), want, rtol=0, atol=1e-5)


@few
@given(seeds, dtypes, st.integers(1, 3), channels, sides, sides, flags)
def test_bias_act(run, seed, dtype, b, c, h, w, full):
    checks.check_bias_act(run, seed, dtype=dtype, batch=b, channels=c, height=h, width=w, full=full)


@few
@given(seeds, dtypes, st.integers(1, 2), channels, st.integers(2, 21), st.integers(2, 21),
       st.sampled_from([(2, 2), (1, 1), (2, 1), (1, 2), (3, 0)]),
       st.sampled_from([(1, None), (1, "before"), (1, "after"), (2, None)]))  # fmt: skip
def test_blur(run, seed, dtype, b, c, h, w, pad, mode):
    checks.check_blur(
        run, seed, dtype=dtype, batch=b, channels=c, height=h, width=w, pad=pad, down=mode[0], act=mode[1]
    )


@few
@given(seeds, dtypes, st.integers(1, 2), channels, sides, sides, flags)
def test_upsample2(run, seed, dtype, b, c, h, w, add):
    checks.check_upsample(run, seed, dtype=dtype, batch=b, channels=c, height=h, width=w, add=add)


@few
@given(seeds, dtypes, st.integers(1, 2), st.integers(1, 4), sides, sides, flags, flags)
def test_picture_skip(run, seed, dtype, b, c, h, w, full, planar):
    checks.check_picture_skip(
        run, seed, dtype=dtype, batch=b, channels=c, height=2 * h, width=2 * w, full=full, planar=planar
    )


@few
@given(seeds, st.sampled_from(["rgb24", "nv12", "i420"]), st.integers(1, 40), st.integers(1, 40),
       st.tuples(sides, sides), flags, dtypes, st.sampled_from(["bt601", "bt709"]), flags, flags,
       st.none() | st.tuples(st.floats(-9, 9), st.floats(-9, 9), st.floats(1, 90), st.floats(1, 90)))  # fmt: skip
def test_preprocess(run, seed, format, h, w, size, mirror, dtype, matrix, full, last, box):
    if box is not None:
        box = (box[0], box[1], box[0] + box[2], box[1] + box[3])
    checks.check_preprocess(
        run, seed, format=format, height=2 * h, width=2 * w, box=box, size=size, mirror=mirror, dtype=dtype,
        matrix=matrix, full_range=full, channels_last=last,
    )  # fmt: skip


@few
@given(seeds, st.sampled_from(["rgb24", "nv12", "i420"]), dtypes, st.tuples(sides, sides),
       st.tuples(st.integers(1, 15), st.integers(1, 15)),
       st.none() | st.tuples(st.floats(-9, 20), st.floats(-9, 20), st.floats(1, 40), st.floats(1, 40)),
       st.floats(0, 6), flags, flags)  # fmt: skip
def test_postprocess(run, seed, format, dtype, side, picture, box, feather, planar, pasted):
    if box is not None:
        box = (box[0], box[1], box[0] + box[2], box[1] + box[3])
    even = 2 * picture[0], 2 * picture[1]
    checks.check_postprocess(
        run, seed, format=format, dtype=dtype, side=side if pasted else even, picture=even if pasted else None,
        box=box, feather=feather, planar=planar,
    )  # fmt: skip


@few
@given(seeds, st.integers(1, 9), st.integers(4, 60), st.integers(4, 60))
def test_mesh_flow(run, seed, cells, h, w):
    checks.check_mesh(run, seed, cells=cells, height=h, width=w)


@few
@given(seeds, st.sampled_from([1, 3, 4]), sides, sides, flags, flags)
def test_remap(run, seed, c, h, w, repeat, behind):
    checks.check_remap(run, seed, channels=4 if behind else c, height=h, width=w, repeat_border=repeat, behind=behind)


def test_mesh_flow_has_no_cracks_between_triangles(run):
    points, depth, uv, triangles = checks.face_like_mesh(12, 128)
    flow = run(kernels.mesh_flow, points.clone(), depth, uv, triangles, size=(128, 128))
    straight = torch.stack(
        torch.meshgrid(torch.linspace(-9, 137, 13), torch.linspace(-9, 137, 13), indexing="xy"), -1
    )
    flow = run(kernels.mesh_flow, straight.reshape(-1, 2).contiguous(), depth * 0, uv, triangles, size=(128, 128))
    assert (flow > -1000).all()


def test_mesh_flow_can_be_drawn_over_another_layer(run):
    points = torch.tensor([[1.0, 1.0], [5.0, 1.0], [1.0, 5.0]])
    triangles = torch.tensor([[0, 1, 2]], dtype=torch.int32)
    out = torch.full((2, 8, 8), 3.0)
    flow = run(kernels.mesh_flow, points, torch.zeros(3), points + 10, triangles, outside=None, out=out)
    assert flow[:, 7, 7].tolist() == [3.0, 3.0]
    assert flow[:, 2, 3].tolist() == pytest.approx([13.0, 12.0])


def test_mesh_flow_agrees_with_the_cpu_engine(run):
    raster = pytest.importorskip("realtime.engines.mesh.raster")
    with checks.seeded(5):
        points, depth, uv, triangles = checks.face_like_mesh(8, 96)
    x, y, z = (np.empty((96, 96), np.float32) for _ in range(3))
    raster.rasterise(*(t.numpy() for t in (points, depth, uv, triangles)), 0, x, y, z)
    flow = run(kernels.mesh_flow, points, depth, uv, triangles, size=(96, 96))
    apart = (flow - torch.from_numpy(np.stack([x, y]))).abs().amax(0) > 2e-2
    assert apart.float().mean() < 0.005


def test_preprocess_is_torchs_antialiased_resize(run):
    frame = checks.frame_of("rgb24", 90, 61)
    for size in ((32, 32), (7, 90), (120, 100)):
        got = run(kernels.preprocess, frame, size=size, dtype="float32", mean=(0, 0, 0), std=(1 / 255,) * 3)
        torch.testing.assert_close(got, checks.pillow_like(frame, size), atol=2e-2, rtol=1e-4)


def test_postprocess_yuv_is_limited_range_bt709(run):
    for rgb, ycc in {(1, 1, 1): (235, 128, 128), (-1, -1, -1): (16, 128, 128), (1, -1, -1): (63, 102, 240)}.items():
        x = torch.tensor(rgb, dtype=torch.float32)[None, :, None, None].expand(1, 3, 4, 4).contiguous()
        got = run(kernels.postprocess, x, format="i420").reshape(-1)
        assert (got[0], got[16], got[20]) == ycc


def test_flow_that_is_no_number_shows_nothing_and_spoils_no_other_pixel(run):
    features, trunk = nhwc(torch.ones(1, 8, 4, 4)), nhwc(torch.full((1, 8, 4, 4), 2.0))
    logits = torch.zeros(1, 3, 4, 4)
    logits[:, 2] = 50.0
    logits[0, 0, 1, 2] = math.nan
    got = run(kernels.warp_blend, features, trunk, logits, align_corners=True)
    assert got.warped[0, :, 1, 2].eq(0).all()
    logits[0, 2, 3, 3] = math.nan
    got = run(kernels.warp_blend, features, trunk, logits, align_corners=True)
    assert got.blended[0, :, 3, 3].eq(2).all()
    assert got.blended.isfinite().all()


def test_output_that_is_no_number_becomes_black(run):
    x = torch.full((1, 3, 4, 4), math.nan)
    assert run(kernels.postprocess, x).eq(0).all()


def test_reference_follows_the_papers_formulas():
    """The chain of operators itself, against grid_sample and convolutions written out."""
    x = torch.randn(1, 4, 6, 5, dtype=torch.float64)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=torch.float64)
    stuffed = torch.zeros(1, 4, 12, 10, dtype=torch.float64)
    stuffed[:, :, ::2, ::2] = x
    weight = (torch.outer(taps, taps) / 16).expand(4, 1, 4, 4)
    want = F.conv2d(F.pad(stuffed, (2, 1, 2, 1)), weight, groups=4)
    torch.testing.assert_close(reference.up2(x), want)
    inner = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(want[..., 1:-1, 1:-1], inner[..., 1:-1, 1:-1])


@needs_compiler
def test_results_do_not_depend_on_the_order_of_threads():
    for kind in ({}, {"head": True}, {"head": True, "colour": True}, {"colour": True}):
        checks.check_warp(host_run(falling=True), 4, channels=72, height=12, width=20, dtype="float16", **kind)
    checks.check_mesh(host_run(falling=True), 4)


# --- the checks can fail -------------------------------------------------------------------------------------------

MUTANTS = {
    "x and y exchanged": ("warp", "look_x[p] = looks_at(logit[0]", "look_x[p] = looks_at(logit[1]", "warp"),
    "border padding": ("warp", "const int ix = (int)left,", "const int ix = clampi((int)left, 0, W - 2),", "warp"),
    "pixel-centre grid": ("warp", "i * ((float)n / (n - 1))", "i + 0.5f", "warp"),
    "the other align_corners": ("warp", "if (align_corners) return", "if (!align_corners) return", "warp"),
    "mask not applied": ("warp", "* (1.f - wy) * m, w01", "* (1.f - wy), w01", "warp"),
    "logits not upsampled by the filter": ("warp", "0.25f * nf", "0.f * nf", "warp"),
    "NaN flow kept": ("warp", "if (isnan(logit)) return OUTSIDE;", "", "wild"),
    "missing barrier": ("warp", "__syncthreads();\n    }", "}", "head"),
    "colour of the trunk": ("warp", "sum[k] += w[i] * out.v[i]", "sum[k] += w[i] * h.v[i]", "colour"),
    "no leak": ("activation", "i] + a[i], slope)", "i] + a[i], 0.f)", "act"),
    "next style not applied": ("activation", "gain * q[i]", "gain", "act"),
    "wrong padding": ("fir", "const int iy = oy * DOWN - before + r;", "const int iy = oy * DOWN - 1 + r;", "blur"),
    "upsampling mirrored": ("fir", "dx == 2 * rx - 1", "dx == 1 - 2 * rx", "up"),
    "columns not scaled": ("camera", "(right - left) / out_w", "1.f", "pre"),
    "no antialiasing": ("resample", "fmaxf(ratio, 1.f)", "1.f", "pre"),
    "chroma exchanged": ("camera", "chroma[2 * block + 1]", "chroma[2 * block]", "nv12"),
    "no feather": ("picture", "fminf(depth / p.feather, 1.f)", "1.f", "post"),
    "farthest triangle": ("mesh", "(unsigned long long)ordered(z)", "(unsigned long long)ordered(-z)", "mesh"),
}  # fmt: skip

MUTANT_CHECKS = {
    "warp": lambda run: [checks.check_warp(run, 1, align_corners=a) for a in (False, True)],
    "wild": lambda run: checks.check_warp(run, 1, flow="wild"),
    "head": lambda run: checks.check_warp(run, 1, head=True),
    "colour": lambda run: checks.check_warp(run, 1, head=True, colour=True),
    "act": lambda run: checks.check_bias_act(run, 1),
    "blur": lambda run: checks.check_blur(run, 1, pad=(2, 2)),
    "up": lambda run: checks.check_upsample(run, 1),
    "pre": lambda run: checks.check_preprocess(run, 1),
    "nv12": lambda run: checks.check_preprocess(run, 1, format="nv12"),
    "post": lambda run: checks.check_postprocess(run, 1),
    "mesh": lambda run: checks.check_mesh(run, 1),
}


@needs_compiler
def test_checks_fail_when_a_kernel_is_wrong(tmp_path, monkeypatch):
    monkeypatch.setattr(host, "FLAGS", tuple("-O0" if f == "-O2" else f for f in host.FLAGS))

    def mutate(job):
        number, (module, right, wrong, check) = job
        folder = tmp_path / str(number)
        shutil.copytree(sources.HERE, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__", "host"))
        file = folder / ("resample.cuh" if module == "resample" else f"{module}.cu")
        assert file.read_text().count(right) >= 1, right
        file.write_text(file.read_text().replace(right, wrong, 1))
        host.library("camera" if module == "resample" else module, folder)
        return folder, check

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        made = list(pool.map(mutate, enumerate(MUTANTS.values())))
    for name, (folder, check) in zip(MUTANTS, made, strict=True):
        try:
            for falling in (False, True):
                MUTANT_CHECKS[check](host_run(folder=folder, falling=falling))
        except AssertionError:
            continue
        pytest.fail(f"nothing noticed: {name}")


# --- memory --------------------------------------------------------------------------------------------------------

FENCED = '''
import ctypes, itertools, mmap, sys
import numpy as np
import kernels
from kernels.backends import emulated
from kernels.warp import Colour, Warped
libc = ctypes.CDLL(None)
libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
PAGE = mmap.PAGESIZE
keep = []
def fenced(array, high, last=False):
    """A copy of `array` that ends (or starts) right at memory that may not be touched."""
    if last: array = np.ascontiguousarray(array.transpose(0, 2, 3, 1))
    size = -(-max(array.nbytes, 1) // PAGE) * PAGE
    block = mmap.mmap(-1, size + 2 * PAGE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(block))
    for guard in (start, start + PAGE + size):
        assert libc.mprotect(guard, PAGE, 0) == 0
    keep.append(block)
    offset = PAGE + (size - array.nbytes if high else 0)
    inside = np.frombuffer(block, array.dtype, array.size, offset).reshape(array.shape)
    inside[...] = array
    return inside.transpose(0, 3, 1, 2) if last else inside
r = np.random.default_rng(1)
def normal(*shape, t="float32"): return r.standard_normal(shape).astype(t)
with emulated():
    for high, t, (h, w) in itertools.product((True, False), ("float16", "float32"), ((6, 10), (7, 5), (1, 1))):
        a = lambda x: fenced(x, high)
        n = lambda *s: fenced(normal(*s, t=t), high, True)
        b, c = 2, 24
        even = h % 2 == 0 and w % 2 == 0
        p = a(normal(b, 3, h // 2, w // 2)) if even else None
        flows = a(normal(b, 3, h, w) * 9)
        for kw in ({"logits": flows}, {"head": a(normal(b, 3, c))}):
            o = Warped(n(b, c, h, w), n(b, c, h, w), a(normal(b, 3, h, w)), a(normal(b, 3, h, w)))
            rgb = Colour(a(normal(3, c)), a(normal(3)), a(normal(3)), p)
            kernels.warp_blend(n(b, c, h, w), n(b, c, h, w), previous=p, align_corners=False, bias=a(normal(3)),
                               post=a(normal(b, c)), colour=rgb, out=o, **kw)
        kernels.bias_act(n(b, c, h, w), a(normal(c)), scale=a(normal(b, c)), post=a(normal(c)),
                         residual=n(b, c, h, w), out=n(b, c, h, w))
        for pad, down, act in (((2, 2), 1, "before"), ((2, 2), 1, "after"), ((1, 2), 1, None), ((2, 2), 2, None)):
            k = {"bias": a(normal(c)), "scale": a(normal(b, c)), "post": a(normal(b, c))} if act else {}
            size = [(x + sum(pad) - 4) // down + 1 for x in (h, w)]
            kernels.blur(n(b, c, h, w), pad, down=down, act=act, out=n(b, c, *size), **k)
        kernels.upsample2(n(b, c, h, w), add=n(b, c, 2 * h, 2 * w), out=n(b, c, 2 * h, 2 * w))
        if even:
            kernels.picture_skip(a(normal(b, 3, h, w, t=t)), p, act_bias=a(normal(3)), bias=a(normal(3)),
                                 out=a(normal(b, 3, h, w)))
        byte = lambda *s: a(r.integers(0, 256, s, dtype="uint8"))
        for f, shape in (("rgb24", (2 * h, 2 * w, 3)), ("nv12", (3 * h, 2 * w)), ("i420", (3 * h, 2 * w))):
            for box in (None, a(np.array([-4, 1, 2 * w + 5, 9], "float32"))):
                kernels.preprocess(byte(*shape), format=f, box=box, out=a(normal(1, 3, 5, 9, t=t)))
            where = a(np.array([1.5, -3, 2 * w, 7], "float32"))
            kernels.postprocess(n(1, 3 + 5, h, w)[:, :3], format=f, background=byte(2 * h, 2 * w, 3), box=where,
                                feather=2.0, out=byte(*shape))
        points = a((normal(30, 2) * 8 + 5))
        points[3] = np.nan
        points[4] = 1e30
        corners = a(r.integers(0, 30, (40, 3), dtype="int32"))
        flow = kernels.mesh_flow(points, a(normal(30)), a(normal(30, 2)), corners, out=a(normal(2, h, w)),
                                 scratch=a(np.zeros((h, w), "int64")))
        wild = a(normal(2, h, w) * 1e6)
        kernels.remap(byte(5, 6, 4), wild, behind=byte(h, w, 3), out=byte(h, w, 3))
        kernels.remap(byte(5, 6, 3), wild, repeat_border=True, out=byte(h, w, 3))
assert "torch" not in sys.modules and "cupy" not in sys.modules and "realtime" not in sys.modules
print("every access stayed inside")
'''


@needs_compiler
def test_no_kernel_touches_memory_beyond_its_arrays():
    done = subprocess.run(
        [sys.executable, "-c", FENCED], capture_output=True, text=True, check=False, cwd=sources.HERE.parent
    )
    assert done.returncode == 0, done.stderr
    assert "every access stayed inside" in done.stdout
