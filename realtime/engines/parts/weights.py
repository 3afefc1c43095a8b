"""Weight files of an `Animator`.

They are safetensors whose metadata holds the configuration, or one of FOMM's published checkpoints
(``vox-cpk.pth.tar``), read without running any code from the file.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from realtime.engines.parts.animator import (
    Animator,
    AnimatorConfig,
    GeneratorConfig,
    HourglassConfig,
    config_from,
)
from realtime.engines.parts.motion_transformer import MotionTransformerConfig
from realtime.engines.weights.reader import PICKLED, check_finite, is_pickled, read_described
from realtime.engines.weights.writer import write_tensors
from realtime.errors import BadFile, first_line

METADATA = "realtime-avatar.animator"
"""The metadata key of our safetensors files."""
FOMM_VOX = AnimatorConfig(estimator="fomm", generator=GeneratorConfig(skips=False))
"""FOMM as its published VoxCeleb checkpoint has it: one Jacobian map per keypoint, no skip connections."""
SMALL_RECIPE = AnimatorConfig(
    size=64,
    parts=10,
    transformer=MotionTransformerConfig(backbone="stem", dim=64, layers=2, heads=4, ffn=128),
    generator=GeneratorConfig(base=16, limit=64, bottleneck=1, mask=HourglassConfig(base=16, blocks=3, limit=64)),
)
"""What recipe weights are made for at 64 and 128 pixels; at 256 it is the paper's network."""


def save_animator(network: Animator, path: str | Path, notes: Mapping[str, str] | None = None) -> None:
    """Write the weights as safetensors; `notes` (how it was trained) go into the metadata with the configuration."""
    metadata = {METADATA: json.dumps(dataclasses.asdict(network.config)), **(notes or {})}
    write_tensors(path, network.state_dict(), metadata)


def load_animator(path: str | Path) -> Animator:
    """The network of a weight file: ours (safetensors), or a published FOMM checkpoint.

    Raises BadFile where the file is missing, is neither, or does not fit. Nothing in the file is executed.
    """
    path = Path(path)
    if not path.is_file():
        raise BadFile(path, "there is no such file")
    if path.suffix == ".safetensors" and is_pickled(path):
        raise BadFile(path, PICKLED)
    return _load_safetensors(path) if path.suffix == ".safetensors" else _load_fomm(path)


def describe_weights(path: str | Path) -> str:
    """What a weight file holds, for people: "Motion Transformer, 256 px, 10 motion tokens". It is loaded whole.

    Raises BadFile.
    """
    config = load_animator(path).config
    names = {"motrans": "Motion Transformer", "fomm": "First Order Motion Model", "mraa": "MRAA"}
    tokens = "motion tokens" if config.estimator == "motrans" else "parts"
    return f"{names[config.estimator]}, {config.size} px, {config.parts} {tokens}"


def is_ours(path: Path) -> bool:
    """Whether a file looks like weights of these networks, by its header and its name."""
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(path), framework="pt") as file:
                return METADATA in (file.metadata() or {})
        except (SafetensorError, OSError):
            return False
    return path.name.endswith(".pth.tar")


def _load_safetensors(path: Path) -> Animator:
    metadata, state = read_described(path)
    if METADATA not in metadata:
        raise BadFile(path, "these weights do not say which animator they belong to (not made by avatar train)")
    try:
        network = Animator(config_from(AnimatorConfig, json.loads(metadata[METADATA])))
        network.load_state_dict(state)
        check_finite(path, network.state_dict())
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
        check_finite(path, network.state_dict())
    except (RuntimeError, AttributeError) as error:
        raise BadFile(path, f"not FOMM's vox-256 network ({first_line(error)})") from error
    return network.eval()


def load_state(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Strict `load_state_dict`, save for the batch counters, which old checkpoints lack. Raises RuntimeError."""
    counters = {k: v for k, v in module.state_dict().items() if k.endswith("num_batches_tracked") and k not in state}
    module.load_state_dict({**state, **counters})


def recipe_animator(seed: int, size: int) -> Animator:
    """A network with seeded noise for weights: no trained weights. The same on every machine.

    size: 256 for the paper's network, 64 or 128 for a small one."""
    config = AnimatorConfig() if size == 256 else AnimatorConfig(**{**vars(SMALL_RECIPE), "size": size})
    network = Animator(config)
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if parameter.ndim < 2:
                continue  # biases and normalisations keep their starting values
            generator = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode()) ^ seed))
            values = generator.standard_normal(size=tuple(parameter.shape), dtype=np.float32)
            fan_in = parameter[0].numel()
            parameter.copy_(torch.from_numpy(values) * (2 / fan_in) ** 0.5)
    return network.eval()
