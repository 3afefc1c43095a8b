"""`avatar render`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from realtime.commands import options as o
from realtime.commands.terminal import run_to_end, say
from realtime.engines.choose import BUILTIN, engine_settings, make_engine, read_portrait
from realtime.errors import BadFile, Interrupted
from realtime.families import builtin
from realtime.home import user_path
from realtime.media.credentials import check_signing, sign
from realtime.session.local import Pipeline
from realtime.settings import PipelineSettings
from realtime.sinks import SinkOptions, open_sink
from realtime.sources import SourceOptions, open_source, parse_source


def command(
    driving: Annotated[str, typer.Argument(help="Clip, recording or motion track that drives the portrait.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Video to write: .mp4, .mov or .mkv.")],
    portrait: o.Portrait = BUILTIN,
    view: o.Views = None,
    engine: o.EngineName = "auto",
    size: o.Size = "512",
    set_: o.Sets = None,
    amplitude: o.Amplitudes = None,
    absolute: o.Absolute = False,
    mirror: o.Mirror = False,
    hold_gaze: o.HoldGaze = False,
    duration: Annotated[float | None, typer.Option(help="Only the first seconds of the clip.")] = None,
    stats: o.StatsPath = None,
    weights: o.Weights = None,
    device: o.Device = "auto",
    mark: o.Mark = True,
    c2pa: Annotated[bool, typer.Option("--c2pa", help="Add C2PA content credentials: a program made this.")] = False,
    quiet: o.Quiet = False,
) -> None:
    """Animate a portrait with a clip: every frame, nothing dropped, with the clip's sound.

    The video is written beside its place (out.partial.mp4) and put there at the end, so that a render that fails or
    is stopped leaves an earlier one as it was.

    [b]Examples[/b]

      avatar render talk.mp4 --portrait me.jpg -o out.mp4

      avatar render talk.mp4 --portrait painting.jpg --set smile=0.3 --amplitude head=0.7 -o out.mp4

      avatar render talk.mp4 --portrait first_frame.png --absolute -o same.mp4

      avatar render talk.mp4 --portrait front.jpg --view left.jpg --view right.jpg --view smiling.jpg -o out.mp4

      avatar render walk.motion -o out.mp4

      avatar render speech.wav --portrait me.jpg -o out.mp4   (no camera: lips from the sound)
    """
    kind, argument = parse_source(driving)
    if kind in {"camera", "mic", "url"}:
        raise BadFile(driving, "render takes a file; for a live source use: avatar run")
    settings = PipelineSettings(lossless=True, duration=duration, stats=stats)
    wanted = engine_settings(engine, size, weights, device)
    live = o.live_settings(set_, amplitude, absolute, mirror, hold_gaze)
    o.check_stats(stats)
    o.refuse_overwriting([output, stats], [argument, portrait, *(view or ())])
    if c2pa:
        check_signing(output)
    source = open_source(driving, SourceOptions(paced=False))
    audio = user_path(argument) if kind in {"file", "sound"} else None
    sink = open_sink(f"file:{output}", SinkOptions(live=False, audio=audio, mark=mark, round=wanted.round))
    picture, views = read_portrait(portrait), [read_portrait(item) for item in view or ()]
    renderer = make_engine(wanted, picture, views=views)
    try:
        pipeline = Pipeline(source, renderer, [sink], settings, o.with_edits(live, set_, renderer.directions))
        asyncio.run(run_to_end(pipeline, "rendering", quiet))
    finally:
        renderer.close()
    counts = pipeline.stats.counts
    if pipeline.interrupted:
        raise Interrupted(sink.kept)
    if counts.delivered == 0:
        raise BadFile(driving, "holds no frames")
    if c2pa:
        sign(user_path(output), trained=renderer.name != builtin())
    if not quiet:
        without = f", {counts.no_face} without a face" if counts.no_face else ""
        frames = "1 frame" if counts.delivered == 1 else f"{counts.delivered} frames"
        print(f"{output}: {frames}{without}, {pipeline.stats.fps():.0f} a second")
    if counts.no_face >= counts.delivered:
        say(f"! {source.name}: no face in any frame, so the portrait only idles. Is it the clip you meant?")
