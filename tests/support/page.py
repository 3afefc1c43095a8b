"""The page in a browser: opened on a small studio with the built-in engine, waited for, and looked at."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from realtime.engines import Engine, load_engine
from realtime.media.portraits import builtin_portrait, builtin_portraits
from realtime.server.common.limits import Limits
from realtime.server.hosting.gallery import GalleryPortrait
from realtime.server.places.here import Studio, StudioSettings
from tests.support import PATIENCE_S, until
from tests.support.server import Running

SIZE = 256
PATIENCE_MS = round(1000 * PATIENCE_S)


def studio(make: Callable[[], Engine] = lambda: load_engine("mesh", size=SIZE), **limits) -> Studio:
    portraits = [GalleryPortrait(name, name.capitalize(), builtin_portrait(name)) for name in builtin_portraits()[:2]]
    settings = StudioSettings(Limits(**{"sessions": 4, "requests_per_s": 1000, **limits}))
    return Studio(make, portraits, settings)


def open_page(context, server: Running, path: str = "/", timeout: int = PATIENCE_MS, way: str = "video"):
    """A page that is live; what its console complained about is kept in `troubles`. way: in which the user has chosen
    that his face goes to the server ("auto", "here", "video")."""
    wish = f"localStorage.getItem('avatar.face') ?? localStorage.setItem('avatar.face', '{way}')"
    context.add_init_script(f"try {{ {wish} }} catch {{ }}")  # a frame without an origin has no storage
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.troubles = []
    page.on("console", lambda m: m.type == "error" and page.troubles.append(m.text))
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.goto(server.url + path)
    live(page, timeout)
    return page


def wait_js(page, expression: str, timeout: int = PATIENCE_MS) -> None:
    """Wait until an expression holds in the page. (Playwright's own wait needs `eval`, which the page forbids.)"""
    until(lambda: page.evaluate(expression), timeout / 1000, expression)


def live(page, timeout: int = PATIENCE_MS) -> None:
    wait_js(page, "document.querySelector('#status').textContent === 'Live'", timeout)
    wait_js(page, "document.querySelector('#avatar').videoWidth > 0", timeout)


def frames_decoded(page) -> int:
    return page.evaluate("document.querySelector('#avatar').getVideoPlaybackQuality().totalVideoFrames")


def only_session(server: Running):
    """The session, once those before it have ended."""
    sessions: list = []

    def alone() -> bool:
        sessions[:] = server.studio.sessions.copy().values()
        return len(sessions) == 1

    until(alone, what="there is not one session")
    return sessions[0]


def listen(page, selector: str) -> None:
    """From now on keep what an element says, in the page's `said`."""
    page.evaluate(
        """selector => { window.said = []; const element = document.querySelector(selector);
        new MutationObserver(() => element.hidden || said.push(element.textContent))
        .observe(element, {childList: true, characterData: true, subtree: true, attributes: true}); }""",
        selector,
    )


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def rest(page, server) -> None:
    """Pause, and wait until the avatar stands still but for its breath."""
    page.click("#pause")
    performer = only_session(server).performer
    until(lambda: performer.live.paused and performer.face == "resting", what="the avatar does not rest")
    page.wait_for_timeout(1500)
