"""What Prometheus reads at `/metrics`. Figures of the whole server; nothing about any one person."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

if TYPE_CHECKING:
    from realtime.server.hosting.player import Player
    from realtime.server.places.here import Studio

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class DoorMetrics:
    """What the HTTP face counts by itself, wherever the sessions are."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        about = "Requests turned away, by the rule that did it"
        self.refused = Counter("avatar_requests_refused", about, ["rule"], registry=self.registry)

    def text(self) -> bytes:
        """Its part of the page that is read."""
        return generate_latest(self.registry)


class PlaceMetrics:
    """One registry per place, so that several can live in one process."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self.registry = CollectorRegistry()
        self._gone = dict.fromkeys(("received", "rendered", "dropped", "no_face", "failures"), 0)
        self.registry.register(self)

    def keep(self, performer: Player) -> None:
        """Take over the counts of a session that ends, so that the sums never fall."""
        for name in self._gone:
            self._gone[name] += getattr(performer, name)

    def collect(self) -> Iterator[Metric]:
        """Read by prometheus_client."""
        studio = self._studio
        performers = studio.performers
        yield GaugeMetricFamily("avatar_sessions", "Sessions now", len(studio.sessions))
        yield GaugeMetricFamily("avatar_sessions_max", "Sessions at most", studio.settings.limits.sessions)
        peers = sum(len(session.peers) for session in studio.sessions.values())
        yield GaugeMetricFamily("avatar_peers", "WebRTC connections now", peers)
        yield CounterMetricFamily("avatar_sessions_refused", "Sessions refused: server full", studio.book.refused)
        ended = CounterMetricFamily("avatar_sessions_ended", "Sessions ended, by why", labels=["reason"])
        for why, count in list(studio.book.ended.items()):
            ended.add_metric([why.value], count)
        yield ended
        for name, about in (
            ("received", "Driving frames and codes received"),
            ("rendered", "Pictures shown"),
            ("dropped", "Driving frames and codes that gave way to newer ones"),
            ("no_face", "Driving frames without a face"),
            ("failures", "Pictures that an engine failed to make"),
        ):
            total = self._gone[name] + sum(getattr(performer, name) for performer in performers)
            yield CounterMetricFamily(f"avatar_frames_{name}", about, total)
        latency = GaugeMetricFamily(
            "avatar_latency_seconds",
            "Over the last frames of all sessions, the worst one",
            labels=["stage", "quantile"],
        )
        for stage in ("encode", "render", "total"):
            for q in (0.5, 0.95, 0.99):
                worst = max((getattr(p, f"window_{stage}").percentile(q) for p in performers), default=0.0)
                latency.add_metric([stage, str(q)], worst)
        yield latency

    def text(self) -> bytes:
        """The page that is read."""
        return generate_latest(self.registry)
