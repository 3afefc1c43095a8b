"""The command line: what each command does, and one sentence for every mistake."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from realtime.cli import run
from realtime.commands import COMMANDS
from realtime.families import FAMILIES
from realtime.media.pictures import read_picture, write_picture
from realtime.motion.track import MotionTrack
from realtime.settings import EngineSettings
from tests.support import FAKE_FAMILY, FakeEngine, plain, write_clip
from tests.voice.test_voice import write_wav

ROOT = Path(__file__).resolve().parents[2]
FAKE = ["--engine", "fake", "--size", "64"]


@pytest.fixture(autouse=True)
def fake_engine(monkeypatch) -> None:
    monkeypatch.setitem(FAMILIES, "fake", FAKE_FAMILY)


@pytest.fixture
def place(tmp_path: Path, monkeypatch) -> Path:
    """A folder with clip.mp4 (20 frames at 25 fps, one without a face), face.png and black.png; the present one."""
    monkeypatch.chdir(tmp_path)
    pictures = [plain(60 + 5 * n, 64, 64) for n in range(20)]
    pictures[10] = plain(0, 64, 64)
    write_clip(tmp_path / "clip.mp4", pictures, fps=25)
    write_picture(tmp_path / "face.png", plain(120))
    write_picture(tmp_path / "black.png", plain(0))
    return tmp_path


def sentence(capsys, code: int, arguments: list[str]) -> str:
    """Run a command line that fails with `code`; its one line on stderr."""
    assert run(arguments) == code
    output = capsys.readouterr()
    lines = output.err.strip().splitlines()
    assert len(lines) == 1, output.err
    assert lines[0].startswith("avatar: ")
    assert "Traceback" not in output.err + output.out
    return lines[0]


def frames_in(path: Path) -> tuple[int, float, float]:
    """Number of frames, fps and duration of a clip."""
    import av

    with av.open(str(path)) as container:
        count = sum(1 for _ in container.decode(video=0))
        return count, float(container.streams.video[0].average_rate), container.duration / 1e6


def when_shown(path: str, kind: str) -> list[float]:
    """When each frame of the film's pictures ("video") or sound ("audio") begins, seconds, and when the last ends."""
    import av

    with av.open(path) as container:
        stream = container.streams.get({kind: 0})[0]
        times = [frame.time for frame in container.decode(stream)]
        return [*times, float((stream.start_time + stream.duration) * stream.time_base)]


def test_render_says_when_the_clip_never_shows_a_face(place: Path, capsys) -> None:
    for driving, said in (("black.png", True), ("face.png", False)):
        assert run(["render", driving, "--portrait", "face.png", "-o", "out.mp4", *FAKE]) == 0
        output = capsys.readouterr()
        assert "1 frame" in output.out
        assert "1 frames" not in output.out
        assert ("no face in any frame" in output.err) is said


def test_render_gives_as_many_frames_at_the_same_rate(place: Path, capsys) -> None:
    assert run(["render", "clip.mp4", "--portrait", "face.png", "-o", "out.mp4", "--stats", "s.json", *FAKE]) == 0
    assert frames_in(place / "out.mp4") == frames_in(place / "clip.mp4") == (20, 25.0, pytest.approx(0.8, abs=0.01))
    assert "20 frames, 1 without a face" in capsys.readouterr().out
    stats = json.loads((place / "s.json").read_text())
    assert stats["frames"]["delivered"] == 20
    assert stats["frames"]["dropped"] == 0


def test_render_copies_the_sound(place: Path) -> None:
    import av

    with av.open("talk.mp4", "w") as out, av.open("clip.mp4") as clip:
        video = out.add_stream_from_template(clip.streams.video[0])
        sound = out.add_stream("aac", rate=48_000)
        for packet in clip.demux(clip.streams.video[0]):
            if packet.dts is not None:
                packet.stream = video
                out.mux(packet)
        for n in range(37):
            tone = np.sin(np.arange(n * 1024, (n + 1) * 1024) / 20).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 48_000, n * 1024, Fraction(1, 48_000)
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    assert run(["render", "talk.mp4", "--portrait", "face.png", "-o", "out.mp4", "-q", *FAKE]) == 0
    with av.open("out.mp4") as out:
        samples = sum(frame.samples for frame in out.decode(audio=0))
    assert samples / 48_000 == pytest.approx(0.8, abs=0.06)
    assert frames_in(Path("out.mp4"))[0] == 20
    for kind in ("video", "audio"):  # AAC begins with 1024 samples that no player plays: they must not delay the rest
        assert when_shown("out.mp4", kind) == pytest.approx(when_shown("talk.mp4", kind), abs=1e-3)


def test_render_lets_a_recording_speak_with_its_sound_in_time(place: Path) -> None:
    import av

    samples = np.zeros(16_000, np.float32)
    samples[8000:8016] = 0.9  # a click at 0.5 s
    write_wav(place / "talk.wav", samples)
    assert run(["render", "talk.wav", "-o", "out.mp4", "--size", "64", "-q"]) == 0
    assert frames_in(place / "out.mp4") == (30, 30.0, pytest.approx(1.0, abs=0.05))
    assert when_shown("out.mp4", "video")[0] == pytest.approx(0.0, abs=1e-3)
    with av.open("out.mp4") as out:
        assert out.streams.audio[0].codec.name == "aac"  # which every player plays
        heard = [(frame.time, np.abs(frame.to_ndarray()[0])) for frame in out.decode(audio=0)]
    times = np.concatenate([at + np.arange(len(part)) / 16_000 for at, part in heard])
    loud = np.concatenate([part for _, part in heard])
    assert times[loud.argmax()] == pytest.approx(0.5, abs=0.01)


def test_a_recording_needs_an_engine_whose_lips_are_known(place: Path, capsys) -> None:
    write_wav(place / "talk.wav", np.zeros(16_000, np.float32))
    said = sentence(capsys, 2, ["render", "talk.wav", "--portrait", "face.png", "-o", "out.mp4", *FAKE])
    assert "sound cannot drive it; mesh can" in said


def test_render_takes_a_part_with_duration(place: Path) -> None:
    assert run(["render", "clip.mp4", "--portrait", "face.png", "-o", "out.mp4", "--duration", "0.4", *FAKE]) == 0
    assert frames_in(place / "out.mp4")[0] == 10


def test_run_plays_a_clip_into_several_sinks(place: Path, capsys) -> None:
    code = run(
        ["run", "--source", "clip.mp4", "--portrait", "face.png", "--sink", "null", "--sink", "file:live.mp4",
         "--sink", "images:frames", "--stats", "s.json", "--quiet", *FAKE]
    )  # fmt: skip
    assert code == 0
    stats = json.loads((place / "s.json").read_text())
    assert stats["frames"]["captured"] == 20
    assert stats["frames"]["captured"] == stats["frames"]["delivered"] + stats["frames"]["dropped"]
    assert frames_in(place / "live.mp4")[0] >= 1
    assert len(list((place / "frames").iterdir())) >= 1


def test_run_says_what_drives_what_and_which_files_it_has_written(place: Path, capsys) -> None:
    portrait = str(place / "face.png")
    sinks = ["--sink", "null", "--sink", "file:live.mp4", "--sink", "images:frames"]
    assert run(["run", "--source", "clip.mp4", "--portrait", portrait, *sinks, *FAKE]) == 0
    said = capsys.readouterr()
    assert "clip.mp4 drives face.png into" in said.err
    frames = frames_in(place / "live.mp4")[0]
    assert f"live.mp4: {frames} frames, " in said.out
    assert f"frames: {len(list((place / 'frames').iterdir()))} pictures" in said.out


def test_models_alone_shows_its_help_and_no_complaint(capsys) -> None:
    assert run(["models"]) == 2
    said = capsys.readouterr()
    assert "pull" in said.out
    assert "avatar:" not in said.err


def test_encode_then_render_from_the_track(place: Path, capsys) -> None:
    assert run(["encode", "clip.mp4", "-o", "clip.motion", "--engine", "fake"]) == 0
    assert "20 frames at 25 fps, 1 without a face" in capsys.readouterr().out
    track = MotionTrack.load(place / "clip.motion")
    assert [code is None for code in track.codes()] == [n == 10 for n in range(20)]
    assert track.times == pytest.approx([n / 25 for n in range(20)])
    assert track.reference is not None
    assert run(["render", "clip.motion", "--portrait", "face.png", "-o", "out.mp4", *FAKE]) == 0
    assert frames_in(place / "out.mp4")[0] == 20


def test_edit_writes_one_picture(place: Path, capsys) -> None:
    assert run(["edit", "face.png", "--set", "smile=0.25", "-o", "out.png", "--no-mark", *FAKE]) == 0
    assert tuple(read_picture(place / "out.png")[5, 5]) == (120 + 64, 120, 120)
    assert "smile=0.25" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["edit", "face.png"], ["directions", "--portrait", "face.png"]])
def test_what_an_engine_warns_of_in_a_portrait_is_said(place: Path, capsys, monkeypatch, command: list[str]) -> None:
    monkeypatch.setattr(FakeEngine, "warnings", ("the head is turned",), raising=False)
    assert run([*command, "-o", "out.png", *FAKE]) == 0
    assert "! portrait: the head is turned" in capsys.readouterr().err


def test_directions_as_table_json_and_sheet(place: Path, capsys) -> None:
    assert run(["directions", "--engine", "fake"]) == 0
    assert "the corners of the mouth rise" in capsys.readouterr().out
    assert run(["directions", "--engine", "fake", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [d["name"] for d in listed] == ["smile", "yaw", "gaze_x"]
    assert set(listed[0]) == {"name", "index", "lo", "hi", "unit", "group", "about", "named"}
    assert run(["directions", "--portrait", "face.png", "-o", "sheet.png", *FAKE]) == 0
    sheet = read_picture(place / "sheet.png")
    assert sheet.shape[1] > 3 * 5 * 100
    cells = [sheet[100, 72 + 144 * n] for n in range(5)]  # smile: red grows from left to right
    assert [int(c[0]) for c in cells] == sorted(int(c[0]) for c in cells)
    assert cells[0][0] < 20
    assert cells[4][0] > 230


def test_doctor_says_what_mends_what_is_missing(capsys) -> None:
    assert run(["doctor", "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    names = {check["name"] for check in checks}
    assert {"python", "packages", "cameras", "virtual camera", "display", "gpu", "codecs", "cupy", "server"} <= names
    assert all(check["status"] in ("ok", "warn", "missing") for check in checks)
    assert all(check["cure"] for check in checks if check["status"] == "missing")
    assert not any("\n" in check["cure"] for check in checks)
    assert run(["doctor"]) == 0
    assert "mend it with" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("gpu", "reason", "words"),
    [
        (False, "", "needs no GPU"),
        (True, "", "on the GPU with --device cuda"),
        (True, "CuPy is not installed", "not on the GPU: CuPy is not installed"),
    ],
)
def test_doctor_says_whether_the_mesh_engine_uses_the_gpu(monkeypatch, gpu: bool, reason: str, words: str) -> None:
    import realtime.checks.machine as doctor
    from realtime import kernels

    monkeypatch.setattr(doctor, "_has_gpu", lambda: gpu)
    monkeypatch.setattr(kernels, "why_unavailable", lambda: reason)
    assert words in doctor.engine().detail


@pytest.mark.parametrize("display", [False, True])
def test_the_demo_says_where_it_is_and_what_to_do_without_a_display(monkeypatch, capsys, display: bool) -> None:
    pytest.importorskip("aiortc")
    import realtime.commands.demo as demo
    import realtime.commands.serve as serving

    said: list[str] = []
    opened: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("Ctrl-C") and not display:
            os.kill(os.getpid(), signal.SIGINT)

    def open_browser(link: str) -> None:
        opened.append(link)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(demo, "has_display", lambda: display)
    monkeypatch.setattr(demo, "engine_settings", lambda *_: EngineSettings("fake", 64))
    monkeypatch.setattr(serving.webbrowser, "open", open_browser)
    monkeypatch.setattr(serving, "say", say)
    assert run(["demo", "--port", "0"]) == 0
    assert any(line.startswith("Open http://127.0.0.1:") for line in said)
    assert len(opened) == display
    assert any("avatar demo --film" in line for line in said) == (not display)


def test_doctor_survives_a_check_that_breaks(monkeypatch, capsys) -> None:
    import realtime.checks.machine as doctor

    def broken() -> doctor.Check:
        raise RuntimeError("no bus")

    monkeypatch.setattr(doctor, "LOOKS", (broken,))
    (check,) = doctor.examine()
    assert check.status == "warn"
    assert "no bus" in check.detail


MISTAKES = [
    ([], "rnder", "Did you mean 'render'?"),
    (["run"], "--sorce x", "No such option: --sorce"),
    (["run"], "--fps 0", "frames a second, from 1 to 240"),
    (["run"], "--fps many", "--fps"),
    (["run"], "--size 5", "pixels, from 64 to 2048"),
    (["run"], "--size 640x", "as in 512 or 640x480"),
    (["run"], "--size 640x480 --engine lia", "makes squares"),
    (["run"], "--size 16:9 --engine lia", "makes squares"),
    (["render"], "clip.mp4 -o out.mp4 --size 16:10", "square, 1:1, 16:9, 9:16, 4:3, 3:4, round"),
    (["serve"], "--view left.png", "give one --portrait"),
    (["serve"], "--portrait face.png --engine fake --view face.png", "the fake engine takes one picture"),
    (["serve"], "--portrait face.png --view missing.png", "missing.png: no such file"),
    (["serve"], "--size round@5000", "pixels, from 64 to 2048"),
    (["edit"], "face.png -o out.png --size round", "the whole picture is shown here"),
    (["run"], "--duration -1", "seconds, above 0"),
    (["run"], "--duration inf", "seconds, above 0"),
    (["render"], "clip.mp4 -o out.mp4 --duration inf", "seconds, above 0"),
    (["encode"], "clip.mp4 -o out.motion --duration inf", "seconds, above 0"),
    (["run"], "--source clip.mp4 --sink null --sink file:./clip.mp4", "clip.mp4: is one of the inputs"),
    (["run"], "--source clip.mp4 --sink null --stats clip.mp4", "clip.mp4: is one of the inputs"),
    (["run"], "--source clip.mp4 --portrait face.png --sink null --stats face.png", "is one of the inputs"),
    (["run"], "--source clip.mp4 --sink file:out.mp4 --sink file:./out.mp4", "out.mp4: is written twice"),
    (["run"], "--source clip.mp4 --sink file:out.mp4 --stats out.mp4", "out.mp4: is written twice"),
    (["render"], "clip.mp4 -o out.mp4 --stats clip.mp4", "clip.mp4: is one of the inputs"),
    (["render"], "clip.mp4 -o out.mp4 --stats out.mp4", "out.mp4: is written twice"),
    (["run"], "--engine mash", "Did you mean 'mesh'?"),
    (["run"], "--engine mesh --weights w.pt", "takes none"),
    (["run"], "--weights w.pt", "say which engine"),
    (["run"], "--sink vcm", "Did you mean 'vcam'?"),
    (["run"], "--sink file:out.avi", "must end in"),
    (["run"], "--sink null --source missing.mp4", "missing.mp4: no such file"),
    (["run"], "--sink null --source wobble", "no source called 'wobble'"),
    (["run"], "--sink null --source=", "camera, camera:N, mic, a clip"),
    (["run"], "--sink null --source motion:", "motion:builtin"),
    (["run"], "--sink null --source file:", "file:clip.mp4"),
    (["run"], "--source http://127.0.0.1:9/x --sink null --portrait face.png --engine fake", "cannot be opened"),
    (["run"], "--source rtsp://127.0.0.1:9/x --sink null --portrait face.png --engine fake", "cannot be opened"),
    (["run"], "--sink null --source motion:missing.motion", "missing.motion"),
    (["run"], "--sink null --source clip.mp4 --portrait none.png", "none.png: no such file"),
    (["run"], "--sink null --source clip.mp4 --portrait clip.motion", "clip.motion: no such file"),
    (["run"], "--sink null --source clip.mp4 --portrait black.png --engine fake", "black.png: no face was found"),
    (["run"], "--sink null --source clip.mp4 --portrait face.png --engine fake --set smlie=1", "mean 'smile'?"),
    (["run"], "--set smile", "NAME=VALUE"),
    (["run"], "--set smile=wide", "a number"),
    (["run"], "--amplitude head", "PART=FACTOR"),
    (["run"], "--amplitude nose=1", "no part called"),
    (["run"], "--amplitude head=9", "a factor from 0 to 3"),
    (["run"], "--stats no/such/folder/s.json", "there is no folder"),
    (["render"], "clip.mp4", "Missing option '-o'"),
    (["render"], "missing.mp4 -o out.mp4", "missing.mp4: no such file"),
    (["render"], "face.txt -o out.mp4", "no such file"),
    (["render"], "clip.mp4 -o clip.mp4", "is one of the inputs"),
    (["render"], "clip.mp4 --portrait face.png -o face.png", "is one of the inputs"),
    (["render"], "clip.mp4 -o out.gif", "must end in"),
    (["render"], "clip.mp4 -o no/such/out.mp4", "there is no folder"),
    (["render"], "camera -o out.mp4", "avatar run"),
    (["render"], "builtin -o out.mp4", "the built-in motion track is motion:builtin"),
    (["run"], "--sink null --source motion:nothere", "nothere: there is no such motion track"),
    (["edit"], "face.png -o face.png", "the portrait itself"),
    (["edit"], "face.png -o out.gif", "must end in"),
    (["edit"], "face.png --engine fake --set yaw=2% --set smile=3deg -o out.png", "a plain number"),
    (["edit"], "face.png --engine fake --set smile=77 -o out.png", "-1 to 1"),
    (["edit"], "face.png --view out.png -o out.png", "the portrait itself"),
    (["edit"], "face.png --engine fake --view face.png -o out.png", "the fake engine takes one picture"),
    (["render"], "clip.mp4 --portrait face.png --view left.png -o left.png", "is one of the inputs"),
    (["run"], "--sink null --portrait face.png --portrait black.png --view face.png", "give one --portrait"),
    (["encode"], "clip.mp4 -o out.mp4", ".motion"),
    (["encode"], "black.png -o out.motion --engine fake", "no face was seen"),
    (["directions"], "--only nose --engine fake", "gaze, head, mouth"),
]


@pytest.mark.parametrize(("command", "arguments", "words"), MISTAKES, ids=[f"{m[0]} {m[1]}" for m in MISTAKES])
def test_a_mistake_is_one_sentence_and_exit_code_2(place: Path, capsys, command, arguments, words) -> None:
    assert words in sentence(capsys, 2, [*command, *arguments.split()])


def test_no_file_is_left_behind_by_a_mistake(place: Path, capsys) -> None:
    before = {p.name for p in place.iterdir()}
    run(["render", "clip.mp4", "--portrait", "black.png", "-o", "out.mp4", *FAKE])
    run(["run", "--source", "clip.mp4", "--portrait", "black.png", "--sink", "file:out.mp4", *FAKE])
    assert {p.name for p in place.iterdir()} == before


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="/proc is a folder that takes no files, even from root")
@pytest.mark.parametrize(
    "arguments",
    [
        "render clip.mp4 --engine fake --portrait face.png -o /proc/out.mp4",
        "render clip.mp4 --engine fake --portrait face.png -o out.mp4 --stats /proc/stats.json",
        "edit face.png --engine fake -o /proc/out.png",
        "encode clip.mp4 --engine fake -o /proc/out.motion",
        "directions --engine fake --portrait face.png -o /proc/sheet.png",
        "directions --engine fake --portrait face.png -o /proc/sweep.mp4",
        "demo --film /proc/demo.mp4",
        "run --source clip.mp4 --engine fake --portrait face.png --sink file:/proc/out.mp4",
        "run --source clip.mp4 --engine fake --portrait face.png --sink images:/proc/frames",
    ],
)
def test_a_folder_that_takes_no_files_is_told_before_any_work(place: Path, capsys, monkeypatch, arguments) -> None:

    monkeypatch.setattr(FakeEngine, "render", lambda self, code: pytest.fail("something was rendered"))
    assert "cannot be written" in sentence(capsys, 2, arguments.split())


def test_asking_whether_a_file_can_be_written_changes_nothing(tmp_path: Path) -> None:
    from realtime.media.pictures import check_folder_of

    (tmp_path / "kept.mp4").write_bytes(b"a film")
    for name in ("kept.mp4", "new.mp4"):
        check_folder_of(tmp_path / name)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("kept.mp4", b"a film")]


def test_a_failure_while_running_is_exit_code_1(place: Path, capsys, monkeypatch) -> None:

    monkeypatch.setattr(FakeEngine, "render", lambda self, code: 1 / 0)
    command = ["render", "clip.mp4", "--portrait", "face.png", "-o", "out.mp4", *FAKE]
    assert "engine fake: " in sentence(capsys, 1, command)


NAMES = ["a:b.mp4", "12:30:00.mp4", "~x.mp4", "./-x.mp4", "file.mp4"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.hostile
def test_a_file_may_have_any_name(place: Path, name) -> None:
    """As input, as output and as a sink: no name is taken for an address, a user or an option."""
    (place / "clip.mp4").rename(place / name)
    assert run(["render", name, "--portrait", "face.png", "-o", "out.mp4", "-q", *FAKE]) == 0
    assert frames_in(place / "out.mp4")[0] == 20
    (place / name).rename(place / "clip.mp4")
    assert run(["render", "clip.mp4", "--portrait", "face.png", "-o", name, "-q", *FAKE]) == 0
    sink = ["--sink", f"file:rec-{Path(name).name}", "-q"]
    assert run(["run", "--source", name, "--portrait", "face.png", *sink, *FAKE]) == 0
    assert frames_in((place / name).absolute())[0] == 20


@pytest.mark.hostile
def test_a_picture_and_a_track_may_have_any_name(place: Path) -> None:
    assert run(["edit", "face.png", "-o", "~a:b.png", *FAKE]) == 0
    assert run(["edit", "~a:b.png", "-o", "out.png", *FAKE]) == 0
    assert run(["encode", "clip.mp4", "-o", "~a:b.motion", "--engine", "fake", "-q"]) == 0
    assert run(["render", "~a:b.motion", "--portrait", "face.png", "-o", "out.mp4", "-q", *FAKE]) == 0


@pytest.mark.hostile
def test_a_file_that_looks_like_an_option_is_explained(place: Path, capsys) -> None:
    (place / "clip.mp4").rename(place / "-x.mp4")
    said = sentence(capsys, 2, ["render", "-x.mp4", "-o", "out.mp4"])
    assert "the file of that name is written ./-x.mp4" in said


def test_a_missing_portrait_is_named_before_a_missing_virtual_camera(place: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("realtime.sinks.virtual_camera.loopback_devices", lambda: [])
    assert "nope.png: no such file" in sentence(capsys, 2, ["run", "--source", "clip.mp4", "--portrait", "nope.png"])


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("name", ["lia", "fomm-vox", "mine"])
@pytest.mark.hostile
def test_a_pickle_that_is_called_safetensors_is_named_as_one(
    place: Path, capsys, monkeypatch, name, protocol
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv("AVATAR_HOME", str(place))
    (place / "w.safetensors").write_bytes(pickle.dumps({"a": 1}, protocol))
    assert "holds a pickle" in sentence(capsys, 2, ["models", "add", name, "w.safetensors"])


def test_the_length_of_a_header_is_not_taken_for_what_kind_of_file_it_is(place: Path) -> None:
    """A safetensors file begins with a length: its lowest byte may be that of a pickle, of a space or of "<"."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    from realtime.engines.weights.reader import read_state

    first = set()
    for n in range(0, 512, 8):
        save_file({"a": torch.ones(2)}, str(place / "w.safetensors"), metadata={"note": "x" * n})
        first.add((place / "w.safetensors").read_bytes()[0])
        assert list(read_state(place / "w.safetensors")) == ["a"]
    assert {0x80, 0x20} <= first


@pytest.mark.parametrize("command", [["run"], ["serve"], ["models", "pull"]])
def test_help_shows_no_type_of_a_flag(command, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert run([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "bool" not in text.lower()
    assert "--help" in text


def test_examples_say_what_they_do(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    run(["edit", "--help"])
    assert "--set wink_left=1 -o wink.png" in capsys.readouterr().out
    run(["models", "pull", "--help"])
    assert "avatar models pull lia-x --accept-licence" in capsys.readouterr().out


def test_progress_knows_its_total_from_the_start_and_never_shows_a_question_mark(place: Path, monkeypatch) -> None:
    import io

    from rich.console import Console

    from realtime.commands import terminal

    shown = io.StringIO()
    monkeypatch.setattr("rich.console.Console", lambda file: Console(file=shown, force_terminal=True, width=100))
    assert run(["render", "clip.mp4", "--portrait", "face.png", "-o", "out.mp4", *FAKE]) == 0
    assert "/20" in shown.getvalue()
    with terminal.progress() as bar:
        bar.add_task("reading a pipe", total=None, speed="")
    assert "reading a pipe" in shown.getvalue()
    assert "/?" not in shown.getvalue()


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_every_command_has_help_with_examples(name, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert run([name, "--help"] if name else ["--help"]) == 0
    text = capsys.readouterr().out
    if name is None:
        assert all(command in text for command in COMMANDS)
    elif name != "models":  # a group: its subcommands have examples
        assert f"avatar {name}" in text


def test_the_program_itself(place: Path) -> None:
    """In a process of its own: a mistake, with nothing of native libraries on stderr."""
    arguments = ["run", "--source", "clip.mp4", "--portrait", "black.png", "--sink", "null"]
    command = [sys.executable, "-m", "realtime", *arguments]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=_environment(), cwd=place, check=False
    )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "black.png" in ended.stderr


def test_import_and_help_load_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "import realtime\n"
        "from realtime.cli import run\n"
        "code = run(['--help'])\n"
        "heavy = {'torch', 'cv2', 'mediapipe', 'av', 'aiortc', 'numba', 'scipy', 'fastapi'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=_environment(), check=True
    )
    assert ended.stderr.strip() == "[]"


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}
