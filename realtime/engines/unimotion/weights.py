"""Weight files: safetensors whose metadata holds the sizes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from realtime.engines.unimotion import METADATA
from realtime.engines.unimotion.decoder import STRAIGHT
from realtime.engines.unimotion.network import UniMotion, UniMotionConfig
from realtime.engines.weights.reader import PICKLED, check_finite, check_names, is_pickled, read_described
from realtime.engines.weights.writer import write_tensors
from realtime.errors import BadFile, first_line
from realtime.home import user_path

LARGEST = 8192
"""No size of a network is larger: a file that claims more is refused before memory is taken."""


def save_unimotion(network: UniMotion, path: str | Path, notes: Mapping[str, str] | None = None) -> None:
    """Write the weights; `notes` (how they were trained) go into the metadata with the sizes. Raises NotWritten."""
    metadata = {METADATA: json.dumps(dataclasses.asdict(network.config)), **(notes or {})}
    write_tensors(path, network.state_dict(), metadata)


def load_unimotion(path: str | Path) -> UniMotion:
    """The networks of a weight file. Raises BadFile where it is missing, holds something else or does not fit."""
    path = user_path(path)
    if not path.is_file():
        raise BadFile(path, "there is no such file; avatar train --system unimotion makes one")
    if is_pickled(path):
        raise BadFile(path, PICKLED)
    metadata, state = read_described(path)
    if METADATA not in metadata:
        raise BadFile(path, "holds other networks than unimotion's; avatar train --system unimotion makes them")
    try:
        network = UniMotion(UniMotionConfig(**{"placing": STRAIGHT, **_sizes(metadata[METADATA])}))
    except (ValueError, TypeError, RuntimeError) as error:
        raise BadFile(path, f"its sizes cannot be ({first_line(error)})") from error
    check_names(path, state, network, "unimotion's networks")
    network.load_state_dict(state)
    check_finite(path, state)
    return network.eval()


def _sizes(text: str) -> dict[str, int]:
    """Raises ValueError."""
    sizes = json.loads(text)
    if not isinstance(sizes, dict) or not all(type(v) is int and 0 < v <= LARGEST for v in sizes.values()):
        raise ValueError("they are not whole numbers above 0")
    return sizes
