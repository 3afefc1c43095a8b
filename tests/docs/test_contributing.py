"""The parts that CONTRIBUTING.md tells people to write, written, registered and run as it says."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import realtime.sinks
import realtime.sources
from realtime import MotionTrack, Pipeline, PipelineSettings, load_engine, open_sink, open_source
from realtime.cli import run as avatar
from realtime.families import FAMILIES, Family
from realtime.kernels import host
from realtime.media.pictures import write_picture
from realtime.motion.vocabulary import can_mirror, mirrored
from realtime.motion.wire import Packet, pack, unpack
from realtime.types import MotionCode
from tests.support import write_clip

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r'```\S+ title="([^"]+)"\n(.*?)```', TEXT, re.DOTALL))


@pytest.fixture
def written(tmp_path, monkeypatch):
    """The files of the page, where Python finds them; the registries as the page says."""
    for title, code in BLOCKS.items():
        if title.startswith("realtime/"):
            target = tmp_path / title.removeprefix("realtime/")
            target.parent.mkdir(exist_ok=True)
            target.write_text(code, encoding="utf-8")
    for package in (realtime.sources, realtime.sinks, realtime.engines):
        folder = tmp_path / package.__name__.rpartition(".")[2]
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    for package, registry in ((realtime.sources, "SOURCES"), (realtime.sinks, "SINKS")):
        copy = dict(getattr(package, registry))
        line = f"the line in {package.__name__.replace('.', '/')}/__init__.py"
        exec(BLOCKS[line], {registry: copy})
        monkeypatch.setattr(package, registry, copy)
    families = dict(FAMILIES)
    exec(BLOCKS["the line in realtime/families.py"], {"FAMILIES": families, "Family": Family})
    monkeypatch.setitem(FAMILIES, "shift", families["shift"])
    yield tmp_path
    for name in ("realtime.engines.shift", "realtime.sources.stripes", "realtime.sinks.brightness"):
        sys.modules.pop(name, None)


def test_an_engine_a_source_and_a_sink_of_ones_own_make_a_session(written):
    engine = load_engine("shift", size=64)
    portrait = np.zeros((64, 64, 3), np.uint8)
    portrait[:, :32] = 200
    engine.set_portrait(portrait)
    sink = open_sink(f"brightness:{written / 'out.txt'}")
    pipeline = Pipeline(open_source("stripes:20"), engine, [sink], PipelineSettings(lossless=True))
    stats = asyncio.run(pipeline.run()).to_json()
    lines = (written / "out.txt").read_text().splitlines()
    assert stats["frames"]["delivered"] == len(lines) == 20
    assert all(float(line.split()[1]) == pytest.approx(100.0, abs=1) for line in lines)


def test_they_work_from_the_command_line_too(written, monkeypatch, capsys):
    """One registry line each, and `avatar run` and motion tracks know them."""
    monkeypatch.chdir(written)
    portrait = np.zeros((64, 64, 3), np.uint8)
    portrait[:, :32] = 200
    write_picture(written / "p.png", portrait)
    common = ["--engine", "shift", "--size", "64", "--portrait", "p.png", "--quiet"]
    assert avatar(["run", "--source", "stripes:12", "--sink", "brightness:out.txt", *common]) == 0
    lines = (written / "out.txt").read_text().splitlines()
    assert lines
    assert all(float(line.split()[1]) == pytest.approx(100.0, abs=1) for line in lines)
    # a motion track of its codes: recorded from a clip, and played, straight and in the mirror
    columns = [np.zeros((64, 64, 3), np.uint8) for _ in range(10)]
    for n, picture in enumerate(columns):
        picture[:, 6 * n : 6 * n + 8] = 250
    write_clip(written / "clip.mp4", columns)
    assert avatar(["encode", "clip.mp4", "-o", "walk.motion", "--engine", "shift", "--quiet"]) == 0
    track = MotionTrack.load(written / "walk.motion")
    assert track.kind == "shift"
    moved = track.values[:, 0]
    assert moved[-1] - moved[0] > 1.0
    for extra in ([], ["--mirror"]):
        assert avatar(["render", "motion:walk.motion", "-o", "out.mp4", *extra, *common]) == 0
    assert "shift" in avatar_help(capsys)


def avatar_help(capsys: pytest.CaptureFixture[str]) -> str:
    """What a mistake in the engine's name is answered with: the engines that there are."""
    assert avatar(["run", "--engine", "shifty", "--sink", "null"]) == 2
    return capsys.readouterr().err


def test_codes_of_ones_own_travel_and_are_mirrored(written):
    code = MotionCode("shift", np.array([0.25], np.float32))
    assert unpack(pack(Packet("shift", 1, 0.0, code.values))).kind == "shift"
    assert can_mirror("shift")
    assert mirrored(code).values.tolist() == [-0.25]


@pytest.mark.skipif(bool(host.missing()), reason=host.missing())
def test_a_kernel_of_ones_own_runs_without_a_gpu(tmp_path):
    shutil.copytree(ROOT / "kernels", tmp_path / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    for title in ("kernels/fade.cu", "kernels/fade.py"):
        (tmp_path / title).write_text(BLOCKS[title], encoding="utf-8")
    for file, before, after in (
        ("__init__", "_HOME = {", '_HOME = {"fade": "fade",'),
        ("sources", "MODULES = (", 'MODULES = ("fade",'),
    ):
        path = tmp_path / "kernels" / f"{file}.py"
        text = path.read_text(encoding="utf-8")
        assert before in text
        path.write_text(text.replace(before, after), encoding="utf-8")
    code = BLOCKS["a test, without a GPU"]
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
