"""The page in a real Chromium on LivePortrait, whose frames take seconds on a CPU: nothing gives up, all is named."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("torch")

from realtime.engines import Engine, load_engine
from tests.support import until
from tests.support.browser import picture_of
from tests.support.page import difference, frames_decoded, only_session, open_page, studio
from tests.support.server import Running, running

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SLOW_FRAMES_S = 500


def small() -> Engine:
    return load_engine("liveportrait", size=128, weights="recipe:1", device="cpu")


@pytest.fixture
def server() -> Iterator[Running]:
    first = small()  # its networks are kept while it is there
    with running(studio(small, sessions=1)) as server:
        yield server
    first.close()


def test_a_slow_engine_is_driven_by_its_own_sliders_and_says_that_it_is_untrained(chrome, server) -> None:
    page = open_page(chrome.new_context(permissions=["camera"]), server, timeout=SLOW_FRAMES_S * 1000)
    assert page.inner_text("#engine").startswith("liveportrait on cpu (no trained weights); about")
    before = picture_of(page)
    assert before.shape == (128, 128, 3)
    strip = before[-20:].astype(int)  # the caption's letters on its band
    assert np.ptp(strip) > 100
    slider = page.locator("#direction-mouth_open")
    slider.focus()
    page.keyboard.press("End")
    until(lambda: only_session(server).performer.live.edits.get("mouth_open", 0) > 0.9)
    seen = frames_decoded(page)
    until(lambda: frames_decoded(page) > seen + 2, SLOW_FRAMES_S, "no more pictures come")
    until(lambda: difference(before, picture_of(page)) > 0.5, SLOW_FRAMES_S, "the picture stays as it was")
