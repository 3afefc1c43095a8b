"""Sessions of a neural engine on the device's thread, with the CPU as the device."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtime.engines.gpu import path as gpu_path  # noqa: E402
from realtime.engines.gpu.graph import Immediate  # noqa: E402
from realtime.engines.gpu.path import GpuPath  # noqa: E402
from realtime.engines.latent.engine import LatentEngine  # noqa: E402
from realtime.engines.latent.lia import FastLia, Lia  # noqa: E402
from realtime.engines.neural.place import Placement  # noqa: E402
from realtime.engines.weights import recipe  # noqa: E402
from realtime.errors import DeviceError  # noqa: E402

CPU = torch.device("cpu")
SIDE = 16


@pytest.fixture(scope="module")
def net():
    lia = Lia(size=SIDE)
    recipe.fill(lia, 1)
    return FastLia(lia, Placement(CPU))


@pytest.fixture
def path(net):
    path = GpuPath(net, LatentEngine.programs, CPU, "first", make_device=lambda device: Immediate())
    yield path
    path.close()


def portrait(seed):
    return torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def plain(net, x, code, reference):
    """The picture of the prepared network, step by step."""
    with torch.inference_mode():
        z, feats = net.encode(x)
        amount = torch.from_numpy(code - reference)[None] + net.alpha(z)
        rgb = net.decode(z + net.move(amount), net.features(feats))[0].permute(1, 2, 0)
        return (rgb * 127.5 + 127.5).clamp(0, 255).round().byte().numpy()


def test_a_session_encodes_and_renders_as_the_network_does(net, path):
    image = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    code = path.encode(image, (0, 0, SIDE, SIDE))
    with torch.inference_mode():
        x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 127.5 - 1
        np.testing.assert_allclose(code, net.alpha(net.latent(x))[0].numpy(), atol=1e-4)
    with pytest.raises(DeviceError, match="no portrait"):
        path.render(code, code)
    path.set_portrait(portrait(1))
    reference = np.zeros_like(code)
    got = path.render(code, reference)
    assert np.abs(got.astype(int) - plain(net, portrait(1), code, reference)).max() <= 1


def test_sessions_share_graphs_and_not_portraits(net, path):
    other = GpuPath(
        net,
        LatentEngine.programs,
        CPU,
        "second",
        make_device=lambda device: pytest.fail("the device is there already"),
    )
    code, zero = np.full(20, 0.3, np.float32), np.zeros(20, np.float32)
    for p, seed in ((path, 1), (other, 2)):
        p.set_portrait(portrait(seed))
    for p, seed in ((path, 1), (other, 2), (path, 1)):
        assert np.abs(p.render(code, zero).astype(int) - plain(net, portrait(seed), code, zero)).max() <= 1
    path.close()
    assert np.abs(other.render(code, zero).astype(int) - plain(net, portrait(2), code, zero)).max() <= 1
    other.close()
    other.close()


def test_the_memory_of_a_network_is_given_back_with_its_last_session():
    lia = Lia(size=8)
    recipe.fill(lia, 1)
    network = FastLia(lia, Placement(CPU))
    path = GpuPath(network, LatentEngine.programs, CPU, make_device=lambda device: Immediate())
    path.set_portrait(torch.zeros(1, 3, 8, 8))
    path.render(np.zeros(20, np.float32), np.zeros(20, np.float32))
    gone = weakref.ref(network)
    path.close()
    del path, network
    gpu_path.gpu_thread(CPU).submit(lambda: None).result()
    gc.collect()
    assert gone() is None


def test_a_camera_may_change_its_size(path):
    for side in (24, 40, 24):
        image = np.full((side, side + 8, 3), 90, np.uint8)
        assert path.encode(image, (0, 0, side, side)).shape == (20,)


def test_a_full_device_refuses_the_next_session(net, path, monkeypatch):
    path.set_portrait(portrait(1))
    seats = [GpuPath(net, LatentEngine.programs, CPU, f"s{k}") for k in range(8)]
    for p in seats[:7]:
        p.set_portrait(portrait(1))
    with pytest.raises(DeviceError, match="no room for the session s7"):
        seats[7].set_portrait(portrait(1))
    for p in seats:
        p.close()


def test_rows_are_fewer_where_memory_is_short(net):
    class Small(Immediate):
        room = 12_000_000

        def zeros(self, count, *, pinned=False):
            type(self).room -= 0 if pinned else count
            if self.room < 0:
                type(self).room = 3_000_000
                raise torch.OutOfMemoryError("full")
            return super().zeros(count, pinned=pinned)

    program = gpu_path.AnimatorProgram(net, part="render", dtype=torch.float32, device="cpu")
    Small.room = sum(spec.bytes for spec in program.state.values()) * 3
    graph = gpu_path._fitting(program, Small(), (1, 2, 4, 8))
    assert graph.batches[-1] < 8
    assert "eager" in graph.describe()


def test_an_engine_gives_the_same_on_its_gpu_path_as_without():
    from realtime import load_engine

    rng = np.random.default_rng(3)
    portrait, frame = rng.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    options = {"weights": "recipe:1", "size": 64, "device": "cpu", "crop": "none"}
    plain, graphed = load_engine("lia", **options), load_engine("lia", **options)
    graphed._path = GpuPath(graphed.net, graphed.programs, CPU, "lia", make_device=lambda device: Immediate())
    pictures = []
    for engine in (plain, graphed):
        engine.set_portrait(portrait)
        engine.reference = engine.portrait_code
        code = engine.encode(frame)
        pictures.append((code.values, engine.render(code)))
        engine.close()
    np.testing.assert_allclose(pictures[0][0], pictures[1][0], atol=1e-3)
    difference = np.abs(pictures[0][1].astype(int) - pictures[1][1])
    assert np.quantile(difference, 0.99) <= 1
    assert "eager" in graphed._path.describe()
