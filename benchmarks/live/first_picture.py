"""The `avatar` command with one more sink, `first`, for `startup`. It imports nothing that the command does not.

python -m benchmarks.live.first_picture run --source motion:builtin --sink first
"""

from __future__ import annotations

import time

from realtime.sinks import SINKS, SinkBase, SinkOptions
from realtime.types import Picture


class FirstPicture(SinkBase):
    """Says when the first animated picture came, then ends the session."""

    name = "first picture"

    def __init__(self, argument: str, options: SinkOptions) -> None:
        super().__init__(options)

    def open(self, width: int, height: int, fps: float) -> None:
        """Nothing to get ready."""

    def write(self, picture: Picture) -> None:
        """Print and quit."""
        if picture.index >= 0:
            print(f"first picture {time.monotonic()!r}", flush=True)
            self.on_key("quit")


if __name__ == "__main__":
    from realtime.cli import main

    SINKS["first"] = "benchmarks.live.first_picture:FirstPicture"
    main()
