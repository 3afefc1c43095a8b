"""The view for streaming programs: its link, its waiting and its background. In a real Chromium."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.media.backgrounds import GREEN
from tests.support import until
from tests.support.browser import picture_of
from tests.support.page import SIZE, difference, live, only_session, open_page, studio, wait_js
from tests.support.server import Running

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


@pytest.fixture
def view(page, chrome):
    """Opens the view of a page, as another program would: with nothing of its cookies or storage."""
    contexts = []

    def open(query: str = ""):
        wait_js(page, "document.querySelector('#open-view').hasAttribute('href')")
        context = chrome.new_context(viewport={"width": SIZE, "height": SIZE})
        contexts.append(context)
        view = context.new_page()
        view.goto(page.locator("#open-view").get_attribute("href") + query)
        return view

    yield open
    for context in contexts:
        context.close()


def moves(view) -> None:
    """It shows pictures, and new ones."""
    wait_js(view, "document.querySelector('#avatar').videoWidth > 0")
    before = frames(view)
    until(lambda: frames(view) > before + 3, what="the view stands still")


def frames(view) -> int:
    return view.evaluate("document.querySelector('#avatar').getVideoPlaybackQuality().totalVideoFrames")


def test_the_link_stays_the_same_over_a_reload_and_the_view_comes_back(page, server, view):
    link = page.locator("#open-view").get_attribute("href")
    assert only_session(server).id not in link, "the link would control the session"
    shown = view()
    moves(shown)
    page.reload()
    live(page)
    wait_js(page, "document.querySelector('#open-view').hasAttribute('href')")
    assert page.locator("#open-view").get_attribute("href") == link
    until(lambda: len(only_session(server).guests) == 1, what="the view does not come back")
    moves(shown)
    wait_js(shown, "document.querySelector('#word').hidden && document.querySelector('#still').hidden")


def test_while_nothing_drives_the_view_the_portrait_idles(page, server, view):
    shown = view()
    moves(shown)
    url = page.url
    page.goto("about:blank")
    page.wait_for_timeout(1000)
    assert only_session(server).lingers
    moves(shown)
    assert only_session(server).performer.face != "tracking"
    page.goto(url)
    live(page)
    until(lambda: len(server.studio.sessions) == 1 and not only_session(server).lingers, what="the old session stays")
    until(lambda: len(only_session(server).guests) == 1, what="the view does not come back")
    moves(shown)


def test_a_session_that_nobody_watches_does_not_linger(page, server, view):
    shown = view()
    moves(shown)
    page.goto("about:blank")
    until(lambda: only_session(server).lingers)
    shown.close()
    until(lambda: not server.studio.sessions)


def test_a_view_that_waits_says_so_and_keeps_its_last_picture(chrome):
    first = Running(studio())
    context, other = chrome.new_context(), chrome.new_context(viewport={"width": SIZE, "height": SIZE})
    page = open_page(context, first)
    wait_js(page, "document.querySelector('#open-view').hasAttribute('href')")
    shown = other.new_page()
    shown.goto(page.locator("#open-view").get_attribute("href"))
    moves(shown)
    first.close()
    wait_js(shown, "document.querySelector('#word').textContent === 'The server cannot be reached.'")
    corner = shown.evaluate(
        """() => { const still = document.querySelector('#still');
        return [still.hidden, ...still.getContext('2d').getImageData(128, 90, 1, 1).data]; }"""
    )
    assert corner[0] is False
    assert sum(corner[1:4]) > 60, "black"
    second = Running(studio(), port=first.port)
    try:
        live(page)
        moves(shown)
        wait_js(shown, "document.querySelector('#word').hidden")
    finally:
        context.close()
        other.close()
        second.close()


def test_a_link_that_was_renewed_shows_nothing_any_more(page, server, view):
    shown = view()
    moves(shown)
    old = page.locator("#open-view").get_attribute("href")
    page.click("#renew-view")
    until(lambda: page.locator("#open-view").get_attribute("href") != old)
    wait_js(shown, "document.querySelector('#word').textContent.startsWith('This link no longer works')")
    assert shown.is_visible("#word")
    for picture in ("#avatar", "#keyed", "#still"):
        assert shown.is_hidden(picture), "the last picture is still there"
    assert shown.evaluate("document.querySelector('#avatar').srcObject") is None
    moves(view())


def test_a_view_in_a_program_without_webrtc_says_so(chrome, server):
    context = chrome.new_context()
    context.add_init_script("delete window.RTCPeerConnection")
    shown = context.new_page()
    shown.goto(f"{server.url}/view/{'x' * 24}")
    wait_js(shown, "document.querySelector('#word').textContent.includes('knows no WebRTC')")
    context.close()


def test_a_link_that_may_come_to_life_waits(chrome, server):
    context = chrome.new_context()
    shown = context.new_page()
    shown.goto(f"{server.url}/view/{'x' * 24}")
    wait_js(shown, "document.querySelector('#word').textContent === 'Waiting for the avatar'")
    context.close()


def test_a_views_background_is_its_own(page, server, view):
    """Transparent here, plain there, the portrait's own on the page, and all at once."""
    keyed = view("?background=transparent")
    plain = view()
    moves(keyed)
    moves(plain)
    until(lambda: alpha(keyed, 0.05, 0.05) < 20, what="the background is not transparent")
    assert alpha(keyed, 0.5, 0.5) > 240, "the face is"
    assert only_session(server).performer.state().background == "original"
    green = view("?background=green")
    until(lambda: frames(green) > 3)
    corner = (slice(4, 14), slice(4, 14))
    for seen in (picture_of(page), picture_of(plain)):
        assert not is_green(seen[corner]), "another's picture has changed"
    assert is_green(picture_of(green)[corner])
    assert difference(picture_of(page)[corner], picture_of(plain)[corner]) < 8


def is_green(patch) -> bool:
    red, green, blue = patch.reshape(-1, 3).mean(axis=0)
    return green > red + 60 and green > blue + 40


def alpha(view, x: float, y: float) -> int:
    return view.evaluate(
        """([x, y]) => { const keyed = document.querySelector('#keyed'), copy = document.createElement('canvas');
        if (!keyed.width) return 255; copy.width = copy.height = keyed.width;
        const paper = copy.getContext('2d'); paper.drawImage(keyed, 0, 0);
        return paper.getImageData(x * copy.width, y * copy.height, 1, 1).data[3]; }""",
        [x, y],
    )


def test_the_view_has_a_landmark_and_a_heading(page, view):
    shown = view()
    moves(shown)
    tree = shown.locator("body").aria_snapshot()
    assert "- main" in tree
    assert 'heading "The avatar" [level=1]' in tree


MIXED = """async ([own, green]) => {
  const { key } = await import('/app/keying.js');
  const side = 128, drawn = document.createElement('canvas'), keyed = document.createElement('canvas');
  drawn.width = drawn.height = side;
  const paper = drawn.getContext('2d'), pixels = paper.createImageData(side, side), alphas = [];
  for (let y = 0; y < side; y++) for (let x = 0; x < side; x++) {
    const alpha = Math.min(1, Math.max(0, (40 - Math.hypot(x - 64, y - 64)) / 12 + 0.5));
    alphas.push(alpha);
    for (let c = 0; c < 3; c++) pixels.data[4 * (y * side + x) + c] = own[c] * alpha + green[c] * (1 - alpha);
    pixels.data[4 * (y * side + x) + 3] = 255;
  }
  const video = document.createElement('video');
  video.muted = true;
  video.srcObject = drawn.captureStream(10);
  document.body.append(video, keyed);
  const timer = setInterval(() => paper.putImageData(pixels, 0, 0), 50);
  await video.play();
  if (!key(video, keyed)) throw new Error('no WebGL');
  await new Promise(resolve => setTimeout(resolve, 1500));
  clearInterval(timer);
  const over = ground => {
    const copy = document.createElement('canvas');
    copy.width = copy.height = side;
    const g = copy.getContext('2d');
    g.fillStyle = `rgb(${ground},${ground},${ground})`;
    g.fillRect(0, 0, side, side);
    g.drawImage(keyed, 0, 0);
    return [...g.getImageData(0, 0, side, side).data];
  };
  return [alphas, over(0), over(255)];
}"""


@pytest.mark.parametrize("own", [(30, 22, 18), (224, 184, 160), (128, 128, 128), (250, 250, 250)])
def test_a_transparent_view_has_no_rim(chrome, server, own):
    """One colour with a soft outline before green, keyed, over black and over white: as if it stood there."""
    context = chrome.new_context()
    page = context.new_page()
    page.goto(f"{server.url}/view/{'x' * 24}")
    check_rim(own, *page.evaluate(MIXED, [list(own), list(GREEN)]))
    context.close()


def check_rim(own, alphas, *seen) -> None:
    """What `MIXED` gives of one colour: over black and over white it looks as if it stood there."""
    alpha = np.array(alphas).reshape(128, 128, 1)
    edge = ((alpha > 0.1) & (alpha < 0.9))[..., 0]
    for ground, pixels in zip((0.0, 255.0), seen, strict=True):
        picture = np.array(pixels, float).reshape(128, 128, 4)[..., :3]
        truth = np.array(own) * alpha + ground * (1 - alpha)
        off = (picture - truth)[edge]
        assert np.abs(off.mean(axis=0)).max() < 16, f"a rim over {ground:.0f}"
        assert np.abs(off).mean() < 18
        assert (off[:, 1] - off[:, [0, 2]].mean(axis=1)).mean() < 8, "a green rim"
