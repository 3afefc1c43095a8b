"""What Prometheus reads at `/metrics`. Figures of the whole server; nothing about any one person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from realtime.flow.metrics import Window
from realtime.server.common.limits import Limits
from realtime.server.common.sessions import Book

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Counts(Protocol):
    """What is counted of one avatar."""

    received: int
    rendered: int
    no_face: int
    window_encode: Window
    window_render: Window
    window_total: Window

    @property
    def dropped(self) -> int:
        """Driving frames and codes that gave way to newer ones."""

    @property
    def failures(self) -> int:
        """Frames that the encoder, and pictures that the renderer, failed at."""


class Counted(Protocol):
    """A place whose counts are read."""

    limits: Limits
    book: Book

    @property
    def sessions(self) -> Mapping[str, object]:
        """Those that there are now."""

    @property
    def performers(self) -> Sequence[Counts]:
        """All that play an avatar now."""

    @property
    def peers(self) -> int:
        """WebRTC connections now."""


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

    def __init__(self, place: Counted) -> None:
        self._place = place
        self.registry = CollectorRegistry()
        self._gone = dict.fromkeys(("received", "rendered", "dropped", "no_face", "failures"), 0)
        self.registry.register(self)

    def keep(self, performer: Counts) -> None:
        """Take over the counts of a session that ends, so that the sums never fall."""
        for name in self._gone:
            self._gone[name] += getattr(performer, name)

    def collect(self) -> Iterator[Metric]:
        """Read by prometheus_client."""
        place = self._place
        performers = place.performers
        yield GaugeMetricFamily("avatar_sessions", "Sessions now", len(place.sessions))
        yield GaugeMetricFamily("avatar_sessions_max", "Sessions at most", place.limits.sessions)
        yield GaugeMetricFamily("avatar_peers", "WebRTC connections now", place.peers)
        yield CounterMetricFamily("avatar_sessions_refused", "Sessions refused: server full", place.book.refused)
        ended = CounterMetricFamily("avatar_sessions_ended", "Sessions ended, by why", labels=["reason"])
        for why, count in list(place.book.ended.items()):
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
