"""The inside of the mouth: teeth that belong to the head, gums that hardly show, light that fits the face."""

import numpy as np
import pytest

from realtime.engines.mesh.engine import MeshEngine
from realtime.engines.mesh.motion import code as mc
from realtime.engines.mesh.mouth import prepare_mouth
from realtime.engines.mesh.portrait import PreparedPortrait
from realtime.face import face_model as fm
from realtime.face.pose import HeadPose
from realtime.media.portraits import builtin_portrait
from realtime.types import MotionCode

NAMED = {d.name: d.index for d in mc.DIRECTIONS}
LIGHT = np.array([0.299, 0.587, 0.114])


@pytest.fixture(scope="module")
def engine():
    made = MeshEngine(384)
    made.set_portrait(builtin_portrait())
    made.reference = MotionCode("mesh", neutral())
    yield made
    made.close()


def neutral() -> np.ndarray:
    """Code of a driver with the mean face who looks into the camera."""
    pose = HeadPose(180.0, np.eye(3), np.array([192.0, 192.0, 0.0]))
    return mc.code_values(fm.load_face_model().mean, pose, 384, 384)


def shown(engine: MeshEngine, **edits: float) -> tuple[np.ndarray, np.ndarray, PreparedPortrait]:
    """The picture, float (H, W, 3), its landmarks, px, and the portrait."""
    values = neutral()
    for name, amount in edits.items():
        values[NAMED[name]] += amount
    code = MotionCode("mesh", values)
    target = engine._retargeter.target(values, engine.reference.values)
    return engine.render(code).astype(float), target.vertices(), engine.portrait


def test_no_dark_band_lies_between_the_lip_and_the_teeth_of_a_smile(engine):
    picture, face, portrait = shown(engine, smile=1, upper_lip_up=2.5, lower_lip_down=5)
    top, bottom = face[list(fm.LIP_MIDDLE), 1]
    x = round(face[fm.LIP_MIDDLE[0], 0])
    column = picture[round(top) : round(bottom), x - 2 : x + 3].mean(axis=1) @ LIGHT
    assert len(column) > 0.06 * portrait.pose.scale, "the mouth is open"
    teeth = column.max()
    first = int(np.argmax(column > 0.75 * teeth))
    assert first < 0.025 * portrait.pose.scale, "teeth begin beneath the lip"
    assert teeth > 0.75 * picture[round(face[50, 1]), round(face[50, 0])] @ LIGHT, "teeth in the light of the face"


def test_a_wide_mouth_has_teeth_above_and_a_dark_throat(engine):
    picture, face, _ = shown(engine, mouth_open=1)
    (x, top), (_, bottom) = face[list(fm.LIP_MIDDLE), :2]
    column = picture[round(top) : round(bottom), round(x) - 2 : round(x) + 3].mean(axis=1) @ LIGHT
    third = len(column) // 3
    assert column[:third].max() > 2 * column[third : 2 * third].min()


def face_picture(skin: float, inside: float) -> tuple[np.ndarray, np.ndarray, HeadPose]:
    """A flat picture of the mean face with its lips parted: what lies between is grey `inside`, all else `skin`."""
    pose = HeadPose(200.0, np.eye(3), np.array([128.0, 128.0, 0.0]))
    face = fm.load_face_model().mean.copy()
    face[list(fm.LOWER_INNER_LIP), 1] += 0.06
    landmarks = pose.to_picture(face)
    picture = np.full((256, 256, 3), skin, np.uint8)
    ring = landmarks[list(fm.LIPS_INNER), :2]
    low, high = ring.min(axis=0).astype(int), ring.max(axis=0).astype(int) + 1
    picture[low[1] : high[1], low[0] : high[0]] = inside
    return picture, landmarks, pose


def test_teeth_in_the_shadow_of_the_lips_are_no_likeness():
    bright, dim = (prepare_mouth(*face_picture(200, inside)) for inside in (215, 100))
    assert bright.own_weight > 0.9
    assert dim.own_weight < 0.1
    lightest = np.percentile(dim.teeth.upper[..., :3][dim.teeth.upper[..., 3] > 250].mean(axis=1), 90)
    assert lightest > 170, "teeth that are shown are as light as the face"
