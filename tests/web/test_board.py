"""The board of expressions on the page: by pointer, by key, by HTTP. In a real Chromium."""

from __future__ import annotations

import time

import httpx
import pytest

from tests.support import until
from tests.support.browser import picture_of
from tests.support.page import SIZE, difference, only_session, rest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


def names(server) -> list[str]:
    """What is on, and not going."""
    return [each.name for each in only_session(server).performer.live.played if each.until == float("inf")]


def test_a_key_puts_it_on_for_as_long_as_it_is_held(page, server):
    rest(page, server)
    before = picture_of(page)
    page.keyboard.down("4")
    until(lambda: names(server) == ["surprise"])
    until(lambda: page.get_attribute("#board [data-name=surprise]", "aria-pressed") == "true")
    mouth = (slice(round(0.45 * SIZE), round(0.75 * SIZE)), slice(round(0.3 * SIZE), round(0.7 * SIZE)))
    until(lambda: difference(before[mouth], picture_of(page)[mouth]) > 4, what="nothing is shown")
    page.wait_for_timeout(900)  # to the end of its rise
    shown = difference(before[mouth], picture_of(page)[mouth])
    page.keyboard.up("4")
    until(lambda: names(server) == [])
    until(lambda: difference(before[mouth], picture_of(page)[mouth]) < 0.6 * shown, what="it stays")


def test_keys_that_are_written_are_no_expressions(page, server):
    page.fill("#preset-name", "")
    page.focus("#preset-name")
    page.keyboard.type("123")
    page.focus("#find")
    page.keyboard.type("1")
    page.wait_for_timeout(400)
    assert only_session(server).performer.live.played == ()
    assert page.input_value("#preset-name") == "123"


def test_by_pointer_by_enter_and_to_stay(page, server):
    button = page.locator("#board [data-name=wink]")
    button.scroll_into_view_if_needed()
    box = button.bounding_box()
    page.mouse.move(box["x"] + 10, box["y"] + 10)
    page.mouse.down()
    until(lambda: names(server) == ["wink"])
    page.mouse.up()
    until(lambda: names(server) == [])
    button.focus()
    page.keyboard.press("Enter")
    until(lambda: any(each.until > time.monotonic() for each in only_session(server).performer.live.played))
    assert names(server) == [], "it goes by itself"
    page.check("#board-stay")
    button.click()
    page.keyboard.press("1")
    until(lambda: sorted(names(server)) == ["smile", "wink"])
    page.wait_for_timeout(700)
    assert sorted(names(server)) == ["smile", "wink"]
    page.uncheck("#board-stay")
    until(lambda: names(server) == [])


def test_a_program_puts_it_on_by_the_key_that_only_drives(page, server):
    """The address stays the same from session to session: a Stream Deck has it once."""
    drive = only_session(server).hello(only_session(server).id).drive
    url = f"{server.url}/api/sessions/{drive}/control"
    assert httpx.post(url, json={"type": "expression", "name": "laugh", "on": True}).status_code == 200
    until(lambda: names(server) == ["laugh"])
    unknown = httpx.post(url, json={"type": "expression", "name": "tongue"})
    assert unknown.status_code == 404
    assert "there is no expression called 'tongue'" in unknown.json()["detail"]
    assert httpx.post(url, json={"type": "expression", "name": "laugh", "seconds": 1e9}).status_code == 422
    assert httpx.post(url, json={"type": "pause"}).status_code == 403, "more than to drive"
    view = only_session(server).hello(only_session(server).id).view.split("/")[-1]
    watcher = httpx.post(f"{server.url}/api/sessions/{view}/control", json={"type": "expression", "name": "laugh"})
    assert watcher.status_code == 403
