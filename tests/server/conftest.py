"""What the tests of the HTTP face share."""

from __future__ import annotations

import httpx
import pytest


@pytest.fixture
def http(server):
    """A client of the module's server."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        yield client
