"""Weight files, read safely and checked name by name.

A file is never trusted: pickles are read by torch's restricted reader (tensors and containers only), and safetensors
hold no code. Everything that can be wrong with a file is one sentence (`BadFile`).
"""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from realtime.errors import BadFile, first_line
from realtime.home import user_path

State = dict[str, Tensor]
PICKLED = "is called .safetensors but holds a pickle, PyTorch's own kind of file: rename it to end in .pt"


def read_state(path: str | Path) -> State:
    """The tensors in a .safetensors, .pt or .pth file, still in the file's memory map where that is possible.

    A wrapper around them ({"gen": ...}, {"state_dict": ...}) is taken off. Raises BadFile.
    """
    return _unwrap(user_path(path), read_content(path))


def read_content(path: str | Path) -> Any:
    """All that is in such a file: tensors in whatever containers. Raises BadFile."""
    path = user_path(path)
    magic, pickled = _first_bytes(path), is_pickled(path)
    if magic[8:9] == b"{" and not zipfile.is_zipfile(path):  # before it the header's length, any eight bytes
        return _read_safetensors(path)
    if magic.lstrip(b"\xef\xbb\xbf \r\n")[:1] == b"<":
        raise BadFile(path, "is a web page, not a weight file: the download did not go through")
    if pickled and path.suffix == ".safetensors":
        raise BadFile(path, PICKLED)
    if pickled:
        return _read_torch(path, mmap=zipfile.is_zipfile(path))
    if magic[:4] == b"PK\x03\x04":
        raise BadFile(path, "is cut off: the download did not finish")
    raise BadFile(path, "is neither a PyTorch nor a safetensors file")


def is_pickled(path: Path) -> bool:
    """Whether a file is PyTorch's own kind, a pickle, whatever its name says. Raises BadFile."""
    magic = _first_bytes(path)
    return zipfile.is_zipfile(path) or (magic[:1] == b"\x80" and magic[8:9] != b"{")


def _first_bytes(path: Path) -> bytes:
    if not path.exists():
        raise BadFile(path, "no such file")
    if path.is_dir():
        raise BadFile(path, "is a folder, not a weight file")
    try:
        with path.open("rb") as file:
            magic = file.read(16)
    except OSError as error:
        raise BadFile(path, f"may not be read ({error.strerror})") from error
    if not magic.strip():
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


def read_described(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and the tensors of a safetensors file. Raises BadFile."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            return file.metadata() or {}, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise BadFile(path, f"not a readable safetensors file ({first_line(error)})") from error


def _unwrap(path: Path, content: Any) -> State:
    for wrapper in ("gen", "state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise BadFile(path, "holds no network weights")
    state = {k: v for k, v in content.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if not state or len(state) < len(content):
        raise BadFile(path, "holds something else than named tensors")
    return state


def check_names(path: str | Path, state: State, net: nn.Module, about: str) -> None:
    """Every parameter there, none too many, every shape right. Raises BadFile."""
    own = net.state_dict()
    wanted = {key: tuple(value.shape) for key, value in own.items()}
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
        if own[key].is_floating_point() and not state[key].is_floating_point():
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
