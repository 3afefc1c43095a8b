"""`avatar cluster` as it is, but for an engine on the nodes that carries the stamp of `glass` through.

python -m benchmarks.live.cluster.stamped_node node --join 127.0.0.2 --address 127.0.0.3
"""

from __future__ import annotations

import sys

from benchmarks.live.stamped_server import StampedSetup, register
from realtime.commands import serve

if __name__ == "__main__":
    from realtime.cli import main

    register()
    serve.StudioSetup = StampedSetup  # type: ignore[misc]
    more = ["--engine", "stamped"] if sys.argv[1] == "node" else []
    sys.argv = ["avatar", "cluster", *sys.argv[1:], *more]
    main()
