"""Options that several commands share, and what is made of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from realtime.engines import ENGINES, Engine, load_engine
from realtime.errors import BadPortrait, BadValue, UnknownName
from realtime.pictures import check_folder_of, read_picture
from realtime.settings import EngineSettings, Live

Portrait = Annotated[str, typer.Option(help="Picture to animate: a photo or painting with one face, or 'builtin'.")]
EngineName = Annotated[str, typer.Option("--engine", help="auto, mesh (no GPU, no weights), lia, lia-x or motrans.")]
Size = Annotated[int, typer.Option(help="Side of the picture in pixels.")]
Weights = Annotated[str | None, typer.Option(help="Weight file of a neural engine.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Add to the motion: smile=0.4, yaw=-10deg. Repeats."),
]
Amplitudes = Annotated[
    list[str] | None,
    typer.Option(
        "--amplitude",
        metavar="PART=FACTOR",
        help="More or less motion of head, mouth, eyes or brows: head=0.8. Repeats.",
    ),
]
Absolute = Annotated[
    bool,
    typer.Option(
        "--absolute/--relative",
        help="Take the driver's pose as it is, or move by its change from the driver's neutral face.",
    ),
]
Mirror = Annotated[bool, typer.Option("--mirror", help="Flip the driving picture, as in a mirror.")]
HoldGaze = Annotated[bool, typer.Option("--hold-gaze", help="The eyes look at the viewer.")]
StatsPath = Annotated[Path | None, typer.Option("--stats", help="Write counts, fps and latencies as JSON here.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings and errors.")]

BUILTIN = "builtin"


@dataclass(frozen=True)
class PortraitFile:
    """A portrait as given: its pixels, uint8 (H, W, 3) RGB, and the name for messages."""

    image: np.ndarray
    name: str


def read_portrait(spec: str) -> PortraitFile:
    """The picture that `--portrait` names. Raises BadFile."""
    if spec == BUILTIN:
        from realtime.engines.mesh import builtin_portrait

        return PortraitFile(builtin_portrait(), "the built-in portrait")
    return PortraitFile(read_picture(spec), spec)


def make_engine(settings: EngineSettings, portrait: PortraitFile | None = None) -> Engine:
    """Load the engine and give it the portrait. Raises UnknownName, BadValue, BadPortrait, EngineError, ..."""
    options: dict[str, object] = {"size": settings.size, "device": settings.device}
    if settings.weights is not None:
        options["weights"] = settings.weights
    engine = load_engine(choose_engine(settings), **options)
    try:
        if portrait is not None:
            engine.set_portrait(portrait.image)
    except BadPortrait as error:
        engine.close()
        raise BadPortrait(error.reason, portrait.name if portrait else None) from error
    except BaseException:
        engine.close()
        raise
    return engine


def choose_engine(settings: EngineSettings) -> str:
    """The name in the registry; "auto" is the mesh, which runs anywhere. Raises UnknownName, BadValue."""
    if settings.name == "auto":
        if settings.weights is not None:
            raise BadValue("--weights", settings.weights, "say which engine they are for, as in --engine lia-x")
        return "mesh"
    if settings.name not in ENGINES:
        raise UnknownName("engine", settings.name, [*ENGINES, "auto"])
    if settings.name == "mesh" and settings.weights is not None:
        raise BadValue("--weights", settings.weights, "the mesh engine takes none")
    return settings.name


def engine_settings(name: str, size: int, weights: str | None, device: str) -> EngineSettings:
    """Raises BadValue, UnknownName."""
    settings = EngineSettings(name, size, device, weights)
    choose_engine(settings)
    return settings


def live_settings(
    sets: Iterable[str] | None, amplitude: Iterable[str] | None, absolute: bool, mirror: bool, hold_gaze: bool
) -> Live:
    """Raises BadValue."""
    return Live(
        edits=_pairs("--set", sets),
        amplitude=_pairs("--amplitude", amplitude),
        absolute=absolute,
        mirror=mirror,
        hold_gaze=hold_gaze,
    )


def check_stats(path: Path | None) -> None:
    """Raise BadFile where statistics could not be written to `path`."""
    if path is not None:
        check_folder_of(path)


def _pairs(option: str, texts: Iterable[str] | None) -> Mapping[str, float]:
    return dict(_number_pair(option, text) for text in texts or ())


def _number_pair(option: str, text: str) -> tuple[str, float]:
    """`name=1.5` as ("name", 1.5). A unit "deg" may follow the number. Raises BadValue."""
    name, equals, value = text.partition("=")
    try:
        number = float(value.strip().removesuffix("deg").strip())
    except ValueError:
        number = float("nan")
    if not (equals and name.strip() and np.isfinite(number)):
        raise BadValue(option, text, "write NAME=NUMBER, as in smile=0.4 or yaw=-10deg")
    return name.strip(), number
