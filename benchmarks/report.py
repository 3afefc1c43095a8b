"""All of it as one self-contained HTML page, and what got worse since another run.

Every benchmark runs in a process of its own; one that cannot run here (no Chromium, no clips) says so in its place.

  python -m benchmarks report --quick -o report.html
  python -m benchmarks report -o report.html --json all.json             the full run, and its figures
  python -m benchmarks report -o report.html --against all.json          what changed since
  python -m benchmarks report -o report.html --from all.json             the page again, without measuring
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import BENCHMARKS, page
from benchmarks.compare import compare, other_machine
from benchmarks.machine import ROOT
from benchmarks.result import Result
from realtime.errors import BadFile, BadValue

REPORTED = ("startup", "stages", "latency", "vcam", "glass", "sessions", "quality")
TITLES = {
    "startup": "Starting, importing, switching portraits",
    "stages": "What one frame costs on one core",
    "latency": "Camera to sink",
    "vcam": "On time at the virtual camera",
    "glass": "Glass to glass",
    "sessions": "Many avatars on one server",
    "quality": "Quality of reenactment",
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `report`."""
    parser.add_argument("-o", "--output", metavar="PATH", default="report.html", help="the page (report.html)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"of {', '.join(REPORTED)}")
    parser.add_argument("--from", nargs="+", dest="taken", metavar="JSON", help="use these figures, measure nothing")
    parser.add_argument("--with", nargs="+", dest="added", default=[], metavar="JSON", help="show these results too")
    parser.add_argument("--against", metavar="JSON", help="figures of an earlier run")


def main(options: argparse.Namespace) -> int:
    """Measure, or read, then write the page. 1 where something got worse, else 0."""
    console = Console()
    old = load_all(options.against) if options.against else []
    failures: dict[str, str] = {}
    if options.taken:
        results = [r for path in options.taken for r in load_all(path)]
    else:
        results, failures = measure_all(options.only or REPORTED, options.quick, console)
    results += [r for path in options.added for r in load_all(path)]
    if options.json:
        save_all(results, options.json)
    found = compare(old, results)
    text = build(results, failures, found, other_machine(old, results), options.against or "")
    try:
        Path(options.output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadFile(options.output, f"cannot be written ({error.strerror})") from error
    console.print(f"report: {options.output} ({len(text) // 1024} KiB)", highlight=False)
    worse = [c for c in found if c.verdict == "worse"]
    for change in worse:
        console.print(f"worse: {change.benchmark} {change.name}: {change.old:.4g} to {change.new:.4g} {change.unit} "
                      f"({change.ratio:.2f}, {change.low:.2f} to {change.high:.2f})", highlight=False)  # fmt: skip
    return 1 if worse else 0


def measure_all(names: Sequence[str], quick: bool, console: Console) -> tuple[list[Result], dict[str, str]]:
    """Run each benchmark in turn; what could not run, by name, with the reason."""
    results, failures = [], {}
    for name in names:
        if name not in REPORTED:
            raise BadValue("--only", name, f"one of {', '.join(REPORTED)}")
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder) / f"{name}.json"
            command = [sys.executable, "-m", "benchmarks", name, "--json", str(path), *(["--quick"] if quick else [])]
            begun = time.monotonic()
            with console.status(f"{name} ..."):
                done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode == 0 and path.exists():
                results.append(Result.load(path))
                console.print(f"{name}: {time.monotonic() - begun:.0f} s", highlight=False)
            else:
                said = [line for line in done.stderr.strip().splitlines() if line]
                failures[name] = said[-1].removeprefix("error: ") if said else f"exit code {done.returncode}"
                console.print(f"{name}: not measured: {failures[name]}", style="yellow", highlight=False)
    return results, failures


def build(
    results: Sequence[Result], failures: dict[str, str], found: Sequence, warnings: Sequence[str], against: str
) -> str:
    """The page."""
    sections = []
    if against:
        sections.append(page.changes(found, warnings, Path(against).name))
    sections.append(page.goals(results))
    sections += [section(result) for result in results]
    for name, reason in failures.items():
        title = page.text(TITLES.get(name, name))
        sections.append(f'<h2>{title}</h2><p class="bad">Not measured here: {page.text(reason)}</p>')
    return page.document("realtime-avatar: measurements", page.facts(results), sections)


def section(result: Result) -> str:
    """One benchmark: what it is, its plot, its figures, how to repeat it."""
    module = importlib.import_module(BENCHMARKS[result.benchmark]) if result.benchmark in BENCHMARKS else None
    about = (module.__doc__ or "").split("\n\n  python")[0].strip() if module else ""
    settings = ", ".join(f"{k} {v}" for k, v in result.settings.items() if not isinstance(v, list) or len(v) < 6)
    notes = "".join(f"<p>{page.text(note)}</p>" for note in result.notes)
    figure = getattr(module, "figure", None)
    plot = page.picture(figure(result)) if figure is not None else ""
    body = page.tables(result, getattr(module, "split", page.plain))
    return (
        f"<h2>{page.text(TITLES.get(result.benchmark, result.benchmark))}</h2><p>{page.text(about)}</p>{plot}{body}"
        f'{notes}<p class="dim">{page.text(settings)}; {result.seconds:.0f} s; '
        f"<code>{page.text(result.command)}</code>; commit {page.text(result.machine['commit'])}</p>"
    )


def save_all(results: Sequence[Result], path: str) -> None:
    """All results in one JSON file."""
    from benchmarks.result import plain_json

    text = json.dumps({"results": [plain_json(r.to_dict()) for r in results]}, indent=1, allow_nan=False)
    try:
        Path(path).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise BadFile(path, f"cannot be written ({error.strerror})") from error


def load_all(path: str) -> list[Result]:
    """The results in a file of `save_all`, or of one benchmark. Raises BadFile."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        if "results" not in data:
            return [Result.from_dict(data)]
        return [Result.from_dict(entry) for entry in data["results"]]
    except FileNotFoundError as error:
        raise BadFile(path, "there is no such file") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadFile(path, "is not the JSON result of a benchmark") from error
