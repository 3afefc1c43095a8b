"""`avatar animate` end to end, with a tiny network of random weights, and what it says where it cannot."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import av
import numpy as np
import pytest

from realtime import cli
from tests.support.driving import astronaut, moved, write_clip

pytestmark = [pytest.mark.xdist_group("wan"), pytest.mark.usefixtures("one_thread")]

FRAMES = 20


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "walk.mp4", moved(FRAMES), sound=True)


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    from realtime.media.pictures import write_picture

    write_picture(tmp_path / "me.png", astronaut())
    return tmp_path


def animate(clip: Path, *more: str) -> int:
    return cli.run(["animate", "me.png", "--driving", str(clip), "--size", "64x64", *more])


def small(tiny: Path, *more: str) -> tuple[str, ...]:
    return ("--weights", str(tiny), "--device", "cpu", "--segment", "9", "--steps", "2", *more)


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


@pytest.mark.parametrize("mode", ["animate", "replace"])
def test_a_film_from_a_clip_with_its_sound(mode, tiny, clip, place, capsys):
    assert animate(clip, *small(tiny, "--mode", mode, "-o", "out.mp4")) == 0
    assert f"out.mp4: {FRAMES} frames, 25 a second" in capsys.readouterr().out
    shown = pictures(place / "out.mp4")
    assert len(shown) == FRAMES
    assert shown[0].shape == (64, 64, 3)
    with av.open("out.mp4") as film:
        assert film.streams.video[0].average_rate == 25
        seconds = sum(frame.samples for frame in film.decode(audio=0)) / 48_000
    assert seconds == pytest.approx(FRAMES / 25, abs=0.1)
    assert not (place / "out.film").exists()


def test_stopped_and_gone_on_the_film_is_the_same_in_every_bit(tiny, clip, place, monkeypatch, capsys):
    from realtime.film.segments import Kept

    assert animate(clip, "--prepare-only", "work", "-q") == 0
    tiny_from = small(tiny, "--from", "work", "-q")
    assert animate(clip, *tiny_from, "-o", "whole.mp4") == 0
    keep, kept = Kept.keep, []

    def stop_after_the_first(self, segment, *rest):
        if kept:
            raise KeyboardInterrupt
        kept.append(segment.index)
        keep(self, segment, *rest)

    monkeypatch.setattr(Kept, "keep", stop_after_the_first)
    assert animate(clip, *tiny_from, "-o", "out.mp4") == 1
    assert "the same command goes on" in capsys.readouterr().err
    assert not (place / "out.mp4").exists()
    made = []

    def count(self, segment, *rest):
        made.append(segment.index)
        keep(self, segment, *rest)

    monkeypatch.setattr(Kept, "keep", count)
    assert animate(clip, *tiny_from, "-o", "out.mp4", "--seed", "1") == 2
    assert "seed 0 (now 1)" in capsys.readouterr().err
    assert animate(clip, *tiny_from, "-o", "out.mp4") == 0
    assert kept == [0]
    assert made == [1, 2]
    assert (place / "out.mp4").read_bytes() == (place / "whole.mp4").read_bytes()
    assert animate(clip, *tiny_from, "-o", "other.mp4", "--seed", "1") == 0
    assert (place / "other.mp4").read_bytes() != (place / "whole.mp4").read_bytes()


def test_preparing_and_making_can_be_run_apart(tiny, clip, place, capsys):
    assert animate(clip, "--prepare-only", "work") == 0
    assert "work/sheet.png" in capsys.readouterr().out
    assert (place / "work" / "pose" / "00000.png").is_file()
    assert animate(clip, *small(tiny, "--from", "work", "-o", "out.mp4", "-q", "--keep")) == 0
    assert animate(clip, *small(tiny, "--from", "work", "--mode", "replace", "-o", "other.mp4", "-q")) == 2
    assert "was prepared for --engine wan --mode animate" in capsys.readouterr().err
    (place / "once.film").mkdir()
    (place / "once.film" / "mine.txt").write_text("kept")
    assert animate(clip, *small(tiny, "-o", "once.mp4", "-q")) == 0
    assert [path.name for path in (place / "once.film").iterdir()] == ["mine.txt"]
    assert (place / "out.mp4").read_bytes() == (place / "once.mp4").read_bytes()
    assert (place / "work").is_dir()
    assert (place / "out.film" / "made" / "frames" / "00019.png").is_file()


def test_the_film_is_marked_and_can_carry_credentials(tiny, clip, place, capsys):
    c2pa = pytest.importorskip("c2pa")
    large = ("--size", "256x256", "--duration", "0.2")
    assert animate(clip, *small(tiny, *large, "--c2pa", "-o", "out.mp4", "-q")) == 0
    assert "trainedAlgorithmicMedia" in c2pa.Reader("out.mp4").json()
    assert cli.run(["detect", "out.mp4"]) == 0
    assert "an avatar of this program" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("memory", "words"),
    [
        ("80", "80 GB: all of it on the GPU"),
        ("48", "48 GB: in bfloat16; the parts take turns"),
        ("24", "24 GB: weights held as 8-bit floats"),
        ("16", "16 GB: in bfloat16; a block of the transformer at a time"),
        ("8", "less: in bfloat16; a layer at a time"),
    ],
)
def test_the_plan_says_what_would_be_done_without_weights(memory, words, clip, place, capsys):
    assert animate(clip, "--plan", "--memory", memory) == 0
    said = capsys.readouterr().out
    assert words in said
    assert "64 x 64, 25 fps, 20 frames, animate" in said
    assert "avatar models pull wan-animate fetches it (82.3 GB, licence Apache-2.0;" in said
    assert "not measured by this project" in said
    assert list(place.iterdir()) == [place / "me.png"]


def test_missing_weights_are_said_before_the_clip_is_read(tiny, clip, place, capsys):
    assert animate(clip, "-o", "out.mp4") == 2
    said = capsys.readouterr().err
    assert "holds no wan-animate: avatar models pull wan-animate fetches it (82.3 GB, licence Apache-2.0;" in said
    assert not (place / "out.film").exists()


def test_half_a_file_of_weights_is_said_before_the_clip_is_read(tiny, clip, place, capsys):
    import shutil

    shutil.copytree(tiny, place / "weights")
    file = place / "weights" / "vae" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    assert animate(clip, *small(place / "weights", "-o", "out.mp4")) == 2
    assert "diffusion_pytorch_model.safetensors: is damaged or cut off" in capsys.readouterr().err
    assert not (place / "out.film").exists()


def test_too_little_disk_is_said_before_the_clip_is_read(clip, place, monkeypatch, capsys):
    from realtime.film.wan import maker

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(maker.shutil, "disk_usage", lambda path: usage(10**9, 0, 10**6))
    assert animate(clip, "--prepare-only", "work") == 2
    assert "the film's pictures take about 0.0 GB, and 0.0 GB are free here: make room" in capsys.readouterr().err


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--mode", "dance"), "animate or replace"),
        (("--size", "130x64"), "multiples of 16"),
        (("--steps", "0"), "from 1 to 200"),
        (("--overlap", "3"), "1 or 5 frames"),
        (("--segment", "8"), "4 n + 1 frames"),
        (("--fps", "400"), "from 1 to 60"),
        (("--duration", "-1"), "seconds, above 0"),
        (("--lora", "none.safetensors=0.5"), "no such LoRA file"),
        (("--lora", "me.png=much"), "FILE or FILE=STRENGTH"),
        (("--engine", "puppet"), "no way to make films called 'puppet'"),
        (("--memory", "4"), "needs 6 GB"),
        (("--device", "tpu"), "auto, cpu or cuda"),
    ],
)
def test_wrong_usage_is_one_sentence(options, words, clip, place, capsys):
    assert animate(clip, "--plan", *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_without_an_output_it_asks_for_one(clip, place, capsys):
    assert animate(clip) == 2
    assert "-o out.mp4" in capsys.readouterr().err


def test_help_teaches(capsys):
    assert cli.run(["animate", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "--prepare-only" in said
    assert "weights of 82 GB" in said


def test_wan_animate_2_is_driven_by_the_clip_itself_and_goes_on(
    clip, place, monkeypatch, tmp_path_factory, capsys, tiny
):
    from realtime.film.segments import Kept
    from tests.support.wan import save_tiny_second

    weights = save_tiny_second(tmp_path_factory.mktemp("second"))
    how = (*small(weights, "--engine", "wan-2", "--segment", "13", "-q"), "--duration", "0.8")
    keep = Kept.keep

    def stop_before_the_second(self, segment, *rest):
        if segment.index == 1:
            raise KeyboardInterrupt
        keep(self, segment, *rest)

    monkeypatch.setattr(Kept, "keep", stop_before_the_second)
    assert animate(clip, *how, "-o", "out.mp4") == 1
    monkeypatch.setattr(Kept, "keep", keep)
    assert animate(clip, *how, "-o", "out.mp4") == 0
    assert animate(clip, *how, "-o", "whole.mp4") == 0
    assert (place / "out.mp4").read_bytes() == (place / "whole.mp4").read_bytes()
    with av.open("out.mp4") as film:
        assert film.streams.video[0].average_rate == 24
    assert len(pictures(place / "out.mp4")) == 20
    assert animate(clip, *how, "--mode", "replace", "-o", "other.mp4") == 2
    assert animate(clip, *how, "--lora", "me.png", "-o", "other.mp4") == 2
    assert "only with --engine wan" in capsys.readouterr().err
