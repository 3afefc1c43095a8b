"""The subcommands of `avatar`: one file and one line each. A file is imported only when its command is called.

A command module holds a function `command`, with a docstring that teaches by example, or a `typer.Typer` called
`app` for a group of commands (`avatar models list`).
"""

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("realtime.commands.demo", "See it move, in the browser, with nothing set up."),
    "run": ("realtime.commands.run", "Be the portrait: camera to virtual camera, live."),
    "render": ("realtime.commands.render", "Animate a portrait with a clip: every frame, into a file."),
    "serve": ("realtime.commands.serve", "Browsers drive avatars over WebRTC."),
    "train": ("realtime.commands.train", "Train an engine's weights from videos."),
}
"""Name to (module, one line of help), in the order in which the help lists them."""
