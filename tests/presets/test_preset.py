"""The file of a preset, and where presets are kept."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import BadFile, BadValue, UnknownName
from realtime.presets.folder import MOST, PresetFolder, find
from realtime.presets.preset import Calibration, Preset, PresetPortrait, check_name, dump, parse
from realtime.settings import Live

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pages" / "presets.md"
FULL = Preset(
    "work",
    PresetPortrait(picture=b"\xff\xd8 a picture", title="me"),
    {"smile": 0.25},
    {"head": 0.7},
    hold_gaze=True,
    mirror=True,
    background="blur",
    blur=1.5,
    shape="16:9",
    calibration=Calibration("mesh", (0.5, -2.0)),
)
LEAST = {"format": "avatar-preset", "version": 1, "name": "x"}


def test_a_preset_comes_back_as_it_was():
    assert parse(dump(FULL)) == FULL
    assert parse(dump(Preset("plain"))) == Preset("plain")


def test_the_page_shows_a_preset_and_all_its_fields():
    shown = re.search(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    assert parse(shown).portrait == PresetPortrait("countess")
    assert set(json.loads(shown)) == set(json.loads(dump(FULL)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "x"}, 'does not say "format": "avatar-preset"'),
        ({"version": 2}, "version 2; this program reads version 1: update this program"),
        ({"version": "1"}, "version '1'"),
        ({"name": None}, "name takes letters"),
        ({"name": "../../etc/passwd"}, "name takes letters"),
        ({"edits": {"smile": "high"}}, "edits.smile is a number"),
        ({"edits": {"smile": float("nan")}}, "edits.smile is a number"),
        ({"edits": {"smile": True}}, "edits.smile is a number"),
        ({"edits": [1]}, "edits is an object"),
        ({"mirror": 1}, "mirror is true or false"),
        ({"background": "beach"}, "background is one of original, green, blur, own"),
        ({"blur": 0}, "blur is a number above 0, at most 4"),
        ({"shape": "2:1"}, "shape is one of 1:1, 16:9"),
        (
            {"own_background": "http://elsewhere/beach.mp4"},
            "own_background is a picture or a clip as a data: address",
        ),
        ({"portrait": {}}, "portrait has an id or a picture"),
        ({"portrait": {"id": "a", "picture": "b"}}, "portrait has an id or a picture"),
        ({"portrait": {"picture": "http://elsewhere/me.jpg"}}, "portrait.picture is a picture as a data: address"),
        ({"portrait": {"picture": "data:image/jpeg;base64,a"}}, "portrait.picture is cut off or damaged"),
        ({"portrait": {"id": "a", "size": 3}}, "portrait.size is no field"),
        ({"calibration": {"engine": "mesh", "neutral": []}}, "calibration.neutral is a list"),
        ({"calibration": {"engine": "mesh", "neutral": [1, "2"]}}, "calibration.neutral[1] is a number"),
        ({"colour": "red"}, "colour is no field of a preset of version 1"),
    ],
)
def test_what_is_wrong_is_said_with_its_field(change, said):
    with pytest.raises(BadFile, match=re.escape(said)):
        parse(json.dumps(LEAST | change), "look.json")


def test_what_is_no_preset_at_all_is_said_too():
    for text, said in (("{", "is not JSON at line 1"), (b"\xff\xfe\x00", "is not JSON"), ("[]", "is no preset")):
        with pytest.raises(BadFile, match=said):
            parse(text, "look.json")
    with pytest.raises(BadFile, match="larger than a preset may be"):
        parse(b" " * (12 * 1024 * 1024 + 1))
    with pytest.raises(BadFile, match="name is missing"):
        parse('{"format": "avatar-preset", "version": 1}')


leaves = st.none() | st.booleans() | st.floats() | st.text(max_size=8) | st.just("data:image/png;base64,AAAA")
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner))
fields = st.sampled_from(
    ["name", "portrait", "edits", "amplitude", "hold_gaze", "mirror", "background", "calibration"]
)


@given(st.dictionaries(fields, values))
def test_any_file_is_a_preset_or_a_sentence(data):
    with contextlib.suppress(BadFile):
        assert isinstance(parse(json.dumps(LEAST | data)), Preset)


@pytest.mark.parametrize("name", ["", " ", ".hidden", "a/b", "a\\b", "a\0b", "..", "x" * 41, 3, None, "-rf"])
def test_names_that_could_lead_elsewhere_are_refused(name):
    with pytest.raises(BadValue):
        check_name(name)


def test_presets_are_kept_found_and_forgotten(tmp_path, monkeypatch):
    monkeypatch.setenv("AVATAR_HOME", str(tmp_path))
    folder = PresetFolder()
    assert folder.names == []
    folder.save(FULL)
    folder.save(Preset("Zoë (left)"))
    assert PresetFolder().names == ["work", "Zoë (left)"]
    assert find("work") == FULL
    path = tmp_path / "out.json"
    path.write_text(dump(FULL))
    assert find(str(path)) == FULL
    with pytest.raises(UnknownName, match="Did you mean 'work'"):
        find("wrok")
    with pytest.raises(BadFile, match="no such file"):
        find("wrok.json")
    folder.remove("work")
    with pytest.raises(UnknownName):
        folder.remove("work")
    assert {path.parent for path in tmp_path.rglob("*") if path.is_file()} == {tmp_path, tmp_path / "presets"}


def test_a_folder_that_is_full_says_so(tmp_path):
    folder = PresetFolder(tmp_path)
    for n in range(MOST):
        folder.save(Preset(f"p{n}"))
    folder.save(Preset("p0", mirror=True))
    with pytest.raises(BadFile, match="delete one first"):
        folder.save(Preset("one more"))


def test_what_is_given_goes_before_the_preset():
    live = FULL.over(Live(edits={"smile": -0.1, "blink": 0.2}, absolute=True))
    assert live.edits == {"smile": -0.1, "blink": 0.2}
    assert live.amplitude == {"head": 0.7}
    assert live.hold_gaze
    assert live.mirror
    assert live.absolute


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (b"\xff\xd8 a picture", "image/jpeg"),
        (b"\0\0\0\x20ftypisom", "video/mp4"),
        (b"\x1a\x45\xdf\xa3", "video/webm"),
    ],
)
def test_a_background_of_ones_own_comes_back_as_it_was(file, kind):
    preset = Preset("beach", background="own", own_background=file)
    assert json.loads(dump(preset))["own_background"].startswith(f"data:{kind};base64,")
    assert parse(dump(preset)) == preset


def test_a_picture_in_a_file_is_base64():
    address = json.loads(dump(FULL))["portrait"]["picture"]
    assert base64.b64decode(address.partition(",")[2]) == FULL.portrait.picture


def test_a_preset_that_could_not_be_read_again_is_not_kept(tmp_path):
    folder = PresetFolder(tmp_path)
    picture = b"\xff\xd8" + bytes(5 * 2**20)
    large = Preset("large", PresetPortrait(picture=picture), background="own", own_background=picture)
    with pytest.raises(BadFile, match="background and its portrait together are too large"):
        folder.save(large)
    assert folder.names == []


@pytest.mark.parametrize("kind", ["video/x-matroska", "image/svg+xml", "application/octet-stream"])
def test_a_background_is_taken_whatever_a_browser_calls_it(kind):
    data = json.loads(dump(Preset("beach", background="own", own_background=b"\x1a\x45\xdf\xa3")))
    data["own_background"] = data["own_background"].replace("video/webm", kind)
    assert parse(json.dumps(data)).own_background == b"\x1a\x45\xdf\xa3"
