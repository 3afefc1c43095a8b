"""Codes in the mirror: the code of a flipped picture."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from realtime.engines.mesh.motion import code as mc
from realtime.engines.mesh.motion.composites import COMPOSITES
from realtime.errors import BadValue
from realtime.face.face_model import load_face_model
from realtime.face.pose import HeadPose, rotation_matrix
from realtime.motion.track import MotionTrack
from realtime.motion.vocabulary import can_mirror, mirrored
from realtime.session.local import Pipeline
from realtime.settings import Live, PipelineSettings
from realtime.sources import SourceOptions, open_source
from realtime.types import MotionCode
from tests.support import FakeClock, FakeEngine, ListSink

MODEL = load_face_model()


def code_of(values: np.ndarray) -> MotionCode:
    return MotionCode(mc.KIND, np.asarray(values, np.float32))


def test_the_mirrored_code_is_the_code_of_the_mirrored_face() -> None:
    noise = np.random.default_rng(3)
    face = MODEL.mean + noise.normal(0, 0.01, MODEL.mean.shape)
    pose = HeadPose(200.0, rotation_matrix(18, -7, 25), np.array([350.0, 200.0, 0.0]))
    other_pose = HeadPose(200.0, rotation_matrix(-18, -7, -25), np.array([640 - 350.0, 200.0, 0.0]))
    code = code_of(mc.code_values(face, pose, 640, 480))
    expected = mc.code_values(MODEL.mirrored(face), other_pose, 640, 480)
    np.testing.assert_allclose(mirrored(code).values, expected, atol=2e-3)
    assert np.abs(code.values - expected).max() > 10  # it is not its own mirror image
    np.testing.assert_array_equal(mirrored(mirrored(code)).values, code.values)


def test_composites_change_sides() -> None:
    at = {c.name: mc.COMPOSITE.start + k for k, c in enumerate(COMPOSITES)}
    values = np.zeros(mc.LENGTH)
    values[[at["wink_right"], at["mouth_side"], at["smile"]]] = 0.7, 0.3, 0.2
    turned = mirrored(code_of(values)).values
    assert turned[[at["wink_left"], at["wink_right"], at["mouth_side"], at["smile"]]] == pytest.approx(
        [0.7, 0.0, -0.3, 0.2]
    )


def test_codes_without_a_left_and_a_right_stay() -> None:
    code = MotionCode("lia", np.arange(20, dtype=np.float32))
    assert mirrored(code) is code
    assert not can_mirror("lia")


class MeshLike(FakeEngine):
    """Takes the mesh engine's codes and keeps what it is told to render, with the reference."""

    kind = mc.KIND

    def __init__(self) -> None:
        super().__init__()
        self.directions = mc.DIRECTIONS
        self.rendered: list[tuple[np.ndarray, np.ndarray]] = []

    @property
    def portrait_code(self) -> MotionCode:
        return code_of(np.zeros(mc.LENGTH))

    def encode(self, frame: object) -> None:
        return None

    def render(self, code: MotionCode) -> np.ndarray:
        assert self.reference is not None
        self.rendered.append((code.values, self.reference.values))
        return self._portrait.copy()


def yaw_of(path, mirror: bool) -> tuple[float, float]:
    """Yaw of the one frame of a track as it is rendered, and of the neutral code that goes with it."""
    engine = MeshLike()
    source = open_source(f"motion:{path}", SourceOptions(paced=False))
    asyncio.run(Pipeline(source, engine, [ListSink()], PipelineSettings(lossless=True), Live(mirror=mirror)).run())
    code, reference = engine.rendered[-1]
    return float(code[mc.YAW]), float(reference[mc.YAW])


def test_a_motion_track_is_mirrored_with_its_neutral_face(tmp_path) -> None:
    code, neutral = np.zeros(mc.LENGTH), np.zeros(mc.LENGTH)
    code[mc.YAW], neutral[mc.YAW] = 20.0, 3.0
    track = MotionTrack.of_codes([code_of(code)], 30.0, mc.DIRECTIONS, code_of(neutral))
    track.save(tmp_path / "turn.motion")
    assert yaw_of(tmp_path / "turn.motion", mirror=False) == pytest.approx((20.0, 3.0))
    assert yaw_of(tmp_path / "turn.motion", mirror=True) == pytest.approx((-20.0, -3.0))


def test_a_track_that_cannot_be_mirrored_is_refused(tmp_path) -> None:
    engine = FakeEngine()
    track = MotionTrack.of_codes([engine.portrait_code], 30.0, engine.directions, engine.portrait_code)
    track.save(tmp_path / "fake.motion")
    source = open_source(f"motion:{tmp_path / 'fake.motion'}")
    with pytest.raises(BadValue, match="left from right"):
        Pipeline(source, engine, [ListSink()], live=Live(mirror=True))
    pipeline = Pipeline(source, engine, [ListSink()])
    told: list[str] = []
    pipeline.control.subscribe(lambda notice: told.append(notice.text))
    pipeline._key("mirror")  # as a key in the preview window
    assert not pipeline.control.live.mirror
    assert "left from right" in told[0]


def test_a_session_on_the_server_mirrors_its_sample() -> None:
    pytest.importorskip("aiortc")
    from realtime.server.common import messages
    from realtime.server.hosting.gallery import Gallery
    from realtime.server.hosting.hosted import Performer
    from tests.support.server import gallery

    pool = SimpleNamespace(wake=lambda worker: None, forget=lambda worker: True)  # the test takes the steps itself
    yaws = []
    for mirror in (False, True):
        clock, engine = FakeClock(100.0), MeshLike()
        performer = Performer(engine, Gallery(gallery()), pool, clock=clock)  # type: ignore[arg-type]
        performer.command(messages.Mirror(type="mirror", on=mirror))
        performer.watch()
        for _ in range(2):
            performer.tick(clock.advance(2.0))
            performer.step()
        code, reference = engine.rendered[-1]
        yaws.append((float(code[mc.YAW]), float(reference[mc.YAW])))
        performer.close()
    assert abs(yaws[0][0]) > 1.0
    assert yaws[1] == pytest.approx((-yaws[0][0], -yaws[0][1]), abs=0.01)
