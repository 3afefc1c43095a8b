"""The commands as they are, on Ray: a head that hosts two sessions and a front, each on its own loopback address.

Slow to start (Ray), so both are started once, and one worker of pytest runs all of it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest

from tests.support import server

ROOT = Path(__file__).resolve().parents[2]
KEY = "a-key-for-tests-alone"
START_S = 240

pytestmark = [
    pytest.mark.xdist_group("ray"),
    pytest.mark.timeout(600),
    pytest.mark.skipif(find_spec("ray") is None, reason="no Ray here: pip install 'realtime-avatar[cluster]'"),
    pytest.mark.skipif(sys.platform != "linux", reason="the loopback addresses of a simulated cluster are Linux's"),
]


def offer() -> str:
    """Of a peer that can use loopback addresses."""
    return re.sub(r"c=IN IP4 \S+", "c=IN IP4 127.0.0.1", server.offer())


def avatar(*arguments: str, key: str = KEY) -> list[str]:
    return ["env", f"AVATAR_CLUSTER_KEY={key}", sys.executable, "-m", "realtime", "cluster", *arguments]


class Command:
    """A command that runs. said: what it has printed."""

    def __init__(self, log: Path, *arguments: str) -> None:
        self.log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                avatar(*arguments),
                cwd=ROOT,
                stdout=out,
                stderr=out,
                env={**os.environ, "AVATAR_HOME": str(log.parent)},
            )

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, text: str) -> str:
        end = time.monotonic() + START_S
        while not (found := re.search(text, self.said)):
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.2)
        return found[0]

    def stop(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def rays() -> set[int]:
    """Processes of Ray's on our addresses."""
    out = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            line = path.read_bytes()
            if b"127.0.0.52" in line or b"127.0.0.53" in line:
                out.add(int(path.parent.name))
    return out


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[dict[str, Command]]:
    folder = tmp_path_factory.mktemp("cluster")
    running: dict[str, Command] = {}
    try:
        head = ("node", "--head", "--address", "127.0.0.52", "--port", "6452", "--name", "one", "--slots", "2")
        running["node"] = Command(folder / "node.log", *head, "--drain-seconds", "0", "--size", "128")
        running["node"].wait_for("Node one is ready")
        running["front"] = Command(
            folder / "front.log", "front", "--join", "127.0.0.52:6452", "--address", "127.0.0.53", "--port", "0"
        )
        running["front"].wait_for(r"Open http://\S+/")
        yield running
    finally:
        for command in reversed(running.values()):
            command.stop()


@pytest.fixture(scope="module")
def url(cluster) -> str:
    return cluster["front"].wait_for(r"Open http://\S+/").removeprefix("Open ").rstrip("/")


@pytest.fixture(scope="module")
def http(url):
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


def test_sessions_begin_up_to_the_last_slot_and_end(http):
    with ThreadPoolExecutor(3) as pool:  # at once: a session that nobody connects to makes room after three seconds
        offers = [pool.submit(http.post, "/api/sessions", json={"sdp": offer()}) for _ in range(3)]
    opened = sorted((offered.result() for offered in offers), key=lambda answer: answer.status_code)
    assert [answer.status_code for answer in opened] == [201, 201, 503]
    assert opened[2].json()["detail"] == "All 2 places are taken. Try again in 5 seconds"
    assert opened[2].headers["retry-after"] == "5"
    keys = opened[0].json()
    assert "127.0.0.52" in re.search("a=candidate.*", keys["sdp"])[0]  # the node's own: media does not pass the front
    assert http.get(f"/api/sessions/{keys['id']}").json()["session"] == keys["id"]
    where = http.get(f"/api/cluster/sessions/{keys['id']}", headers={"X-Avatar-Cluster-Key": KEY})
    assert where.json() == {"node": "one"}
    assert http.get(f"/api/views/{keys['view']}").json() == {"live": True, "dead": False}
    with http.stream("GET", f"/api/sessions/{keys['view']}/preview") as answer:
        assert b"--picture" in next(answer.iter_bytes())
    assert http.delete(f"/api/sessions/{opened[1].json()['id']}").status_code == 204
    again = http.post("/api/sessions", json={"sdp": offer()})
    assert again.status_code == 201
    for answer in (opened[0], again):
        assert http.delete(f"/api/sessions/{answer.json()['id']}").status_code == 204
    gone = [503]  # a young directory has not heard of all nodes, and forgets nothing
    end = time.monotonic() + 60
    while gone[-1] == 503 and time.monotonic() < end:
        gone.append(http.get(f"/api/sessions/{keys['id']}").status_code)
        time.sleep(0.5)
    assert gone[-1] == 404
    assert 'avatar_frames_rendered_total{node="one"}' in http.get("/metrics").text


def run(*arguments: str, key: str = KEY) -> subprocess.CompletedProcess[str]:
    return subprocess.run(avatar(*arguments, key=key), cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.mark.hostile
def test_who_does_not_know_the_key_neither_joins_nor_sees_nor_drains(url, http):
    join = ("--join", "127.0.0.52:6452", "--address", "127.0.0.54")
    for forged in (("node", *join, "--name", "forged"), ("front", *join)):
        done = run(*forged, key="another-key-of-length")
        assert done.returncode == 2
        assert "has another key: set AVATAR_CLUSTER_KEY" in done.stderr
    for asked in (("status",), ("drain", "one")):
        done = run(*asked, "--front", url, key="another-key-of-length")
        assert done.returncode == 1
        assert "Only who has the cluster's key" in done.stderr
    assert http.get("/api/cluster").status_code == 403
    assert http.get("/api/health").json()["max_sessions"] == 2


def test_status_and_drain(url, http):
    done = run("status", "--front", url)
    assert done.returncode == 0, done.stderr
    assert "one" in done.stdout
    assert "0 of 2 sessions" in done.stdout
    assert run("drain", "one", "--front", url).returncode == 0
    refused = http.post("/api/sessions", json={"sdp": offer()})
    assert (refused.status_code, refused.json()["detail"][:6]) == (503, "All 2 ")
    unknown = run("drain", "two", "--front", url)
    assert unknown.returncode == 1
    assert "There are: one" in unknown.stderr
    assert run("drain", "one", "--undo", "--front", url).returncode == 0
    answer = http.post("/api/sessions", json={})
    assert answer.status_code == 201
    http.delete(f"/api/sessions/{answer.json()['id']}")


def test_what_ends_leaves_no_process_of_rays_and_no_folder(cluster):
    folders = {folder for pid in rays() for folder in _folders(pid)}
    assert folders
    assert cluster["front"].stop() == 0
    assert cluster["node"].stop() == 0
    end = time.monotonic() + 30
    while rays() and time.monotonic() < end:
        time.sleep(0.2)
    assert rays() == set()
    assert [folder for folder in folders if os.path.exists(folder)] == []


def _folders(pid: int) -> set[str]:
    with contextlib.suppress(OSError):
        return set(re.findall(r"(/\S*?avatar-[^/\s\0]+)/session", Path(f"/proc/{pid}/cmdline").read_text()))
    return set()
