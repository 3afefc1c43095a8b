"""What every engine does with the codes it is given: it takes those of its own family alone, and none once closed."""

from __future__ import annotations

import numpy as np

from realtime.errors import BadValue, EngineError
from realtime.types import MotionCode


class TakesCodes:
    """Base of the engines: `reference`, checked where it is set, and the end of an engine's life.

    Once closed an engine neither encodes nor renders, and takes no portrait: `check_open` raises EngineError.
    """

    name: str
    kind: str
    closed = False
    """Set by `close`."""
    _reference: MotionCode | None = None

    @property
    def code_length(self) -> int:
        """Number of entries of a code."""
        raise NotImplementedError

    @property
    def reference(self) -> MotionCode | None:
        """The driver's neutral code; None: the next code rendered becomes it. Raises BadValue where it is set to
        anything but a code of this engine."""
        return self._reference

    @reference.setter
    def reference(self, code: MotionCode | None) -> None:
        if code is not None:
            self.check_code(code, "reference")
        self._reference = code

    def check_code(self, code: object, what: str = "code") -> None:
        """Raise BadValue where `code` is no code of this engine."""
        if not isinstance(code, MotionCode):
            raise BadValue(what, type(code).__name__, "a MotionCode, as encode gives it")
        if code.kind != self.kind or np.shape(code.values) != (self.code_length,):
            expected = f"the {self.name} engine takes {self.kind}[{self.code_length}]"
            raise BadValue(what, f"{code.kind}[{np.size(code.values)}]", expected)

    def check_open(self) -> None:
        """Raise EngineError after `close`."""
        if self.closed:
            raise EngineError(self.name, "is closed")
