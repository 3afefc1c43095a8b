"""The yardsticks of section 4 of the Motion Transformer paper: reconstruction and cross-reenactment, per clip and in
all.

Every measure is the one that ``benchmarks quality`` takes (`realtime.measures.reenactment`,
`realtime.measures.faces`), so that the two agree on the same pictures. Keypoints are MediaPipe's 478 landmarks, at
256 pixels; AED is on this project's own face descriptor, so that figures of AKD, MKR and AED compare with one another
and not with a paper's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from realtime.engines import Engine
from realtime.errors import BadFile, BadPortrait
from realtime.measures.faces import FaceReader
from realtime.measures.media import Clip, read_clip, to_size
from realtime.measures.reenactment import SIDE, Rows, at_rest, codes_of, compare, cross_reenactment, self_reenactment
from realtime.media.pictures import read_picture

RECONSTRUCTION = {
    "l1": "mean absolute difference, 0 to 1",
    "akd": "average keypoint distance, pixels at 256",
    "mkr": "missing keypoint rate",
    "aed": "average Euclidean distance of face descriptors",
}
CROSS = {
    "pose": "angle between the driver's and the portrait's head turn, degrees",
    "mouth": "error of the lip gap, face heights",
    "eyes": "error of the eye opening, 1 = as open as at the start",
    "identity": "distance of face descriptors to the portrait at rest",
    "mkr": "missing keypoint rate",
}
Tick = Callable[[], None]


@dataclass
class Table:
    """Rows of figures. columns: names of the measures. rows: (what, how many frames, figures)."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, int, dict[str, float]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_total(self, everything: Sequence[dict[str, float]], reduce: Callable[[Any], dict[str, float]]) -> None:
        """The row over all frames of all clips."""
        self.rows.append(("all", len(everything), reduce(everything)))

    def figures(self, name: str) -> dict[str, float]:
        """The figures of the row `name`. Raises KeyError."""
        return {row: values for row, _, values in self.rows}[name]

    def plain(self) -> dict[str, Any]:
        """For JSON; a figure that no frame gave is null."""
        rows = [
            {"name": name, "frames": frames, **{k: None if np.isnan(v) else v for k, v in values.items()}}
            for name, frames, values in self.rows
        ]
        return {"title": self.title, "rows": rows, "notes": self.notes}


def mean_of(rows: Sequence[dict[str, float]], key: str) -> float:
    """Mean over the frames that have this measure, NaN where none has."""
    values = [row[key] for row in rows if np.isfinite(row.get(key, np.nan))]
    return float(np.mean(values)) if values else float("nan")


def reconstruction_figures(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """L1, AKD, MKR, AED of compared frames."""
    return {key: mean_of(rows, "missing" if key == "mkr" else key) for key in RECONSTRUCTION}


def cross_figures(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The measures of cross-reenactment, where there is no true picture."""
    gaps = [{"mouth": abs(r["mouth_want"] - r["mouth_got"]), "eyes": abs(r["eye_want"] - r["eye_got"])}
            for r in rows if "mouth_want" in r]  # fmt: skip
    return {
        "pose": mean_of(rows, "pose"),
        "mouth": mean_of(gaps, "mouth"),
        "eyes": mean_of(gaps, "eyes"),
        "identity": mean_of(rows, "identity"),
        "mkr": mean_of(rows, "missing"),
    }


def open_clips(paths: Sequence[str | Path], side: int = 512) -> list[Clip]:
    """The middle squares of clips. Raises BadFile."""
    return [read_clip(path, square=side) for path in paths]


def reconstruct(
    engine: Engine, clips: Sequence[Clip], frames: int, reader: FaceReader, tick: Tick, shown: list[list[np.ndarray]]
) -> Table:
    """Each clip rebuilt from its first frame and its own motion (absolute).

    frames: compared per clip, spread evenly; 0 for all. shown: receives rows of a contact sheet, true above made.
    """
    table = Table(f"reconstruction by {engine.name}", tuple(RECONSTRUCTION))
    everything: list[dict[str, float]] = []
    for clip in clips:
        count = min(frames or len(clip.frames), len(clip.frames) - 1)
        try:
            rows = self_reenactment(engine, clip, count, reader, None, tick)
        except BadPortrait as error:
            table.notes.append(f"{clip.name}: its first frame cannot be a portrait ({error.reason})")
            continue
        table.rows.append((clip.name, len(rows.rows), reconstruction_figures(rows.rows)))
        if rows.missed:
            table.notes.append(f"{clip.name}: no face in {rows.missed} driving frames")
        everything += rows.rows
        shown += columns_of(rows)
    table.add_total(everything, reconstruction_figures)
    return table


def columns_of(rows: Rows, count: int = 8) -> list[list[np.ndarray]]:
    """Two rows of a sheet: driving frames, and what was made of them."""
    pick = np.unique(np.linspace(0, len(rows.pictures) - 1, count).round().astype(int)) if rows.pictures else []
    return [[rows.pictures[i][side] for i in pick] for side in (0, 1)] if len(pick) else []


def cross(
    engine: Engine,
    clips: Sequence[Clip],
    portraits: Sequence[Path],
    frames: int,
    reader: FaceReader,
    tick: Tick,
    shown: list[list[np.ndarray]],
) -> Table:
    """Every portrait driven by every clip, relative to the clip's first frame."""
    table = Table(f"cross-reenactment by {engine.name}", tuple(CROSS))
    everything: list[dict[str, float]] = []
    for path in portraits:
        image = read_picture(path)
        for clip in clips:
            try:
                engine.set_portrait(image)
            except BadPortrait as error:
                table.notes.append(f"{path.name}: {error.reason}")
                break
            wanted = np.unique(np.linspace(0, len(clip.frames) - 1, (frames or len(clip.frames) - 1) + 1).round())
            codes = codes_of(engine, clip, [int(n) for n in wanted], None)
            if codes[0] is None:
                table.notes.append(f"{clip.name}: no face in its first frame")
                continue
            rest, _, _ = at_rest(engine, image, reader)
            rows = cross_reenactment(engine, clip, codes, rest, reader)
            table.rows.append((f"{path.stem} by {clip.name}", len(rows.rows), cross_figures(rows.rows)))
            if not rows.rows:
                table.notes.append(f"{path.stem} by {clip.name}: no face is found in the engine's picture at rest, "
                                   "so nothing can be compared")  # fmt: skip
            everything += rows.rows
            shown += columns_of(rows)
            tick()
    table.add_total(everything, cross_figures)
    return table


def held_out(folder: str | Path, data: Path | None, frames: int, reader: FaceReader, tick: Tick) -> tuple[
    Table, Table, list[list[np.ndarray]]
]:  # fmt: skip
    """A training run on the frames that it held out: each clip rebuilt from its first frame; and, as the measure of
    having learnt anything, the still portrait on the same frames.

    Gives (run, still portrait, rows of a sheet: portrait, true, made). Raises BadFile.
    """
    import torch

    from realtime.training.config import TrainConfig
    from realtime.training.data.clips import read_index
    from realtime.training.data.pairs import PairSet, as_tensors
    from realtime.training.features import GradientFeatures
    from realtime.training.run_folder import RunFolder
    from realtime.training.systems import make_system
    from realtime.training.watch import to_uint8

    run = RunFolder(folder)
    config = TrainConfig.read(run.config)
    source = data or run.data
    pairs = PairSet(source, read_index(source), config.data, config.size, config.seed)
    system = make_system(config, GradientFeatures()).eval()
    system.network.load_state_dict(_weights(run.weights))
    tables = (Table("held-out frames, this run", tuple(RECONSTRUCTION)),
              Table("held-out frames, still portrait", tuple(RECONSTRUCTION)))  # fmt: skip
    everything: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])
    shown: list[list[np.ndarray]] = []
    chosen: dict[str, list[int]] = {}
    clips = {clip.name: clip for clip in pairs.clips}
    for clip, number in pairs.held_out():
        chosen.setdefault(clip.name, []).append(number)
    for name, numbers in chosen.items():
        if frames and len(numbers) > frames:
            numbers = [numbers[i] for i in np.unique(np.linspace(0, len(numbers) - 1, frames).round().astype(int))]
        portrait = pairs.picture(clips[name], 0)
        per: tuple[list[dict[str, float]], list[dict[str, float]]] = ([], [])
        strip: list[list[np.ndarray]] = [[], [], []]
        for number in numbers:
            true = pairs.picture(clips[name], number)
            both = as_tensors(np.stack([portrait, true]))
            with torch.no_grad():
                made, _ = system.reenact(system.network, both[:1], both[1:])
            pictures = [to_size(p, SIDE) for p in (portrait, true, to_uint8(made)[0])]
            per[0].append(compare(pictures[1], pictures[2], reader))
            per[1].append(compare(pictures[1], pictures[0], reader))
            for row, picture in zip(strip, pictures, strict=True):
                row.append(picture)
            tick()
        for table, rows, total in zip(tables, per, everything, strict=True):
            table.rows.append((name, len(rows), reconstruction_figures(rows)))
            total += rows
        pick = np.unique(np.linspace(0, len(numbers) - 1, 8).round().astype(int))
        shown += [[row[i] for i in pick] for row in strip]
    for table, total in zip(tables, everything, strict=True):
        table.add_total(total, reconstruction_figures)
    return *tables, shown


def _weights(path: Path) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise BadFile(path, "holds no weights of a run") from error
