"""A background of one's own and the shape of the picture, on the page. In a real Chromium."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from realtime.engines import load_engine
from tests.media.test_backdrop import clip
from tests.support import until
from tests.support.browser import picture_of
from tests.support.page import SIZE, live, only_session, studio, wait_js
from tests.support.server import running

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

RED, BLUE = (200, 60, 30), (30, 60, 200)
FILES = "import('/app/keep.js').then(keep => keep.backgrounds()).then(all => all.map(({ key }) => key))"
WIDE = "(() => { const v = document.querySelector('#avatar'); return v.videoWidth > 1.7 * v.videoHeight })()"


@pytest.fixture(scope="module")
def server():
    with running(studio(lambda: load_engine("mesh", size=SIZE, live=True))) as server:
        yield server


@pytest.fixture
def beach(tmp_path):
    path = tmp_path / "beach.png"
    Image.fromarray(np.full((120, 200, 3), RED, np.uint8)).save(path)
    return path


def corner(page) -> np.ndarray:
    """The colour above the avatar's shoulder."""
    return picture_of(page)[60:70, 4:14].reshape(-1, 3).mean(axis=0)


def reds(page) -> bool:
    colour = corner(page)
    return bool(colour[0] > 140 and colour[1] < 90)


def bring(page, path) -> None:
    page.set_input_files("#background-file", str(path))
    wait_js(page, "document.querySelector('#background').value === 'own'", 60000)
    wait_js(page, """localStorage.getItem('avatar.wishes')?.includes('"background":"own"')""", 60000)  # it is kept


def test_a_picture_lies_behind_and_is_there_after_a_reload(page, server, beach):
    bring(page, beach)
    until(lambda: reds(page), 60, "it is not behind the avatar")
    page.reload()
    live(page)
    until(lambda: only_session(server).performer.choice.shown.behind.name == "own", 60, "it was not brought again")
    until(lambda: reds(page), 60)
    page.select_option("#background", "original")
    until(lambda: not reds(page), 60)
    page.select_option("#background", "own")
    until(lambda: reds(page), 60)


def test_a_clip_moves(page, tmp_path):
    path = tmp_path / "waves.mp4"
    path.write_bytes(clip([RED, BLUE], 3.0))
    bring(page, path)
    until(lambda: reds(page), 60)
    until(lambda: corner(page)[2] > 140 > corner(page)[0], 60, "the clip stands still")
    until(lambda: reds(page), 60, "it does not go round")


def test_what_is_no_picture_is_said_and_nothing_changes(page, tmp_path):
    path = tmp_path / "letter.mp4"
    path.write_bytes(b"hello")
    page.set_input_files("#background-file", str(path))
    wait_js(page, "document.querySelector('#message').textContent.startsWith('That cannot be a background')")
    assert page.input_value("#background") == "original"
    page.troubles[:] = [line for line in page.troubles if "400" not in line]


def test_the_blur_has_a_strength(page, server):
    assert page.locator("#blur-row").is_hidden()
    page.select_option("#background", "blur")
    page.wait_for_selector("#blur-row", state="visible")
    page.locator("#blur").fill("3")
    until(lambda: only_session(server).performer.choice.shown.behind.strength == 3.0, 60)
    page.reload()
    live(page)
    until(lambda: only_session(server).performer.choice.shown.behind.strength == 3.0, 60, "it is forgotten")


def test_the_shape_is_changed_on_the_page_and_in_the_view(page, server):
    page.select_option("#shape", "16:9")
    wait_js(page, WIDE, 60000)
    assert page.text_content("#view-size") == "456 x 256"
    stage = page.locator("#stage").bounding_box()
    assert stage["width"] == pytest.approx(stage["height"] * 456 / 256, rel=0.02)
    view = page.context.new_page()
    view.goto(page.get_attribute("#open-view", "href"))
    wait_js(view, WIDE, 60000)
    view.close()
    page.reload()
    live(page)
    wait_js(page, WIDE, 60000)
    assert page.input_value("#shape") == "16:9"


def test_a_preset_keeps_background_and_shape_and_its_file_the_picture(page, server, beach, tmp_path):
    bring(page, beach)
    page.select_option("#shape", "9:16")
    page.fill("#preset-name", "beach")
    page.click("#preset-save")
    wait_js(page, "document.querySelector('#preset').value === 'beach'")
    page.select_option("#background", "original")
    page.select_option("#shape", "")
    until(lambda: only_session(server).performer.choice.shown.shape == "", 60)
    page.click("#preset-use")
    until(lambda: only_session(server).performer.choice.shown.behind.name == "own", 60)
    until(lambda: only_session(server).performer.choice.shown.shape == "9:16", 60)
    with page.expect_download() as download:
        page.click("#preset-export")
    file = tmp_path / "beach.json"
    download.value.save_as(file)
    written = json.loads(file.read_text())
    assert written["own_background"].startswith("data:image/png;base64,")
    assert (written["background"], written["shape"]) == ("own", "9:16")
    page.click("#preset-delete")
    wait_js(page, "document.querySelector('#preset').value === ''")
    page.select_option("#background", "green")
    until(lambda: only_session(server).performer.choice.shown.behind.name == "green", 60)
    page.set_input_files("#preset-file", str(file))
    until(lambda: only_session(server).performer.choice.shown.behind.name == "own", 60, "the file's was not taken")
    assert len(page.evaluate(FILES)) == 2, "the browser keeps the one brought first, and the file's"
    page.click("#preset-delete")
    wait_js(page, "document.querySelector('#preset').value === ''")
    until(lambda: len(page.evaluate(FILES)) == 1, what="what no preset and no choice names is kept")
    (last,) = page.evaluate(FILES)
    page.set_input_files("#background-file", str(beach))
    until(lambda: len(left := page.evaluate(FILES)) == 1 and left != [last], what="the one before it is kept as well")
