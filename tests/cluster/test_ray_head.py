"""A head that is killed and started again: what Redis has kept, and what the nodes tell it, is all that it needs."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from importlib.util import find_spec

import httpx
import psutil
import pytest

from tests.cluster.test_ray import Command, offer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("ray"),
    pytest.mark.skipif(find_spec("ray") is None, reason="no Ray here: pip install 'realtime-avatar[cluster]'"),
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="no Redis here: apt-get install redis-server"),
]

PORT = "6456"


@pytest.fixture
def redis(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    yield f"127.0.0.1:{port}"
    process.terminate()
    process.wait(10)


def kill(command: Command) -> None:
    """As a machine dies."""
    processes = [psutil.Process(command.process.pid)]
    processes += processes[0].children(recursive=True)
    for process in processes:
        process.kill()
    command.process.wait()


@pytest.mark.hostile
def test_a_head_that_comes_back_knows_every_session(tmp_path, redis):
    head = ("node", "--head", "--address", "127.0.0.56", "--port", PORT, "--name", "head", "--slots", "0")
    join, running = ("--join", f"127.0.0.56:{PORT}", "--address"), []
    try:
        running.append(Command(tmp_path / "head.log", *head, "--redis", redis))
        running[-1].wait_for("No sessions are hosted")
        node = ("node", *join, "127.0.0.57", "--name", "one", "--slots", "2", "--size", "128", "--drain-seconds", "0")
        running.append(Command(tmp_path / "node.log", *node))
        running[-1].wait_for("Node one is ready")
        running.append(Command(tmp_path / "front.log", "front", *join, "127.0.0.58", "--port", "0"))
        url = running[-1].wait_for(r"Open http://\S+/").removeprefix("Open ").rstrip("/")
        with httpx.Client(base_url=url, timeout=60) as http:
            opened = http.post("/api/sessions", json={}).json()
            kill(running[0])
            assert http.get(f"/api/sessions/{opened['id']}").status_code == 200  # the front knows where it is
            refused = http.post("/api/sessions", json={})
            assert refused.status_code == 503
            assert "finding its machines again" in refused.json()["detail"]
            running[0] = Command(tmp_path / "again.log", *head, "--redis", redis)
            end = time.monotonic() + 240
            while http.post("/api/sessions", json={"sdp": offer()}).status_code != 201:
                http.get(f"/api/sessions/{opened['id']}")  # as a page does: it is not idle
                assert time.monotonic() < end
                time.sleep(1.0)
            assert http.get(f"/api/views/{opened['view']}").json() == {"live": True, "dead": False}
            assert http.get(f"/api/sessions/{opened['id']}").status_code == 200
    finally:
        for command in reversed(running):
            command.stop(signal.SIGTERM)
