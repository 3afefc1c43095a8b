"""A whole training run: from data and a configuration to a folder with weights, log, sheets and checkpoints."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

from realtime.errors import BadFile, BadValue, MissingExtra, first_line
from realtime.media.pictures import write_picture
from realtime.outputs import write_whole
from realtime.training import watch
from realtime.training.config import TrainConfig
from realtime.training.data.clips import read_index
from realtime.training.data.pairs import PairSet, StepSampler, StreamedPairs
from realtime.training.data.puppets import DRAWING
from realtime.training.data.scenes import SceneSet
from realtime.training.features import HRNET_REPOSITORIES, cached, make_features
from realtime.training.run_folder import RunFolder
from realtime.training.scene_watch import UnseenScenes, write_example
from realtime.training.systems import PartSystem, TrainedSystem, make_system
from realtime.training.trainer import Batch, Clock, Place, StepReport, Trainer

Say = Callable[[str], None]


def find_place(device: str = "auto") -> Place:
    """This process's place: under torchrun from its environment (NCCL on GPUs, Gloo on CPUs), else alone.

    device: "auto", "cpu", "cuda" or "cuda:N". Raises BadValue."""
    rank, processes = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    local = int(os.environ.get("LOCAL_RANK", 0))
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise BadValue("--device", device, "this machine has no CUDA device that PyTorch can use")
    try:
        chosen = torch.device("cuda", local) if device == "cuda" else torch.device(device)
    except RuntimeError as error:
        raise BadValue("--device", device, "it may be auto, cpu, cuda or cuda:N") from error
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if processes > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return Place(chosen, rank, processes)


class Run:
    """Everything a run needs, made once; `go` trains to the end.

    data: an indexed folder, or names of shards to stream ("https://host/shard-{000..099}.tar"); None for a system
    whose data are drawn. Raises BadFile, BadValue.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: str | Path,
        data: str | Path | Sequence[str] | None,
        place: Place,
        *,
        resume: bool = False,
        vgg: Path | None = None,
        imagenet: Path | None = None,
        say: Say = print,
    ) -> None:
        self.place = place
        self.say: Say = say if place.first else lambda text: None
        self.folder = RunFolder(folder)
        self.config = config
        features, name = make_features(config.losses.features, vgg, self.say)
        # What "auto" came to is part of what the run is.
        self.config = config = replace(config, losses=replace(config.losses, features=name))  # type: ignore[arg-type]
        self.stream = list(data) if isinstance(data, Sequence) and not isinstance(data, str) else None
        self.pairs: PairSet | SceneSet | None = None
        if data is None:
            if not config.steps:
                raise BadValue("steps", 0, "drawn data have no end: say how many steps to take")
            self._check_drawing(resume)
            self.pairs = SceneSet(config.puppets, config.size, config.unimotion.crop, config.seed)
        elif self.stream is None:
            index = read_index(str(data))
            self.pairs = PairSet(str(data), index, config.data, config.size, config.seed)
        elif not config.steps:
            raise BadValue("steps", 0, "streamed data has no end: say how many steps to take")
        clips = len(self.pairs.clips) if isinstance(self.pairs, PairSet) else 1
        self.total = config.total_steps(clips, place.processes)
        system = make_system(config, features)
        if isinstance(system, PartSystem) and not resume:
            self._imagenet(system, imagenet)
        self.trainer = Trainer(config, system, place, self.total)
        if resume:
            self._resume()
        elif place.first:
            self.folder.create(config)
            if data is None:
                self.folder.example.mkdir(exist_ok=True)
                write_example(self.folder.example, config.seed)
        self.held = self._held_out()
        self.board = self._board()

    def _check_drawing(self, resume: bool) -> None:
        """Raises BadFile, BadValue where the scenes of the run were drawn in another way than they are now."""
        drawing = self.config.puppets.drawing
        if drawing == DRAWING:
            return
        if resume:
            raise BadFile(
                self.folder.config,
                f"is of a run whose scenes were drawn by version {drawing}, and this release draws others (version "
                f"{DRAWING}): go on with the release that began it, or train anew into another folder",
            )
        raise BadValue(
            "puppets.drawing", drawing,
            f"this release draws by version {DRAWING}: repeat such a run with the release that made it, or train on "
            f"today's scenes by --set puppets.drawing={DRAWING}",
        )  # fmt: skip

    def _held_out(self) -> watch.HeldOut | UnseenScenes | None:
        if self.pairs is None or not self.place.first:
            return None
        if isinstance(self.pairs, SceneSet):
            return UnseenScenes(self.config)
        try:
            return watch.HeldOut(self.pairs)
        except BadFile as error:
            self.say(f"no held-out frame can be read ({error}): the run is not watched")
            return None

    def _imagenet(self, system: PartSystem, file: Path | None) -> None:
        name = self.config.backbone
        if not name or not (self.config.imagenet or file):
            return
        from realtime.engines.parts.hrnet import Stem, load_imagenet

        path = file or (cached(name) if name in HRNET_REPOSITORIES else None)  # type: ignore[arg-type]
        if path is None:
            self.say("HRNet's ImageNet weights are not on this machine: the backbone starts from random numbers. "
                     "Give --imagenet PATH, or --download to fetch them.")  # fmt: skip
            return
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        target = system.network.estimator.get_submodule("backbone")
        assert isinstance(target, Stem)
        try:
            count = load_imagenet(target, load_file(str(path)))
        except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
            raise BadFile(path, f"holds no HRNet by timm's names ({first_line(error)})") from error
        self.say(f"backbone {self.config.animator.transformer.backbone}: {count} entries from {path.name}")

    def _resume(self) -> None:
        state = self.folder.load()
        try:
            self.trainer.restore(state)
        except (KeyError, RuntimeError, ValueError) as error:
            reason = f"does not fit this configuration ({first_line(error)})"
            raise BadFile(self.folder.last, reason) from error
        if self.place.first:
            self.folder.forget_after(self.trainer.step_number)
            write_whole(self.folder.config, self.config.to_json() + "\n")
        self.say(f"resumed at step {self.trainer.step_number} of {self.total}")

    def _board(self) -> Any:
        if not (self.config.tensorboard and self.place.first):
            return None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.say(str(MissingExtra("TensorBoard's log", "tensorboard", "train")) + "; log.jsonl is written anyway")
            return None
        return SummaryWriter(str(self.folder.path / "tensorboard"))

    def _batches(self) -> Iterator[Batch]:
        c, place, start = self.config, self.place, self.trainer.step_number
        pinned = place.device.type == "cuda"
        if self.pairs is not None:
            sampler = StepSampler(c.batch, start, self.total, place.rank, place.processes)
            yield from DataLoader(
                self.pairs, batch_sampler=sampler, num_workers=c.data.workers, pin_memory=pinned,
                persistent_workers=False, prefetch_factor=2 if c.data.workers else None,
            )  # fmt: skip
            return
        assert self.stream is not None
        streamed = StreamedPairs(self.stream, c.data, c.size, c.seed + start, place.rank, place.processes)
        loader = DataLoader(streamed, c.batch, num_workers=c.data.workers, pin_memory=pinned, drop_last=True)
        for _, batch in zip(range(start, self.total), loader, strict=False):
            yield batch

    def go(self, on_step: Callable[[StepReport, float], None] = lambda report, rate: None) -> dict[str, float]:
        """Train to the last step; returns the last look at the held-out frames.

        on_step is called after every step with its report and the pairs per second. An interrupt (Ctrl-C) and any
        error leave a checkpoint of the last whole step, except in a sharded run, which has its last regular one.
        """
        clock, saved, look = Clock(), self.trainer.step_number, {}
        speed = 0.0
        try:
            for batch in self._batches():
                report = self.trainer.step(batch)
                done = self.trainer.step_number
                clock.add(self.config.batch * self.place.processes)
                if report.skipped:
                    self.say(f"step {report.step} skipped: {report.reason}")
                if self.place.first and (done % self.config.log_every == 0 or done == self.total):
                    speed = clock.rate()
                    self._log(report, speed)
                if done % self.config.check_every == 0 or done == self.total:
                    look = self._look(done)
                if done % self.config.save_every == 0 or done == self.total:
                    self.save()
                    saved = done
                on_step(report, speed)
        finally:
            # In a sharded run each process has one share; after an error the others may not be there to give theirs.
            if not self.trainer.sharded and self.trainer.step_number > saved:
                self.save()
            if self.board is not None:
                self.board.close()
        return look

    def _log(self, report: StepReport, speed: float) -> None:
        line: dict[str, Any] = {"step": report.step + 1, "rate": report.rate, "norm": report.norm}
        line |= {"losses": report.losses, "skipped": self.trainer.skipped, "pairs_per_second": round(speed, 2)}
        self.folder.write(line)
        if self.board is not None:
            for name, value in report.losses.items():
                self.board.add_scalar(f"loss/{name}", value, report.step + 1)
            self.board.add_scalar("rate", report.rate, report.step + 1)

    def _look(self, done: int) -> dict[str, float]:
        if not (self.place.first or self.trainer.sharded):
            return {}
        network = self.trainer.averaged_network()
        if self.held is None:
            return {}
        look, page = self.held.look(self.trainer.system, network, self.place.device)
        self.folder.write({"step": done, "held_out": look})
        if self.board is not None:
            self.board.add_scalars("held out/L1", look, done)
        if done % self.config.sample_every == 0 or done == self.total:
            write_picture(self.folder.samples / f"step-{done:07d}.png", page)
            if self.board is not None:
                self.board.add_image("samples", page, done, dataformats="HWC")
            watch.draw_curve(self.folder.lines(), self.folder.path / "curve.png")
        return look

    def save(self) -> None:
        """Checkpoint, and the averaged weights for use, written by the first process."""
        if not (self.place.first or self.trainer.sharded):
            return
        state, network = self.trainer.state(), self.trainer.averaged_network()
        if not self.place.first:
            return
        self.folder.save(state)
        done = self.trainer.step_number
        notes = {"step": str(done), "perceptual": self.config.losses.features, "system": self.config.system}
        system: TrainedSystem = self.trainer.system
        system.save(network, self.folder.weights, notes)
        if self.config.keep:
            system.save(network, self.folder.path / f"weights-{done:07d}.safetensors", notes)
            self.folder.prune_weights(self.config.keep)
