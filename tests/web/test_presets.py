"""Presets on the page: saved, used, kept, exported and imported. In a real Chromium."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading

import numpy as np
import pytest
from PIL import Image

from realtime.engines import load_engine
from realtime.engines.mesh.motion.code import BODY
from realtime.media.portraits import builtin_portrait, builtin_portraits
from realtime.media.uploads import encode_jpeg
from realtime.presets.folder import PresetFolder
from realtime.presets.preset import parse
from realtime.server.hosting.gallery import GalleryPortrait
from realtime.server.panel import open_panel
from realtime.session.local import Pipeline
from realtime.sources import SourceOptions, open_source
from tests.support import until
from tests.support.page import SIZE, listen, live, only_session, open_page, studio, wait_js
from tests.support.server import running
from tests.web.test_behind import FILES
from tests.web.test_carrying import bring, chosen, own  # noqa: F401

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
SAID = "document.querySelector('#message').textContent"
KEPT = "[...document.querySelectorAll('#preset option')].map(option => option.value)"


def save(page, name: str) -> None:
    page.fill("#preset-name", name)
    page.click("#preset-save")
    wait_js(page, f"{SAID} === '“{name}” is kept.'")


def use(page, name: str) -> None:
    page.select_option("#preset", name)
    page.click("#preset-use")
    wait_js(page, f"{SAID} === '“{name}” is on.'")


def set_all(page, server) -> None:
    """Second portrait, a smile, green, and mirror (whose box is there while the camera is on)."""
    page.locator("#gallery [aria-checked='true']").focus()
    page.keyboard.press("ArrowRight")
    page.focus("#direction-smile")
    page.keyboard.press("End")
    page.select_option("#background", "green")
    page.click("#camera")
    page.click("#mirror")  # not `check`, which looks before the server has answered
    performer = only_session(server).performer
    until(lambda: performer.portrait.id == builtin_portraits()[1] and performer.state().background == "green")
    until(lambda: performer.live.mirror and performer.live.edits.get("smile") == 1.0)
    until(lambda: not performer.state().preparing)


def unset_all(page, server) -> None:
    page.click("#reset")
    page.select_option("#background", "original")
    page.click("#mirror")
    page.locator("#gallery [aria-checked='true']").focus()
    page.keyboard.press("ArrowLeft")
    performer = only_session(server).performer
    until(lambda: performer.portrait.id == builtin_portraits()[0] and not performer.live.edits)
    until(lambda: not performer.live.mirror and performer.state().background == "original")


def is_set(server) -> None:
    performer = only_session(server).performer
    until(lambda: performer.portrait.id == builtin_portraits()[1], what="the portrait")
    until(lambda: performer.state().background == "green" and performer.live.mirror, what="background and mirror")
    until(lambda: performer.live.edits == {"smile": 1.0}, what="the sliders")


def test_a_preset_sets_all_again_also_after_a_reload(page, server):
    assert page.is_disabled("#preset-use")
    set_all(page, server)
    save(page, "work")
    unset_all(page, server)
    save(page, "at rest")
    assert page.evaluate(KEPT) == ["at rest", "work"]
    use(page, "work")
    is_set(server)
    until(lambda: page.is_checked("#mirror"))
    assert page.input_value("#direction-smile") == "1"
    use(page, "at rest")
    until(lambda: not only_session(server).performer.live.edits)
    old = only_session(server).id
    page.reload()
    live(page)
    until(lambda: old not in server.studio.sessions)
    use(page, "work")
    is_set(server)
    page.click("#preset-delete")
    wait_js(page, f"{SAID} === '“work” is deleted.'")
    assert page.evaluate(KEPT) == ["at rest"]


def test_the_neutral_face_is_in_a_preset_and_is_used_when_the_camera_is_on(page, server):
    page.click("#camera")
    until(lambda: only_session(server).performer.face == "tracking")
    page.click("#calibrate")
    wait_js(page, "document.querySelector('#calibration-word').textContent.startsWith('Learnt')")
    page.click("#calibration-done")
    neutral = only_session(server).performer.state().neutral
    neutral[BODY] = [0.0] * len(neutral[BODY])  # since that camera's start
    save(page, "me")
    page.click("#camera-off")
    until(lambda: only_session(server).performer.source == "sample")
    use(page, "me")
    page.wait_for_timeout(300)  # what was sent with it has come
    assert only_session(server).performer.state().neutral is None, "the sample has a neutral face of its own"
    page.click("#camera")
    until(lambda: only_session(server).performer.state().neutral == pytest.approx(neutral, abs=1e-3))


def test_a_file_takes_a_preset_with_its_picture_to_another_browser(page, server, chrome, own, tmp_path):  # noqa: F811
    bring(page, server, own)
    page.focus("#direction-pout")
    page.keyboard.press("End")
    until(lambda: only_session(server).performer.live.edits)
    save(page, "a face")
    with page.expect_download() as download:
        page.click("#preset-export")
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.name == "a face.json"
    preset = parse(file.read_bytes(), file)
    assert (preset.edits, preset.portrait.title) == ({"pout": 1.0}, "me")
    with running(studio()) as elsewhere:
        context = chrome.new_context()
        other = open_page(context, elsewhere)
        listen(other, "#message")
        other.set_input_files("#preset-file", str(file))
        other.wait_for_selector("#consent[open]")
        assert other.is_disabled("#consent-yes"), "whose face it is was asked where it was brought first, not here"
        other.check("#consent-box")
        other.click("#consent-yes")
        wait_js(other, f"{SAID} === '“a face” is on.'")
        performer = only_session(elsewhere).performer
        until(lambda: performer.portrait.title == "me" and performer.live.edits == {"pout": 1.0})
        shown, brought = performer.portrait.image, np.array(Image.open(own).convert("RGB"))
        small = [np.array(Image.fromarray(image).resize((64, 64))).astype(int) for image in (shown, brought)]
        assert np.abs(small[0] - small[1]).mean() < 6
        assert "This is your avatar now." not in other.evaluate("said"), "it would hide what the preset says"
        assert other.evaluate(KEPT) == ["a face"]
        other.click("#delete-portrait")
        until(lambda: performer.portrait.consent is None)
        other.click("#preset-use")
        wait_js(other, f"{SAID} === 'The preset\\'s picture was deleted; all else of it is on.'")
        kept = other.evaluate("localStorage.getItem('avatar.presets')")
        assert "base64" not in kept, "a deleted picture is still in the preset"
        assert other.troubles == []
        context.close()


def data_address(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def test_of_a_file_nothing_is_taken_before_its_face_may_be_used(page, server, own, tmp_path):  # noqa: F811
    beach = encode_jpeg(np.full((120, 200, 3), (200, 60, 30), np.uint8), None, 92)
    preset = {
        "format": "avatar-preset",
        "version": 1,
        "name": "from afar",
        "portrait": {"picture": data_address(own.read_bytes(), "png"), "title": "afar"},
        "edits": {"smile": 1.0},
        "background": "own",
        "own_background": data_address(beach, "jpeg"),
    }
    file = tmp_path / "afar.json"
    file.write_text(json.dumps(preset))
    performer = only_session(server).performer
    page.set_input_files("#preset-file", str(file))
    page.wait_for_selector("#consent[open]")
    page.click("#consent button[value=no]")
    wait_js(page, f"{SAID} === 'Nothing was taken from that file.'")
    assert (page.evaluate(KEPT), page.evaluate(FILES)) == ([""], [])
    assert (performer.portrait.consent, dict(performer.live.edits)) == (None, {})
    page.set_input_files("#preset-file", str(file))
    page.wait_for_selector("#consent[open]")
    page.check("#consent-box")
    page.click("#consent-yes")
    wait_js(page, f"{SAID} === '“from afar” is on.'")
    until(lambda: performer.portrait.title == "afar" and performer.live.edits == {"smile": 1.0})
    until(lambda: performer.choice.shown.behind.name == "own", what="the background")
    assert performer.choice.shown.behind.own.source == beach
    (key,) = page.evaluate(FILES)
    kept = page.evaluate("localStorage.getItem('avatar.presets')")
    assert f"kept:{key}" in kept
    assert "base64" not in kept


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not json", "the preset: is not JSON at line 1; a preset is the file that the page's Export writes"),
        ('{"format": "avatar-preset", "version": 3}', "is a preset of version 3; this program reads version 1"),
        ('{"format": "avatar-preset", "version": 1, "name": "x", "mirror": "yes"}', "mirror is true or false"),
        ('{"format": "avatar-preset", "version": 1, "name": "<b>"}', "name takes letters, digits"),
    ],
)
def test_a_bad_file_is_refused_in_words(chrome, server, tmp_path, text, said):
    context = chrome.new_context()
    page = open_page(context, server)
    file = tmp_path / "bad.json"
    file.write_text(text)
    page.set_input_files("#preset-file", str(file))
    wait_js(page, f"{SAID}.includes({json.dumps(said)})")
    assert page.evaluate(KEPT) == [""]
    context.close()
    until(lambda: not server.studio.sessions)


@contextlib.contextmanager
def panel(folder):
    """The panel of a running avatar: its link, and the pipeline."""
    engine = load_engine("mesh", size=SIZE)
    engine.set_portrait(builtin_portrait())
    portraits = [GalleryPortrait(name, name.capitalize(), builtin_portrait(name)) for name in builtin_portraits()[:2]]
    links: list[str] = []
    with open_panel(engine, portraits, 30.0, 0, links.append, presets=folder) as player:
        driving = open_source("motion:builtin", SourceOptions(loop=True))
        pipeline = Pipeline(driving, engine, [player.sink])
        player.control = pipeline.control
        thread = threading.Thread(target=lambda: asyncio.run(pipeline.run()))
        thread.start()
        try:
            yield links[0].rstrip("/"), pipeline, player
        finally:
            pipeline.control.stop()
            for work in (thread, *(each for each in threading.enumerate() if each.name == "avatar-aside")):
                work.join(60)
            engine.close()


def test_a_panel_keeps_presets_on_its_machine(chrome, tmp_path):
    folder = PresetFolder(tmp_path / "presets")
    for beginning in (True, False):  # the camera ends, and is started again; another browser looks
        with panel(folder) as (url, pipeline, player):
            context = chrome.new_context(viewport={"width": 1280, "height": 860})
            page = open_page(context, type("Server", (), {"url": url}))
            if beginning:
                page.focus("#direction-smile")
                page.keyboard.press("End")
                page.select_option("#background", "blur")
                page.locator("#gallery [aria-checked='true']").focus()
                page.keyboard.press("ArrowRight")
                until(lambda: player.state().portrait == builtin_portraits()[1])
                until(lambda: dict(pipeline.control.live.edits) == {"smile": 1.0})
                save(page, "work")
                assert folder.load("work").portrait.id == builtin_portraits()[1]
            else:
                wait_js(page, f"{KEPT}.join() === 'work'")
                use(page, "work")
                until(lambda: dict(pipeline.control.live.edits) == {"smile": 1.0})
                until(lambda: player.state().portrait == builtin_portraits()[1])
                assert player.state().background == "blur"
                page.click("#preset-delete")
                until(lambda: folder.names == [])
            assert page.troubles == []
            context.close()
