"""A face that another program tracks (iFacialMocap, Waidayo, VSeeFace, MeowFace) and sends here by the VMC protocol.

This side is the marionette. Understood are the bones Neck and Head, ARKit's blend shapes whatever their case, and the
shapes of every VRM model (A, I, U, E, O, Blink, Joy, ...). Listens to this machine alone."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from realtime.errors import BadValue
from realtime.families import builtin
from realtime.flow.osc import Message, Receiver, need_osc
from realtime.motion.vocabulary import Shapes, vocabulary_of
from realtime.sources import SourceBase, SourceOptions
from realtime.types import Direction, MotionCode

PORT = 39539
KIND = builtin()
"""The engine whose codes blend shapes are made."""
PLAIN: dict[str, dict[str, float]] = {
    "a": {"jawOpen": 0.7},
    "i": {"mouthStretchLeft": 0.5, "mouthStretchRight": 0.5, "jawOpen": 0.1},
    "u": {"mouthPucker": 0.8},
    "e": {"jawOpen": 0.3, "mouthStretchLeft": 0.4, "mouthStretchRight": 0.4},
    "o": {"jawOpen": 0.4, "mouthFunnel": 0.7},
    "blink": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "blink_l": {"eyeBlinkLeft": 1.0},
    "blink_r": {"eyeBlinkRight": 1.0},
    "joy": {"mouthSmileLeft": 1.0, "mouthSmileRight": 1.0},
    "fun": {"mouthSmileLeft": 0.6, "mouthSmileRight": 0.6},
    "angry": {"browDownLeft": 1.0, "browDownRight": 1.0},
    "sorrow": {"browInnerUp": 0.8, "mouthFrownLeft": 0.7, "mouthFrownRight": 0.7},
    "surprised": {"browInnerUp": 1.0, "browOuterUpLeft": 1.0, "browOuterUpRight": 1.0, "jawOpen": 0.4},
    "lookup": {"eyeLookUpLeft": 1.0, "eyeLookUpRight": 1.0},
    "lookdown": {"eyeLookDownLeft": 1.0, "eyeLookDownRight": 1.0},
    "lookleft": {"eyeLookOutLeft": 1.0, "eyeLookInRight": 1.0},
    "lookright": {"eyeLookInLeft": 1.0, "eyeLookOutRight": 1.0},
}
"""What the shapes of VRM models, in small letters, are by ARKit's names."""


class Heard:
    """What was heard of a face so far. Pure."""

    def __init__(self) -> None:
        made = vocabulary_of(KIND)
        assert made.shapes is not None
        assert made.of_shapes is not None
        self._code = made.of_shapes
        rest = self._code(Shapes({}))
        self.rest = rest
        self._names = {name.lower(): name for name in made.shapes(rest, rest).amounts}
        self._coming: dict[str, float] = {}
        self._bones: dict[str, Rotation] = {}

    def hear(self, message: Message) -> np.ndarray | None:
        """The values of a code where a face is whole now (``Blend/Apply``), else None. What makes no sense is left
        out."""
        address, arguments = message
        if address == "/VMC/Ext/Blend/Val" and len(arguments) == 2 and isinstance(arguments[0], str):
            if (amount := _number(arguments[1])) is not None and len(self._coming) < 512:
                self._coming[arguments[0].lower()] = min(1.0, max(0.0, amount))
        elif address == "/VMC/Ext/Bone/Pos" and len(arguments) == 8 and arguments[0] in ("Neck", "Head"):
            turn = [_number(each) for each in arguments[4:]]
            if None not in turn and any(turn):
                self._bones[arguments[0]] = Rotation.from_quat(turn)
        elif address == "/VMC/Ext/Blend/Apply":
            amounts, self._coming = self._coming, {}
            return self._code(Shapes(self._amounts(amounts), self._head()))
        return None

    def _amounts(self, heard: dict[str, float]) -> dict[str, float]:
        out: dict[str, float] = {}
        for name, amount in heard.items():
            parts = {self._names[name]: 1.0} if name in self._names else PLAIN.get(name, {})
            for part, share in parts.items():
                out[part] = min(1.0, max(out.get(part, 0.0), amount * share))
        return out

    def _head(self) -> tuple[float, float, float]:
        turned = self._bones.get("Neck", Rotation.identity()) * self._bones.get("Head", Rotation.identity())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a head that looks straight up
            yaw, pitch, roll = turned.as_euler("YXZ", degrees=True)
        return -float(yaw), -float(pitch), float(roll)


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None


class VmcSource(SourceBase):
    """`argument`: the UDP port, 39539 without."""

    live = True
    kind = KIND

    def __init__(self, argument: str, options: SourceOptions) -> None:
        super().__init__(options)
        if argument and not (argument.isdecimal() and 0 < int(argument) < 65536):
            raise BadValue("--source", f"vmc:{argument}", "a UDP port of this machine, as in vmc:39539")
        self.port = int(argument or PORT)
        self.name = f"VMC at port {self.port}"
        self._receiver: Receiver | None = None
        self._heard = Heard()
        self._index = 0
        self._begun = 0.0
        self.reference = MotionCode(KIND, self._heard.rest)

    def check(self) -> None:
        """Raises MissingExtra."""
        need_osc("--source vmc")

    def fit(self, kind: str, directions: Sequence[Direction]) -> None:
        if kind != KIND:
            raise BadValue("--source", "vmc", f"blend shapes drive the {KIND} engine alone: --engine {KIND}")

    def open(self) -> None:
        """Raises DeviceError."""
        self._receiver = Receiver(self.port)
        self._begun = time.monotonic()

    def read(self) -> MotionCode | None:
        assert self._receiver is not None
        while not self.stopping():
            newest = None
            for message in self._receiver.take(0.25):
                values = self._heard.hear(message)
                newest = values if values is not None else newest
            if newest is not None:
                now = time.monotonic()
                self._index += 1
                return MotionCode(KIND, newest.astype(np.float32), now, now - self._begun, self._index - 1)
        return None

    def close(self) -> None:
        if self._receiver is not None:
            self._receiver.close()
            self._receiver = None
