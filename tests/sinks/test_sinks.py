"""Where pictures go: files that survive a crash, the virtual camera through the real pyvirtualcam, folders."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from realtime.errors import BadFile, BadValue, DeviceError, NoDevice, UnknownName
from realtime.session.local import Pipeline
from realtime.settings import Live, PipelineSettings
from realtime.sinks import SINKS, SinkOptions, open_sink
from realtime.sinks import virtual_camera as vc
from realtime.sinks.file import FileSink
from realtime.types import Picture
from tests.support import FakeEngine, ListSource, plain

ROOT = Path(__file__).resolve().parents[2]


def gradient(height: int = 96, width: int = 128) -> np.ndarray:
    """A smooth colour picture."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.stack([40 + 170 * x / width, 40 + 170 * y / height, 200 - 120 * x / width], -1).astype(np.uint8)


def written(path: Path, pictures: list[np.ndarray], times: list[float] | None = None, fps: float = 30.0) -> Path:
    sink = FileSink(str(path), SinkOptions(live=False))
    sink.open(pictures[0].shape[1], pictures[0].shape[0], fps)
    for n, image in enumerate(pictures):
        sink.write(Picture(image, 0.0, times[n] if times else n / fps, n))
    sink.close()
    sink.close()
    return path


def read_back(path: Path) -> tuple[list[np.ndarray], list[float]]:
    from realtime.sources import SourceOptions, open_source

    source = open_source(str(path), SourceOptions(paced=False))
    source.open()
    images, times = [], []
    while (frame := source.read()) is not None:
        images.append(frame.image)
        times.append(frame.pts)
    source.close()
    return images, times


def test_round_pictures_are_transparent_in_a_folder_and_plain_around_in_a_file(tmp_path) -> None:
    import cv2

    from realtime.media.round import PLAIN

    options, picture = SinkOptions(live=False, mark=False, round=True), gradient(96, 96)
    for spec in (f"images:{tmp_path / 'frames'}", f"file:{tmp_path / 'round.mp4'}"):
        sink = open_sink(spec, options)
        sink.open(96, 96, 30.0)
        sink.write(Picture(picture, 0.0, 0.0, 0))
        sink.close()
    cut = cv2.imread(str(tmp_path / "frames" / "000000.png"), cv2.IMREAD_UNCHANGED)
    assert cut.shape == (96, 96, 4)
    assert cut[0, 0, 3] == 0
    assert cut[48, 48, 3] == 255
    assert (cut[48, 48, 2::-1] == picture[48, 48]).all()
    (filmed,), _ = read_back(tmp_path / "round.mp4")
    assert np.abs(filmed[2:6, 2:6].astype(int) - PLAIN).max() < 10
    assert np.abs(filmed[40:56, 40:56].astype(int) - picture[40:56, 40:56]).max() < 16


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_copied_frame_comes_back_in_its_colours(tmp_path, suffix) -> None:
    picture = gradient()
    images, _ = read_back(written(tmp_path / f"clip{suffix}", [picture] * 5))
    error = images[3].astype(float) - picture
    assert len(images) == 5
    assert np.abs(error.mean((0, 1))).max() < 0.7  # no channel grows darker or lighter
    assert 10 * np.log10(255**2 / (error**2).mean()) > 40


def test_the_file_is_tagged_bt709_and_counts_its_frames(tmp_path) -> None:
    import av

    path = written(tmp_path / "clip.mp4", [gradient()] * 40)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        context = stream.codec_context
        assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (1, 1, 1, 1)
        assert stream.frames == 40
        assert stream.average_rate == 30
        assert container.duration / 1e6 == pytest.approx(40 / 30, abs=0.01)


def test_timestamps_of_a_variable_rate_are_kept(tmp_path) -> None:
    times = [5.0, 5.05, 5.3, 5.31, 6.0]
    _, back = read_back(written(tmp_path / "clip.mp4", [gradient()] * 5, times))
    assert back == pytest.approx([t - 5.0 for t in times], abs=1e-4)


def test_odd_sizes_lose_their_last_row_and_other_sizes_are_fitted_in(tmp_path) -> None:
    sink = FileSink(str(tmp_path / "clip.mp4"), SinkOptions())
    sink.open(101, 75, 30)
    for n, shape in enumerate([(75, 101), (300, 200), (20, 20)]):
        sink.write(Picture(plain(200, *shape), 0.0, n / 30, n))
    sink.close()
    images, _ = read_back(sink.path)
    assert [image.shape for image in images] == [(74, 100, 3)] * 3
    assert images[1][37, 50, 0] > 180  # the tall picture stands in the middle
    assert images[1][37, 2, 0] < 30


def test_a_killed_writer_leaves_all_but_the_last_second(tmp_path) -> None:
    path = tmp_path / "clip.mp4"
    program = f"""
        import numpy as np, os, signal
        from realtime.sinks import SinkOptions
        from realtime.sinks.file import FileSink
        from realtime.types import Picture
        sink = FileSink({str(path)!r}, SinkOptions())
        sink.open(64, 64, 30)
        rng = np.random.default_rng(0)
        for n in range(100):
            sink.write(Picture(rng.integers(0, 255, (64, 64, 3), np.uint8), 0.0, n / 30, n))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    images, _ = read_back(tmp_path / "clip.partial.mp4")
    assert len(images) >= 70
    assert not path.exists()


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ("file:", "needs a path"),
        ("file:clip.avi", "must end in"),
        ("file:/no/such/folder/clip.mp4", "no folder"),
        ("images:", "needs a folder"),
        ("images:/no/such/folder/frames", "no folder"),
    ],
)
def test_bad_targets_are_refused_before_any_work(spec, reason) -> None:
    with pytest.raises(BadFile, match=reason):
        open_sink(spec)


def test_unknown_and_wrong_sinks() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'vcam'"):
        open_sink("vcm")
    with pytest.raises(BadValue):
        open_sink("null:5")
    with pytest.raises(BadValue):
        open_sink("preview:5")


def test_preview_without_a_display_says_so(monkeypatch) -> None:
    monkeypatch.setattr("realtime.sinks.preview.has_display", lambda: False)
    with pytest.raises(NoDevice, match="no display"):
        open_sink("preview")


def test_every_sink_closes_twice_without_open(tmp_path) -> None:
    import importlib

    for target in SINKS.values():
        module, _, name = target.partition(":")
        argument = str(tmp_path / "x.mp4") if name in ("FileSink", "ImagesSink") else ""
        sink = getattr(importlib.import_module(module), name)(argument, SinkOptions())
        sink.close()
        sink.close()


def test_images_are_numbered(tmp_path) -> None:
    sink = open_sink(f"images:{tmp_path / 'frames'}")
    sink.open(8, 8, 30)
    for n in range(3):
        sink.write(Picture(plain(n * 40, 8, 8), 0.0, n / 30, n))
    sink.close()
    assert [p.name for p in sorted((tmp_path / "frames").iterdir())] == ["000000.png", "000001.png", "000002.png"]
    with pytest.raises(BadFile, match="not an empty folder"):
        open_sink(f"images:{tmp_path / 'frames'}")


class MemoryCamera:
    """A pyvirtualcam backend that keeps what it is sent."""

    made: list[MemoryCamera]

    def __init__(self, *, width, height, fps, fourcc, device, **_kw) -> None:
        if device not in (None, "memory"):
            raise RuntimeError(f"no device {device}")
        self.width, self.height, self.fps = width, height, fps
        self.sent: list[np.ndarray] = []
        self.closed = False
        MemoryCamera.made.append(self)

    def close(self) -> None:
        self.closed = True

    def send(self, frame: np.ndarray) -> None:
        self.sent.append(np.array(frame).reshape(self.height, self.width, 3))

    def device(self) -> str:
        return "memory"

    def native_fourcc(self) -> None:
        return None


@pytest.fixture
def memory_camera(monkeypatch):
    """The real pyvirtualcam with one backend, in memory."""
    camera = pytest.importorskip("pyvirtualcam.camera")
    monkeypatch.setattr(camera, "BACKENDS", {})
    camera.register_backend("memory", MemoryCamera)
    MemoryCamera.made = []
    return MemoryCamera


def test_virtual_camera_takes_the_pictures(memory_camera) -> None:
    pictures, plain_vcam = [plain(100 + n) for n in range(20)], open_sink("vcam", SinkOptions(mark=False))
    pipeline = Pipeline(ListSource(pictures, fps=60), FakeEngine(), [plain_vcam], live=Live(absolute=True))
    asyncio.run(pipeline.run())
    (camera,) = memory_camera.made
    assert (camera.width, camera.height, camera.fps) == (64, 64, 60)
    assert camera.closed
    assert camera.sent
    assert camera.sent[-1][0, 0, 0] == 119


def test_virtual_camera_repeats_the_last_picture_while_none_comes(memory_camera) -> None:
    sink = vc.VirtualCameraSink("", SinkOptions(mark=False))
    sink.open(64, 64, 1000)
    sink.write(Picture(plain(77, 64, 64), 0.0))
    for _ in range(3):
        now = sink._repeat._sent + 1.0
        assert 0 < sink.idle(now) <= 0.0016
    assert [int(sent[0, 0, 0]) for sent in memory_camera.made[0].sent] == [77] * 4


def test_virtual_camera_sends_marked_pictures(memory_camera) -> None:
    from realtime.media.watermark import THRESHOLD, score

    sink = vc.VirtualCameraSink("", SinkOptions())
    sink.open(256, 256, 1000)
    sink.write(Picture(plain(77, 256, 256), 0.0))
    sink.close()
    assert score(memory_camera.made[0].sent[0]) > THRESHOLD


def test_virtual_camera_device_is_chosen_and_missing_ones_are_explained(memory_camera) -> None:
    sink = vc.VirtualCameraSink("memory", SinkOptions())
    sink.open(64, 64, 30)
    assert sink.name == "virtual camera memory"
    with pytest.raises(NoDevice, match="Make one: "):
        vc.VirtualCameraSink("elsewhere", SinkOptions()).open(64, 64, 30)
    with pytest.raises(NoDevice, match="no /dev/video99"):
        open_sink("vcam:/dev/video99")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="v4l2loopback is Linux's")
def test_without_a_loopback_device_the_command_that_makes_one_is_said(monkeypatch) -> None:
    camera = pytest.importorskip("pyvirtualcam.camera")
    monkeypatch.setattr(camera, "BACKENDS", {"v4l2loopback": object})
    monkeypatch.setattr(vc, "loopback_devices", lambda: [])
    with pytest.raises(NoDevice, match="modprobe v4l2loopback") as caught:
        open_sink("vcam")
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_every_system_has_a_way_to_a_virtual_camera(platform) -> None:
    assert vc.how_to_make_one(platform)


def test_stop_by_signal_finishes_the_file(tmp_path) -> None:
    """Ctrl-C in the real program: the file is whole, the statistics are there, the exit code is 0."""
    program = f"""
        import sys
        from realtime.families import FAMILIES
        from tests.support import FAKE_FAMILY
        FAMILIES["fake"] = FAKE_FAMILY
        from realtime.cli import run
        from tests.support import plain, write_clip
        from pathlib import Path
        folder = Path({str(tmp_path)!r})
        write_clip(folder / "in.mp4", [plain(40 + n, 64, 64) for n in range(90)])
        from realtime.media.pictures import write_picture
        write_picture(folder / "p.png", plain(90))
        print("ready", flush=True)
        sys.exit(run(["run", "--source", str(folder / "in.mp4"), "--loop", "--engine", "fake", "--size", "64",
                      "--portrait", str(folder / "p.png"), "--sink", f"file:{{folder / 'out.mp4'}}",
                      "--stats", str(folder / "stats.json")]))
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    assert b"Ctrl-C ends it" in process.stderr.readline()
    import time

    deadline = time.monotonic() + 30
    out = tmp_path / "out.partial.mp4"
    while not (out.exists() and out.stat().st_size > 3000) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert (tmp_path / "stats.json").exists()
    images, _ = read_back(tmp_path / "out.mp4")
    assert len(images) >= 5


def test_an_interrupted_render_keeps_what_was_done(tmp_path) -> None:
    sink = FileSink(str(tmp_path / "out.mp4"), SinkOptions(live=False))
    pipeline = Pipeline(
        ListSource([plain(50)] * 10_000, fps=200), FakeEngine(), [sink], PipelineSettings(lossless=True)
    )

    async def scenario() -> None:
        running = asyncio.create_task(pipeline.run())
        while pipeline.stats.counts.delivered < 12:
            await asyncio.sleep(0.01)
        pipeline.control.stop()
        await running

    asyncio.run(scenario())
    images, _ = read_back(tmp_path / "out.partial.mp4")
    assert len(images) == pipeline.stats.counts.delivered > 10
    assert sink.kept == f"{tmp_path / 'out.partial.mp4'} holds the first {len(images)} frames"
    assert not (tmp_path / "out.mp4").exists()


def test_a_source_that_fails_late_leaves_the_earlier_film(tmp_path) -> None:
    """The error is known before the file is closed, so that the part never takes the film's name."""
    out = tmp_path / "out.mp4"
    out.write_bytes(b"an earlier film")
    for n in range(1, 6):
        items = [*[plain(50 + k) for k in range(15)], DeviceError("camera", "it was unplugged")]
        pipeline = Pipeline(ListSource(items), FakeEngine(), [FileSink(str(out), SinkOptions(live=False))],
                            PipelineSettings(lossless=True))  # fmt: skip
        with pytest.raises(DeviceError, match="unplugged") as caught:
            asyncio.run(pipeline.run())
        part = tmp_path / f"out.partial{f'-{n}' if n > 1 else ''}.mp4"
        assert caught.value.__notes__ == [f"{part} holds the first 15 frames"]
        assert len(read_back(part)[0]) == 15
    assert out.read_bytes() == b"an earlier film"


class FakeWindow:
    """What the preview calls of OpenCV, and what it shows."""

    WINDOW_NORMAL = WINDOW_KEEPRATIO = WND_PROP_VISIBLE = 0

    def __init__(self) -> None:
        self.shown: list[np.ndarray] = []
        self.key = -1

    def imshow(self, _title: str, image: np.ndarray) -> None:
        self.shown.append(image)

    def pollKey(self) -> int:
        return self.key

    def getWindowProperty(self, *_: object) -> int:
        return 1

    def destroyAllWindows(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("size", [64, 512])
def test_the_preview_shows_its_keys_for_a_while_and_again_when_asked(size) -> None:
    from realtime.sinks.preview import HINT_SECONDS, PreviewSink

    sink, window = PreviewSink("", SinkOptions()), FakeWindow()
    sink._cv2 = window
    picture = Picture(plain(150, size, size), 0.0)

    def shown_at(now: float, key: int = -1) -> np.ndarray:
        window.key = key
        sink.idle(now)
        sink.write(picture)
        return window.shown[-1]

    first = shown_at(100.0)
    assert (first[-3:] != 150).any()
    assert (first[: size // 2] == 150).all()
    assert (shown_at(101.0 + HINT_SECONDS) == 150).all()
    assert (shown_at(120.0, ord("h")) != 150).any()
    assert (picture.image == 150).all()


# The microphone beside a film


class FakeAudio:
    """A microphone that the test speaks into, and PortAudio's names."""

    PortAudioError = RuntimeError
    default = SimpleNamespace(device=(0, 0))

    def query_devices(self) -> list:
        return [{"name": "USB microphone", "max_input_channels": 1}]

    def InputStream(self, callback, **options):
        self.options, self.callback = options, callback
        return SimpleNamespace(start=lambda: None, close=lambda: None)


def test_a_films_sound_is_where_its_pictures_are_though_they_come_late(tmp_path, monkeypatch) -> None:
    """Pictures come 400 ms after their capture, sound 20 ms after it: flash and beep are together in the file."""
    import av

    from realtime.sinks import voice

    now, audio = [50.0], FakeAudio()
    monkeypatch.setattr(voice.time, "monotonic", lambda: now[0])
    sink = FileSink(str(tmp_path / "call.mp4"), SinkOptions(microphone="usb"))
    sink._voice = voice.Voice("usb", audio)
    sink.check()
    sink.open(64, 64, 25.0)
    timing = SimpleNamespace(currentTime=9.0, inputBufferAdcTime=8.98)
    for n in range(150):  # a block of 20 ms each, three seconds
        now[0] = 50.02 + n / 50
        t = n / 50 + np.arange(voice.BLOCK) / voice.RATE
        tone = 0.5 * np.sin(2 * np.pi * 1000 * t) * ((t % 1.0) < 0.1) * (t >= 1.0)
        audio.callback(tone.astype(np.float32)[:, None], voice.BLOCK, timing, None)
        captured = 50.0 + n / 50 - 0.4
        if n % 2 == 0 and captured >= 50.0:
            at = captured - 50.0
            flash = 230 if (at % 1.0) < 0.1 and at >= 1.0 else 20
            sink.write(Picture(np.full((64, 64, 3), flash, np.uint8), captured, at, n))
    sink.close()
    with av.open(str(tmp_path / "call.mp4")) as film:
        flashes = [float(f.time) for f in film.decode(video=0) if f.to_ndarray(format="gray").mean() > 120]
    with av.open(str(tmp_path / "call.mp4")) as film:
        parts = [(float(f.time), f.to_ndarray().reshape(-1)) for f in film.decode(audio=0)]
    loud = [t + n / voice.RATE for t, part in parts for n in np.flatnonzero(np.abs(part) > 0.2)[:1]]
    assert flashes[0] == pytest.approx(1.0, abs=0.04)
    assert loud[0] == pytest.approx(1.0, abs=0.045)
    second = next(at for at in loud if at > 1.5)
    assert second == pytest.approx(2.0, abs=0.045)


def test_gaps_in_the_sound_are_silence_and_what_is_double_is_left_out() -> None:
    from realtime.sinks.voice import RATE, Placing

    block = np.ones(960, np.float32)
    placing = Placing(10.0)
    assert len(placing.place(block, 9.9)) == 0, "before the first picture"
    assert len(placing.place(block, 9.99)) == 480
    assert len(placing.place(block, 10.012)) == 960, "two clocks are never alike"
    out = placing.place(block, 10.5)
    assert placing.given == round(0.52 * RATE)
    assert out[-960:].all()
    assert not out[:-960].any()
    assert len(placing.place(block, 10.3)) == 0, "a clock that was set back"


def test_sound_without_a_file_or_of_another_kind_is_refused(capsys) -> None:
    from realtime.cli import run

    for words, said in (
        (["--sound", "mic", "--sink", "null"], "sound goes into files: add --sink file:call.mp4"),
        (["--sound", "clip", "--sink", "file:a.mp4"], "is made by avatar render"),
    ):
        assert run(["run", "--source", "motion:builtin", *words]) == 2
        assert said in capsys.readouterr().err
