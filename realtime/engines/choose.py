"""From what a user asks for (an engine or "auto", a size, weights, a portrait) to an engine with its portrait."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from realtime.engines import Engine, load_engine
from realtime.engines.weights import registry
from realtime.errors import BadPortrait, BadValue, UnknownName
from realtime.families import ENGINES, FAMILIES, builtin
from realtime.home import user_path
from realtime.media.pictures import read_picture
from realtime.settings import EngineSettings, Shape

BUILTIN = "builtin"


@dataclass(frozen=True)
class PortraitFile:
    """A portrait as given: its pixels, uint8 (H, W, 3) RGB, and the name for messages. builtin: which of those that
    come with the package it is; "" for all others."""

    image: np.ndarray
    name: str
    builtin: str = ""


def read_portrait(spec: str) -> PortraitFile:
    """The picture that `--portrait` names. Raises BadFile."""
    kind, _, name = spec.partition(":")
    if kind == BUILTIN:
        from realtime.media.portraits import builtin_portrait, builtin_portraits

        which = name or builtin_portraits()[0]
        return PortraitFile(builtin_portrait(which), "the built-in portrait", which)
    return PortraitFile(read_picture(spec), spec)


def make_engine(
    settings: EngineSettings,
    portrait: PortraitFile | None = None,
    *,
    live: bool = False,
    views: Sequence[PortraitFile] = (),
) -> Engine:
    """Load the engine and give it the portrait. Raises UnknownName, BadValue, BadPortrait, EngineError, ...

    live: nobody shall wait for a portrait to be as good as it gets, where the engine has to choose. views: more
    pictures of the portrait's person.
    """
    name = choose_engine(settings)
    check_views(name, [view.name for view in views])
    options: dict[str, object] = {"size": settings.size, "device": settings.device}
    if live and FAMILIES[name].live:
        options["live"] = True
    options |= settings.options
    if settings.weights is not None:
        options["weights"] = settings.weights
    engine = load_engine(name, **options)
    try:
        if portrait is not None:
            with _named(portrait):
                engine.set_portrait(portrait.image)
        if views:
            _give_views(engine, views)
    except BaseException:
        engine.close()
        raise
    return engine


def check_views(engine: str, views: Sequence[str]) -> None:
    """Raises BadValue where the engine of this name takes no views, and some are given, by their names."""
    if views and not FAMILIES[engine].views:
        able = ", ".join(n for n, family in FAMILIES.items() if family.views)
        raise BadValue("--view", views[0], f"the {engine} engine takes one picture; engines with views: {able}")


def _give_views(engine: Any, views: Sequence[PortraitFile]) -> None:
    """Raises BadPortrait, which names the picture."""
    ready = []
    for view in views:
        with _named(view):
            ready.append(engine.prepare_view(view.image))
    engine.set_views(ready)


@contextlib.contextmanager
def _named(picture: PortraitFile) -> Iterator[None]:
    """BadPortrait from inside names the picture."""
    try:
        yield
    except BadPortrait as error:
        raise BadPortrait(error.reason, picture.name) from error


def choose_engine(settings: EngineSettings) -> str:
    """The name in the registry. "auto": the engine that the weights are for; without weights the best neural engine
    whose weights are registered, where there is a GPU, else the built-in one. Raises UnknownName, BadValue."""
    if settings.name == "auto":
        if settings.weights is not None:
            return _engine_of(settings.weights)
        return _neural_engine_here() if settings.device != "cpu" else builtin()
    if settings.name not in ENGINES:
        raise UnknownName("engine", settings.name, [*ENGINES, "auto"])
    family = FAMILIES[settings.name]
    if not family.weights and settings.weights is not None:
        raise BadValue("--weights", settings.weights, f"the {settings.name} engine takes none")
    if not family.oblong and isinstance(settings.size, tuple):
        raise BadValue("--size", "x".join(map(str, settings.size)), f"one number: {settings.name} makes squares")
    return settings.name


def _engine_of(weights: str) -> str:
    """The engine that registered weights are for, by their name or their path. Raises BadValue."""
    for record in registry.records():
        if record.family in ENGINES and (weights == record.name or user_path(weights) == Path(record.path)):
            return record.family
    raise BadValue("--weights", weights, f"say which engine they are for, as in --engine {_example()}")


def _neural_engine_here() -> str:
    """The best neural engine that can run live here, the built-in one where there is none."""
    families = {record.family for record in registry.records() if Path(record.path).is_file()}
    best = next((name for name in ENGINES if name in families), None)
    if best is None or shutil.which("nvidia-smi") is None or find_spec("torch") is None:
        return builtin()
    import torch

    return best if torch.cuda.is_available() else builtin()


def _example() -> str:
    """An engine that takes weights."""
    return next(name for name in ENGINES if FAMILIES[name].weights)


def engine_settings(name: str, shape: Shape | int, weights: str | None, device: str) -> EngineSettings:
    """Raises BadValue, UnknownName."""
    name, _, spec = name.partition(":")
    shape = Shape(shape) if isinstance(shape, int) else shape
    given = dict(_option(text) for text in spec.split(",") if text)
    settings = EngineSettings(name, shape.size, device, weights, given, shape.round)
    choose_engine(settings)
    return settings


def _option(text: str) -> tuple[str, object]:
    """`paste_back`, `dtype=bf16`, `scale=1` of an engine's options; a name alone switches it on. Raises BadValue."""
    name, equals, value = (part.strip() for part in text.partition("="))
    if not name.isidentifier() or (equals and not value):
        raise BadValue(
            "--engine", text, f"options follow the engine's name, as in {_example()}:paste_back,dtype=fp32"
        )
    words = {"": True, "on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
    if value.lower() in words:
        return name, words[value.lower()]
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return name, kind(value)
    return name, value
