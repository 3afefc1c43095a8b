"""The networks with the weights of the recipe, made once: half a gigabyte of noise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="package")
def nets() -> Any:
    pytest.importorskip("torch")
    from realtime.engines.liveportrait import load_networks

    return load_networks("recipe:1")


@pytest.fixture(autouse=True)
def _inference() -> Iterator[None]:
    torch = pytest.importorskip("torch")
    with torch.inference_mode():
        yield
