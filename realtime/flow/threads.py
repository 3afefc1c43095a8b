"""How many threads the numeric libraries use while a session runs; work beside it."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Where Linux says how much processor time a container may use: microseconds, or "max", in a period of so many."""

SWITCH_SECONDS = 0.001
"""How long one Python thread may keep the others waiting; Python's own 5 ms would show in the latency."""


GIVES_WAY = 10
"""Niceness of work that can wait."""


ENDS_S = 20.0
"""How long the end of the program waits for such work."""
_asides: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


def cores(quota: Path = QUOTA) -> int:
    """How many processor cores this process may use at once, at least 1: those of the machine, less those that an
    affinity mask or a container's quota takes away."""
    mask = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        most, period = quota.read_text(encoding="ascii").split()
        return max(1, min(mask, round(int(most) / int(period))))
    except (OSError, ValueError, ZeroDivisionError):  # no such file here, or "max": no quota
        return mask


def one_core_per_stage() -> None:
    """Let each stage of a session use one core: the stages are what runs side by side.

    The matrices of a frame are small; a BLAS that splits them over cores spends more time waiting at its barriers
    than it saves (a third of all CPU time on two cores). torch keeps its threads. Safe to call again and again, from
    any thread.
    """
    sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_SECONDS))
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(1)
    from threadpoolctl import ThreadpoolController

    for pool in ThreadpoolController().select(user_api="blas").lib_controllers:
        # Recent threadpoolctl lets one thread alone set OpenBLAS' pool as long as it lives, and ignores the others in
        # silence. Sessions start in threads of their own, so each takes that right over.
        take_over = getattr(pool, "clear_controlling_thread", None)
        if take_over:
            take_over(force=True)
        pool.set_num_threads(1)


def aside(work: Callable[[], object], name: str) -> threading.Thread:
    """Do `work` in a thread of its own that gives way to the stages of a session (on Linux). The end of the program
    waits for it, `ENDS_S` at most: a thread inside a native library would take the process with it (SIGABRT)."""

    def begin() -> None:
        if sys.platform == "linux":  # there a thread has a priority of its own
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), GIVES_WAY)
        work()

    thread = threading.Thread(target=begin, name=name, daemon=True)
    _asides.add(thread)
    thread.start()
    return thread


@atexit.register
def _end_asides() -> None:
    until = time.monotonic() + ENDS_S
    for thread in list(_asides):
        thread.join(max(0.0, until - time.monotonic()))
