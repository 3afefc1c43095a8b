"""Content credentials: in the file, valid, broken by any change; asked for in vain with one sentence."""

from __future__ import annotations

import json
import sys

import pytest

from realtime.cli import run
from tests.support import frames_of

FILM = ["render", "motion:builtin", "--engine", "mesh", "--size", "128", "--duration", "0.3", "-q", "--c2pa"]


def codes(path, c2pa) -> set[str]:
    results = json.loads(c2pa.Reader(str(path)).json())["validation_results"]["activeManifest"]
    return {entry["code"] for entry in results["failure"]}


def test_a_film_says_that_a_program_made_it(tmp_path):
    c2pa = pytest.importorskip("c2pa", reason="c2pa-python is not installed: pip install c2pa-python")
    path = tmp_path / "out.mp4"
    assert run([*FILM, "-o", str(path)]) == 0
    assert len(list(frames_of(path))) == 9
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]
    manifest = c2pa.Reader(str(path)).json()
    assert "digitalsourcetype/algorithmicMedia" in manifest
    assert codes(path, c2pa) == {"signingCredential.untrusted"}, "the signature holds; nobody knows the signer"
    data = bytearray(path.read_bytes())
    data[data.index(b"mdat") + 40] ^= 1
    path.write_bytes(data)
    assert "assertion.bmffHash.mismatch" in codes(path, c2pa)


def test_files_that_hold_none_are_refused_before_any_work(tmp_path):
    pytest.importorskip("c2pa", reason="c2pa-python is not installed: pip install c2pa-python")
    assert run([*FILM, "-o", str(tmp_path / "out.mkv")]) == 2
    assert not list(tmp_path.iterdir())


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert run([*FILM, "-o", str(tmp_path / "out.mp4")]) == 2
    assert "[c2pa]" in capsys.readouterr().err
