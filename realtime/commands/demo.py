"""`avatar demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from realtime.commands import options as o
from realtime.commands.serve import need_serve_extra, open_studio, serve
from realtime.engines.choose import BUILTIN, engine_settings, make_engine, read_portrait
from realtime.home import user_path
from realtime.settings import EngineSettings
from realtime.sinks.preview import has_display

NO_DISPLAY = (
    "There is no display here: open the link in a browser on this machine, or on yours after "
    "ssh -L {port}:127.0.0.1:{port} THIS-MACHINE; avatar demo --film demo.mp4 writes a film instead"
)


def command(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; the next free one where it is taken.")] = 8000,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    film: Annotated[
        Path | None, typer.Option(help="No page: write the built-in performance here (.mp4), and a contact sheet.")
    ] = None,
    size: o.Size = "512",
    quiet: o.Quiet = False,
) -> None:
    """See it move: the page with the built-in portrait. No camera, GPU or network is needed.

    [b]Examples[/b]

      avatar demo

      avatar demo --no-browser --port 9000

      avatar demo --film avatar-demo.mp4
    """
    settings = engine_settings("auto", size, None, "auto")
    if film is not None:
        _film(film, o.whole_picture(settings), quiet)
        return
    need_serve_extra()
    from realtime.server.http.security import Policy
    from realtime.server.places.here import StudioSettings
    from realtime.server.serving import Address

    with open_studio(settings, [], StudioSettings(round=settings.round)) as studio:
        serve(
            studio,
            Policy.for_host("127.0.0.1"),
            Address("127.0.0.1", port, wander=True),
            open_browser=browser and has_display(),
            hint="" if has_display() else NO_DISPLAY,
            quiet=quiet,
        )


def _film(path: Path, settings: EngineSettings, quiet: bool) -> None:
    from realtime.commands.terminal import run_to_end
    from realtime.sheets.film import make_film
    from realtime.sinks import open_sink

    open_sink(f"file:{path}")  # a bad name is told before any work
    engine = make_engine(settings, read_portrait(BUILTIN))
    try:
        made = make_film(engine, user_path(path), play=lambda pipeline: run_to_end(pipeline, "filming", quiet))
    finally:
        engine.close()
    if not quiet:
        print(f"{made.path}: {made.frames} frames, made at {made.fps:.0f} a second on {engine.device}")
        print(f"{made.sheet}: contact sheet")
