"""The subcommands of `avatar`: one file and one line each. A file is imported only when its command is called.

A command module holds a function `command`, with a docstring that teaches by example, or a `typer.Typer` called
`app` for a group of commands (`avatar models list`).
"""

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("realtime.commands.demo", "See it move, in the browser, with nothing set up."),
    "run": ("realtime.commands.run", "Be the portrait: camera to virtual camera, live."),
    "app": ("realtime.commands.app", "The same as a program: a window, and an icon in the tray."),
    "render": ("realtime.commands.render", "Animate a portrait with a clip: every frame, into a file."),
    "animate": ("realtime.commands.animate", "A film of a whole body: body, hands and face, offline (Wan-Animate)."),
    "send": ("realtime.commands.send", "Drive an avatar on another machine: motion codes in place of video."),
    "edit": ("realtime.commands.edit", "Change the expression or pose of one picture."),
    "serve": ("realtime.commands.serve", "Browsers drive avatars over WebRTC."),
    "cluster": ("realtime.commands.cluster", "Avatar sessions placed over many machines."),
    "directions": ("realtime.commands.directions", "What can be edited: the motion dictionary, as table or sheet."),
    "encode": ("realtime.commands.encode", "Turn a clip into a motion track: motion codes, no pictures."),
    "train": ("realtime.commands.train", "Train an engine's weights from videos."),
    "evaluate": ("realtime.commands.evaluate", "Measure an engine as the papers do: L1, AKD, MKR, AED."),
    "inspect": ("realtime.commands.inspect", "Look into the Motion Transformer: attention, parts, masks, flow."),
    "detect": ("realtime.commands.detect", "Does a clip carry the invisible mark of this avatar?"),
    "doctor": ("realtime.commands.doctor", "What works on this machine, what does not, and what mends it."),
    "models": ("realtime.commands.models", "Official weights of the neural engines: fetch, register, check."),
}
"""Name to (module, one line of help), in the order in which the help lists them."""
