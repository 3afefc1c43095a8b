r"""Whole-body motion tokens: runs of `avatar train unimotion` side by side, on characters that none was trained on.

The first run named reads the pictures of all of them (joints, hands, face), so that one reader judges all. For the
ablation table train four runs of equal length with one seed. Keep the reader in all of them: it shares no weights
with the rest, but the gradient's norm is clipped over all parameters, so that a run without it
(--set losses.reading=0) takes other steps. And without the joints' loss nothing is learnt while joints come first,
but from few pictures: joints_first=0.

  avatar train unimotion -o runs/all  --preset tiny
  avatar train unimotion -o runs/own  --preset tiny --set puppets.cross=0 --set puppets.augment=false
  avatar train unimotion -o runs/aug  --preset tiny --set puppets.cross=0
  avatar train unimotion -o runs/bare --preset tiny --set losses.joints=0 --set losses.normals=0 --set losses.seen=0 \
    --set puppets.joints_first=0
  python -m benchmarks tokens --run all=runs/all --run own=runs/own --run aug=runs/aug --run bare=runs/bare
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from benchmarks.report.result import Result
from realtime.errors import BadValue
from realtime.measures.sheets import sheet
from realtime.media.pictures import write_picture

TARGETS = {"cross.keypoints": 4.5, "ratio.l1": 1.1, "retrieval.reference": 0.95}
UNITS = {"keypoints": "px", "d_joints": "px"}
CELL = 128
"""Side of a picture of the sheet."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", action="append", metavar="NAME=FOLDER", help="a run of avatar train; repeats")
    parser.add_argument("--scenes", type=int, default=128, help="unseen scenes of each kind (default: 128)")
    parser.add_argument("--steps", type=int, default=4, help="steps of the sampler (default: 4)")


def run(options: argparse.Namespace) -> Result:
    named = [text.partition("=") for text in options.run or ()]
    if not named or not all(name and folder for name, _, folder in named):
        raise BadValue("--run", options.run, "name the runs, as in --run all=runs/all")
    from realtime.engines.unimotion.weights import load_unimotion
    from realtime.training.config import TrainConfig
    from realtime.training.evaluate_scenes import measure_run
    from realtime.training.run_folder import RunFolder

    scenes = min(options.scenes, 32) if options.quick else options.scenes
    first = RunFolder(named[0][2])
    if not TrainConfig.read(first.config).losses.reading:
        raise BadValue("--run", named[0][0], "it has no trained reader (losses.reading=0): name a run first that has")
    reader = load_unimotion(first.weights)
    result = Result("tokens", settings={"runs": [name for name, _, _ in named], "scenes": scenes})
    begun = time.monotonic()
    rows: list[list[np.ndarray]] = []
    for name, _, folder in named:
        tables, shown = measure_run(Path(folder), scenes, lambda: None, reader, options.steps)
        result.settings[f"{name}.steps"] = _steps(folder)
        for table, prefix in zip(tables, ("", "detail.", "retrieval."), strict=True):
            for row, _, values in table.rows:
                for column, value in values.items():
                    path = f"{name}.{prefix}{column}" if prefix == "retrieval." else f"{name}.{prefix}{row}.{column}"
                    target = TARGETS.get(path.removeprefix(f"{name}."))
                    better = "higher" if prefix or column.endswith("_r") else "lower"
                    result.add(path, value, UNITS.get(column, ""), better=better, target=target)
        l1 = [result.get(f"{name}.{kind}.l1") for kind in ("cross", "self")]
        if all(figure is not None and figure.value is not None for figure in l1):
            result.add(
                f"{name}.ratio.l1", l1[0].value / l1[1].value, better="lower", target=TARGETS["ratio.l1"],  # type: ignore[union-attr, operator]
                about="cross over self",
            )  # fmt: skip
        rows += shown if not rows else shown[3:]
    result.pictures["sheet"] = sheet(rows, CELL)
    result.notes.append("rows of the sheet: reference, driver, what should come out; then a row for each run")
    result.seconds = time.monotonic() - begun
    return result


def _steps(folder: str) -> int:
    """How many steps the run took, by its log."""
    from realtime.training.run_folder import RunFolder

    return max((int(line["step"]) for line in RunFolder(folder).lines()), default=0)


def plot(result: Result, path: Path) -> None:
    """The sheet."""
    picture: np.ndarray = result.pictures["sheet"]
    write_picture(path, picture)
