"""The invisible mark: not seen, found again after video coding and scaling, never found where it is not."""

from __future__ import annotations

import json
import shutil

import av
import cv2
import numpy as np
import pytest

from realtime.cli import run
from realtime.engines import load_engine
from realtime.media.pictures import read_picture
from realtime.media.portraits import builtin_portrait
from realtime.media.watermark import THRESHOLD, embed, score, verdict
from realtime.media.watermark import marked as marked_copy
from realtime.motion.track import builtin_track
from realtime.server.hosting.frames import to_rgb, to_video_frame, to_yuv
from realtime.server.rtc.encoders import SteadyH264, SteadyVp8
from realtime.sinks import SinkOptions, open_sink
from realtime.sinks.file import FileSink
from realtime.types import Picture
from tests.support import frames_of, test_data

SIZE = 512


@pytest.fixture(scope="module")
def pictures() -> list[np.ndarray]:
    engine, track = load_engine("mesh", size=SIZE), builtin_track()
    engine.set_portrait(builtin_portrait())
    engine.reference = track.reference_code
    rendered = [engine.render(track.code(n)) for n in range(0, 90, 3)]
    engine.close()
    return rendered


def marked(picture: np.ndarray) -> np.ndarray:
    yuv = to_yuv(picture)
    embed(yuv[: picture.shape[0]])
    return yuv


def test_it_cannot_be_seen(pictures):
    plain, with_mark = to_yuv(pictures[0])[:SIZE].astype(float), marked(pictures[0])[:SIZE]
    assert 10 * np.log10(255**2 / ((plain - with_mark) ** 2).mean()) > 45
    assert np.abs(plain - with_mark).max() <= 1


@pytest.mark.parametrize(("make", "decoder"), [(SteadyVp8, "libvpx"), (SteadyH264, "h264")])
def test_it_survives_coding_at_the_default_rate(pictures, make, decoder):
    encoder, context = make(), av.CodecContext.create(decoder, "r")
    scores = []
    for n, picture in enumerate(pictures):
        data = encoder._bytes(to_video_frame(marked(picture), 3000 * n), False)
        scores += [score(to_rgb(frame)) for frame in context.decode(av.Packet(data))]
    assert verdict(scores)[0]
    assert np.mean(np.array(scores) > THRESHOLD) > 0.95


@pytest.mark.parametrize("size", [360, 480, 720])
def test_it_survives_scaling(pictures, size):
    rgb = cv2.cvtColor(marked(pictures[0]), cv2.COLOR_YUV2RGB_I420)
    assert score(cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA)) > THRESHOLD


def test_it_is_not_found_where_it_is_not(pictures):
    assert max(score(picture) for picture in pictures) < THRESHOLD - 1
    noise = np.random.default_rng(0)
    assert max(score(noise.integers(0, 256, (256, 256, 3), np.uint8)) for _ in range(50)) < THRESHOLD - 0.5
    assert score(np.zeros((64, 64, 3), np.uint8)) == 0.0
    assert verdict([]) == (False, 0.0)


def test_it_is_not_found_in_real_clips():
    clips = sorted(test_data("clips").glob("*.mp4"))
    found = [score(frame) for clip in clips for frame in list(frames_of(clip, 31))[::15]]
    assert len(found) > 30
    assert max(found) < THRESHOLD - 1


def test_avatar_detect_says_which_file_is_marked(pictures, tmp_path, capsys):
    for name, mark in (("plain.mp4", False), ("marked.mp4", True)):
        with av.open(str(tmp_path / name), "w") as out:
            stream = out.add_stream("libx264", rate=30, options={"crf": "23"})
            stream.width = stream.height = SIZE
            stream.pix_fmt = "yuv420p"
            for n, picture in enumerate(pictures):
                frame = to_video_frame(marked(picture) if mark else to_yuv(picture), 3000 * n)
                out.mux(stream.encode(frame))
            out.mux(stream.encode())
        assert run(["detect", str(tmp_path / name), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["marked"] is mark
    assert run(["detect", str(tmp_path / "absent.mp4")]) == 2
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    assert run(["detect", str(broken)]) == 2


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """The built-in performance as `avatar render` writes it, with and without the mark: two paths."""
    folder = tmp_path_factory.mktemp("rendered")
    for name, options in (("marked.mp4", []), ("plain.mp4", ["--no-mark"])):
        clip = ["render", "motion:builtin", "--engine", "mesh", "--duration", "2", "-q", "-o", str(folder / name)]
        assert run([*clip, *options]) == 0
    return folder / "marked.mp4", folder / "plain.mp4"


def test_a_rendered_file_is_detected_and_one_without_mark_is_not(rendered, capsys):
    for path, expected in zip(rendered, (True, False), strict=True):
        assert run(["detect", str(path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["marked"] is expected


def test_the_mark_is_all_that_differs_in_a_file(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(FileSink, "_encoder_options", lambda *_: {"preset": "ultrafast", "qp": "0"})  # without loss
    lumas = []
    for mark in (True, False):
        sink = open_sink(f"file:{tmp_path / f'{mark}.mp4'}", SinkOptions(live=False, mark=mark))
        sink.open(SIZE, SIZE, 30.0)
        sink.write(Picture(pictures[0], 0.0))
        sink.close()
        with av.open(str(tmp_path / f"{mark}.mp4")) as clip:
            lumas.append(next(clip.decode(video=0)).to_ndarray(format="yuv420p").astype(float))
    difference = lumas[0] - lumas[1]
    assert np.abs(difference).max() == 1
    assert not difference[SIZE:].any(), "colours stay as they are"
    assert 10 * np.log10(255**2 / (difference[:SIZE] ** 2).mean()) > 45


def test_live_outputs_carry_it_too(pictures, tmp_path):
    for spec, name in ((f"file:{tmp_path / 'live.mp4'}", "live.mp4"), (f"images:{tmp_path / 'stills'}", "stills")):
        for mark in (True, False):
            shutil.rmtree(tmp_path / "stills", ignore_errors=True)
            sink = open_sink(spec, SinkOptions(mark=mark))
            sink.open(SIZE, SIZE, 30.0)
            for n, picture in enumerate(pictures):
                kept = picture.copy()
                sink.write(Picture(picture, 0.0, n / 30, n))
                assert np.array_equal(picture, kept), "other sinks show the same picture"
            sink.close()
            path = tmp_path / name
            shown = [read_picture(p) for p in path.iterdir()] if path.is_dir() else frames_of(path, len(pictures))
            assert verdict([score(frame) for frame in shown])[0] is mark


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_an_edited_picture_carries_it(tmp_path, capsys, suffix):
    path = tmp_path / f"smile{suffix}"
    for options, expected in (([], True), (["--no-mark"], False)):
        assert run(["edit", "builtin", "--engine", "mesh", "--set", "smile=0.3", "-o", str(path), *options]) == 0
        capsys.readouterr()
        assert run(["detect", str(path), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["marked"] is expected
        assert expected is (score(read_picture(path)) > THRESHOLD)


def test_a_marked_colour_picture_looks_the_same(pictures):
    difference = marked_copy(pictures[0]).astype(int) - pictures[0]
    assert np.abs(difference).max() == 1
    assert 10 * np.log10(255**2 / (difference**2).mean()) > 45
