"""A running session steered by OSC: by a Stream Deck, a lighting desk, TouchOSC. Listens to this machine alone.

========================================  =====================================================================
``/avatar/expression/NAME [on]``          put an expression on; 1: until 0 comes; without an argument for a moment
``/avatar/set/NAME amount``               a slider, as ``--set``
``/avatar/amplitude/PART factor``         as ``--amplitude``
``/avatar/pause``, ``mirror``, ``hold_gaze``  1 on, 0 off; without an argument the other way round
``/avatar/calibrate``, ``reset``, ``next``    take the face as neutral, all sliders to rest, the next portrait
========================================  =====================================================================

Names are those of `avatar directions` and of the page. A button that sends 0 when it is let go does no harm.
"""

from __future__ import annotations

import threading
from typing import Any

from realtime.errors import AvatarError, BadValue, UnknownName
from realtime.flow.osc import Receiver, need_osc
from realtime.motion.edits import find_direction
from realtime.session.control import Control
from realtime.types import Direction

PREFIX = "/avatar/"
ACTS = ("calibrate", "reset", "next")
SWITCHES = {"pause": "paused", "mirror": "mirror", "hold_gaze": "hold_gaze"}


def obey(control: Control, directions: tuple[Direction, ...], address: str, arguments: list[Any]) -> None:
    """Do what a message says; nothing where it is not for us. Raises UsageError."""
    if not address.startswith(PREFIX):
        return
    what, _, name = address.removeprefix(PREFIX).partition("/")
    value = arguments[0] if arguments else None
    if value is not None and not isinstance(value, (bool, int, float)):
        raise BadValue(address, str(value)[:40], "a number")
    if what == "expression":
        control.express(name, None if value is None else value >= 0.5)
    elif what == "set":
        amount = _number(address, value)
        edits = {**control.live.edits, find_direction(name, directions).name: amount}
        control.change(edits={key: each for key, each in edits.items() if each != 0.0})
    elif what == "amplitude":
        control.change(amplitude={**control.live.amplitude, name: _number(address, value)})
    elif what in SWITCHES:
        field = SWITCHES[what]
        control.change(**{field: not getattr(control.live, field) if value is None else value >= 0.5})
    elif what not in ACTS:
        raise UnknownName("OSC address", address, [PREFIX + each for each in ("expression", *SWITCHES, *ACTS, "set")])
    elif value is None or value >= 0.5:  # a button was pressed, not let go
        if what == "calibrate":
            control.recalibrate()
        elif what == "reset":
            control.change(edits={})
        else:
            control.next_portrait()


def _number(address: str, value: Any) -> float:
    if value is None:
        raise BadValue(address, "nothing", "a number")
    return float(value)


class OscRemote:
    """Obeys OSC at a port of 127.0.0.1, for as long as it is open (a context manager). What cannot be done is told to
    the user, the same thing once. Raises MissingExtra, DeviceError."""

    def __init__(self, port: int, control: Control, directions: tuple[Direction, ...]) -> None:
        need_osc("--osc")
        self._receiver = Receiver(port)
        self.port = self._receiver.port
        self._control, self._directions = control, directions
        self._told = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="avatar-osc", daemon=True)

    def __enter__(self) -> OscRemote:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(2.0)
        self._receiver.close()

    def _work(self) -> None:
        while not self._over.is_set():
            for address, arguments in self._receiver.take(0.25):
                self._obey(address, arguments)

    def _obey(self, address: str, arguments: list[Any]) -> None:
        try:
            obey(self._control, self._directions, address, arguments)
        except AvatarError as error:
            if str(error) != self._told:
                self._told = str(error)
                self._control.tell(f"OSC: {error}", "warning")
