"""What native libraries do behind Python's back: they write to the terminal, and end the program without memory."""

from __future__ import annotations

import os
import sys

ENOUGH_MEMORY = 3e9
"""Bytes of address space. Half of it was too little for a render at 256 px on two cores, two thirds were enough."""


def quiet_native_libraries() -> None:
    """Send what C++ libraries write straight to file descriptor 2 (TensorFlow Lite greets there on every start) to
    nowhere. Python's own stderr keeps working. Called once, at the start of the program."""
    os.environ.setdefault("GLOG_minloglevel", "3")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        kept = os.dup(2)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
    except OSError:
        return
    sys.stderr = os.fdopen(kept, "w", buffering=1, encoding="utf-8", errors="replace")


def warn_of_memory_limit() -> None:
    """Say that memory is limited where it is: libraries in C++ end the whole program when they get none."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < ENOUGH_MEMORY:
        print(
            f"! memory is limited to {limit / 1e9:.1f} GB of addresses here (ulimit -v); a library that gets none "
            f"ends the program without a word; {ENOUGH_MEMORY / 1e9:.0f} GB are enough for the mesh engine",
            file=sys.stderr,
        )
