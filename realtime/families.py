"""The engine families: a line for each, and the only place that names them all.

A family is an engine with the motion codes and the weight files that are its own. Whatever works on all families asks
here. The targets are strings, "module:attribute", and are looked up when they are needed: listing imports none of
them, so that torch is never loaded for the CPU engine.

A new family is one file (or package) and one line in `FAMILIES`.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Family:
    """What the rest of the program has to know of one family.

    engine: the class that `load_engine` makes; "" where the family is no engine of its own.
    number: of its codes on the wire, see `realtime.motion.wire`; None: its codes are not sent. Never used again.
    vocabulary: what its codes say of a face, a `realtime.motion.vocabulary.Vocabulary`; "" where nobody knows.
    weights: its weight files, a `realtime.engines.weights.registry.WeightFiles`, in a module that does without torch;
    "" for an engine that takes none.
    page: draws what an engine saw in a frame (its method `look`), for `avatar inspect`.
    view: for networks that are no engine: makes such a page of (weights, portrait, frame, device, side), with words.
    trains: what `avatar train --system` calls the networks of this family, where they can be trained.
    rate: says for people what rate to expect on a device ("cpu", "cuda"), where that needs saying; imports torch.
    oblong: it makes pictures of any width and height, not squares alone.
    live: the engine takes the option `live`: a portrait is shown at once and gets better soon after.
    views: the engine takes more pictures of the portrait's person (`set_views`).
    about: a few words for lists.
    """

    engine: str = ""
    number: int | None = None
    vocabulary: str = ""
    weights: str = ""
    page: str = ""
    view: str = ""
    trains: tuple[str, ...] = ()
    rate: str = ""
    oblong: bool = False
    live: bool = False
    views: bool = False
    about: str = ""


_LATENT = "realtime.engines.latent"
_PARTS = "realtime.engines.parts"
_MESH = "realtime.engines.mesh"
_LIVEPORTRAIT = "realtime.engines.liveportrait"
_WAN = "realtime.film.wan"
_UNIMOTION = "realtime.engines.unimotion"

FAMILIES: dict[str, Family] = {
    "liveportrait": Family(
        f"{_LIVEPORTRAIT}.engine:LivePortraitEngine",
        5,
        f"{_LIVEPORTRAIT}.vocabulary:VOCABULARY",
        weights=f"{_LIVEPORTRAIT}.published:FILES",
        rate=f"{_LIVEPORTRAIT}.rate:expectation",
    ),
    "lia-x": Family(f"{_LATENT}.engine:LiaXEngine", 3, weights=f"{_LATENT}.published:FILES", trains=("lia-x",)),
    "motrans": Family(
        f"{_PARTS}.engine:MotransEngine",
        4,
        weights=f"{_PARTS}.published:FILES",
        page=f"{_PARTS}.views:page",
        trains=("motrans", "fomm", "mraa"),
    ),
    "lia": Family(f"{_LATENT}.engine:LiaEngine", 2, weights=f"{_LATENT}.published:FILES", trains=("lia",)),
    "wan-animate": Family(weights=f"{_WAN}.published:FILES"),
    "wan-animate-2": Family(weights=f"{_WAN}.published:FILES"),
    "unimotion": Family(
        weights=f"{_UNIMOTION}.published:FILES", view=f"{_UNIMOTION}.page:page", trains=("unimotion",)
    ),
    "wan-face": Family(weights=f"{_LATENT}.published:FILES"),
    "mesh": Family(
        f"{_MESH}.engine:MeshEngine",
        1,
        f"{_MESH}.motion.vocabulary:VOCABULARY",
        oblong=True,
        live=True,
        views=True,
        about="no GPU, no weights",
    ),
}
"""By name; the best first: of the engines that can run here `--engine auto` takes the one that comes first."""


class Engines(Mapping[str, str]):
    """The families that are engines: the target of each by its name, as `FAMILIES` has them now."""

    def __getitem__(self, name: str) -> str:
        target = FAMILIES[name].engine
        if not target:
            raise KeyError(name)
        return target

    def __iter__(self) -> Iterator[str]:
        return (name for name, family in FAMILIES.items() if family.engine)

    def __len__(self) -> int:
        return sum(1 for _ in self)


ENGINES: Mapping[str, str] = Engines()


def builtin() -> str:
    """The engine that runs anywhere, as it takes no weights."""
    return next(name for name in ENGINES if not FAMILIES[name].weights)


def kind_of(number: int) -> str | None:
    """The kind of code that has this number on the wire."""
    return next((name for name, family in FAMILIES.items() if family.number == number), None)


def number_of(kind: str) -> int | None:
    """The number on the wire of codes of this kind; None where they have none."""
    family = FAMILIES.get(kind)
    return None if family is None else family.number


def trained() -> tuple[str, ...]:
    """Everything that can be trained, by its name for `--system`."""
    return tuple(system for family in FAMILIES.values() for system in family.trains)


def target(text: str) -> Any:
    """What the string "module:attribute" names. Imports the module."""
    module, _, attribute = text.partition(":")
    return getattr(importlib.import_module(module), attribute)


def listed() -> str:
    """The engines for a line of help: "lia-x, ..., mesh (no GPU, no weights)"."""
    return ", ".join(f"{name} ({about})" if (about := FAMILIES[name].about) else name for name in ENGINES)
