"""Where a network runs, and in which precision."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from realtime.errors import BadValue, DeviceError

LEAN_FROM = 400_000_000
"""Number of parameters from which a float32 network on the CPU is prepared in place."""
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Placement:
    """Where the folded weights go. device, dtype: of the big convolutions. lean: multiply in place, in the memory the
    weights already have (for networks so large that a second copy matters); needs float32 on the CPU."""

    device: torch.device
    dtype: torch.dtype = torch.float32
    lean: bool = False

    def weight(self, weight: Tensor, gain: float) -> Tensor:
        """A convolution weight (O, I, k, k) times `gain`."""
        weight = weight.detach()
        if self.lean:
            return weight.mul_(gain)
        return (weight.to(self.device, torch.float32) * gain).to(self.dtype, memory_format=torch.channels_last)

    def vector(self, values: Tensor, gain: float = 1.0) -> Tensor:
        """Anything that stays float32, times `gain`."""
        return values.detach().to(self.device, torch.float32) * gain


def choose_device(device: str) -> torch.device:
    """The torch device of "auto", "cpu", "cuda" or "cuda:N". Raises BadValue, DeviceError."""
    if device == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    if device == "mps":
        if not torch.backends.mps.is_available():
            raise DeviceError(device, "the installed PyTorch can use no Apple GPU", "--device cpu runs anywhere")
        return torch.device("mps")
    if device != "cpu" and not device.startswith("cuda"):
        raise BadValue("--device", device, "auto, cpu, mps, cuda or cuda:N")
    if device == "cpu":
        return torch.device("cpu")
    index = device.removeprefix("cuda").removeprefix(":") or "0"
    if not index.isdecimal():
        raise BadValue("--device", device, "auto, cpu, mps, cuda or cuda:N")
    if not torch.cuda.is_available():
        raise DeviceError(device, "no CUDA device can be used by the installed PyTorch", "avatar doctor says why")
    if int(index) >= torch.cuda.device_count():
        raise DeviceError(device, f"there are {torch.cuda.device_count()} CUDA devices, counted from 0")
    return torch.device(f"cuda:{index}")


def describe_device(device: torch.device) -> str:
    """For people: "cpu", "cuda:0 NVIDIA H200"."""
    return device.type if device.type != "cuda" else f"{device} {torch.cuda.get_device_name(device)}"


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The precision of "auto" (half on a GPU), "fp32", "fp16" or "bf16". Raises BadValue."""
    if name == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if name not in DTYPES:
        raise BadValue("dtype", name, f"one of auto, {', '.join(DTYPES)}")
    if name == "fp16" and device.type == "cpu":
        raise BadValue("dtype", name, "fp32 or bf16 on the CPU")
    return DTYPES[name]


def placement(net: nn.Module, device: torch.device, dtype: torch.dtype) -> Placement:
    """Where the weights of a loaded network go."""
    parameters = list(net.parameters())
    large = sum(p.numel() for p in parameters) >= LEAN_FROM
    wide = all(p.dtype == torch.float32 for p in parameters)
    return Placement(device, dtype, lean=large and wide and device.type == "cpu" and dtype == torch.float32)
