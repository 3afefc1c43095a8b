"""The machine around a command: a full disk, a home without room, a taken port, a clock that jumps."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.live.caller import calling
from benchmarks.live.faults import Outcome, Plan
from benchmarks.live.loopback import answers, served
from benchmarks.report.machine import ROOT
from realtime.errors import DeviceError

FILM = ("render", "motion:builtin", "--size", "256", "-q")
EARLIER = b"an earlier film"


def avatar(
    *arguments: str, before: Sequence[str] = (), limit: int | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """The command to its end. before: what runs it. limit: largest file it may write, bytes."""

    def confine() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [*before, sys.executable, "-m", "realtime", *arguments], cwd=ROOT, capture_output=True, text=True,
        timeout=180, env=os.environ | environment, preexec_fn=confine,
    )  # fmt: skip


def pictures_in(path: Path) -> int:
    """Pictures that can be decoded until the film ends or is damaged; 0 where there is no such film."""
    import av

    count = 0
    with contextlib.suppress(av.FFmpegError, OSError), av.open(str(path)) as film:
        for _ in film.decode(video=0):
            count += 1
    return count


def said(done: subprocess.CompletedProcess[str]) -> str:
    """The last line of what a command said."""
    lines = done.stderr.strip().splitlines()
    return "a traceback" if "Traceback" in done.stderr else (lines[-1] if lines else "nothing")


def full_disk(plan: Plan) -> Outcome:
    """A file must not grow beyond 100 kB (RLIMIT_FSIZE: as on a full disk, with another errno)."""
    return _in_folder(_full_disk)


def _full_disk(folder: Path) -> Outcome:
    out = folder / "out.mp4"
    out.write_bytes(EARLIER)
    begun = time.monotonic()
    done = avatar(*FILM, "-o", str(out), limit=100_000)
    part = pictures_in(folder / "out.partial.mp4")
    held = done.returncode == 1 and out.read_bytes() == EARLIER and part > 0 and "Traceback" not in done.stderr
    return Outcome(
        "render; no file may pass 100 kB", noticed=time.monotonic() - begun, held=held,
        lost=f"earlier film {'kept' if out.read_bytes() == EARLIER else 'lost'}; {part} pictures playable",
    )  # fmt: skip


def no_home(plan: Plan) -> Outcome:
    """HOME is a place where nothing can be written, not even by root."""
    return _in_folder(_no_home)


def _no_home(folder: Path) -> Outcome:
    home = folder / "home"
    home.write_text("a file")
    out = folder / "out.png"
    done = avatar("edit", "builtin", "--size", "256", "-o", str(out), HOME=str(home), AVATAR_HOME=str(home / "x"))
    held = done.returncode == 0 and out.exists()
    return Outcome("HOME takes no files; edit", held=held, lost="nothing" if held else said(done))


def one_port(plan: Plan) -> Outcome:
    """A second server on the port of the first."""
    with served(plan.size, 1) as (address, first):
        begun = time.monotonic()
        done = avatar("serve", "--port", address.rpartition(":")[2], "--size", "256")
        took = time.monotonic() - begun
        held = done.returncode == 1 and "another program uses it" in done.stderr and first.poll() is None
        held = held and any(answers(f"{address}/api/health") for _ in range(5))  # each waits two seconds
    return Outcome(
        "a second server on the same port", noticed=took, held=held, lost="nothing" if held else said(done)
    )


def clock_off(plan: Plan) -> Outcome:
    """The time of day is 4,000 days back."""
    if shutil.which("faketime") is None:
        return Outcome("time of day 4,000 days back", skipped="faketime is not installed (Debian: faketime)")
    return _in_folder(_clock_off)


def _clock_off(folder: Path) -> Outcome:
    counts = []
    for name, before in (("right", ()), ("off", ("faketime", "-f", "-4000d x1"))):
        out = folder / f"{name}.mp4"
        avatar(*FILM, "--duration", "1", "-o", str(out), before=before, DONT_FAKE_MONOTONIC="1")
        counts.append(pictures_in(out))
    right, off = counts
    return Outcome("time of day 4,000 days back; render", held=0 < right == off,
                   lost=f"{right - off} of {right} pictures")  # fmt: skip


JUMPS = (3600, -3600, 400 * 86400, 0)
"""Seconds that the time of day is ahead, one after the other."""
EACH_S = 3.0


def clock_jumps(plan: Plan) -> Outcome:
    """The server's time of day jumps while a caller's session runs: by a library of our own, for libfaketime 0.9.10
    makes sleeps by the monotonic clock fail (EINVAL) when it changes the time of day."""
    injected = "the server's time of day jumps by an hour, back by two, on by 400 days, and back"
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return Outcome(injected, skipped="there is no C compiler for the library that does it, or no Linux")
    return _in_folder(lambda folder: _clock_jumps(plan, injected, compiler, folder))


def _clock_jumps(plan: Plan, injected: str, compiler: str, folder: Path) -> Outcome:
    source, library, ahead = Path(__file__).with_name("clock_ahead.c"), folder / "ahead.so", folder / "ahead"
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    ahead.write_bytes(struct.pack("=q", 0))
    jumping = {"LD_PRELOAD": str(library), "CLOCK_AHEAD": str(ahead)}
    look = "import time; print(time.time())"
    with served(plan.size, 2, environment=jumping) as (address, server), calling(address) as caller:
        time.sleep(4.0)
        begun = time.monotonic()
        for seconds in JUMPS:
            with ahead.open("r+b") as file:  # the same file: the server has it mapped
                file.write(struct.pack("=q", seconds))
            told = float(subprocess.check_output([sys.executable, "-c", look], env=os.environ | jumping))
            if abs(told - time.time() - seconds) > 60:
                raise DeviceError("the time of day", "did not jump")
            time.sleep(EACH_S)
        ended = time.monotonic()
        before, during = caller.between(begun - 3.0, begun), caller.between(begun + 1.0, ended)
        lost = caller.calls - 1
        held = not lost and server.poll() is None and bool(during) and min(s.pictures for s in during) > 0
    rates: dict[str, tuple[float, str, float | None]]
    rates = {f"fps {when}": (float(np.mean([s.pictures for s in part])), "fps", None)
             for when, part in (("before", before), ("during", during)) if part}  # fmt: skip
    return Outcome(injected, lost="its session" if lost else "nothing", held=held, figures=rates)


def _in_folder(tried: Callable[[Path], Outcome]) -> Outcome:
    with tempfile.TemporaryDirectory() as folder:
        return tried(Path(folder))
