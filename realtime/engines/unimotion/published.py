"""The weight files: none is published, those of `avatar train` can be registered."""

from __future__ import annotations

from pathlib import Path

from realtime.engines.unimotion import METADATA
from realtime.engines.weights.registry import WeightFiles


def family_of(path: Path) -> str:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="np") as file:
            return "unimotion" if METADATA in (file.metadata() or {}) else ""
    except (SafetensorError, OSError):
        return ""


def check(path: Path, family: str) -> str:
    from realtime.engines.unimotion.weights import load_unimotion

    config = load_unimotion(path).config
    return f"motion tokens of whole bodies, {config.size} px, {config.tokens} numbers (X-UniMotion-style, synthetic)"


FILES = WeightFiles((), family_of, check)
