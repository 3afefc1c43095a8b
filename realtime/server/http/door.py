"""What all routes share: the place behind them, who may call, and who has called too often."""

from __future__ import annotations

import time
from collections.abc import Callable

from fastapi import HTTPException, Request
from fastapi.requests import HTTPConnection

from realtime.server.common.limits import Buckets, Limits, Places, caller_of
from realtime.server.common.metrics import DoorMetrics
from realtime.server.http.security import Policy
from realtime.server.places import Place


class Door:
    """The HTTP face of one place. announce: called with the view key of a session that no page opened, and with what
    drives it ("WHIP", "motion"), so that its view can be told."""

    def __init__(self, place: Place, policy: Policy, announce: Callable[[str, str], None]) -> None:
        self.place, self.policy, self.announce = place, policy, announce
        self.metrics = DoorMetrics()
        rate = self.limits.requests_per_s
        self._knocks = Buckets(rate, 3 * rate)
        self.uploads = Places(self.limits.uploads, self.limits.uploads_each)

    @property
    def limits(self) -> Limits:
        """The place's own."""
        return self.place.terms.limits

    def refused(self, rule: str) -> None:
        """Count a request that was turned away."""
        self.metrics.refused.labels(rule).inc()

    def wait(self, client: str) -> float:
        """0 where a client may open a session or a connection, or bring a portrait, now; else the seconds until it
        may: so many a second from one address."""
        return self._knocks.take(client, time.monotonic())


def client_of(request: HTTPConnection) -> str:
    """Who calls, as limits count: see `caller_of`."""
    return caller_of(request.client.host) if request.client else ""


async def knock(request: Request) -> None:
    """A route that depends on this is open to so many requests a second from one address."""
    door: Door = request.app.state.door
    wait = door.wait(client_of(request))
    if wait:
        headers = {"Retry-After": str(max(1, round(wait + 0.5)))}
        raise HTTPException(429, "Too many requests; slow down", headers)
