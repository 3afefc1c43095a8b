"""`avatar run`."""

from __future__ import annotations

import contextlib
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from realtime.commands import options as o
from realtime.commands.terminal import run_session, say
from realtime.commands.wearing import NONE, behind_of, neutral_of, parse_behind, portrait_of
from realtime.engines.choose import PortraitFile, engine_settings, make_engine, read_portrait
from realtime.errors import BadValue
from realtime.media.backdrop import Keyed
from realtime.media.backgrounds import Behind, unkeyed
from realtime.presets.folder import find
from realtime.session.local import Pipeline
from realtime.session.remote import OscRemote
from realtime.settings import USUAL_SIDE, PipelineSettings, Shape
from realtime.sinks import SinkOptions, open_sink
from realtime.sources import SourceOptions, open_source

if TYPE_CHECKING:
    from realtime.engines import Engine
    from realtime.server.panel import PanelPlayer


def command(
    source: Annotated[
        str,
        typer.Option(
            help="camera, camera:N, mic (lips from the microphone), a clip, a recording, a picture, motion:PATH, "
            "vmc:PORT, or an rtsp/http address."
        ),
    ] = "camera",
    portrait: Annotated[
        list[str] | None,
        typer.Option(help="Picture to animate, or builtin. Repeats: the others are shown by p in the preview."),
    ] = None,
    view: o.Views = None,
    engine: o.EngineName = "auto",
    sink: Annotated[
        list[str] | None,
        typer.Option(
            help="vcam[:DEVICE], file:OUT.mp4, images:FOLDER, preview, vmc[:HOST:PORT] (the face as blend shapes for "
            "VSeeFace, Unity, Blender), osc[:HOST:PORT] or null. Repeats.",
        ),
    ] = None,
    fps: Annotated[float, typer.Option(help="Frames a second asked of the camera.")] = 30.0,
    size: o.Size = None,
    set_: o.Sets = None,
    amplitude: o.Amplitudes = None,
    absolute: o.Absolute = False,
    mirror: o.Mirror = False,
    hold_gaze: o.HoldGaze = False,
    smoothing: o.Smoothing = 0.0,
    background: o.BackgroundOf = "",
    sound: Annotated[
        str | None,
        typer.Option(
            metavar="mic[:NAME]",
            help="What a file sink hears: the microphone, in time with the pictures. Else nothing.",
        ),
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="Start a clip or motion track again when it ends.")] = False,
    duration: Annotated[float | None, typer.Option(help="Stop after this many seconds.")] = None,
    stats: o.StatsPath = None,
    weights: o.Weights = None,
    device: o.Device = "auto",
    ui: Annotated[bool, typer.Option("--ui", help="Open a control panel in the browser.")] = False,
    ui_port: Annotated[int, typer.Option(min=0, max=65535, help="Its port; the next free one where taken.")] = 8000,
    osc: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            metavar="PORT",
            help="Obey OSC (a Stream Deck, TouchOSC) at this UDP port of 127.0.0.1: /avatar/expression/smile.",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Portrait, sliders, background, shape, mirror and neutral face, as kept under a name in the control "
            "panel or exported by a page (.json). What else is given here goes before it.",
        ),
    ] = None,
    mark: o.Mark = True,
    quiet: o.Quiet = False,
) -> None:
    """Be the portrait: camera to virtual camera, live. Ctrl-C ends it well.

    [b]Examples[/b]

      avatar run

      avatar run --portrait me.jpg --sink preview

      avatar run --ui

      avatar run --preset work

      avatar run --osc 9000

      avatar run --sink vmc --sink preview

      avatar run --source vmc:39540 --portrait me.jpg

      avatar run --preset work.json --set smile=0.3 --ui

      avatar run --portrait front.jpg --view left.jpg --view right.jpg

      avatar run --portrait me.jpg --portrait painting.jpg --sink preview --sink vcam

      avatar run --size 16:9@720 --sink vcam

      avatar run --background beach.jpg

      avatar run --background blur:2

      avatar run --background waves.mp4   (a clip that goes round)

      avatar run --size round --sink images:frames --source clip.mp4

      avatar run --source mic --portrait me.jpg   (no camera: lips follow your voice)

      avatar run --source camera:1 --sink vcam --sink file:call.mp4 --sound mic

      avatar run --source clip.mp4 --loop --set smile=0.3 --hold-gaze

      avatar run --source motion:builtin --sink null --duration 10 --stats stats.json
    """
    settings = PipelineSettings(fps=fps, duration=duration, stats=stats)
    worn = find(preset) if preset is not None else NONE
    wanted = engine_settings(engine, size or Shape.parse(worn.shape or str(USUAL_SIDE)), weights, device)
    live = replace(o.live_settings(set_, amplitude, absolute, mirror, hold_gaze), smoothing=smoothing)
    o.check_stats(stats)
    files = [item for item in sink or () if item.startswith("file:")]
    o.refuse_overwriting([*files, stats], [source, *(portrait or ()), *(view or ())])
    if view and len(portrait or ()) > 1:
        raise BadValue("--view", view[0], "views are of one person; give one --portrait")
    pictures = [read_portrait(item) for item in portrait or ()]  # first: what the user named, then devices
    pictures = pictures or [portrait_of(worn)]
    views = [read_portrait(item) for item in view or ()]
    given = SinkOptions(fps=fps, microphone=_microphone(sound, files), mark=mark, round=wanted.round)
    sinks = [open_sink(item, given) for item in sink or ["vcam"]]
    driving = open_source(source, SourceOptions(fps=fps, loop=loop))
    behind = parse_behind(background) if background else behind_of(worn)
    shown = [behind.of(picture.image) for picture in pictures]
    first = replace(pictures[0], image=unkeyed(shown[0]))
    renderer = make_engine(wanted, first, live=True, views=views)
    with contextlib.ExitStack() as stack:
        stack.callback(renderer.close)
        player = (
            open_control_panel(
                renderer,
                pictures,
                fps,
                ui_port,
                mark,
                behind,
                wanted.round,
                _open_in_browser,
                views,
            )
            if ui
            else contextlib.nullcontext()
        )
        panel = stack.enter_context(player)
        if panel is not None:
            sinks.append(panel.sink)
        live = worn.over(o.with_edits(live, set_, renderer.directions))
        pipeline = Pipeline(driving, renderer, sinks, settings, live)
        pipeline.keyed = shown[0] if isinstance(shown[0], Keyed) else None
        if (neutral := neutral_of(worn, renderer)) is not None:
            pipeline.control.recalibrate(neutral)
        for picture, image in zip(pictures, shown, strict=True) if len(pictures) > 1 else ():
            pipeline.control.prepare_portrait(image, picture.name)
        pipeline.control.portrait_is(pictures[0].name)
        if panel is not None:
            panel.control = pipeline.control
        if osc is not None:
            remote = stack.enter_context(OscRemote(osc, pipeline.control, tuple(renderer.directions)))
            say(f"OSC is obeyed at 127.0.0.1:{remote.port}")
        into = ", ".join(s.name for s in sinks)
        title = Path(pictures[0].name).name
        run_session(pipeline, quiet, f"{driving.name} drives {title} into {into}; Ctrl-C ends it")
    for file in sinks if not quiet else ():
        if file.made:
            print(file.made)


def _microphone(sound: str | None, files: list[str]) -> str | None:
    """The microphone that `--sound` names, as `SinkOptions` takes it. Raises BadValue."""
    if sound is None:
        return None
    kind, _, name = sound.partition(":")
    if kind != "mic":
        raise BadValue("--sound", sound, "mic, or mic:NAME; a film with its clip's sound is made by avatar render")
    if not files:
        raise BadValue("--sound", sound, "sound goes into files: add --sink file:call.mp4")
    return name


def open_control_panel(
    engine: Engine,
    pictures: list[PortraitFile],
    fps: float,
    port: int,
    mark: bool,
    behind: Behind,
    round: bool,
    started: Callable[[str], None],
    views: Sequence[PortraitFile] = (),
) -> contextlib.AbstractContextManager[PanelPlayer]:
    """The control panel as a page. started: called with its link. views: of the one person in `pictures`. Raises
    MissingExtra, DeviceError."""
    from realtime.commands.serve import builtin_gallery, need_serve_extra

    need_serve_extra()
    from realtime.server.hosting.gallery import GalleryPortrait, View
    from realtime.server.panel import open_panel

    more = [View(view.image, view.name) for view in views]
    given = [
        GalleryPortrait(f"given-{i}", Path(picture.name).stem[:40], picture.image, views=more)
        for i, picture in enumerate(pictures)
        if not picture.builtin
    ]
    shown = pictures[0].builtin
    builtin = sorted(builtin_gallery(), key=lambda each: each.id != shown)  # what is shown comes first

    portraits = [*builtin, *given] if shown else [*given, *builtin]
    return open_panel(engine, portraits, fps, port, started, mark, behind, round=round)


def _open_in_browser(link: str) -> None:
    say(f"Control panel: {link}")
    webbrowser.open(link)
