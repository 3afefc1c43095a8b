"""Weight files: read safely, recognised by what is in them, checked name by name, loaded without a second copy.

A file is never trusted: pickles are read by torch's restricted reader (tensors and containers only), and safetensors
hold no code. Everything that can be wrong with a file is one sentence (`BadFile`).
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from realtime.engines.latent.layers import LatentAnimator
from realtime.engines.latent.lia import Lia
from realtime.engines.latent.lia_x import GROUPS, LiaX
from realtime.engines.latent.wan_face import WanFaceEncoder
from realtime.engines.weights import recipe
from realtime.errors import BadFile

State = dict[str, Tensor]
WAN_PREFIX = "motion_encoder."


@dataclass(frozen=True)
class Architecture:
    """What network a state dict belongs to. family: "lia", "lia-x" or "wan-face". about: for people.
    build: makes the empty network."""

    family: str
    about: str
    build: Callable[[], LatentAnimator]


def read_state(path: str | Path) -> State:
    """The tensors in a .safetensors, .pt or .pth file, still in the file's memory map where that is possible.

    LIA's wrapper {"gen": ...} and the prefix of the Wan-Animate files are taken off. Raises BadFile.
    """
    path = Path(path).expanduser()
    magic = _first_bytes(path)
    if magic[:1] == b"<":
        raise BadFile(path, "is a web page, not a weight file: the download did not go through")
    if zipfile.is_zipfile(path) or magic[:1] == b"\x80":
        content = _read_torch(path, mmap=zipfile.is_zipfile(path))
    elif magic[:4] == b"PK\x03\x04":
        raise BadFile(path, "is cut off: the download did not finish")
    elif magic[8:9] == b"{":
        content = _read_safetensors(path)
    else:
        raise BadFile(path, "is neither a PyTorch nor a safetensors file")
    return _unwrap(path, content)


def _first_bytes(path: Path) -> bytes:
    if not path.exists():
        raise BadFile(path, "no such file")
    if path.is_dir():
        raise BadFile(path, "is a folder, not a weight file")
    try:
        with path.open("rb") as file:
            magic = file.read(16).lstrip(b"\xef\xbb\xbf \r\n")
    except OSError as error:
        raise BadFile(path, f"may not be read ({error.strerror})") from error
    if not magic:
        raise BadFile(path, "is empty")
    return magic


def _read_torch(path: Path, mmap: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols: the sentences below say it
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        if "GLOBAL" in str(error):
            reason = "asks to run code when it is opened, which weights never need: refused"
        else:
            reason = "is not a plain PyTorch weight file, and another one could run code: refused"
        raise BadFile(path, reason) from error
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, AttributeError) as error:
        raise BadFile(path, "is damaged: it is not a complete PyTorch file") from error


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise BadFile(path, "is damaged or cut off: it is not a complete safetensors file") from error


def _unwrap(path: Path, content: Any) -> State:
    for wrapper in ("gen", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise BadFile(path, "holds no network weights")
    state = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if not state or len(state) < len(content):
        raise BadFile(path, "holds something else than named tensors")
    if any(key.startswith(WAN_PREFIX) for key in state):
        state = {k.removeprefix(WAN_PREFIX): v for k, v in state.items() if k.startswith(WAN_PREFIX)}
    return state


def recognise(path: str | Path, state: State) -> Architecture:
    """Which network the tensors are for, by names and shapes. Raises BadFile."""
    dictionary, tower = state.get("dec.direction.weight"), state.get("enc.net_app.convs.0.0.weight")
    tower_x = state.get("enc.enc_2r.block1.0.weight")
    if dictionary is not None and dictionary.ndim == 2:
        dim, motion_dim = dictionary.shape
        if not 1 <= motion_dim <= dim:
            raise BadFile(path, f"has a motion dictionary of {motion_dim} directions, and 1 to {dim} are possible")
        if tower_x is not None and tower_x.ndim == 4:
            return _lia_x(path, state, tower_x.shape[0], motion_dim)
        if tower is not None:
            blocks = sum(k.startswith("enc.net_app.convs.") and k.endswith(".skip.1.weight") for k in state)
            size = 4 << blocks
            if 8 <= size <= 1024 and "dec.input.input" in state:
                about = f"LIA, {size} px, {motion_dim} directions"
                return Architecture("lia", about, lambda: Lia(size, motion_dim))
            if 8 <= size <= 1024:
                about = f"face motion encoder of Wan-Animate, {size} px, {motion_dim} directions"
                return Architecture("wan-face", about, lambda: WanFaceEncoder(size, motion_dim))
    raise BadFile(path, "holds weights of a network that is not known here (known: LIA, LIA-X, Wan-Animate face)")


def _lia_x(path: str | Path, state: State, finest: int, motion_dim: int) -> Architecture:
    """LIA-X: published (512 pixels, a scale), or trained here at a smaller size or width."""
    blocks = len({key.split(".")[2] for key in state if re.match(r"enc\.enc_2r\.block[2-7]\.", key)})
    if blocks == 6 and finest % 64 == 0 and 1 <= finest // 64 <= 4:
        scale = finest // 64
        about = f"LIA-X, 512 px, scale {scale}, {motion_dim} directions"
        return Architecture("lia-x", about, lambda: LiaX(scale, motion_dim))
    size, width = 8 << blocks, finest << max(0, blocks - 3)
    if finest < 1 or finest % GROUPS:
        raise BadFile(path, f"looks like LIA-X, but its first layer has {finest} channels, no multiple of {GROUPS}")
    about = f"LIA-X, {size} px, width {width}, {motion_dim} directions"
    return Architecture("lia-x", about, lambda: LiaX(1, motion_dim, size=size, width=width))


def load_network(path: str | Path, family: str) -> tuple[LatentAnimator, Architecture]:
    """The network in the file, on the CPU, in the file's own memory map: no second copy of the weights.

    family: what it must be, "lia", "lia-x" or "wan-face". The network is checked whole before it is returned: names,
    shapes, and every number finite. Raises BadFile.
    """
    state = read_state(path)
    found = recognise(path, state)
    if found.family != family:
        raise BadFile(path, f"holds {found.about}, not weights for {family}")
    with torch.device("meta"):
        net = found.build()
    check_names(path, state, net, found.about)
    check_finite(path, state)
    net.load_state_dict(state, strict=True, assign=True)
    return net.requires_grad_(False).eval(), found


def check_names(path: str | Path, state: State, net: nn.Module, about: str) -> None:
    """Every parameter there, none too many, every shape right. Raises BadFile."""
    wanted = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    missing = [key for key in wanted if key not in state]
    spare = [key for key in state if key not in wanted]
    if missing:
        raise BadFile(
            path, f"looks like {about} but lacks {len(missing)} of {len(wanted)} tensors, as {missing[0]!r}"
        )
    if spare:
        raise BadFile(path, f"looks like {about} but has {len(spare)} tensors too many, as {spare[0]!r}")
    for key, shape in wanted.items():
        if tuple(state[key].shape) != shape:
            raise BadFile(path, f"tensor {key!r} has the shape {tuple(state[key].shape)}, not {shape}")
        if not state[key].is_floating_point():
            raise BadFile(path, f"tensor {key!r} holds {state[key].dtype}, not floating-point numbers")


def check_finite(path: str | Path, state: Mapping[str, Tensor]) -> None:
    """No NaN and no infinity anywhere. Raises BadFile with the name of the tensor."""
    for key, value in state.items():
        if value.numel() == 0:
            continue
        low, high = torch.aminmax(value.detach())
        if not bool(torch.isfinite(low) & torch.isfinite(high)):
            what = "NaN" if bool(torch.isnan(low)) else "infinity"
            raise BadFile(path, f"tensor {key!r} holds {what}: the weights are broken")


def recipe_network(family: str, seed: int, size: int = 256, scale: int = 2) -> LatentAnimator:
    """A network with recipe weights: no trained weights. `size` is LIA's, `scale` LIA-X's."""
    net: LatentAnimator = LiaX(scale) if family == "lia-x" else Lia(size)
    recipe.fill(net, seed)
    return net.requires_grad_(False).eval()
