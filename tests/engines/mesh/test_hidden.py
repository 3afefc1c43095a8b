"""A mouth that something hides is held, and real expressions are not."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.engines.mesh.motion import code as mc
from realtime.engines.mesh.motion.dictionary import INDEX
from realtime.engines.mesh.motion.encoder import MeshEncoder
from realtime.engines.mesh.motion.hidden import LONGEST, HeldMouth, LowerFace
from realtime.face.face_model import LIPS_OUTER, load_face_model
from realtime.types import Frame
from tests.support import frames_of, test_data

FACE = load_face_model().mean * 160.0 + np.array([150.0, 140.0, 0.0])
SKIN = np.array((190.0, 140.0, 110.0))
SIDE = mc.EXPRESSION.start + INDEX["lower_lip_side"]
BROW = mc.EXPRESSION.start + INDEX["brow_middle_up_left"]


def picture(light: float = 1.0, mouth: tuple[int, int, int] = (150, 60, 60), cover: bool = False) -> np.ndarray:
    """A face of skin with lips; a card before all below the nose."""
    image = np.empty((320, 300, 3))
    image[:] = SKIN
    x0, y0 = FACE[list(LIPS_OUTER), :2].min(axis=0).astype(int)
    x1, y1 = FACE[list(LIPS_OUTER), :2].max(axis=0).astype(int)
    image[y0 : y1 + 1, x0 : x1 + 1] = mouth
    if cover:
        image[int(FACE[2, 1]) + 3 :] = (45, 55, 60)
    return (image * light).clip(0, 255).astype(np.uint8)


@pytest.fixture
def known() -> LowerFace:
    lower = LowerFace()
    assert all(lower.hidden(picture(), FACE, 0.0) == 0.0 for _ in range(20))
    return lower


def test_a_card_before_the_mouth_hides_it(known):
    assert known.hidden(picture(cover=True), FACE, 0.0) == 1.0
    assert known.hidden(picture(), FACE, 0.0) == 0.0


@pytest.mark.parametrize(
    "seen", [picture(0.6), picture(1.3), picture(mouth=(20, 10, 10)), picture(mouth=(240, 235, 220))]
)
def test_other_light_and_open_mouths_hide_nothing(known, seen):
    assert known.hidden(seen, FACE, 0.0) == 0.0


def test_who_is_not_known_yet_hides_nothing():
    lower = LowerFace()
    assert lower.hidden(picture(), FACE, 0.0) == 0.0
    assert lower.hidden(picture(cover=True), FACE, 0.0) == 0.0


def code(side: float = 0.0, brow: float = 0.0) -> np.ndarray:
    values = np.zeros(mc.LENGTH, np.float32)
    values[SIDE], values[BROW] = side, brow
    return values


def test_a_hidden_mouth_stays_and_the_brows_go_on():
    held = HeldMouth()
    for k in range(60):
        held.update(code(1.0), 0.0, k / 30)
    shown = []
    for k in range(60, 90):
        values = code(-8.0, brow=3.0)
        held.update(values, 1.0, k / 30)
        shown.append(values[SIDE])
        assert values[BROW] == 3.0
    assert min(shown[5:]) > 0.0
    for k in range(90, 120):
        values = code(-2.0)
        held.update(values, 0.0, k / 30)
    assert values[SIDE] == pytest.approx(-2.0, abs=0.1)


def test_a_mouth_that_is_seen_is_left_exactly_as_it_is():
    held, rng = HeldMouth(), np.random.default_rng(0)
    for k in range(100):
        values = rng.normal(size=mc.LENGTH).astype(np.float32)
        before = values.copy()
        assert not held.update(values, 0.0, k / 30)
        assert (values == before).all()


def test_what_hides_for_too_long_is_how_the_driver_looks_now():
    held = HeldMouth()
    given_up = [held.update(code(), 1.0, k / 10) for k in range(int(10 * LONGEST) + 20)]
    assert not any(given_up[: int(10 * LONGEST) - 2])
    assert given_up[-1]


@pytest.mark.slow
def test_a_panel_before_a_real_mouth_moves_it_nowhere():
    frames = frames_of(test_data("clips/h02_occluded.mp4"), 70)
    encoder = MeshEncoder()
    codes = [encoder.encode(Frame(image, k / 30, k, k / 30)) for k, image in enumerate(frames)]
    encoder.close()
    sides = [c.values[SIDE] for c in codes if c is not None]
    assert np.ptp(sides[45:]) < 0.5
    assert np.ptp(sides[:28]) > 0.5
