"""`avatar run --preset`: what a page kept is what is shown."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import numpy as np
import pytest

from realtime.cli import run
from realtime.commands.wearing import NONE, behind_of, neutral_of, parse_behind, portrait_of
from realtime.engines import load_engine
from realtime.errors import BadPortrait, BadValue
from realtime.families import FAMILIES
from realtime.media.backdrop import Keyed
from realtime.media.backgrounds import Behind
from realtime.media.pictures import write_picture
from realtime.media.portraits import builtin_portrait
from realtime.media.uploads import encode_jpeg
from realtime.presets.folder import PresetFolder
from realtime.presets.preset import Calibration, Preset, PresetPortrait, dump
from realtime.session.local import Pipeline
from realtime.sinks import SinkOptions, open_sink
from tests.media.test_backdrop import clip
from tests.support import FAKE_FAMILY, FakeEngine, ListSource, plain

FAKE = ["--engine", "fake", "--size", "64", "--sink", "null", "--source", "motion:builtin"]


@pytest.fixture
def seen(tmp_path: Path, monkeypatch) -> list:
    """Every pipeline that a run makes; it is not run."""
    monkeypatch.setenv("AVATAR_HOME", str(tmp_path / "home"))
    monkeypatch.setitem(FAMILIES, "fake", FAKE_FAMILY)
    made: list[Pipeline] = []
    monkeypatch.setattr("realtime.commands.run.run_session", lambda pipeline, *_: made.append(pipeline))
    monkeypatch.setattr("realtime.commands.run.open_source", lambda *_: ListSource([plain(100)]))
    monkeypatch.chdir(tmp_path)
    return made


def test_a_kept_preset_and_a_file_of_it_give_the_same(seen, tmp_path):
    picture = encode_jpeg(plain((200, 40, 90), 96, 96), None, 95)
    preset = Preset(
        "work",
        PresetPortrait(picture=picture, title="me"),
        {"smile": 0.25, "yaw": 4.0},
        {"head": 0.5},
        hold_gaze=True,
        mirror=True,
        calibration=Calibration("fake", (0.1, 0.2, 0.3)),
    )
    PresetFolder().save(preset)
    Path("work.json").write_text(dump(preset))
    for spec in ("work", "work.json"):
        assert run(["run", *FAKE, "--preset", spec, "--set", "smile=-0.5", "--quiet"]) == 0
        pipeline = seen.pop()
        live = pipeline.control.live
        assert dict(live.edits) == {"smile": -0.5, "yaw": 4.0}, "what is given goes before it"
        assert (dict(live.amplitude), live.hold_gaze, live.mirror) == ({"head": 0.5}, True, True)
        assert pipeline.control.take_recalibrate().neutral.values == pytest.approx([0.1, 0.2, 0.3])
        assert np.abs(pipeline.engine._portrait[0, 0].astype(int) - (200, 40, 90)).max() < 6


def test_what_cannot_be_worn_is_said(seen, capsys):
    PresetFolder().save(Preset("there", PresetPortrait("given-0")))
    for words, said in (
        (["--preset", "there"], "its portrait 'given-0' is on a server alone; give --portrait"),
        (["--preset", "their"], "there is no preset called 'their'. Did you mean 'there'?"),
        (["--preset", "no.json"], "no.json: no such file"),
        (["--preset", "../etc/passwd"], "../etc/passwd: no such file"),
    ):
        assert run(["run", *FAKE, *words]) == 2
        assert said in capsys.readouterr().err
    assert not seen


def test_the_neutral_face_of_another_engine_is_left_out():
    engine = FakeEngine()
    assert neutral_of(NONE, engine) is None
    assert neutral_of(Preset("x", calibration=Calibration("mesh", (1.0, 2.0, 3.0))), engine) is None
    assert neutral_of(Preset("x", calibration=Calibration("fake", (1.0,))), engine) is None


def test_the_neutral_face_of_an_earlier_release_is_kept():
    engine = load_engine("mesh", size=128)
    engine.set_portrait(builtin_portrait("astronaut"))
    neutral = neutral_of(Preset("x", calibration=Calibration("mesh", tuple(range(87)))), engine)
    assert neutral is not None
    np.testing.assert_array_equal(neutral.values, [*range(87), *[0] * (len(neutral.values) - 87)])


def test_a_picture_that_is_none_is_refused():
    assert portrait_of(NONE).builtin
    with pytest.raises(BadPortrait, match="not a PNG"):
        portrait_of(Preset("x", PresetPortrait(picture=base64.b64decode("AAAA"))))
    with pytest.raises(BadValue):
        portrait_of(Preset("x", PresetPortrait("elsewhere")))


async def test_a_neutral_face_that_is_brought_is_used_from_the_first_frame():
    engine = FakeEngine()
    engine.set_portrait(plain(128, 64, 64))
    pipeline = Pipeline(ListSource([plain(150)] * 8, fps=60), engine, [open_sink("null", SinkOptions())])
    neutral = engine.portrait_code.with_values(np.array([0.25, 0.5, 0.75]))
    pipeline.control.recalibrate(neutral)
    await asyncio.wait_for(pipeline.run(), 20)
    assert pipeline.control.calibration == 1.0
    assert pipeline.control.neutral.values == pytest.approx(neutral.values)


def test_a_background_is_given_by_name_strength_or_picture(seen, tmp_path, capsys):
    write_picture(tmp_path / "beach.png", plain((10, 200, 30)))
    assert parse_behind("blur") == Behind("blur")
    assert parse_behind("blur:2.5") == Behind("blur", 2.5)
    behind = parse_behind("beach.png")
    assert (behind.name, behind.own.moving, behind.common) == ("own", False, False)
    corner = behind.of(builtin_portrait())[:10, :10].reshape(-1, 3).mean(0)
    assert corner == pytest.approx((10, 200, 30), abs=3)
    PresetFolder().save(Preset("green", background="green"))
    for words in (["--preset", "green", "--background", "beach.png"], ["--background", "beach.png"]):
        assert run(["run", *FAKE, *words, "--quiet"]) == 0
        colour = seen.pop().engine._portrait[0, 0].astype(int)
        assert colour[1] > colour[0] + 20, "before green sand"
    for spec, said in (
        ("blur:9", "at most 4"),
        ("blur:x", "as in blur:2"),
        ("beech", "original, green, blur, blur:2, or the file of a picture or a clip"),
        ("beech.png", "beech.png: no such file"),
    ):
        assert run(["run", *FAKE, "--background", spec]) == 2
        assert said in capsys.readouterr().err


def test_a_clip_as_a_background_is_played_behind_each_picture(seen, tmp_path, capsys):
    (tmp_path / "waves.mp4").write_bytes(clip([(200, 30, 30), (30, 30, 200)], seconds=1))
    (tmp_path / "cut.mp4").write_bytes(clip([(200, 30, 30)], seconds=1)[:100])
    assert run(["run", *FAKE, "--background", "waves.mp4", "--quiet"]) == 0
    pipeline = seen.pop()
    assert isinstance(pipeline.keyed, Keyed)
    assert pipeline.keyed.clip.seconds == pytest.approx(1.0, abs=0.1)
    assert run(["run", *FAKE, "--background", "cut.mp4"]) == 2
    assert "cut.mp4: the clip cannot be decoded" in capsys.readouterr().err


def test_a_preset_brings_its_background_and_its_shape(seen, tmp_path, monkeypatch):
    write_picture(tmp_path / "beach.png", plain((10, 200, 30), 96, 96))
    file = (tmp_path / "beach.png").read_bytes()
    PresetFolder().save(Preset("beach", background="own", own_background=file, shape="16:9"))
    assert behind_of(PresetFolder().load("beach")).own.source == file
    wanted: list = []
    monkeypatch.setattr("realtime.commands.run.make_engine", lambda settings, *_, **__: wanted.append(settings.size))
    bare = ["run", "--sink", "null", "--source", "motion:builtin", "--preset", "beach"]
    for words in ([], ["--size", "64"]):
        run([*bare, *words])
    assert wanted == [(910, 512), 64]
