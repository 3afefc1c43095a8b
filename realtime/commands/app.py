"""`avatar app`."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from realtime.commands import options as o
from realtime.commands.run import open_control_panel
from realtime.commands.terminal import run_session, say
from realtime.commands.wearing import NONE, behind_of, neutral_of, portrait_of
from realtime.desktop import last
from realtime.desktop.tray import Tray
from realtime.desktop.window import Window
from realtime.engines.choose import engine_settings, make_engine, read_portrait
from realtime.errors import AvatarError, DeviceError, MissingExtra, NoDevice
from realtime.home import home
from realtime.media.backdrop import Keyed
from realtime.media.backgrounds import unkeyed
from realtime.presets.folder import find
from realtime.presets.preset import PresetPortrait
from realtime.session.local import Pipeline
from realtime.settings import USUAL_SIDE, Live, PipelineSettings, Shape
from realtime.sinks import SinkOptions, open_sink
from realtime.sources import SourceOptions, open_source

if TYPE_CHECKING:
    from realtime.server.panel import PanelPlayer
    from realtime.session.control import Control
    from realtime.sinks import Sink
    from realtime.sources import Source

LOOK_SECONDS = 0.5
"""Seconds between two looks whether the window is still there."""
BY_ITSELF = ("camera", "mic", "motion:builtin")
"""What drives where nothing is named: the first that is there."""


def command(
    source: Annotated[
        str | None,
        typer.Option(help="As for avatar run. Without it the camera; where there is none, the microphone."),
    ] = None,
    portrait: Annotated[str | None, typer.Option(help="Picture to animate, in place of the last one.")] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Wear this preset, in place of what was worn last.")
    ] = None,
    engine: o.EngineName = "auto",
    fps: Annotated[float, typer.Option(help="Frames a second asked of the camera.")] = 30.0,
    size: o.Size = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; the next free one where taken.")] = 8000,
    browser: Annotated[
        str,
        typer.Option(
            metavar="COMMAND",
            help="A browser of the Chromium family, with its options; without it the first one found.",
        ),
    ] = "",
    tray: Annotated[bool, typer.Option("--tray/--no-tray", help="An icon in the tray.")] = True,
    mark: o.Mark = True,
    quiet: o.Quiet = False,
) -> None:
    """The avatar as a program with a window and an icon in the tray; no terminal is needed once it runs.

    It starts with what was worn last (portrait, sliders, background, mirror), into the virtual camera where there is
    one. The icon says live, paused or no face, and its menu has Open, Pause and Quit. With the icon, the avatar runs
    on when the window is closed; without it, that ends it.

    [b]Examples[/b]

      avatar app

      avatar app --preset work

      avatar app --source mic

      avatar app --browser "chromium --force-dark-mode" --no-tray
    """
    settings = PipelineSettings(fps=fps)
    worn = find(preset) if preset is not None else last.worn_last() or NONE
    wanted = engine_settings(engine, size or Shape.parse(worn.shape or str(USUAL_SIDE)), None, "auto")
    picture = read_portrait(portrait) if portrait is not None else portrait_of(worn)
    window = Window(home() / "app" / "window", browser)
    driving = _driving(source, SourceOptions(fps=fps, loop=True), quiet)
    sinks = _virtual_camera(SinkOptions(fps=fps, mark=mark, round=wanted.round))
    behind = behind_of(worn)
    shown = behind.of(picture.image)
    renderer = make_engine(wanted, replace(picture, image=unkeyed(shown)), live=True)
    with contextlib.ExitStack() as stack:
        stack.callback(renderer.close)
        links: list[str] = []
        panel = stack.enter_context(
            open_control_panel(renderer, [picture], fps, port, mark, behind, wanted.round, links.append)
        )
        sinks.append(panel.sink)
        known = {d.name for d in renderer.directions}
        edits = {name: amount for name, amount in worn.edits.items() if name in known}
        pipeline = Pipeline(driving, renderer, sinks, settings, replace(worn.over(Live()), edits=edits))
        pipeline.keyed = shown if isinstance(shown, Keyed) else None
        control = pipeline.control
        if driving.kind is None and (neutral := neutral_of(worn, renderer)) is not None:
            control.recalibrate(neutral)
        control.portrait_is(picture.name)
        panel.control = control
        stack.callback(window.close)
        icon = _tray(control, lambda: window.show(links[0]), quiet) if tray else None
        if icon is not None:
            stack.callback(icon.close)
        if not window.owned:
            say("No Chromium, Chrome or Edge was found, which could show a window: the page opens in your browser")
        window.show(links[0])
        _end_with(window, control, icon is not None or not window.owned)
        into = ", ".join(sink.name for sink in sinks[:-1]) or "its window alone"
        run_session(pipeline, quiet, f"{driving.name} drives {picture.name} into {into}; {links[0]}; Ctrl-C ends it")
        _keep(panel, control)


def _driving(named: str | None, options: SourceOptions, quiet: bool) -> Source:
    """The source that is named, or the first that is there. Raises AvatarError."""
    if named is not None:
        return open_source(named, options)
    for choice in BY_ITSELF[:-1]:
        try:
            return open_source(choice, options)
        except (DeviceError, MissingExtra) as error:
            if not quiet:
                say(f"! {error}")
    return open_source(BY_ITSELF[-1], options)


def _virtual_camera(options: SinkOptions) -> list[Sink]:
    """None where there is none: the window shows the avatar all the same."""
    try:
        return [open_sink("vcam", options)]
    except (NoDevice, MissingExtra) as error:
        say(f"! {error}")
        return []


def _tray(control: Control, show: Callable[[], None], quiet: bool) -> Tray | None:
    """None, with a sentence, where there can be none."""
    try:
        icon = Tray(control, show)
        icon.start()
    except (MissingExtra, DeviceError) as error:
        if not quiet:
            say(f"! {error}")
        return None
    return icon


def _end_with(window: Window, control: Control, stays: bool) -> None:
    """Let the session end with its window, unless it `stays` without."""

    def watch() -> None:
        while not control.stopping:
            time.sleep(LOOK_SECONDS)
            if not window.open:
                control.stop()

    if not stays:
        threading.Thread(target=watch, name="avatar-window", daemon=True).start()


def _keep(panel: PanelPlayer, control: Control) -> None:
    """Keep what is worn for the next time."""
    from realtime.media.portraits import builtin_portraits
    from realtime.media.uploads import encode_jpeg

    portrait = panel.portrait
    if portrait.id in builtin_portraits():
        worn = PresetPortrait(portrait.id, title=portrait.title)
    else:
        worn = PresetPortrait("", encode_jpeg(portrait.image, None, 92), portrait.title)
    try:
        last.keep(last.as_preset(control, panel.engine.name, worn, panel.choice.wanted.behind, panel.shape))
    except AvatarError as error:
        say(f"! {error}")
