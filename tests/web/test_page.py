"""The page in a real Chromium, with the built-in engine: what a user does, and what he then sees."""

from __future__ import annotations

import re

import httpx
import numpy as np
import pytest
from PIL import Image

from realtime.engines import load_engine
from realtime.engines.mesh.motion.code import LIP_GAP
from realtime.media.portraits import builtin_portrait, builtin_portraits
from tests.support import until
from tests.support.browser import browser, picture_of, record_pairs
from tests.support.page import SIZE, difference, frames_decoded, live, only_session, open_page, rest, studio, wait_js
from tests.support.server import Running, running

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


def test_the_avatar_moves_at_once_without_a_camera(page, server):
    first, decoded = picture_of(page), frames_decoded(page)
    until(lambda: frames_decoded(page) > decoded + 5, what="it stands still")
    assert picture_of(page).shape == (SIZE, SIZE, 3)
    until(lambda: difference(first, picture_of(page)) > 0.5, what="the pictures are all the same")
    assert page.inner_text("#engine") == "mesh on cpu"
    assert only_session(server).performer.source == "sample"
    page.click("#figures")
    wait_js(page, "document.querySelector('#live-figures').textContent.includes('Render')")
    figures = page.inner_text("#live-figures")
    for word in ("fps", "Jitter buffer", "Server to screen", "VP8, 256", "mesh on cpu"):
        assert word in figures


@pytest.mark.timeout(300)
def test_the_avatar_follows_the_camera(page, server):
    page.click("#camera")
    until(lambda: only_session(server).performer.face == "tracking", what="no face was tracked")
    assert page.is_visible("#self")
    assert any(follows(page) for _ in range(3)), "in none of three stretches: one may be spoilt by a busy machine"


def follows(page) -> bool:
    """Does the avatar open its mouth as the camera's face does?"""
    seen_so_far = frames_decoded(page)
    until(lambda: frames_decoded(page) > seen_so_far + 20, what="the avatar stands still")
    encoder, watcher = load_engine("mesh", size=SIZE), load_engine("mesh", size=SIZE)  # each follows one face
    times, seen, shown = [], [], []
    for at, camera, avatar in record_pairs(page, 6.0):
        a, b = encoder.encode(camera), watcher.encode(avatar)
        if a is not None and b is not None:
            times.append(at)
            seen.append(a.values[LIP_GAP].mean())
            shown.append(b.values[LIP_GAP].mean())
    encoder.close()
    watcher.close()
    return len(times) > 20 and best_correlation(np.array(times), np.array(seen), np.array(shown)) > 0.5


def best_correlation(times: np.ndarray, driver: np.ndarray, avatar: np.ndarray) -> float:
    """Correlation of the two, the avatar shifted by the best delay up to 1.2 s (a busy machine)."""
    best = -1.0
    for delay in np.arange(0.0, 1.2, 0.03):
        driven = np.interp(times - delay, times, driver)
        best = max(best, float(np.corrcoef(driven, avatar)[0, 1]))
    return best


def test_sliders_move_the_face_and_reset(page, server):
    rest(page, server)
    before = picture_of(page)
    slider = page.locator("#direction-mouth_open")
    slider.focus()
    page.keyboard.press("End")
    until(lambda: only_session(server).performer.live.edits.get("mouth_open", 0) > 0.9)
    mouth = (slice(round(0.45 * SIZE), round(0.75 * SIZE)), slice(round(0.3 * SIZE), round(0.7 * SIZE)))
    corner = (slice(0, 50), slice(0, 50))
    until(lambda: difference(before[mouth], picture_of(page)[mouth]) > 5, what="the mouth stays shut")
    page.wait_for_timeout(700)  # as far as it goes
    opened = picture_of(page)
    assert difference(before[corner], opened[corner]) < 4
    page.click("#reset")
    until(lambda: only_session(server).performer.live.edits == {})
    most = 0.5 * difference(before[mouth], opened[mouth])  # it breathes meanwhile
    until(lambda: difference(before[mouth], picture_of(page)[mouth]) < most, what="the mouth stays open")
    assert slider.input_value() == "0"


def test_a_portrait_is_chosen_with_the_keyboard(page, server):
    page.locator("#gallery [aria-checked='true']").focus()
    page.keyboard.press("ArrowRight")
    until(lambda: only_session(server).performer.portrait.id == builtin_portraits()[1])
    chosen, title = page.locator("#gallery [aria-checked='true']"), builtin_portraits()[1].capitalize()
    until(lambda: chosen.get_attribute("aria-label") == title)


def test_an_own_portrait_needs_consent_once_and_then_is_shown(page, server, tmp_path):
    picture = tmp_path / "me.png"
    Image.fromarray(np.ascontiguousarray(builtin_portrait()[:, ::-1, ::-1])).save(
        picture
    )  # mirrored, red and blue swapped
    rest(page, server)
    before = picture_of(page)
    page.set_input_files("#file", str(picture))
    page.wait_for_selector("#consent[open]")
    assert page.is_disabled("#consent-yes")
    page.keyboard.press("Escape")
    page.wait_for_selector("#consent", state="hidden")
    page.wait_for_timeout(300)
    assert not only_session(server).performer.portrait.consent
    page.set_input_files("#file", str(picture))
    page.check("#consent-box")
    page.click("#consent-yes")
    until(lambda: only_session(server).performer.portrait.consent is not None, what="the portrait was not taken")
    until(lambda: difference(before, picture_of(page)) > 15, what="it is not shown")
    until(lambda: page.locator("#gallery [role=radio]").count() == 3)
    until(lambda: page.locator("#gallery [aria-checked='true']").get_attribute("aria-label") == "me")


def test_pause_and_camera_off(page, server):
    page.click("#camera")
    until(lambda: only_session(server).performer.face == "tracking")
    page.click("#pause")
    until(lambda: only_session(server).performer.live.paused)
    wait_js(page, "document.querySelector('#pause').textContent.trim() === 'Resume'")
    wait_js(page, "document.querySelector('#face-note').textContent === 'Paused'")
    page.click("#pause")
    until(lambda: only_session(server).performer.face == "tracking")
    page.click("#camera-off")
    until(lambda: only_session(server).performer.source == "sample")
    until(lambda: not page.is_visible("#self"))
    wait_js(page, "document.querySelector('#camera-view').srcObject === null")


def test_two_browsers_stay_apart(page, server, chrome):
    other_context = chrome.new_context(permissions=["camera"])
    other = open_page(other_context, server)
    assert len(server.studio.sessions) == 2
    other.locator("#direction-mouth_open").focus()
    other.keyboard.press("End")
    until(lambda: sorted(len(s.performer.live.edits) for s in server.studio.sessions.values()) == [0, 1])
    page.wait_for_timeout(300)
    assert page.locator("#direction-mouth_open").input_value() == "0"
    other_context.close()
    until(lambda: len(server.studio.sessions) == 1, what="the session of a closed browser stays")


def test_a_reload_leaves_one_session(page, server):
    old = only_session(server).id
    page.reload()
    live(page)
    until(lambda: old not in server.studio.sessions, what="the old session stays")
    assert len(server.studio.sessions) == 1


def test_phone_width_and_dark(page):
    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    box = page.locator("#camera").bounding_box()
    assert box["height"] >= 40
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360


def test_the_controls_take_one_row_and_on_a_phone_two(page):
    rows = """() => new Set([...document.querySelectorAll('.tools .button')].filter(b => b.offsetParent)
        .map(b => Math.round(b.getBoundingClientRect().top))).size"""
    for width, most in ((1280, 1), (1181, 1), (1024, 1), (961, 1), (768, 1), (605, 1), (390, 2), (360, 2)):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(rows) <= most, width
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width


def test_every_control_has_a_name_and_is_reached_by_tab(page):
    nameless = page.evaluate(
        """[...document.querySelectorAll('button, select, input:not([hidden])')].filter(e => !(e.textContent.trim()
        || e.getAttribute('aria-label') || e.labels?.length || e.closest('label'))).map(e => e.outerHTML)"""
    )
    assert nameless == []
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    assert {"camera", "upload", "reset", "find", "direction-smile"} <= reached
    assert not {"sample", "pause", "figures", "full"} & reached, "the toolbar is one stop"


def test_arrows_move_in_the_toolbar(page):
    focused = "document.activeElement.id"
    page.focus("#camera")
    right = "ArrowRight"
    for key, id in ((right, "voice"), (right, "sample"), (right, "pause"), ("End", "full"), (right, "camera")):
        page.keyboard.press(key)  # without a camera there is nothing to calibrate: that button is passed over
        assert page.evaluate(focused) == id
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate(focused) == "full", "Tab comes back to where it left"


def test_a_full_server_is_told_and_tried_again(chrome):
    with running(studio(sessions=1)) as server:
        context = chrome.new_context()
        first = open_page(context, server)
        second = context.new_page()
        second.goto(server.url)
        wait_js(second, "document.querySelector('#veil-text').textContent.includes('The only place is taken')")
        assert re.fullmatch(r"The only place is taken: trying again in \d+ s\.", second.inner_text("#veil-text"))
        assert second.inner_text("#status") == "Waiting for a place", "nothing was lost"
        first.close()
        until(lambda: len(server.studio.sessions) == 0)
        live(second)
        context.close()


def test_a_server_that_restarts_is_found_again(chrome):
    first = Running(studio())
    context = chrome.new_context()
    page = open_page(context, first)
    page.locator("#direction-smile").focus()
    page.keyboard.press("End")
    until(lambda: only_session(first).performer.live.edits)
    first.close()
    wait_js(page, "document.querySelector('#veil-text').textContent.includes('trying again')")
    second = Running(studio(), port=first.port)
    try:
        live(page)
        until(
            lambda: only_session(second).performer.live.edits.get("smile", 0) > 0.9,
            what="the edits are not told again",
        )
    finally:
        context.close()
        second.close()


def test_a_camera_that_is_not_allowed(server, driver):
    with browser(driver, asks=True) as chrome:
        context = chrome.new_context()
        page = open_page(context, server)
        page.click("#camera")
        page.wait_for_selector("#message:not([hidden])")
        assert "not allowed" in page.inner_text("#message")
        assert page.is_enabled("#camera")
        assert only_session(server).performer.source == "sample"
        context.close()


def test_no_camera_at_all(server, driver):
    with browser(driver, device=False) as chrome:
        context = chrome.new_context(permissions=["camera"])
        page = open_page(context, server)
        page.click("#camera")
        page.wait_for_selector("#message:not([hidden])")
        assert "No camera was found" in page.inner_text("#message")
        context.close()
    until(lambda: httpx.get(f"{server.url}/api/health").json()["sessions"] == 0)


NO_NETWORK = """
const peer = RTCPeerConnection.prototype, set = peer.setRemoteDescription;
const get = Object.getOwnPropertyDescriptor(peer, 'localDescription').get;
const bare = d => d && { type: d.type, sdp: d.sdp.replace(/a=candidate:.*\\r\\n/g, '') };
Object.defineProperty(peer, 'localDescription', { get() { return bare(get.call(this)); } });
peer.setRemoteDescription = function (d) { return set.call(this, bare(d)); };
"""


def test_without_webrtc_pictures_are_shown_with_one_sentence(server, chrome):
    """A browser that has no WebRTC, or is not allowed to use it."""
    context = chrome.new_context()
    page = context.new_page()
    page.add_init_script("delete window.RTCPeerConnection")
    page.goto(server.url)
    wait_js(page, "document.querySelector('#preview').naturalWidth > 0")
    assert page.inner_text("#status") == "Live (pictures)"
    assert "you see pictures" in page.inner_text("#message")
    assert not page.is_visible("#camera")
    assert not page.is_visible("#veil")
    page.locator("#direction-smile").focus()
    page.keyboard.press("End")
    until(lambda: only_session(server).performer.live.edits.get("smile", 0) > 0.9)
    first = only_session(server)
    page.wait_for_timeout(3000)
    assert only_session(server) is first, "it tries again"
    context.close()
    until(lambda: not server.studio.sessions)


def test_without_any_network_pictures_are_shown_and_sliders_work(server, driver):
    """A machine that has its loopback interface alone: browsers leave it out of WebRTC, so there is no candidate."""
    with browser(driver) as chrome:
        context = chrome.new_context()
        page = context.new_page()
        page.add_init_script(NO_NETWORK)
        page.goto(server.url)
        wait_js(page, "document.querySelector('#preview').naturalWidth > 0")
        assert page.inner_text("#status") == "Live (pictures)"
        page.locator("#direction-smile").focus()
        page.keyboard.press("End")
        until(lambda: only_session(server).performer.live.edits.get("smile", 0) > 0.9)
        context.close()
    until(lambda: httpx.get(f"{server.url}/api/health").json()["sessions"] == 0)


def test_a_search_for_a_slider_that_there_is_not_says_so(page):
    page.fill("#find", "smle")
    wait_js(page, "document.querySelector('#sliders').parentElement.innerText.includes('No slider matches “smle”')")
    page.fill("#find", "smile")
    wait_js(page, "!document.querySelector('#sliders').parentElement.innerText.includes('No slider')")
