"""The weight files of the Motion Transformer, FOMM and MRAA: what is published, and what a file holds."""

from __future__ import annotations

from pathlib import Path

from realtime.engines.weights.registry import Published, WeightFiles


def family_of(path: Path) -> str:
    from realtime.engines.parts.weights import is_ours

    return "motrans" if is_ours(path) else ""


def check(path: Path, family: str) -> str:
    from realtime.engines.parts.weights import describe_weights

    return describe_weights(path)


FILES = WeightFiles(
    (
        Published(
            "fomm-vox", "motrans", "First Order Motion Model, 256 px, faces (vox-cpk.pth.tar); for --engine motrans",
            "MIT, as its repository", where="https://github.com/AliaksandrSiarohin/first-order-model",
        ),
    ),
    family_of,
    check,
)  # fmt: skip
