"""One's own pictures on the page, in a real Chromium: of any kind, any way up, with two faces, cropped, turned."""

from __future__ import annotations

import io

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from realtime.face.upright import box, look
from realtime.media.portraits import builtin_portrait
from tests.support import until
from tests.support.page import live, only_session, wait_js

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
SIDE = 320
LOOKED = "!document.querySelector('#consent-picture').hidden"


def face(mirrored: bool = False) -> Image.Image:
    picture = Image.fromarray(builtin_portrait()).resize((SIDE, SIDE))
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else picture


def coded(picture: Image.Image, kind: str) -> bytes:
    out = io.BytesIO()
    pillow_heif.register_heif_opener()
    if kind == "GIF":
        picture.save(out, kind, save_all=True, append_images=[Image.new("RGB", picture.size)] * 2)
    else:
        picture.save(out, kind)
    return out.getvalue()


def choose(page, data: bytes, name: str) -> None:
    page.set_input_files("#file", {"name": name, "mimeType": "", "buffer": data})
    page.wait_for_selector("#consent[open]")
    wait_js(page, LOOKED)


def take(page) -> None:
    page.check("#consent-box")
    page.click("#consent-yes")
    wait_js(page, "document.querySelector('#message').textContent === 'This is your avatar now.'")


def shown(server) -> np.ndarray:
    return only_session(server).performer.portrait.image


def brightness(page) -> float:
    """Of the preview's middle."""
    return page.evaluate(
        """() => { const c = document.querySelector('#consent-picture');
        const d = c.getContext('2d').getImageData(c.width / 2 - 10, c.height / 2 - 10, 20, 20).data;
        return d.reduce((a, b) => a + b, 0) / d.length; }"""
    )


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "GIF", "TIFF"])
def test_pictures_of_any_kind_have_a_preview_and_become_portraits(page, server, kind):
    choose(page, coded(face(), kind), f"me.{kind.lower()}")
    assert brightness(page) > 80
    take(page)
    assert shown(server).shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_picture_that_lies_on_its_side_is_set_upright(page, server, turns):
    on_its_side = Image.fromarray(np.ascontiguousarray(np.rot90(np.asarray(face()), turns)))
    choose(page, coded(on_its_side, "PNG"), "me.png")
    assert page.inner_text("#consent-word") == "It lay on its side and is set upright."
    take(page)
    assert np.abs(shown(server).astype(int) - np.asarray(face()).astype(int)).mean() < 8


def test_of_two_faces_one_is_asked_for(page, server):
    two = Image.new("RGB", (2 * SIDE, SIDE))
    two.paste(face(), (0, 0))
    two.paste(face(mirrored=True), (SIDE, 0))
    choose(page, coded(two, "JPEG"), "us.jpg")
    page.check("#consent-box")
    assert page.is_visible("#consent-faces")
    assert page.locator("#consent-faces input").count() == 2
    assert page.is_disabled("#consent-yes"), "it is not said which"
    page.check("#consent-faces label:nth-of-type(2) input")
    take(page)
    picture = shown(server)
    assert picture.shape[0] == picture.shape[1] <= SIDE
    right = np.asarray(two)[:, SIDE:]
    assert abs(float(picture.mean()) - float(right.mean())) < 40


def settled(page, can_be_used: bool) -> None:
    """The dialog has looked, and says whether the picture can be used."""
    wait_js(page, "document.querySelector('#consent-word').textContent !== 'Looking at the picture'")
    until(lambda: page.is_enabled("#consent-yes") is can_be_used)


def test_a_face_that_the_border_cuts_is_refused_in_words(page, server):
    left, _top, width, _height = box(look(np.asarray(face())).faces[0])
    cut = face().crop((round(left + 0.25 * width), 0, SIDE, SIDE))
    choose(page, coded(cut, "PNG"), "me.png")
    assert "border cuts" in page.inner_text("#consent-word")
    page.check("#consent-box")
    assert page.is_disabled("#consent-yes")
    assert page.evaluate("parseFloat(getComputedStyle(document.querySelector('#consent-word')).fontSize)") >= 15
    page.click("#consent button[value=no]")
    assert page.locator("#gallery [role=radio]").count() == 2, "what was refused is not kept"


def test_a_picture_without_a_face_cannot_be_used(page):
    choose(page, coded(Image.new("RGB", (SIDE, SIDE), (90, 110, 140)), "PNG"), "wall.png")
    assert "No face" in page.inner_text("#consent-word")
    page.check("#consent-box")
    assert page.is_disabled("#consent-yes")
    page.click("#turn-left")
    settled(page, can_be_used=False)
    page.click("#consent button[value=no]")


def test_a_crop_that_cuts_the_face_cannot_be_used_until_it_shows_all_of_it(page):
    choose(page, coded(face(), "PNG"), "me.png")
    page.check("#consent-box")
    settled(page, can_be_used=True)
    page.fill("#crop-zoom", "3.5")
    settled(page, can_be_used=False)
    assert page.inner_text("#consent-word") not in ("", "Looking at the picture")
    page.fill("#crop-zoom", "1")
    settled(page, can_be_used=True)
    assert page.inner_text("#consent-word") == ""
    page.click("#consent button[value=no]")


def test_what_the_server_refuses_is_said_without_a_prefix(page, server):
    """Who is quicker than the dialog, or has another page: the server judges."""
    session = only_session(server).id
    said = page.evaluate(
        """async session => { const { upload } = await import('/app/uploads.js');
        const c = document.createElement('canvas');
        c.width = c.height = 320;
        const blob = await new Promise(resolve => c.toBlob(resolve));
        return upload(session, blob, 'x').then(() => '', error => error.message); }""",
        session,
    )
    assert said.startswith("It cannot be a portrait: no human face")
    page.troubles.clear()  # the browser notes the refused request


def test_a_portrait_is_cropped_and_turned_afterwards(page, server):
    choose(page, coded(face(), "PNG"), "me.png")
    take(page)
    page.click("#edit-portrait")
    wait_js(page, LOOKED)
    assert page.is_enabled("#consent-yes"), "it was asked before"
    page.focus("#crop-zoom")
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    page.click("#consent-yes")
    until(lambda: shown(server).shape[0] == round(SIDE / 1.3), what="it is as it was")
    wait_js(page, "document.querySelectorAll('#gallery [role=radio]').length === 3")
    until(lambda: len(only_session(server).performer.gallery.infos("")) == 3, what="the server has the old one still")


def test_the_picture_is_turned_by_hand(page, server):
    wide = Image.new("RGB", (SIDE + 80, SIDE), "white")
    wide.paste(face(), (40, 0))
    choose(page, coded(wide, "PNG"), "me.png")
    page.click("#turn-left")
    size = page.evaluate(
        "[document.querySelector('#consent-picture').width, document.querySelector('#consent-picture').height]"
    )
    assert size[0] < size[1]
    page.click("#turn-right")
    take(page)
    assert shown(server).shape == (SIDE, SIDE + 80, 3)


KEPT_VIEWS = "import('/app/keep.js').then(keep => keep.kept()).then(all => all.map(one => one.views?.length ?? 0))"
ONE_VIEW = "import('/app/views.js').then(({ ViewsRow }) => new ViewsRow().show([{key: '', image: ''}], 0, new Set()))"


def views(server) -> int:
    return len(only_session(server).performer.portrait.views)


def test_another_view_of_the_person_is_added_kept_and_removed(page, server):
    assert not page.is_visible("#add-view"), "whose view should it be?"
    choose(page, coded(face(), "PNG"), "me.png")
    take(page)
    page.set_input_files("#view-file", {"name": "left.png", "mimeType": "", "buffer": coded(face(True), "PNG")})
    page.wait_for_selector("#consent[open]")
    wait_js(page, LOOKED)
    assert page.inner_text("#consent-title") == "Another view of the same person"
    assert page.is_disabled("#consent-yes"), "nobody said that this face may be used"
    page.check("#consent-box")
    page.click("#consent-yes")
    wait_js(page, "document.querySelector('#message').textContent.startsWith('The view is added')")
    assert (views(server), page.evaluate(KEPT_VIEWS)) == (1, [1])
    old = only_session(server).id
    page.reload()
    live(page)
    until(lambda: old not in server.studio.sessions)
    until(lambda: views(server) == 1, what="the view was not brought to the new session")
    page.wait_for_selector("#views-list [aria-busy='false']")
    page.focus("[aria-label='Remove view 1']")
    page.keyboard.press("Enter")
    until(lambda: views(server) == 0)
    wait_js(page, "document.querySelector('#views-list').hidden")
    assert page.evaluate("document.activeElement.id") == "add-view", "the focus is lost"
    assert page.evaluate(KEPT_VIEWS) == [0]
    page.evaluate(ONE_VIEW)
    assert "takes one picture" in page.inner_text("#views-word")
    assert not page.is_visible("#add-view")
