"""A folder of weights: whether it is whole, and how it comes from the hub."""

from __future__ import annotations

import json
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("safetensors")
pytest.importorskip("huggingface_hub")

from realtime import cli
from realtime.engines.weights import hub, registry
from realtime.errors import BadFile
from realtime.film.wan import published
from tests.support.hub_server import HubServer

NETWORKS = ("transformer", "vae", "image_encoder", "text_encoder")


@pytest.fixture
def folder(tmp_path) -> Path:
    """What the published folder is, with weights of a few numbers; the transformer's in two files."""
    from safetensors.numpy import save_file

    place = tmp_path / "weights"
    place.mkdir()
    (place / "model_index.json").write_text(json.dumps({"_class_name": "WanAnimatePipeline"}))
    for network in NETWORKS:
        (place / network).mkdir()
        (place / network / "config.json").write_text("{}")
    for network in NETWORKS[1:]:
        save_file({"w": np.ones((64, 64), np.float32)}, place / network / "model.safetensors")
    parts = [f"diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    for part in parts:
        save_file({part: np.ones((64, 64), np.float32)}, place / "transformer" / part)
    index = {"weight_map": {part: part for part in parts}}
    (place / "transformer" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    return place


def test_a_whole_folder_is_known(folder):
    assert published.family_of(folder) == "wan-animate"
    assert "4 networks" in published.check(folder, "wan-animate")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (
            lambda f: cut(f / "vae" / "model.safetensors"),
            r"model.safetensors: is damaged or cut off.*pull fetches it",
        ),
        (lambda f: next((f / "transformer").glob("*-00002-*")).unlink(), r"00002-of-00002.safetensors: is missing"),
        (lambda f: (f / "vae" / "model.safetensors").unlink(), r"vae: holds no weights"),
        (lambda f: (f / "vae" / "config.json").unlink(), r"config.json: is missing"),
        (lambda f: (f / "vae" / "config.json").write_text("{"), r"config.json: is damaged"),
        (lambda f: (f / "model_index.json").write_text("[]"), r"is no folder of Wan-Animate's weights"),
        (
            lambda f: (f / "model_index.json").write_text('{"_class_name": "WanAnimate2Pipeline"}'),
            r"holds weights for wan-animate-2, not for wan-animate",
        ),
    ],
)
def test_what_is_wrong_with_a_folder_is_one_sentence(folder, harm, words):
    harm(folder)
    with pytest.raises(BadFile, match=words):
        published.check(folder, "wan-animate")


@pytest.fixture
def server(folder, monkeypatch):
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in registry.files_in(folder)}
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    with HubServer("someone/wan", {**files, "README.md": b"words"}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        monkeypatch.setenv("HF_HOME", str(folder.parent / "hf"))
        (real, *others) = published.FILES.published
        small = replace(real, repository="someone/wan", size=100_000)
        monkeypatch.setattr(published, "FILES", replace(published.FILES, published=(small, *others)))
        yield server


def test_a_folder_is_pulled_whole_registered_and_verified(server, home, capsys):
    assert cli.run(["models", "pull", "wan-animate", "--accept-licence"]) == 0
    record = registry.record_of("wan-animate")
    assert record.path == str(home / "models" / "wan-animate")
    assert record.accepted == "Apache-2.0"
    assert record.bytes == sum(p.stat().st_size for p in registry.files_in(Path(record.path)))
    assert not (Path(record.path) / "README.md").exists()
    assert registry.find_weights("wan-animate", None) == Path(record.path)
    assert cli.run(["models", "verify"]) == 0
    assert "whole and unchanged" in capsys.readouterr().out
    path = Path(record.path) / "vae" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert cli.run(["models", "verify"]) == 2
    assert "its checksum differs" in capsys.readouterr().err
    assert cli.run(["models", "list"]) == 0
    assert "licence Apache-2.0" in capsys.readouterr().out


def test_too_little_disk_is_said_before_anything_is_fetched(server, monkeypatch, capsys):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda path: usage(10**6, 0, 40_000))
    assert cli.run(["models", "pull", "wan-animate", "--accept-licence"]) == 2
    assert "takes 0.0 GB more, and 0.0 GB are free here: make room" in capsys.readouterr().err
    assert server.log == []


def test_a_folder_that_is_here_is_added_under_its_name_or_any(folder, capsys):
    assert cli.run(["models", "add", "wan-animate", str(folder)]) == 0
    assert cli.run(["models", "add", "my-wan", str(folder)]) == 0
    assert registry.record_of("my-wan").family == "wan-animate"
    cut(folder / "vae" / "model.safetensors")
    assert cli.run(["models", "add", "wan-animate", str(folder)]) == 2
    assert "cut off" in capsys.readouterr().err
