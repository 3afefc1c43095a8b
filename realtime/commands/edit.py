"""`avatar edit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from realtime.commands import options as o
from realtime.commands.terminal import say, say_warnings
from realtime.engines.choose import BUILTIN, engine_settings, make_engine, read_portrait
from realtime.errors import BadFile
from realtime.home import user_path
from realtime.media.pictures import check_picture_target, write_picture


def command(
    portrait: Annotated[str, typer.Argument(help="Picture to edit, or 'builtin'.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Picture to write: .png, .jpg or .webp.")],
    view: o.Views = None,
    set_: o.Sets = None,
    hold_gaze: o.HoldGaze = False,
    engine: o.EngineName = "auto",
    size: o.Size = "512",
    weights: o.Weights = None,
    device: o.Device = "auto",
    mark: o.Mark = True,
) -> None:
    """Change the expression or pose of one picture. `avatar directions` lists what can be set.

    [b]Examples[/b]

      avatar edit me.jpg --set smile=0.4 -o smile.png

      avatar edit painting.jpg --set yaw=-10deg --set wink_left=1 -o wink.png

      avatar edit front.jpg --view left.jpg --set yaw=-30deg -o turned.png

      avatar edit builtin --set mouth_open=50% -o ah.png
    """
    settings = o.whole_picture(engine_settings(engine, size, weights, device))
    o.live_settings(set_, None, False, False, False)
    check_picture_target(output)
    for given in (portrait, *(view or ())):
        if not given.startswith(BUILTIN) and user_path(given).resolve() == user_path(output).resolve():
            raise BadFile(output, "is the portrait itself; choose another name for the output")
    picture, views = read_portrait(portrait), [read_portrait(item) for item in view or ()]
    loaded = make_engine(settings, picture, views=views)
    try:
        say_warnings(loaded)
        from realtime.media.watermark import marked
        from realtime.motion.edits import parse_settings
        from realtime.sheets.contact import edited_portrait

        amounts = parse_settings(set_ or (), loaded.directions)
        picture_out = edited_portrait(loaded, amounts, hold_gaze=hold_gaze)
        write_picture(output, marked(picture_out) if mark else picture_out)
    finally:
        loaded.close()
    if not amounts and not hold_gaze:
        say("nothing was set, so the portrait is at rest; for example: --set smile=0.4")
    print(f"{output}: {', '.join(f'{name}={amount:g}' for name, amount in amounts.items()) or 'at rest'}")
