"""How good a run of unimotion is, on characters that it was not trained on.

Joints, hands and face of the pictures are read by the run's reader (or another run's), which is wrong itself: the row
"the true pictures" says by how much. What comes out is always compared with the drawn character in the driver's pose.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from realtime.engines.unimotion.decoder import feet
from realtime.engines.unimotion.driving import read_frames
from realtime.engines.unimotion.joint_head import joints_of
from realtime.engines.unimotion.network import UniMotion
from realtime.engines.unimotion.reader import SIDES, cut
from realtime.engines.unimotion.weights import load_unimotion
from realtime.training.config import TrainConfig
from realtime.training.data.pairs import draw
from realtime.training.data.puppets import (
    DRAWING,
    FACE,
    HAND,
    HEAD,
    LEFT_HAND,
    RIGHT_HAND,
    Pose,
    draw_pose,
    render,
    skeleton,
)
from realtime.training.data.scenes import UNSEEN, Scene, SceneSet, character, picture_tensor
from realtime.training.evaluate import Table, Tick
from realtime.training.run_folder import RunFolder
from realtime.training.scene_watch import noise_like, unseen_scenes
from realtime.training.watch import to_uint8

SCENES = 128
"""Measured where nothing else is asked for."""
AMONG = 100
"""Characters among which the reference's is sought."""
AT_ONCE = 32
BODY_COLUMNS = ("l1", "keypoints", "d_joints", "hand_l1", "face_l1", "hands_r", "face_r")
STEPS = 4
"""Of the sampler."""
POSES = 200
"""Whose mean is the mean pose."""
SHOWN = 8
"""Columns of the sheet."""


def measure_run(
    folder: Path, count: int, tick: Tick, reader: UniMotion | None = None, steps: int = STEPS
) -> tuple[list[Table], list[list[np.ndarray]]]:
    """The tables of a run, and rows of a sheet: reference, driver, what should come out, what comes out.

    count: scenes; 0 for the usual number. reader: networks whose reader reads the pictures, the run's own without;
    where that was not trained, what it would read is NaN. Raises BadFile, BadValue."""
    run = RunFolder(folder)
    config = TrainConfig.read(run.config)
    network = load_unimotion(run.weights)
    judge = network if reader is None and config.losses.reading else reader
    count = count or SCENES
    with torch.no_grad():
        return _measure(network, judge, config, count, tick, steps)


def _measure(
    network: UniMotion, judge: UniMotion | None, config: TrainConfig, count: int, tick: Tick, steps: int
) -> tuple[list[Table], list[list[np.ndarray]]]:
    body = Table(f"unseen characters, {count} scenes of {config.size} px", BODY_COLUMNS)
    body.notes += [
        "keypoints, d_joints: mean distance in pixels, in the picture and by D's head; l1 from 0 to 1, of the "
        "picture and of the squares around hands and face; r: correlation of what hands and face do, as it is read "
        "where the reader finds them, with what they should do, in the mean of all numbers that describe them: 0 is "
        f"chance, give or take {1 / np.sqrt(2 * len(HAND) * count):.2f} of hands and "
        f"{1 / np.sqrt(len(FACE) * count):.2f} of faces",
    ]
    if judge is None:
        body.notes.append(
            "keypoints and r of pictures are left out: this run's reader was not trained (losses.reading=0); "
            "python -m benchmarks tokens --run NAME=RUN --run ... reads all runs' pictures with the first one's"
        )
    if not config.losses.joints:
        body.notes.append("d_joints is left out: D's joint head was not trained (losses.joints=0)")
    if config.puppets.drawing != DRAWING:
        body.notes.append(
            f"the run was trained on scenes drawn by version {config.puppets.drawing}, and is measured on those of "
            f"version {DRAWING}: the figures do not say how well it does what it was trained to do"
        )
    details = Table("what hands and face do, correlation", ("true", "self", "cross"))
    made: dict[str, Tensor] = {}
    numbers: dict[str, tuple[Tensor, Tensor]] = {}
    for kind in ("self", "cross"):
        scene = unseen_scenes(config, count, cross=kind == "cross")
        tokens = network.encode(network.look(scene.driver), scene.crops)
        made[kind] = _drawn(network, scene, tokens, steps, tick)
        figures, numbers[kind] = _figures(judge, made[kind], scene)
        if config.losses.joints:
            guidance = network.guide(network.look(scene.reference), tokens)
            guided = joints_of(network.joint_head(guidance.features))
            figures["d_joints"] = _apart(guided, scene.joints, config.size)
        body.rows.append((kind, count, figures))
    everybody_else = replace(config.puppets, cross=1.0)
    casts = SceneSet(everybody_else, config.size, config.unimotion.crop, config.seed, unseen=True)
    away = _elsewhere(casts, count)
    tokens = network.encode(network.look(away.driver), away.crops)
    figures, _ = _figures(judge, _drawn(network, away, tokens, steps, tick), away)
    body.rows.append(("self, elsewhere", count, figures))
    if config.losses.reading:
        frames = torch.stack([_driving_frame(casts, n, config) for n in range(count)])
        found, _, _ = read_frames(network, frames)
        figures, _ = _figures(judge, _drawn(network, scene, found, steps, tick), scene)
        body.rows.append(("cross, crops found", count, figures))
    figures, _ = _figures(judge, scene.reference, scene)
    body.rows.append(("still reference", count, figures))
    true, true_numbers = _figures(judge, scene.target, scene)
    body.rows.append(("the true pictures", count, true))
    size = config.size
    copied = scene.driver_joints
    for name, joints in (
        ("copying the driver's joints", copied),
        ("the same, on the reference's feet", copied - feet(copied) + feet(scene.reference_joints)),
        ("the mean pose", _mean_pose(casts, count)),
    ):
        body.rows.append((name, count, dict.fromkeys(BODY_COLUMNS, float("nan")) | {
            "keypoints": _apart(joints, scene.joints, size)}))  # fmt: skip
    names = [f"{side} hand, {what}" for side in ("right", "left") for what in HAND] + [f"face, {w}" for w in FACE]
    for n, name in enumerate(names):
        row = {kind: _alike(*numbers[kind], n) for kind in ("self", "cross")}
        details.rows.append((name, count, row | {"true": _alike(*true_numbers, n)}))
    found_again = _retrieval(made["cross"], casts, tick)
    shown = [list(to_uint8(x[:SHOWN])) for x in (scene.reference, scene.driver, scene.target, made["cross"])]
    return [body, details, found_again], shown


def _elsewhere(casts: SceneSet, count: int) -> Scene:
    """The cross-identity scenes, each driven by its own character, but where the other one stands: what is left of
    the difference between self and cross when only who drives is another."""
    found = (replace(cast, driver=cast.who) for cast in map(casts.cast, range(count)))
    return default_collate([casts.draw(cast, draw(casts.seed, n)) for n, cast in enumerate(found)])


def _drawn(network: UniMotion, scene: Scene, tokens: tuple[Tensor, ...], steps: int, tick: Tick) -> Tensor:
    made = []
    noise = noise_like(scene.reference)
    for start in range(0, len(noise), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        some = type(tokens)(*(token[part] for token in tokens))
        made.append(network.draw(scene.reference[part], some, noise[part], steps))  # type: ignore[arg-type]
        tick()
    return torch.cat(made)


def _driving_frame(casts: SceneSet, number: int, config: TrainConfig) -> Tensor:
    """The driver's frame of a cross-identity scene, twice the networks' size: what a film would give."""
    cast = casts.cast(number)
    return picture_tensor(render(cast.driver, cast.pose, cast.elsewhere, 2 * config.size).picture)


def _figures(
    judge: UniMotion | None, pictures: Tensor, scene: Scene
) -> tuple[dict[str, float], tuple[Tensor, Tensor]]:
    """The figures of pictures against the scene's targets; what hands and face do, read and true, (B, 16). What is
    read is NaN without a judge."""
    size = pictures.shape[3]
    middles = scene.joints[:, [RIGHT_HAND, LEFT_HAND, HEAD]]
    true = torch.cat([scene.hands.flatten(1), scene.face], 1)
    found, read = (torch.full_like(x, float("nan")) for x in (scene.joints, true))
    if judge is not None:
        found = judge.reader.joints(pictures * 2 - 1)
        read = torch.cat(judge.reader.details(pictures * 2 - 1, found[:, [RIGHT_HAND, LEFT_HAND, HEAD]]), 1)
    error = (pictures - scene.target).abs()
    squares = [cut(error, middles[:, n], torch.full((len(error),), SIDES[n]), 16).mean() for n in range(3)]
    hands = 2 * len(HAND)
    each = [_alike(read, true, n) for n in range(true.shape[1])]
    return {
        "l1": float(error.mean()),
        "keypoints": _apart(found, scene.joints, size),
        "d_joints": float("nan"),
        "hand_l1": float(squares[0] + squares[1]) / 2,
        "face_l1": float(squares[2]),
        "hands_r": float(np.mean(each[:hands])),
        "face_r": float(np.mean(each[hands:])),
    }, (read, true)


def _apart(joints: Tensor, true: Tensor, size: int) -> float:
    """Mean distance in pixels."""
    return float((joints - true).norm(dim=2).mean()) * size


def _alike(read: Tensor, true: Tensor, n: int) -> float:
    """The correlation of number `n`."""
    return float(torch.corrcoef(torch.stack([read[:, n], true[:, n]]))[0, 1])


def _mean_pose(casts: SceneSet, count: int) -> Tensor:
    """Where the joints of each scene's character would be in the mean of all poses, at its place."""
    poses = [draw_pose(draw(1, n)) for n in range(POSES)]
    mean = Pose(*(np.mean([getattr(p, part) for p in poses], 0) for part in ("body", "hands", "face")))
    found = [casts.cast(n) for n in range(count)]
    return torch.from_numpy(np.stack([skeleton(cast.who, mean, cast.place) for cast in found]))


def _retrieval(made: Tensor, casts: SceneSet, tick: Tick) -> Table:
    """Is the picture nearest to its reference's character, among `AMONG` of them in the same pose, at the same place,
    before the same background? The driver's character is one of them."""
    table = Table(f"whose picture is it, among {AMONG} characters", ("reference", "driver", "chance"))
    table.notes.append(
        "every candidate is drawn in the true pose before the reference's own background: only the character differs"
    )
    own, drivers, count = 0, 0, len(made)
    others = [character(casts.seed, UNSEEN + casts.config.characters + n) for n in range(AMONG - 2)]
    for n in range(count):
        cast = casts.cast(n)
        candidates = np.stack([
            render(who, cast.pose, cast.place, casts.size).picture for who in (cast.who, cast.driver, *others)
        ])  # fmt: skip
        picture = to_uint8(made[n : n + 1])[0].astype(np.int16)
        nearest = int(np.abs(candidates - picture).mean((1, 2, 3)).argmin())
        own += nearest == 0
        drivers += nearest == 1
        tick()
    table.rows.append(("cross", count, {"reference": own / count, "driver": drivers / count, "chance": 1 / AMONG}))
    return table
