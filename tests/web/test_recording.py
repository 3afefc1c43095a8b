"""Films and pictures of the avatar, made on the page. In a real Chromium."""

from __future__ import annotations

import av
import numpy as np
import pytest
from PIL import Image

from tests.support import until
from tests.support.browser import picture_of
from tests.support.page import SIZE, difference, only_session, open_page, rest, wait_js

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture
def page(chrome, server):
    context = chrome.new_context(viewport={"width": 1280, "height": 860}, permissions=["camera", "microphone"])
    page = open_page(context, server)
    yield page
    context.close()
    assert page.troubles == []


def record(page, seconds: float, path):
    """Record, and give the file."""
    page.click("#record")
    wait_js(page, "document.querySelector('#record').textContent.includes('Stop')")
    page.wait_for_timeout(1000 * seconds)
    with page.expect_download() as download:
        page.click("#record")
    path = path / download.value.suggested_filename
    download.value.save_as(path)
    return path


def decoded(path) -> tuple[list[np.ndarray], list[float], float]:
    """The pictures of a film with their times, and the seconds of its sound (0: none)."""
    with av.open(str(path)) as film:
        pictures, times = [], []
        for frame in film.decode(video=0):
            pictures.append(frame.to_ndarray(format="rgb24"))
            times.append(float(frame.pts * frame.time_base))
    with av.open(str(path)) as film:
        if not film.streams.audio:
            return pictures, times, 0.0
        sound = [float(frame.pts * frame.time_base) for frame in film.decode(audio=0)]
    return pictures, times, sound[-1] - sound[0]


def test_a_film_has_the_avatar_and_the_voice(page, server, tmp_path):
    page.click("#camera")
    until(lambda: only_session(server).performer.face == "tracking")
    film = record(page, 4, tmp_path)
    assert film.name.startswith("avatar ")
    pictures, times, sound = decoded(film)
    assert pictures[0].shape[:2] == (SIZE, SIZE)
    assert len(pictures) > 8
    assert 2.5 < times[-1] - times[0] < 12
    assert sound == pytest.approx(times[-1] - times[0], abs=1.2)
    assert difference(pictures[-1], np.array(Image.fromarray(picture_of(page)).resize((SIZE, SIZE)))) < 40
    delay = float(page.get_attribute("#record", "data-delay"))
    assert 0 < delay <= 1000, "sound was not held back by what the picture takes"
    wait_js(page, "document.querySelector('#record').textContent.trim() === 'Record'")
    assert not page.evaluate("document.querySelector('#record').getAttribute('aria-pressed') === 'true'")


def test_without_the_voice_there_is_no_sound(page, tmp_path):
    page.uncheck("#record-voice")
    pictures, _, sound = decoded(record(page, 2, tmp_path))
    assert sound == 0.0
    assert pictures[0].shape[:2] == (SIZE, SIZE)


def test_the_camera_is_in_a_film_only_when_asked_twice_and_once(page, server, tmp_path):
    page.click("#camera")
    until(lambda: only_session(server).performer.face == "tracking")
    page.uncheck("#record-voice")
    page.click("#record-beside")
    page.wait_for_selector("#record-sure[open]")
    assert not page.is_checked("#record-beside")
    page.keyboard.press("Escape")
    page.wait_for_selector("#record-sure", state="hidden")
    assert not page.is_checked("#record-beside"), "asked once"
    page.click("#record-beside")
    page.click("#record-sure button[value=yes]")
    page.wait_for_selector("#record-sure", state="hidden")
    assert page.is_checked("#record-beside")
    pictures, _, _ = decoded(record(page, 2, tmp_path))
    assert pictures[0].shape[1] > 2 * SIZE
    assert not page.is_checked("#record-beside"), "it is asked for anew"
    pictures, _, _ = decoded(record(page, 1.5, tmp_path))
    assert pictures[0].shape[:2] == (SIZE, SIZE)


def test_a_picture_is_what_is_seen(page, server, tmp_path):
    rest(page, server)
    with page.expect_download() as download:
        page.click("#save-picture")
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    assert path.suffix == ".png"
    assert difference(np.array(Image.open(path).convert("RGB")), picture_of(page)) < 6
