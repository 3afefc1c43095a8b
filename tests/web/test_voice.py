"""No camera: the page's microphone moves the avatar's lips. In a real Chromium that hears a recording."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import until
from tests.support.browser import FLAGS, chromium, playwright
from tests.support.page import only_session, open_page, studio, wait_js
from tests.support.server import running
from tests.voice.test_voice import said, write_wav

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def server():
    with running(studio()) as server:
        yield server


@pytest.fixture(scope="module")
def chrome(tmp_path_factory):
    sound, _ = said("Papa, papa, papa, papa, papa, papa.")
    path = write_wav(tmp_path_factory.mktemp("sound") / "talk.wav", sound)
    flags = [*FLAGS, "--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={path}"]
    with playwright() as driver:
        chrome = driver.chromium.launch(executable_path=chromium(), args=flags, headless=True)
        yield chrome
        chrome.close()


@pytest.fixture
def page(chrome, server):
    context = chrome.new_context(viewport={"width": 1280, "height": 860}, permissions=["camera", "microphone"])
    page = open_page(context, server)
    yield page
    context.close()
    assert page.troubles == []


def jaws(server, count: int = 40) -> np.ndarray:
    """How far the jaw is open in the next drives, against the reference."""
    performer = only_session(server).performer
    entry = next(d.index for d in performer.engine.directions if d.name == "jaw_open")
    seen: list[float] = []
    show = performer._rendering.show

    def look(drive, now):
        seen.append(float(drive.code.values[entry] - drive.reference.values[entry]))
        return show(drive, now)

    performer._rendering.show = look
    until(lambda: len(seen) >= count, what="nothing is rendered")
    performer._rendering.show = show
    return np.array(seen)


def test_the_voice_moves_the_lips_and_gives_way_to_the_camera(page, server):
    page.click("#voice")
    performer = only_session(server).performer
    until(lambda: performer.source == "voice", what="the voice does not drive")
    wait_js(page, "!document.querySelector('#voice-row').hidden")
    wait_js(page, "document.querySelector('#voice-level').value > 0.2")
    until(lambda: performer._speaking is not None and performer._speaking._speaker.heard > 1.0, what="no sound comes")
    opened = jaws(server, 60)
    assert opened.max() > 1.5
    assert opened.min() < 0.8
    assert page.locator("#face-note").is_hidden()

    page.click("#camera")
    until(lambda: performer.source == "camera", what="the camera does not drive")
    wait_js(page, "document.querySelector('#voice-row').hidden")
    assert not page.locator("#camera-row").is_hidden()

    page.click("#voice")
    until(lambda: performer.source == "voice", what="the voice does not drive again")
    wait_js(page, "document.querySelector('#camera-row').hidden")
    page.click("#voice-off")
    until(lambda: performer.source == "sample", what="the sample does not play")
    assert performer._speaking is None


def test_a_microphone_that_is_refused_is_said_in_a_sentence(chrome, server):
    context = chrome.new_context(viewport={"width": 1280, "height": 860})
    page = open_page(context, server)
    page.evaluate(
        "void (navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', 'NotFoundError'); })"
    )
    page.click("#voice")
    wait_js(page, "document.querySelector('#message').textContent.startsWith('No microphone was found')")
    assert page.locator("#voice").is_visible()
    context.close()
