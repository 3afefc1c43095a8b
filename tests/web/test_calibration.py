"""Calibrating on the page: what is said, what is seen, and what is refused. In a real Chromium."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.engines.mesh.motion.code import BODY
from tests.support import until
from tests.support.browser import browser, write_camera
from tests.support.page import live, only_session, open_page, studio, wait_js
from tests.support.server import Running

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
WORD = "document.querySelector('#calibration-word').textContent"


def test_it_counts_down_shows_the_face_and_what_was_learnt(page, server):
    page.evaluate(
        """() => { window.said = []; const word = document.querySelector('#calibration-word');
        new MutationObserver(() => said.push(word.textContent)).observe(word, {childList: true}); }"""
    )
    page.click("#camera")
    until(lambda: only_session(server).performer.face == "tracking")
    page.click("#calibrate")
    page.wait_for_selector("#calibration[open]")
    wait_js(page, "document.querySelector('#calibration-view').videoWidth > 0")
    assert not only_session(server).performer.state().calibrated, "before the count is over"
    wait_js(page, f"{WORD}.startsWith('Learnt')")
    assert only_session(server).performer.state().neutral is not None
    said = page.evaluate("said")
    counts = [f"Look straight ahead, with a relaxed face: {left}" for left in (3, 2, 1)]
    assert said[:4] == [*counts, "Stay like this"]
    shown = page.evaluate(
        """() => { const face = document.querySelector('#calibration-face');
        return [face.hidden, ...face.getContext('2d').getImageData(face.width / 2, face.height / 2, 1, 1).data]; }"""
    )
    assert shown[0] is False
    assert sum(shown[1:4]) > 60
    page.click("#calibration-done")
    page.wait_for_selector("#calibration", state="hidden")


def test_what_was_learnt_goes_over_to_a_new_session(chrome):
    first = Running(studio())
    context = chrome.new_context(permissions=["camera"])
    page = open_page(context, first)
    page.click("#camera")
    until(lambda: only_session(first).performer.face == "tracking")
    page.click("#calibrate")
    wait_js(page, f"{WORD}.startsWith('Learnt')")
    page.click("#calibration-done")
    neutral = only_session(first).performer.state().neutral
    neutral[BODY] = [0.0] * len(neutral[BODY])  # since the first session's start
    first.close()
    second = Running(studio(), port=first.port)
    try:
        live(page)
        until(lambda: only_session(second).performer.state().neutral == pytest.approx(neutral, abs=1e-3))
    finally:
        context.close()
        second.close()


def test_without_a_face_nothing_is_learnt(driver, server, tmp_path):
    wall = write_camera(iter([np.full((480, 640, 3), 150, np.uint8)] * 60), tmp_path / "wall.mjpeg")
    with browser(driver, wall) as chrome:
        context = chrome.new_context(permissions=["camera"])
        page = open_page(context, server)
        page.click("#camera")
        page.wait_for_selector("#camera-off")
        page.click("#calibrate")
        wait_js(page, f"{WORD}.startsWith('No face is in the picture')")
        assert page.is_visible("#calibration-again")
        assert not only_session(server).performer.state().calibrated
        answer = page.evaluate(
            """async id => { const answer = await fetch(`/api/sessions/${id}/control`, {method: 'POST',
            headers: {'Content-Type': 'application/json'}, body: '{"type": "calibrate"}'});
            return [answer.status, (await answer.json()).detail]; }""",
            only_session(server).id,
        )
        assert answer == [400, "No face is in the picture: there is nothing to calibrate on"]
        context.close()
    until(lambda: not server.studio.sessions)
