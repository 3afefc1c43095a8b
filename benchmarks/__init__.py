"""Measurements of the product: `python -m benchmarks NAME [--json PATH] [--quick] [--plot PATH]`.

A benchmark is one module and one line in `BENCHMARKS`. The module has

- a docstring whose first line says what it measures (it is the help text),
- `add_options(parser)`: its own command line options (argparse),
- `run(options) -> Result`: the measurement; `options.quick` asks for the short form,
- `show(result, console)`: what a person reads in the terminal (optional: all figures are listed without it),
- `figure(result)`: a matplotlib figure, for `--plot` and the report; or `plot(result, path)`, for `--plot` alone,
- `passed(result)`: False where the exit code is to be 1 (optional),
- `split(name)`: how the report lays the figures out (optional, see `page`).

`report` alone has `main(options)` in place of all these.

Targets are strings, so that listing the benchmarks imports none of them.
"""

from __future__ import annotations

import realtime  # noqa: F401 - first of all, as for a user: it settles how many threads numpy takes

BENCHMARKS: dict[str, str] = {
    "latency": "benchmarks.live.latency",
    "stages": "benchmarks.live.stages",
    "glass": "benchmarks.live.glass",
    "private": "benchmarks.live.private",
    "sessions": "benchmarks.live.sessions",
    "cluster": "benchmarks.live.cluster.scenarios",
    "chaos": "benchmarks.live.chaos",
    "soak": "benchmarks.live.soak",
    "startup": "benchmarks.live.startup",
    "vcam": "benchmarks.live.vcam",
    "sync": "benchmarks.live.sync",
    "film": "benchmarks.live.film",
    "clients": "benchmarks.live.clients.table",
    "kernels": "benchmarks.device.kernels",
    "gpu": "benchmarks.device.gpu",
    "quality": "benchmarks.quality",
    "lips": "benchmarks.lips",
    "body": "benchmarks.body",
    "preparation": "benchmarks.preparation",
    "tokens": "benchmarks.tokens",
    "lia-cpu": "benchmarks.device.lia_cpu",
    "liveportrait-cpu": "benchmarks.device.liveportrait_cpu",
    "report": "benchmarks.report.report",
}
