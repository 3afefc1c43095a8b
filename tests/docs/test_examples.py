"""The programs in examples/, run as their first lines say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import av
import cv2
import pytest

from realtime import load_engine
from tests.support.server import make_studio, running

ROOT = Path(__file__).resolve().parents[2]


def run(program: str, *arguments: str) -> str:
    """What an example prints. Fails where it does."""
    command = [sys.executable, str(ROOT / "examples" / program), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def frames(path: Path) -> int:
    with av.open(str(path)) as film:
        return sum(1 for _ in film.decode(video=0))


def test_every_example_is_listed_and_tested():
    programs = {path.name for path in (ROOT / "examples").glob("*.py")}
    assert programs == set(re.findall(r"`(\w+\.py)` \|", (ROOT / "examples" / "README.md").read_text()))
    assert programs == set(re.findall(r'run\("(\w+\.py)"', Path(__file__).read_text()))


def test_edit_portrait(tmp_path):
    for name, edits in (("rest.png", ["--set", "smile=0"]), ("turned.png", ["--set", "yaw=-12"])):
        run("edit_portrait.py", str(tmp_path / name), *edits)
    rest, turned = (cv2.imread(str(tmp_path / name)).astype(float) for name in ("rest.png", "turned.png"))
    assert abs(rest - turned).mean() > 1.0


def test_live_sliders(tmp_path):
    out = tmp_path / "sliders.mp4"
    assert "pictures, median" in run("live_sliders.py", str(out), "--seconds", "1.5")
    assert frames(out) >= 10


def test_own_source_and_sink():
    said = run("own_source_and_sink.py", "--seconds", "1")
    assert int(re.search(r"(\d+) pictures", said)[1]) >= 5
    assert "@" in said
    assert "%" in said


@pytest.fixture
def server():
    with running(make_studio(engine=lambda: load_engine("mesh", size=128))) as server:
        yield server.url


def test_drive_a_server(server):
    said = run("drive_a_server.py", server, "--seconds", "1")
    assert re.search(r"mesh renders; seen at \S+/view/", said)
    assert int(re.search(r"(\d+) codes", said)[1]) >= 20
    assert "server:" not in said, "the server refused something"


def test_record_an_avatar(server, tmp_path):
    out = tmp_path / "avatar.mp4"
    said = run("record_an_avatar.py", server, f"file:{out}", "--seconds", "2")
    assert frames(out) == int(re.search(r": (\d+) pictures", said)[1]) >= 10
