"""The built-in engine as a user sees it: what comes back at rest, and what each motion does to the picture."""

from __future__ import annotations

import math
import threading

import cv2
import numpy as np
import pytest

from realtime import load_engine
from realtime.engines import Engine
from realtime.engines.mesh import portrait as portrait_module
from realtime.engines.mesh.engine import MeshEngine
from realtime.engines.mesh.eyes import ZOOM, magnify, prepare_eyes
from realtime.engines.mesh.inpaint import fill_smooth, fill_textured
from realtime.engines.mesh.topology import face_triangles, signed_distance
from realtime.errors import BadPortrait, BadValue, EngineError
from realtime.face.face_model import (
    CHIN,
    EYE_CORNERS,
    FOREHEAD,
    LIP_MIDDLE,
    LOWER_LIDS,
    NOSE_TIP,
    RIGHT_EYE,
    UPPER_LIDS,
    load_face_model,
)
from realtime.face.landmarks import find_faces
from realtime.face.pose import HeadPose
from realtime.media.matte import fine_matte
from realtime.media.portraits import builtin_portrait
from realtime.types import MotionCode


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return builtin_portrait()


@pytest.fixture(scope="module")
def engine(astronaut):
    made = MeshEngine(384)
    made.set_portrait(astronaut)
    made.reference = made.portrait_code
    yield made
    made.close()


def moved(engine: MeshEngine, **edits: float) -> np.ndarray:
    """The portrait with directions added to its own code."""
    code = engine.portrait_code
    values = code.values.copy()
    index = {d.name: d.index for d in engine.directions}
    for name, amount in edits.items():
        values[index[name]] += amount
    return engine.render(code.with_values(values))


def face_in(picture: np.ndarray) -> np.ndarray:
    faces = find_faces(picture)
    assert len(faces) == 1
    return faces[0].astype(np.float64)


def opening_of_mouth(face: np.ndarray) -> float:
    return float(np.linalg.norm(face[LIP_MIDDLE[1]] - face[LIP_MIDDLE[0]]) / height_of(face))


def opening_of_eyes(face: np.ndarray) -> float:
    pairs = zip(UPPER_LIDS, LOWER_LIDS, strict=True)
    gaps = [np.linalg.norm(face[list(lower)] - face[list(upper)], axis=1).mean() for upper, lower in pairs]
    return float(np.mean(gaps) / height_of(face))


def height_of(face: np.ndarray) -> float:
    return float(np.linalg.norm(face[FOREHEAD] - face[CHIN]))


def nose_from_middle(face: np.ndarray) -> float:
    corners = face[[c[0] for c in EYE_CORNERS], 0]
    return float((face[NOSE_TIP, 0] - corners.mean()) / abs(corners[1] - corners[0]))


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-9, np.mean((a.astype(float) - b) ** 2))))


# ---------------------------------------------------------------- the contract


def test_it_keeps_the_contract(astronaut):
    engine = load_engine("mesh", size=128)
    assert (engine.name, engine.kind, engine.device, engine.size) == ("mesh", "mesh", "cpu", 128)
    code = engine.encode(astronaut)
    assert isinstance(code, MotionCode)
    assert code.values.dtype == np.float32
    assert all(0 <= d.index < len(code.values) for d in engine.directions)
    assert engine.encode(np.zeros((64, 64, 3), np.uint8)) is None
    with pytest.raises(EngineError, match="no portrait"):
        engine.render(code)
    engine.set_portrait(astronaut)
    assert isinstance(engine, Engine)
    picture = engine.render(code)
    assert engine.reference is code
    assert picture.shape == (128, 128, 3)
    assert picture.dtype == np.uint8
    engine.reset()
    engine.close()
    engine.close()


SENSELESS = [{"device": "gpu"}, {"size": 10}, {"size": (1280, 100)}, {"weights": "x"}]
SENSELESS += [{"size": value} for value in (None, "x", math.nan, 512.5, (512,), (512, 512, 512))]


@pytest.mark.parametrize("options", SENSELESS)
def test_options_it_cannot_serve_are_refused(options):
    with pytest.raises(BadValue):
        MeshEngine(**options)


def test_a_code_of_another_engine_is_refused(engine):
    for code in (MotionCode("lia", np.zeros(20, np.float32)), MotionCode("mesh", np.zeros(20, np.float32))):
        with pytest.raises(BadValue):
            engine.render(code)


NO_FRAMES = {
    "grey": np.zeros((64, 64), np.uint8),
    "one channel": np.zeros((64, 64, 1), np.uint8),
    "with alpha": np.zeros((64, 64, 4), np.uint8),
    "fractions": np.zeros((64, 64, 3), np.float32),
    "long numbers": np.zeros((64, 64, 3), np.int32),
    "empty": np.zeros((0, 64, 3), np.uint8),
    "a list": [[[0, 0, 0]]],
    "nothing": None,
}


@pytest.mark.parametrize("frame", NO_FRAMES.values(), ids=NO_FRAMES)
def test_what_is_no_driving_frame_is_refused_and_not_taken_for_one_without_a_face(engine, frame):
    with pytest.raises(BadValue, match="uint8"):
        engine.encode(frame)


def test_what_is_no_code_is_refused(engine):
    for code in (None, np.zeros(87, np.float32)):
        with pytest.raises(BadValue, match="MotionCode"):
            engine.render(code)


def test_what_is_not_a_number_counts_as_unmoved(engine):
    code = engine.portrait_code
    for wrong in (np.nan, np.inf, -np.inf):
        broken = code.values.copy()
        broken[[1, 3, 11, 40]] = wrong
        assert (engine.render(code.with_values(broken)) == engine.render(code)).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("absolute", [True, False])
def test_any_code_whatever_gives_a_picture(astronaut, absolute):
    engine = MeshEngine(96)
    engine.set_portrait(astronaut)
    own, rng = engine.portrait_code, np.random.default_rng(4)
    wild = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e20, 65504, -65504, 900, -900, 5, -5, 1e-40], np.float32)
    still = engine.render(own)
    for trial in range(80):
        values = own.values.copy()
        some = rng.choice(len(values), rng.integers(1, len(values) + 1), replace=False)
        values[some] = rng.choice(wild[trial % 3 :: 3], len(some))
        engine.reference = own if absolute else own.with_values(own.values + np.float32(0.01))
        if not absolute and trial % 4 == 0:
            engine.reference = own.with_values(values[::-1].copy())
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            picture = engine.render(own.with_values(values))
        assert picture.shape == still.shape
        assert picture.dtype == np.uint8
    engine.reference = own
    assert (engine.render(own) == still).all()


def test_a_refused_portrait_leaves_the_old_one(engine):
    before = engine.render(engine.portrait_code)
    with pytest.raises(BadPortrait):
        engine.set_portrait(np.zeros((300, 300, 3), np.uint8))
    assert (engine.render(engine.portrait_code) == before).all()


def test_a_portrait_file_is_named_in_the_refusal(engine, tmp_path):
    cv2.imwrite(str(tmp_path / "wall.png"), np.full((200, 200, 3), 130, np.uint8))
    with pytest.raises(BadPortrait, match=r"wall\.png: no human face"):
        engine.prepare(tmp_path / "wall.png")


# ---------------------------------------------------------------- pictures


@pytest.mark.parametrize("size", [128, 384, (480, 270)])
def test_at_rest_the_portrait_comes_back(astronaut, size):
    engine = MeshEngine(size)
    engine.set_portrait(astronaut)
    engine.reference = engine.portrait_code
    picture = engine.render(engine.portrait_code)
    assert psnr(picture, engine.portrait.picture) > 45
    engine.close()


def test_the_neutral_code_of_any_driver_gives_the_portrait(engine):
    """Relative motion: a driver who does not move leaves the portrait as it is, whatever his own face."""
    engine.reference = None
    values = engine.portrait_code.values.copy()
    values[:6] = (4.0, -3.0, 2.0, 0.1, 0.05, 0.2)
    picture = engine.render(engine.portrait_code.with_values(values))
    engine.reference = engine.portrait_code
    assert psnr(picture, engine.portrait.picture) > 35


def test_each_picture_is_a_new_array_and_always_the_same(engine):
    first = moved(engine, yaw=12, mouth_open=0.5)
    copy = first.copy()
    other = moved(engine, yaw=-12)
    again = moved(engine, yaw=12, mouth_open=0.5)
    assert first is not again
    assert (first == copy).all()
    assert (first == again).all()
    assert (first != other).any()


def test_yaw_turns_the_nose_to_the_right_of_the_picture(engine):
    rest = nose_from_middle(face_in(moved(engine)))
    right, left = (nose_from_middle(face_in(moved(engine, yaw=a))) for a in (20, -20))
    assert left < rest - 0.08 < rest + 0.08 < right


def test_pitch_lifts_the_nose(engine):
    def lift(face: np.ndarray) -> float:
        return float((face[[33, 263], 1].mean() - face[NOSE_TIP, 1]) / height_of(face))

    assert lift(face_in(moved(engine, pitch=15))) > lift(face_in(moved(engine, pitch=-15))) + 0.08


def test_the_head_moves_and_grows(engine):
    rest, far = face_in(moved(engine)), face_in(moved(engine, move_x=0.15, move_y=0.1))
    fh = height_of(rest)
    assert (far - rest)[:468, :2].mean(axis=0) == pytest.approx([0.15 * fh, 0.1 * fh], abs=0.02 * fh)
    near = face_in(moved(engine, zoom=0.2))
    assert height_of(near) / fh == pytest.approx(np.exp(0.2), rel=0.03)


def test_the_background_stands_still(engine):
    rest, turned = moved(engine), moved(engine, yaw=15, move_x=0.1)
    corner = (slice(0, 40), slice(340, 384))
    assert np.abs(rest[corner].astype(int) - turned[corner]).max() <= 1


def test_a_blink_closes_the_eyes(engine):
    open_, shut = (opening_of_eyes(face_in(moved(engine, blink=b))) for b in (0, 1))
    assert shut < 0.55 * open_


def test_the_mouth_opens_and_is_dark_or_red_inside(engine):
    rest, wide = moved(engine), moved(engine, mouth_open=1)
    before, after = face_in(rest), face_in(wide)
    assert opening_of_mouth(after) > opening_of_mouth(before) + 0.06
    x, y = after[list(LIP_MIDDLE), :2].mean(axis=0).round().astype(int)
    inside = wide[y - 2 : y + 3, x - 4 : x + 5].reshape(-1, 3).mean(axis=0)
    cheek = wide[int(after[50, 1]), int(after[50, 0])].astype(float)
    assert inside.mean() < 0.8 * cheek.mean()
    assert inside[0] >= inside[1]


def test_gaze_moves_the_irises(engine):
    def gaze(face: np.ndarray) -> float:
        eyes = ((468, 33, 133), (473, 263, 362))
        shifts = [(face[i, 0] - face[[a, b], 0].mean()) / abs(face[a, 0] - face[b, 0]) for i, a, b in eyes]
        return float(np.mean(shifts))

    assert gaze(face_in(moved(engine, gaze_x=0.15))) > gaze(face_in(moved(engine, gaze_x=-0.15))) + 0.1


def test_extreme_codes_do_not_break_it(engine):
    rng = np.random.default_rng(2)
    for scale in (3.0, 10.0, 30.0):
        values = (rng.standard_normal(len(engine.portrait_code.values)) * scale).astype(np.float32)
        assert engine.render(engine.portrait_code.with_values(values)).shape == (384, 384, 3)


# ---------------------------------------------------------------- several portraits, several threads


def test_portraits_are_switched_between_two_frames(astronaut):
    engine = MeshEngine(192)
    photo, painting = engine.prepare(astronaut), engine.prepare(builtin_portrait("painting"))
    engine.set_portrait(photo)
    engine.reference = engine.portrait_code
    assert psnr(engine.render(engine.portrait_code), photo.picture) > 40
    engine.set_portrait(painting)
    assert psnr(engine.render(engine.portrait_code), painting.picture) > 40, "absolute motion follows the portrait"
    wide = engine.prepare(astronaut, (342, 192))
    engine.set_portrait(wide)
    assert engine.render(engine.portrait_code).shape == (192, 342, 3)
    assert (engine.width, engine.height, engine.size) == (342, 192, 192)
    assert engine.prepare(astronaut).now.picture.shape == (192, 192, 3), "what the engine was made for"
    engine.set_portrait(painting)
    assert engine.render(engine.portrait_code).shape == (192, 192, 3)
    assert (engine.width, engine.height) == (192, 192)
    with pytest.raises(BadValue, match=r"2\.5 times"):
        engine.prepare(astronaut, (640, 192))
    engine.close()


def test_a_live_portrait_is_shown_at_once_and_ends_as_good_as_any(astronaut, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(portrait_module, "fine_matte", lambda image: go_on.wait(60) and fine_matte(image))
    live = MeshEngine(192, live=True)
    prepared = live.prepare(astronaut)
    live.set_portrait(prepared)
    first = live.portrait
    live.reference = live.portrait_code
    at_rest = live.render(live.portrait_code)
    assert psnr(at_rest, first.picture) > 40
    go_on.set()
    assert prepared.wait(60)
    assert live.portrait is not first
    assert psnr(live.render(live.portrait_code), at_rest) > 40, "nothing jumps"
    patient = MeshEngine(192)
    patient.set_portrait(astronaut)
    assert (live.portrait.texture == patient.portrait.texture).all()
    assert (live.portrait.texture != first.texture).any()
    live.close()
    patient.close()


def test_a_portrait_whose_fine_matte_fails_stays_as_it_is(astronaut, monkeypatch, caplog):
    def fail(image):
        raise RuntimeError("no memory")

    monkeypatch.setattr(portrait_module, "fine_matte", fail)
    engine = MeshEngine(192, live=True)
    prepared = engine.prepare(astronaut)
    engine.set_portrait(prepared)
    assert prepared.wait(60)
    assert "quick matte" in caplog.text
    engine.reference = engine.portrait_code
    assert psnr(engine.render(engine.portrait_code), engine.portrait.picture) > 40
    engine.close()


def test_encoding_and_rendering_at_once_change_nothing(engine, astronaut):
    alone = moved(engine, yaw=10, smile=0.5)
    stop = threading.Event()

    def encode() -> None:
        while not stop.is_set():
            engine.encode(astronaut)

    thread = threading.Thread(target=encode)
    thread.start()
    try:
        pictures = [moved(engine, yaw=10, smile=0.5) for _ in range(12)]
    finally:
        stop.set()
        thread.join()
    assert all((picture == alone).all() for picture in pictures)


# ---------------------------------------------------------------- parts


def test_the_face_is_closed():
    """Every edge inside the face belongs to two triangles: only the outline is open."""
    triangles = face_triangles()
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert set(counts) == {1, 2}
    assert (counts == 1).sum() == 36


def test_signed_distance_of_a_square():
    square = np.array([[0, 0], [4, 0], [4, 4], [0, 4]], float)
    got = signed_distance(np.array([[2.0, 2.0], [2.0, 1.0], [6.0, 2.0], [7.0, 8.0], [4.0, 2.0]]), square)
    assert got == pytest.approx([-2, -1, 2, 5, 0], abs=1e-9)


def test_magnified_texels_lie_on_the_pixels():
    image = np.random.default_rng(3).integers(0, 256, (9, 7, 3), np.uint8)
    assert (magnify(image)[::2, ::2] == image).all()


def test_a_smooth_fill_keeps_what_is_known_and_a_constant():
    rng = np.random.default_rng(4)
    image = rng.uniform(0, 255, (40, 50, 3)).astype(np.float32)
    known = np.ones((40, 50), np.float32)
    known[10:30, 15:35] = 0
    filled = fill_smooth(image, known)
    assert np.allclose(filled[known > 0], image[known > 0], atol=1e-3)
    flat = fill_smooth(np.full((40, 50), 90.0, np.float32), known)
    assert np.allclose(flat, 90.0, atol=0.1)


def test_a_textured_fill_has_the_grain_of_its_surroundings():
    rng = np.random.default_rng(5)
    image = np.clip(120 + 30 * rng.standard_normal((80, 80, 1)) * np.ones(3), 0, 255).astype(np.float32)
    known = np.ones((80, 80), bool)
    known[30:50, 30:50] = False
    filled = fill_textured(image, known, reach=40.0)
    assert (filled[known] == image[known]).all()
    grain = filled[32:48, 32:48].std() / image[known].std()
    assert 0.5 < grain < 1.3


def test_a_textured_fill_continues_a_shelf():
    image = np.full((60, 90, 3), 200, np.float32)
    image[30:34] = 40
    known = np.ones((60, 90), bool)
    known[10:, 30:60] = False
    filled = fill_textured(image, known, reach=40.0)
    near = np.r_[30:38, 52:60]
    assert np.abs(filled[31:33, near] - 40).max() < 60
    assert np.abs(filled[45:, near] - 200).max() < 20


def test_a_lid_has_the_colour_of_the_skin_and_not_of_the_brow_above_it():
    pose = HeadPose(300.0, np.eye(3), np.array([200.0, 200.0, 0.0]))
    landmarks = pose.to_picture(load_face_model().mean)
    picture = np.full((400, 400, 3), 200, np.uint8)
    shaded = landmarks[list(RIGHT_EYE), :2].astype(int)
    low, high = shaded.min(axis=0), shaded.max(axis=0)
    picture[low[1] - 40 : low[1] - 6, low[0] - 20 : high[0] + 20] = 70  # a brow and a deep crease
    picture[low[1] - 40 : high[1] + 40, : low[0] - 6] = 10  # the dark beside a turned face
    eye = prepare_eyes(picture, landmarks, pose)[0]
    x, y = ((landmarks[list(RIGHT_EYE), :2].mean(axis=0) - eye.corner) * ZOOM).astype(int)
    assert (eye.lid[y, x] > 185).all()
