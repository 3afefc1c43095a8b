"""The mixed attack beside one honest caller."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from benchmarks.live.caller import Second, calling
from benchmarks.live.faults import Outcome, Plan
from benchmarks.live.loopback import served
from benchmarks.report.machine import ROOT
from realtime.errors import DeviceError

TOKEN = "the-honest-ones-know-it"
LEAST_FPS = 20.0
BEFORE_S = AFTER_S = 15.0
SETTLING_S = 5.0


def mixed_attack(plan: Plan) -> Outcome:
    """Frames a second of a caller with a camera before, during and after, and whether it kept its session."""
    with (
        served(plan.size, 8, ["--token", TOKEN]) as (address, server),
        calling(f"{address}/?token={TOKEN}") as caller,
    ):
        time.sleep(SETTLING_S)
        begun = time.monotonic()
        time.sleep(BEFORE_S)
        attacked = time.monotonic()
        with attacking(address, server.pid) as said:
            time.sleep(plan.attack_s)
            over = time.monotonic()
        time.sleep(AFTER_S)
        ended = time.monotonic()
        if server.poll() is not None:
            raise DeviceError("avatar serve", f"ended with exit code {server.returncode} under attack")
        parts = {"before": (begun, attacked), "during": (attacked, over), "after": (over + SETTLING_S, ended)}
        seconds = {name: caller.between(*span) for name, span in parts.items()}
        lost = caller.calls - 1
    sent = json.loads(said[-1]) if said else {}
    rates = {name: fps(part) for name, part in seconds.items()}
    # Where the machine gives less than 20 fps without any attack, the attack is not to blame.
    least = min(LEAST_FPS, 0.8 * rates["before"])
    figures: dict[str, tuple[float, str, float | None]] = {
        f"fps {name}": (rate, "fps", least if name == "during" else None) for name, rate in rates.items()
    }
    figures |= {f"delay {name}": (delay(part), "ms", None) for name, part in seconds.items()}
    figures |= {what: (float(count), "", None) for what, count in sorted(sent.items())}
    words = ", ".join(
        f"{sent.get(what, 0)} {what}" for what in ("datagrams", "silent connections", "malformed packets")
    )
    return Outcome(
        injected=f"{plan.attack_s:.0f} s of {words}, wrong tokens, costly uploads, silent offers",
        lost="nothing" if not lost else f"the session, {lost} times", held=not lost, figures=figures,
    )  # fmt: skip


@contextlib.contextmanager
def attacking(address: str, pid: int) -> Iterator[list[str]]:
    """The attack in a process of its own, and what it says each second. Raises DeviceError where it breaks."""
    arguments = [sys.executable, "-m", "benchmarks.live.attack", address, str(pid), TOKEN]
    process = subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said: list[str] = []
    wrong: list[str] = []
    for pipe, kept in ((process.stdout, said), (process.stderr, wrong)):
        threading.Thread(target=_keep, args=(pipe, kept), daemon=True).start()
    try:
        yield said
        if process.poll() is not None:
            raise DeviceError("the attack", wrong[-1].strip() if wrong else f"ended by itself ({process.returncode})")
    finally:
        process.kill()
        process.wait()


def _keep(pipe: Any, kept: list[str]) -> None:
    kept.extend(pipe)


def fps(seconds: list[Second]) -> float:
    """Pictures a second over a stretch."""
    if len(seconds) < 2:
        return 0.0
    return sum(s.pictures for s in seconds[1:]) / (seconds[-1].at - seconds[0].at)


def delay(seconds: list[Second]) -> float:
    """Median delay over a stretch, ms; NaN where no picture could be read."""
    delays = [1000 * s.delay for s in seconds if s.delay is not None]
    return float(np.median(delays)) if delays else float("nan")
