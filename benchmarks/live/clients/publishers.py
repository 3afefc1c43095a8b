"""Clients that publish by WHIP: started, timed by the server's own counts, and watched over WHEP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from benchmarks.live.clients import gstreamer
from benchmarks.live.clients.bench import Bench
from benchmarks.live.clients.calls import watch
from benchmarks.live.clients.seen import Absent, Line
from benchmarks.report.machine import ROOT
from realtime.errors import DeviceError
from realtime.server.common.sessions import link_keys
from realtime.server.serving import self_signed

SETTLE_S = 6.0
"""A new session's first seconds: calibration, and delays that settle."""
RECEIVED = re.compile(rb"^avatar_frames_received_total ([\d.e+]+)", re.MULTILINE)
Client = Callable[[Bench, str], AbstractContextManager[Callable[[], str]]]
"""Publishes to an address while it is entered. It gives what says what went wrong, "" for nothing."""


def received(url: str) -> float:
    """Driving frames that the server has had, over all sessions."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        found = RECEIVED.search(answer.read())
    return float(found[1]) if found else 0.0


def measure(bench: Bench, client: Client) -> Line:
    """One publication. No other session may have a driver meanwhile."""
    profile = secrets.token_urlsafe(24)
    view = link_keys(profile)[0]
    before = received(bench.url)
    counts: list[tuple[float, float]] = []

    async def hold() -> None:
        until = time.monotonic() + SETTLE_S + bench.seconds
        while time.monotonic() < until:
            counts.append((time.monotonic(), await asyncio.to_thread(received, bench.url)))
            await asyncio.sleep(0.25)

    with client(bench, f"{bench.url}/whip?profile={profile}") as trouble:
        opened = _until(lambda: _live(bench.url, view), "opened no session", trouble)
        first = _until(lambda: received(bench.url) > before, "sent no picture", trouble)
        seen = bench.run(watch(bench.url, view, hold))
    end = counts[-1][0]
    grown = [at for (at, count), (_, earlier) in zip(counts[1:], counts, strict=False) if count > earlier]
    late = [(at, count) for at, count in counts if at >= end - bench.seconds]
    sent = (late[-1][1] - late[0][1]) / (late[-1][0] - late[0][0])
    sound = seen.sound_late(end - bench.seconds)
    return Line(first - opened, max(grown, default=first) - first, sent, sound, "" if grown else "pictures stopped")


def _live(url: str, view: str) -> bool:
    with urllib.request.urlopen(f"{url}/api/views/{view}", timeout=10) as answer:
        return bool(json.load(answer)["live"])


def _until(happened: Callable[[], bool], otherwise: str, trouble: Callable[[], str], patience: float = 30) -> float:
    """When it happened. Raises DeviceError."""
    end = time.monotonic() + patience
    while not happened():
        said = trouble()
        if said or time.monotonic() > end:
            raise DeviceError("the client", f"{otherwise}: {said}" if said else otherwise)
        time.sleep(0.03)
    return time.monotonic()


@contextlib.contextmanager
def _program(command: list[str]) -> Iterator[Callable[[], str]]:
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=log) as process,
    ):

        def trouble() -> str:
            if process.poll() is None:
                return ""
            log.seek(0)
            return (log.read().strip().splitlines() or ["it ended"])[-1]

        try:
            yield trouble
        finally:
            process.terminate()


@contextlib.contextmanager
def ffmpeg(bench: Bench, endpoint: str) -> Iterator[Callable[[], str]]:
    """FFmpeg's WHIP muxer."""
    import av

    if "whip" not in av.formats_available:
        raise Absent(f"FFmpeg of PyAV {av.__version__}", "has no WHIP muxer", "Install av>=18")
    module = "benchmarks.live.clients.ffmpeg_client"
    with self_signed("127.0.0.1") as tls:
        command = [sys.executable, "-m", module, endpoint, str(bench.film), str(tls.cert), str(tls.key)]
        with _program(command) as trouble:
            yield trouble


def webrtcbin(kinds: str, policy: str) -> Client:
    """GStreamer, with this order of sections and this bundle policy."""

    @contextlib.contextmanager
    def client(bench: Bench, endpoint: str) -> Iterator[Callable[[], str]]:
        command = gstreamer.command("whip", endpoint, bench.film_seconds, kinds, policy)
        with _program([*command, "--film", str(bench.film)]) as trouble:
            yield trouble

    return client


def library(name: str) -> Client:
    """A library from npm, in a page of another origin."""

    @contextlib.contextmanager
    def client(bench: Bench, endpoint: str) -> Iterator[Callable[[], str]]:
        with bench.strange_page() as page:
            page.evaluate(f"publish({json.dumps(name)}, {json.dumps(endpoint)})")
            yield lambda: ""
            page.evaluate("stop()")

    return client


def rows() -> dict[str, Callable[[Bench], Line]]:
    """Name of a client, and how it is measured."""
    clients: dict[str, Client] = {"FFmpeg WHIP": ffmpeg}
    for kinds, policy in gstreamer.SHAPES:
        clients[f"GStreamer WHIP, {kinds}, {policy}"] = webrtcbin(kinds, policy)
    for name in ("@eyevinn/whip-web-client", "whip-whep"):
        clients[f"{name} WHIP"] = library(name)

    def row(client: Client) -> Callable[[Bench], Line]:
        return lambda bench: measure(bench, client)

    return {name: row(client) for name, client in clients.items()}
