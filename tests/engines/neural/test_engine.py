"""The neural engines behind the engine contract, on recipe weights."""

from __future__ import annotations

import gc
import itertools
import threading

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtime import load_engine  # noqa: E402
from realtime.engines import Engine  # noqa: E402
from realtime.engines.choose import engine_settings  # noqa: E402
from realtime.engines.latent.engine import NAMED, LiaEngine, LiaXEngine  # noqa: E402
from realtime.engines.latent.lia import Lia  # noqa: E402
from realtime.engines.neural import engine as neural  # noqa: E402
from realtime.engines.weights import recipe  # noqa: E402
from realtime.errors import BadPortrait, BadValue, DeviceError, EngineError, UnknownName  # noqa: E402
from realtime.types import Frame, MotionCode  # noqa: E402
from tests.support import frames_of, made_up_frames, test_data  # noqa: E402
from tests.support.golden import picture, reference  # noqa: E402

VECTORS = np.load(reference("lia", "vectors_size64_seed1.npz"))


def shot(tag: str) -> np.ndarray:
    """A golden network input as a picture, uint8 (64, 64, 3)."""
    x = picture(VECTORS, tag)[0].permute(1, 2, 0).numpy()
    return np.rint((x + 1) * 127.5).clip(0, 255).astype(np.uint8)


def make(**options) -> LiaEngine:
    engine = load_engine("lia", **{"weights": "recipe:1", "size": 64, "device": "cpu", "crop": "none", **options})
    assert isinstance(engine, LiaEngine)
    return engine


@pytest.fixture(scope="module", autouse=True)
def _kept() -> LiaEngine:
    """Keeps the weights that these tests share."""
    return make()


@pytest.fixture(scope="module")
def network() -> Lia:
    net = Lia(size=64)
    recipe.fill(net, 1)
    return net


@pytest.fixture
def engine() -> LiaEngine:
    engine = make()
    engine.set_portrait(shot("source"))
    return engine


def test_it_keeps_the_contract(engine: LiaEngine) -> None:
    assert isinstance(engine, Engine)
    assert (engine.name, engine.kind, engine.size) == ("lia", "lia", 64)
    code = engine.encode(Frame(shot("drive"), captured=5.0, index=7, pts=0.25))
    assert code is not None
    assert (code.kind, code.captured, code.index, code.pts) == ("lia", 5.0, 7, 0.25)
    assert code.values.dtype == np.float32
    assert code.values.shape == (20,)
    first, second = engine.render(code), engine.render(code)
    assert first.shape == (64, 64, 3)
    assert first.dtype == np.uint8
    assert first is not second
    engine.close()
    engine.close()


def _drawn(net: Lia, latent) -> np.ndarray:
    """What the network itself draws from a latent, as a picture without the note."""
    with torch.no_grad():
        x = torch.from_numpy(shot("source")).permute(2, 0, 1)[None].float() / 127.5 - 1
        z, feats = net.encode(x)
        rgb = net.decode(latent(net, z), feats)[0].clamp(-1, 1)
    return ((rgb + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()


def _same(got: np.ndarray, want: np.ndarray) -> bool:
    """Equal up to a step of rounding, above the note about the weights."""
    difference = np.abs(got[:50].astype(int) - want[:50].astype(int))
    return difference.max() <= 2 and difference.mean() < 0.05


def _codes(engine: LiaEngine) -> tuple[MotionCode, MotionCode]:
    start, drive = engine.encode(shot("start")), engine.encode(shot("drive"))
    assert start is not None
    assert drive is not None
    return start, drive


def test_the_first_code_rendered_is_the_reference(engine: LiaEngine, network: Lia) -> None:
    start, drive = _codes(engine)
    own = torch.from_numpy(engine.portrait_code.values)[None]
    still = engine.render(start)
    assert engine.reference == start
    assert _same(still, _drawn(network, lambda net, z: net.navigate(z, target=own)))
    a, b = (torch.from_numpy(c.values)[None] for c in (start, drive))
    assert _same(engine.render(drive), _drawn(network, lambda net, z: net.navigate(z, target=b, start=a, source=own)))


def test_the_portraits_code_as_reference_is_absolute_motion(engine: LiaEngine, network: Lia) -> None:
    _, drive = _codes(engine)
    engine.reference = engine.portrait_code
    target = torch.from_numpy(drive.values)[None]
    assert _same(engine.render(drive), _drawn(network, lambda net, z: net.navigate(z, target=target)))


def test_an_edit_moves_the_portraits_own_code_while_the_driver_moves(engine: LiaEngine, network: Lia) -> None:
    start, drive = _codes(engine)
    engine.reference = start
    e = np.zeros(20, np.float32)
    e[3] = 1.5
    a, b, own = (torch.from_numpy(v)[None] for v in (start.values, drive.values, engine.portrait_code.values))
    edited = _drawn(network, lambda net, z: net.navigate(z, target=b, start=a, source=own + torch.from_numpy(e)))
    assert _same(engine.render(drive.with_values(drive.values + e)), edited)
    assert not _same(engine.render(drive), edited)


def test_pictures_are_clamped_and_not_stretched(engine: LiaEngine) -> None:
    """The published scripts stretch each clip to its own extremes: brightness then depends on the other frames."""
    _, drive = _codes(engine)
    engine.reference = engine.portrait_code
    alone = engine.render(drive)
    engine.render(drive.with_values(drive.values * 3))
    assert (engine.render(drive) == alone).all()


def test_recipe_weights_are_marked_in_every_output(engine: LiaEngine) -> None:
    assert "no trained weights" in engine.device
    assert not engine.trained
    bar = engine.render(engine.portrait_code)[-9:]
    assert set(np.unique(bar)) == {0, 255}
    assert (bar[0] == 0).all()


def test_frames_of_any_shape_are_cropped() -> None:
    engine = make(crop="centre")
    engine.set_portrait(shot("source"))
    wide = np.zeros((64, 200, 3), np.uint8)
    wide[:, 68:132] = shot("drive")
    code, same = engine.encode(wide), make(crop="none").encode(shot("drive"))
    assert code is not None
    assert same is not None
    assert np.allclose(code.values, same.values, atol=1e-4)
    boxed = make(crop=(68, 0, 64)).encode(wide)
    assert boxed is not None
    assert np.allclose(boxed.values, same.values, atol=1e-4)


def test_a_fixed_box_may_reach_beyond_the_frame() -> None:
    code = make(crop=(-20, -20, 100)).encode(shot("drive"))
    assert code is not None
    assert np.isfinite(code.values).all()


def film(which: str) -> list[np.ndarray]:
    """A face that gets smaller, six pictures a second."""
    if which == "real":
        return list(frames_of(test_data("clips", "a10_zoom_out_small_face.mp4"), 60))[::5]
    talk = list(made_up_frames(2.0, 512))[::5]
    smaller = [cv2.resize(f, (512 - 20 * n,) * 2, interpolation=cv2.INTER_AREA) for n, f in enumerate(talk)]
    return [framed(image, 512) for image in smaller]


def framed(image: np.ndarray, size: int) -> np.ndarray:
    """A picture in the middle of a grey square of `size` pixels."""
    out = np.full((size, size, 3), 128, np.uint8)
    top = (size - image.shape[0]) // 2
    out[top : top + image.shape[0], top : top + image.shape[1]] = image
    return out


@pytest.mark.parametrize("which", ["made up", "real"])
def test_the_driving_crop_follows_the_face_of_a_clip(which: str) -> None:
    engine = make(crop="face")
    frames = film(which)
    sides = []
    for n, frame in enumerate(frames):
        engine.encode(Frame(frame, captured=n / 6, index=n, pts=n / 6))
        held = engine._follower._square
        sides.append(None if held is None else held.side)
    found = [s for s in sides if s is not None]
    assert len(found) > 8
    assert max(abs(b / a - 1) for a, b in itertools.pairwise(found)) < 0.2
    assert engine.encode(np.zeros_like(frames[0])) is None


def test_without_mediapipe_the_centre_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neural, "has_face_finder", lambda: False)
    engine = make(crop="auto")
    engine.set_portrait(shot("source"))
    assert engine.encode(shot("drive")) is not None
    with pytest.raises(BadValue, match="MediaPipe"):
        make(crop="face")


def test_the_moving_square_is_pasted_back_into_the_whole_portrait() -> None:
    whole = np.full((200, 300, 3), 90, np.uint8)
    whole[68:132, 118:182] = shot("source")
    engine = make(crop="centre", paste_back=True, size=256)
    engine.set_portrait(whole)
    out = engine.render(engine.portrait_code)
    assert out.shape == (256, 384, 3)
    assert (out[20:200, :50] == 90).all()
    assert out[100:150, 150:230].std() > 5


def test_another_size_than_the_networks_is_scaled() -> None:
    engine = make(size=100)
    assert (engine.native, engine.size) == (256, 100)
    engine = make(size=128)
    assert (engine.native, engine.size) == (128, 128)


def test_sessions_share_the_weights_and_let_them_go() -> None:
    one, two = make(weights="recipe:2"), make(weights="recipe:2")
    assert one.net is two.net
    before = len(neural._cache)
    del one, two
    gc.collect()
    assert len(neural._cache) == before - 1


def test_encoding_and_rendering_may_run_at_once(engine: LiaEngine) -> None:
    start, drive = _codes(engine)
    engine.reference = start
    want = engine.render(drive)
    codes: list[MotionCode | None] = []
    encoder = threading.Thread(target=lambda: codes.extend(engine.encode(shot("drive")) for _ in range(5)))
    encoder.start()
    pictures = [engine.render(drive) for _ in range(5)]
    encoder.join()
    assert all((p == want).all() for p in pictures)
    assert all(c is not None and (c.values == drive.values).all() for c in codes)


def test_what_it_refuses(engine: LiaEngine) -> None:
    before = engine.render(engine.portrait_code)
    with pytest.raises(BadPortrait, match="uint8"):
        engine.set_portrait(np.zeros((64, 64), np.uint8))
    with pytest.raises(BadPortrait, match="pixels"):
        engine.set_portrait(np.zeros((8, 64, 3), np.uint8))
    assert (engine.render(engine.portrait_code) == before).all()
    with pytest.raises(BadValue, match="mesh"):
        engine.render(MotionCode("mesh", np.zeros(20, np.float32)))
    with pytest.raises(EngineError, match="no portrait"):
        make().render(MotionCode("lia", np.zeros(20, np.float32)))
    with pytest.raises(BadValue, match="recipe:SEED"):
        make(weights="recipe:x")
    with pytest.raises(BadValue, match="device"):
        make(device="tpu")
    with pytest.raises(BadValue, match="size"):
        make(size=(640, 480))
    with pytest.raises(BadValue, match="dtype"):
        make(dtype="int8")
    with pytest.raises(BadValue, match="crop"):
        make(crop="diagonal")


def test_options_follow_the_engines_name_on_the_command_line() -> None:
    settings = engine_settings("lia:crop=10:-4:40,paste_back,dtype=bf16,keep_scale=off", 64, "recipe:1", "cpu")
    want = {"crop": "10:-4:40", "paste_back": True, "dtype": "bf16", "keep_scale": False}
    assert (settings.name, dict(settings.options)) == ("lia", want)
    code = make(crop="10:-4:40").encode(shot("drive"))
    same = make(crop=(10, -4, 40)).encode(shot("drive"))
    assert code is not None
    assert same is not None
    assert (code.values == same.values).all()
    with pytest.raises(UnknownName, match="Did you mean 'crop'"):
        make(corp="face")
    with pytest.raises(BadValue, match="paste_back"):
        make(paste_back="maybe")
    with pytest.raises(BadValue, match="options follow"):
        engine_settings("lia:=3", 64, "recipe:1", "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_gpu_that_is_not_there_is_said_so() -> None:
    with pytest.raises(DeviceError, match="CUDA"):
        make(device="cuda")


def test_half_precision_on_the_cpu_stays_near() -> None:
    pictures = []
    for dtype in ("fp32", "bf16"):
        engine = make(dtype=dtype)
        engine.set_portrait(shot("source"))
        pictures.append(engine.render(engine.portrait_code)[:50].astype(int))
    assert np.abs(pictures[0] - pictures[1]).mean() < 6


def test_the_named_directions_of_lia_x() -> None:
    described = LiaXEngine.describe(LiaXEngine.__new__(LiaXEngine), 40)
    assert [d.name for d in described[:14]] == [name for _, name, *_ in NAMED]
    assert sorted(d.index for d in described) == list(range(40))
    assert len({d.name for d in described}) == 40
    by_name = {d.name: d for d in described}
    assert (by_name["smile"].index, by_name["smile"].lo, by_name["smile"].hi) == (19, -0.4, 0.4)
    assert (by_name["yaw1"].index, by_name["yaw1"].lo, by_name["yaw1"].hi) == (37, -1.0, 0.5)
    assert [d.named for d in described] == [True] * 14 + [False] * 26


def test_flow_is_none_where_nothing_is_asked_and_grows_with_a_direction(engine: LiaEngine) -> None:
    rest = engine.portrait_code
    engine.reference = rest
    base = engine.flow(rest)
    assert base.shape == (64, 64, 2)
    code = rest.values.copy()
    code[2] += 2.0
    assert np.abs(engine.flow(rest.with_values(code)) - base).mean() > 0.05


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["lia", "lia-x"])
def test_half_precision_on_a_gpu_stays_near(name: str) -> None:
    pictures = []
    rng = np.random.default_rng(0)
    portrait = rng.integers(0, 255, (8, 8, 3), np.uint8).repeat(64, 0).repeat(64, 1)
    for dtype in ("fp32", "fp16"):
        engine = load_engine(name, weights="recipe:1", device="cuda", dtype=dtype, crop="none", scale=1)
        engine.set_portrait(portrait)
        pictures.append(engine.render(engine.portrait_code)[:-40].astype(int))
        engine.close()
    difference = np.abs(pictures[0] - pictures[1])
    assert difference.mean() < 2
    assert np.quantile(difference, 0.999) <= 8
