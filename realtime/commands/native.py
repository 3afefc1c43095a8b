"""Keeps the terminal clean of what native libraries write."""

from __future__ import annotations

import os
import sys


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
