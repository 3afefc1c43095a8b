"""A lifted chin: the throat is drawn up evenly, and comes out of the jaw's shadow."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from realtime.engines.mesh.outer import OuterMesh, build_outer_mesh
from realtime.engines.mesh.shade import Shade
from realtime.engines.mesh.throat import MOST, Throat
from realtime.face.face_model import CHIN, LANDMARKS, OVAL, load_face_model
from realtime.face.pose import HeadPose, rotation_matrix

SHAPE = load_face_model().mean
REST = HeadPose(160.0, np.eye(3), np.array([200.0, 160.0, 0.0]))
FACE = REST.to_picture(SHAPE)
SKIN, SHADOW, CLOTH = (200, 150, 120), (90, 60, 46), (30, 40, 90)
STILL = np.zeros((len(OVAL), 3))


def lifted(pitch: float) -> HeadPose:
    return HeadPose(REST.scale, rotation_matrix(0.0, pitch, 0.0), REST.translation)


@pytest.fixture(scope="module")
def outer() -> OuterMesh:
    return build_outer_mesh(FACE, REST, (400, 400), 40)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """Skin, a shadow below the jaw, and a collar at some way from it."""
    out = np.full((400, 400, 3), SKIN, np.uint8)
    chin = int(FACE[CHIN, 1])
    out[chin + 2 : chin + 12] = SHADOW
    out[chin + 24 :] = CLOTH
    return out


def below_the_chin(outer: OuterMesh) -> np.ndarray:
    """The points straight below the chin, downwards."""
    near = np.flatnonzero((np.abs(outer.points[:, 0] - FACE[CHIN, 0]) < 8) & (outer.points[:, 1] > FACE[CHIN, 1]))
    return near[np.argsort(outer.points[near, 1])]


def test_what_a_lifted_chin_uncovers_does_not_all_come_from_the_strip_beside_the_jaw(outer):
    first, second = below_the_chin(outer)[:2]
    pose = lifted(25.0)
    chin = pose.to_picture(SHAPE)[CHIN, 1]
    ends, _ = outer.move(STILL, REST, pose)
    strip = (ends[first, 1] - chin) / (outer.points[first, 1] - FACE[CHIN, 1])
    before, _ = outer.with_throat(np.zeros(len(outer.throat))).move(STILL, REST, pose)
    strip_before = (before[first, 1] - chin) / (outer.points[first, 1] - FACE[CHIN, 1])
    assert strip_before > 3.0
    assert strip < 0.7 * strip_before
    assert chin < ends[first, 1] < ends[second, 1]


@pytest.mark.parametrize("pose", [lifted(-20.0), HeadPose(160.0, rotation_matrix(30.0, 0.0, 0.0), REST.translation)])
def test_a_head_that_is_not_lifted_draws_nothing_up(outer, pose):
    ends, _ = outer.move(STILL, REST, pose)
    before, _ = outer.with_throat(np.zeros(len(outer.throat))).move(STILL, REST, pose)
    assert np.abs(ends - before).max() < 0.01 * REST.scale


def test_a_shadow_on_skin_may_become_lighter_and_a_collar_not(outer, picture):
    throat = Throat.of(picture, FACE, outer, REST.scale)
    at = outer.points[outer.throat]
    below = at[:, 1] - FACE[CHIN, 1]
    middle = np.abs(at[:, 0] - FACE[CHIN, 0]) < 20
    assert throat.gains[middle & (below > 2) & (below < 10)].min() > 1.1
    assert throat.gains.max() <= MOST
    cloth = middle & (below > 27)
    assert cloth.any()
    assert throat.gains[cloth] == pytest.approx(1.0, abs=0.02)
    assert throat.skin[cloth].max() < 0.05


def test_the_throat_comes_into_the_light_as_the_head_is_lifted(outer, picture):
    shade = Shade.of(SHAPE, REST, Throat.of(picture, FACE, outer, REST.scale))
    shown = {}
    for pitch in (0.0, 5.0, 25.0):
        pose = lifted(pitch)
        face, (ends, depth) = pose.to_picture(SHAPE), outer.move(STILL, REST, pose)
        out = cv2.GaussianBlur(picture, (0, 0), 3.0)
        before = out.copy()
        points, far = np.concatenate([face[:, :2], ends]), np.concatenate([face[:, 2], depth])
        assert len(face) == LANDMARKS
        shade.draw(out, points, far, pose)
        x, y = ends[below_the_chin(outer)[0]].round().astype(int)
        shown[pitch] = float(out[y, x].mean()) / float(before[y, x].mean())
    assert shown[0.0] == 1.0
    assert 1.0 <= shown[5.0] < shown[25.0]
    assert shown[25.0] > 1.08
