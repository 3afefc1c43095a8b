"""What the pages tell people to type is what the command line takes; the site builds, its picture of
imports is true; the public names stay."""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

import realtime
from realtime.cli import build_app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "examples/README.md")),
    *sorted((ROOT / "docs" / "pages").glob("*.md")),
    ROOT / "realtime" / "training" / "README.md",
]


def typed(text: str) -> list[list[str]]:
    """Each `avatar ...` that a page shows, as words: in a block of shell, or alone between back ticks."""
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    lines += re.findall(r"`(avatar [^`]+)`", text)
    found = []
    for line in lines:
        line = line.split(" # ")[0].split("&&")[-1].strip().removeprefix(".venv/bin/")
        if line.startswith("avatar ") and "..." not in line:
            found.append(shlex.split(line)[1:])
    return found


COMMANDS = sorted({tuple(words) for page in PAGES for words in typed(page.read_text(encoding="utf-8"))})
GROUP = typer.main.get_command(build_app())


def test_pages_show_commands():
    assert len(COMMANDS) > 20


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_commands_on_the_pages_exist_with_these_options(words):
    command = GROUP
    rest = list(words)
    while hasattr(command, "commands"):
        name = rest.pop(0)
        assert name in command.commands, f"avatar {' '.join(words)}: there is no command {name!r}"
        command = command.commands[name]
        if not rest:
            return
    options = {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | {"--help"}
    for word in rest:
        if word.startswith("-") and not re.match(r"-?\d", word):
            assert word.split("=")[0] in options, f"avatar {' '.join(words)}: there is no option {word}"


def test_the_public_names_are_these():
    for name in realtime.__all__:
        assert getattr(realtime, name) is not None
    assert set(realtime.__all__) == {
        *("AvatarError", "Control", "Direction", "ENGINES", "Engine", "Frame", "Live", "MotionCode", "MotionTrack"),
        *("Picture", "Pipeline", "PipelineSettings", "Sink", "Source", "builtin_portrait", "builtin_track"),
        *("load_engine", "open_sink", "open_source"),
    }
    assert list(inspect.signature(realtime.load_engine).parameters) == ["name", "options"]
    assert list(inspect.signature(realtime.Pipeline).parameters) == ["source", "engine", "sinks", "settings", "live"]
    assert list(inspect.signature(realtime.open_source).parameters) == ["spec", "options"]
    assert list(inspect.signature(realtime.open_sink).parameters) == ["spec", "options"]


def test_importing_realtime_loads_nothing_heavy():
    code = "import realtime, sys; assert not {'torch', 'mediapipe', 'cv2', 'av', 'aiortc'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_picture_of_imports_is_true_and_no_two_rooms_import_each_other():
    command = [sys.executable, "docs/imports.py", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_site_builds_without_a_broken_link(tmp_path):
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-q",
        "-f",
        "docs/mkdocs.yml",
        "-d",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    for page, words in {
        "commands.html": "avatar render",
        "python.html": "load_engine",
        "network.html": "/api/sessions",
        "architecture.html": "imports.svg",
    }.items():
        assert words in (tmp_path / page).read_text(encoding="utf-8"), page


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_the_unit_is_one_that_systemd_takes(tmp_path):
    unit = (ROOT / "docs" / "deploy" / "avatar.service").read_text(encoding="utf-8")
    copy = tmp_path / "avatar.service"
    copy.write_text(unit.replace("/opt/avatar/bin/avatar", sys.executable), encoding="utf-8")
    command = ["systemd-analyze", "verify", "--man=no", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    complaints = [line for line in done.stderr.splitlines() if "avatar.service" in line]
    assert done.returncode == 0, done.stderr
    assert not complaints
    words = re.search(r"ExecStart=\S+/avatar (.*)", unit)[1].split()
    assert set(words[1:]) <= {"--host", "0.0.0.0"}
    assert words[0] in GROUP.commands
