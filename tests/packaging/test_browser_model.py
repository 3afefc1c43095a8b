"""The face model for browsers: the very package that was asked for, or none; a build without a network goes on."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from realtime.checks import machine
from realtime.clients import browser_model

ROOT = Path(__file__).resolve().parents[2]
OFFLINE = {"NPM_CONFIG_REGISTRY": "http://127.0.0.1:9", "npm_config_registry": "http://127.0.0.1:9"}


def package(*names: str) -> bytes:
    """A package of npm's form with files of these names."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name in names:
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = 3
            archive.addfile(entry, io.BytesIO(b"abc"))
    return out.getvalue()


@pytest.mark.hostile
def test_another_package_than_the_one_asked_for_is_refused_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(browser_model, "_download", lambda: package(*browser_model.FILES))
    with pytest.raises(browser_model.NotFetched, match="its hash differs"):
        browser_model.fetch(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_the_right_one_is_unpacked_with_its_notice_and_not_fetched_again(tmp_path, monkeypatch):
    data = package(*browser_model.FILES, "more.js")
    monkeypatch.setattr(browser_model, "_download", lambda: data)
    monkeypatch.setattr(browser_model, "INTEGRITY", browser_model.integrity(data))
    browser_model.fetch(tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {*browser_model.FILES, browser_model.NOTICE}
    assert "Apache License" in (tmp_path / "model" / browser_model.NOTICE).read_text()
    monkeypatch.setattr(browser_model, "_download", lambda: pytest.fail("it is there already"))
    browser_model.fetch(tmp_path / "model")


def test_without_a_network_the_build_goes_on_and_says_what_is_missing(tmp_path, monkeypatch):
    """`build_py`, as pip calls it, on a copy of the project."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    left_out = shutil.ignore_patterns("__pycache__", "face_mesh")
    for part in ("clients", "kernels"):
        shutil.copytree(ROOT / part, source / part, ignore=left_out)
    (source / "realtime").mkdir()
    shutil.copy(ROOT / "realtime" / "__init__.py", source / "realtime")
    for name, value in OFFLINE.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path / "built")]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "The face model for browsers is not here: npm's registry does not give @mediapipe/face_mesh" in done.stderr
    assert "python -m realtime.clients.browser_model" in done.stderr
    assert "Traceback" not in done.stderr
    page = tmp_path / "built" / "realtime" / "clients" / "web"
    assert (page / "main.js").exists()
    assert not (page / "face_mesh").exists()


@pytest.mark.skipif(not browser_model.there(), reason="the face model for browsers is not here")
def test_what_is_there_is_built_in(tmp_path):
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=120)
    built = tmp_path / "realtime" / "clients" / "web" / "face_mesh"
    assert {path.name for path in built.iterdir()} == {*browser_model.FILES, browser_model.NOTICE}


@pytest.mark.parametrize("there", [True, False])
def test_the_doctor_says_whether_pages_keep_the_camera_to_themselves(monkeypatch, there):
    monkeypatch.setattr(browser_model, "there", lambda: there)
    found = machine.browser_model()
    assert found.status == ("ok" if there else "warn")
    assert bool(found.cure) is not there
