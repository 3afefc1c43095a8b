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
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import BENCHMARKS
from benchmarks.report import page
from benchmarks.report.compare import compare, other_machine
from benchmarks.report.machine import ROOT
from benchmarks.report.result import Result
from realtime.errors import BadFile, BadValue
from realtime.measures.sheets import number
from realtime.outputs import write_whole

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
    parser.add_argument("--markdown", metavar="PATH", help="write the few figures that a README shows, as a table")


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
    warnings = other_machine(old, results)
    for warning in warnings:
        console.print(f"not the same conditions: {warning}", style="yellow", highlight=False)
    text = build(results, failures, found, warnings, options.against or "")
    write_whole(options.output, text)
    console.print(f"report: {options.output} ({len(text) // 1024} KiB)", highlight=False)
    if options.markdown:
        write_whole(options.markdown, markdown(results))
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
    about = re.split(r"\n\n *python -m", module.__doc__ or "")[0].strip() if module else ""
    settings = ", ".join(f"{k} {v}" for k, v in result.settings.items() if not isinstance(v, list) or len(v) < 6)
    notes = "".join(f"<p>{page.text(note)}</p>" for note in result.notes)
    figure = getattr(module, "figure", None)
    plot = page.picture(figure(result)) if figure is not None else ""
    body = page.tables(result, getattr(module, "split", page.plain))
    return (
        f"<h2>{page.text(TITLES.get(result.benchmark, result.benchmark))}</h2><p>{page.prose(about)}</p>{plot}{body}"
        f'{notes}<p class="dim">{page.text(settings)}; {result.seconds:.0f} s; '
        f"<code>{page.text(result.command)}</code>; commit {page.text(result.machine['commit'])}</p>"
    )


# what it says, benchmark, figures with the words between them, unit
HEADLINES = (
    ("Camera to sink, 512 px, 30 fps", "latency", ("mesh 512.total.p50", "mesh 512.total.p99"), "ms (median / p99)"),
    ("Camera to sink, 512 px, 60 fps", "latency", ("mesh 512 at 60 fps.total.p50", "mesh 512 at 60 fps.total.p99"),
     "ms (median / p99)"),
    ("Rate reached of 60 fps, frames dropped", "latency", ("mesh 512 at 60 fps.fps", "mesh 512 at 60 fps.dropped"),
     "fps / %"),
    *((f"One frame on one core, {size} px", "stages", (f"mesh {size}.frame.cpu.p50", f"mesh {size}.frame.cpu.p95"),
       "ms (median / p95)") for size in (256, 512, 720)),
    ("Camera to display through Chromium, WebRTC on loopback", "glass",
     ("avatar.camera to display.p50", "avatar.camera to display.p95"), "ms (median / p95)"),
    ("the same through aiortc's relay, which does no work", "glass",
     ("echo.camera to display.p50", "echo.camera to display.p95"), "ms (median / p95)"),
    ("the same through that relay with our receiver", "glass",
     ("prompt.camera to display.p50", "prompt.camera to display.p95"), "ms (median / p95)"),
    ("Unevenness at the virtual camera, 30 fps", "vcam", ("30 fps.unevenness.p50", "30 fps.unevenness.p99"),
     "ms (median / p99)"),
    ("Browsers served at full rate", "sessions", ("most served",), "sessions"),
    ("Command to first animated picture", "startup", ("first picture",), "s"),
    ("Switching to a portrait prepared ahead", "startup", ("switch.prepared",), "s"),
    ("Self-reenactment: PSNR, MS-SSIM", "quality", ("self.mesh.psnr", "self.mesh.ms_ssim"), "dB / 0 to 1"),
    ("Self-reenactment: keypoint distance, all, lips", "quality", ("self.mesh.akd", "self.mesh.lips"), "px at 256"),
)  # fmt: skip


def markdown(results: Sequence[Result]) -> str:
    """A table for a README: only what was measured, with machine and commit."""
    known = {r.benchmark: r for r in results}
    lines = ["| | measured | |", "| --- | ---: | --- |"]
    for label, name, keys, unit in HEADLINES:
        found = [known[name].get(key) for key in keys] if name in known else []
        if found and all(f is not None and f.value is not None for f in found):
            lines.append(f"| {label} | {' / '.join(number(f.value) for f in found)} | {unit} |")
    if results:
        m = results[0].machine
        quick = "; quick runs" if any(r.quick for r in results) else ""
        machine = f"{m['cpu']}, {m['cores']} cores, {m['memory_gib']} GiB, Python {m['python']}, commit {m['commit']}"
        lines += ["", f"{machine}, {results[0].started[:10]}; `python -m benchmarks report`{quick}."]
    return "\n".join(lines) + "\n"


def save_all(results: Sequence[Result], path: str) -> None:
    """All results in one JSON file."""
    from benchmarks.report.result import plain_json

    text = json.dumps({"results": [plain_json(r.to_dict()) for r in results]}, indent=1, allow_nan=False)
    write_whole(path, text + "\n")


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
