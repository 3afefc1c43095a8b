"""The mesh engine's warp on a GPU against that on the CPU: the same pictures, portrait by portrait.

Without a GPU the same code runs on the kernels' CPU side: PyTorch's operators, and the kernels' own source through
the host shim.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtime import kernels  # noqa: E402
from realtime.engines.gpu.thread import GpuThread  # noqa: E402
from realtime.engines.mesh import warp  # noqa: E402
from realtime.engines.mesh.engine import MeshEngine  # noqa: E402
from realtime.engines.mesh.renderer import MeshRenderer, move_mesh  # noqa: E402
from realtime.engines.mesh.warp import KernelWarp, warp_on  # noqa: E402
from realtime.errors import BadValue, NoDevice  # noqa: E402
from realtime.kernels import backends, host  # noqa: E402
from realtime.media.portraits import builtin_portrait  # noqa: E402

MOTIONS = {"rest": {}, "turned": {"yaw": 30.0}, "far": {"yaw": -40.0, "pitch": 15.0, "jaw_open": 0.5, "zoom": 0.3}}


@pytest.fixture(scope="module")
def engine():
    made = MeshEngine(128)
    made.set_portrait(builtin_portrait())
    made.reference = made.portrait_code
    yield made
    made.close()


def on(engine: MeshEngine, chosen: warp.Warp, **edits: float) -> np.ndarray:
    """The picture of that motion, its mesh warped by `chosen`."""
    engine._renderer = MeshRenderer(chosen)
    code = engine.portrait_code
    values = code.values.copy()
    index = {d.name: d.index for d in engine.directions}
    for name, amount in edits.items():
        values[index[name]] += amount
    return engine.render(code.with_values(values)).astype(int)


@pytest.fixture(params=["operators", "host", pytest.param("cuda", marks=pytest.mark.gpu)])
def kernel_warp(request):
    if request.param == "host" and host.missing():
        pytest.skip(host.missing())
    if request.param == "cuda" and not kernels.available():
        pytest.skip(kernels.why_unavailable())
    with backends.emulated() if request.param == "host" else nullcontext():
        yield KernelWarp(torch.device("cuda:0" if request.param == "cuda" else "cpu"))


@pytest.mark.parametrize("motion", MOTIONS)
def test_it_draws_what_the_cpu_draws(engine, kernel_warp, motion):
    cpu, other = (on(engine, w, **MOTIONS[motion]) for w in (warp_on("cpu"), kernel_warp))
    apart = np.abs(cpu - other).max(axis=2)
    # OpenCV's remap knows 32 steps between two texels; single pixels on an edge may be decided otherwise
    assert apart.mean() < 0.6
    assert np.quantile(apart, 0.99) <= 4
    assert np.quantile(apart, 0.999) <= 16
    assert (apart > 40).mean() < 0.0005


def test_another_portrait_is_taken_at_once(kernel_warp):
    engine = MeshEngine((160, 96))
    try:
        for picture in (builtin_portrait(), np.ascontiguousarray(builtin_portrait()[:, ::-1])):
            engine.set_portrait(picture)
            engine.reference = engine.portrait_code
            cpu, other = (on(engine, w, yaw=12.0) for w in (warp_on("auto"), kernel_warp))
            assert other.shape == (96, 160, 3)
            assert np.abs(cpu - other).mean() < 0.6
    finally:
        engine.close()


def test_pictures_are_new_arrays(engine, kernel_warp):
    portrait = engine.portrait
    points = np.ascontiguousarray(portrait.uv / warp.ZOOM, np.float32)
    first = kernel_warp.draw(portrait, points, np.zeros(len(points), np.float32))
    kept = first.copy()
    kernel_warp.draw(portrait, points + 5.0, np.zeros(len(points), np.float32))
    assert (first == kept).all()


def test_a_gpu_that_cannot_be_used_is_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr(kernels, "why_unavailable", lambda: "CuPy is not installed", raising=False)
    with pytest.raises(NoDevice) as refused:
        MeshEngine(128, device="cuda")
    assert str(refused.value) == (
        "cuda: the mesh engine cannot run there: CuPy is not installed. Without --device it runs on the CPU"
    )


def test_a_gpu_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(kernels, "why_unavailable", lambda: "", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(NoDevice, match="cuda:3: there are 1 CUDA devices"):
        MeshEngine(128, device="cuda:3")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda0", "mps"])
def test_unknown_devices_are_refused(name):
    with pytest.raises(BadValue, match="auto, cpu, cuda or cuda:N"):
        MeshEngine(128, device=name)


def test_auto_is_the_cpu():
    assert MeshEngine(128).device == MeshEngine(128, device="cpu").device == "cpu"


@pytest.mark.gpu
def test_the_engine_itself_on_a_gpu(engine):
    if not kernels.available():
        pytest.skip(kernels.why_unavailable())
    there = MeshEngine(128, device="cuda")
    there.set_portrait(builtin_portrait())
    there.reference = there.portrait_code
    values = there.portrait_code.values.copy()
    values[next(d.index for d in there.directions if d.name == "yaw")] += 30.0
    picture = there.render(there.portrait_code.with_values(values)).astype(int)
    assert there.device.startswith("cuda:0 ")
    assert np.abs(picture - on(engine, warp_on("cpu"), yaw=30.0)).mean() < 0.6


def test_sessions_that_draw_at_once_launch_from_the_devices_own_thread(engine, monkeypatch):
    """A fake GPU, whose owner is known: nobody else launches, whoever draws, and the pictures are right."""
    launched: list[tuple[str, int]] = []

    def watched(name: str, launch):
        def launching(*args, **options):
            launched.append((name, threading.get_ident()))
            return launch(*args, **options)

        return launching

    for name in ("mesh_flow", "remap"):
        monkeypatch.setattr(kernels, name, watched(name, getattr(kernels, name)))
    expected = on(engine, KernelWarp(torch.device("cpu")), yaw=20.0)
    launched.clear()
    portrait, target = (
        engine.portrait,
        engine._retargeter.target(engine.portrait_code.values, engine.portrait_code.values),
    )
    points, depth = move_mesh(portrait, target.face, target.pose)
    with GpuThread(name="fake gpu") as owner:
        assert (on(engine, KernelWarp(torch.device("cpu"), owner), yaw=20.0) == expected).all()
        warps = [KernelWarp(torch.device("cpu"), owner) for _ in range(3)]
        with ThreadPoolExecutor(3) as sessions:
            drawn = list(sessions.map(lambda w: w.draw(portrait, points, depth), warps))
        own = owner.submit(threading.get_ident).result()
    assert all((picture == drawn[0]).all() for picture in drawn)
    assert {name for name, _ in launched} == {"mesh_flow", "remap"}
    assert {thread for _, thread in launched} == {own}
