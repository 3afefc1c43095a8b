"""Weight files of our own making: safetensors, in one step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from realtime.errors import NotWritten, first_line
from realtime.outputs import replacing


def write_tensors(path: str | Path, state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write `state`; an earlier file stays as it was until the new one is whole. Raises BadFile, NotWritten."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {key: value.detach().contiguous().cpu() for key, value in state.items()}
    with replacing(path) as at:
        try:
            save_file(tensors, str(at), metadata=dict(metadata))
        except SafetensorError as error:  # as it says that the disk is full
            raise NotWritten(path, f"cannot be written ({first_line(error)})") from error
