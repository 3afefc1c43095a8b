"""How the avatar follows its driver, set on the page; and a camera that comes back. In a real Chromium."""

from __future__ import annotations

import pytest

from tests.support import until
from tests.support.page import live, only_session, wait_js

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
SAID = "document.querySelector('#message').textContent"


def test_how_far_how_calmly_and_the_gaze_also_after_a_reload(page, server):
    settings = lambda: only_session(server).performer.live  # noqa: E731
    page.focus("#following-head")
    page.keyboard.press("End")
    page.focus("#following-mouth")
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    page.focus("#following-smoothing")
    page.keyboard.press("End")
    page.click("#hold-gaze")
    until(lambda: settings().amplitude == pytest.approx({"head": 2.0, "mouth": 0.8}))
    until(lambda: settings().smoothing == 1.0 and settings().hold_gaze)
    assert page.inner_text("#following-head >> xpath=../output") == "200 %"
    old = only_session(server).id
    page.reload()
    live(page)
    until(lambda: old not in server.studio.sessions)
    until(lambda: settings().amplitude == pytest.approx({"head": 2.0, "mouth": 0.8}))
    until(lambda: settings().smoothing == 1.0 and settings().hold_gaze)
    wait_js(page, "document.querySelector('#following-head').value === '2'")
    page.dblclick("#following-head")
    until(lambda: "head" not in settings().amplitude)
    wait_js(page, "document.querySelector('#following-head').value === '1'")


def test_the_driver_sees_himself_large_beside_the_avatar(page, server):
    page.click("#camera")
    page.wait_for_selector("#self")
    small = page.locator("#self").bounding_box()
    page.check("#large-self")
    stage, large = page.locator("#avatar").bounding_box(), page.locator("#self").bounding_box()
    assert large["width"] > 2 * small["width"]
    assert large["width"] == pytest.approx(stage["width"], rel=0.05)
    assert large["x"] >= stage["x"] + stage["width"], "not on the avatar"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "a phone has no room beside it"
    page.set_viewport_size({"width": 1280, "height": 860})
    page.click("#camera-off")
    until(lambda: only_session(server).performer.source == "sample")
    assert not page.locator("#stage.beside").count(), "without a camera the avatar has the place"


def test_a_camera_that_was_unplugged_comes_back_by_itself(page, server):
    page.click("#camera")
    until(lambda: only_session(server).performer.source == "camera")
    page.evaluate(  # what Chromium does when one is pulled out
        """() => { const [track] = document.querySelector('#camera-view').srcObject.getVideoTracks();
        track.stop(); track.dispatchEvent(new Event('ended')); }"""
    )
    until(lambda: only_session(server).performer.source == "sample")
    wait_js(page, f"{SAID}.startsWith('The camera was unplugged')")
    page.evaluate("navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")
    until(lambda: only_session(server).performer.source == "camera")
    wait_js(page, f"{SAID} === 'The camera is back.'")
    page.click("#camera-off")
    until(lambda: only_session(server).performer.source == "sample")
    page.evaluate("navigator.mediaDevices.dispatchEvent(new Event('devicechange'))")
    page.wait_for_timeout(500)
    assert only_session(server).performer.source == "sample", "who turned it off does not want it back"
