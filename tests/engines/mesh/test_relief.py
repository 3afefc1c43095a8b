"""Drawings of flat colours turn as shallow reliefs, so that their outlines stay lines."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.engines.mesh.framing import frame_portrait
from realtime.engines.mesh.outer import build_outer_mesh
from realtime.engines.mesh.portrait import SHALLOW, prepare_portrait, relief_of
from realtime.face.face_model import OVAL, load_face_model
from realtime.face.pose import HeadPose, rotation_matrix
from realtime.media.portraits import builtin_portrait

POSE = HeadPose(120.0, np.eye(3), np.array([150.0, 130.0, 0.0]))
FACE = POSE.to_picture(load_face_model().mean)


def test_flat_colours_are_a_drawing_and_skin_is_none():
    rng = np.random.default_rng(0)
    skin = np.full((320, 300, 3), (200, 150, 120), np.uint8)
    assert relief_of(skin, FACE) == SHALLOW
    grain = rng.normal(0, 2, skin.shape)
    assert relief_of((skin + grain).clip(0, 255).astype(np.uint8), FACE) == 1.0
    lit = skin + np.linspace(-55.0, 55.0, skin.shape[1])[:, None]  # as smooth as a webcam's
    assert relief_of(lit.round().astype(np.uint8), FACE) == 1.0


def test_a_shallow_head_shifts_less_as_it_turns_and_is_the_same_at_rest():
    deep = build_outer_mesh(FACE, POSE, (300, 320), 30)
    still = np.zeros((len(OVAL), 3))
    turned = HeadPose(120.0, rotation_matrix(30.0, 0.0, 0.0), POSE.translation)
    assert np.abs(deep.flattened(POSE, 0.35).move(still, POSE, POSE)[0] - deep.points).max() < 1e-9
    flat = deep.flattened(POSE, 0.0)
    near = np.argsort(np.abs(deep.points - FACE[list(OVAL), :2].mean(axis=0)).sum(axis=1))[:20]
    across = deep.points[near, 0] - POSE.translation[0]
    narrowed = deep.turn[near] * (np.cos(np.radians(30.0)) - 1.0) * across
    np.testing.assert_allclose(flat.move(still, POSE, turned)[0][near, 0] - deep.points[near, 0], narrowed, atol=0.5)
    shifts = [np.abs(m.move(still, POSE, turned)[0][near, 0] - deep.points[near, 0] - narrowed).mean() for m in (
        deep, deep.flattened(POSE, 0.35))]  # fmt: skip
    assert shifts[1] == pytest.approx(0.35 * shifts[0], rel=0.1)


@pytest.mark.parametrize(("name", "depth"), [("composer", SHALLOW), ("astronaut", 1.0)])
def test_drawings_alone_are_shallow(name, depth):
    """The composer's cheek and wig are drawn with a line each where a face ends: they became black patches."""
    framed = frame_portrait(builtin_portrait(name), 256)
    made = prepare_portrait(framed, quick=True)
    assert np.ptp(made.landmarks[:, 2]) == pytest.approx(depth * np.ptp(framed.landmarks[:, 2]), rel=1e-3)
    np.testing.assert_allclose(made.landmarks[:, :2], framed.landmarks[:, :2], atol=1e-3)
    np.testing.assert_allclose(made.pose.to_picture(made.shape), made.landmarks, atol=1e-6)
