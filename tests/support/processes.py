"""A server of several processes with the small engine; `python -m tests.support.processes` is one to be killed."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from realtime.cluster.processes import Processes
from realtime.errors import BadValue
from realtime.server.common.limits import Limits
from realtime.server.places import Terms
from realtime.server.places.here import Studio, StudioSettings
from tests.support.server import ViewEngine, make_studio


@dataclass(frozen=True)
class DotSetup:
    """fails: it cannot be made, and says why; dies: it cannot even say so."""

    limits: Limits = field(default_factory=Limits)
    fails: bool = False
    dies: bool = False

    @contextlib.contextmanager
    def open(self, slots: int) -> Iterator[Studio]:
        if self.fails:
            raise BadValue("--engine", "dot", "it is broken on purpose")
        if self.dies:
            os.kill(os.getpid(), signal.SIGKILL)
        yield make_studio(StudioSettings(replace(self.limits, sessions=slots)), ViewEngine)


def processes(limits: Limits | None = None, count: int = 2, **setup) -> Processes:
    """A place of so many workers."""
    limits = limits or Limits(requests_per_s=1000)
    return Processes(DotSetup(limits, **setup), count, Terms(limits))


if __name__ == "__main__":
    from realtime.commands.serve import serve_with
    from realtime.server.http.security import Policy
    from realtime.server.serving import Address
    from tests.support.processes import DotSetup as Setup  # not of __main__: it travels

    serve_with(Setup(), 2, Limits(), Policy.for_host("127.0.0.1"), Address(port=0))
