"""A motion estimator and the generator as one network: what is trained, saved and run.

The three estimators of the Motion Transformer paper (its own, FOMM, MRAA) share the generator, so that a comparison
compares the estimators alone (section 4.1).
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from realtime.engines.parts.dense_motion import BackgroundPredictor, DenseMotion
from realtime.engines.parts.fomm import FommEstimator
from realtime.engines.parts.generator import Generator
from realtime.engines.parts.motion import PartMotion
from realtime.engines.parts.motion_transformer import MotionTransformer, MotionTransformerConfig
from realtime.engines.parts.mraa import MraaEstimator

T = TypeVar("T")


@dataclass(frozen=True)
class HourglassConfig:
    """Sizes of a U-Net: channels of its first level, number of halvings, most channels."""

    base: int = 32
    blocks: int = 5
    limit: int = 1024


@dataclass(frozen=True)
class GeneratorConfig:
    """Sizes of the generator; the defaults are the paper's (45.57 M parameters with the mask predictor)."""

    base: int = 64
    limit: int = 512
    downs: int = 2
    bottleneck: int = 6
    skips: bool = True
    mask: HourglassConfig = field(default_factory=lambda: HourglassConfig(base=64))


@dataclass(frozen=True)
class AnimatorConfig:
    """Everything that shapes an `Animator`.

    estimator: "motrans", "fomm" or "mraa". size: side of the pictures it is trained on, pixels. parts: K.
    transformer: for "motrans" (its `parts` is taken from here). heat: the hourglass of "fomm" and "mraa".
    temperature: of their heat maps. shared_jacobian: see `FommEstimator`. background: with the background predictor.
    """

    estimator: Literal["motrans", "fomm", "mraa"] = "motrans"
    size: int = 256
    parts: int = 10
    transformer: MotionTransformerConfig = field(default_factory=MotionTransformerConfig)
    heat: HourglassConfig = field(default_factory=HourglassConfig)
    temperature: float = 0.1
    shared_jacobian: bool = False
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    background: bool = False

    @property
    def multiple(self) -> int:
        """The side of a picture must be a multiple of this."""
        needs = [4 * 2**self.generator.mask.blocks, 2**self.generator.downs]
        if self.estimator == "motrans":
            needs.append(16 if self.transformer.backbone == "stem" else 32)
        else:
            needs.append(4 * 2**self.heat.blocks)
        if self.background:
            needs.append(2**self.heat.blocks)
        return max(needs)


def config_from(kind: type[T], values: Mapping[str, Any]) -> T:
    """A (nested) dataclass from plain values, as `dataclasses.asdict` gives them.

    Raises ValueError for a name that `kind` does not have and for a value of another type than the default's.
    """
    hints = typing.get_type_hints(kind)
    names = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - names)
    if unknown:
        raise ValueError(f"{kind.__name__} has no field {unknown[0]!r}")
    made: dict[str, Any] = {}
    for name, value in values.items():
        hint = hints[name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            if not isinstance(value, Mapping):
                raise ValueError(f"{kind.__name__}.{name} is {value!r}, not a table of values")
            made[name] = config_from(hint, value)
        else:
            made[name] = _checked(f"{kind.__name__}.{name}", hint, value)
    return kind(**made)


def _checked(where: str, hint: Any, value: Any) -> Any:
    origin, choices = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in choices:
            raise ValueError(f"{where} is {value!r}; it may be {', '.join(map(repr, choices))}")
        return value
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_checked(where, choices[0], item) for item in value)
    if hint is float and type(value) is int:
        return float(value)
    if isinstance(hint, type) and type(value) is not hint:
        raise ValueError(f"{where} is {value!r}, not of type {hint.__name__}")
    return value


class Animator(nn.Module):
    """Estimator, generator and, where configured, background predictor."""

    def __init__(self, config: AnimatorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or AnimatorConfig()
        self.estimator = _make_estimator(config)
        g = config.generator
        self.generator = Generator(
            config.parts,
            base=g.base,
            limit=g.limit,
            downs=g.downs,
            bottleneck=g.bottleneck,
            mask_base=g.mask.base,
            mask_blocks=g.mask.blocks,
            mask_limit=g.mask.limit,
            skips=g.skips,
        )
        h = config.heat
        self.background: BackgroundPredictor | None = None
        if config.background:
            self.background = BackgroundPredictor(base=h.base, blocks=h.blocks, limit=h.limit)

    def forward(self, source: Tensor, driving: Tensor) -> tuple[Tensor, DenseMotion, PartMotion, PartMotion]:
        """The source picture moved as the driving one: both (B, 3, H, W) in 0..1.

        Gives the picture, the dense motion, and the parts of the source and of the driving picture.
        """
        both = self.estimator(torch.cat([source, driving]))
        half = len(source)
        of_source = PartMotion(both.points[:half], both.affine[:half])
        of_driving = PartMotion(both.points[half:], both.affine[half:])
        background = None if self.background is None else self.background(source, driving)
        picture, motion = self.generator(source, of_source, of_driving, background)
        return picture, motion, of_source, of_driving


def _make_estimator(config: AnimatorConfig) -> nn.Module:
    if config.estimator == "motrans":
        return MotionTransformer(dataclasses.replace(config.transformer, parts=config.parts))
    heat = {"base": config.heat.base, "blocks": config.heat.blocks, "limit": config.heat.limit}
    if config.estimator == "fomm":
        return FommEstimator(
            config.parts, temperature=config.temperature, shared_jacobian=config.shared_jacobian, **heat
        )
    return MraaEstimator(config.parts, temperature=config.temperature, **heat)
