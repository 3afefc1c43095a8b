"""LivePortrait's weight files: the five released ones in their folder, or all seven networks in one of ours.

Ours is a safetensors file whose keys begin with the networks' names (`networks.PARTS`). The detector that lies beside
the released files may not be used for business and is neither fetched nor read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from realtime.engines.liveportrait import recipe
from realtime.engines.liveportrait.networks import PARTS, Networks
from realtime.engines.weights.reader import State, check_finite, check_names, read_content, read_state
from realtime.engines.weights.recipe import PREFIX, parse_seed
from realtime.engines.weights.writer import write_tensors
from realtime.errors import BadFile
from realtime.home import user_path
from realtime.outputs import not_written

BASE = ("appearance_feature_extractor", "motion_extractor", "warping_module", "spade_generator")
"""Each in a file of its own."""
HEADS_FILE = "stitching_retargeting_module.pth"
ABOUT = "LivePortrait, 256 px in, 512 px out, 21 keypoints"
_MODULE = "module."


def released_files(path: Path) -> dict[str, Path]:
    """The released files in or below the folder `path`, by the name of the network or, for the heads, of the file.

    Of several sets the one for humans, and of two versions the later, is taken. The animals' networks have the heads
    of the humans' beside them. Raises BadFile with the name of a file that is missing.
    """
    found: dict[str, Path] = {}
    sets = sorted({p.parent for p in path.rglob(f"{BASE[0]}.pth")}, key=lambda folder: _rank(folder, path))
    if not sets:
        raise BadFile(path, f"is a folder without {BASE[0]}.pth: it should hold LivePortrait's released files")
    for name in BASE:
        found[name] = sets[0] / f"{name}.pth"
    for folder in (path, path.parent):
        heads = sorted(folder.rglob(HEADS_FILE), key=lambda file: _rank(file.parent, folder))
        if heads:
            found[HEADS_FILE] = heads[0]
            break
    else:
        found[HEADS_FILE] = path / "retargeting_models" / HEADS_FILE
    for file in found.values():
        if not file.is_file():
            raise BadFile(file, "is missing: LivePortrait's other files are there, and it needs this one as well")
    return found


def _rank(folder: Path, root: Path) -> tuple[bool, bool, str]:
    text = folder.relative_to(root).as_posix()
    return "animals" in text, "v1.1" not in text, text


def is_ours(path: Path) -> bool:
    """Whether the file is a safetensors file of all networks, by its header."""
    if path.suffix != ".safetensors":
        return False
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            return any(key.startswith(f"{BASE[0]}.") for key in file.keys())  # noqa: SIM118 (not a mapping)
    except (SafetensorError, OSError):
        return False


def read_networks(path: Path, nets: nn.ModuleDict) -> State:
    """The state of all networks, checked name by name against `nets`, float32. Raises BadFile."""
    path = user_path(path)
    if path.is_file() and path.suffix == ".pth" and path.parent.name.startswith(("base_models", "retargeting")):
        path = path.parent.parent  # one of the released files stands for its folder
    if path.is_dir():
        state: State = {}
        files = released_files(path)
        for name in BASE:
            part = read_state(files[name])
            _check(files[name], part, nets[name], f"LivePortrait's {name}")
            state |= {f"{name}.{key}": value for key, value in part.items()}
        content = read_content(files[HEADS_FILE])
        for name in (n for n in PARTS if n not in BASE):
            part = _head(files[HEADS_FILE], content, name)
            _check(files[HEADS_FILE], part, nets[name], f"LivePortrait's {name}")
            state |= {f"{name}.{key}": value for key, value in part.items()}
    else:
        state = read_state(path)
        if not any(key.startswith(tuple(f"{name}." for name in PARTS)) for key in state):
            raise BadFile(path, "holds no LivePortrait: give the folder of the released files, or one file of all")
        _check(path, state, nets, "LivePortrait")
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}


def _check(path: Path, state: State, net: nn.Module, about: str) -> None:
    check_names(path, state, net, about)
    check_finite(path, state)


def _head(path: Path, content: object, name: str) -> State:
    """One head of the released file, whose other entries are left alone."""
    entry = content.get(name) if isinstance(content, Mapping) else None
    if not isinstance(entry, Mapping):
        raise BadFile(path, f"holds no {name!r}: it should be LivePortrait's {HEADS_FILE}")
    return {str(k).removeprefix(_MODULE): v for k, v in entry.items() if isinstance(v, Tensor)}


def gather(folder: Path, target: Path) -> None:
    """Write the released files in `folder` as one file, `target`. Raises BadFile, NotWritten."""
    nets = load_networks(folder)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_written(target, error) from error
    write_tensors(target, nets.parts.state_dict(), {"format": "pt"})


def check(path: Path) -> str:
    """What the file holds, in words, after loading it whole. Raises BadFile."""
    with torch.device("meta"):
        nets = Networks()
    read_networks(path, nets.parts)
    return ABOUT


def load_networks(weights: str | Path = "recipe:1") -> Networks:
    """The networks on the CPU, float32, ready to run.

    weights: "recipe:SEED"; the folder of the released files (`base_models/*.pth`, `retargeting_models/*.pth`); or one
    safetensors file, whose keys begin with the names of `PARTS`. Raises BadFile, BadValue.
    """
    with torch.device("meta"):
        nets = Networks()
    if str(weights).startswith(PREFIX):
        seed = parse_seed(str(weights))
        state = {
            f"{name}.{key}": value
            for name in PARTS
            for key, value in recipe.state(name, nets.parts[name], seed).items()
        }
    else:
        state = read_networks(Path(weights), nets.parts)
    nets.parts.load_state_dict(state, strict=True, assign=True)
    nets.parts.requires_grad_(False).eval()
    return nets
