"""Portraits to choose from, the built-in ones, shared by all, and what one session brought, its own; and which of
them was chosen last."""

from __future__ import annotations

import asyncio
import copy
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from realtime.engines import Engine, TakesViews
from realtime.errors import AvatarError, BadPortrait, UnknownName, UsageError
from realtime.media.backdrop import Backdrop, Keyed
from realtime.media.backgrounds import Behind, unkeyed
from realtime.media.uploads import encode_jpeg
from realtime.server.common.messages import PortraitInfo
from realtime.settings import sides_of

SMALL = 192
"""Side of the gallery's pictures, pixels."""
PATIENCE = 30.0
"""Seconds that whoever brought a picture waits for it to be shown."""
READY = 6
"""Forms of one picture (backgrounds, shapes) that are kept ready; the one not asked for longest goes."""


class _Forms(OrderedDict[tuple[Hashable, ...], Any]):
    """What was prepared of one picture, by its form: `READY` of them."""

    def ready(self, form: tuple[Hashable, ...], prepare: Callable[[], Any]) -> Any:
        """The one of this form, prepared now where it is not there."""
        if form not in self:
            self[form] = prepare()
        self.move_to_end(form)
        while len(self) > READY:
            self.popitem(last=False)
        return self[form]


class View:
    """Another picture of a portrait's person. image: uint8 (H, W, 3) RGB. name: for messages. consent: when its
    bringer said that the face may be used; None where it came with the server. It is prepared by one thread at a
    time."""

    def __init__(self, image: np.ndarray, name: str = "this view", consent: datetime | None = None) -> None:
        self.id, self.image, self.name, self.consent = f"view-{secrets.token_urlsafe(8)}", image, name, consent
        self._ready = _Forms()

    def ready_for(self, engine: TakesViews, beside: Any, form: tuple[Hashable, ...]) -> Any:
        """What `engine.with_views` takes, beside what it prepared of the portrait in this form; which background that
        has makes no difference. Blocks for a second or two. Raises BadPortrait."""
        try:
            return self._ready.ready(form, lambda: engine.prepare_view(self.image, beside))
        except BadPortrait as error:
            raise BadPortrait(error.reason, self.name) from error


class GalleryPortrait:
    """One portrait. image: uint8 (H, W, 3) RGB. small: its JPEG picture for the gallery. consent: when its bringer
    said that the face may be used; None for the built-in ones, which need none. views: more pictures of its person,
    for an engine that takes them. kept: it is, or was, one of a gallery's own."""

    def __init__(
        self,
        id: str,
        title: str,
        image: np.ndarray,
        consent: datetime | None = None,
        views: Sequence[View] = (),
    ) -> None:
        self.id, self.title, self.image, self.consent, self.views = id, title, image, consent, tuple(views)
        self.small = encode_jpeg(image, SMALL)
        self.kept = False
        self._ready = _Forms()
        self._lock = threading.Lock()

    def with_views(self, views: Sequence[View]) -> GalleryPortrait:
        """The same portrait with these views in place of its own. What was prepared of it is kept by both."""
        other = copy.copy(self)
        other.views = tuple(views)
        return other

    def ready_for(self, engine: Engine, behind: Behind, shape: str = "") -> Any:
        """What `Rendering.swap` takes: prepared ahead where the engine can do that (`prepare`), else the picture.
        What others are likely to want is prepared once for all sessions. Blocks for up to a second, and a second or
        two for each view; any thread.

        shape: of `PROPORTIONS`, "" the engine's own. Raises BadPortrait."""
        main = self._main_for(engine, behind, shape)
        if not (self.views and isinstance(engine, TakesViews)):
            return main
        form = (engine.name, shorter_side(engine), shape)
        with self._lock:
            views = [view.ready_for(engine, unkeyed(main), form) for view in self.views]
        data = engine.with_views(unkeyed(main), views)
        return replace(main, data=data) if isinstance(main, Keyed) else data

    def _main_for(self, engine: Engine, behind: Behind, shape: str) -> Any:
        """The same without the views."""
        if not behind.common:
            return self._prepare(engine, behind, shape)
        form = (engine.name, shorter_side(engine), behind, shape)
        with self._lock:
            return self._ready.ready(form, lambda: self._prepare(engine, behind, shape))

    def _prepare(self, engine: Engine, behind: Behind, shape: str) -> Any:
        shown = behind.of(self.image)
        data = unkeyed(shown)
        if (prepare := getattr(engine, "prepare", None)) is not None:
            data = prepare(data, sides_of(shape, shorter_side(engine))) if shape else prepare(data)
        return replace(shown, data=data) if isinstance(shown, Keyed) else data


def shorter_side(engine: Engine) -> int:
    """Of the pictures that it was made for, pixels."""
    return min(getattr(engine, "width", engine.size), engine.size)


class NotHere(UnknownName):
    """A picture was removed, or made room for newer ones, or never was brought. Ids of others would say nothing."""

    def __str__(self) -> str:
        return f"There is no such {self.kind} of yours (any more): bring it again"


class TooManyViews(UsageError):
    """A portrait has as many views as allowed."""

    def __init__(self, most: int) -> None:
        self.most = most

    def __str__(self) -> str:
        return f"A portrait takes {self.most} other views: remove one of them first"


class GalleryFull(UsageError):
    """All pictures that may be kept belong to portraits that are shown, or just chosen."""

    def __init__(self, most: int) -> None:
        self.most = most

    def __str__(self) -> str:
        return f"{self.most} pictures of your own are kept, and those that are shown stay: remove one of them first"


class Gallery:
    """The portraits of one session. `shared` come first. At most `most` pictures are its own, views among them, then
    the portrait that was kept longest ago leaves, with its views; at most `views` are of one portrait."""

    def __init__(self, shared: Sequence[GalleryPortrait], most: int = 12, views: int = 4) -> None:
        if not shared:
            raise ValueError("a gallery needs one portrait to begin with")
        self._shared = {portrait.id: portrait for portrait in shared}
        self._own: dict[str, GalleryPortrait] = {}
        self.most, self._views = most, views

    @property
    def first(self) -> GalleryPortrait:
        """The one to begin with."""
        return next(iter(self._shared.values()))

    @staticmethod
    def new(image: np.ndarray, title: str) -> GalleryPortrait:
        """A portrait of a picture whose bringer has consented just now. It is not in the gallery yet."""
        return GalleryPortrait(f"own-{secrets.token_urlsafe(8)}", title, image, datetime.now(UTC))

    def keep(self, portrait: GalleryPortrait, shown: Collection[str] = ()) -> None:
        """Keep a portrait until the session ends, in place of one of the same id. shown: ids of those that stay.
        Raises GalleryFull where they leave no room; nothing has changed then."""
        own = {id: each for id, each in self._own.items() if id != portrait.id}
        leaving = [id for id in own if id not in shown]
        own[portrait.id] = portrait
        while sum(1 + len(each.views) for each in own.values()) > self.most:
            if not leaving:
                raise GalleryFull(self.most)
            del own[leaving.pop(0)]
        portrait.kept = True
        self._own = own

    def own(self, id: str) -> GalleryPortrait:
        """One that the session brought. Raises NotHere."""
        if id not in self._own:
            raise NotHere("portrait", id, [])
        return self._own[id]

    def one_more(self, id: str) -> GalleryPortrait:
        """The same, where it takes another view. Raises NotHere, TooManyViews."""
        found = self.own(id)
        if len(found.views) >= self._views:
            raise TooManyViews(self._views)
        return found

    def remove(self, id: str) -> None:
        """Forget an own portrait. Raises NotHere."""
        if self._own.pop(id, None) is None:
            raise NotHere("portrait", id, [])

    def get(self, id: str) -> GalleryPortrait:
        """Raises UnknownName."""
        found = self._own.get(id) or self._shared.get(id)
        if found is None:
            raise UnknownName("portrait", id, self._shared)
        return found

    def instead(self, portrait: GalleryPortrait) -> GalleryPortrait:
        """What to show where `portrait` was to be shown: itself; as it is with its views of today; or the first one,
        where it was removed."""
        return self._own.get(portrait.id) or (self.first if portrait.kept else portrait)

    def infos(self, session: str) -> list[PortraitInfo]:
        """For the page; the pictures are under the session's address."""
        return [
            PortraitInfo(
                id=portrait.id,
                title=portrait.title,
                image=f"/api/sessions/{session}/portraits/{portrait.id}.jpg",
                uploaded=portrait.consent is not None,
                views=[view.id for view in portrait.views],
            )
            for portrait in [*self._shared.values(), *self._own.values()]
        ]

    def clear(self) -> None:
        """Forget all that the session brought."""
        self._own.clear()


class PortraitLate(AvatarError):
    """A picture was not shown in time: what prepares it, or the session, has too much to do."""

    def __str__(self) -> str:
        return "The picture could not be prepared in time: the server is busy. Try it again in a moment"


@dataclass(eq=False)
class Choice:
    """A portrait that was chosen, before a background, in a shape. awaited: somebody asks whether it can be shown: it
    is prepared even where another took its place, all others are not. ready: what `Rendering.swap` takes, once
    prepared. done: set when it is shown, or another took its place; fails where it cannot be."""

    portrait: GalleryPortrait
    behind: Behind
    shape: str = ""
    awaited: bool = False
    ready: Any = None
    done: Future[None] = field(default_factory=Future)


class PortraitChoice:
    """Which portrait a session shows, and which it shall show: the newest choice, prepared aside. One that cannot be
    shown gives way to the one that is. Every method may be called from any thread.

    aside: runs long work elsewhere. ready: called there with a prepared choice; it brings about `show`, in the
    thread that renders. refused: called with a choice that cannot be shown, and why. behind: what the
    first portrait is shown before. own: what the client has brought to be shown behind portraits.
    """

    def __init__(
        self,
        engine: Engine,
        gallery: Gallery,
        aside: Callable[[Callable[[], None]], object],
        ready: Callable[[Choice], None],
        refused: Callable[[Choice, Exception], None],
        behind: Behind = Behind(),  # noqa: B008 - frozen
    ) -> None:
        self._engine, self._gallery = engine, gallery
        self._aside, self._ready, self._refused = aside, ready, refused
        self._lock = threading.Lock()
        self.shown = self.wanted = Choice(gallery.first, behind)
        self.own = behind.own

    def choose(
        self,
        portrait: GalleryPortrait | None = None,
        behind: Behind | None = None,
        shape: str | None = None,
        awaited: bool = False,
    ) -> Choice:
        """Show another portrait, another background, another shape. awaited: see `Choice`."""
        with self._lock:
            now = self.wanted
            choice = Choice(
                portrait or self._gallery.instead(now.portrait),
                behind or now.behind,
                now.shape if shape is None else shape,
                awaited,
            )
            self.wanted = choice
        self._aside(lambda: self._prepare(choice))
        return choice

    def _prepare(self, choice: Choice) -> None:
        if choice is not self.wanted and not choice.awaited:
            return
        try:
            choice.ready = choice.portrait.ready_for(self._engine, choice.behind, choice.shape)
        except Exception as error:
            self._refuse(choice, error)
        else:
            self._ready(choice)

    def show(self, choice: Choice, swap: Callable[[Any], None]) -> None:
        """Let `swap` show a prepared choice, unless another was made meanwhile."""
        try:
            if choice is self.wanted:
                swap(choice.ready)
                self.shown = choice
        except Exception as error:
            self._refuse(choice, error)
        else:
            if choice.done.set_running_or_notify_cancel():
                choice.done.set_result(None)

    def _refuse(self, choice: Choice, error: Exception) -> None:
        self._give_up(choice)
        if choice.done.set_running_or_notify_cancel():
            choice.done.set_exception(error)
        self._refused(choice, error)

    def _give_up(self, choice: Choice) -> None:
        """Back to what is shown; to what the gallery has in its place, where that was removed meanwhile."""
        with self._lock:
            if self.wanted is not choice:
                return
            back = self.wanted = self.shown
            left = self._gallery.instead(back.portrait)
            failed = choice.portrait is left and choice.behind is back.behind and choice.shape == back.shape
        if left is not back.portrait and not failed:
            self.choose()

    def _renew(self) -> None:
        """The gallery has changed: show what is in it."""
        now = self.wanted.portrait
        if self._gallery.instead(now) is not now:
            self.choose()

    def _keep(self, portrait: GalleryPortrait) -> None:
        """In the gallery, where what is shown stays. Raises GalleryFull."""
        self._gallery.keep(portrait, {self.shown.portrait.id, self.wanted.portrait.id})

    async def bring(self, image: np.ndarray, title: str) -> GalleryPortrait:
        """Show a picture that the client brought, and keep it in its gallery. Raises BadPortrait where the engine
        cannot use it, PortraitLate, GalleryFull; the old one stays then."""
        portrait, old = self._gallery.new(image, title), self.wanted.portrait
        try:
            await self._shown(self.choose(portrait, awaited=True))
            self._keep(portrait)
        finally:
            if not portrait.kept and self.wanted.portrait is portrait:  # with a background chosen meanwhile
                self.choose(self._gallery.instead(old))
        return portrait

    async def bring_view(self, id: str, image: np.ndarray) -> GalleryPortrait:
        """Take one more view of a portrait that the client brought, and keep it with that; it is shown with it soon
        after, where it is shown. Raises NotHere, TooManyViews; BadPortrait where the engine cannot use it,
        PortraitLate, GalleryFull; the portrait stays as it is then."""
        view, now = View(image, consent=datetime.now(UTC)), self.wanted
        behind = now.behind if now.behind.common else Behind()  # makes no difference for a view
        # apart from what is shown: what cannot be used is neither shown nor kept
        trial = Choice(self._with(id, view), behind, now.shape, awaited=True)
        self._aside(lambda: self._prepare(trial))
        await self._shown(trial)
        new = self._with(id, view)  # as it is by now
        self._keep(new)
        self._renew()
        return new

    def _with(self, id: str, view: View) -> GalleryPortrait:
        """A portrait with a view more. Raises NotHere, TooManyViews."""
        old = self._gallery.one_more(id)
        return old.with_views([*old.views, view])

    def forget_view(self, id: str, view: str) -> None:
        """Forget a view of a portrait that the client brought, at once; what is shown follows. Raises NotHere."""
        old = self._gallery.own(id)
        left = [each for each in old.views if each.id != view]
        if len(left) == len(old.views):
            raise NotHere("view", view, [])
        self._keep(old.with_views(left))
        self._renew()

    async def bring_behind(self, own: Backdrop) -> None:
        """Show a picture, or a clip, that the client brought, behind the portrait; keep it. Raises PortraitLate."""
        await self._shown(self.choose(behind=Behind("own", own=own), awaited=True))
        self.own = own

    async def _shown(self, choice: Choice) -> None:
        """Wait until it is. Raises what is the matter; PortraitLate."""
        try:
            await asyncio.wait_for(asyncio.wrap_future(choice.done), PATIENCE)
        except TimeoutError:
            late = PortraitLate()
            self._give_up(choice)
            self._refused(choice, late)
            raise late from None

    def forget(self, id: str) -> None:
        """Forget a picture that the client brought; where it is shown, the first of the gallery takes its place.
        Raises NotHere."""
        self._gallery.remove(id)
        self._renew()
