"""The page in a browser: opened on a small studio with the built-in engine, waited for, and looked at."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from realtime.engines import Engine, load_engine
from realtime.media.portraits import builtin_portrait, builtin_portraits
from realtime.server.common.limits import Limits
from realtime.server.hosting.gallery import GalleryPortrait
from realtime.server.places.here import Studio, StudioSettings
from tests.support.server import Running

SIZE = 256


def studio(make: Callable[[], Engine] = lambda: load_engine("mesh", size=SIZE), **limits) -> Studio:
    portraits = [GalleryPortrait(name, name.capitalize(), builtin_portrait(name)) for name in builtin_portraits()[:2]]
    settings = StudioSettings(Limits(**{"sessions": 4, "requests_per_s": 1000, **limits}))
    return Studio(make, portraits, settings)


def open_page(context, server: Running, path: str = "/", timeout: int = 20000, way: str = "video"):
    """A page that is live; what its console complained about is kept in `troubles`. way: in which the user has chosen
    that his face goes to the server ("auto", "here", "video")."""
    wish = f"localStorage.getItem('avatar.face') ?? localStorage.setItem('avatar.face', '{way}')"
    context.add_init_script(f"try {{ {wish} }} catch {{ }}")  # a frame without an origin has no storage
    page = context.new_page()
    page.set_default_timeout(10000)
    page.troubles = []
    page.on("console", lambda m: m.type == "error" and page.troubles.append(m.text))
    page.on("pageerror", lambda error: page.troubles.append(str(error)))
    page.goto(server.url + path)
    live(page, timeout)
    return page


def wait_js(page, expression: str, timeout: int = 10000) -> None:
    """Wait until an expression holds in the page. (Playwright's own wait needs `eval`, which the page forbids.)"""
    until(lambda: page.evaluate(expression), timeout / 1000, expression)


def live(page, timeout: int = 20000) -> None:
    wait_js(page, "document.querySelector('#status').textContent === 'Live'", timeout)
    wait_js(page, "document.querySelector('#avatar').videoWidth > 0", timeout)


def frames_decoded(page) -> int:
    return page.evaluate("document.querySelector('#avatar').getVideoPlaybackQuality().totalVideoFrames")


def only_session(server: Running):
    assert len(server.studio.sessions) == 1
    return next(iter(server.studio.sessions.values()))


def until(condition, seconds: float = 10.0, what: str = "") -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what or "it did not happen"
        time.sleep(0.05)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def rest(page, server) -> None:
    """Pause, and wait until the avatar stands still but for its breath."""
    page.click("#pause")
    performer = only_session(server).performer
    until(lambda: performer.live.paused and performer.face == "resting", 5, "the avatar does not rest")
    page.wait_for_timeout(1500)
