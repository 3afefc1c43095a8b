"""Where things are on screens of several sizes. In a real Chromium."""

from __future__ import annotations

import pytest

from tests.support import until
from tests.support.page import only_session, wait_js

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]


def boxes_meet(a: dict, b: dict) -> bool:
    return (
        a["x"] < b["x"] + b["width"]
        and b["x"] < a["x"] + a["width"]
        and a["y"] < b["y"] + b["height"]
        and b["y"] < a["y"] + a["height"]
    )


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844), (844, 390), (1024, 700)])
def test_the_avatar_stays_in_sight_while_sliders_move(page, server, width, height):
    page.set_viewport_size({"width": width, "height": height})
    for summary in page.locator("#sliders summary").all():
        summary.click()
    for name in ("smile", "yaw", "corner_up_left"):
        slider = page.locator(f"#direction-{name}")
        slider.focus()
        page.keyboard.press("End")
        page.wait_for_timeout(200)
        until(lambda lower=slider: 0 <= lower.bounding_box()["y"] < height)
        stage, moved = page.locator("#stage").bounding_box(), slider.bounding_box()
        assert stage["y"] > -1, name
        assert stage["y"] + stage["height"] <= height, name
        assert stage["height"] > 0.4 * min(width, height)
        assert moved["y"] > -1, name
        assert moved["y"] + moved["height"] <= height, name
        assert not boxes_meet(stage, moved), name
    until(lambda: len(only_session(server).performer.live.edits) == 3)


def test_the_toolbar_is_above_the_fold_on_a_phone_that_lies_on_its_side(page):
    page.set_viewport_size({"width": 844, "height": 390})
    stage = page.locator("#stage").bounding_box()
    assert stage["y"] + stage["height"] <= 390
    for button in page.locator(".tools button:visible").all():
        box = button.bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 390
        assert box["height"] >= 40
        assert not boxes_meet(box, stage)
    assert page.evaluate("document.documentElement.scrollWidth") <= 844


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844), (844, 390)])
def test_figures_are_never_on_the_face(page, width, height):
    page.set_viewport_size({"width": width, "height": height})
    page.click("#figures")
    wait_js(page, "document.querySelector('#live-figures').textContent.includes('Render')")
    assert not boxes_meet(page.locator("#stage").bounding_box(), page.locator("#live-figures").bounding_box())
