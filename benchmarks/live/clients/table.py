"""Other people's clients on a real server: first picture, how long they hold, pictures a second, sound offset.

Publishers (WHIP) send a driver whose face changes as a beep begins, once a second; their first picture is timed from
the session's opening until the server has it, their rate is the server's count, and their sound is compared with
their picture by a WHEP player on the avatar. Players (WHEP) watch a session driven in that way; their first picture
is timed from their own request until it is decoded (in a browser: shown). Sound that is late is positive; "by its own
account" is what the browser that plays it makes of it: where both agree, the player knows and could not help it. The
libraries from npm run in a page of another origin than the server's, which was told `--allow-origin`.

  python -m benchmarks clients --seconds 5
  python -m benchmarks clients --only "GStreamer WHIP" Firefox

npm's packages are installed into the user's cache; `--install` has apt-get install what is missing of the rest.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.live.clients import gstreamer, players, publishers, webkit
from benchmarks.live.clients.bench import Bench, write_driver
from benchmarks.live.clients.calls import loop
from benchmarks.live.clients.seen import Absent, Line
from benchmarks.live.loopback import child, free_port
from benchmarks.live.sync import faces
from benchmarks.report.result import Result
from benchmarks.report.show import show_notes
from realtime.errors import AvatarError, UnknownName
from realtime.outputs import write_whole

HEADS = (
    ("first picture", "s"),
    ("held", "s"),
    ("pictures", "1/s"),
    ("sound late", "ms"),
    ("by its own account", "ms"),
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `clients`."""
    parser.add_argument("--seconds", type=float, help="measured seconds of each client (10; quick 5)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="clients whose name has this in it")
    parser.add_argument("--markdown", metavar="PATH", help="write the table here")
    parser.add_argument("--install", action="store_true", help="as root on Debian: install what is missing first")


def run(options: argparse.Namespace) -> Result:
    """One server, and one client after the other. Raises UnknownName where `--only` leaves none."""
    rows = publishers.rows() | players.rows()  # publishers first: the server counts pictures of all sessions in one
    chosen = [name for name in rows if not options.only or any(part in name for part in options.only)]
    if not chosen:
        raise UnknownName("client", " ".join(options.only), list(rows))
    if options.install:
        install()
    seconds = options.seconds or (5.0 if options.quick else 10.0)
    load = [round(share, 1) for share in os.getloadavg()]
    result = Result("clients", settings={"seconds": seconds, "only": options.only or [], "load average": load})
    lines: dict[str, Line] = {}
    with bench(seconds) as place, Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("clients", total=len(chosen))
        for name in chosen:
            progress.update(task, description=name)
            try:
                lines[name] = rows[name](place)
            except Absent as error:
                lines[name] = Line(why=str(error), skipped=True)
            except (AvatarError, OSError, subprocess.SubprocessError) as error:
                lines[name] = Line(why=str(error))
            progress.advance(task)
    for name, line in lines.items():
        values = (line.first, line.held, line.rate, line.sound_late, line.believed)
        for (head, unit), value in zip(HEADS, values, strict=True):
            result.add(f"{name}.{head}", value, unit)
    result.settings["clients"] = chosen
    result.settings["skipped"] = {name: line.why for name, line in lines.items() if line.skipped}
    result.settings["failed"] = {name: line.why for name, line in lines.items() if line.why and not line.skipped}
    result.settings["load average after"] = [round(share, 1) for share in os.getloadavg()]
    if options.markdown:
        write_whole(options.markdown, markdown(result))
    return result


@contextlib.contextmanager
def bench(seconds: float) -> Iterator[Bench]:
    """A server in a process of its own, and all that clients are measured with."""
    port, other = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    arguments = ["-m", "realtime", "serve", "--port", str(port), "--quiet", "--max-sessions", "6"]
    arguments += ["--allow-origin", f"http://127.0.0.1:{other}"]
    with (
        tempfile.TemporaryDirectory() as folder,
        loop() as work,
        child(arguments, f"{url}/api/health"),
    ):
        pair = faces()
        film_seconds = seconds + 60  # a client that is slow to start is not cut short
        film, camera = write_driver(Path(folder), pair, film_seconds)
        place = Bench(url, other, seconds, work, pair, film, camera, film_seconds)
        try:
            yield place
        finally:
            place.close()


def install() -> None:
    """Have apt-get install browsers and GStreamer where they are missing. Raises Absent."""
    wanted = [("chromium", ["chromium"]), ("firefox-esr", ["firefox-esr"]), ("npm", ["npm"])]
    wanted.append(("WebKitWebDriver", list(webkit.PACKAGES)))
    missing = [package for program, packages in wanted if shutil.which(program) is None for package in packages]
    if not gstreamer.present():
        missing += gstreamer.PACKAGES
    if not missing:
        return
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise Absent(" ".join(missing), "can be installed by root only", f"apt-get install {' '.join(missing)}")
    command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Absent("apt-get", (done.stderr.strip().splitlines() or ["failed"])[-1])
    gstreamer.present.cache_clear()


def cells(result: Result, name: str) -> list[str]:
    """The figures of a client, "-" for what was not measured; or why."""
    out = []
    for head, unit in HEADS:
        value = getattr(result.get(f"{name}.{head}"), "value", None)
        out.append("-" if value is None else f"{value:+.0f}" if unit == "ms" else f"{value:.1f}")
    return out


def remark(result: Result, name: str) -> str:
    """Why a client was skipped or failed; "" where it worked."""
    for word in ("skipped", "failed"):
        if name in result.settings[word]:
            return f"{word}: {result.settings[word][name]}"
    return ""


def markdown(result: Result) -> str:
    """The table for a README, and where it was made."""
    facts = result.machine
    heads = ["client", *(f"{head}, {unit}" for head, unit in HEADS), ""]
    rows = [[name, *cells(result, name), remark(result, name)] for name in result.settings["clients"]]
    lines = [f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *rows]]
    load, after = (result.settings[key][0] for key in ("load average", "load average after"))
    where = f"{facts['cpu']}, {facts['cores']} cores, {facts['system']}, commit {facts['commit'] or '?'}"
    said = (
        f"{where}; load average {load} before and {after} after, {result.settings['seconds']:g} s measured of each."
    )
    return "\n".join([*lines, "", said, ""])


def show(result: Result, console: Console) -> None:
    """One row for each client."""
    table = Table("client", *(f"{head}, {unit}" for head, unit in HEADS), "")
    for name in result.settings["clients"]:
        table.add_row(name, *cells(result, name), remark(result, name))
    console.print(table)
    show_notes(result, console)
