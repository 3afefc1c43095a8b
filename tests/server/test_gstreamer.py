"""WHIP from, and WHEP to, a client that shares no code with the server: GStreamer's webrtcbin."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.server import make_studio, running

CLIENT = Path(__file__).parents[1] / "support" / "gstreamer_client.py"
PYTHON = "/usr/bin/python3"
CHECK = """
import gi
gi.require_version("Gst", "1.0"); gi.require_version("GstWebRTC", "1.0")
from gi.repository import Gst
Gst.init(None)
assert all(Gst.ElementFactory.find(name) for name in ("webrtcbin", "nicesrc", "vp8enc", "rtpvp8pay", "dtlsenc"))
"""


@pytest.fixture(scope="module", autouse=True)
def gstreamer() -> None:
    if (
        not Path(PYTHON).exists()
        or subprocess.run([PYTHON, "-c", CHECK], capture_output=True, check=False).returncode
    ):
        pytest.skip("GStreamer's webrtcbin is not installed: tests/install_system.sh")


def client(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen([PYTHON, str(CLIENT), *arguments], stdout=subprocess.PIPE, text=True)


def test_gstreamer_publishes_and_gstreamer_watches():
    with running(make_studio()) as server:
        publisher = client("whip", f"{server.url}/whip", "15")
        for _ in range(200):
            sessions = list(server.studio.sessions.values())
            if sessions and sessions[0].performer.received > 5:
                break
            server.wait(0.1)
        (session,) = server.studio.sessions.values()
        assert session.performer.received > 5
        viewer = client("whep", f"{server.url}/whep/{session.id}", "12")
        seen = json.loads(viewer.communicate(timeout=20)[0].splitlines()[0])
        assert seen["status"] == 201
        assert seen["resource"].startswith(f"/whep/{session.id}/")
        assert seen["pictures"] >= 30
        sent = json.loads(publisher.communicate(timeout=20)[0].splitlines()[0])
        assert sent["status"] == 201
        assert sent["resource"] == f"/whip/{session.id}"
        assert sent["pictures"] > 60
        for _ in range(50):
            if not server.studio.sessions:
                break
            server.wait(0.1)
        assert server.studio.sessions == {}
