"""Weight files of the latent animators: recognised by what is in them, loaded without a second copy."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from realtime.engines.latent.layers import LatentAnimator
from realtime.engines.latent.lia import Lia
from realtime.engines.latent.lia_x import GROUPS, LiaX
from realtime.engines.latent.wan_face import WanFaceEncoder
from realtime.engines.weights import reader, recipe
from realtime.engines.weights.reader import State, check_finite, check_names
from realtime.errors import BadFile

WAN_PREFIX = "motion_encoder."
"""Before the names of the face encoder's tensors in Wan-Animate's files."""


@dataclass(frozen=True)
class Architecture:
    """What network a state dict belongs to. family: "lia", "lia-x" or "wan-face". about: for people.
    build: makes the empty network."""

    family: str
    about: str
    build: Callable[[], LatentAnimator]


def read_state(path: str | Path) -> State:
    """The tensors of a weight file, of a Wan-Animate file those of its face encoder. Raises BadFile."""
    state = reader.read_state(path)
    if any(key.startswith(WAN_PREFIX) for key in state):
        state = {k.removeprefix(WAN_PREFIX): v for k, v in state.items() if k.startswith(WAN_PREFIX)}
    return state


def family_of(path: Path) -> str:
    """The family of the network in a weight file, "" for none of these. Raises BadFile for one that cannot be."""
    try:
        state = read_state(path)
    except BadFile:
        return ""
    found = _architecture(path, state)
    return "" if found is None else found.family


def check(path: Path, family: str) -> str:
    """What the file holds, after loading it whole. Raises BadFile."""
    return load_network(path, family)[1].about


def recognise(path: str | Path, state: State) -> Architecture:
    """Which network the tensors are for, by names and shapes. Raises BadFile."""
    found = _architecture(path, state)
    if found is None:
        raise BadFile(path, "holds weights of a network that is not known here (known: LIA, LIA-X, Wan-Animate face)")
    return found


def _architecture(path: str | Path, state: State) -> Architecture | None:
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
    return None


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


def recipe_network(family: str, seed: int, size: int = 256, scale: int = 2) -> LatentAnimator:
    """A network with recipe weights: no trained weights. `size` is LIA's, `scale` LIA-X's."""
    net: LatentAnimator = LiaX(scale) if family == "lia-x" else Lia(size)
    recipe.fill(net, seed)
    return net.requires_grad_(False).eval()
