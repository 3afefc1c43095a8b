"""Wan-Animate's weights: what is published, and what a folder holds. Without torch: a folder of 82 GB is looked at
file by file, not loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from realtime.engines.weights.registry import Published, WeightFiles
from realtime.errors import BadFile

FIRST, SECOND = "wan-animate", "wan-animate-2"
_CLASSES = {"WanAnimatePipeline": FIRST, "WanAnimate2Pipeline": SECOND, "WanAnimate2ModularPipeline": SECOND}
_INDEXES = ("model_index.json", "modular_model_index.json")
_NETWORKS = ("transformer", "vae", "image_encoder", "text_encoder")
_FIRST_HUB = "Wan-AI/Wan2.2-Animate-14B-Diffusers"
_SECOND_HUB = "Wan-AI/Wan2.2-Animate-2-14B-Diffusers"


def family_of(path: Path) -> str:
    return _CLASSES.get(_class(path), "") if path.is_dir() else ""


def check(path: Path, family: str) -> str:
    """What the folder holds, after looking whether every file is there and whole. Raises BadFile."""
    if not path.is_dir():
        raise BadFile(path, f"is a file; weights for {family} are a folder, as its authors publish it")
    found = family_of(path)
    if not found:
        raise BadFile(path, "is no folder of Wan-Animate's weights: a model_index.json that says so is missing")
    if found != family:
        raise BadFile(path, f"holds weights for {found}, not for {family}")
    size = sum(_whole(path / network) for network in _NETWORKS)
    return f"Wan-Animate{'-2' if family == SECOND else ''}, {size / 1e9:.1f} GB, {len(_NETWORKS)} networks"


def _class(folder: Path) -> str:
    for name in _INDEXES:
        try:
            return str(json.loads((folder / name).read_text(encoding="utf-8"))["_class_name"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return ""


def _whole(network: Path) -> int:
    """Bytes of a network's weights. Raises BadFile where a file is missing or cut off."""
    _json(network / "config.json")
    indexes = list(network.glob("*.safetensors.index.json"))
    names = sorted(set(_json(indexes[0])["weight_map"].values())) if indexes else []
    files = [network / name for name in names] or sorted(network.glob("*.safetensors"))
    if not files:
        raise BadFile(
            network, "holds no weights (.safetensors): was it pulled to the end? avatar models pull goes on"
        )
    for file in files:
        if not file.is_file():
            raise BadFile(file, "is missing: avatar models pull goes on where it stopped")
        _check_complete(file)
    return sum(file.stat().st_size for file in files)


def _check_complete(file: Path) -> None:
    """Raise BadFile where a safetensors file is not as long as its header says."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy"):
            pass
    except (SafetensorError, OSError, ValueError) as error:
        raise BadFile(file, "is damaged or cut off: remove it, and avatar models pull fetches it again") from error


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict):
            return content
    except OSError as error:
        raise BadFile(path, "is missing: avatar models pull goes on where it stopped") from error
    except ValueError:
        pass
    raise BadFile(path, "is damaged: remove it and pull again")


FILES = WeightFiles(
    (
        Published(
            FIRST, FIRST, "Wan2.2-Animate, films of whole bodies (14 B parameters, 82.3 GB)", "Apache-2.0",
            repository=_FIRST_HUB, where=f"https://huggingface.co/{_FIRST_HUB}", size=82_300_000_000,
        ),
        Published(
            SECOND, SECOND, "Wan2.2-Animate-2, films of whole bodies, no replace (14 B parameters)",
            "not checked: read it on its page",
            repository=_SECOND_HUB, where=f"https://huggingface.co/{_SECOND_HUB}",
        ),
    ),
    family_of,
    check,
    folder=True,
)  # fmt: skip
