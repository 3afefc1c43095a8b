"""A machine that is not as it should be: a port that is taken, a home that takes no files, a clock that jumps."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support.server import make_studio, running

pytestmark = pytest.mark.hostile
ROOT = Path(__file__).resolve().parents[2]


def avatar(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "realtime", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120,
        env=os.environ | environment,
    )  # fmt: skip


def test_a_second_server_on_one_port_says_so_and_leaves_the_first_alone():
    with running(make_studio()) as first:
        second = avatar("serve", "--port", str(first.port), "--size", "128")
        assert second.returncode == 1
        assert f"port {first.port}: another program uses it" in second.stderr
        assert "Traceback" not in second.stderr
        with urllib.request.urlopen(f"{first.url}/api/health", timeout=10) as answer:
            assert answer.status == 200


def test_a_home_that_takes_no_files_is_no_obstacle(tmp_path):
    home = tmp_path / "home"
    home.write_text("a file: nothing can be made in it, not even by root")
    gone = {name: str(home / "x") for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "AVATAR_HOME")}
    out = tmp_path / "out.png"
    done = avatar("edit", "builtin", "--size", "128", "-o", str(out), HOME=str(home), **gone)
    assert done.returncode == 0, done.stderr
    assert out.stat().st_size > 1000
    assert home.is_file()


@pytest.mark.skipif(shutil.which("faketime") is None, reason="faketime is not installed")
def test_a_clock_that_is_years_off_changes_no_film(tmp_path):
    """Motion goes by clocks that do not jump, and by the media's own."""
    ways = {"right": [], "off": ["faketime", "-f", "-4000d x1"]}
    for name, before in ways.items():
        done = subprocess.run(
            [*before, sys.executable, "-m", "realtime", "render", "motion:builtin", "--size", "128", "--duration",
             "0.5", "-q", "-o", str(tmp_path / f"{name}.mp4")],
            cwd=ROOT, capture_output=True, text=True, timeout=120, env=os.environ | {"DONT_FAKE_MONOTONIC": "1"},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert frames(tmp_path / "right.mp4") == frames(tmp_path / "off.mp4") > 5


def frames(path: Path) -> int:
    import av

    with av.open(str(path)) as film:
        return sum(1 for _ in film.decode(video=0))
