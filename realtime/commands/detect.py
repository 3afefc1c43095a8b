"""`avatar detect`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from realtime.errors import BadFile


def command(
    file: Annotated[Path, typer.Argument(help="A clip or a picture.")],
    frames: Annotated[int, typer.Option(min=1, help="Frames to look at, spread over the clip's beginning.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Does a clip or picture carry the invisible mark of this avatar? Exit code 0 either way.

    [b]Examples[/b]

      avatar detect recording.webm

      avatar detect picture.png --json
    """
    import av

    from realtime.media.watermark import score, verdict

    if not file.is_file():
        raise BadFile(file, "no such file")
    scores: list[float] = []
    try:
        with av.open(str(file.absolute())) as clip:
            for n, frame in enumerate(clip.decode(video=0)):
                if n % 5 == 0:
                    scores.append(score(frame.to_ndarray(format="rgb24")))
                if len(scores) >= frames:
                    break
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise BadFile(file, "is no clip or picture that can be read") from error
    if not scores:
        raise BadFile(file, "has no pictures in it")
    marked, level = verdict(scores)
    if as_json:
        print(json.dumps({"marked": marked, "score": round(level, 2), "frames": len(scores)}))
    else:
        print(f"{file}: {'an avatar of this program' if marked else 'no mark found'} (score {level:.1f})")
