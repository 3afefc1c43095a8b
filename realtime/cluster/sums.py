"""What Prometheus reads of several processes that are one server: their figures, added up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

WORST = frozenset({"avatar_latency_seconds"})
"""Figures of which the largest counts, not the sum."""

_Key = tuple[str, str, tuple[tuple[str, str], ...]]
"""Family, sample and labels."""


class Sums:
    """Adds up pages. What a process has counted stays when it ends, so that no sum of what is counted ever falls."""

    def __init__(self) -> None:
        self._gone: Counter[_Key] = Counter()
        self._counted: dict[str, dict[_Key, float]] = {}  # by run
        self._families: dict[str, Metric] = {}

    def end(self, run: str) -> None:
        """A process has ended."""
        self._gone.update(self._counted.pop(run, {}))

    def text(self, pages: Mapping[str, bytes], fixed: Mapping[str, float]) -> bytes:
        """The page that is read. pages: Prometheus text of each process that answers, by its run. fixed: samples that
        are known better here."""
        now: dict[_Key, float] = {}
        for run, page in pages.items():
            counted = self._counted[run] = {}
            for family in text_string_to_metric_families(page.decode()):
                self._families[family.name] = family
                for sample in family.samples:
                    key = (family.name, sample.name, tuple(sorted(sample.labels.items())))
                    if family.type == "counter":
                        counted[key] = sample.value
                    elif family.name in WORST:
                        now[key] = max(now.get(key, 0.0), sample.value)
                    else:
                        now[key] = now.get(key, 0.0) + sample.value
        counts = Counter(self._gone)
        for values in self._counted.values():
            counts.update(values)
        now |= counts
        registry = CollectorRegistry()
        registry.register(_Found(self._families, {key: fixed.get(key[1], value) for key, value in now.items()}))
        return generate_latest(registry)


class _Found:
    """A collector of what is given."""

    def __init__(self, families: Mapping[str, Metric], values: Mapping[_Key, float]) -> None:
        self._families, self._values = families, values

    def collect(self) -> Iterator[Metric]:
        """Read by prometheus_client."""
        out: dict[str, Metric] = {}
        for (name, sample, labels), value in self._values.items():
            known = self._families[name]
            family = out.setdefault(name, Metric(name, known.documentation, known.type))
            family.add_sample(sample, dict(labels), value)
        yield from out.values()
