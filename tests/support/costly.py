"""Stand-ins for a decoder that a picture has got the better of. They run in the decoding process."""

from __future__ import annotations

import os
import signal
import time

import numpy as np


def burn(data: bytes, pixels: int) -> np.ndarray:
    while True:
        pass


def hoard(data: bytes, pixels: int) -> np.ndarray:
    return np.ones(1 << 30, np.uint8)


def hang(data: bytes, pixels: int) -> np.ndarray:
    time.sleep(600)
    raise AssertionError


def fall(data: bytes, pixels: int) -> np.ndarray:
    os.kill(os.getpid(), signal.SIGSEGV)
    raise AssertionError


def whose(data: bytes, pixels: int) -> np.ndarray:
    return np.array([os.getpid()])
