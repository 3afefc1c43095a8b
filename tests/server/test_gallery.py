"""What a session shows and what its gallery holds stay one, whatever is chosen, brought and removed meanwhile."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

import realtime.server.hosting.gallery as galleries
from realtime.errors import BadPortrait
from realtime.media.backgrounds import Behind
from realtime.server.hosting.gallery import (
    Gallery,
    GalleryFull,
    NotHere,
    PortraitChoice,
    PortraitLate,
    TooManyViews,
    View,
)
from tests.support.server import ViewEngine, gallery, portrait_picture

FLAT = np.full((100, 100, 3), 128, np.uint8)


class ReadyEngine(ViewEngine):
    """It prepares portraits aside. prepared: how many."""

    prepared = 0

    def prepare(self, image: np.ndarray) -> np.ndarray:
        if np.ptp(image) < 30:
            raise BadPortrait("no face was found")
        self.prepared += 1
        return image


class Desk:
    """A `PortraitChoice` whose long work waits until `work` does it."""

    def __init__(self, most: int = 12) -> None:
        self.engine, self.gallery = ReadyEngine(), Gallery(gallery(), most)
        self.refused: list[str] = []
        self.aside: list = []
        self.choice = PortraitChoice(
            self.engine,
            self.gallery,
            self.aside.append,
            lambda choice: self.choice.show(choice, self.engine.set_portrait),
            lambda choice, error: self.refused.append(str(error)),
        )

    def work(self) -> None:
        """Do all that waits, and what comes of it."""
        while self.aside:
            self.aside.pop(0)()

    async def soon(self, bringing):
        """What it returns, once the work that it asked for is done."""
        task = asyncio.ensure_future(bringing)
        await asyncio.sleep(0)
        self.work()
        return await task

    async def own(self, views: int = 0) -> str:
        """The id of a portrait that was brought with so many views, and is shown."""
        id = (await self.soon(self.choice.bring(portrait_picture(), "Own"))).id
        for number in range(views):
            await self.soon(self.choice.bring_view(id, portrait_picture(hue=number)))
        self.work()
        return id

    def show(self, id: str) -> None:
        self.choice.choose(self.gallery.get(id))
        self.work()

    @property
    def shown(self) -> tuple[str, int]:
        """Of whom, and with how many views the engine shows him."""
        return self.choice.shown.portrait.id, len(self.engine.shown)

    def views(self, id: str) -> list[str]:
        return next(info.views for info in self.gallery.infos("s") if info.id == id)


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_view_of_a_portrait_that_is_chosen_meanwhile_is_shown(desk):
    own = await desk.own()
    desk.show("second")
    bringing = asyncio.ensure_future(desk.choice.bring_view(own, portrait_picture(hue=40)))
    await asyncio.sleep(0)
    desk.choice.choose(desk.gallery.get(own))
    desk.work()
    await bringing
    desk.work()
    assert (desk.shown, len(desk.views(own))) == ((own, 1), 1)


@pytest.mark.hostile
async def test_a_view_that_was_removed_is_shown_no_more_whatever_was_chosen(desk):
    own = await desk.own(views=1)
    desk.show("second")
    desk.choice.choose(desk.gallery.get(own))  # it is still being prepared
    desk.choice.forget_view(own, desk.views(own)[0])
    desk.work()
    assert (desk.shown, desk.views(own)) == ((own, 0), [])


@pytest.mark.hostile
@pytest.mark.parametrize("whole", [False, True], ids=["a view", "the portrait"])
async def test_what_was_removed_is_not_gone_back_to(desk, whole):
    """Another portrait, which turns out bad, is chosen before the one that is shown is removed."""
    own = await desk.own(views=1)
    desk.choice.choose(Gallery.new(FLAT, "Flat"))
    if whole:
        desk.choice.forget(own)
    else:
        desk.choice.forget_view(own, desk.views(own)[0])
    desk.work()
    assert desk.shown == (("first" if whole else own), 0)
    assert desk.refused


async def test_a_view_that_comes_late_is_neither_kept_nor_shown(desk, monkeypatch):
    own = await desk.own()
    monkeypatch.setattr(galleries, "PATIENCE", 0.0)
    bringing = asyncio.ensure_future(desk.choice.bring_view(own, portrait_picture(hue=40)))
    await asyncio.sleep(0)
    desk.choice.choose(behind=Behind("green"))
    with pytest.raises(PortraitLate):
        await bringing
    desk.work()
    assert (desk.shown, desk.views(own), desk.choice.shown.behind) == ((own, 0), [], Behind("green"))


async def test_a_bad_view_leaves_the_background_that_is_chosen_meanwhile(desk):
    own = await desk.own()
    bringing = asyncio.ensure_future(desk.choice.bring_view(own, FLAT))
    await asyncio.sleep(0)
    desk.choice.choose(behind=Behind("green"))
    desk.work()
    with pytest.raises(BadPortrait, match="this view: no face"):
        await bringing
    assert (desk.shown, desk.views(own), desk.choice.shown.behind) == ((own, 0), [], Behind("green"))


@pytest.mark.parametrize("late", [False, True])
async def test_so_does_a_bad_or_late_portrait(desk, late, monkeypatch):
    monkeypatch.setattr(galleries, "PATIENCE", 0.0 if late else 30.0)
    bringing = asyncio.ensure_future(desk.choice.bring(portrait_picture() if late else FLAT, "Other"))
    await asyncio.sleep(0)
    desk.choice.choose(behind=Behind("green"))
    if not late:
        desk.work()
    with pytest.raises(PortraitLate if late else BadPortrait):
        await bringing
    desk.work()
    assert (desk.shown, desk.choice.shown.behind) == (("first", 0), Behind("green"))
    assert not any(info.uploaded for info in desk.gallery.infos("s"))


async def test_two_views_at_once_are_both_kept_and_the_limit_holds(desk):
    own = await desk.own(views=2)
    bringing = [asyncio.ensure_future(desk.choice.bring_view(own, portrait_picture(hue=n))) for n in range(3)]
    await asyncio.sleep(0)
    desk.work()
    *_, refused = await asyncio.gather(*bringing, return_exceptions=True)
    desk.work()
    assert isinstance(refused, TooManyViews)
    assert (desk.shown, len(desk.views(own))) == ((own, 4), 4)


async def test_a_view_of_a_portrait_that_is_removed_meanwhile_says_so(desk):
    own = await desk.own()
    bringing = asyncio.ensure_future(desk.choice.bring_view(own, portrait_picture(hue=40)))
    await asyncio.sleep(0)
    desk.choice.forget(own)
    desk.work()
    with pytest.raises(NotHere) as gone:
        await bringing
    assert str(gone.value) == "There is no such portrait of yours (any more): bring it again"
    assert desk.shown == ("first", 0)


async def test_what_is_shown_or_chosen_is_not_thrown_out():
    desk = Desk(most=5)
    worked_on, other = await desk.own(), await desk.own()
    for number in range(3):
        await desk.soon(desk.choice.bring_view(worked_on, portrait_picture(hue=number)))
    desk.work()
    with pytest.raises(GalleryFull, match="5 pictures of your own"):
        await desk.soon(desk.choice.bring_view(worked_on, portrait_picture(hue=40)))
    desk.work()
    assert desk.shown == (other, 0)
    assert [len(desk.views(id)) for id in (worked_on, other)] == [3, 0]


async def test_only_the_newest_choice_is_prepared(desk):
    own = await desk.own(views=1)
    before = desk.engine.prepared
    for strength in (0.2, 0.4, 0.6):
        desk.choice.choose(behind=Behind("blur", strength))
    desk.work()
    assert (desk.engine.prepared - before, desk.choice.shown.behind) == (1, Behind("blur", 0.6))
    assert desk.shown == (own, 1)


async def test_when_consent_was_given_is_kept_with_each_picture(desk):
    own = desk.gallery.own(await desk.own(views=1))
    assert own.consent
    assert own.views[0].consent >= own.consent
    assert View(portrait_picture()).consent is None, "it came with the server"


def test_a_choice_that_another_replaces_is_prepared_where_somebody_asks(desk):
    first = desk.choice.choose(desk.gallery.get("second"), awaited=True)
    desk.choice.choose(desk.gallery.get("first"))
    desk.work()
    assert first.ready is not None
    assert first.done.done()
