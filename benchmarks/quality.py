"""How good the pictures are: self- and cross-reenactment on given clips and portraits, beside two baselines.

Definitions follow section 4 of Motion Transformer (L1, AKD, MKR, AED) and are spelled out in benchmarks/README.md.
Everything is compared at 256 px. `--plot` writes contact sheets: PATH and, beside it, one with "-cross" in its name
(each portrait by each driver) and one with "-worst": the ten frames of cross-reenactment that are farthest off,
driver above avatar. They are named in the notes with their badness: the sum of their errors, each over what is usual.

  python -m benchmarks quality --engine mesh --json quality.json --plot quality.png
  python -m benchmarks quality --clips me.mp4 you.mp4 --portraits she.png --engine mesh --engine-option size=256
  python -m benchmarks quality --before ../before    this checkout and another commit's in one run, and their costs
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from benchmarks.checkout import EngineElsewhere
from benchmarks.live.subjects import engine_options
from benchmarks.recordings import test_data_folder
from benchmarks.report.machine import ROOT, commit
from benchmarks.report.page import by_group
from benchmarks.report.result import Result
from benchmarks.report.show import cell, show_notes, target
from realtime import load_engine
from realtime.engines import Engine
from realtime.errors import BadFile, BadPortrait
from realtime.measures import baselines, reenactment
from realtime.measures.faces import FaceReader, face_descriptor
from realtime.measures.media import (
    Clip,
    middle_square,
    read_clip,
    read_picture,
    spread,
    to_size,
)
from realtime.measures.reenactment import (
    SIDE,
    Rows,
    at_rest,
    badness,
    codes_of,
    correlation,
    cross_reenactment,
    self_reenactment,
)
from realtime.measures.sheets import sheet
from realtime.media.pictures import write_picture
from realtime.types import Frame

# name: (unit, which way is good, target, what it is)
SELF: dict[str, tuple[str, str, float | None, str]] = {
    "l1": ("", "lower", 0.036, "mean absolute difference, 0 to 1"),
    "psnr": ("dB", "higher", 24.0, "peak signal-to-noise ratio"),
    "ssim": ("", "higher", None, "structural similarity"),
    "ms_ssim": ("", "higher", 0.875, "structural similarity, five scales"),
    "face_l1": ("", "lower", None, "mean absolute difference inside the face oval"),
    "akd": ("px", "lower", 1.0, "average keypoint distance, 478 landmarks"),
    "lips": ("px", "lower", 0.95, "average keypoint distance, lips"),
    "iris": ("px", "lower", 0.95, "average keypoint distance, irises"),
    "mkr": ("", "lower", None, "missing keypoint rate"),
    "aed": ("", "lower", None, "average Euclidean distance of HOG + LBP face descriptors"),
    "fold": ("%", "lower", None, "pixels of the face where the picture folds over"),
    "no_face": ("", "lower", None, "driving frames in which the engine found no face"),
}
CROSS: dict[str, tuple[str, str, float | None, str]] = {
    "pose": ("deg", "lower", 1.4, "angle between the driver's and the portrait's head turn"),
    "pose_axis": ("deg", "lower", None, "the same, mean of nod, shake and tilt"),
    "mouth": ("fh", "lower", None, "error of the lip gap, in face heights"),
    "mouth_r": ("", "higher", 0.95, "correlation of the lip gap"),
    "eye": ("", "lower", 0.09, "error of the eye opening, 1 = as open as at the start"),
    "eye_r": ("", "higher", None, "correlation of the eye opening"),
    "gaze": ("eye w.", "lower", None, "error of the gaze, in eye widths"),
    "gaze_r": ("", "higher", None, "correlation of the sideways gaze"),
    "zoom": ("%", "lower", None, "error of the head's size"),
    "drift": ("% fh", "lower", None, "change of the skull's shape, in face heights"),
    "drift_driver": ("% fh", "", None, "the same reading of the real driver: what the landmarks themselves add"),
    "identity": ("", "lower", None, "distance of HOG + LBP face descriptors to the portrait at rest"),
    "fold": ("%", "lower", None, "pixels of the face where the picture folds over"),
    "mkr": ("", "lower", None, "pictures in which no face is found any more"),
}
REST: dict[str, tuple[str, str, float | None, str]] = {
    "psnr": ("dB", "higher", 42.0, "the portrait against its picture at rest"),
    "jitter": ("px", "lower", 0.08, "trembling with a noisy driver who does not move, face 110 px high"),
    "jitter_raw": ("px", "", None, "the same reading of the noisy driver"),
    "flicker": ("/255", "lower", None, "mean change of a pixel meanwhile"),
}
BEFORE = "before"
"""What the engine of another checkout is called."""
WARM = 5
"""Frames of a portrait that are not timed."""
WORST = 10
"""Frames of cross-reenactment that are shown as the worst."""
TURNS = ((0, 5), (5, 10), (10, 15), (15, 20), (20, 30), (30, 90))


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `quality`."""
    parser.add_argument("--engine", action="append", metavar="NAME", help="may repeat; default mesh where it loads")
    parser.add_argument("--engine-option", action="append", default=[], metavar="KEY=VALUE", help="for load_engine")
    parser.add_argument("--size", type=int, default=512, help="size the engine renders at (512)")
    parser.add_argument("--clips", nargs="+", metavar="PATH", help="driving clips; default the test data's a-clips")
    parser.add_argument("--portraits", nargs="+", metavar="PATH", help="default the test data's square portraits")
    parser.add_argument("--frames", type=int, help="frames compared per clip (16; quick 6)")
    parser.add_argument("--lead", type=int, help="forget, and encode only so many frames before each (default: all)")
    parser.add_argument("--skip", nargs="+", default=[], choices=["self", "cross", "jitter", "baselines"])
    parser.add_argument("--before", metavar="FOLDER", help="a checkout of another commit (git worktree add --detach "
                        "FOLDER COMMIT), whose engine is measured in the same run, as 'before'")  # fmt: skip


def run(options: argparse.Namespace) -> Result:
    """Measure all engines and baselines on all clips and portraits."""
    baselines.register()
    clip_paths, portrait_paths = _inputs(options)
    names = list(options.engine or ["mesh"])
    before = {BEFORE: names[0]} if options.before else {}
    names = [*before, *names]
    variants = names if "baselines" in options.skip else [*baselines.BASELINES, *names]
    frames = options.frames or (6 if options.quick else 16)
    lead = options.lead if options.lead is not None else (4 if options.quick else None)
    first_frames = [read_clip(p, limit=1, square=512) for p in clip_paths]
    result = Result("quality", settings={
        "engines": names, "size": options.size, "compared at": SIDE, "frames": frames, "lead": lead,
        "engine options": options.engine_option,
        "clips": [c.name for c in first_frames], "portraits": [p.stem for p in portrait_paths],
        **({BEFORE: commit(Path(options.before))} if options.before else {}),
    })  # fmt: skip
    with FaceReader() as reader, _progress() as progress:
        for name in variants:
            extra = {} if name in baselines.BASELINES else engine_options(options.engine_option)
            engine = _engine(options, before, name, extra)
            try:
                with_tick = _Tick(progress, name)
                if "self" not in options.skip:
                    _measure_self(result, engine, name, clip_paths, frames, lead, reader, with_tick)
                if "cross" not in options.skip:
                    some = clip_paths[:8]
                    _measure_cross(result, engine, name, some, portrait_paths, frames, lead, reader, with_tick)
                if "jitter" not in options.skip:
                    count = 30 if options.quick else 60
                    _measure_jitter(result, engine, name, first_frames[:4], count, reader, with_tick)
            finally:
                engine.close()
        _descriptor_scale(result, first_frames, reader)
        if before:
            extra = engine_options(options.engine_option)
            with ExitStack() as stack:
                engines = {}
                for name, checkout in ((BEFORE, Path(options.before)), (before[BEFORE], ROOT)):
                    # each in a process of its own: in this one the reader's network and threads count as well
                    engines[name] = EngineElsewhere(checkout, before[BEFORE], size=options.size, **extra)
                    stack.callback(engines[name].close)
                _measure_cost(
                    result, engines, clip_paths[0], portrait_paths, frames, _Tick(progress, "processor time")
                )
    return result


def _engine(options: argparse.Namespace, before: dict[str, str], name: str, extra: dict[str, Any]) -> Any:
    """The engine of that name, or the one it stands for in another checkout."""
    if name in before:
        return EngineElsewhere(Path(options.before), before[name], size=options.size, **extra)
    return load_engine(name, size=options.size, **extra)


def _measure_cost(
    result: Result,
    engines: dict[str, EngineElsewhere],
    driver: Path,
    portraits: Sequence[Path],
    frames: int,
    tick: _Tick,
) -> None:
    """Processor time of both engines in turn, frame by frame, so that a busy machine slows both. Three portraits from
    all over the list; frames without a face show the portrait itself."""
    portraits = portraits[:: max(1, len(portraits) // 3)][:3]
    clip = read_clip(driver, limit=frames + WARM, square=512)
    tick.start("portraits and frames", len(portraits) * (len(clip.frames) - WARM))
    spent: dict[tuple[str, str], list[float]] = {}
    codes: dict[str, Any] = {}

    def timed(name: str, what: str, call: Callable[[], Any]) -> Any:
        out = call()
        spent.setdefault((name, what), []).append(1e3 * engines[name].seconds)
        return out

    for path in portraits:
        picture = read_picture(path)
        try:
            for name, engine in engines.items():
                timed(name, "prepare", partial(engine.set_portrait, picture))
        except BadPortrait as error:
            result.notes.append(f"processor time: {path.name}: {error.reason}")
            continue
        for index, image in enumerate(clip.frames):
            for name, engine in engines.items():
                frame = Frame(image, captured=index / 30, index=index, pts=index / 30)
                code = timed(name, "encode", partial(engine.encode, frame))
                codes[name] = code or codes.get(name) or engine.portrait_code
                engine.reference = engine.reference or code
                timed(name, "render", partial(engine.render, codes[name]))
            if index < WARM:
                for name in engines:
                    spent[name, "encode"].pop(), spent[name, "render"].pop()
            else:
                tick()
    for (name, what), times in ((key, times) for key, times in spent.items() if times):
        result.add(f"cost.{name}.{what}", float(np.median(times)), "ms", samples=times, better="lower",
                   about=f"processor time to {what}, both engines in turn")  # fmt: skip


def _measure_self(
    result: Result, engine: Engine, name: str, paths: Sequence[Path], frames: int, lead: int | None,
    reader: FaceReader, tick: _Tick,
) -> None:  # fmt: skip
    tick.start("self-reenactment", len(paths) * frames)
    per_clip: list[Rows] = []
    for path in paths:  # one clip in memory at a time
        clip = read_clip(path, square=512)
        try:
            per_clip.append(self_reenactment(engine, clip, frames, reader, lead, tick))
        except BadPortrait as error:
            result.notes.append(f"{name}: {clip.name}, first frame: {error.reason}")
    for key, (unit, better, goal, about) in SELF.items():
        samples = [_self_value(rows, key) for rows in per_clip]
        goal = goal if name not in baselines.BASELINES else None
        result.add(f"self.{name}.{key}", None, unit, samples=samples, better=better, target=goal, about=about)
    everything = [r for rows in per_clip for r in rows.rows]
    for lo, hi in TURNS:
        there = [r for r in everything if lo <= r.get("turn", -1) < hi]
        for key in ("l1", "akd"):
            values = [r[key] for r in there if key in r]
            result.add(f"turn.{name}.{lo}-{hi}.{key}", None, SELF[key][0], samples=values, better="lower",
                       about=f"head turned {lo} to {hi} degrees from the portrait; {len(values)} frames")  # fmt: skip
    result.pictures[f"self.{name}"] = np.stack(
        [np.stack([np.stack(pair) for pair in _some(rows.pictures, 6)]) for rows in per_clip]
    ) if per_clip else np.zeros(0)  # fmt: skip


def _self_value(rows: Rows, key: str) -> float:
    if key == "no_face":
        return rows.missed / max(1, len(rows.rows))
    scale = 100 if key == "fold" else 1
    return scale * rows.mean({"mkr": "missing"}.get(key, key))


def _measure_cross(
    result: Result, engine: Engine, name: str, paths: Sequence[Path], portraits: Sequence[Path], frames: int,
    lead: int | None, reader: FaceReader, tick: _Tick,
) -> None:  # fmt: skip
    count = max(4, frames // 2)
    tick.start("drivers", len(paths) * (count + 1))
    drivers, codes = [], []
    for path in paths:  # of each clip only the frames that are looked at stay in memory
        clip = read_clip(path, square=512)
        wanted = [0, *spread(len(clip.frames), count)]
        found = codes_of(engine, clip, wanted, lead, tick)
        drivers.append(Clip(clip.name, [clip.frames[k] for k in wanted], clip.fps))
        codes.append(dict(enumerate(found.values())))
    tick.start("cross-reenactment", len(portraits) * len(drivers))
    per_pair: list[Rows] = []
    names: list[str] = []
    rest_psnr: list[float] = []
    shown: list[np.ndarray] = []
    for path in portraits:
        portrait = read_picture(path)
        try:
            engine.set_portrait(portrait)
        except BadPortrait as error:
            result.notes.append(f"{name}: {path.name}: {error.reason}")
            for _ in drivers:
                tick()
            continue
        rest, _, psnr = at_rest(engine, portrait, reader)
        rest_psnr.append(psnr)
        row = [rest]
        for driver, code in zip(drivers, codes, strict=True):
            per_pair.append(cross_reenactment(engine, driver, code, rest, reader))
            names.append(f"{path.stem} by {driver.name}")
            row.append(per_pair[-1].pictures[len(row) % len(per_pair[-1].pictures)][1])
            tick()
        shown.append(np.stack(row))
    for key, (unit, better, goal, about) in CROSS.items():
        goal = goal if name not in baselines.BASELINES else None
        samples = [_cross_value(rows, key) for rows in per_pair]
        result.add(f"cross.{name}.{key}", None, unit, samples=samples, better=better, target=goal, about=about)
    unit, better, goal, about = REST["psnr"]
    goal = goal if name not in baselines.BASELINES else None
    result.add(f"rest.{name}.psnr", None, unit, samples=rest_psnr, better=better, target=goal, about=about)
    if shown:
        result.pictures[f"cross.{name}"] = np.stack([_heads(drivers), *shown])
        _name_worst(result, name, names, per_pair)


def _name_worst(result: Result, engine: str, names: Sequence[str], per_pair: Sequence[Rows]) -> None:
    """Keep the frames that are farthest off, the worst first, and say which they are."""
    everything = [
        (badness(row), name, rows, row) for name, rows in zip(names, per_pair, strict=True) for row in rows.rows
    ]
    worst = sorted(everything, key=lambda entry: -entry[0])[:WORST]
    pictures = []
    for k, (score, name, rows, row) in enumerate(worst, 1):
        pictures.append(np.stack(rows.pictures[int(row["shown"])]))
        errors = {"pose": row.get("pose"), "gaze": row.get("gaze"), "fold": row.get("fold")}
        errors |= {p: row[f"{p}_got"] - row[f"{p}_want"] for p in ("mouth", "eye") if f"{p}_got" in row}
        listed = ", ".join(f"{part} {error:.3g}" for part, error in errors.items() if error is not None)
        result.notes.append(
            f"{engine}, worst {k}: {name}, look {int(row['shown']) + 1}: badness {score:.1f} ({listed or 'no face'})"
        )
    if pictures:
        result.pictures[f"worst.{engine}"] = np.stack(pictures)


def _heads(drivers: Sequence[Clip]) -> np.ndarray:
    """The driving frames above the columns of the contact sheet: after a white one, one of each driver."""
    frames = [d.frames[1 + (k + 1) % (len(d.frames) - 1)] for k, d in enumerate(drivers)]
    small = [to_size(f, SIDE) for f in frames]
    return np.stack([np.full_like(small[0], 255), *small])


def _cross_value(rows: Rows, key: str) -> float:
    if key in {"mouth_r", "eye_r", "gaze_r"}:
        part = key.removesuffix("_r")
        return correlation(rows.rows, f"{part}_want", f"{part}_got", {"mouth": 0.01, "eye": 0.08, "gaze": 0.02}[part])
    if key in {"mouth", "eye"}:
        values = [abs(r[f"{key}_want"] - r[f"{key}_got"]) for r in rows.rows if f"{key}_want" in r]
        return float(np.mean(values)) if values else float("nan")
    scale = 100 if key in {"fold", "zoom"} else 1
    return scale * rows.mean({"mkr": "missing"}.get(key, key))


def _measure_jitter(
    result: Result, engine: Engine, name: str, chosen: Sequence[Clip], count: int, reader: FaceReader, tick: _Tick
) -> None:
    tick.start("jitter", len(chosen))
    seen = []
    for clip in chosen:
        try:
            seen.append(reenactment.jitter(engine, clip, count, reader))
        except BadPortrait as error:
            result.notes.append(f"{name}: {clip.name}, first frame: {error.reason}")
        tick()
    for key, source in (("jitter", "jitter"), ("jitter_raw", "raw"), ("flicker", "flicker")):
        unit, better, goal, about = REST[key]
        goal = goal if name not in baselines.BASELINES else None
        samples = [s[source] for s in seen]
        result.add(f"rest.{name}.{key}", None, unit, samples=samples, better=better, target=goal, about=about)


def _descriptor_scale(result: Result, clips: Sequence[Clip], reader: FaceReader) -> None:
    """How far the face descriptor is between different people: what AED and identity are to be read against."""
    found = []
    for clip in clips:
        image = to_size(middle_square(clip.frames[0]), SIDE)
        points = reader.read(image)
        if points is not None:
            found.append(face_descriptor(image, points))
    apart = [float(np.linalg.norm(a - b)) for i, a in enumerate(found) for b in found[:i]]
    result.add("descriptor.between_people", None, samples=apart, about="face descriptor: first frames of two clips")


def show(result: Result, console: Console) -> None:
    """One table per question, one column per engine, the targets beside."""
    engines = [*baselines.BASELINES, *result.settings["engines"]]
    engines = [e for e in dict.fromkeys(engines) if any(f.name.split(".")[1] == e for f in result.figures)]
    last = result.settings["engines"][-1]
    amount = f"{len(result.settings['clips'])} clips x {result.settings['frames']} frames"
    for prefix, title, keys in (
        ("self", f"self-reenactment, {amount}", SELF),
        ("cross", "cross-reenactment", CROSS),
        ("rest", "at rest", REST),
    ):
        table = Table("", *engines, "target", "", title=title, title_justify="left")
        for key, (unit, _, _, about) in keys.items():
            row = [result.get(f"{prefix}.{e}.{key}") for e in engines]
            if any(row):
                about = f"{unit + ': ' if unit else ''}{about}"
                table.add_row(key, *(cell(f) for f in row), target(result.get(f"{prefix}.{last}.{key}")), about)
        if table.row_count:
            console.print(table)
    costs = Table("", *engines, title="processor time, ms", title_justify="left")
    for what in ("prepare", "encode", "render"):
        row = [result.get(f"cost.{e}.{what}") for e in engines]
        if any(row):
            costs.add_row(what, *(cell(f) for f in row))
    if costs.row_count:
        console.print(costs)
    table = Table("head turn", *engines, "frames", title="self-reenactment by head turn: L1 / AKD px")
    for lo, hi in TURNS:
        pairs = [[result.get(f"turn.{e}.{lo}-{hi}.{k}") for k in ("l1", "akd")] for e in engines]
        if any(p[0] and p[0].samples for p in pairs):
            texts = [f"{cell(a)} / {cell(b)}" for a, b in pairs]
            table.add_row(f"{lo}-{hi} deg", *texts, str(max(len(p[0].samples) for p in pairs if p[0])))
    if table.row_count:
        console.print(table)
    scale = result.get("descriptor.between_people")
    if scale and scale.value is not None:
        console.print(f"face descriptor distance between different people: {cell(scale)}", highlight=False)
    show_notes(result, console)


split = by_group


def figure(result: Result) -> Any:
    """Error over the head's turn, one line per engine."""
    from benchmarks.report.figures import quality_figure

    return quality_figure(result, TURNS)


def plot(result: Result, path: str) -> None:
    """Contact sheets: self-reenactment (true frame above rendered, one row pair per clip), and cross-reenactment."""
    place = Path(path)
    for name in result.settings["engines"]:
        tag = "" if len(result.settings["engines"]) == 1 else f"-{name}"
        pictures = result.pictures.get(f"self.{name}")
        if pictures is not None and pictures.size:
            rows = [list(clip[:, side]) for clip in pictures for side in (0, 1)]
            write_picture(place.with_stem(place.stem + tag), sheet(rows, side=192))
        pictures = result.pictures.get(f"cross.{name}")
        if pictures is not None:
            write_picture(place.with_stem(place.stem + tag + "-cross"), sheet([list(r) for r in pictures], side=192))
        worst = result.pictures.get(f"worst.{name}")
        if worst is not None:
            rows = [list(worst[:, side]) for side in (0, 1)]
            write_picture(place.with_stem(place.stem + tag + "-worst"), sheet(rows, side=256))


def _some(items: list, count: int) -> list:
    return [items[round(k)] for k in np.linspace(0, len(items) - 1, min(count, len(items)))]


def _inputs(options: argparse.Namespace) -> tuple[list[Path], list[Path]]:
    clips, portraits = options.clips, options.portraits
    if clips is None or portraits is None:
        data = test_data_folder()
        if data is None and clips is None:
            raise BadFile("driving clips", "none are at hand: name some with --clips, or set AVATAR_TEST_DATA")
        if data is not None:
            clips = clips or sorted((data / "clips").glob("a*.mp4"))
            portraits = portraits or sorted((data / "portraits").glob("*.png"))
    clips, portraits = [Path(p) for p in clips], [Path(p) for p in portraits or []]
    return (clips[:3], portraits[:3]) if options.quick and options.clips is None else (clips, portraits)


def _progress() -> Progress:
    columns = (TextColumn("{task.description:28s}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


class _Tick:
    """Moves a progress bar on by one when called."""

    def __init__(self, progress: Progress, engine: str) -> None:
        self._progress, self._engine = progress, engine
        self._task: Any = None

    def start(self, what: str, total: int) -> None:
        """Begin a new bar."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(f"{self._engine}: {what}", total=total)

    def __call__(self) -> None:
        self._progress.advance(self._task)
