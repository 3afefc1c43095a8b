"""The real command, stopped and failing: an earlier output stays, and what was finished has a name that says so."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.hostile

ROOT = Path(__file__).resolve().parents[2]
EARLIER = b"an earlier film"
PERFORMANCE = ["render", "motion:builtin", "--size", "256"]


def start(arguments: list[str], **more) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "realtime", *arguments], cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, **more,
    )  # fmt: skip


def stop_when(process: subprocess.Popen, begun: Path, size: int, number: int) -> str:
    """Send the signal once the file `begun` has so many bytes; what the program said then."""
    deadline = time.monotonic() + 60
    while not (begun.exists() and begun.stat().st_size >= size) and process.poll() is None:
        assert time.monotonic() < deadline, "it never began to write"
        time.sleep(0.02)
    os.kill(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert "Traceback" not in said
    return said


def pictures_in(path: Path) -> int:
    import av

    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def limited(size: int):
    """Largest size of a file, bytes: writing on fails as on a full disk, with another errno."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_render_leaves_the_earlier_film_and_a_playable_part(tmp_path: Path, number) -> None:
    out, part = tmp_path / "out.mp4", tmp_path / "out.partial.mp4"
    out.write_bytes(EARLIER)
    stats = tmp_path / "stats.json"
    stats.write_text("earlier")
    process = start([*PERFORMANCE, "-o", str(out), "--stats", str(stats)])
    said = stop_when(process, part, 20_000, number)
    assert process.returncode == 1
    assert said.strip() == f"avatar: interrupted: {part} holds the first {pictures_in(part)} frames"
    assert out.read_bytes() == EARLIER
    assert stats.read_text() == "earlier"


def test_a_stop_before_the_first_frame_is_no_empty_clip(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(EARLIER)
    process = start([*PERFORMANCE, "-o", str(out)])
    said = stop_when(process, tmp_path, 0, signal.SIGTERM) if process.poll() is None else ""
    assert process.returncode in (1, -signal.SIGTERM), said  # -SIGTERM: Python itself was still starting
    assert "no frames" not in said
    assert out.read_bytes() == EARLIER
    assert {p.name for p in tmp_path.iterdir()} == {"out.mp4"}


def test_a_full_disk_ends_a_render_with_exit_code_1_and_a_playable_part(tmp_path: Path) -> None:
    out, part = tmp_path / "out.mp4", tmp_path / "out.partial.mp4"
    out.write_bytes(EARLIER)
    process = start([*PERFORMANCE, "-o", str(out), "-q"], preexec_fn=limited(100_000))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"{out}: writing failed (File too large); {part} holds what was finished" in said
    assert "Traceback" not in said
    assert out.read_bytes() == EARLIER
    from realtime.sources import SourceOptions, open_source

    source = open_source(str(part), SourceOptions(paced=False))
    source.open()
    count = 0
    while source.read() is not None:
        count += 1
    source.close()
    assert count > 10


def test_a_full_disk_ends_an_edit_with_exit_code_1_and_the_earlier_picture(tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    out.write_bytes(EARLIER)
    process = start(["edit", "builtin", "--size", "128", "-o", str(out)], preexec_fn=limited(5000))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"{out}: cannot be written (File too large)" in said
    assert out.read_bytes() == EARLIER
    assert {p.name for p in tmp_path.iterdir()} == {"out.png"}


@pytest.mark.parametrize("command", [["demo", "--film"], ["directions", "-o"]])
def test_a_stopped_film_or_sweep_leaves_the_earlier_one(tmp_path: Path, command) -> None:
    out, part = tmp_path / "out.mp4", tmp_path / "out.partial.mp4"
    out.write_bytes(EARLIER)
    process = start([*command, str(out), "--size", "256"])
    said = stop_when(process, part, 20_000, signal.SIGTERM)
    assert process.returncode == 1
    assert f"interrupted: {part} holds the first {pictures_in(part)} frames" in said
    assert out.read_bytes() == EARLIER


def test_a_recording_that_is_ended_takes_its_name_and_one_that_breaks_off_does_not(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    run = ["run", "--source", "motion:builtin", "--loop", "--size", "256", "--sink", f"file:{out}"]
    out.write_bytes(EARLIER)
    process = start(run)
    stop_when(process, tmp_path / "out.partial.mp4", 20_000, signal.SIGTERM)
    assert process.returncode == 0
    assert {p.name for p in tmp_path.iterdir()} == {"out.mp4"}
    assert pictures_in(out) > 5
    good = out.read_bytes()
    process = start(run, preexec_fn=limited(50_000))
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "out.partial.mp4 holds what was finished" in said
    assert out.read_bytes() == good


def test_too_little_memory_is_a_sentence(tmp_path: Path) -> None:
    half = 500 << 20
    process = start(
        ["edit", "builtin", "--size", "128", "-o", str(tmp_path / "a.png")],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (half, half)),
    )
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "memory" in said
    assert "Traceback" not in said


STUCK = """
import atexit, threading, time
from realtime import cli

def run(arguments):
    threading.Thread(target=time.sleep, args=(60,), name="avatar-render", daemon=True).start()
    print("done")
    return 2

cli.run = run
atexit.register(print, "the interpreter's own end")
cli.main()
"""


def test_a_stage_in_a_long_step_does_not_break_the_end():
    """A frame that takes longer than the session waits for: native code would abort the interpreter's end."""
    command = [sys.executable, "-c", STUCK]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split()) == (2, ["done"])
