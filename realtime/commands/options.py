"""Options that several commands share, and what is made of them."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from realtime.engines import ENGINES, Engine, load_engine
from realtime.engines.weights import registry
from realtime.errors import BadFile, BadPortrait, BadValue, UnknownName
from realtime.media.pictures import check_folder_of, read_picture
from realtime.motion.edits import Edits, parse_setting, parse_settings
from realtime.settings import EngineSettings, Live
from realtime.types import Direction

Portrait = Annotated[
    str, typer.Option(help="Picture to animate: a photo or painting with one face; builtin, builtin:painting.")
]
EngineName = Annotated[
    str,
    typer.Option(
        "--engine",
        help="auto, mesh (no GPU, no weights), lia, lia-x, motrans; with options: lia-x:paste_back,crop=face.",
    ),
]


def parse_size(text: str | int | tuple[int, int]) -> int | tuple[int, int]:
    """ "512" as 512, "640x480" as (640, 480). Raises BadValue."""
    sides = str(text).lower().split("x") if not isinstance(text, tuple) else list(map(str, text))
    if not (1 <= len(sides) <= 2 and all(side.strip().isdecimal() for side in sides)):
        raise BadValue("--size", text, "pixels, from 64 to 2048, as in 512 or 640x480")
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


Size = Annotated[
    Any,
    typer.Option(parser=parse_size, metavar="N|WxH", help="Side of the picture in pixels, or its width and height."),
]
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
Mirror = Annotated[bool, typer.Option("--mirror", help="Flip the driver left to right, as in a mirror.")]
HoldGaze = Annotated[bool, typer.Option("--hold-gaze", help="The eyes look at the viewer.")]
StatsPath = Annotated[Path | None, typer.Option("--stats", help="Write counts, fps and latencies as JSON here.")]
Mark = Annotated[
    bool,
    typer.Option("--mark/--no-mark", help="Put the invisible mark into the picture, which avatar detect finds."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings and errors.")]

BUILTIN = "builtin"
BEST_FIRST = ("lia-x", "motrans", "lia")
"""Neural engines in the order in which `--engine auto` prefers them."""


@dataclass(frozen=True)
class PortraitFile:
    """A portrait as given: its pixels, uint8 (H, W, 3) RGB, and the name for messages."""

    image: np.ndarray
    name: str


def read_portrait(spec: str) -> PortraitFile:
    """The picture that `--portrait` names. Raises BadFile."""
    kind, _, name = spec.partition(":")
    if kind == BUILTIN:
        from realtime.media.portraits import builtin_portrait, builtin_portraits

        return PortraitFile(builtin_portrait(name or builtin_portraits()[0]), "the built-in portrait")
    return PortraitFile(read_picture(spec), spec)


def make_engine(settings: EngineSettings, portrait: PortraitFile | None = None) -> Engine:
    """Load the engine and give it the portrait. Raises UnknownName, BadValue, BadPortrait, EngineError, ..."""
    options: dict[str, object] = {"size": settings.size, "device": settings.device, **settings.options}
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
    """The name in the registry. "auto": the engine that the weights are for; without weights the best neural engine
    whose weights are registered, where there is a GPU, else the mesh. Raises UnknownName, BadValue."""
    if settings.name == "auto":
        if settings.weights is not None:
            return _engine_of(settings.weights)
        return _neural_engine_here() if settings.device != "cpu" else "mesh"
    if settings.name not in ENGINES:
        raise UnknownName("engine", settings.name, [*ENGINES, "auto"])
    if settings.name == "mesh" and settings.weights is not None:
        raise BadValue("--weights", settings.weights, "the mesh engine takes none")
    if settings.name in BEST_FIRST and isinstance(settings.size, tuple):
        raise BadValue("--size", "x".join(map(str, settings.size)), f"one number: {settings.name} makes squares")
    return settings.name


def _engine_of(weights: str) -> str:
    """The engine that registered weights are for, by their name or their path. Raises BadValue."""
    for record in registry.records():
        if record.family in ENGINES and (weights == record.name or Path(weights).expanduser() == Path(record.path)):
            return record.family
    raise BadValue("--weights", weights, "say which engine they are for, as in --engine lia-x")


def _neural_engine_here() -> str:
    """The best neural engine that can run live here, "mesh" where there is none."""
    families = {record.family for record in registry.records() if Path(record.path).is_file()}
    best = next((name for name in BEST_FIRST if name in families and name in ENGINES), None)
    if best is None or shutil.which("nvidia-smi") is None or find_spec("torch") is None:
        return "mesh"
    import torch

    return best if torch.cuda.is_available() else "mesh"


def engine_settings(name: str, size: int | tuple[int, int], weights: str | None, device: str) -> EngineSettings:
    """Raises BadValue, UnknownName."""
    name, _, spec = name.partition(":")
    settings = EngineSettings(name, size, device, weights, dict(_option(text) for text in spec.split(",") if text))
    choose_engine(settings)
    return settings


def _option(text: str) -> tuple[str, object]:
    """`paste_back`, `dtype=bf16`, `scale=1` of an engine's options; a name alone switches it on. Raises BadValue."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not name.isidentifier() or (equals and not value):
        raise BadValue("--engine", text, "options follow the engine's name, as in lia-x:paste_back,dtype=fp32")
    words = {"": True, "on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
    if value.lower() in words:
        return name, words[value.lower()]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return name, kind(value)
    return name, value


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
    for prefix in ("file:", "motion:"):
        text = text.removeprefix(prefix)
    return Path(text).expanduser().resolve()


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
