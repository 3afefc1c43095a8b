"""Results as tables in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.report.result import Figure, Result
from realtime.measures.sheets import number


def cell(figure: Figure | None) -> Text:
    """A figure's value, green where it meets its target and red where it misses it."""
    if figure is None:
        return Text("")
    style = {True: "green", False: "red", None: ""}[figure.met]
    return Text(number(figure.value), style=style)


def target(figure: Figure | None) -> str:
    """The figure's target with its sense, "" where it has none."""
    if figure is None or figure.target is None:
        return ""
    return ("≤ " if figure.better == "lower" else "≥ ") + number(figure.target)


def show_figures(result: Result, console: Console) -> None:
    """Every figure, one per row."""
    table = Table("figure", "value", "unit", "target", title=f"{result.benchmark} ({result.seconds:.0f} s)")
    for figure in result.figures:
        table.add_row(figure.name, cell(figure), figure.unit, target(figure))
    console.print(table)
    show_notes(result, console)


def show_notes(result: Result, console: Console) -> None:
    """The notes, and on which machine and commit the figures were taken."""
    for note in result.notes:
        console.print(note, style="yellow", highlight=False)
    facts = result.machine
    where = f"{facts['cpu']}, {facts['cores']} cores, Python {facts['python']}, commit {facts['commit'] or '?'}"
    console.print(where, style="dim", highlight=False)
