"""`avatar serve` as it is, but for an engine that carries the stamp of `glass` through.

python -m benchmarks.live.stamped_server --port 8123 --max-sessions 2
"""

from __future__ import annotations

import sys

from benchmarks.live import wrappers
from realtime.measures import baselines

if __name__ == "__main__":
    from realtime.cli import main

    baselines.register()
    wrappers.register()
    sys.argv = ["avatar", "serve", "--engine", "stamped", *sys.argv[1:]]
    main()
