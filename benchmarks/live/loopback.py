"""Small things that the benchmarks over the network share: ports, child processes, loopback candidates."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.report.machine import ROOT
from realtime.errors import DeviceError


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def listens(port: int) -> bool:
    """Whether somebody listens on this TCP port of 127.0.0.1."""
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def offer_loopback() -> None:
    """Let aiortc offer 127.0.0.1, which it leaves out by itself, so that peers meet on a machine without network."""
    import aioice.ice

    original = aioice.ice.get_host_addresses

    def with_loopback(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        return ["127.0.0.1", *original(use_ipv4, use_ipv6)]

    aioice.ice.get_host_addresses = with_loopback


@contextlib.contextmanager
def child(
    arguments: Sequence[str], health: str, patience: float = 180, environment: Mapping[str, str] | None = None,
    root: Path = ROOT,
) -> Iterator[subprocess.Popen]:  # fmt: skip
    """`python ARGUMENTS` in a process of its own; entered when the address `health` answers, ended on leaving. root:
    the checkout whose code runs.

    Raises DeviceError with what it said last when it ends early or never answers.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=root, stdout=subprocess.DEVNULL, stderr=log,
            env=os.environ | {"PYTHONPATH": str(root)} | dict(environment or {}),
        )  # fmt: skip
        try:
            until = time.monotonic() + patience
            while not answers(health):
                if process.poll() is not None or time.monotonic() > until:
                    log.seek(0)
                    said = log.read().strip().splitlines()
                    raise DeviceError(" ".join(arguments[:4]), said[-1] if said else "did not answer")
                time.sleep(0.1)
            yield process
        finally:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            if process.poll() is None:
                process.kill()
                process.wait()


@contextlib.contextmanager
def served(
    size: int, sessions: int, arguments: Sequence[str] = (), environment: Mapping[str, str] | None = None,
    root: Path = ROOT,
) -> Iterator[tuple[str, subprocess.Popen]]:  # fmt: skip
    """`avatar serve` with the stamped engine in a process of its own, and its address. root: the checkout whose code
    runs. Raises DeviceError."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    whole = ["-m", "benchmarks.live.stamped_server", "--port", str(port), "--size", str(size)]
    whole += ["--max-sessions", str(sessions), *arguments]
    with child(whole, f"{address}/api/health", environment=environment, root=root) as process:
        yield address, process


def answers(address: str) -> bool:
    """Whether a GET of this address gives 200."""
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
