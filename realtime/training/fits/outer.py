"""Fit how hair, neck and shoulders follow the head, from driving clips.

    python -m realtime.training.fits.outer CLIPS... -o realtime/data/outer_tables.npz

Each clip's first frame is made a portrait, moved to later frames, and compared with them by dense optical flow. A
point outside the face, at face coordinates (u, v), is observed to move by y. With a = shift and growth of the head,
b = the flat part of its rotation and c = how the rotation moves a point one face height farther away, the model is

    y = follow(u, v) a + turn(u, v) (b + depth(u, v) c).

Per cell of a table over (|u|, v) the three numbers come from least squares, reweighted for robustness and drawn to a
plain prior, then smoothed. The result's error, and that of the prior, is printed on clips left out one by one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from realtime.engines.mesh import outer as outer_module
from realtime.engines.mesh.eyes import ZOOM
from realtime.engines.mesh.framing import frame_portrait
from realtime.engines.mesh.outer import OuterTables, face_coordinates
from realtime.engines.mesh.portrait import PreparedPortrait, prepare_portrait
from realtime.engines.mesh.raster import OUTSIDE, rasterise
from realtime.engines.mesh.renderer import MeshRenderer, move_mesh
from realtime.engines.mesh.topology import signed_distance, smoothstep
from realtime.face.face_model import OVAL
from realtime.face.landmarks import FaceTracker
from realtime.face.pose import HeadPose, fit_pose
from realtime.outputs import replacing

US, VS = np.arange(0.0, 1.61, 0.1), np.arange(-1.3, 1.61, 0.1)
CELL = 0.09
"""Half the width of the window from which a table's entry is fitted, in face heights."""
PULL = np.array([1.0, 3.0, 2.0])
"""How strongly follow, turn and turn times depth are drawn to the prior."""
FRAMES = 24
"""Frames compared per clip."""
LONGEST_FLOW = 0.25
"""Flow longer than this (face heights) is not believed."""


def prior() -> OuterTables:
    """What is known without footage: the head goes along wholly, the shoulders by a third; hair lies behind."""
    u, v = np.meshgrid(US, VS)
    head = 1.0 - 0.7 * smoothstep(0.45, 0.95, v)
    depth = 0.15 + 0.45 * smoothstep(0.2, 0.6, u) * smoothstep(-0.9, 0.0, v)
    depth = np.where(v > 0.5, 0.35, depth)
    return _tables(head, head, depth)


def _tables(follow: np.ndarray, turn: np.ndarray, depth: np.ndarray) -> OuterTables:
    us, vs, follow, turn, depth = (np.ascontiguousarray(a, np.float32) for a in (US, VS, follow, turn, depth))
    return OuterTables(us=us, vs=vs, follow=follow, turn=turn, depth=depth)


def observe(clip: Path) -> np.ndarray:
    """Rows (u, v, a (2), b (2), c (2), y (2)) in face heights, for points of one clip outside the face."""
    frames, faces = _read(clip)
    portrait = prepare_portrait(frame_portrait(frames[0], (frames[0].shape[1], frames[0].shape[0])))
    grid = np.stack(np.meshgrid(np.arange(8, portrait.width, 12), np.arange(8, portrait.height, 12)), -1)
    grid = grid.reshape(-1, 2)
    oval = portrait.landmarks[list(OVAL), :2]
    alpha = portrait.texture[::ZOOM, ::ZOOM, 3]  # the matte at picture resolution
    margin = (alpha.shape[1] - portrait.width) // 2  # below there is more
    solid = alpha[grid[:, 1] + margin, grid[:, 0] + margin] > 230
    points = grid[solid & (signed_distance(grid.astype(float), oval) > 2.0)].astype(np.float64)
    u, v = face_coordinates(points, oval, portrait.pose)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    renderer = MeshRenderer()
    pose = portrait.pose
    rows = []
    for index in np.linspace(1, len(frames) - 1, FRAMES).astype(int):
        if faces[index] is None:
            continue
        pose = fit_pose(portrait.shape, faces[index], pose)
        shape = pose.to_face(faces[index].astype(np.float64))
        picture = renderer.render(portrait, shape, pose)
        landed = _landing(portrait, shape, pose, points)
        seen, real = (cv2.cvtColor(p, cv2.COLOR_RGB2GRAY) for p in (picture, frames[index]))
        moved = flow.calc(seen, real, np.zeros((*seen.shape, 2), np.float32))
        edge = np.array([portrait.width, portrait.height]) - 5
        at = np.clip(np.round(landed).astype(int), 0, edge + 4)
        rest = moved[at[:, 1], at[:, 0]]
        there = np.clip(np.round(landed + rest).astype(int), 0, edge + 4)
        alike = np.abs(seen[at[:, 1], at[:, 0]].astype(int) - real[there[:, 1], there[:, 0]]) < 12
        good = alike & (landed > 4).all(1) & (landed < edge).all(1)
        good &= np.linalg.norm(rest, axis=1) < LONGEST_FLOW * portrait.pose.scale
        a, b, c = _terms(portrait, points, pose)
        y = landed + rest - points
        rows.append(np.column_stack([u, v, a, b, c, y])[good] / np.r_[1.0, 1.0, np.full(8, portrait.pose.scale)])
    return np.concatenate(rows)


def _terms(portrait: PreparedPortrait, points: np.ndarray, pose: HeadPose) -> tuple[np.ndarray, ...]:
    """a, b, c of the model, pixels (n, 2) each."""
    start = portrait.pose
    growth = pose.scale / start.scale
    relative = pose.rotation @ start.rotation.T
    arm = points - start.translation[:2]
    shift = (pose.translation - start.translation)[:2] + (growth - 1.0) * arm
    flat = growth * (arm @ relative[:2, :2].T - arm)
    away = np.broadcast_to(growth * relative[:2, 2] * start.scale, flat.shape)
    return shift, flat, away


def _landing(portrait: PreparedPortrait, shape: np.ndarray, pose: HeadPose, points: np.ndarray) -> np.ndarray:
    """Where the renderer puts `points` (n, 2; pixels of the portrait)."""
    moved, depth = move_mesh(portrait, shape, pose)
    rest, _ = move_mesh(portrait, portrait.shape, portrait.pose)
    size = (portrait.height, portrait.width)
    x, y, z = (np.empty(size, np.float32) for _ in range(3))
    rasterise(rest, depth, moved, portrait.triangles, 0, x, y, z)
    at = points.astype(int)
    landed = np.stack([x[at[:, 1], at[:, 0]], y[at[:, 1], at[:, 0]]], axis=-1)
    return np.where(landed == OUTSIDE, -1.0, landed).astype(np.float64)


def _read(clip: Path) -> tuple[list[np.ndarray], list[np.ndarray | None]]:
    """Frames and landmarks of a clip."""
    import av

    with av.open(str(clip)) as container, FaceTracker() as tracker:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        return frames, [tracker.track(frame) for frame in frames]


def fit(observations: Sequence[np.ndarray], base: OuterTables) -> OuterTables:
    """The tables that explain the rows of `observe` best; where little was seen, `base`."""
    # each clip counts the same in a cell, however much of it falls there
    rows = np.concatenate(observations)
    clip = np.concatenate([np.full(len(r), i) for i, r in enumerate(observations)])
    u, v = np.abs(rows[:, 0]), rows[:, 1]
    fitted = np.stack([base.follow, base.turn, base.depth]).astype(np.float64)
    trust = np.zeros((len(VS), len(US)))
    for i, v0 in enumerate(VS):
        for j, u0 in enumerate(US):
            near = (np.abs(u - u0) < CELL) & (np.abs(v - v0) < CELL)
            clips = np.bincount(clip[near], minlength=len(observations))
            if clips.sum() < 100:
                continue
            weight = 1.0 / clips[clip[near]]
            start = np.array([base.follow[i, j], base.turn[i, j], base.turn[i, j] * base.depth[i, j]], np.float64)
            follow, turn, turn_depth = _robust(rows[near], weight, start)
            fitted[:, i, j] = (
                np.clip(follow, 0.0, 1.1),
                np.clip(turn, 0.0, 1.1),
                np.clip(turn_depth / turn, -0.2, 0.9) if turn > 0.2 else base.depth[i, j],
            )
            trust[i, j] = min(1.0, (clips > 20).sum() / 4.0)
    plain = (base.follow, base.turn, base.depth)
    return _tables(*(_smooth(table, trust, start) for table, start in zip(fitted, plain, strict=True)))


def _robust(rows: np.ndarray, weight: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Least squares with weights 1 / |residual|, drawn to `start`."""
    design = np.concatenate([rows[:, [2, 4, 6]], rows[:, [3, 5, 7]]])
    target = np.concatenate([rows[:, 8], rows[:, 9]])
    share = np.concatenate([weight, weight])
    w = share.copy()
    found = start
    for _ in range(10):
        gram = (design * w[:, None]).T @ design
        pull = np.diag(PULL * 2e-4 * w.sum())
        found = np.linalg.solve(gram + pull, (design * w[:, None]).T @ target + pull @ start)
        w = share / np.maximum(np.abs(target - design @ found), 0.01)
    return found


def _smooth(table: np.ndarray, trust: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Average of trusted neighbours; towards `base` where there are none."""
    weight = trust + 0.02
    values = np.where(trust > 0, table, base) * weight

    def blur(a: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(a, (0, 0), 0.9, borderType=cv2.BORDER_REFLECT)

    return blur(values) / blur(weight)


def error(rows: np.ndarray, tables: OuterTables) -> float:
    """Mean distance between where points go and where the tables put them, in thousandths of a face height."""
    follow, turn, depth = (
        tables.sample(t, rows[:, 0], rows[:, 1])[:, None] for t in (tables.follow, tables.turn, tables.depth)
    )
    moved = follow * rows[:, 2:4] + turn * (rows[:, 4:6] + depth * rows[:, 6:8])
    return 1000.0 * float(np.linalg.norm(rows[:, 8:10] - moved, axis=1).mean())


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the clips, fit, print the errors, write the file."""
    parser = argparse.ArgumentParser(description="Fit how hair, neck and shoulders follow the head.")
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=2, help="the fit is repeated from its own result (2)")
    options = parser.parse_args(arguments)
    base = prior()
    tables = base
    for _ in range(options.rounds):
        outer_module.outer_tables = lambda current=tables: current  # type: ignore[assignment]
        seen = [observe(clip) for clip in options.clips]
        tables = fit(seen, base)
        for k, clip in enumerate(options.clips):
            others = fit(seen[:k] + seen[k + 1 :], base)
            print(f"{clip.name}: prior {error(seen[k], base):.1f}, others' fit {error(seen[k], others):.1f},"
                  f" fit {error(seen[k], tables):.1f} thousandths of a face height")  # fmt: skip
    with replacing(options.output) as at:
        np.savez_compressed(at, **{name: getattr(tables, name) for name in OuterTables.__slots__})
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()
