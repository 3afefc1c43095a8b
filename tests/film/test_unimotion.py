"""`avatar animate --engine unimotion` and `avatar inspect` with tiny networks of random weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from realtime import cli  # noqa: E402
from realtime.engines.unimotion.driving import boxes_of, tokens_of  # noqa: E402
from realtime.engines.unimotion.network import UniMotion, UniMotionConfig  # noqa: E402
from realtime.engines.unimotion.weights import load_unimotion, save_unimotion  # noqa: E402
from realtime.errors import BadFile  # noqa: E402
from realtime.film import MAKERS, Job, open_maker  # noqa: E402
from realtime.media.pictures import read_picture, write_picture  # noqa: E402
from realtime.motion.track import MotionTrack  # noqa: E402
from realtime.training.data import puppets  # noqa: E402
from tests.support.driving import write_clip  # noqa: E402
from tests.support.training import one_thread  # noqa: E402, F401 (fixtures)

SIZES = UniMotionConfig(
    size=32,
    crop=16,
    body=8,
    hand=4,
    face=4,
    eye=8,
    width=16,
    heads=2,
    decoder=1,
    dit_width=16,
    dit_layers=1,
    detail=4,
)
FRAMES = 20


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AVATAR_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def weights(tmp_path) -> Path:
    torch.manual_seed(0)
    save_unimotion(UniMotion(SIZES), tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


@pytest.fixture
def place(tmp_path) -> Path:
    """A reference, a driver's clip."""
    rng = np.random.default_rng(0)
    who, driver = puppets.draw_character(rng), puppets.draw_character(rng)
    at = puppets.Place(0.85, 0.5, 0.95, 1)
    write_picture(tmp_path / "me.png", puppets.render(who, puppets.draw_pose(rng), at, 64).picture)
    frames = [puppets.render(driver, pose, at, 64).picture for pose in puppets.moving(rng, FRAMES)]
    write_clip(tmp_path / "driver.mp4", frames, sound=True)
    return tmp_path


def animate(*more: str) -> int:
    return cli.run(["animate", "me.png", "--engine", "unimotion", "--device", "cpu", "--size", "64x64", *more])


def drawn(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


CLIP = ("--driving", "driver.mp4", "--weights", "weights.safetensors", "--steps", "2")


def test_a_film_with_the_clips_sound_and_its_tokens_as_a_track(weights, place, capsys):
    assert animate(*CLIP, "-o", "out.mp4", "--keep") == 0
    assert f"{FRAMES} frames" in capsys.readouterr().out
    film = drawn(place / "out.mp4")
    assert len(film) == FRAMES
    assert film[0].shape == (64, 64, 3)
    with av.open("out.mp4") as opened:
        assert opened.streams.audio
    track = MotionTrack.load(place / "out.film" / "prepared" / "tokens.motion")
    assert (track.kind, len(track), track.values.shape[1]) == ("unimotion", FRAMES, SIZES.tokens)
    assert np.abs(track.values).max() <= 1
    assert {track.names[0], track.names[8], track.names[12], track.names[16]} == {
        "body 0", "right hand 0", "left hand 0", "face 0",
    }  # fmt: skip


def test_a_track_drives_as_its_clip_did(weights, place, capsys):
    assert animate(*CLIP, "-o", "out.mp4", "--keep", "-q") == 0
    shutil.copy(place / "out.film" / "prepared" / "tokens.motion", place / "dance.motion")
    by_track = ("--driving", "dance.motion", *CLIP[2:])
    assert animate(*by_track, "-o", "again.mp4", "-q") == 0
    said = capsys.readouterr().err
    assert "sound" not in said
    assert all(
        np.array_equal(a, b) for a, b in zip(drawn(place / "out.mp4"), drawn(place / "again.mp4"), strict=True)
    )
    assert animate(*by_track, "--fps", "10", "-o", "other.mp4") == 2
    assert "its own rate" in capsys.readouterr().err


def test_weights_are_read_for_their_checksum_once_to_prepare_and_once_to_make(weights, place, monkeypatch):
    from realtime.film import unimotion

    of, read = unimotion.sha256_of, []
    monkeypatch.setattr(unimotion, "sha256_of", lambda path: read.append(Path(path).name) or of(path))
    job = Job(read_picture("me.png"), place / "driver.mp4", weights=str(weights), device="cpu", size="64x64", steps=1)
    maker = open_maker("unimotion")
    maker.prepare(job, place / "work", lambda *of: None)
    assert read.count(weights.name) == 1
    maker.make(job, place / "work", place / "one", lambda *of: None)
    assert read.count(weights.name) == 2


def test_tokens_of_other_weights_are_refused(weights, place, capsys):
    assert animate(*CLIP, "--prepare-only", "film", "-q") == 0
    shutil.copy(place / "film" / "tokens.motion", place / "dance.motion")
    torch.manual_seed(1)
    save_unimotion(UniMotion(SIZES), place / "others.safetensors")
    others = ("--weights", "others.safetensors", "--steps", "2", "-o", "out.mp4", "-q")
    assert animate("--driving", "dance.motion", *others) == 2
    assert "tokens of other weights" in capsys.readouterr().err
    assert animate("--driving", "driver.mp4", "--from", "film", *others) == 2
    assert "other weights" in capsys.readouterr().err


def test_stopped_and_gone_on_the_film_is_the_same_in_every_bit(weights, place, monkeypatch):
    from realtime.film.segments import Kept

    assert animate(*CLIP, "-o", "whole.mp4", "-q") == 0
    keep = Kept.keep

    def stop_before_the_second(self, segment, *rest):
        if segment.index == 1:
            raise KeyboardInterrupt
        keep(self, segment, *rest)

    monkeypatch.setattr(Kept, "keep", stop_before_the_second)
    assert animate(*CLIP, "-o", "out.mp4", "-q") == 1
    monkeypatch.setattr(Kept, "keep", keep)
    assert animate(*CLIP, "-o", "out.mp4", "-q") == 0
    assert (place / "out.mp4").read_bytes() == (place / "whole.mp4").read_bytes()
    assert not (place / "out.film").exists()


def test_a_plan_needs_no_weights(place, capsys):
    assert animate("--driving", "driver.mp4", "--plan") == 0
    said = capsys.readouterr().out
    assert f"{FRAMES} frames" in said
    assert "not here yet" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--mode", "replace"), "animate"),
        (("--size", "64x32"), "square"),
        (("--steps", "0"), "from 1 to 200"),
        (("--segment", "9"), "only with --engine wan"),
        (("--prompt", "dance"), "only with --engine wan"),
        (("--weights", "none.safetensors"), "no such weight file"),
        (("--weights", "me.png"), "not a readable safetensors file"),
        (("--driving", "none.mp4"), "none.mp4"),
        (("--driving", "other.motion"), "holds mesh[3]"),
    ],
)
def test_wrong_usage_is_one_sentence(options, words, weights, place, capsys):
    MotionTrack("mesh", 25.0, ("", "", ""), np.zeros(2), np.zeros((2, 3), np.float32)).save(place / "other.motion")
    assert animate(*CLIP, *options, "-o", "out.mp4", "-q") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (place / "out.mp4").exists()


def test_a_folder_of_another_engine_is_refused(weights, place, capsys):
    (place / "work").mkdir()
    assert animate(*CLIP, "--from", "work", "-o", "out.mp4") == 2
    assert "--prepare-only" in capsys.readouterr().err


def test_the_same_tokens_on_two_characters_are_two_films(weights, place):
    rng = np.random.default_rng(9)
    other = puppets.render(
        puppets.draw_character(rng), puppets.draw_pose(rng), puppets.Place(0.8, 0.5, 0.95, 7), 64
    ).picture
    assert "unimotion" in MAKERS
    maker = open_maker("unimotion")
    job = Job(read_picture("me.png"), place / "driver.mp4", weights=str(weights), device="cpu", size="64x64")
    maker.prepare(job, place / "work", lambda what, done, total: None)
    one = list(maker.make(job, place / "work", place / "one", lambda *of: None).kept.pictures())
    write_picture(place / "work" / "reference.png", other)
    two = list(maker.make(job, place / "work", place / "two", lambda *of: None).kept.pictures())
    assert len(one) == len(two) == FRAMES
    assert np.abs(one[0].astype(int) - two[0]).mean() > 5


def test_inspect_makes_a_page_of_such_weights(weights, place, capsys):
    run = ["inspect", "driver.mp4", "--portrait", "me.png", "--weights", "weights.safetensors", "-o", "look.png"]
    assert cli.run([*run, "--side", "64", "--device", "cpu"]) == 0
    assert "16 + " not in capsys.readouterr().out
    assert read_picture(place / "look.png").shape == (3 * 68 + 36, 5 * 68, 3)


def test_weights_that_are_not_ours_or_broken_are_refused(weights, tmp_path):
    network = load_unimotion(weights)
    broken = {k: v.clone() for k, v in network.state_dict().items()}
    broken["body.token.0.weight"][0, 0] = float("nan")
    network.load_state_dict(broken)
    save_unimotion(network, tmp_path / "nan.safetensors")
    with pytest.raises(BadFile, match="NaN"):
        load_unimotion(tmp_path / "nan.safetensors")
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, str(tmp_path / "other.safetensors"))
    with pytest.raises(BadFile, match="other networks"):
        load_unimotion(tmp_path / "other.safetensors")
    claims = {"realtime-avatar.unimotion": '{"width": 10000000}'}
    save_file({"a": torch.zeros(1)}, str(tmp_path / "large.safetensors"), metadata=claims)
    with pytest.raises(BadFile, match="sizes cannot be"):
        load_unimotion(tmp_path / "large.safetensors")


def test_crops_follow_the_joints_and_stay_within_reason():
    who = puppets.draw_character(np.random.default_rng(4))
    pose = puppets.draw_pose(np.random.default_rng(5))
    joints = puppets.skeleton(who, pose, puppets.Place(0.85, 0.5, 0.95, 0))
    truth = puppets.render(who, pose, puppets.Place(0.85, 0.5, 0.95, 0), 64).boxes
    middles, sides = boxes_of(torch.from_numpy(joints)[None])
    np.testing.assert_allclose(middles[0], truth[:, :2], atol=1e-6)
    np.testing.assert_allclose(sides[0], truth[:, 2], rtol=0.12)
    _, least = boxes_of(torch.zeros(1, 16, 2))
    assert least.min() > 0.1


def test_codes_become_the_tokens_that_they_came_from(weights):
    network = load_unimotion(weights)
    values = np.linspace(-1, 1, SIZES.tokens, dtype=np.float32)[None]
    tokens = tokens_of(values, network)
    assert [t.shape[1] for t in tokens] == [8, 4, 4, 4]
    np.testing.assert_array_equal(torch.cat(tokens, 1).numpy(), values)
