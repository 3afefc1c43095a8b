"""`avatar encode`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from realtime.commands import options as o
from realtime.commands.terminal import progress
from realtime.engines.choose import engine_settings, make_engine
from realtime.errors import BadFile, BadValue
from realtime.home import user_path
from realtime.media.pictures import check_folder_of
from realtime.session.offline import encode_track
from realtime.sources import SourceOptions, open_source, parse_source


def command(
    clip: Annotated[str, typer.Argument(help="Video, or picture, of the driver.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Motion track to write, .motion.")],
    engine: o.EngineName = "auto",
    mirror: o.Mirror = False,
    duration: Annotated[float | None, typer.Option(help="Only the first seconds of the clip.")] = None,
    weights: o.Weights = None,
    device: o.Device = "auto",
    quiet: o.Quiet = False,
) -> None:
    """Turn a clip into a motion track: motion codes and the neutral face, no pictures, a hundredth of the size.

    `avatar run --source motion:TRACK` and `avatar render TRACK` take it as a driver, with any portrait.

    [b]Examples[/b]

      avatar encode talk.mp4 -o talk.motion

      avatar render talk.motion --portrait me.jpg -o out.mp4
    """
    kind, _ = parse_source(clip)
    if kind not in {"file", "still"}:
        raise BadFile(clip, "encode takes a video or a picture")
    if output.suffix.lower() != ".motion":
        raise BadFile(output, "the name must end in .motion")
    check_folder_of(user_path(output))
    o.check_duration(duration)
    settings = engine_settings(engine, 256, weights, device)
    source = open_source(clip, SourceOptions(paced=False))
    loaded = make_engine(settings)
    try:
        with progress(quiet) as bar:
            source.open()
            total = source.frames
            if duration is not None and source.fps:
                total = min(total or 10**9, round(duration * source.fps))
            task = bar.add_task("encoding", total=total, speed="")
            track = encode_track(source, loaded, mirror, duration, lambda: bar.advance(task))
    except BadValue as error:
        raise BadFile(clip, error.expected) from error
    finally:
        source.close()
        loaded.close()
    track.save(user_path(output))
    if not quiet:
        seen = sum(code is not None for code in track.codes())
        without = f", {len(track) - seen} without a face" if seen < len(track) else ""
        size = user_path(output).stat().st_size
        print(f"{output}: {len(track)} frames at {track.fps:g} fps{without}, {size / 1000:.0f} kB")
