"""A window on the screen (OpenCV's).

Keys: c takes your face as neutral, m mirrors, p shows the next portrait, 1 to 9 put on an expression for a moment,
space pauses, q or Esc ends, h shows the keys. They are shown over the picture for the first seconds,
and stand in the window's title.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

import numpy as np

from realtime.errors import BadValue, DeviceError, NoDevice
from realtime.sinks import SinkBase, SinkOptions
from realtime.types import Picture

HINT = "c: neutral face, m: mirror, p: next portrait, 1-9: expressions, space: pause, q: quit, h: keys"
TITLE = f"avatar ({HINT})"
HINT_SECONDS = 8.0
KEYS = {27: "quit", ord("q"): "quit", ord("c"): "calibrate", ord("m"): "mirror", ord("p"): "portrait"}
KEYS[ord(" ")] = "pause"
KEYS |= {ord(digit): digit for digit in "123456789"}


class PreviewSink(SinkBase):
    """Shows each picture. The window's close button ends the session."""

    name = "preview"
    on_main_thread = True  # macOS allows windows there only

    def __init__(self, argument: str, options: SinkOptions) -> None:
        super().__init__(options)
        if argument:
            raise BadValue("--sink", f"preview:{argument}", "preview takes nothing after a colon")
        self._cv2: Any = None
        self._shown = False
        self._hint_until: float | None = None
        self._hinting = True

    def check(self) -> None:
        """Raises NoDevice where there is no display."""
        if not has_display():
            raise NoDevice("preview", "there is no display here", "Take --sink file:out.mp4 instead")

    def open(self, width: int, height: int, fps: float) -> None:
        import cv2

        try:
            cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
            cv2.resizeWindow(TITLE, width, height)
        except cv2.error as error:
            raise DeviceError("preview", "no window can be opened with this OpenCV") from error
        self._cv2 = cv2

    def write(self, picture: Picture) -> None:
        image = self.shown(picture)
        if self._hinting:
            image = with_hint(image)
        self._cv2.imshow(TITLE, image[..., ::-1])
        self._shown = True

    def idle(self, now: float) -> float:
        if self._cv2 is None:
            return 1.0
        key = self._cv2.pollKey() & 0xFF
        if self._hint_until is None or key == ord("h"):
            self._hint_until = now + HINT_SECONDS
        self._hinting = now < self._hint_until
        if key in KEYS:
            self.on_key(KEYS[key])
        if self._shown and self._cv2.getWindowProperty(TITLE, self._cv2.WND_PROP_VISIBLE) < 1:
            self._shown = False
            self.on_key("quit")
        return 0.02

    def close(self) -> None:
        if self._cv2 is not None:
            self._cv2.destroyAllWindows()
            self._cv2 = None


def with_hint(image: np.ndarray) -> np.ndarray:
    """A copy of uint8 (H, W, 3) with the keys in a dark strip along its lower edge, as large as they fit."""
    import cv2

    font, thickness = cv2.FONT_HERSHEY_SIMPLEX, 1
    (width, _), _ = cv2.getTextSize(HINT, font, 1.0, thickness)
    scale = min(0.6, 0.96 * image.shape[1] / width)
    (width, height), below = cv2.getTextSize(HINT, font, scale, thickness)
    shown = image.copy()
    strip = shown[-(height + 2 * below + 2) :]
    strip[:] = strip // 3
    place = ((image.shape[1] - width) // 2, image.shape[0] - below - 1)
    cv2.putText(shown, HINT, place, font, scale, (255, 255, 255), thickness, cv2.LINE_AA)
    return shown


def has_display() -> bool:
    """Whether a window can be shown. On Linux the X server is asked, for OpenCV's toolkit ends the whole program
    where there is none."""
    if sys.platform in ("win32", "darwin"):
        return True
    if os.environ.get("WAYLAND_DISPLAY") and os.environ.get("XDG_RUNTIME_DIR"):
        path = os.path.join(os.environ["XDG_RUNTIME_DIR"], os.environ["WAYLAND_DISPLAY"])
        if os.path.exists(path):
            return True
    host, colon, number = os.environ.get("DISPLAY", "").rpartition(":")
    if not colon:
        return False
    screen = number.split(".")[0]
    if host not in ("", "unix"):
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(f"/tmp/.X11-unix/X{screen}") == 0
