"""Looking at a run: held-out frames against the still portrait, sample sheets, the curve of the run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from realtime.engines.parts.dense_motion import DenseMotion
from realtime.engines.parts.views import mask_picture
from realtime.errors import BadFile
from realtime.outputs import replacing
from realtime.training.data.pairs import PairSet, as_tensors
from realtime.training.systems import TrainedSystem

SHOWN = 6
"""Columns of a sample sheet."""


def to_uint8(pictures: Tensor) -> np.ndarray:
    """float (B, 3, H, W) in 0..1 to uint8 (B, H, W, 3)."""
    return (pictures.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy()


def sheet(rows: Sequence[Sequence[np.ndarray]], gap: int = 2) -> np.ndarray:
    """Pictures of one size in rows and columns, white between them: uint8 (H, W, 3)."""
    height, width = rows[0][0].shape[:2]
    wide = max(len(row) for row in rows)
    page = np.full(((height + gap) * len(rows) - gap, (width + gap) * wide - gap, 3), 255, np.uint8)
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            page[r * (height + gap) :, c * (width + gap) :][:height, :width] = picture
    return page


class HeldOut:
    """A fixed choice of held-out frames, each with the first frame of its clip as the portrait.

    Frames that cannot be read are left out. Raises BadFile where none is left."""

    def __init__(self, pairs: PairSet, count: int = 24) -> None:
        frames = pairs.held_out()
        chosen = [frames[i] for i in np.unique(np.linspace(0, len(frames) - 1, count).round().astype(int))]
        found: list[Tensor] = []
        reason: BadFile | None = None
        for clip, number in chosen:
            try:
                found.append(as_tensors(np.stack([pairs.picture(clip, 0), pairs.picture(clip, number)])))
            except BadFile as error:
                reason = error
        if reason is not None and not found:
            raise reason
        self.pairs = torch.stack(found)  # (N, 2, 3, S, S)

    def look(
        self, system: TrainedSystem, network: nn.Module, device: torch.device
    ) -> tuple[dict[str, float], np.ndarray]:
        """L1 of the network ("l1") and of the still portrait ("still_l1") over all frames, and a sheet of some of
        them: portrait, driving frame, result, and the masks where there are any."""
        made: list[Tensor] = []
        motions: list[DenseMotion] = []
        with torch.no_grad():
            for batch in self.pairs.split(4):
                source, driving = batch.to(device).unbind(1)
                picture, motion = system.reenact(network, source, driving)
                made.append(picture.cpu())
                if motion is not None:
                    motions.append(DenseMotion(*(part.cpu() for part in motion)))
        result = torch.cat(made)
        source, driving = self.pairs.unbind(1)
        ours = float((result - driving).abs().mean())
        still = float((source - driving).abs().mean())
        pick = np.unique(np.linspace(0, len(result) - 1, SHOWN).round().astype(int))
        rows = [list(to_uint8(x[pick])) for x in (source, driving, result)]
        if motions:
            masks = torch.cat([m.masks for m in motions])[pick]
            size = tuple(result.shape[2:])
            large = nn.functional.interpolate(masks, size=size, mode="bilinear")
            rows.append([mask_picture(m) for m in large.numpy()])
        return {"l1": ours, "still_l1": still}, sheet(rows)


def draw_curve(lines: Iterable[dict[str, Any]], path: Path) -> None:
    """The run's losses, and the held-out L1 beside the still portrait's, as a picture."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = list(lines)
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    losses = [line for line in lines if "losses" in line]
    for name in sorted({n for line in losses for n in line["losses"]}):
        points = [(line["step"], line["losses"][name]) for line in losses if name in line["losses"]]
        left.plot(*zip(*points, strict=True), label=name, lw=1)
    left.set(xlabel="step", title="training losses (weighted)", yscale="log" if losses else "linear")
    left.legend(fontsize=7) if losses else None
    looks = [line for line in lines if "held_out" in line]
    if looks:
        steps = [line["step"] for line in looks]
        right.plot(steps, [line["held_out"]["l1"] for line in looks], label="this run", marker=".")
        right.plot(steps, [line["held_out"]["still_l1"] for line in looks], label="still portrait", ls="--")
        right.legend(fontsize=7)
    right.set(xlabel="step", title="held-out frames: L1", ylim=(0, None))
    with replacing(path) as at:
        figure.savefig(at, dpi=110)
