"""Faults put in on purpose: how long until they are noticed, until all is well again, and what is lost.

Each fault is a row. "noticed" ends when those concerned can see it: the picture rests, a sentence is said, the
command ends. "recovered" is counted from the end of the fault to the picture that is driven again. What cannot be
tried here is a row with the reason.

  python -m benchmarks chaos --json chaos.json
  python -m benchmarks chaos --only attack --minutes 10     everything hostile at once beside one honest caller
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.live import fault_machine, fault_network, fault_sources
from benchmarks.live.fault_attack import mixed_attack
from benchmarks.live.faults import Outcome, Plan
from benchmarks.report.page import by_group
from benchmarks.report.result import Result
from benchmarks.report.show import show_notes
from realtime.errors import BadValue
from realtime.measures.sheets import number

FAULTS: dict[str, Callable[[Plan], Outcome]] = {
    "camera stalls": fault_sources.stalls(fault_sources.camera, "the camera"),
    "camera leaves": fault_sources.leaves(fault_sources.camera, "the camera"),
    "camera resized": fault_sources.resized,
    "mjpeg stalls": fault_sources.stalls(fault_sources.mjpeg, "the MJPEG server"),
    "mjpeg leaves": fault_sources.leaves(fault_sources.mjpeg, "the MJPEG server"),
    "rtsp stalls": fault_sources.with_rtsp(fault_sources.stalls(fault_sources.rtsp, "the RTSP server")),
    "rtsp leaves": fault_sources.with_rtsp(fault_sources.leaves(fault_sources.rtsp, "the RTSP server")),
    "growing file": fault_sources.growing_file,
    "fifo": fault_sources.fifo,
    "caller stopped": fault_network.caller_stopped,
    "server stopped": fault_network.server_stopped,
    "network cut": fault_network.cut,
    "network loss": fault_network.loss,
    "full disk": fault_machine.full_disk,
    "no home": fault_machine.no_home,
    "one port": fault_machine.one_port,
    "clock off": fault_machine.clock_off,
    "clock jumps": fault_machine.clock_jumps,
    "attack": mixed_attack,
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `chaos`."""
    parser.add_argument("--only", nargs="+", metavar="FAULT", help=f"of: {', '.join(FAULTS)}")
    parser.add_argument("--minutes", type=float, default=1.0, help="of the mixed attack (1)")
    parser.add_argument("--size", type=int, default=512, help="size of the avatar's picture (512)")


def run(options: argparse.Namespace) -> Result:
    """Every fault, one after the other. Raises BadValue."""
    for name in options.only or []:
        if name not in FAULTS:
            raise BadValue("--only", name, f"one of {', '.join(FAULTS)}")
    minutes = min(options.minutes, 0.3) if options.quick else options.minutes
    chosen = options.only or list(FAULTS)
    plan = Plan(size=options.size, attack_s=60 * minutes)
    result = Result("chaos", settings={"size": options.size, "minutes of attack": minutes, "faults": chosen})
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("chaos", total=len(chosen))
        for name in chosen:
            progress.update(task, description=name)
            add(result, name, tried(functools.partial(FAULTS[name], plan)))
            progress.advance(task)
    return result


def tried(fault: Callable[[], Outcome]) -> Outcome:
    """What came of it; a fault that ends what it should not have ended is a row, too."""
    try:
        return fault()
    except Exception as error:  # whatever breaks here must not take the other rows with it
        return Outcome(injected="see what is lost", lost=f"{type(error).__name__}: {error}", held=False)


def add(result: Result, name: str, outcome: Outcome) -> None:
    """One row."""
    result.settings.setdefault("rows", {})[name] = {
        "injected": outcome.injected, "lost": outcome.lost, "skipped": outcome.skipped,
    }  # fmt: skip
    if outcome.skipped:
        return
    if outcome.noticed is not None:
        result.add(f"{name}.noticed", outcome.noticed, "s", better="lower")
    if outcome.recovered is not None:
        result.add(f"{name}.recovered", outcome.recovered, "s", better="lower", target=outcome.recovers_within)
    result.add(f"{name}.held", float(outcome.held), better="higher", target=1, about=outcome.lost)
    for what, (value, unit, target) in outcome.figures.items():
        result.add(f"{name}.{what}", value, unit, better="higher" if target is not None else "", target=target)


def passed(result: Result) -> bool:
    """Every fault was survived as it should be."""
    return all(figure.met is not False for figure in result.figures)


def show(result: Result, console: Console) -> None:
    """One row per fault."""
    table = Table("fault", "injected", "noticed, s", "recovered, s", "lost", "", title="chaos")
    for name, row in result.settings["rows"].items():
        if row["skipped"]:
            table.add_row(name, row["injected"], "", "", f"skipped: {row['skipped']}", "")
            continue
        noticed, recovered, held = (result.get(f"{name}.{part}") for part in ("noticed", "recovered", "held"))
        well = held.met and (recovered is None or recovered.met is not False)
        times = (number(f.value) if f is not None else "" for f in (noticed, recovered))
        table.add_row(name, row["injected"], *times, row["lost"], "[green]held[/]" if well else "[red]not held[/]")
    console.print(table)
    for figure in result.figures:
        if figure.name.rpartition(".")[2] not in {"noticed", "recovered", "held"}:
            mark = " [red](too few)[/]" if figure.met is False else ""
            console.print(f"{figure.name.replace('.', ': ', 1)}: {number(figure.value)} {figure.unit}{mark}",
                          highlight=False)  # fmt: skip
    show_notes(result, console)


split = by_group
