"""The face as plain OSC: ARKit's blend shapes by name and the head's angles, for patches and scripts."""

from __future__ import annotations

import time
from typing import Any

from realtime.errors import BadValue
from realtime.families import builtin
from realtime.flow.osc import Sender, need_osc, parse_place
from realtime.motion.vocabulary import Shapes, vocabulary_of
from realtime.sinks import SinkBase, SinkOptions
from realtime.types import Picture

Message = tuple[str, tuple[Any, ...]]
MOST_IN_ONE = 24
"""Messages of a datagram, so that one fits into a packet of Ethernet (about 1400 bytes) as they are long."""


class ShapesSink(SinkBase):
    """Sends the shapes of each code that is rendered. `argument`: HOST:PORT, this machine and the usual port without.
    option: how the sink is called on the command line."""

    option = ""
    port = 0

    def __init__(self, argument: str, options: SinkOptions) -> None:
        super().__init__(options)
        self.host, self.port = parse_place(f"--sink {self.option}", argument, self.port)
        self.name = f"{self.option} to {self.host}:{self.port}"
        self._sender: Sender | None = None
        self._begun = time.monotonic()

    def check(self) -> None:
        """Raises MissingExtra."""
        need_osc(f"--sink {self.option}")

    def open(self, width: int, height: int, fps: float) -> None:
        """Raises BadValue where the host has no address."""
        self._sender = Sender(self.host, self.port)

    def write(self, picture: Picture) -> None:
        """Raises BadValue where the engine's codes say nothing of blend shapes."""
        code, neutral = picture.code, picture.reference
        shapes = vocabulary_of(code.kind).shapes if code is not None else None
        if code is None or neutral is None or shapes is None:
            kind = code.kind if code is not None else "unknown"
            raise BadValue(
                "--sink", self.option, f"the codes of {kind} are no blend shapes; those of {builtin()} are"
            )
        assert self._sender is not None
        batch = self.messages(shapes(code.values, neutral.values), time.monotonic() - self._begun)
        for begin in range(0, len(batch), MOST_IN_ONE):
            self._sender.send(batch[begin : begin + MOST_IN_ONE])

    def messages(self, shapes: Shapes, at: float) -> list[Message]:
        """What is sent of a face. at: seconds since the sink was made."""
        raise NotImplementedError

    def close(self) -> None:
        """Say no more."""
        if self._sender is not None:
            self._sender.close()
            self._sender = None


class OscSink(ShapesSink):
    """``/avatar/shape/NAME amount`` for each shape, ``/avatar/head yaw pitch roll`` in degrees."""

    option = "osc"
    port = 9001

    def messages(self, shapes: Shapes, at: float) -> list[Message]:
        """What is sent of a face."""
        return [
            ("/avatar/head", tuple(shapes.head)),
            *((f"/avatar/shape/{name}", (amount,)) for name, amount in shapes.amounts.items()),
        ]
