"""Networks larger than one GPU: weights, gradients and Adam's moments split over the processes (FSDP).

Each process keeps one share of every tensor and fetches the rest block by block while it computes. What is written to
disk is whole, in the same form as without sharding, so a run may be resumed with another number of processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Shard, distribute_tensor
from torch.utils._pytree import tree_map_only

LEAST_BLOCK = 250_000
"""Parameters that are worth fetching on their own; smaller modules travel with a larger one around them."""


def mesh_of(device: torch.device, processes: int) -> DeviceMesh:
    """All processes in one row."""
    return init_device_mesh(device.type, (processes,))


def blocks(network: nn.Module, least: int = LEAST_BLOCK) -> list[nn.Module]:
    """Modules to be fetched one at a time, inner ones first: the smallest that hold `least` parameters of their own.

    Only modules that are called can be fetched when they are; the network's own parts (encoder, decoder) are also
    used without a call, so what is left of them belongs to the whole.
    """
    chosen: list[nn.Module] = []
    taken: set[int] = set()
    for name, module in reversed(list(network.named_modules())):
        if "." not in name or type(module).forward is nn.Module.forward:
            continue
        left = [p for p in module.parameters() if id(p) not in taken]
        if sum(p.numel() for p in left) >= least:
            chosen.append(module)
            taken.update(id(p) for p in left)
    return chosen


def shard(whole: nn.Module, network: nn.Module, mesh: DeviceMesh, least: int = LEAST_BLOCK) -> None:
    """Split the parameters of `network` in place. `whole`: the module whose call uses it, or the network itself."""
    for block in [*blocks(network, least), whole]:
        block.register_forward_hook(_no_views)
        fully_shard(block, mesh=mesh, shard_placement_fn=lambda parameter: _cut(parameter, mesh.size()))


def _cut(parameter: nn.Parameter, shares: int) -> Shard:
    """Where to split: the first axis that gives equal shares. Modulated convolutions have a first axis of one."""
    axis = next((n for n, size in enumerate(parameter.shape) if size % shares == 0), 0)
    return Shard(axis)


def _no_views(_module: nn.Module, _given: Any, result: Any) -> Any:
    """FSDP's own hooks do not hold on to views of other tensors (PyTorch warns of it, and 2.13 crashed)."""
    return tree_map_only(Tensor, lambda tensor: tensor.clone() if tensor._is_view() else tensor, result)


def local(tensor: Tensor) -> Tensor:
    """This process's share, or the tensor itself where it is not split."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def gathered(value: Any) -> Any:
    """`value` with every split tensor in it made whole, on the CPU. All processes must call this together."""
    if isinstance(value, DTensor):
        return value.full_tensor().cpu()
    if isinstance(value, Mapping):
        return {key: gathered(item) for key, item in value.items()}
    return [gathered(item) for item in value] if isinstance(value, list) else value


def split_like(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """A whole state dictionary split as `network`'s parameters are. Raises KeyError, ValueError where it does not
    fit."""
    return {key: _as(state[key], target) for key, target in network.state_dict().items()}


def split_moments(state: dict[str, Any], parameters: list[nn.Parameter]) -> dict[str, Any]:
    """A whole state of Adam split as the parameters are, which stand in the optimiser's order."""
    moments = {
        number: {key: _as(item, parameters[number]) if item.ndim else item for key, item in entry.items()}
        for number, entry in state["state"].items()
    }
    return {**state, "state": moments}


def _as(value: Tensor, target: Tensor) -> Tensor:
    if value.shape != target.shape:
        raise ValueError(f"a tensor of {tuple(value.shape)} where {tuple(target.shape)} is expected")
    if not isinstance(target, DTensor):
        return value
    return distribute_tensor(value.to(target.device), target.device_mesh, target.placements)
