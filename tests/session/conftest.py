"""The fake engine's codes say what they mean, as an engine's in the registry do."""

import pytest

from realtime.families import FAMILIES
from tests.support import FAKE_FAMILY


@pytest.fixture(autouse=True)
def fake_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "fake", FAKE_FAMILY)
