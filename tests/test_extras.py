"""How an extra is installed, said as it works here."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from realtime import extras
from realtime.errors import MissingExtra


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Pretends that the package was installed so: content of its direct_url.json, None where there is none."""

    def pretend(said: dict | None, prefix: Path) -> None:
        class Known:
            @staticmethod
            def read_text(name: str) -> str | None:
                assert name == "direct_url.json"
                return None if said is None else json.dumps(said)

        monkeypatch.setattr(extras, "distribution", lambda name: Known)
        monkeypatch.setattr(sys, "prefix", str(prefix))
        monkeypatch.delenv("VIRTUAL_ENV", raising=False)
        extras._checkout.cache_clear()

    yield pretend
    extras._checkout.cache_clear()


def test_a_release_is_named(installed, tmp_path):
    installed(None, tmp_path)
    assert extras.install_command("vcam") == "pip install 'realtime-avatar[vcam]'"


def test_a_checkout_is_installed_from_itself_by_its_own_pip(installed, tmp_path, monkeypatch):
    folder = tmp_path / "a checkout"
    installed({"url": folder.as_uri(), "dir_info": {"editable": True}}, folder / ".venv")
    assert extras.install_command("vcam") == ".venv/bin/pip install -e '.[vcam]'"
    monkeypatch.setenv("VIRTUAL_ENV", str(folder / ".venv"))
    assert str(MissingExtra("the virtual camera", "pyvirtualcam", "vcam")).endswith(": pip install -e '.[vcam]'")


def test_a_copy_that_was_installed_from_a_folder_is_no_checkout(installed, tmp_path):
    installed({"url": tmp_path.as_uri(), "dir_info": {}}, tmp_path)
    assert "realtime-avatar[vcam]" in extras.install_command("vcam")
