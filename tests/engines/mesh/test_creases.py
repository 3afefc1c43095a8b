"""Creases: none at rest, where the expression puts them in motion, none on smooth skin, drawings and hair."""

import numpy as np
import pytest

from realtime.engines.mesh.creases import CREASES, crease_strength, folds, prepare_creases
from realtime.engines.mesh.motion.dictionary import load_dictionary
from realtime.face import face_model as fm
from realtime.face.pose import HeadPose, rotation_matrix

FACE = fm.load_face_model().mean
POSE = HeadPose(200.0, np.eye(3), np.array([128.0, 128.0, 0.0]))
LANDMARKS = POSE.to_picture(FACE)


def skin(grain: float = 6.0, ink: bool = False) -> np.ndarray:
    """A picture of nothing but skin: uint8 (256, 256, 3). grain: of its texture. ink: drawn in one colour."""
    rng = np.random.default_rng(3)
    light = 1 + grain / 100 * rng.normal(size=(256, 256, 1))
    colour = np.array([170.0, 130.0, 110.0]) * light
    if not ink:
        colour += 14 * np.sin(np.arange(256) / 20)[:, None, None] * np.array([1, -0.5, -0.2])
    return np.clip(colour, 0, 255).astype(np.uint8)


def face_with(*groups: str, **wanted: float) -> np.ndarray:
    """The mean face with measurements of some groups moved on both sides."""
    both = {f"{name}_{side}": amount for name, amount in wanted.items() for side in ("left", "right")}
    return FACE + load_dictionary().displacement(load_dictionary().complete(both, groups))


SMILE = face_with("mouth", "cheeks", corner_out=3.5, corner_up=4.5, cheek_up=2)


def test_at_rest_nothing_is_drawn():
    picture = skin()
    out = picture.copy()
    creases = prepare_creases(picture, LANDMARKS, 200.0)
    assert creases.strength > 0.9
    creases.draw(out, FACE, FACE, POSE)
    assert (out == picture).all()


@pytest.mark.parametrize(
    ("fold", "face"),
    [
        ("smile", SMILE),
        ("brows", face_with("brows", brow_inner_up=4, brow_middle_up=4, brow_outer_up=3)),
        ("frown", face_with("brows", brow_in=2.5, brow_inner_up=-2, brow_middle_up=-2)),
    ],
)
def test_an_expression_draws_its_own_creases(fold, face):
    depths = folds(face, FACE)
    assert all(depth > 0.6 for (name, _), depth in depths.items() if name == fold)
    assert all(depth < 0.3 for (name, _), depth in depths.items() if name not in (fold, "laugh"))
    out = np.full((256, 256, 3), (180, 140, 120), np.uint8)
    prepare_creases(skin(), LANDMARKS, 200.0).draw(out, face, FACE, POSE)
    for crease in CREASES:
        if crease.fold == fold:
            x, y = POSE.to_picture(crease.on(face))[len(crease.points) // 2, :2].round().astype(int)
            assert out[y - 1 : y + 2, x - 1 : x + 2].mean() < 146, "147 without"


def test_light_and_dark_keep_to_the_tone_of_the_skin():
    out = np.full((256, 256, 3), (180, 140, 120), np.uint8)
    prepare_creases(skin(), LANDMARKS, 200.0).draw(out, SMILE, FACE, POSE)
    darkest = out.reshape(-1, 3)[out.sum(axis=2).argmin()].astype(float)
    assert darkest[0] > darkest[1] > darkest[2]
    assert darkest.sum() > 0.7 * (180 + 140 + 120)


def test_the_far_side_of_a_turned_head_has_none():
    picture = np.full((256, 256, 3), (180, 140, 120), np.uint8)
    pose = HeadPose(200.0, rotation_matrix(35, 0, 0), np.array([128.0, 128.0, 0.0]))
    prepare_creases(skin(), LANDMARKS, 200.0).draw(picture, SMILE, FACE, pose)
    columns = np.flatnonzero((picture != (180, 140, 120)).any(axis=(0, 2)))
    assert columns.max() < pose.to_picture(FACE[4])[0], "the far cheek lies to the right of the nose"


def test_smooth_skin_and_drawings_of_one_ink_have_none():
    assert crease_strength(skin(), LANDMARKS, 200.0) > 0.9
    assert crease_strength(skin(grain=0.2), LANDMARKS, 200.0) == 0
    assert crease_strength(skin(ink=True), LANDMARKS, 200.0) == 0


def test_hair_over_the_forehead_does_not_crease():
    picture = skin()
    picture[: int(LANDMARKS[105, 1]) - 4] = 30
    lines = {crease.fold for crease in prepare_creases(picture, LANDMARKS, 200.0).lines}
    assert "brows" not in lines
    assert "smile" in lines
