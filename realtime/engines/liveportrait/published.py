"""LivePortrait's weight files: what is published, and what a file holds."""

from __future__ import annotations

from pathlib import Path

from realtime.engines.weights.registry import Published, WeightFiles

_NAMES = ("appearance_feature_extractor", "motion_extractor", "spade_generator", "warping_module")
_HEADS = "liveportrait/retargeting_models/stitching_retargeting_module.pth"
_HUB = "KwaiVGI/LivePortrait"
_LICENCE = "MIT, as its maintainers say of code and weights"


def family_of(path: Path) -> str:
    from realtime.engines.liveportrait import weights

    return "liveportrait" if path.is_dir() or weights.is_ours(path) else ""


def check(path: Path, family: str) -> str:
    from realtime.engines.liveportrait import weights

    return weights.check(path)


def gather(folder: Path, target: Path) -> None:
    from realtime.engines.liveportrait import weights

    weights.gather(folder, target)


FILES = WeightFiles(
    (
        Published(
            "liveportrait", "liveportrait", "LivePortrait, 512 px, humans (130 M parameters, about 0.5 GB)", _LICENCE,
            repository=_HUB, where=f"https://huggingface.co/{_HUB}",
            filenames=(*(f"liveportrait/base_models/{name}.pth" for name in _NAMES), _HEADS),
        ),
        Published(
            "liveportrait-animals", "liveportrait", "LivePortrait, 512 px, cats and dogs as portraits", _LICENCE,
            repository=_HUB, where=f"https://huggingface.co/{_HUB}",
            filenames=(*(f"liveportrait_animals/base_models_v1.1/{name}.pth" for name in _NAMES), _HEADS),
        ),
    ),
    family_of,
    check,
    gather,
)  # fmt: skip
