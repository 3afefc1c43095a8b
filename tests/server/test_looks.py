"""Backgrounds of a view's own: made ready aside, and what is shown where that fails."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from realtime.server.hosting.gallery import GalleryPortrait
from realtime.server.hosting.looks import Looks
from realtime.session.driver import Drive
from tests.support.server import DotEngine, portrait_picture


class Aside:
    """Does long work at once."""

    def submit(self, work, *arguments):
        work(*arguments)


@pytest.mark.parametrize("fault", [None, MemoryError("no room")])
def test_a_background_that_cannot_be_made_leaves_the_sessions_own(fault, monkeypatch) -> None:
    engine = DotEngine()
    own = portrait_picture()
    engine.set_portrait(own)
    portrait = GalleryPortrait("a", "A", own)

    def ready_for(_engine, _behind, _shape):
        if fault is not None:
            raise fault
        return portrait_picture(hue=90)

    monkeypatch.setattr(portrait, "ready_for", ready_for)
    looks, drive = Looks(engine, SimpleNamespace(aside=Aside())), Drive(engine.portrait_code, engine.portrait_code)
    assert looks.render(portrait, "green", drive, own) is None, "it is asked for first"
    shown = looks.render(portrait, "green", drive, own)
    engine.set_portrait(own)
    engine.reference = drive.reference
    same = np.array_equal(shown, engine.render(drive.code))
    assert same is (fault is not None)


def test_nothing_is_kept_of_a_portrait_that_is_shown_no_more() -> None:
    """Another one is shown while the first is still made ready for a view, and nobody asks for a background again."""
    engine, waiting = DotEngine(), []
    pool = SimpleNamespace(aside=SimpleNamespace(submit=lambda work, *arguments: waiting.append((work, arguments))))
    looks, drive = Looks(engine, pool), Drive(engine.portrait_code, engine.portrait_code)
    one, other = (GalleryPortrait(id, id, portrait_picture()) for id in "ab")
    engine.set_portrait(one.image)
    gone = weakref.ref(one)
    for background in ("green", "blur"):
        assert looks.render(one, background, drive, one.image) is None
    work, arguments = waiting.pop(0)
    work(*arguments)
    assert looks.render(one, "green", drive, one.image) is not None
    looks.follow(other, "")
    work, arguments = waiting.pop(0)
    work(*arguments)
    del one, work, arguments
    gc.collect()
    assert gone() is None
    assert not looks._ready, "the face that was prepared stays in memory"
