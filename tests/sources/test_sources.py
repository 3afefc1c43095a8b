"""Where driving frames come from: clips with awkward properties, cameras that go away, network streams."""

from __future__ import annotations

import http.server
import itertools
import os
import socket
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from benchmarks.live.fault_sources import transport_stream
from realtime.errors import BadFile, BadValue, ConnectionLost, DeviceError, NoConnection, NoDevice, UnknownName
from realtime.media.pictures import fit_into, read_picture, write_picture
from realtime.motion.track import MotionTrack
from realtime.sources import SourceOptions, Unseen, open_source, parse_source
from realtime.sources import camera as cam
from realtime.sources.camera import CameraInfo, CameraSource
from realtime.sources.url import UrlSource, without_password
from realtime.types import Frame, MotionCode
from tests.support import FakeClock, plain, write_clip

FAST = SourceOptions(paced=False)


def read_all(source) -> list:
    source.open()
    items = []
    while (item := source.read()) is not None:
        items.append(item)
    source.close()
    source.close()
    return items


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """12 frames at 25 fps, each a little lighter than the one before."""
    return write_clip(tmp_path / "clip.mp4", [plain(40 + 10 * n, 64, 96) for n in range(12)], fps=25)


def test_a_clip_gives_every_frame_with_its_time(clip: Path) -> None:
    source = open_source(str(clip), FAST)
    frames = read_all(source)
    assert [f.index for f in frames] == list(range(12))
    assert [f.pts for f in frames] == pytest.approx([n / 25 for n in range(12)])
    assert [round(float(f.image.mean()), -1) for f in frames] == [40 + 10 * n for n in range(12)]
    assert frames[0].image.shape == (64, 96, 3)
    assert frames[0].image.flags.c_contiguous
    assert (source.fps, source.frames, source.name) == (25, 12, "clip.mp4")


def test_a_paced_clip_takes_its_time_and_loops(clip: Path) -> None:
    source = open_source(str(clip), SourceOptions(loop=True))
    source.open()
    started = time.monotonic()
    frames = [source.read() for _ in range(18)]
    source.close()
    assert time.monotonic() - started > 17 / 25 * 0.9
    assert [f.index for f in frames] == list(range(18))
    assert np.diff([f.pts for f in frames]) == pytest.approx([1 / 25] * 17, abs=1e-6)
    assert abs(float(frames[12].image.mean()) - float(frames[0].image.mean())) < 1
    assert all(b.captured >= a.captured for a, b in itertools.pairwise(frames))


def test_a_turned_clip_stands_upright(clip: Path) -> None:
    """A phone's clip: the picture lies on its side, and the file says how to turn it."""
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, :48] = (200, 40, 40)
    path = write_clip(clip.with_name("side.mp4"), [picture] * 3)
    data = path.read_bytes()
    at = data.rindex(b"tkhd") + 4 + 4 + 36  # version and flags, then 36 bytes up to the matrix (version 0)
    one, minus_one = (0x10000).to_bytes(4, "big"), (-0x10000).to_bytes(4, "big", signed=True)
    nothing = bytes(4)
    quarter = nothing + one + nothing + minus_one + 4 * nothing + (1 << 30).to_bytes(4, "big")
    path.write_bytes(data[:at] + quarter + data[at + 36 :])
    frames = read_all(open_source(str(path), FAST))
    assert frames[0].image.shape == (96, 64, 3)
    assert frames[0].image[10, 32, 0] > 150  # what was left is now on top
    assert frames[0].image[86, 32, 0] < 60


def test_large_frames_are_scaled_down(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "big.mp4", [plain(90, 300, 600)] * 2)
    (frame, _) = read_all(open_source(str(path), SourceOptions(paced=False, max_side=200)))
    assert frame.image.shape == (100, 200, 3)


def test_the_size_may_change_on_the_way(tmp_path: Path) -> None:
    import av

    path = tmp_path / "changing.h264"
    data = b""
    for width in (64, 128):
        part = tmp_path / f"{width}.h264"
        with av.open(str(part), "w", format="h264") as container:
            stream = container.add_stream("libx264", rate=25)
            stream.width, stream.height, stream.pix_fmt = width, 64, "yuv420p"
            for _ in range(4):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(plain(99, 64, width), format="rgb24")))
            container.mux(stream.encode(None))
        data += part.read_bytes()
    path.write_bytes(data)
    frames = read_all(open_source(str(path), FAST))
    assert [f.image.shape[1] for f in frames] == [64] * 4 + [128] * 4
    assert all(abs(int(f.image[32, 32, 0]) - 99) < 4 for f in frames)


@pytest.mark.parametrize("matrix", [1, 5])
def test_the_stated_colour_matrix_is_used(tmp_path: Path, matrix: int) -> None:
    """The same colour, stored with BT.709 and with BT.601, comes back the same."""
    import av

    path = tmp_path / "colour.mp4"
    colour = (180, 60, 40)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = (1 if matrix == 1 else 6), 1
        for _ in range(3):
            frame = av.VideoFrame.from_ndarray(plain(colour, 64, 64), format="rgb24")
            yuv = frame.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range=1, src_color_range=2)
            container.mux(stream.encode(yuv))
        container.mux(stream.encode(None))
    frames = read_all(open_source(str(path), FAST))
    assert np.abs(frames[1].image.reshape(-1, 3).mean(0) - colour).max() < 3


def test_a_clip_that_is_cut_off_gives_what_there_is(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (40, 64, 64, 3), np.uint8)
    path = write_clip(tmp_path / "clip.mkv", list(noise))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 5 < len(read_all(open_source(str(path), FAST))) < 40


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda p: None, "no such file"),
        (lambda p: p.mkdir(), "is a folder"),
        (lambda p: p.write_bytes(b""), "not a video"),
        (lambda p: p.write_text("hello"), "not a video"),
    ],
)
def test_what_is_no_clip_is_refused(tmp_path: Path, make, reason: str) -> None:
    path = tmp_path / "clip.mp4"
    make(path)
    with pytest.raises(BadFile, match=reason):
        open_source(str(path))


def test_sound_without_a_picture_is_refused(tmp_path: Path) -> None:
    import av

    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48_000)
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate, frame.pts, frame.time_base = 48_000, 0, Fraction(1, 48_000)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(BadFile, match="no video"):
        open_source(str(path))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("camera", ("camera", "")),
        ("camera:1", ("camera", "1")),
        ("camera:Logitech C920", ("camera", "Logitech C920")),
        ("rtsp://me:secret@host/stream", ("url", "rtsp://me:secret@host/stream")),
        ("HTTP://host/clip.mp4", ("url", "HTTP://host/clip.mp4")),
        ("motion:builtin", ("motion", "builtin")),
    ],
)
def test_sources_by_name(spec: str, expected: tuple[str, str]) -> None:
    assert parse_source(spec) == expected


def test_an_unknown_source_is_explained(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'camera'"):
        parse_source("camrea")
    with pytest.raises(BadFile, match="folder"):
        parse_source(str(tmp_path))


def test_a_still_picture_drives_again_and_again(tmp_path: Path) -> None:
    write_picture(tmp_path / "face.png", plain(70))
    source = open_source(str(tmp_path / "face.png"), SourceOptions(fps=100))
    source.open()
    frames = [source.read() for _ in range(4)]
    assert [f.index for f in frames] == [0, 1, 2, 3]
    assert len(read_all(open_source(str(tmp_path / "face.png"), FAST))) == 1


def test_a_motion_track_drives_with_its_own_neutral(tmp_path: Path) -> None:
    codes = [MotionCode("fake", np.array([n, 0, 0], np.float32), pts=n / 10) for n in range(3)]
    neutral = MotionCode("fake", np.array([0.5, 0, 0], np.float32))
    MotionTrack.of_codes([codes[0], None, codes[2]], 10, reference=neutral).save(tmp_path / "a.motion")
    source = open_source(str(tmp_path / "a.motion"), FAST)
    items = read_all(source)
    assert [type(item) for item in items] == [MotionCode, Unseen, MotionCode]
    assert [item.index for item in items] == [0, 1, 2]
    assert source.reference.values[0] == 0.5
    assert (source.fps, source.frames) == (10, 3)
    with pytest.raises(BadFile, match="for the fake engine"):
        source.fit("mesh", ())


def test_the_built_in_motion_track_loops() -> None:
    source = open_source("motion:builtin", SourceOptions(loop=True))
    source._clock.speed = 1000.0
    source.open()
    items = [source.read() for _ in range(source.frames + 5)]
    assert items[-1].index == source.frames + 4
    assert items[-1].pts > items[source.frames - 1].pts
    assert np.array_equal(items[source.frames].values, items[0].values)


CAMERAS = [CameraInfo(0, "HD Webcam", "/dev/video0"), CameraInfo(1, "Logitech C920", "/dev/video2")]


@pytest.mark.parametrize(("wanted", "number"), [("", 0), ("1", 1), ("logitech", 1), ("/dev/video2", 1)])
def test_a_camera_is_chosen_by_number_name_or_path(wanted: str, number: int) -> None:
    assert cam.choose_camera(wanted, CAMERAS).number == number


def test_a_missing_camera_is_explained() -> None:
    with pytest.raises(NoDevice, match=r"0 \(HD Webcam\), 1 \(Logitech C920\)") as caught:
        cam.choose_camera("7", CAMERAS)
    assert caught.value.exit_code == 2
    with pytest.raises(NoDevice, match="there is none"):
        cam.choose_camera("", [])


def test_cameras_of_linux_are_listed_once_and_virtual_ones_are_left_out(tmp_path: Path) -> None:
    nodes = [("video0", "HD Webcam", 0), ("video1", "HD Webcam", 1), ("video10", "Avatar", 0), ("video2", "Logi", 0)]
    (tmp_path / "class").mkdir()
    for node, name, index in nodes:
        place = tmp_path / ("virtual" if name == "Avatar" else "pci") / node
        place.mkdir(parents=True)
        (place / "name").write_text(name + "\n")
        (place / "index").write_text(f"{index}\n")
        (tmp_path / "class" / node).symlink_to(place)
    found = cam._cameras_of_linux(tmp_path / "class")
    assert found == [CameraInfo(0, "HD Webcam", "/dev/video0"), CameraInfo(1, "Logi", "/dev/video2")]


@pytest.mark.parametrize("platform", ["linux", "darwin", "win32"])
def test_camera_formats_fall_back_to_what_the_camera_gives(platform: str) -> None:
    tries = cam.formats_to_try(60, platform)
    assert tries[0]["framerate"] == "60"
    assert "video_size" not in tries[-1]


class Unplugged(CameraSource):
    """A camera whose connections are files; an exception stands for a failed attempt."""

    def __init__(self, attempts: list) -> None:
        super().__init__("", SourceOptions())
        self.attempts = attempts
        self.slept: list[float] = []
        clock = FakeClock(100.0)
        self.clock = clock
        self.sleep = lambda seconds: self.slept.append(seconds) or clock.advance(seconds)
        self.told: list[str] = []
        self.tell = self.told.append

    def connect(self):
        import av

        attempt = self.attempts.pop(0)
        if isinstance(attempt, Exception):
            raise attempt
        return av.open(str(attempt))


@pytest.mark.hostile
def test_unplug_and_replug_are_told_and_survived(clip: Path, tmp_path: Path) -> None:
    other = write_clip(tmp_path / "other.mp4", [plain(200, 48, 48)] * 3)
    source = Unplugged([clip, DeviceError("camera", "gone"), DeviceError("camera", "gone"), other])
    source.stopping = lambda: not source.attempts and len(frames) >= 15
    source.open()
    frames: list[Frame] = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    assert [f.index for f in frames] == list(range(15))
    assert frames[-1].image.shape == (48, 48, 3)
    assert sum(source.slept) == pytest.approx(0.5 + 1.0 + 2.0)
    assert len(source.told) == 2
    assert "idles until it is back" in source.told[0]
    assert "is back" in source.told[1]


def test_a_camera_that_never_comes_back_ends_when_the_session_does(clip: Path) -> None:
    source = Unplugged([clip, *[DeviceError("camera", "gone")] * 50])
    source.stopping = lambda: len(source.attempts) < 45
    source.open()
    assert len(list(iter(source.read, None))) == 12


@pytest.mark.hostile
@pytest.mark.timeout(60)
def test_a_fifo_is_opened_once_and_a_writer_that_pauses_is_waited_for(clip: Path, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.ts"
    os.mkfifo(pipe)
    data = transport_stream(30)

    def write() -> None:
        with pipe.open("wb", buffering=0) as out:
            out.write(data[: len(data) // 2])
            time.sleep(0.3)
            out.write(data[len(data) // 2 :])

    threading.Thread(target=write, daemon=True).start()
    assert len(read_all(open_source(str(pipe), SourceOptions(paced=False)))) > 20


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://me:secret@10.0.0.5:554/live", "rtsp://***@10.0.0.5:554/live"),
        ("http://host/clip.mp4?key=secret", "http://host/clip.mp4"),
        ("rtsp://[fe80::1]:8554/x", "rtsp://[fe80::1]:8554/x"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str) -> None:
    assert without_password(url) == shown
    assert "secret" not in UrlSource(url, SourceOptions()).name


def test_an_address_without_a_host_is_refused() -> None:
    with pytest.raises(BadValue, match="host"):
        open_source("http:///clip.mp4")


@pytest.fixture
def web(tmp_path: Path):
    """A web server on this machine: files of `tmp_path`, and /live, an MJPEG stream of ten pictures a connection."""
    import cv2

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args) -> None:
            super().__init__(*args, directory=str(tmp_path))

        def do_GET(self) -> None:
            if self.path != "/live":
                super().do_GET()
                return
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            for n in range(10):
                jpeg = cv2.imencode(".jpg", plain(60 + 10 * n, 64, 64))[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self.wfile.write(head.encode() + jpeg + b"\r\n")
                time.sleep(0.01)

        def log_message(self, *args) -> None:
            """Quiet."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_recorded_video_at_an_address_is_played_at_its_pace(web: str, clip: Path) -> None:
    source = open_source(f"{web}/clip.mp4")
    started = time.monotonic()
    frames = read_all(source)
    assert len(frames) == 12
    assert time.monotonic() - started > 11 / 25 * 0.8


@pytest.mark.hostile
def test_a_live_stream_that_breaks_is_connected_again(web: str) -> None:
    source = open_source(f"{web}/live")
    told: list[str] = []
    source.tell = told.append
    frames: list[Frame] = []
    source.stopping = lambda: len(frames) >= 14
    source.open()
    while (frame := source.read()) is not None:
        frames.append(frame)
    source.close()
    assert source.live
    assert len(frames) >= 14
    assert any("until it is back" in sentence for sentence in told)
    assert any("is back" in sentence for sentence in told)


def test_an_address_that_does_not_answer_is_an_error_without_the_password() -> None:
    source = open_source("http://me:secret@127.0.0.1:9/clip.mp4")
    with pytest.raises(ConnectionLost, match="cannot be opened") as caught:
        source.open()
    assert "secret" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.hostile
def test_an_address_that_takes_the_call_and_says_nothing_is_an_error_in_time(monkeypatch) -> None:
    import realtime.sources.url as url

    monkeypatch.setattr(url, "OPEN_SECONDS", 0.6)
    monkeypatch.setattr(url, "READ_SECONDS", 0.6)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        source = open_source(f"http://127.0.0.1:{silent.getsockname()[1]}/clip.mp4")
        with pytest.raises(NoConnection, match="no answer"):
            source.open()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff"])
def test_pictures_come_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ein Bild, é{suffix}"
    write_picture(path, plain((200, 100, 50)))
    assert np.abs(read_picture(path).astype(int) - (200, 100, 50)).max() < 8


def test_odd_pictures(tmp_path: Path) -> None:
    import cv2

    grey16 = np.full((20, 30), 30_000, np.uint16)
    cv2.imwrite(str(tmp_path / "grey16.png"), grey16)
    assert read_picture(tmp_path / "grey16.png").shape == (20, 30, 3)
    clear = np.zeros((20, 30, 4), np.uint8)
    clear[:10] = (0, 0, 255, 255)
    cv2.imwrite(str(tmp_path / "clear.png"), clear)
    image = read_picture(tmp_path / "clear.png")
    assert tuple(image[2, 2]) == (255, 0, 0)
    assert tuple(image[15, 2]) == (255, 255, 255)  # transparency lies over white
    assert read_picture(tmp_path / "clear.png", max_side=15).shape == (10, 15, 3)
    for name, data in (("text.png", b"hello"), ("empty.jpg", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BadFile):
            read_picture(tmp_path / name)
    with pytest.raises(BadFile, match="must end in"):
        write_picture(tmp_path / "x.gif", plain(0))


def test_fitting_keeps_proportions() -> None:
    fitted = fit_into(plain(200, 40, 20), 60, 60)
    assert fitted.shape == (60, 60, 3)
    assert (fitted[30, 15:45] == 200).all()
    assert (fitted[30, :14] == 0).all()
    same = plain(9, 9, 8)
    assert np.shares_memory(fit_into(same, 8, 9), same)
    assert fit_into(same, 8, 8).shape == (8, 8, 3)  # one row too many is cut off, not scaled away
