"""Options that several commands share, and what is made of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from realtime.errors import BadFile, BadValue
from realtime.families import listed
from realtime.home import user_path
from realtime.media.pictures import check_folder_of
from realtime.motion.edits import Edits, parse_setting, parse_settings
from realtime.settings import EngineSettings, Live, Shape, shapes
from realtime.types import Direction

Portrait = Annotated[
    str, typer.Option(help="Picture to animate: a photo or painting with one face; builtin, builtin:admiral.")
]
Views = Annotated[
    list[str] | None,
    typer.Option(
        "--view", help="Another picture of the portrait's person: turned, smiling. Repeats. Mesh engine only."
    ),
]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        help=f"auto (the best that can run here), {listed()}; with options: NAME:paste_back,crop=face.",
    ),
]


Size = Annotated[
    Any,
    typer.Option(
        parser=Shape.parse,
        metavar="N|WxH|SHAPE",
        help=f"Side of the picture in pixels, or its width and height, or a shape: {shapes()}; "
        "16:9@720 gives its shorter side.",
    ),
]
Weights = Annotated[str | None, typer.Option(help="Weight file of a neural engine.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Add to the motion: smile=0.4, yaw=-10deg. Repeats."),
]
Amplitudes = Annotated[
    list[str] | None,
    typer.Option(
        "--amplitude",
        metavar="PART=FACTOR",
        help="More or less motion of head, mouth, eyes, brows or body: head=0.8. Repeats.",
    ),
]
Absolute = Annotated[
    bool,
    typer.Option(
        "--absolute/--relative",
        help="Take the driver's pose as it is, or move by its change from the driver's neutral face.",
    ),
]
Mirror = Annotated[bool, typer.Option("--mirror", help="Flip the driver left to right, as in a mirror.")]
HoldGaze = Annotated[bool, typer.Option("--hold-gaze", help="The eyes look at the viewer.")]
BackgroundOf = Annotated[
    str,
    typer.Option(
        "--background",
        metavar="NAME|FILE",
        help="Behind the portrait: original, green, blur, blur:2 (twice as strong), or the file of a picture or of a "
        "clip that goes round (its first minute).",
    ),
]
Smoothing = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="Follow more calmly: 0 at once, 1 within about a third of a second.")
]
StatsPath = Annotated[Path | None, typer.Option("--stats", help="Write counts, fps and latencies as JSON here.")]
Mark = Annotated[
    bool,
    typer.Option("--mark/--no-mark", help="Put the invisible mark into the picture, which avatar detect finds."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings and errors.")]


def live_settings(
    sets: Iterable[str] | None, amplitude: Iterable[str] | None, absolute: bool, mirror: bool, hold_gaze: bool
) -> Live:
    """Live settings without the edits, which need the engine's dictionary; their spelling is checked all the same.
    Raises BadValue, UnknownName."""
    for text in sets or ():
        parse_setting(text)
    factors = dict(_factor(text) for text in amplitude or ())
    Edits((), amplitude=factors)
    return Live(amplitude=factors, absolute=absolute, mirror=mirror, hold_gaze=hold_gaze)


def with_edits(live: Live, sets: Iterable[str] | None, directions: Sequence[Direction]) -> Live:
    """`live` with the edits of `--set`. Raises UnknownName, BadValue."""
    return replace(live, edits=parse_settings(sets or (), directions))


def whole_picture(settings: EngineSettings) -> EngineSettings:
    """For what shows whole pictures alone. Raises BadValue for a round one."""
    if settings.round:
        raise BadValue(
            "--size", "round", "the whole picture is shown here; take square. Round ones: run, render, serve"
        )
    return settings


def check_stats(path: Path | None) -> None:
    """Raise BadFile where statistics could not be written to `path`."""
    if path is not None:
        check_folder_of(path)


def refuse_overwriting(outputs: Iterable[str | Path | None], inputs: Iterable[str]) -> None:
    """Raise BadFile where an output is one of the inputs, or two outputs are the same file. A sink or source may be
    given as on the command line (`file:out.mp4`)."""
    taken = {_resolved(name): "is one of the inputs; choose another name for the output" for name in inputs if name}
    for output in outputs:
        if output is None or not str(output):
            continue
        where = _resolved(output)
        if where in taken:
            raise BadFile(str(output).removeprefix("file:"), taken[where])
        taken[where] = "is written twice; give each output its own name"


def _resolved(name: str | Path) -> Path:
    text = str(name)
    for prefix in ("file:", "motion:", "sound:"):
        text = text.removeprefix(prefix)
    return user_path(text).resolve()


def check_duration(duration: float | None) -> None:
    """Raise BadValue where `duration` is no length of time in seconds."""
    if duration is not None and not 0 < duration < math.inf:
        raise BadValue("--duration", duration, "seconds, above 0")


def _factor(text: str) -> tuple[str, float]:
    """`head=0.8` as ("head", 0.8). Raises BadValue."""
    part, equals, value = text.partition("=")
    try:
        if equals and part.strip():
            return part.strip(), float(value)
    except ValueError:
        pass
    raise BadValue("--amplitude", text, "write PART=FACTOR, as in head=0.8")
