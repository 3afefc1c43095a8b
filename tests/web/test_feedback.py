"""What the page says of the light and of its figures, in words. In a real Chromium."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support import made_up_frames
from tests.support.browser import browser, write_camera
from tests.support.page import live, open_page, wait_js

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
NOTE = "document.querySelector('#light-note')"


def dim(frame: np.ndarray) -> np.ndarray:
    return (frame * 0.2).astype(np.uint8)


def from_behind(frame: np.ndarray) -> np.ndarray:
    """A window behind a face in the shade."""
    height, width = frame.shape[:2]
    y, x = np.mgrid[:height, :width]
    face = ((x / width - 0.5) / 0.24) ** 2 + ((y / height - 0.5) / 0.4) ** 2 < 1
    return np.where(face[..., None], frame * 0.35, 245).astype(np.uint8)


@pytest.mark.parametrize(("light", "said"), [(dim, "It is dim"), (from_behind, "The light comes from behind you")])
def test_bad_light_is_said_while_the_camera_is_on(driver, server, tmp_path, light, said):
    film = write_camera((light(frame) for frame in made_up_frames()), tmp_path / "camera.mjpeg")
    with browser(driver, film) as chrome:
        context = chrome.new_context(permissions=["camera"])
        page = open_page(context, server)
        assert page.evaluate(f"{NOTE}.hidden")
        page.click("#camera")
        wait_js(page, f"!{NOTE}.hidden && {NOTE}.textContent.startsWith('{said}')")
        note, stage = (page.locator(each).bounding_box() for each in ("#light-note", "#stage"))
        assert note["y"] + note["height"] < stage["y"] + stage["height"] / 2, "the mark is in the lower left"
        page.click("#camera-off")
        wait_js(page, f"{NOTE}.hidden")
        assert page.troubles == []
        context.close()


def test_good_light_is_passed_over_and_faults_are_told_apart(page):
    judged = page.evaluate(
        """async () => { const { judge } = await import('/app/light.js');
        const picture = (face, around) => { const out = new Uint8ClampedArray(4 * 32 * 24);
          for (let at = 0; at < 32 * 24; at += 1) {
            const x = (at % 32 + .5) / 32, y = (Math.floor(at / 32) + .5) / 24;
            out.fill(((x - .5) / .2) ** 2 + ((y - .5) / .32) ** 2 < 1 ? face : around, 4 * at, 4 * at + 4); }
          return judge(out, 32, 24); };
        return [[140, 120], [140, 250], [100, 30], [40, 40], [50, 60], [70, 230], [40, 250], [90, 150]]
          .map(([face, around]) => picture(face, around)); }"""
    )
    assert judged == ["", "", "", "dim", "dim", "behind", "behind", ""]
    page.click("#camera")
    page.wait_for_selector("#self")
    page.wait_for_timeout(4500)
    assert page.evaluate(f"{NOTE}.hidden"), "an ordinary picture"


def test_a_slow_browser_that_sees_the_face_does_not_say_that_there_is_none(page):
    said = page.evaluate("""async () => {
        const { FaceNote } = await import('/app/face-note.js');
        const note = new FaceNote();
        const at = (now, face, source) => note.text({ face, paused: false, source }, true, now);
        note.restart(0);
        const out = [at(9000, "easing", "landmarks")];
        note.found(true, 700, 9000);
        out.push(at(9600, "easing", "landmarks"), at(9600, "easing", "camera"), at(10800, "resting", "landmarks"));
        note.found(false, 700, 10800);
        out.push(at(10900, "easing", "landmarks"));
        return out;
    }""")
    none = "No face in the picture"
    assert said == [none, "", none, f"{none}: the avatar rests", none]


def test_figures_are_said_in_words(page):
    said = page.evaluate(
        """async () => { const { inWords } = await import('/app/stats.js');
        return [[30, 90, true], [30, 200, true], [20, 400, true], [8, null, false], [null, null, true],
          [30, 90, false], [20, 90, true, 20], [30, 90, true, null, true], [20, 90, false, 20, true]].map(
            ([fps, glassToGlass, camera, ...full]) => inWords({ fps, glassToGlass }, camera, ...full)); }"""
    )
    assert said == [
        "Smooth; no delay that you would notice",
        "Smooth; a slight delay",
        "A little jerky; a delay that disturbs talking",
        "Jerky: the machine has too much to do",
        "Nothing comes just now",
        "Smooth",
        "Frame rate lowered to 20 for all: the machine is full; no delay that you would notice",
        "Picture coarser, shoulders at rest: the machine is full; no delay that you would notice",
        "Frame rate lowered to 20 for all, picture coarser, shoulders at rest: the machine is full",
    ]
    page.click("#figures")
    wait_js(page, "document.querySelector('#live-figures').textContent.includes('In words')")
    live(page)


def test_how_the_neutral_face_sits_is_said_and_shown(page, server):
    assert page.locator("#sits").is_hidden()
    page.click("#camera")
    wait_js(page, "!document.querySelector('#sits').hidden", 40000)
    wait_js(page, "document.querySelector('#sits-word').textContent.startsWith('Your neutral face')")
    page.click("#camera-off")
    wait_js(page, "document.querySelector('#sits').hidden")
    said = page.evaluate(
        """async () => { const { judge, showSits } = await import('/app/sits.js');
        const tell = (fit, off) => showSits({ calibration: 1, fit, off }, true);
        const wanted = () => document.querySelector('#calibrate').classList.contains('wanted');
        const all = [[null, ""], [0.9, ""], [0.5, "head"], [0.1, "head"], [0.1, "face"]];
        const out = all.map(([fit, off]) => judge(fit, off).text);
        for (let n = 0; n < 3; n += 1) tell(0.1, "head");
        out.push(wanted());
        tell(0.1, "head");
        out.push(wanted(), document.querySelector('#sits-meter').value);
        tell(0.9, "");
        out.push(wanted());
        showSits(null, false);
        return out; }"""
    )
    assert "too little" in said[0]
    assert [line.split(" sits ")[1] for line in said[1:3]] == ["well", "fairly"]
    assert "the camera has moved: calibrate again" in said[3]
    assert "somebody else" in said[4]
    assert said[5:] == [False, True, 0.1, False]
