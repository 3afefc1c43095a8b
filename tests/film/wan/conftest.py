"""Nothing leaves the place of a test: weights and prompts go into a folder of its own, and one core does the work."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A folder of random weights like the published one, of 370 kB."""
    for library in ("torch", "diffusers", "transformers", "accelerate", "ftfy"):
        pytest.importorskip(library, reason=f"the extra wan is not installed ({library}): make test-wan")
    from tests.support.wan import save_tiny_pipeline

    return save_tiny_pipeline(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture
def one_thread(monkeypatch):
    """Tiny networks on many threads wait for each other more than they work."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch) -> Path:
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("AVATAR_HOME", str(folder))
    return folder
