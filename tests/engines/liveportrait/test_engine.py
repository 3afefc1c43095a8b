"""LivePortrait as an engine: portraits it refuses, openings, paste-back, and numbers that are none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")

from realtime.engines import load_engine  # noqa: E402
from realtime.engines.liveportrait import code as c  # noqa: E402
from realtime.engines.liveportrait import crop  # noqa: E402
from realtime.engines.liveportrait import engine as module  # noqa: E402
from realtime.engines.neural.crop import CropFollower  # noqa: E402
from realtime.errors import BadPortrait, BadValue, EngineError  # noqa: E402
from realtime.face.upright import CUT  # noqa: E402
from realtime.media.portraits import builtin_portrait  # noqa: E402
from realtime.types import Frame, MotionCode  # noqa: E402
from tests.support.golden import reference  # noqa: E402


class Drawn:
    """Networks that draw nothing slowly: the picture is what the test says."""

    def __init__(self) -> None:
        self.size, self.input_side, self.motion_dim = 256, 128, c.LENGTH
        self.picture = torch.zeros(1, 3, 256, 256)
        self.code = torch.zeros(1, c.LENGTH)

    def encode(self, x: torch.Tensor) -> tuple:
        self.seen = x
        return self.code.clone(), [torch.zeros(1, 63), torch.zeros(1), torch.zeros(1)]

    def latent(self, x: torch.Tensor) -> torch.Tensor:
        return self.code.clone()

    def alpha(self, z: torch.Tensor) -> torch.Tensor:
        return z

    def draw(self, *_: object) -> torch.Tensor:
        return self.picture


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    made = Drawn()
    monkeypatch.setattr(module.LivePortraitEngine, "_load", lambda self, *_: made)
    return made


def engine_with(**options: object) -> module.LivePortraitEngine:
    made = load_engine("liveportrait", weights="recipe:1", device="cpu", **options)
    assert isinstance(made, module.LivePortraitEngine)
    return made


@pytest.fixture
def engine(drawn: Drawn) -> Iterator[module.LivePortraitEngine]:
    made = engine_with(size=256)
    yield made
    made.close()


def test_the_portraits_openings_are_measured_on_its_face(engine, drawn) -> None:
    engine.set_portrait(builtin_portrait())
    eyes_and_lips = engine.portrait_code.values[c.EYE_RIGHT : c.LIPS + 1]
    assert (eyes_and_lips > 0.05).all()
    assert (eyes_and_lips[:2] > 0.2).all()
    assert drawn.seen.shape == (1, 3, 128, 128)
    assert engine.warnings == ()


def test_a_picture_without_a_human_face_is_taken_by_its_middle_and_said_so(engine, drawn) -> None:
    empty = np.full((200, 300, 3), 90, np.uint8)
    empty[:, 150:] = 200
    engine.set_portrait(empty)
    assert engine.warnings == (module.NO_FACE,)
    assert abs(float(drawn.seen[..., :60].mean() + 1) * 127.5 - 90) < 2  # the edge between both lies in the middle
    engine.set_portrait(builtin_portrait())
    assert engine.warnings == ()
    strict = engine_with(size=256, crop="face")
    with pytest.raises(BadPortrait, match="no human face found"):
        strict.set_portrait(empty)


def test_pictures_that_cannot_serve_are_refused_and_the_portrait_stays(engine, drawn) -> None:
    """The whole way from a picture: a face half beyond the border."""
    from realtime.face.landmarks import find_faces

    image = builtin_portrait()
    engine.set_portrait(image)
    left, _, right, _ = module.box_of(find_faces(image, 1)[0])
    half = np.ascontiguousarray(image[:, round(left + 0.4 * (right - left)) :])
    if not find_faces(half, 1):
        pytest.skip("MediaPipe finds no face in half of one")
    with pytest.raises(BadPortrait, match="cut by the picture's border"):
        engine.set_portrait(half)
    drawn.picture = torch.ones(1, 3, 256, 256)
    assert engine.render(engine.portrait_code).shape == (256, 256, 3)


def test_a_small_and_a_large_network_of_the_recipe_are_two(monkeypatch) -> None:
    """At 256 pixels it reads a quarter of what it reads at 512: engines of both sizes do not share one."""

    def folded(self: module.LivePortraitEngine, net: object, place: object) -> Drawn:
        made = Drawn()
        made.size, made.input_side = self._side, self._side // 2
        return made

    monkeypatch.setattr(module.LivePortraitEngine, "invent", lambda *_: torch.nn.Linear(1, 1))
    monkeypatch.setattr(module.LivePortraitEngine, "fold", folded)
    small, large, tiny = engine_with(size=256), engine_with(size=512), engine_with(size=64)
    assert (small.net.input_side, large.net.input_side) == (128, 256)
    assert tiny.net is small.net


def test_a_face_cut_by_the_border_is_refused_and_one_that_touches_it_warned_of(engine) -> None:
    from realtime.face.landmarks import find_faces

    image = builtin_portrait()
    found = find_faces(image, 1)[0]
    left, _, right, _ = module.box_of(found)
    face, wide = found - (left, 0, 0), right - left
    with pytest.raises(BadPortrait, match="cut by the picture's border"):
        module._judged(face - (0.2 * wide, 0, 0), image)
    assert module._judged(face - (0.1 * wide, 0, 0), image) == (CUT,)
    assert module._judged(face - (-0.05 * wide, 0, 0), image) == ()
    with pytest.raises(BadPortrait, match="pixels high; 32 are needed"):
        module._judged(face * 0.1, image)


@pytest.mark.parametrize(("turn", "said"), [(40.0, "turned by"), (70.0, "seen from the side")])
def test_a_portrait_from_the_side_is_warned_of_or_refused(turn: float, said: str) -> None:
    from realtime.face.face_model import load_face_model
    from realtime.face.pose import HeadPose, rotation_matrix

    image = np.zeros((600, 600, 3), np.uint8)
    face = HeadPose(300, rotation_matrix(turn, 0, 0), np.array([300.0, 300, 0])).to_picture(load_face_model().mean)
    if turn > module.VERY_TURNED:
        with pytest.raises(BadPortrait, match=said):
            module._judged(face, image)
    else:
        assert said in module._judged(face, image)[0]


def test_a_picture_that_is_no_number_is_black_and_a_code_that_is_none_is_refused(engine, drawn) -> None:
    engine.set_portrait(builtin_portrait())
    own = engine.portrait_code
    drawn.picture = torch.full((1, 3, 256, 256), float("nan"))
    drawn.picture[..., :128] = 1.0
    picture = engine.render(own)
    assert picture[100, 200].tolist() == [0, 0, 0]
    assert picture[100, 50].tolist() == [255, 255, 255]
    broken = own.with_values(np.where(np.arange(c.LENGTH) == 3, np.nan, own.values))
    with pytest.raises(BadValue, match="every entry is a finite number"):
        engine.render(broken)
    with pytest.raises(BadValue, match="every entry is a finite number"):
        engine.reference = broken


def test_a_driving_frame_that_comes_out_as_no_number_counts_as_no_face(engine, drawn) -> None:
    frame = builtin_portrait()
    assert isinstance(engine.encode(frame), MotionCode)
    drawn.code[0, 5] = float("inf")
    assert engine.encode(frame) is None
    with pytest.raises(EngineError, match="the weights are broken"):
        engine.set_portrait(frame)


def test_the_jitter_of_a_head_at_rest_is_filtered_and_quick_motion_is_not(drawn) -> None:
    engine = engine_with(size=256, crop="none")
    image, rng = np.full((64, 64, 3), 90, np.uint8), np.random.default_rng(1)

    def yaws(wanted: np.ndarray) -> np.ndarray:
        engine.reset()
        out = []
        for k, yaw in enumerate(wanted):
            drawn.code[0, c.YAW] = float(yaw)
            code = engine.encode(Frame(image, captured=k / 30))
            assert code is not None
            out.append(code.values[c.YAW])
        return np.array(out)

    noise = rng.normal(0, 0.2, 60)
    assert yaws(noise)[10:].std() < 0.6 * noise[10:].std()
    turn = np.clip((np.arange(60) - 10) * 2.0, 0, 30)  # 60 degrees a second
    assert abs(yaws(turn)[25] - turn[25]) < 3.0


def test_paste_back_gives_the_whole_photo_with_the_square_in_it(drawn) -> None:
    engine = engine_with(size=200, paste_back=True)
    engine.trained = True  # no caption
    image = builtin_portrait()
    drawn.picture = torch.full((1, 3, 256, 256), -1.0)
    engine.set_portrait(image)
    whole = engine.render(engine.portrait_code)
    height, width = image.shape[:2]
    assert whole.shape == (200, 2 * round(200 * width / height / 2), 3)
    photo = cv2.resize(image, (whole.shape[1], 200), interpolation=cv2.INTER_AREA)
    black = (whole == 0).all(2)
    assert 0.1 < black.mean() < 0.9  # the square
    np.testing.assert_array_equal(whole[-3:, :5], photo[-3:, :5])  # the photo's corner


def test_options_are_on_or_off(drawn) -> None:
    with pytest.raises(BadValue, match="stitch cannot be 2: on or off"):
        engine_with(stitch=2)


def test_the_square_is_the_authors(drawn) -> None:
    """Their rule on MediaPipe's points: matrix to a fiftieth of a pixel, then picture, mask and paste-back."""
    vectors = np.load(reference("liveportrait", "vectors_seed1.npz"))
    points = vectors["crop.in.lm478"].astype(np.float64)
    eyes, mouth = (points[468] + points[473]) / 2, points[14]
    there = crop.square_transform(points, eyes, mouth, 2.3, 0.125, 512)
    np.testing.assert_allclose(there, vectors["crop.M_o2c"][:2], atol=0.02)
    np.testing.assert_allclose(crop.inverse(there), vectors["crop.M_c2o"][:2], atol=0.02)


def test_the_square_that_follows_a_driver_lies_as_the_portraits_does() -> None:
    box = (100.0, 50.0, 300.0, 310.0)
    square = CropFollower().update(crop.driving_box(box), 0.0)
    assert square is not None
    assert square.side == pytest.approx(crop.DRIVING_SIDE * 260)
    assert (square.x, square.y) == pytest.approx((200, 180 - crop.DRIVING_LIFT * 260))
