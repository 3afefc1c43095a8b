"""The training loop: one step at a time, so that it can be tested, resumed and survive bad data.

Everything random follows from the seed and the number of the step: pairs by `StepSampler`, the rest by seeding before
every step. A resumed run therefore repeats the losses of one that was not interrupted, bit for bit on a CPU.
"""

from __future__ import annotations

import copy
import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from realtime.errors import AvatarError
from realtime.training import sharding
from realtime.training.config import TrainConfig
from realtime.training.losses import Discriminator, discriminator_adversarial, generator_adversarial
from realtime.training.systems import TrainedSystem, make_system

Batch = Tensor | tuple[Tensor, ...]
"""What a step is taken on: pairs of pictures, or the parts of a scene, each with the batch in front."""


class Diverged(AvatarError):
    """The loss was not finite for too many steps on end."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __str__(self) -> str:
        return (
            f"no finite loss for {self.steps} steps on end: the run has diverged. "
            "Resume it with a smaller --set optimiser.rate"
        )


@dataclass(frozen=True)
class Place:
    """Where this process stands: its device, its rank among `processes`."""

    device: torch.device
    rank: int = 0
    processes: int = 1

    @property
    def first(self) -> bool:
        return self.rank == 0

    def agree(self, fine: bool) -> bool:
        """True where every process says `fine`."""
        if self.processes == 1:
            return fine
        flag = torch.tensor(1.0 if fine else 0.0, device=self.device)
        dist.all_reduce(flag, op=dist.ReduceOp.MIN)
        return bool(flag.item() > 0)


@dataclass(frozen=True)
class StepReport:
    """What a step did. losses: weighted, by name, "total" among them; empty where it was `skipped`, and then
    `reason` says why. norm: of the gradient before clipping."""

    step: int
    losses: dict[str, float]
    norm: float = 0.0
    rate: float = 0.0
    skipped: bool = False
    reason: str = ""


class Trainer:
    """Holds what changes during a run and takes steps.

    A step whose pictures, loss or gradient are not finite changes nothing but the count `skipped`; after
    `config.patience` of them on end, `step` raises Diverged.
    """

    def __init__(self, config: TrainConfig, system: TrainedSystem, place: Place, total: int) -> None:
        self.config, self.system, self.place, self.total = config, system, place, total
        system.to_device(place.device)
        system.train()
        self.model: nn.Module = system
        self.sharded = config.shard and place.processes > 1
        if place.processes > 1 and place.device.type == "cuda":
            self.model = nn.SyncBatchNorm.convert_sync_batchnorm(system)
        self.averaged = copy.deepcopy(system.network).eval().requires_grad_(False)
        if self.sharded:
            mesh = sharding.mesh_of(place.device, place.processes)
            sharding.shard(self.model, system.network, mesh)
            sharding.shard(self.averaged, self.averaged, mesh)
        elif place.processes > 1:
            ids = [place.device.index] if place.device.type == "cuda" else None
            self.model = nn.parallel.DistributedDataParallel(
                self.model, device_ids=ids, find_unused_parameters=not system.needs_every_parameter
            )
        o = config.optimiser
        self.optimiser = torch.optim.Adam(system.network.parameters(), lr=o.rate, betas=(o.beta1, o.beta2))
        self.discriminator: Discriminator | None = None
        self.judge: nn.Module | None = None
        if config.losses.adversarial:
            torch.manual_seed(config.seed + 1)
            self.discriminator = Discriminator(config.size).to(place.device)
            self.judge = self.discriminator
            if place.processes > 1:
                self.judge = nn.parallel.DistributedDataParallel(self.discriminator, broadcast_buffers=False)
            betas = (o.beta1, o.beta2)
            self.judge_optimiser = torch.optim.Adam(self.discriminator.parameters(), lr=o.rate, betas=betas)
        half = config.precision == "fp16"
        self.scaler = torch.amp.GradScaler(place.device.type, enabled=half)
        self.step_number = 0
        self.skipped = 0
        self._unbroken = 0

    def leave(self) -> None:
        """Leave the other processes, where there are any; no step can follow.

        The wrappers go first: the last reference to the process group must not be theirs. PyTorch's Reducer drops it
        with the interpreter locked and waits for Gloo's threads, which may want the interpreter to drop a tensor:
        one run in twenty never ended (PyTorch 2.13).
        """
        if self.place.processes == 1:
            return
        self.model, self.judge = self.system, self.discriminator
        gc.collect()
        dist.destroy_process_group()

    def step(self, batch: Batch) -> StepReport:
        """One optimiser step on pairs (B, 2, 3, S, S) in 0..1, or on whatever parts the system takes. Raises
        Diverged."""
        number = self.step_number
        self.step_number += 1
        torch.manual_seed(_mixed(self.config.seed, number, self.place.rank))
        parts = (batch,) if isinstance(batch, Tensor) else batch
        if not self.place.agree(all(bool(torch.isfinite(part).all()) for part in parts)):
            return self._skip(number, "the pictures are not finite")
        parts = tuple(part.to(self.place.device, non_blocking=True) for part in parts)
        rate = self.config.rate_at(number, self.total)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        before = self._statistics()
        self.system.progress = number / self.total
        with self._autocast():
            terms, made = self.model(*parts)
        if self.discriminator is not None:
            # Without its wrapper, which would wait for gradients that this pass does not give it.
            self.discriminator.requires_grad_(False)
            with self._autocast():
                weight = self.config.losses.adversarial
                terms["adversarial"] = weight * generator_adversarial(self.discriminator(made).float())
        total = torch.stack(list(terms.values())).sum()
        if not self.place.agree(bool(torch.isfinite(total.detach()))):
            self._restore(before)
            return self._skip(number, "the loss is not finite")
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(total).backward()
        self.scaler.unscale_(self.optimiser)
        clip = self.config.optimiser.clip or math.inf
        norm = float(sharding.gathered(nn.utils.clip_grad_norm_(self.system.network.parameters(), clip)))
        if not math.isfinite(norm):
            if self.scaler.is_enabled():
                self.scaler.step(self.optimiser)  # steps nothing, as it has seen what is not finite
                self.scaler.update()  # and takes a smaller scale
            self._restore(before)
            return self._skip(number, "the gradient is not finite")
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self._average(number)
        values = {name: float(value.detach()) for name, value in terms.items()}
        if self.judge is not None:
            values["discriminator"] = self._judge_step(parts[0][:, 1], made.detach(), rate)
        self._unbroken = 0
        values["total"] = float(total.detach())
        return StepReport(number, values, norm, rate)

    def _judge_step(self, true: Tensor, made: Tensor, rate: float) -> float:
        assert self.judge is not None
        self.judge.requires_grad_(True)
        for group in self.judge_optimiser.param_groups:
            group["lr"] = rate
        with self._autocast():
            scores = self.judge(torch.cat([true, made])).float()
        loss = discriminator_adversarial(scores[: len(true)], scores[len(true) :])
        self.judge_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if self.place.agree(bool(torch.isfinite(loss.detach()))):
            self.judge_optimiser.step()
        return float(loss.detach())

    def _autocast(self) -> torch.autocast:
        kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[self.config.precision]
        return torch.autocast(self.place.device.type, dtype=kind, enabled=self.config.precision != "fp32")

    def _skip(self, number: int, reason: str) -> StepReport:
        self.skipped += 1
        self._unbroken += 1
        if self._unbroken >= self.config.patience:
            raise Diverged(self._unbroken)
        return StepReport(number, {}, skipped=True, reason=reason)

    def _statistics(self) -> list[Tensor]:
        """Copies of the normalisation statistics, which a forward pass changes."""
        return [b.detach().clone() for b in self.system.network.buffers()]

    def _restore(self, before: list[Tensor]) -> None:
        with torch.no_grad():
            for buffer, value in zip(self.system.network.buffers(), before, strict=True):
                buffer.copy_(value)

    def _average(self, number: int) -> None:
        """Move the averaged weights towards the present ones; early on they follow faster."""
        decay = min(self.config.optimiser.average, (1 + number) / (10 + number))
        with torch.no_grad():
            mine = [sharding.local(p.detach()) for p in self.averaged.parameters()]
            now = [sharding.local(p.detach()) for p in self.system.network.parameters()]
            torch._foreach_lerp_(mine, now, 1 - decay)
            for a, b in zip(self.averaged.buffers(), self.system.network.buffers(), strict=True):
                a.copy_(b)

    def averaged_network(self) -> nn.Module:
        """The averaged weights, whole, for use. Where they are split over processes all must call this together;
        the first then has them in a network of its own, the others must not use theirs."""
        if not self.sharded:
            return self.averaged
        state = sharding.gathered(self.averaged.state_dict())
        if not self.place.first:
            return self.averaged
        network = make_system(self.config, self.system.features).network
        network.load_state_dict(state)
        return network.to(self.place.device).eval().requires_grad_(False)

    def state(self) -> dict[str, Any]:
        """All that a resumed run needs: whole tensors and plain values. All processes of a sharded run must call this
        together."""
        state: dict[str, Any] = {
            "step": self.step_number,
            "skipped": self.skipped,
            "network": self.system.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        if self.discriminator is not None:
            state["discriminator"] = self.discriminator.state_dict()
            state["judge_optimiser"] = self.judge_optimiser.state_dict()
        return sharding.gathered(state) if self.sharded else state

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` gave. Raises KeyError, RuntimeError, ValueError where it does not fit."""
        networks = {"network": self.system.network, "averaged": self.averaged}
        moments = state["optimiser"]
        if self.sharded:
            state = {**state, **{name: sharding.split_like(state[name], n) for name, n in networks.items()}}
            moments = sharding.split_moments(moments, list(self.system.network.parameters()))
        for name, network in networks.items():
            network.load_state_dict(state[name])
        self.optimiser.load_state_dict(moments)
        self.scaler.load_state_dict(state["scaler"])
        if self.discriminator is not None:
            self.discriminator.load_state_dict(state["discriminator"])
            self.judge_optimiser.load_state_dict(state["judge_optimiser"])
        self.step_number, self.skipped = state["step"], state["skipped"]


def _mixed(seed: int, step: int, rank: int) -> int:
    """A seed for one step of one process; neighbours are far apart."""
    value = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank * 0x94D049BB133111EB + 1) & (2**64 - 1)
    value ^= value >> 31
    return (value * 0xD6E8FEB86659FD93 & (2**64 - 1)) >> 1


class Clock:
    """Pairs per second over the last stretch."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._since, self._pairs = now, now(), 0

    def add(self, pairs: int) -> None:
        self._pairs += pairs

    def rate(self) -> float:
        """Pairs per second since the last call."""
        now = self._now()
        rate = self._pairs / max(1e-9, now - self._since)
        self._since, self._pairs = now, 0
        return rate
