"""What Prometheus reads of a cluster: the figures of each node, with its name as a label, and those of the whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families

from realtime.cluster.cards import Overview

STATES = ("ready", "draining", "silent")


class _Pages:
    """A collector of what is given. pages: Prometheus text of each node, by name."""

    def __init__(self, overview: Overview, pages: Mapping[str, bytes]) -> None:
        self.overview, self.pages = overview, pages

    def collect(self) -> Iterator[Metric]:
        """Read by prometheus_client."""
        yield from self._whole()
        yield from self._nodes()
        merged: dict[str, Metric] = {}
        for node, page in self.pages.items():
            for family in text_string_to_metric_families(page.decode()):
                whole = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    whole.add_sample(sample.name, {**sample.labels, "node": node}, sample.value)
        yield from merged.values()

    def _whole(self) -> Iterator[Metric]:
        found = self.overview
        nodes = GaugeMetricFamily("avatar_cluster_nodes", "Nodes that are up, by state", labels=["state"])
        for state in STATES:
            nodes.add_metric([state], sum(node.state == state for node in found.nodes))
        yield nodes
        yield GaugeMetricFamily("avatar_cluster_slots", "Sessions at most", found.slots)
        free = sum(node.free for node in found.nodes)
        yield GaugeMetricFamily("avatar_cluster_slots_free", "Slots that are given to whoever comes next", free)
        tenants = GaugeMetricFamily("avatar_cluster_sessions", "Sessions now, by tenant", labels=["tenant"])
        for tenant, count in found.tenants.items():
            tenants.add_metric([tenant], count)
        yield tenants
        for name, about, value in (
            ("admitted", "Sessions that were given a slot", found.admitted),
            ("refused", "Sessions refused: no slot was free", found.refused),
            ("nodes_lost", "Nodes that fell silent", found.nodes_lost),
            ("sessions_lost", "Sessions that went with them", found.sessions_lost),
        ):
            yield CounterMetricFamily(f"avatar_cluster_{name}", f"{about}; since the directory began", value)

    def _nodes(self) -> Iterator[Metric]:
        for name, about in (("slots", "Sessions at most"), ("free", "Slots that are free"), ("seen", "")):
            unit = "avatar_node_seen_seconds" if name == "seen" else f"avatar_node_{name}"
            family = GaugeMetricFamily(unit, about or "Seconds since it was heard of", labels=["node"])
            for node in self.overview.nodes:
                value = {"slots": node.card.slots, "free": node.free, "seen": node.seen}[name]
                family.add_metric([node.card.name], value)
            yield family


def text(overview: Overview, pages: Mapping[str, bytes]) -> bytes:
    """The page that is read."""
    registry = CollectorRegistry()
    registry.register(_Pages(overview, pages))
    return generate_latest(registry)
