"""Looking into a network of parts: the pictures of `avatar inspect`."""

import dataclasses

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtime import load_engine  # noqa: E402
from realtime.cli import run as avatar  # noqa: E402
from realtime.engines.parts import views as part_views  # noqa: E402
from realtime.engines.parts.animator import Animator  # noqa: E402
from realtime.engines.parts.weights import SMALL_RECIPE, recipe_animator, save_animator  # noqa: E402


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("w") / "w.safetensors"
    save_animator(recipe_animator(1, 64), path)
    return path


@pytest.fixture(scope="module")
def frame(tmp_path_factory):
    path = tmp_path_factory.mktemp("f") / "frame.png"
    image = np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    cv2.imwrite(str(path), cv2.resize(image, (96, 64), interpolation=cv2.INTER_CUBIC))
    return path


def test_the_ellipse_is_the_circle_turned_by_the_matrix():
    """A matrix that stretches x by five reaches five times as far to the side as up and down."""
    image = np.zeros((201, 201, 3), np.uint8)
    affine = np.array([[[5.0, 0], [0, 1.0]]])
    out = part_views.with_parts(image, np.array([[0.0, 0.0]]), affine)
    ys, xs = np.nonzero(out.max(2))
    reach = part_views.ELLIPSE * 100
    assert np.ptp(xs) == pytest.approx(10 * reach, abs=4)
    assert np.ptp(ys) == pytest.approx(2 * reach, abs=4)
    assert (xs.min() + xs.max()) / 2 == pytest.approx(100, abs=1)
    assert image.max() == 0


def test_a_keypoint_is_drawn_where_it_is():
    out = part_views.with_parts(np.zeros((101, 101, 3), np.uint8), np.array([[0.5, -0.5]]), np.zeros((1, 2, 2)))
    ys, xs = np.nonzero(out.max(2))
    assert (xs.mean(), ys.mean()) == (pytest.approx(75, abs=0.6), pytest.approx(25, abs=0.6))


def test_masks_take_the_colours_of_their_parts():
    masks = np.zeros((4, 2, 2))
    masks[0, 0, 0] = masks[1, 0, 1] = masks[2, 1, 0] = masks[3, 1, 1] = 1
    out = part_views.mask_picture(masks)
    assert tuple(out[0, 0]) == (64, 64, 64)
    np.testing.assert_array_equal(out.reshape(-1, 3)[1:], part_views.colours(3))
    assert len({tuple(c) for c in part_views.colours(10)}) == 10


def test_a_flow_at_rest_is_white_and_directions_have_hues():
    y, x = np.mgrid[-1:1:9j, -1:1:9j]
    rest = np.stack([x, y], -1)
    np.testing.assert_array_equal(part_views.flow_picture(rest), np.full((9, 9, 3), 255, np.uint8))
    right = part_views.flow_picture(rest + np.array([0.5, 0]))[4, 4]
    left = part_views.flow_picture(rest - np.array([0.5, 0]))[4, 4]
    np.testing.assert_array_equal(right, [255, 0, 0])
    np.testing.assert_array_equal(left, [0, 255, 255])


def test_heat_glows_where_it_is_greatest():
    heat = np.zeros((4, 4))
    heat[1, 2] = 0.3
    out = part_views.heat_over(np.zeros((8, 8, 3), np.uint8), heat, 64).sum(2)
    y, x = np.unravel_index(out.argmax(), out.shape)
    assert (y // 16, x // 16) == (1, 2)


@pytest.mark.parametrize("estimator", ["motrans", "mraa"])
def test_the_engine_shows_what_it_sees(estimator, tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "w.safetensors"
    save_animator(Animator(dataclasses.replace(SMALL_RECIPE, estimator=estimator, size=128)).eval(), path)
    engine = load_engine("motrans", weights=path, device="cpu", crop="none")
    portrait, frame = (np.random.default_rng(n).integers(0, 255, (128, 128, 3)).astype(np.uint8) for n in (1, 2))
    engine.set_portrait(portrait)
    views = engine.look(frame)
    np.testing.assert_array_equal(views.frame, frame)
    np.testing.assert_array_equal(views.portrait, portrait)
    np.testing.assert_allclose(views.masks.sum(0), 1, atol=1e-5)
    code = engine.encode(frame).values.reshape(10, 6)
    np.testing.assert_allclose(views.points, code[:, :2], atol=1e-5)
    engine.reference = engine.portrait_code
    assert np.abs(views.made.astype(int) - engine.render(engine.encode(frame))).max() <= 1
    if estimator == "motrans":
        assert views.attention.shape == (2, 10, 8, 8)
        np.testing.assert_allclose(views.attention.sum((2, 3)), 1, atol=1e-5)
    else:
        assert views.attention is None
    assert part_views.page(views, [0, 5], [0, 1] if estimator == "motrans" else [], 64).shape == (82 * 3, 6 * 64, 3)


def test_the_command_writes_a_page(weights, frame, tmp_path, capsys):
    out = tmp_path / "look.png"
    arguments = ["inspect", str(frame), "-o", str(out), "--weights", str(weights), "--crop", "none"]
    assert avatar([*arguments, "--tokens", "0,9", "--layers", "2", "--side", "64"]) == 0
    assert cv2.imread(str(out)).shape == (3 * 82, 6 * 64, 3)
    assert "2 motion tokens" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--tokens", "10"], "--tokens"),
        (["--layers", "0"], "--layers"),
        (["--tokens", "a"], "--tokens"),
        (["--crop", "round"], "--crop"),
        (["-o", "look.gif"], "look.gif"),
        (["--portrait", "nowhere.png"], "nowhere.png"),
    ],
)
def test_wrong_usage_is_one_sentence(change, named, weights, frame, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    usual = {"-o": "look.png", "--weights": str(weights), "--crop": "none"}
    usual.update(zip(change[::2], change[1::2], strict=True))
    assert avatar(["inspect", str(frame), *(part for pair in usual.items() for part in pair)]) == 2
    said = capsys.readouterr().err.strip()
    assert named in said
    assert "\n" not in said


def test_missing_frame_or_weights(tmp_path, weights, capsys):
    assert (
        avatar(["inspect", str(tmp_path / "no.mp4"), "--weights", str(weights), "-o", str(tmp_path / "a.png")]) == 2
    )
    assert avatar(["inspect", str(weights), "--weights", str(weights), "-o", str(tmp_path / "a.png")]) == 2
    assert capsys.readouterr().err.count("avatar: ") == 2
