"""A session with an engine of its own: what drives it, what it shows, what it lets go. The test takes its steps."""

from __future__ import annotations

import asyncio
import functools
import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from realtime.errors import BadPortrait
from realtime.server.common import messages
from realtime.server.hosting import gallery as galleries
from realtime.server.hosting.frames import Driven, to_video_frame, to_yuv
from realtime.server.hosting.gallery import Gallery, GalleryPortrait, PortraitLate
from realtime.server.hosting.hosted import Performer
from realtime.server.hosting.pool import Pool
from realtime.server.places import Wish
from realtime.types import Frame
from tests.support import FakeClock, Watching
from tests.support.server import DotEngine, gallery, make_studio, portrait_picture


def spot(at: int = 60) -> np.ndarray:
    image = np.zeros((120, 160, 3), np.uint8)
    image[50:70, at : at + 20] = 255
    return image


class Seeing(Watching, DotEngine):
    """It keeps what it sees."""


class Stage:
    """A performer whose steps and long work the test takes itself. aside: what waits to be prepared."""

    def __init__(self, **options: Any) -> None:
        self.aside: list[Any] = []
        pool = SimpleNamespace(
            wake=lambda worker: None,
            forget=lambda worker: True,
            aside=SimpleNamespace(submit=self.aside.append),
        )
        self.clock, self.engine, self.told = FakeClock(100.0), Seeing(), 0
        self.performer = Performer(
            self.engine, Gallery(gallery()), pool, clock=self.clock, changed=self._changed, **options
        )

    def _changed(self) -> None:
        self.told += 1

    def offer(self, media: float | None, image: np.ndarray | None = None) -> None:
        """A frame comes over the network, and is performed."""
        frame = to_video_frame(to_yuv(spot() if image is None else image), 0)
        self.performer.offer(Driven(self.clock.now, media, frame=frame))
        self.step()

    def step(self) -> None:
        self.performer.step()

    def prepare(self) -> None:
        """Do the long work that waits, then a step."""
        while self.aside:
            self.aside.pop(0)()
        self.step()


async def test_an_engine_whose_session_cannot_begin_is_freed():
    studio = make_studio(portraits=[GalleryPortrait("plain", "Plain", np.full((64, 64, 3), 90, np.uint8))])
    await studio.open()
    made, closed = DotEngine.made, DotEngine.closed
    with pytest.raises(BadPortrait):
        await studio.begin(Wish())
    assert (DotEngine.made - made, DotEngine.closed - closed) == (1, 1)
    assert studio.book.entries == {}
    await studio.close()


class Slow(DotEngine):
    """It takes until it is told to be made."""

    begun, go = threading.Event(), threading.Event()

    def __init__(self) -> None:
        self.begun.set()
        self.go.wait(60)
        super().__init__()


async def test_an_engine_that_nobody_waits_for_any_more_is_freed():
    Slow.go.clear()
    studio = make_studio(engine=Slow)
    await studio.open()
    made, closed = Slow.made, Slow.closed
    beginning = asyncio.create_task(studio.begin(Wish()))
    await asyncio.to_thread(Slow.begun.wait, 60)
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    Slow.go.set()
    await studio.close()
    assert (Slow.made - made, Slow.closed - closed) == (1, 1)
    assert studio.book.entries == {}


def test_an_engine_that_hangs_is_freed_when_it_answers_and_not_before():
    hangs, answers = threading.Event(), threading.Event()
    pool = Pool(1)
    pool.forget = functools.partial(_impatient, pool)

    class Hanging(DotEngine):
        def encode(self, frame):
            hangs.set()
            answers.wait(10)
            return super().encode(frame)

    engine = Hanging()
    performer = Performer(engine, Gallery(gallery()), pool, source="camera")
    closed = Hanging.closed
    performer.offer(Driven(time.monotonic(), 0.0, frame=to_video_frame(to_yuv(spot()), 0)))
    assert hangs.wait(10)
    performer.close()
    assert Hanging.closed == closed
    answers.set()
    until = time.monotonic() + 10
    while Hanging.closed == closed and time.monotonic() < until:
        time.sleep(0.01)
    assert Hanging.closed == closed + 1
    pool.close()


def _impatient(pool: Pool, worker: Any, timeout: float | None = 0.05) -> bool:
    return Pool.forget(pool, worker, timeout)


def test_what_comes_after_the_end_does_not_reach_the_engine():
    stage = Stage()
    stage.performer.command(messages.ChoosePortrait(type="portrait", id="second"))  # it is being prepared
    stage.performer.close()
    stage.prepare()
    stage.performer.change(mirror=True)
    stage.performer.tick(stage.clock.now + 1)
    stage.offer(0.0)
    assert not stage.engine.frames
    assert not stage.performer._changes


# --- time


def test_the_encoder_goes_by_the_cameras_own_clock():
    """A camera of 15 frames a second, whose frames come late and in pairs: filters see its own even steps."""
    stage = Stage(source="camera")
    for n, arrived in enumerate([0.0, 0.13, 0.14, 0.27, 0.28]):
        stage.clock.now = 100.0 + arrived
        stage.offer(media=n / 15)
    assert all(isinstance(frame, Frame) for frame in stage.engine.frames)
    assert [frame.captured for frame in stage.engine.frames] == pytest.approx([n / 15 for n in range(5)])
    assert stage.engine.resets == 0


def test_without_a_clock_of_its_own_the_arrival_counts():
    stage = Stage(source="camera")
    for arrived in (100.0, 100.1, 100.3):
        stage.clock.now = arrived
        stage.offer(media=None)
    assert [frame.captured for frame in stage.engine.frames] == [100.0, 100.1, 100.3]


def test_a_camera_whose_clock_begins_anew_is_another_driver_to_the_engine():
    stage = Stage(source="camera")
    for media in (5.0, 5.1, 0.0, 0.1):
        stage.clock.advance(0.1)
        stage.offer(media)
    assert stage.engine.resets == 1


# --- what is counted and shown


def test_a_pause_looks_at_nothing_and_counts_no_missing_face():
    stage = Stage(source="camera")
    stage.performer.command(messages.Pause(type="pause"))
    for n in range(5):
        stage.clock.advance(0.1)
        stage.offer(n / 10)
    assert stage.engine.frames == []
    assert stage.performer.no_face == 0
    stage.performer.command(messages.Pause(type="pause", paused=False))
    stage.offer(0.6, np.zeros((120, 160, 3), np.uint8))
    assert stage.performer.no_face == 1


def test_who_begins_to_watch_gets_no_picture_of_long_ago():
    stage = Stage(source="camera")
    first = stage.performer.watch()
    stage.offer(0.0)
    assert first.get(0.0) is not None
    second = stage.performer.watch()
    assert second.get(0.0) is not None  # that which the first is seeing
    first.close()
    second.close()
    stage.offer(0.1)
    assert stage.performer.viewers == 0
    assert stage.performer.watch().get(0.0) is None


def test_a_failing_renderer_holds_then_shows_the_still_portrait_and_counts():
    stage = Stage(source="camera")
    box = stage.performer.watch()
    stage.offer(0.0)
    box.get(0.0)
    stage.engine.broken = True
    stage.clock.advance(0.5)
    stage.offer(0.5)
    assert box.get(0.0) is None  # held: nothing new is sent
    stage.clock.advance(1.1)
    stage.offer(1.6)
    still = box.get(0.0)
    assert still is not None
    inside = slice(10, 60)  # beside the mark
    assert np.array_equal(still.image[inside, inside], stage.performer._rendering.still[inside, inside])
    assert not np.array_equal(still.image, stage.performer._rendering.still)  # marked, and not the still itself
    assert stage.performer.failures == 2
    stage.engine.broken = False
    stage.clock.advance(0.1)
    stage.offer(1.7)
    assert box.get(0.0) is not None
    assert stage.performer.failures == 2


# --- portraits


def test_the_newest_choice_wins_and_is_told():
    stage = Stage()
    stage.performer.command(messages.ChoosePortrait(type="portrait", id="second"))
    stage.performer.command(messages.ChooseBackground(type="background", background="green"))
    stage.performer.command(messages.ChoosePortrait(type="portrait", id="first"))
    assert stage.performer.state().preparing
    told = stage.told
    stage.prepare()
    state = stage.performer.state()
    assert (state.portrait, state.background, state.preparing) == ("first", "green", False)
    assert stage.told == told + 1


async def test_a_picture_that_cannot_be_shown_leaves_the_old_one_and_its_background():
    stage = Stage()
    stage.performer.command(messages.ChooseBackground(type="background", background="blur"))
    stage.prepare()
    bringing = asyncio.create_task(stage.performer.try_portrait(np.full((64, 64, 3), 90, np.uint8), "Plain"))
    await asyncio.sleep(0)
    stage.prepare()
    with pytest.raises(BadPortrait):
        await bringing
    state = stage.performer.state()
    assert (state.portrait, state.background, state.preparing) == ("first", "blur", False)
    assert len(stage.performer.gallery.infos("s")) == 2


async def test_a_picture_that_is_not_ready_in_time_is_given_up_with_a_sentence(monkeypatch):
    monkeypatch.setattr(galleries, "PATIENCE", 0.01)
    stage = Stage()
    with pytest.raises(PortraitLate, match=r"server is busy\. Try it again"):
        await stage.performer.try_portrait(portrait_picture(hue=50), "Mine")
    assert not stage.performer.state().preparing
    stage.prepare()  # ready at last, when nobody waits for it any more
    assert stage.performer.state().portrait == "first"
    assert len(stage.performer.gallery.infos("s")) == 2
