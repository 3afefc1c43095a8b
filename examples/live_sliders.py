"""A live session: the built-in motion track drives the portrait into a film, while a slider moves to and fro.

The session is steered from outside through its `control`, as the page and the preview window do it.

    python examples/live_sliders.py sliders.mp4 --seconds 6
"""

from __future__ import annotations

import argparse
import asyncio
import math

from realtime import Pipeline, PipelineSettings, builtin_portrait, load_engine, open_sink, open_source


async def sway(pipeline: Pipeline) -> None:
    """Move two sliders until the session ends."""
    step = 0
    while not pipeline.control.stopping:
        edits = {"yaw": 12.0 * math.sin(step / 10), "smile": 0.4 + 0.4 * math.sin(step / 17)}
        pipeline.control.change(edits=edits)
        step += 1
        await asyncio.sleep(0.05)


async def main() -> None:
    """Run the session, and say how long a picture took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output")
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parser.parse_args()

    engine = load_engine("mesh", size=384)
    engine.set_portrait(builtin_portrait())
    source, sink = open_source("motion:builtin"), open_sink(f"file:{options.output}")
    pipeline = Pipeline(source, engine, [sink], PipelineSettings(duration=options.seconds))
    try:
        swaying = asyncio.create_task(sway(pipeline))
        stats = (await pipeline.run()).to_json()
        await swaying
    finally:
        engine.close()
    print(f"{stats['frames']['delivered']} pictures, median {stats['latency_ms']['total']['p50']:.1f} ms each")


if __name__ == "__main__":
    asyncio.run(main())
