"""Ray's own processes on this machine: started with a command, joined, and ended with it."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import hmac
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import realtime
from realtime.errors import AvatarError, BadValue, NoConnection, UsageError

KEY_VARIABLE = "AVATAR_CLUSTER_KEY"
NAMESPACE = "avatar"
HEAD = "avatar_head"
"""Resource of the machine on which the directory lives."""
PORT = 6379
OBJECTS = 80_000_000
"""Bytes of Ray's object store, the least that it takes: what passes here is small."""
START_S = 120.0
"""Ray's processes need this long at most, on a busy machine too."""
AWAY_S = 3600
"""A machine, and what runs on it, outlives a head that is away for so long."""


class WrongKey(UsageError):
    """The head knows another key."""

    def __init__(self, head: str) -> None:
        self.head = head

    def __str__(self) -> str:
        return f"the head at {self.head} has another key: set {KEY_VARIABLE} to the one that it printed"


class RayStopped(AvatarError):
    """Ray's processes on this machine did not start, or have ended."""

    def __init__(self, said: str) -> None:
        self.said = said

    def __str__(self) -> str:
        return f"Ray has stopped on this machine: {self.said}"


@dataclass(frozen=True, slots=True)
class Machine:
    """How this machine takes part. address: its own, as others reach it. head: "HOST:PORT"; the machine's own where
    it is the head. resources: what actors may ask for by name. redis: "HOST:PORT" that keeps the head's memory."""

    address: str
    head: str
    key: str = field(repr=False)
    is_head: bool = False
    resources: Mapping[str, float] = field(default_factory=dict)
    redis: str | None = None

    def environment(self) -> dict[str, str]:
        """What Ray reads when it starts."""
        out = {
            KEY_VARIABLE: self.key,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": hmac.new(self.key.encode(), b"avatar ray", hashlib.sha256).hexdigest(),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
            "RAY_gcs_rpc_server_reconnect_timeout_s": str(AWAY_S),
            # Ray kills a machine that it takes for dead; leases notice earlier, and harm none that is only busy.
            "RAY_health_check_period_ms": "5000",
            "RAY_health_check_failure_threshold": "6",
            "RAY_health_check_timeout_ms": "10000",
            "PYTHONPATH": os.pathsep.join(filter(None, [_root(), os.environ.get("PYTHONPATH")])),
        }
        if self.redis:
            out |= {"RAY_REDIS_ADDRESS": self.redis, "RAY_external_storage_namespace": NAMESPACE}
        return out

    def command(self, folder: str) -> list[str]:
        """`ray start`, until it is told to end."""
        out = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats"]
        out += [f"--node-ip-address={self.address}", "--num-cpus=0", f"--object-store-memory={OBJECTS}"]
        out += [f"--resources={json.dumps(dict(self.resources))}"]
        if self.is_head:
            port = self.head.rpartition(":")[2]
            return [*out, "--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"]
        return [*out, f"--address={self.head}"]


def _root() -> str:
    """Where this very code lies, so that Ray's workers run the same."""
    return str(Path(realtime.__file__).resolve().parents[1])


def split_address(text: str, option: str = "--join") -> tuple[str, int]:
    """Host and port of "HOST:PORT" or "HOST". Raises BadValue."""
    host, colon, port = text.rpartition(":")
    host, port = (host, port) if colon else (text, str(PORT))
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise BadValue(option, text, f"it is HOST:PORT, such as 10.0.0.1:{PORT}")
    return host, int(port)


@contextlib.contextmanager
def joined(machine: Machine) -> Iterator[Callable[[], None]]:
    """Start Ray's processes, connect to the cluster, and end both on leaving. Gives a function that raises RayStopped
    where they have ended. Ray must not have been imported before: it reads its settings then.

    Raises NoConnection (no head there), WrongKey, RayStopped."""
    if not machine.is_head:
        _reachable(machine.head)
    assert "ray" not in sys.modules, "it would not know the key"
    os.environ.update(machine.environment())
    folder = tempfile.mkdtemp(prefix="avatar-")
    try:
        with open(Path(folder, "ray.log"), "w+b") as said:
            process = subprocess.Popen(
                machine.command(folder), stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True,
                preexec_fn=_end_with_parent, cwd=folder,
            )  # fmt: skip
            try:
                _wait(process, said, machine)
                _connect(machine)
                yield lambda: _check(process, said)
            finally:
                _leave()
                _stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _reachable(head: str) -> None:
    host, port = split_address(head)
    for patience in (0.5, 1.0, 2.0, 4.0, 0.0):
        try:
            socket.create_connection((host, port), timeout=5.0).close()
            return
        except OSError as error:
            why = error.strerror or str(error)
            time.sleep(patience)
    raise NoConnection(f"head {head}", f"nothing answers there ({why}); start it with avatar cluster node --head")


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """In the child: SIGTERM where the command that started it is killed, so that no process of Ray's is left."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _text(said: Any) -> str:
    return Path(said.name).read_text(encoding="utf-8", errors="replace")


def _wait(process: subprocess.Popen[bytes], said: Any, machine: Machine) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        text = _text(said)
        if "Ray runtime started" in text:
            return
        if "InvalidAuthToken" in text:
            raise WrongKey(machine.head)
        if process.poll() is not None:
            raise RayStopped(_last(text))
        time.sleep(0.1)
    raise RayStopped(f"it took longer than {START_S:.0f} s to start")


def _check(process: subprocess.Popen[bytes], said: Any) -> None:
    if process.poll() is not None:
        raise RayStopped(_last(_text(said)))


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return " ".join((lines or ["it said nothing"])[-1].split())[:200]


def _connect(machine: Machine) -> None:
    import ray
    from ray.exceptions import RayError

    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(
            address=machine.head,
            _node_ip_address=machine.address,
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )
    except (RayError, RuntimeError, ConnectionError) as error:
        raise RayStopped(_last(str(error))) from error
    for number, handler in handlers.items():  # Ray puts its own there
        signal.signal(number, handler)


def _leave() -> None:
    import ray

    with contextlib.suppress(Exception):  # the head may be gone
        ray.shutdown()


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Its children with it."""
    children = _below(process.pid)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(8.0)  # without a head Ray waits for one even then
    for pid, began in {**children, process.pid: _began(process.pid)}.items():
        with contextlib.suppress(ProcessLookupError):
            if _began(pid) == began:  # else the number is somebody else's by now
                os.kill(pid, signal.SIGKILL)
    process.wait()


def _below(pid: int) -> dict[int, str]:
    """What a process has started, and what that has, with when each began (Linux; none elsewhere)."""
    out: dict[int, str] = {}
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                out |= {child: _began(child), **_below(child)}
    return out


def _began(pid: int) -> str:
    """When a process began; "" where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
