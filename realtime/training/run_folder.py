"""The folder of one run: configuration, log, checkpoints, weights, sample sheets.

Checkpoints are written beside the old one and put in its place in one step, and the one before is kept, so that a
machine that dies while writing loses nothing. They hold tensors and plain values alone and are read as such.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from realtime.errors import BadFile, NotWritten, first_line
from realtime.outputs import not_written, replacing, write_whole
from realtime.training.config import TrainConfig

FORMAT = 1


class RunFolder:
    """Paths and files of a run."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.log = self.path / "log.jsonl"
        self.last = self.path / "checkpoint.pt"
        self.previous = self.path / "checkpoint-previous.pt"
        self.weights = self.path / "weights.safetensors"
        self.samples = self.path / "samples"
        self.data = self.path / "data"
        self.example = self.path / "example"

    def create(self, config: TrainConfig) -> None:
        """Make the folder for a new run. Raises BadFile where it holds one already."""
        if self.last.exists():
            raise BadFile(self.path, "holds a run already; go on with it by --resume, or take another folder")
        self.samples.mkdir(parents=True, exist_ok=True)
        write_whole(self.config, config.to_json() + "\n")
        self.log.write_text("", encoding="utf-8")

    def write(self, line: dict[str, Any]) -> None:
        """Append a line to the log. Raises NotWritten."""
        try:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise not_written(self.log, error) from error

    def lines(self) -> Iterator[dict[str, Any]]:
        """The log; a line that broke off is left out."""
        if not self.log.exists():
            return
        for text in self.log.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                yield json.loads(text)

    def forget_after(self, step: int) -> None:
        """Drop log lines of steps that the checkpoint does not have, before a resumed run writes them again."""
        kept = [line for line in self.lines() if line.get("step", 0) <= step]
        write_whole(self.log, "".join(json.dumps(line) + "\n" for line in kept))

    def save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint; the last one becomes the previous one. Raises NotWritten."""
        with replacing(self.last) as at:
            try:
                torch.save({"format": FORMAT, **state}, at)
            except RuntimeError as error:  # as torch says that the disk is full
                raise NotWritten(self.last, f"cannot be written ({first_line(error)})") from error
            if self.last.exists():
                os.replace(self.last, self.previous)

    def load(self) -> dict[str, Any]:
        """The last checkpoint that can be read. Raises BadFile where there is none."""
        if not self.last.exists() and not self.previous.exists():
            raise BadFile(self.path, "holds no checkpoint to resume from")
        reason = ""
        for path in (self.last, self.previous):
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
                if state["format"] != FORMAT:
                    raise ValueError(f"format {state['format']}")
                return state
            except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
                reason = reason or first_line(error)
        raise BadFile(self.last, f"not a readable checkpoint ({reason})")

    def prune_weights(self, keep: int) -> None:
        """Remove all but the newest `keep` numbered weight files."""
        numbered = sorted(self.path.glob("weights-*.safetensors"))
        for path in numbered[: max(0, len(numbered) - keep)]:
            path.unlink()
