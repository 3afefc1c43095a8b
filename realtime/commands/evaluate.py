"""`avatar evaluate`."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from realtime.commands import options as o
from realtime.commands.terminal import progress, say
from realtime.engines.choose import engine_settings, make_engine
from realtime.errors import BadValue, MissingExtra
from realtime.families import builtin
from realtime.media.pictures import check_folder_of, check_picture_target, write_picture
from realtime.outputs import write_whole

if TYPE_CHECKING:
    from realtime.training.evaluate import Table

MEASURED = builtin()
"""The engine that is measured where none is named."""


def command(
    clips: Annotated[list[Path] | None, typer.Argument(help="Clips of faces, each its own ground truth.")] = None,
    engine: o.EngineName = MEASURED,
    weights: o.Weights = None,
    portrait: Annotated[
        list[Path] | None, typer.Option(help="Also drive this portrait by every clip (cross-reenactment). Repeats.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option(help="A training run: measure it on the frames that it held out.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The run's cropped frames, if not in its folder.")] = None,
    frames: Annotated[
        int,
        typer.Option(
            min=0,
            help="Frames compared per clip, spread evenly, or scenes of drawn characters; 0: all, or 128.",
        ),
    ] = 0,
    size: o.Size = "256",
    device: o.Device = "auto",
    still: Annotated[bool, typer.Option("--still/--no-still", help="Beside it, a portrait that never moves.")] = True,
    output: Annotated[Path | None, typer.Option("--json", help="Write the tables here.")] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Write a contact sheet here: true frames above made ones.")
    ] = None,
    quiet: o.Quiet = False,
) -> None:
    """Measure an engine as the papers do: L1, AKD, MKR and AED, per clip and in
    all.

    Reconstruction: the first frame of a clip is the portrait, the clip drives
    it, and its own frames are what should come out. Cross-reenactment
    (--portrait): a clip drives somebody else, relative to its first frame;
    there is no true picture, so head turn, mouth, eyes and identity are
    compared.

    A run of unimotion (--run) is measured on characters that it was not trained
    on, driven by others: keypoints, hands, face, and whose picture it is.

    [b]Examples[/b]

      avatar evaluate clips/*.mp4 --engine mesh --frames 32

      avatar evaluate a.mp4 --engine motrans --weights runs/face/weights.safetensors --portrait p.png

      avatar evaluate --run runs/face --json held-out.json --sheet held-out.png
    """
    if not clips and run is None:
        raise BadValue("CLIPS", "", "give clips to measure on, or a training run with --run")
    if size.round or not isinstance(size.size, int):
        given = "round" if size.round else "x".join(map(str, size.size))
        raise BadValue("--size", given, "squares are compared: one number, as in 256")
    if output is not None:
        check_folder_of(output)
    if sheet is not None:
        check_picture_target(sheet)
    from realtime.measures.faces import FaceReader

    shown: list[list[Any]] = []
    drawn = _drawn(run)
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(progress(quiet))
        task = bar.add_task("measuring", total=None, speed="")

        def tick() -> None:
            bar.advance(task)

        if drawn is not None:
            tables = _of_drawn(drawn, frames, tick, shown)
        elif run is not None:
            tables = _of_run(run, data, frames, stack.enter_context(FaceReader()), tick, shown)
        else:
            reader = stack.enter_context(FaceReader())
            settings = engine_settings(engine, size, weights, device)
            names = ["still"] if still else []
            tables = _of_engine(clips or [], portrait or [], settings, names, frames, reader, tick, shown)
    _print(tables)
    if output is not None:
        write_whole(output, json.dumps([t.plain() for t in tables], indent=1) + "\n")
    if sheet is not None and shown:
        from realtime.measures.sheets import sheet as page

        write_picture(sheet, page(shown, 160))


def _drawn(run: Path | None) -> Path | None:
    """The folder, where the run's system draws what it is trained on. Raises BadFile, BadValue, MissingExtra."""
    if run is None:
        return None
    try:
        from realtime.training.config import DRAWN, TrainConfig
        from realtime.training.run_folder import RunFolder
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtra("a training run", "torch", "train") from error
    folder = RunFolder(run)
    return folder.path if TrainConfig.read(folder.config).system in DRAWN else None


def _of_drawn(run: Path, scenes: int, tick: Any, shown: list[list[Any]]) -> list[Table]:
    from realtime.training.evaluate_scenes import measure_run

    tables, rows = measure_run(run, scenes, tick)
    shown += rows
    return tables


def _of_run(run: Path, data: Path | None, frames: int, reader: Any, tick: Any, shown: list[list[Any]]) -> list[Table]:
    try:
        from realtime.training import evaluate

        ours, still, rows = evaluate.held_out(run, data, frames, reader, tick)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtra("a training run", "torch", "train") from error
    shown += rows
    return [still, ours]


def _of_engine(
    paths: list[Path], portraits: list[Path], settings: Any, baselines: list[str], frames: int, reader: Any,
    tick: Any, shown: list[list[Any]],
) -> list[Table]:  # fmt: skip
    from realtime.measures.baselines import StillEngine
    from realtime.training import evaluate

    clips = evaluate.open_clips(paths)
    tables = []
    if baselines:
        tables.append(evaluate.reconstruct(StillEngine(settings.size), clips, frames, reader, tick, []))
    made = make_engine(settings)
    try:
        tables.append(evaluate.reconstruct(made, clips, frames, reader, tick, shown))
        if portraits:
            tables.append(evaluate.cross(made, clips, portraits, frames, reader, tick, shown))
    finally:
        made.close()
    return tables


def _print(tables: list[Table]) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable

    from realtime.measures.sheets import number

    console = Console()
    for table in tables:
        shown = RichTable("", "frames", *table.columns, title=table.title, title_justify="left")
        for name, frames, values in table.rows:
            cells = [number(None if v != v else v) for v in (values[c] for c in table.columns)]
            shown.add_row(name, str(frames), *cells, style="bold" if name == "all" else None)
        console.print(shown)
        for note in table.notes:
            say(f"! {note}")
