"""WHIP from, and WHEP to, a client that shares no code with the server: GStreamer's webrtcbin."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path

import pytest

from benchmarks.live.clients import gstreamer
from tests.support.server import make_studio, running

CLIENT = Path(gstreamer.__file__).with_name("gstreamer_client.py")


@pytest.fixture(scope="module", autouse=True)
def installed() -> None:
    if not gstreamer.present():
        pytest.skip("GStreamer's webrtcbin is not installed: tests/install_system.sh")


def client(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen([gstreamer.PYTHON, str(CLIENT), *arguments], stdout=subprocess.PIPE, text=True)


@contextlib.contextmanager
def published(server, *shape: str):
    """GStreamer publishes; its process, and the session once pictures have come from it."""
    publisher = client("whip", f"{server.url}/whip", "25", *shape)
    try:
        for _ in range(200):
            sessions = list(server.studio.sessions.values())
            if sessions and sessions[0].performer.received > 5:
                break
            server.wait(0.1)
        (session,) = server.studio.sessions.values()
        assert session.performer.received > 5
        yield publisher, session
    finally:
        publisher.kill()
        publisher.wait()


def watched(server, session, *shape: str) -> dict:
    """What GStreamer saw as a viewer."""
    viewer = client("whep", f"{server.url}/whep/{session.id}", "12", *shape, "--pictures", "30")
    seen = json.loads(viewer.communicate(timeout=20)[0].splitlines()[0])
    assert seen["status"] == 201
    assert seen["resource"].startswith(f"/whep/{session.id}/")
    return seen


def test_gstreamer_publishes_and_hangs_up():
    with running(make_studio()) as server:
        publisher = client("whip", f"{server.url}/whip", "6")
        sent = json.loads(publisher.communicate(timeout=20)[0].splitlines()[0])
        assert sent["status"] == 201
        assert sent["resource"].startswith("/whip/")
        assert sent["pictures"] > 60
        for _ in range(50):
            if not server.studio.sessions:
                break
            server.wait(0.1)
        assert server.studio.sessions == {}


@pytest.mark.parametrize("policy", ["max-bundle", "none"])
@pytest.mark.parametrize("kinds", ["video", "video,audio", "audio,video"])
def test_sections_in_any_order_on_one_port_or_on_several(kinds, policy):
    with running(make_studio()) as server, published(server, kinds, policy) as (_, session):
        seen = watched(server, session, kinds, policy)
        assert seen["pictures"] >= 30
        if "audio" in kinds:
            assert seen["sounds"] > 10
