"""What several tests share: real test data where it is present, and a clock that stands still until moved."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest


def test_data(*names: str) -> Path:
    """The folder of real clips and portraits, or the file `names` inside it; skips the test where it is absent.

    It is the folder in the environment variable AVATAR_TEST_DATA, else `../shared/data` beside the repository.
    """
    root = os.environ.get("AVATAR_TEST_DATA")
    folder = Path(root) if root else Path(__file__).resolve().parents[2] / "shared" / "data"
    path = folder.joinpath(*names)
    if not path.exists():
        pytest.skip(f"no test data at {path}: set AVATAR_TEST_DATA to the folder that holds clips and portraits")
    return path


test_data.__test__ = False  # type: ignore[attr-defined]


def frames_of(path: Path, limit: int | None = None) -> Iterator[np.ndarray]:
    """The frames of a video file as uint8 (H, W, 3) RGB."""
    import av

    with av.open(str(path)) as container:
        for n, frame in enumerate(container.decode(video=0)):
            if limit is not None and n >= limit:
                return
            yield frame.to_ndarray(format="rgb24")


class FakeClock:
    """Time in seconds that only moves when `advance` is called. Call it to read it."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> float:
        self.now += seconds
        return self.now
