"""A cluster on one machine: its machines are loopback addresses, and each can be killed by itself."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks.live.loopback import free_port
from benchmarks.report.machine import ROOT
from realtime.errors import DeviceError

KEY = "a-key-for-benchmarks-alone"
PATIENCE_S = 300


class Part:
    """One machine: a command with all that it starts. ready: what it says when it can be used."""

    def __init__(self, folder: Path, name: str, ready: str, arguments: list[str]) -> None:
        self.log, self.name, self.ready, self.arguments = folder / f"{name}.log", name, ready, arguments
        self.process: subprocess.Popen | None = None

    def start(self) -> Part:
        """Begin; see `wait`."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.arguments], cwd=ROOT, stdout=log, stderr=log,
                env=os.environ | {"AVATAR_CLUSTER_KEY": KEY, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip
        return self

    def wait(self) -> str:
        """Until it is ready; what it said then. Raises DeviceError."""
        until = time.monotonic() + PATIENCE_S
        while not (found := re.search(self.ready, self.said)):
            if self.process.poll() is not None or time.monotonic() > until:
                raise DeviceError(self.name, f"it did not start: {self.said.strip().splitlines()[-1:]}")
            time.sleep(0.1)
        return found[0]

    @property
    def said(self) -> str:
        """All that it has printed."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def kill(self) -> None:
        """As a machine dies: everything at once, without a word."""
        if self.process is None or self.process.poll() is not None:
            return
        all_of_it = [psutil.Process(self.process.pid)]
        all_of_it += all_of_it[0].children(recursive=True)
        for process in all_of_it:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()

    def stop(self) -> None:
        """As its operator ends it."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(90)
        self.kill()


class Machines:
    """Head, nodes and front. redis: the state of the head outlives it."""

    def __init__(self, folder: Path, nodes: int, slots: int, size: int, redis: bool) -> None:
        self.port, self.front_port = free_port(), free_port()
        self.redis = Redis(folder) if redis else None
        more = ["--redis", self.redis.address] if self.redis else []
        head = ["--head", "--address", "127.0.0.2", "--port", str(self.port), "--name", "head", "--slots", "0", *more]
        self.head = Part(folder, "head", "No sessions are hosted", self._node(*head))
        join = ["--join", f"127.0.0.2:{self.port}", "--address"]
        more = ["--slots", str(slots), "--size", str(size), "--drain-seconds", "0"]
        self.nodes = {}
        for n in range(1, nodes + 1):
            name = f"node-{n}"
            node = self._node(*join, f"127.0.0.{n + 2}", "--name", name, *more)
            self.nodes[name] = Part(folder, name, f"Node {name} is ready", node)
        self.front = Part(
            folder, "front", r"Open \S+",
            ["-m", "realtime", "cluster", "front", *join, "127.0.0.99", "--port", str(self.front_port)],
        )  # fmt: skip

    @property
    def url(self) -> str:
        """The front's."""
        return f"http://127.0.0.1:{self.front_port}"

    @staticmethod
    def _node(*arguments: str) -> list[str]:
        return ["-m", "benchmarks.live.cluster.stamped_node", "node", *arguments]

    def start(self) -> None:
        """All of it. Raises DeviceError."""
        if self.redis:
            self.redis.start()
        for part in [self.head, *self.nodes.values(), self.front]:  # side by side they only wait for each other
            part.start().wait()

    def close(self) -> None:
        """End all of it, whatever state it is in."""
        for part in [self.front, *self.nodes.values(), self.head]:
            if part.process is not None and part.process.poll() is None:
                part.process.terminate()
        for part in [self.front, *self.nodes.values(), self.head]:
            part.stop()
        if self.redis:
            self.redis.close()


class Redis:
    """Debian's redis-server with nothing kept on disk."""

    def __init__(self, folder: Path) -> None:
        self.port, self.folder = free_port(), folder
        self.address = f"127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Begin."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir"]
        self.process = subprocess.Popen([*command, str(self.folder)], stdout=subprocess.DEVNULL)

    def close(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)


@contextlib.contextmanager
def machines(nodes: int = 3, slots: int = 2, size: int = 256) -> Iterator[Machines]:
    """A cluster that is up, and all gone on leaving. Raises DeviceError."""
    with tempfile.TemporaryDirectory(prefix="cluster-") as folder:
        found = Machines(Path(folder), nodes, slots, size, shutil.which("redis-server") is not None)
        try:
            found.start()
            yield found
        finally:
            found.close()
