"""Compiling the inner loops: once, ahead of the first frame, and cached on disk where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(signature: Any) -> Callable[[F], F]:
    """Compile a function without the interpreter lock held (`nogil`).

    The `signature` (numba's, or its text) makes numba do it when the module loads, so that no frame ever waits for
    it. The machine code is kept in numba's cache; where there is no folder to write it to (a read-only install, no
    home), the function is compiled anew at each start instead.
    """

    def decorate(function: F) -> F:
        try:
            return cast(F, numba.njit(signature, cache=True, nogil=True, error_model="numpy")(function))
        except (RuntimeError, OSError):
            return cast(F, numba.njit(signature, cache=False, nogil=True, error_model="numpy")(function))

    return decorate
