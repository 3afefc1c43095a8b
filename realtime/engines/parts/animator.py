"""A motion estimator and the generator as one network: what is trained, saved and run.

The three estimators of the Motion Transformer paper (its own, FOMM, MRAA) share the generator, so that a comparison
compares the estimators alone (section 4.1). Weights are a safetensors file whose metadata holds the configuration,
or one of FOMM's published checkpoints (``vox-cpk.pth.tar``), read without running any code from the file.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn

from realtime.engines.parts.dense_motion import BackgroundPredictor, DenseMotion
from realtime.engines.parts.fomm import FommEstimator
from realtime.engines.parts.generator import Generator
from realtime.engines.parts.motion import PartMotion
from realtime.engines.parts.motion_transformer import MotionTransformer, MotionTransformerConfig
from realtime.engines.parts.mraa import MraaEstimator
from realtime.errors import BadFile

T = TypeVar("T")
METADATA = "realtime-avatar.animator"
"""The metadata key of our safetensors files."""


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


FOMM_VOX = AnimatorConfig(estimator="fomm", generator=GeneratorConfig(skips=False))
"""FOMM as its published VoxCeleb checkpoint has it: one Jacobian map per keypoint, no skip connections."""


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


def save_animator(network: Animator, path: str | Path, notes: Mapping[str, str] | None = None) -> None:
    """Write the weights as safetensors; `notes` (how it was trained) go into the metadata with the configuration."""
    from safetensors.torch import save_file

    state = {key: value.detach().contiguous().cpu() for key, value in network.state_dict().items()}
    metadata = {METADATA: json.dumps(dataclasses.asdict(network.config)), **(notes or {})}
    save_file(state, str(path), metadata=metadata)


def load_animator(path: str | Path) -> Animator:
    """The network of a weight file: ours (safetensors), or a published FOMM checkpoint.

    Raises BadFile where the file is missing, is neither, or does not fit. Nothing in the file is executed.
    """
    path = Path(path)
    if not path.is_file():
        raise BadFile(path, "there is no such file")
    return _load_safetensors(path) if path.suffix == ".safetensors" else _load_fomm(path)


def describe_weights(path: str | Path, whole: bool = True) -> str:
    """What a weight file of this family holds, for people: "Motion Transformer, 256 px, 10 motion tokens".

    whole: load and check it, raising BadFile; otherwise look at its header only, and give "" for a file of another
    family.
    """
    path = Path(path)
    if not whole:
        return "of this family" if _is_ours(path) else ""
    config = load_animator(path).config
    names = {"motrans": "Motion Transformer", "fomm": "First Order Motion Model", "mraa": "MRAA"}
    tokens = "motion tokens" if config.estimator == "motrans" else "parts"
    return f"{names[config.estimator]}, {config.size} px, {config.parts} {tokens}"


def _is_ours(path: Path) -> bool:
    """Whether the file looks like weights of this family."""
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="pt") as file:
                return METADATA in (file.metadata() or {})
        except (SafetensorError, OSError):
            return False
    return path.name.endswith(".pth.tar")


def _load_safetensors(path: Path) -> Animator:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError) as error:
        raise BadFile(path, f"not a readable safetensors file ({error})") from error
    if METADATA not in metadata:
        raise BadFile(path, "these weights do not say which animator they belong to (not made by avatar train)")
    try:
        network = Animator(config_from(AnimatorConfig, json.loads(metadata[METADATA])))
        network.load_state_dict(state)
        _check_finite(path, network)
    except (ValueError, TypeError, RuntimeError) as error:
        raise BadFile(path, f"the weights do not fit their configuration ({first_line(error)})") from error
    return network.eval()


def _load_fomm(path: Path) -> Animator:
    import pickle

    try:
        data = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise BadFile(path, f"not a readable checkpoint ({first_line(error)})") from error
    if not isinstance(data, dict) or not {"generator", "kp_detector"} <= set(data):
        raise BadFile(path, "not a FOMM checkpoint: it holds no generator and kp_detector")
    network = Animator(FOMM_VOX)
    try:
        load_state(network.estimator, data["kp_detector"])
        load_state(network.generator, data["generator"])
        _check_finite(path, network)
    except (RuntimeError, AttributeError) as error:
        raise BadFile(path, f"not FOMM's vox-256 network ({first_line(error)})") from error
    return network.eval()


def _check_finite(path: Path, network: nn.Module) -> None:
    """Raises BadFile with the name of a tensor that holds NaN or infinity."""
    for key, value in network.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise BadFile(path, f"tensor {key!r} holds numbers that are not finite: the weights are broken")


def load_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Strict `load_state_dict`, save for the batch counters, which old checkpoints lack. Raises RuntimeError."""
    counters = {k: v for k, v in module.state_dict().items() if k.endswith("num_batches_tracked") and k not in state}
    module.load_state_dict({**state, **counters})


def first_line(error: BaseException) -> str:
    """An error's message on one short line."""
    text = " ".join(str(error).split())
    return text if len(text) < 160 else text[:157] + "..."
