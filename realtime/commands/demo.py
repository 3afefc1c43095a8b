"""`avatar demo`."""

from __future__ import annotations

from typing import Annotated

import typer

from realtime.commands import options as o
from realtime.commands.serve import need_serve_extra, open_studio, serve
from realtime.settings import EngineSettings


def command(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; the next free one where it is taken.")] = 8000,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    size: o.Size = 512,
    quiet: o.Quiet = False,
) -> None:
    """See it move: the page with the built-in portrait. No camera, GPU or network is needed.

    [b]Examples[/b]

      avatar demo

      avatar demo --no-browser --port 9000
    """
    need_serve_extra()
    from realtime.server.security import Policy
    from realtime.server.serving import Address

    with open_studio(EngineSettings(size=size), []) as studio:
        serve(
            studio,
            Policy.for_host("127.0.0.1"),
            Address("127.0.0.1", port, wander=True),
            open_browser=browser,
            quiet=quiet,
        )
