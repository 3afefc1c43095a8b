"""`avatar cluster` as it is, but for an engine on the nodes that carries the stamp of `glass` through.

python -m benchmarks.live.cluster.stamped_node node --join 127.0.0.2 --address 127.0.0.3
"""

from __future__ import annotations

import contextlib
import sys

from benchmarks.live import wrappers
from realtime.commands import cluster
from realtime.engines import Engine
from realtime.measures import baselines
from realtime.server.places.here import Studio


def register() -> None:
    """Make the engine known in this process."""
    baselines.register()
    wrappers.register()


class StampedSetup(cluster.Setup):
    """Makes it known in the actor's process too."""

    def engine(self) -> Engine:
        """One to try out."""
        register()
        return cluster.Setup.engine(self)

    def open(self, slots: int) -> contextlib.AbstractContextManager[Studio]:
        """The studio, warm."""
        register()
        return cluster.Setup.open(self, slots)


if __name__ == "__main__":
    from benchmarks.live.cluster.stamped_node import StampedSetup as Setup  # not of __main__: it travels
    from realtime.cli import main

    register()
    cluster.Setup = Setup  # type: ignore[misc]
    more = ["--engine", "stamped"] if sys.argv[1] == "node" else []
    sys.argv = ["avatar", "cluster", *sys.argv[1:], *more]
    main()
