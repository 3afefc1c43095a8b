"""The driver's half of a session."""

from __future__ import annotations

import threading

import numpy as np

from realtime.session import sender
from realtime.types import Frame


class Endless:
    """Frames without end; it notes when it was closed."""

    name = "endless"

    def __init__(self, told: list[str]) -> None:
        self.told = told

    def open(self) -> None:
        pass

    def read(self) -> Frame:
        threading.Event().wait(0.001)
        return Frame(np.zeros((16, 16, 3), np.uint8), 0.0)

    def close(self) -> None:
        self.told.append("source closed")


async def test_who_stops_listening_has_no_thread_left_when_the_tracker_closes(monkeypatch):
    told: list[str] = []

    class Tracker:
        def track(self, image):
            return None

        def close(self):
            working = [one for one in threading.enumerate() if one.name.endswith(("(read)", "(look)"))]
            told.append(f"tracker closed, {len(working)} threads work")

    monkeypatch.setattr(sender, "FaceTracker", Tracker)
    found = sender.landmarks_of(Endless(told))
    assert (await anext(found)).points is None
    await found.aclose()
    assert told == ["source closed", "tracker closed, 0 threads work"]
