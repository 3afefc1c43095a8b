"""The icon in the tray: live, paused, no face; and a menu. By pystray (LGPL-3.0), which is an extra for that."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from typing import Any, Literal

from PIL import Image, ImageDraw

from realtime.errors import DeviceError, MissingExtra
from realtime.session.control import Control

State = Literal["starting", "live", "paused", "no face"]
COLOURS: dict[State, tuple[int, int, int]] = {
    "starting": (140, 140, 150),
    "live": (46, 170, 90),
    "paused": (140, 140, 150),
    "no face": (225, 150, 30),
}
SIDE = 64
LOOK_SECONDS = 0.4
"""Seconds between two looks at the session."""
SEEN = ("tracked", "returning")
PATIENCE_S = 2.0
"""Seconds that the icon gets to go."""


def state_of(control: Control) -> State:
    """What the icon says of a session."""
    if control.phase == "starting":
        return "starting"
    if control.live.paused:
        return "paused"
    return "live" if control.face in SEEN else "no face"


def picture_of(state: State) -> Image.Image:
    """The icon: a head and shoulders on a disc, with bars over it where it is paused."""
    image = Image.new("RGBA", (SIDE * 4, SIDE * 4))
    draw = ImageDraw.Draw(image)
    side = SIDE * 4
    draw.ellipse((4, 4, side - 4, side - 4), fill=(*COLOURS[state], 255))
    white = (255, 255, 255, 255)
    if state == "paused":
        for x in (0.36, 0.54):
            draw.rounded_rectangle((x * side, 0.3 * side, (x + 0.1) * side, 0.7 * side), 8, fill=white)
    else:
        draw.ellipse((0.36 * side, 0.2 * side, 0.64 * side, 0.52 * side), fill=white)
        draw.pieslice((0.22 * side, 0.54 * side, 0.78 * side, 1.1 * side), 180, 360, fill=white)
        if state == "no face":
            draw.ellipse((0.42 * side, 0.27 * side, 0.58 * side, 0.45 * side), fill=(*COLOURS[state], 255))
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


class Tray:
    """An icon beside a session. show: opens its window. Everything the menu does goes through `control`.

    Raises MissingExtra without pystray, DeviceError where this desktop has no tray.
    """

    def __init__(self, control: Control, show: Callable[[], None]) -> None:
        self._control = control
        if sys.platform == "darwin":
            raise DeviceError("tray icon", "macOS gives one to programs with a main window alone")
        try:
            import pystray
        except ImportError as error:
            raise MissingExtra("the tray icon", "pystray", "app") from error
        except Exception as error:  # it looks for a display as it is imported; each system's way fails its own way
            raise DeviceError("tray icon", f"this desktop has none ({error})") from error
        if pystray.Icon.__module__.endswith("_xorg") and not _holds_icons():
            raise DeviceError("tray icon", "this desktop has no place for icons")
        self.state: State = state_of(control)
        self._over = threading.Event()
        menu = pystray.Menu(
            pystray.MenuItem("Open", show, default=True),
            pystray.MenuItem("Pause", self._pause, checked=lambda item: control.live.paused),
            pystray.MenuItem("Quit", control.stop),
        )
        self.icon: Any = pystray.Icon("realtime-avatar", picture_of(self.state), self._title(), menu)
        self._shown = threading.Thread(target=self._run, name="avatar-tray", daemon=True)
        self._thread = threading.Thread(target=self._keep_up, name="avatar-tray-look", daemon=True)

    def start(self) -> None:
        """Show it."""
        self._shown.start()
        self._thread.start()

    def close(self) -> None:
        """Take it away. Safe to call twice, and without `start`."""
        first = not self._over.is_set()
        self._over.set()
        if first and self._shown.is_alive():
            threading.Thread(target=self._stop, daemon=True).start()  # a tray that hangs keeps nobody
            self._shown.join(PATIENCE_S)

    def _run(self) -> None:
        with contextlib.suppress(Exception):  # the desktop ended, and its tray with it
            self.icon.run()

    def _stop(self) -> None:
        with contextlib.suppress(Exception):
            self.icon.stop()

    def look(self) -> None:
        """Show what the session does now."""
        state = state_of(self._control)
        if state != self.state:
            self.state = state
            self.icon.icon, self.icon.title = picture_of(state), self._title()
            self.icon.update_menu()

    def _keep_up(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            with contextlib.suppress(Exception):  # a tray that is restarted loses an update, not the session
                self.look()

    def _pause(self) -> None:
        self._control.change(paused=not self._control.live.paused)
        self.look()

    def _title(self) -> str:
        return f"Realtime avatar: {self.state}"


def _holds_icons() -> bool:
    """Whether a program of this X display shows icons (freedesktop.org's system tray protocol)."""
    from Xlib import X
    from Xlib.display import Display

    display = Display()
    try:
        selection = display.intern_atom(f"_NET_SYSTEM_TRAY_S{display.get_default_screen()}")
        return bool(display.get_selection_owner(selection) != X.NONE)
    finally:
        display.close()
