"""`avatar models`, with the hub's real client against a local server of the hub's shape."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("huggingface_hub")

from realtime import cli  # noqa: E402
from realtime.engines.latent import published  # noqa: E402
from realtime.engines.latent.lia import Lia  # noqa: E402
from realtime.engines.weights import hub, recipe, registry  # noqa: E402
from tests.support.hub_server import HubServer  # noqa: E402

REPOSITORY = "someone/lia"


@pytest.fixture(scope="module")
def weights() -> bytes:
    """LIA at 8 pixels as a .pt file: the smallest weights that there are."""
    file = io.BytesIO()
    torch.save({"gen": recipe.state_dict(Lia(size=8), 1)}, file)
    return file.getvalue()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AVATAR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    model = registry.Published(
        "tiny", "lia", "LIA in small", registry.CC_BY_NC, REPOSITORY, "vox.pt", "https://example.org/lia"
    )
    files = published.FILES
    monkeypatch.setattr(published, "FILES", replace(files, published=(*files.published, model)))
    return tmp_path / "home"


@pytest.fixture
def server(weights: bytes, monkeypatch: pytest.MonkeyPatch):
    with HubServer(REPOSITORY, {"README.md": b"hello", "model/vox.pt": weights}) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def avatar(*arguments: str) -> int:
    return cli.run(["models", *arguments])


def test_pull_shows_the_licence_once_fetches_checks_and_registers(server, home, weights, capsys, monkeypatch) -> None:
    assert avatar("pull", "tiny") == 2
    assert "CC BY-NC 4.0" in (said := capsys.readouterr().err)
    assert "--accept-licence" in said
    assert not server.log
    assert avatar("pull", "tiny", "--accept-licence") == 0
    assert "not for commercial use" in capsys.readouterr().err
    record = registry.record_of("tiny")
    assert record is not None
    assert Path(record.path).read_bytes() == weights
    assert home in Path(record.path).parents
    assert (record.accepted, record.family, record.bytes) == ("CC BY-NC 4.0", "lia", len(weights))
    assert record.about == "LIA, 8 px, 20 directions"
    assert avatar("pull", "tiny") == 0
    assert "licence" not in capsys.readouterr().err
    assert avatar("list") == 0
    assert record.path in capsys.readouterr().out
    assert avatar("verify") == 0
    assert "whole and unchanged" in capsys.readouterr().out


def test_a_licence_that_is_declined_fetches_nothing(server, capsys, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *a, **k: False)
    assert avatar("pull", "tiny") == 2
    assert "not accepted" in capsys.readouterr().err
    assert not server.log


def test_a_transfer_that_was_cut_off_goes_on(server, weights, capsys) -> None:
    hub.accept_licence(registry.catalogue()["tiny"])
    server.cut_after = len(weights) // 2
    first = avatar("pull", "tiny")
    second = avatar("pull", "tiny") if first else 0
    assert second == 0
    ranges = [r for method, path, r in server.log if method == "GET" and path.endswith("vox.pt") and r]
    assert any(int(r[6:].partition("-")[0]) > 0 for r in ranges)
    record = registry.record_of("tiny")
    assert record is not None
    assert Path(record.path).read_bytes() == weights


def test_a_file_with_another_checksum_than_the_hubs_is_removed(server, capsys) -> None:
    hub.accept_licence(registry.catalogue()["tiny"])
    server.checksum = "0" * 64
    assert avatar("pull", "tiny") == 2
    assert "checksum" in capsys.readouterr().err
    assert registry.record_of("tiny") is None
    assert not list(registry.models_folder().rglob("vox.pt"))


@pytest.mark.parametrize(("status", "words"), [(404, "does not have it"), (401, "login"), (410, "status 410")])
def test_what_the_hub_refuses_is_one_sentence(server, capsys, status: int, words: str) -> None:
    hub.accept_licence(registry.catalogue()["tiny"])
    server.status = status
    assert avatar("pull", "tiny") == 1
    said = capsys.readouterr().err
    assert words in said
    assert "avatar models add tiny PATH" in said
    assert len(said.strip().splitlines()) == 1


def test_without_a_network(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    hub.accept_licence(registry.catalogue()["tiny"])
    assert avatar("pull", "tiny") == 1
    said = capsys.readouterr().err
    assert "cannot be reached" in said
    assert "avatar models add tiny PATH" in said
    assert len(said.strip().splitlines()) == 1


def test_wrong_weights_on_the_hub_are_not_registered(server, capsys) -> None:
    hub.accept_licence(registry.catalogue()["tiny"])
    file = io.BytesIO()
    torch.save({"conv.weight": torch.zeros(1)}, file)
    server.files["model/vox.pt"] = file.getvalue()
    assert avatar("pull", "tiny") == 2
    assert "not known here" in capsys.readouterr().err
    assert registry.record_of("tiny") is None


def test_add_registers_a_file_where_it_lies(weights: bytes, tmp_path: Path, capsys) -> None:
    path = tmp_path / "vox.pt"
    path.write_bytes(weights)
    assert avatar("add", "lia", str(path)) == 0
    assert "LIA, 8 px, 20 directions" in capsys.readouterr().out
    record = registry.record_of("lia")
    assert record is not None
    assert (record.path, record.family) == (str(path), "lia")
    assert avatar("add", "my.faces-2", str(path)) == 0
    assert avatar("list") == 0
    assert "my.faces-2" in capsys.readouterr().out


def test_what_add_refuses(weights: bytes, tmp_path: Path, capsys) -> None:
    path = tmp_path / "vox.pt"
    path.write_bytes(weights)
    for arguments, words in (
        (("lia-x", str(path)), "not weights for lia-x"),
        (("../lia", str(path)), "letters, digits"),
        (("lia", str(tmp_path / "none.pt")), "no such weight file"),
        (("lia", str(tmp_path)), "folder"),
    ):
        assert avatar("add", *arguments) == 2
        said = capsys.readouterr().err
        assert words in said
        assert len(said.strip().splitlines()) == 1
    assert registry.records() == []


def test_verify_notices_a_changed_file(weights: bytes, tmp_path: Path, capsys) -> None:
    path = tmp_path / "vox.pt"
    path.write_bytes(weights)
    assert avatar("add", "lia", str(path)) == 0
    path.write_bytes(weights + b"\0")
    assert avatar("verify", "lia") == 2
    assert "checksum differs" in capsys.readouterr().err
    assert avatar("verify", "lio") == 2
    assert "Did you mean 'lia'" in capsys.readouterr().err


def test_models_that_no_client_can_fetch_say_where_they_are(capsys) -> None:
    assert avatar("pull", "lia") == 2
    said = capsys.readouterr().err
    assert "github.com/wyhsirius/LIA" in said
    assert "avatar models add lia PATH" in said
    assert avatar("pull", "liax") == 2
    assert "Did you mean 'lia-x'" in capsys.readouterr().err


def test_a_record_that_cannot_be_read_is_passed_over(home: Path) -> None:
    folder = registry.models_folder()
    folder.mkdir(parents=True)
    (folder / "old.json").write_text("{")
    (folder / "odd.json").write_text(json.dumps({"name": "odd"}))
    assert registry.records() == []
