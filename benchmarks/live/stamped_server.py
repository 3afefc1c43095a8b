"""`avatar serve` as it is, but for an engine that carries the stamp of `glass` through.

python -m benchmarks.live.stamped_server --port 8123 --max-sessions 2
"""

from __future__ import annotations

import contextlib
import sys

from benchmarks.live import wrappers
from realtime.commands import serve
from realtime.commands.serve import StudioSetup
from realtime.engines import Engine
from realtime.measures import baselines
from realtime.server.places.here import Studio


def register() -> None:
    """Make the engine known in this process."""
    baselines.register()
    wrappers.register()


class StampedSetup(StudioSetup):
    """Makes it known in the process of a worker, or of a node's actor, too."""

    def engine(self) -> Engine:
        """One to try out."""
        register()
        return StudioSetup.engine(self)

    def open(self, slots: int) -> contextlib.AbstractContextManager[Studio]:
        """The studio, warm."""
        register()
        return StudioSetup.open(self, slots)


if __name__ == "__main__":
    from benchmarks.live.stamped_server import StampedSetup as Setup  # not of __main__: it travels
    from realtime.cli import main

    register()
    serve.StudioSetup = Setup  # type: ignore[misc]
    sys.argv = ["avatar", "serve", "--engine", "stamped", *sys.argv[1:]]
    main()
