"""What a session decides, without a thread or a clock: times are passed in."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import typing
from collections.abc import Callable

import numpy as np
import pytest

from realtime.engines.mesh.motion import code as mc
from realtime.errors import BadPortrait, EngineError
from realtime.media.backdrop import Keyed
from realtime.motion.calibration import LONGEST
from realtime.session import core
from realtime.session.core import QUIET, Driving, Encoding, Rendering, warm_encoder
from realtime.session.driver import Drive
from realtime.session.health import SignalMonitor
from realtime.settings import Live
from realtime.sources import Unseen
from realtime.types import SYNTHETIC, Frame, MotionCode
from tests.support import FakeEngine, Watching, plain

STEP = 1 / 30


class Told(list[tuple[str, str]]):
    """The sentences that were said, with their levels."""

    def __call__(self, sentence: str, level: str) -> None:
        self.append((sentence, level))

    @property
    def levels(self) -> list[str]:
        return [level for _, level in self]


class Seeing(Watching, FakeEngine):
    """It keeps what it sees."""


def frame(colour: tuple[int, int, int] | int, n: int = 0, captured: float | None = None) -> Frame:
    return Frame(plain(colour), 100.0 + n * STEP if captured is None else captured, n, n * STEP)


def driving(engine: FakeEngine, **options: typing.Any) -> tuple[Driving, list[str]]:
    """A live session's driving, begun at 100 s, and what it counts."""
    counted: list[str] = []
    made = Driving(engine, Encoding(engine), count=counted.append, **options)
    made.begin(Live(), 100.0)
    return made, counted


def only(drives: typing.Iterable[Drive]) -> Drive:
    (drive,) = drives
    return drive


def rendering(engine: FakeEngine, **options: typing.Any) -> Rendering:
    made = Rendering(engine, **options)
    made.begin()
    return made


# --- what it is made of


def test_it_has_no_thread_no_event_loop_and_no_clock() -> None:
    names = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(inspect.getsource(core)))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert names.isdisjoint({"threading", "asyncio", "time", "datetime", "queue", "concurrent"})


def test_nothing_that_is_handed_to_rendering_can_hold_a_driving_picture() -> None:
    held = typing.get_type_hints(Drive)
    assert set(held) == {field.name for field in dataclasses.fields(Drive)}
    assert set(held.values()) == {MotionCode, dict[str, float]}
    taken: dict[str, object] = {}
    for name, method in inspect.getmembers(Rendering, inspect.isfunction):
        if not name.startswith("_"):
            taken |= typing.get_type_hints(method)
    taken.pop("return")
    assert taken == {"drive": Drive, "now": float, "error": Exception, "portrait": typing.Any, "keyed": Keyed | None}


# --- from an item to a code


def test_the_encoder_goes_by_capture_live_and_by_media_time_offline() -> None:
    engine = Seeing()
    item = frame(90, 3, captured=70.0)
    Encoding(engine).see(item, False, 0.0)
    Encoding(engine, media_time=True).see(item, False, 0.0)
    assert [seen.captured for seen in engine.frames] == [70.0, pytest.approx(0.1)]
    assert all(seen.image is item.image for seen in engine.frames)  # handed on, not copied


def test_a_frame_is_mirrored_as_a_picture_and_a_code_as_a_code() -> None:
    engine = Seeing()
    item = frame(50)
    item.image[:, 32:] = 200
    Encoding(engine).see(item, True, 0.0)
    assert engine.frames[0].image[0, 0, 0] == 200
    assert item.image[0, 0, 0] == 50
    values = np.zeros(mc.LENGTH, np.float32)
    values[mc.YAW] = 12.0
    code = MotionCode(mc.KIND, values)
    mirrored = Encoding(engine).see(code, True, 0.0)
    assert mirrored is not None
    assert mirrored.values[mc.YAW] == -12.0
    assert Encoding(engine).see(code, False, 0.0) is code
    assert Encoding(engine).see(Unseen(1.0), False, 0.0) is None


def test_an_encoder_that_fails_live_is_told_once_and_its_return_too() -> None:
    engine, told = FakeEngine(), Told()
    encoding = Encoding(engine, told)
    engine.fail_encode = True
    assert [encoding.see(frame(90, n), False, n * STEP) for n in range(3)] == [None] * 3
    assert encoding.faults.total == 3
    assert told.levels == ["warning"]
    assert "the encoder broke" in told[0][0]
    with pytest.raises(EngineError, match="encoder broke"):
        encoding.faults.check()
    engine.fail_encode = False
    assert encoding.see(frame(90, 3), False, 3 * STEP) is not None
    assert told.levels == ["warning", "info"]
    encoding.faults.check()


def test_an_encoder_that_fails_offline_ends_the_session() -> None:
    engine = FakeEngine()
    engine.fail_encode = True
    with pytest.raises(EngineError, match="fake: RuntimeError: the encoder broke"):
        Encoding(engine, strict=True).see(frame(90), False, 0.0)


def test_bad_pictures_and_silence_are_told() -> None:
    engine, told = FakeEngine(), Told()
    encoding = Encoding(engine, told, monitor=SignalMonitor("camera 0"))
    made = Driving(engine, encoding)
    made.begin(Live(), 100.0)
    for n in range(60):
        made.take(frame(2, n), Live(), 100 + n * STEP)
    assert [sentence for sentence, _ in told] == [
        "camera 0 gives black pictures: is the lens covered, or the camera switched off?"
    ]
    assert made.nothing(Live(), 106.0, expected=False) is not None
    assert len(told) == 1
    made.nothing(Live(), 106.0, expected=True)
    made.nothing(Live(), 106.1, expected=True)
    assert told[1:] == [("camera 0 gives no pictures; the avatar idles until it does", "warning")]


# --- from codes to drives


def test_a_drive_carries_the_times_of_its_item() -> None:
    made, counted = driving(FakeEngine())
    drive = only(made.take(frame(90, 7), Live(), 100.5))
    assert (drive.code.captured, drive.code.pts, drive.code.index) == (100 + 7 * STEP, 7 * STEP, 7)
    assert drive.stamps == {"capture": 100.5}
    assert counted == ["encoded"]


def test_nothing_seen_holds_and_is_counted() -> None:
    made, counted = driving(FakeEngine())
    seen = only(made.take(frame((200, 90, 90)), Live(), 100.0))
    lost = only(made.take(frame(0, 1), Live(), 100.03))
    again = only(made.take(Unseen(100.06, 0.06, 2), Live(), 100.06))
    assert made.face == "held"
    assert np.array_equal(lost.code.values, seen.code.values)
    assert np.array_equal(again.code.values, seen.code.values)
    assert counted == ["encoded", "encoded", "no_face", "encoded", "no_face"]


def test_without_an_item_it_waits_a_moment_and_then_idles() -> None:
    made, counted = driving(FakeEngine())
    made.take(frame(90), Live(), 100.0)
    assert made.nothing(Live(), 100.0 + 0.9 * QUIET, expected=True) is None
    idle = made.nothing(Live(), 100.1 + QUIET, expected=True)
    assert idle is not None
    assert (idle.code.index, idle.code.captured, idle.stamps) == (SYNTHETIC, 100.1 + QUIET, {})
    assert counted == ["encoded"]


def test_a_pause_looks_at_no_frame_and_idles_at_once() -> None:
    engine = Seeing()
    made, counted = driving(engine)
    paused = Live(paused=True)
    for n in range(90):
        drive = only(made.take(frame((200, 90, 90), n), paused, 100 + n * STEP))
        assert drive.code.index == SYNTHETIC
    assert engine.frames == []
    assert set(counted) == {"dropped"}
    assert np.abs(drive.code.values - drive.reference.values).max() < 1.0
    assert made.nothing(paused, 103.0, expected=True) is not None
    followed = only(made.take(frame((200, 90, 90), 90), Live(), 103.0))
    assert followed.code.index == 90
    assert len(engine.frames) == 1


def test_a_pause_offline_drops_nothing() -> None:
    made, counted = driving(FakeEngine(), offline=True)
    list(made.take(frame(90), Live(paused=True), 0.0))
    assert len(list(made.end(Live(paused=True)))) == 1
    assert counted == ["encoded"]


def test_recalibration_takes_the_next_frames_as_neutral() -> None:
    made, _ = driving(FakeEngine(), reference=MotionCode("fake", np.zeros(3, np.float32)))
    assert made.calibration == 1.0
    made.recalibrate()
    assert made.calibration < 1.0
    for n in range(400):
        drive = only(made.take(frame((51, 102, 153), n), Live(), 100 + n * STEP))
    assert made.calibration == 1.0
    np.testing.assert_allclose(drive.reference.values, [0.2, 0.4, 0.6], atol=0.01)


def test_turning_the_mirror_forgets_what_was_learnt_of_the_driver() -> None:
    engine = Seeing()
    made, _ = driving(engine)
    item = frame((40, 40, 40))
    made.take(item, Live(), 100.0)
    assert engine.resets == 0
    other = only(made.take(frame((200, 200, 200), 1), Live(mirror=True), 100.03))
    assert engine.resets == 1
    np.testing.assert_allclose(other.reference.values, other.code.values)  # its first code is neutral again
    made.take(frame((200, 200, 200), 2), Live(mirror=True), 100.07)
    assert engine.resets == 1


def test_a_neutral_face_that_comes_with_another_mirror_holds() -> None:
    """A preset turns the mirror and brings what was learnt with it."""
    engine = Seeing()
    made, _ = driving(engine)
    made.take(frame((40, 40, 40)), Live(), 100.0)
    made.recalibrate(MotionCode("fake", np.array([0.1, 0.2, 0.3], np.float32)), mirror=True)
    drive = only(made.take(frame((200, 200, 200), 1), Live(mirror=True), 100.03))
    np.testing.assert_allclose(drive.reference.values, [0.1, 0.2, 0.3], atol=1e-6)
    assert made.calibration == 1.0
    assert engine.resets == 1


def test_another_driver_begins_afresh_with_his_own_neutral_face() -> None:
    engine = Seeing()
    made, _ = driving(engine)
    made.take(frame(40), Live(), 100.0)
    known = MotionCode("fake", np.array([0.1, 0.2, 0.3], np.float32))
    made.change_driver(known)
    assert engine.resets == 1
    assert made.face == "unknown"
    assert np.array_equal(only(made.take(frame(200, 1), Live(), 100.1)).reference.values, known.values)


# --- looking ahead


def ahead(colours: Callable[[int], int], count: int) -> tuple[list[int], list[Drive]]:
    """After which frames of a clip drives came, and all of them."""
    engine = FakeEngine()
    made = Driving(engine, Encoding(engine, media_time=True, strict=True), offline=True)
    made.begin(Live(), 0.0)
    came, drives = [], []
    for n in range(count):
        now = list(made.take(frame(colours(n), n), Live(), 50.0 + n))
        came += [n] * bool(now)
        drives += now
    last = list(made.end(Live()))
    return came + [count] * bool(last), drives + last


def test_offline_nothing_is_shown_before_the_neutral_face_is_known() -> None:
    came, drives = ahead(lambda n: 100, 200)
    assert came[0] > 60
    assert came == list(range(came[0], 200))
    assert [drive.code.index for drive in drives] == list(range(200))
    assert [drive.stamps["capture"] for drive in drives] == [50.0 + n for n in range(200)]
    np.testing.assert_allclose(drives[0].reference.values, 100 / 255, atol=1e-4)


def test_a_clip_that_ends_before_is_shown_whole_at_its_end() -> None:
    came, drives = ahead(lambda n: 100, 10)
    assert came == [10]
    assert [drive.code.index for drive in drives] == list(range(10))


def test_a_face_that_is_never_calm_is_waited_for_no_longer_than_that() -> None:
    came, drives = ahead(lambda n: 0, round((LONGEST + 2) / STEP))
    assert came[0] == pytest.approx(LONGEST / STEP, abs=2)
    assert len(drives) == round((LONGEST + 2) / STEP)


def test_absolute_motion_needs_no_neutral_face() -> None:
    engine = FakeEngine()
    made = Driving(engine, Encoding(engine, media_time=True, strict=True), offline=True)
    made.begin(Live(absolute=True), 0.0)
    assert len(list(made.take(frame(90), Live(absolute=True), 0.0))) == 1
    assert list(made.end(Live(absolute=True))) == []


# --- from drives to pictures


def drive_of(engine: FakeEngine, grey: float) -> Drive:
    return Drive(MotionCode("fake", np.full(3, grey, np.float32)), engine.portrait_code)


def test_a_renderer_that_fails_holds_the_last_picture_then_shows_the_still_and_comes_back() -> None:
    engine, told = FakeEngine(), Told()
    made = rendering(engine, say=told)
    drive = drive_of(engine, 0.8)
    last = made.show(drive, 10.0)
    assert last.how == "new"
    engine.fail_render = True
    held = made.show(drive, 10.1)
    assert held.how == "held"
    assert held.image is last.image
    assert made.show(drive, 11.0).how == "held"
    still = made.show(drive, 11.2)
    assert still.how == "still"
    assert still.image is made.still
    assert made.faults.total == 3
    with pytest.raises(EngineError, match="device is lost"):
        made.faults.check()
    engine.fail_render = False
    assert made.show(drive, 12.0).how == "new"
    made.faults.check()
    assert told.levels == ["warning", "info"]
    assert "the last picture is held, then the still portrait" in told[0][0]


def test_a_renderer_that_fails_offline_ends_the_session() -> None:
    engine = FakeEngine()
    made = rendering(engine, strict=True)
    engine.fail_render = True
    with pytest.raises(EngineError, match="device is lost"):
        made.show(drive_of(engine, 0.8), 0.0)


def test_an_engine_that_cannot_show_its_portrait_cannot_begin() -> None:
    engine = FakeEngine()
    engine.fail_render = True
    with pytest.raises(EngineError, match="device is lost"):
        Rendering(engine).begin()
    engine.fail_encode = True
    with pytest.raises(EngineError, match="encoder broke"):
        warm_encoder(engine, plain(90))


def test_a_portrait_is_swapped_with_its_still_picture() -> None:
    engine = FakeEngine()
    made = rendering(engine)
    assert made.still[0, 0, 0] == 128
    made.swap(plain(40))
    assert made.still[0, 0, 0] == 40


def test_a_portrait_that_cannot_serve_leaves_the_old_one() -> None:
    engine = FakeEngine()
    made = rendering(engine)
    made.swap(plain(40))
    still = made.still
    with pytest.raises(BadPortrait):
        made.swap(plain(0))
    assert made.still is still
    engine.fail_render = True
    with pytest.raises(EngineError, match="device is lost"):
        made.swap(plain(200))
    engine.fail_render = False
    assert made.still is still
    assert np.array_equal(made.show(Drive(engine.portrait_code, engine.portrait_code), 0.0).image, still)
