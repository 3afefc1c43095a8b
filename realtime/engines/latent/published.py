"""The weight files of LIA, LIA-X and Wan-Animate's face encoder: what is published, and what a file holds."""

from __future__ import annotations

from pathlib import Path

from realtime.engines.weights.registry import CC_BY_NC, Published, WeightFiles


def family_of(path: Path) -> str:
    from realtime.engines.latent import weights

    return weights.family_of(path)


def check(path: Path, family: str) -> str:
    from realtime.engines.latent import weights

    return weights.check(path, family)


FILES = WeightFiles(
    (
        Published(
            "lia-x", "lia-x", "LIA-X, 512 px, scale 2, 40 directions (0.91 B parameters, about 3.6 GB)", CC_BY_NC,
            repository="YaohuiW/LIA-X", filename="lia-x.pt", where="https://huggingface.co/YaohuiW/LIA-X",
        ),
        Published("lia", "lia", "LIA, 256 px, faces (vox.pt)", CC_BY_NC, where="https://github.com/wyhsirius/LIA"),
        Published(
            "wan-face", "wan-face", "face motion encoder of Wan2.2-Animate",
            "Apache-2.0, modified from LIA (CC BY-NC 4.0)",
            where="https://huggingface.co/Wan-AI/Wan2.2-Animate-14B",
        ),
    ),
    family_of,
    check,
)  # fmt: skip
