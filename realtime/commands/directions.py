"""`avatar directions`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from realtime.commands import options as o
from realtime.commands.terminal import progress, say_warnings
from realtime.engines import Engine
from realtime.engines.choose import BUILTIN, engine_settings, make_engine, read_portrait
from realtime.errors import BadValue
from realtime.media.pictures import check_picture_target, write_picture
from realtime.sinks.file import CONTAINERS
from realtime.types import Direction


def command(
    engine: o.EngineName = "auto",
    portrait: o.Portrait = BUILTIN,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Draw a contact sheet into this picture, or a sweep into this video."),
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="A part (head, eyes, gaze, brows, mouth, cheeks, body) or a direction.")
    ] = None,
    flow: Annotated[
        bool, typer.Option("--flow", help="With -o: heat maps of what each direction moves, and how much of it.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    size: o.Size = "512",
    weights: o.Weights = None,
    device: o.Device = "auto",
) -> None:
    """What can be edited: the motion dictionary, as a table, and as a sheet with each direction at five values.

    [b]Examples[/b]

      avatar directions

      avatar directions --only mouth --portrait me.jpg -o mouth.png

      avatar directions --only smile --portrait me.jpg -o smile.mp4

      avatar directions --portrait me.jpg --flow -o flow.png

      avatar directions --json
    """
    settings = o.whole_picture(engine_settings(engine, size, weights, device))
    if flow and output is None:
        raise BadValue("--flow", "without -o", "name the picture to draw, as in -o flow.png")
    video = output is not None and output.suffix.lower() in CONTAINERS
    if video and flow:
        raise BadValue("--flow", output, "it draws a picture: .png, .jpg or .webp")
    if output is not None and not video:
        check_picture_target(output)
    picture = read_portrait(portrait) if output is not None else None
    loaded = make_engine(settings, picture)
    try:
        say_warnings(loaded)
        chosen = [d for d in loaded.directions if only is None or only in (d.group, d.name)]
        if not chosen:
            parts = ", ".join(sorted({d.group for d in loaded.directions}))
            raise BadValue("--only", only, f"one of {parts}, or the name of a direction")
        if as_json:
            print(json.dumps([_as_json(d) for d in chosen], indent=2))
        else:
            _print_table(chosen)
        named = [d for d in chosen if d.named] or chosen
        if output is not None and video:
            _animate(loaded, named, output)
        elif output is not None:
            _draw(loaded, chosen if flow else named, output, flow)
    finally:
        loaded.close()


def _draw(engine: Engine, directions: list[Direction], output: Path, flow: bool) -> None:
    from realtime.sheets.contact import direction_sheet
    from realtime.sheets.flow import flow_sheet, measure

    with progress() as bar:
        task = bar.add_task("drawing", total=len(directions), speed="")
        if flow:
            sheet = flow_sheet(engine, measure(engine, directions, on_one=lambda: bar.advance(task)))
        else:
            sheet = direction_sheet(engine, directions, on_row=lambda: bar.advance(task))
    write_picture(output, sheet)
    print(f"{output}: {len(directions)} directions {'and what they move' if flow else 'at five values'}")


def _animate(engine: Engine, directions: list[Direction], output: Path) -> None:
    from realtime.sheets.sweep import sweep_amounts, write_sweep

    with progress() as bar:
        task = bar.add_task("drawing", total=sum(len(sweep_amounts(d)) for d in directions), speed="")
        frames = write_sweep(engine, directions, output, on_one=lambda: bar.advance(task))
    print(f"{output}: {len(directions)} directions swept, {frames} frames")


def _as_json(direction: Direction) -> dict[str, object]:
    return {
        "name": direction.name,
        "index": direction.index,
        "lo": direction.lo,
        "hi": direction.hi,
        "unit": direction.unit,
        "group": direction.group,
        "about": direction.about,
        "named": direction.named,
    }


def _print_table(directions: list[Direction]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "from", "to", "part", "what a person sees", box=None, pad_edge=False)
    for d in directions:
        table.add_row(d.name, f"{d.lo:g}{d.unit}", f"{d.hi:g}{d.unit}", d.group, d.about)
    console = Console()
    Console(width=None if console.is_terminal else 140).print(table)
