"""How a front, the directory and the nodes reach each other: by the name of what is asked, and plain data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import isawaitable
from typing import Any, Protocol

from realtime.errors import AvatarError
from realtime.server.rtc.sdp import BadOffer


class Ask(Protocol):
    """Reaches the directory."""

    async def __call__(self, what: str, *args: Any) -> Any:
        """Call the method `what` of `directory.Directory`; its `now` is added there. Raises what that raises, and
        DirectoryLost."""


class Reach(Protocol):
    """Reaches nodes."""

    async def __call__(self, node: str, run: str, what: str, *args: Any) -> Any:
        """Call the method `what` of that run of a node's `host.Host`. Raises what that raises, and NodeLost."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What crosses back: a value, or the error that was raised, which is no failure of the call itself."""

    value: Any = None
    error: Exception | None = None

    def get(self) -> Any:
        """The value. Raises the error."""
        if self.error is not None:
            raise self.error
        return self.value


async def replied(function: Callable[..., Any], *args: Any) -> Reply:
    """Call, and catch what a client is to be told. What nobody foresaw is raised."""
    try:
        value = function(*args)
        return Reply(await value if isawaitable(value) else value)
    except (AvatarError, BadOffer) as error:
        return Reply(error=_bare(error))


def _bare(error: Exception) -> Exception:
    """Without what cannot cross: where it came from."""
    error.__cause__ = error.__context__ = error.__traceback__ = None
    return error
