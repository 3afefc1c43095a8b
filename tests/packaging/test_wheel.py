"""What is built for others to install: source package, wheel from it, and the wheel in an environment of its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest

import realtime

ROOT = Path(__file__).resolve().parents[2]
CODE, PAGE, DATA = (
    {".py", ".cu", ".cuh", ".h"},
    {".js", ".css", ".html", ".svg"},
    {".npz", ".onnx", ".motion", ".png", ".jpg"},
)
SHIPPED = CODE | PAGE | DATA
LEFT_OUT = shutil.ignore_patterns(".*", "*.egg-info", "build", "dist", "node_modules", "__pycache__", "results")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def run(*command: str | Path, cwd: Path) -> str:
    """Runs a command away from the checkout, and without what would lead back to it. Gives its output."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """A folder with the source package and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copytree(ROOT, folder / "source", symlinks=True, ignore=LEFT_OUT)
    run(sys.executable, "-m", "build", "--outdir", folder, folder / "source", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory) -> Path:
    """The programs of a fresh environment with the wheel in it."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=True)
    (wheel,) = built.glob("*.whl")
    run(folder / "bin" / "pip", "install", "-q", f"{wheel}[serve]", cwd=folder)
    return folder / "bin"


def test_the_wheel_holds_all_that_runs_and_nothing_else(built):
    (wheel,), (source,) = built.glob("*.whl"), built.glob("*.tar.gz")
    assert wheel.name.startswith(f"realtime_avatar-{realtime.__version__}-")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"realtime"}
    assert "realtime/data/README.md" in names
    for folder in ("realtime", "kernels", "clients"):
        inside = folder if folder == "realtime" else f"realtime/{folder}"
        for path in (ROOT / folder).rglob("*"):
            relative = path.relative_to(ROOT / folder)
            if path.suffix in SHIPPED:
                assert f"{inside}/{relative}" in names, relative
    assert not [name for name in names if "results" in name or "test" in Path(name).name]
    with tarfile.open(source) as archive:
        assert any(name.endswith("/kernels/warp.cu") for name in archive.getnames())


def test_an_installed_wheel_takes_no_names_of_others(installed, tmp_path):
    for name in ("kernels", "clients", "benchmarks", "tests"):
        code = f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is not None)"
        run(installed / "python", "-c", code, cwd=tmp_path)
    run(installed / "python", "-c", "import realtime.kernels.sources, realtime.clients.motion_client", cwd=tmp_path)


def test_an_installed_wheel_edits_and_renders(installed, tmp_path):
    avatar = installed / "avatar"
    assert realtime.__version__ in run(avatar, "--version", cwd=tmp_path)
    run(avatar, "edit", "builtin", "--set", "smile=0.4", "-o", "smile.png", cwd=tmp_path)
    run(avatar, "render", "motion:builtin", "--duration", "1", "--size", "128", "-o", "out.mp4", cwd=tmp_path)
    assert (tmp_path / "smile.png").stat().st_size > 10_000
    assert (tmp_path / "out.mp4").stat().st_size > 1_000


def test_an_installed_wheel_serves_its_page(installed, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = f"http://127.0.0.1:{port}/"
    with (tmp_path / "log").open("w") as log:
        command = [installed / "avatar", "serve", "--port", str(port), "--size", "128"]
        server = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
        try:
            while True:
                assert server.poll() is None, (tmp_path / "log").read_text()
                try:
                    html = urllib.request.urlopen(page, timeout=10).read().decode()
                    break
                except OSError:
                    time.sleep(0.2)
            assert "main.js" in html
            assert b"import" in urllib.request.urlopen(page + "app/main.js", timeout=10).read()
        finally:
            server.terminate()
            server.wait(30)
