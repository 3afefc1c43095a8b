"""What the user set survives a reload, a lost connection and a new session. In a real Chromium."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from realtime.media.portraits import builtin_portrait, builtin_portraits
from tests.support import until
from tests.support.browser import picture_of
from tests.support.page import difference, listen, live, only_session, open_page, rest, studio, wait_js
from tests.support.server import Running, running

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture
def own(tmp_path):
    """A portrait of one's own: the built-in one, mirrored, red and blue swapped."""
    path = tmp_path / "me.png"
    Image.fromarray(np.ascontiguousarray(builtin_portrait()[:, ::-1, ::-1])).save(path)
    return path


def bring(page, server, path) -> None:
    """Upload a portrait, and wait until it is shown."""
    page.set_input_files("#file", str(path))
    page.check("#consent-box")
    page.click("#consent-yes")
    until(lambda: only_session(server).performer.portrait.consent is not None, what="the portrait was not taken")
    wait_js(page, "document.querySelector('#message').textContent === 'This is your avatar now.'")


def chosen(page) -> str | None:
    return page.locator("#gallery [aria-checked='true']").get_attribute("aria-label")


@pytest.mark.parametrize("name", ["smile", "mouth_open", "blink"])
def test_arrow_keys_move_a_slider(page, server, name):
    edits = lambda: only_session(server).performer.live.edits  # noqa: E731
    slider = page.locator(f"#direction-{name}")
    step = float(slider.get_attribute("step"))
    slider.focus()
    for n in range(1, 6):
        page.keyboard.press("ArrowRight")
        until(lambda n=n: edits().get(name, 0) == pytest.approx(n * step, abs=0.51 * step))
        until(lambda: float(slider.input_value()) == pytest.approx(edits()[name]))
    for _ in range(5):
        page.keyboard.press("ArrowLeft")
    until(lambda: edits() == {}, what="back at rest")


def test_a_pointer_finds_zero_and_the_slider_follows(page, server):
    slider = page.locator("#direction-smile")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    middle, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(middle, y)
    page.mouse.down()
    page.mouse.move(middle + 90, y)
    until(lambda: only_session(server).performer.live.edits.get("smile", 0) > 0.3)
    page.mouse.move(middle + 3, y)
    until(lambda: only_session(server).performer.live.edits == {}, what="three pixels from the middle are not zero")
    page.mouse.up()
    wait_js(page, "document.querySelector('#direction-smile').value === '0'")


def test_a_slider_moved_elsewhere_moves_here(page, server):
    page.focus("#direction-smile")
    page.evaluate(
        """id => fetch(`/api/sessions/${id}/control`, {method: 'POST', headers: {'Content-Type': 'application/json'},
        body: JSON.stringify({type: 'set_edits', values: {smile: 0.5}})})""",
        only_session(server).id,
    )
    wait_js(page, "document.querySelector('#direction-smile').value === '0.5'")


def test_a_reload_keeps_portrait_sliders_and_background(page, server, own):
    bring(page, server, own)
    page.focus("#direction-smile")
    page.keyboard.press("End")
    page.select_option("#background", "green")
    until(lambda: only_session(server).performer.state().background == "green")
    until(lambda: not only_session(server).performer.state().preparing)
    old = only_session(server).id
    page.reload()
    live(page)
    until(lambda: old not in server.studio.sessions)
    until(lambda: only_session(server).performer.portrait.title == "me", what="the portrait is the built-in one")
    until(lambda: only_session(server).performer.state().background == "green")
    until(lambda: only_session(server).performer.live.edits.get("smile", 0) > 0.9)
    wait_js(page, "document.querySelector('#veil').hidden")
    assert chosen(page) == "me"
    assert page.locator("#gallery [role=radio]").count() == 3
    assert page.input_value("#background") == "green"
    assert page.input_value("#direction-smile") == "1"


def test_a_deleted_portrait_is_gone_for_good(page, server, own):
    bring(page, server, own)
    page.click("#delete-portrait")
    until(lambda: only_session(server).performer.portrait.consent is None)
    wait_js(page, "document.querySelectorAll('#gallery [role=radio]').length === 2")
    wait_js(page, "document.querySelector('#own-row').hidden")
    page.reload()
    live(page)
    assert page.locator("#gallery [role=radio]").count() == 2
    assert only_session(server).performer.portrait.id == builtin_portraits()[0]


def test_a_new_session_gets_all_that_was_set(chrome, own):
    """The server is gone and comes back: portrait, sliders, background, mirror and camera are as before."""
    first = Running(studio())
    context = chrome.new_context(permissions=["camera"])
    page = open_page(context, first)
    bring(page, first, own)
    page.click("#camera")
    until(lambda: only_session(first).performer.face == "tracking")
    page.select_option("#background", "blur")
    page.click("#mirror")
    page.focus("#direction-pout")
    page.keyboard.press("End")
    until(lambda: only_session(first).performer.live.mirror)
    until(lambda: only_session(first).performer.live.edits)
    first.close()
    wait_js(page, "document.querySelector('#veil-text').textContent.includes('trying again')")
    second = Running(studio(), port=first.port)
    try:
        live(page)
        until(lambda: only_session(second).performer.portrait.title == "me", what="the portrait is the built-in one")
        performer = only_session(second).performer
        until(lambda: performer.state().background == "blur" and performer.live.mirror)
        until(lambda: performer.live.edits.get("pout", 0) > 0.9)
        until(lambda: performer.source == "camera" and performer.face == "tracking")
        assert not page.is_visible("#camera"), "“Use my camera”, while it is on"
        assert page.is_visible("#camera-off")
    finally:
        context.close()
        second.close()


def test_the_avatar_is_announced_when_it_is_shown(page, server, own):
    """“This is your avatar now” with the new picture in sight, and a busy sign before."""
    rest(page, server)
    before = picture_of(page)
    page.evaluate(
        """() => { window.seen = [];
        const [note, faces] = ['#message', '#gallery'].map(id => document.querySelector(id));
        const look = () => seen.push([note.textContent, !!faces.querySelector('[aria-busy="true"]')]);
        new MutationObserver(look).observe(document.body,
        {subtree: true, childList: true, attributes: true, characterData: true}); }"""
    )
    bring(page, server, own)
    until(lambda: difference(before, picture_of(page)) > 15, what="the picture is the one before")
    seen = page.evaluate("seen")
    assert ["Preparing the portrait", True] in seen
    assert ["This is your avatar now.", False] in seen
    assert not page.locator("#gallery [aria-busy='true']").count()


def test_a_background_that_is_prepared_says_so(page, server):
    listen(page, "#background-busy")
    page.select_option("#background", "blur")
    wait_js(page, "said.at(-1) === ''")
    assert page.evaluate("said") == ["Preparing", ""]
    until(lambda: only_session(server).performer.state().background == "blur")


def test_the_focus_goes_to_what_took_the_buttons_place(page):
    page.click("#camera")
    page.wait_for_selector("#camera-off")
    assert page.evaluate("document.activeElement.id") == "camera-off"
    page.keyboard.press("Enter")
    page.wait_for_selector("#camera")
    assert page.evaluate("document.activeElement.id") == "camera"


def test_a_camera_that_starts_is_not_said_to_see_no_face(page, server):
    listen(page, "#face-note")
    page.click("#camera")
    until(lambda: only_session(server).performer.face == "tracking")
    page.wait_for_timeout(500)
    assert not [text for text in page.evaluate("said") if "No face" in text]


def test_the_time_limit_is_one_sentence_with_one_number(chrome):
    with running(studio(session_s=10.0)) as server:
        context = chrome.new_context()
        page = open_page(context, server)
        wait_js(page, "document.querySelector('#status').textContent === 'Session over'")
        text = page.inner_text("#veil-text")
        said = re.fullmatch(r"This session has reached its limit of (\d+) seconds: reload the page [^\d]*\.", text)
        assert said, text
        assert said[1] == "10"
        page.wait_for_timeout(2500)
        assert len(server.studio.sessions) == 0, "it does not come back by itself"
        context.close()
