"""The Motion Transformer behind the engine contract, on recipe weights and on weights that were saved."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtime import load_engine  # noqa: E402
from realtime.engines import Engine  # noqa: E402
from realtime.engines.neural.place import Placement  # noqa: E402
from realtime.engines.parts.animator import Animator, AnimatorConfig  # noqa: E402
from realtime.engines.parts.engine import MotransEngine  # noqa: E402
from realtime.engines.parts.motion import PartMotion  # noqa: E402
from realtime.engines.parts.prepared import PreparedAnimator, relative_motion  # noqa: E402
from realtime.engines.parts.weights import (  # noqa: E402
    SMALL_RECIPE,
    load_animator,
    recipe_animator,
    save_animator,
)
from realtime.errors import BadFile, BadValue  # noqa: E402
from realtime.types import Frame  # noqa: E402


def face(shift=0, size=64):
    """A picture with something in it that can move: uint8 (size, size, 3)."""
    y, x = np.mgrid[:size, :size]
    blob = np.exp(-((x - size / 2 - shift) ** 2 + (y - size / 2) ** 2) / (size * 2))
    out = np.stack([60 + 150 * blob, 80 + 40 * np.sin(x / 5), 200 - 2.0 * y], -1)
    return out.clip(0, 255).astype(np.uint8)


def make(**options):
    return load_engine("motrans", **{"weights": "recipe:1", "size": 64, "device": "cpu", "crop": "none", **options})


@pytest.fixture(scope="module")
def engine():
    engine = make()
    engine.set_portrait(face())
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def _at_rest(engine):
    engine.reference = None


def test_it_keeps_the_contract(engine):
    assert isinstance(engine, Engine)
    assert (engine.name, engine.kind, engine.size) == ("motrans", "motrans", 64)
    code = engine.encode(Frame(face(3), captured=1.5, index=7, pts=0.25))
    assert (code.kind, code.captured, code.index, code.pts) == ("motrans", 1.5, 7, 0.25)
    assert code.values.dtype == np.float32
    assert code.values.shape == (60,)
    out = engine.render(code)
    assert out.shape == (64, 64, 3)
    assert out.dtype == np.uint8
    assert engine.reference is code


def test_directions_are_the_motion_tokens(engine):
    assert len(engine.directions) == 60
    assert [d.index for d in engine.directions] == list(range(60))
    assert engine.directions[8].name == "token1-xx"
    assert not any(d.named for d in engine.directions)
    code = engine.portrait_code
    engine.reference = code
    values = code.values.copy()
    values[engine.directions[6].index] += 0.4
    before, after = engine.render(code), engine.render(code.with_values(values))
    assert np.abs(before.astype(int) - after).max() > 0


def test_without_trained_weights_every_picture_and_the_device_say_so(engine):
    assert "no trained weights" in engine.device
    bottom = engine.render(engine.portrait_code)[-5:]
    assert set(np.unique(bottom)) <= {0, 255}


def test_the_reference_itself_leaves_the_portrait_at_rest(engine):
    driver = engine.encode(face(9))
    engine.reference = driver
    moved = engine.render(driver)
    engine.reference = engine.portrait_code
    rest = engine.render(engine.portrait_code)
    assert np.abs(moved.astype(int) - rest).max() <= 1
    assert np.abs(engine.flow(engine.portrait_code)).max() < 1e-2


def test_relative_motion_is_keypoint_difference_and_jacobian_quotient():
    rng = np.random.default_rng(0)

    def parts():
        return rng.uniform(-1, 1, (1, 3, 2)), np.eye(2) + rng.uniform(-0.3, 0.3, (1, 3, 2, 2))

    (t_d, a_d), (t_r, a_r), (t_p, a_p) = parts(), parts(), parts()
    as_parts = [PartMotion(torch.from_numpy(t), torch.from_numpy(a)) for t, a in ((t_d, a_d), (t_r, a_r), (t_p, a_p))]
    moved = relative_motion(*as_parts)
    for k in range(3):
        np.testing.assert_allclose(moved.points[0, k], t_p[0, k] + t_d[0, k] - t_r[0, k], atol=1e-12)
        expected = a_d[0, k] @ np.linalg.inv(a_r[0, k]) @ a_p[0, k]
        np.testing.assert_allclose(moved.affine[0, k], expected, atol=1e-12)
    absolute = relative_motion(as_parts[0], as_parts[2], as_parts[2])
    np.testing.assert_allclose(absolute.points, t_d, atol=1e-12)
    np.testing.assert_allclose(absolute.affine, a_d, atol=1e-12)


@pytest.mark.parametrize("estimator", ["motrans", "fomm", "mraa"])
def test_the_prepared_form_is_the_network(estimator):
    """Folded normalisations change nothing, with statistics that are not the starting ones."""
    torch.manual_seed(0)
    network = Animator(AnimatorConfig(**{**vars(SMALL_RECIPE), "estimator": estimator, "size": 128})).eval()
    for name, buffer in network.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(std=0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    with torch.no_grad():
        network.generator.bottleneck.r0.conv2.weight.mul_(20)  # so that a mistake in a small branch shows
        network.generator.bottleneck.r0.norm1.weight.uniform_(0.5, 2)
        network.generator.final.weight.mul_(5)
    source, driving = torch.rand(1, 3, 128, 128), torch.rand(1, 3, 128, 128)
    prepared = PreparedAnimator(network, Placement(torch.device("cpu")))
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in prepared.network.estimator.modules())
    with torch.no_grad():
        expected, motion, of_source, of_driving = network(source, driving)
        picture, maps = prepared.encode(source * 2 - 1)
        code = prepared.alpha(prepared.latent(driving * 2 - 1))
        np.testing.assert_allclose(code, of_driving.flat(), atol=1e-4)
        home = PartMotion.from_flat(prepared.alpha(picture))
        np.testing.assert_allclose(home.points, of_source.points, atol=1e-4)
        made = prepared.draw(maps, home, PartMotion.from_flat(code))
        np.testing.assert_allclose(
            prepared.dense(maps, home, PartMotion.from_flat(code)).flow, motion.flow, atol=1e-3
        )
        np.testing.assert_allclose((made + 1) / 2, expected, atol=2e-3)


def test_half_precision_stays_near_and_keeps_keypoints_wide():
    network = recipe_animator(3, 64)
    wide, half = (
        PreparedAnimator(network, Placement(torch.device("cpu"), dtype)) for dtype in (torch.float32, torch.bfloat16)
    )
    x = torch.from_numpy(face()).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        pictures = []
        for prepared in (wide, half):
            picture, maps = prepared.encode(x)
            code = prepared.alpha(picture)
            assert code.dtype == torch.float32
            home = PartMotion.from_flat(code)
            pictures.append(prepared.draw(maps, home, PartMotion(home.points + 0.1, home.affine)))
    assert float((pictures[0] - pictures[1]).abs().mean()) < 0.02


def test_frames_on_a_device_are_those_of_the_network():
    """The program that is captured on a GPU, run with the CPU as the device: two sessions, each its own portrait."""
    from realtime.engines.gpu.graph import Immediate
    from realtime.engines.gpu.path import GpuPath

    net = PreparedAnimator(recipe_animator(1, 64), Placement(torch.device("cpu")))
    cpu = torch.device("cpu")
    paths = [GpuPath(net, MotransEngine.programs, cpu, name, lambda device: Immediate()) for name in "ab"]
    rng = np.random.default_rng(0)
    try:
        for n, path in enumerate(paths):
            path.set_portrait(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(n)) * 2 - 1)
        for n, path in enumerate(paths):
            code = path.encode(face(3 * n), (0, 0, 64, 64))
            picture = torch.from_numpy(face(3 * n)).permute(2, 0, 1)[None].float() / 255
            with torch.inference_mode():
                np.testing.assert_allclose(code, net.alpha(picture)[0], atol=1e-3)
            reference = code + rng.normal(size=60).astype(np.float32) * 0.1
            x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(n)) * 2 - 1
            with torch.inference_mode():
                inside, maps = net.encode(x)
                home = PartMotion.from_flat(net.alpha(inside))
                both = PartMotion.from_flat(torch.from_numpy(np.stack([code, reference])))
                moved = relative_motion(
                    *(PartMotion(both.points[i : i + 1], both.affine[i : i + 1]) for i in (0, 1)), home
                )
                expected = (net.draw(maps, home, moved)[0].permute(1, 2, 0) * 127.5 + 127.5).clamp(0, 255).round()
            assert np.abs(path.render(code, reference).astype(int) - expected.numpy()).max() <= 1
    finally:
        for path in paths:
            path.close()


def test_saved_weights_run_without_the_note(tmp_path):
    path = tmp_path / "w.safetensors"
    save_animator(recipe_animator(2, 64), path)
    engine = make(weights=str(path))
    assert engine.trained
    assert "no trained" not in engine.device
    engine.set_portrait(face())
    assert len(np.unique(engine.render(engine.portrait_code)[-5:])) > 2
    assert load_animator(path).config == SMALL_RECIPE


def test_engines_of_one_weight_file_share_the_network(tmp_path):
    path = tmp_path / "w.safetensors"
    save_animator(recipe_animator(2, 64), path)
    a, b = (make(weights=str(path)) for _ in range(2))
    assert a.net is b.net


def test_a_code_of_another_engine_is_refused(engine):
    with pytest.raises(BadValue, match="lia"):
        engine.render(type(engine.portrait_code)("lia", np.zeros(20, np.float32)))


def test_missing_weights_are_one_sentence(tmp_path):
    with pytest.raises(BadFile):
        make(weights=str(tmp_path / "none.safetensors"))


def test_recipe_weights_are_the_same_everywhere():
    one, two = recipe_animator(5, 64).state_dict(), recipe_animator(5, 64).state_dict()
    assert all(torch.equal(one[k], two[k]) for k in one if "motion_tokens" in k or k.endswith("conv.weight"))
    assert float(one["generator.final.weight"].std()) == pytest.approx((2 / (16 * 49)) ** 0.5, rel=0.05)
