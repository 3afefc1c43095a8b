"""A cluster of three machines on this one: placement, refusals, and what callers see when a part of it dies.

Machines are loopback addresses; head, nodes and front are `avatar cluster` as it is, but for an engine that carries
the stamp of `glass`. Callers are aiortc peers that send a real clip, ask the front after a second without a picture,
and offer again by themselves, as the page does. A machine dies by SIGKILL of all its processes at once.

  python -m benchmarks cluster --json cluster.json
  python -m benchmarks cluster --simulate --json simulated.json     up to 10,000 nodes, no Ray
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import time
from collections import Counter
from typing import Any

import httpx
import numpy as np
from rich.console import Console
from rich.progress import Progress

from benchmarks.live.cluster import simulation
from benchmarks.live.cluster.callers import Caller
from benchmarks.live.cluster.machines import KEY, Machines, machines
from benchmarks.live.loopback import offer_loopback, served
from benchmarks.live.peers import encode_clip
from benchmarks.live.subjects import clip_name, driving_clip, letterboxed
from benchmarks.report.result import Result
from realtime.errors import ConnectionLost

SLOTS = 2
REFUSED_MS, BACK_S = 50.0, 5.0
STEPS = ("offers", "placement", "media", "node", "front", "head", "drain", "rolling")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `cluster`."""
    simulation.add_options(parser)
    parser.add_argument("--size", type=int, default=128, help="size of the avatar's picture (128)")
    parser.add_argument("--clip", metavar="PATH", help="driving clip; default a webcam clip of the test data")
    parser.add_argument("--only", nargs="+", choices=STEPS, default=STEPS, help="some of the steps")


def run(options: argparse.Namespace) -> Result:
    """All steps on one cluster, or the simulation."""
    if options.simulate:
        return simulation.run(options)
    result = Result("cluster", settings={
        "nodes": 3, "slots": SLOTS, "size": options.size, "clip": clip_name(options.clip), "camera": "320x240",
        "quiet_s": 1.0,
    })  # fmt: skip
    offer_loopback()
    clip = encode_clip(letterboxed(driving_clip(options.clip, 90).frames, 320, 240), 15, 200_000)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("starting Ray", total=len(options.only) + 1)
        with machines(3, SLOTS, options.size) as cluster:
            result.settings["redis"] = cluster.redis is not None
            asyncio.run(Scenes(cluster, clip, result, options.size).play(options.only, progress, task))
    return result


class Scenes:
    """The steps, each on what the one before has left: a cluster that is whole, and no session."""

    def __init__(self, cluster: Machines, clip: Any, result: Result, size: int) -> None:
        self.cluster, self.clip, self.result, self.size = cluster, clip, result, size
        self.callers: list[Caller] = []

    async def play(self, steps: list[str], progress: Progress, task: Any) -> None:
        """One after the other; what fails is noted, and the others go on."""
        headers = {"X-Avatar-Cluster-Key": KEY}
        async with httpx.AsyncClient(base_url=self.cluster.url, timeout=30, headers=headers) as self.http:
            for step in steps:
                progress.update(task, advance=1, description=step)
                try:
                    await getattr(self, f"_{step}")()
                except (AssertionError, TimeoutError, httpx.HTTPError, ConnectionLost) as error:
                    self.result.notes.append(f"{step} broke off: {type(error).__name__}: {error}")
                await self._hang_up()

    # --- steps

    async def _offers(self) -> None:
        """What the front adds to an offer: the same one to it, and to `avatar serve` alone, by turns."""
        from benchmarks.live.attack import silent_offer

        body = {"sdp": (await silent_offer()).replace("a=recvonly", "a=sendrecv")}
        found: dict[str, list[float]] = {"front": [], "direct": []}
        with served(self.size, SLOTS) as (address, _):
            async with httpx.AsyncClient(base_url=address, timeout=30) as direct:
                for turn in range(12):
                    for name, http in (("front", self.http), ("direct", direct)):
                        began = time.monotonic()
                        answer = await http.post("/api/sessions", json=body)
                        spent = 1000 * (time.monotonic() - began)
                        assert answer.status_code == 201, answer.text
                        await http.delete(f"/api/sessions/{answer.json()['id']}")
                        if turn >= 3:  # three nodes, each warm by now
                            found[name].append(spent)
                        await asyncio.sleep(0.2)
        for name, values in found.items():
            self._add(f"offer.{name}", values, "ms", "lower")
        added = [a - b for a, b in zip(found["front"], found["direct"], strict=True)]
        self.result.add("offer.added", float(np.median(added)), "ms", samples=added, better="lower",
                        about="by the front: median of the pairs, interleaved")  # fmt: skip

    async def _placement(self) -> None:
        """Sessions are spread evenly; one too many is refused at once."""
        uneven = []
        for _ in range(3 * SLOTS):
            await self._call(1)
            counts = await self._counts()
            uneven.append(max(counts.values()) - min(counts.values()))
        self.result.add("placement.uneven", max(uneven), "slots", better="lower", target=1,
                        about="the most sessions that one node had beyond another, after each offer")  # fmt: skip
        waits = []
        for _ in range(20):
            began = time.monotonic()
            answer = await self.http.post("/api/sessions", json={})
            waits.append(1000 * (time.monotonic() - began))
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) > 0
            await asyncio.sleep(0.1)
        self.result.settings["refusal"] = answer.json()["detail"]
        self._add("refusal", waits, "ms", "lower", REFUSED_MS)

    async def _media(self) -> None:
        """Delays of pictures, through the cluster and straight from `avatar serve`, at the same time."""
        await self._call(1)
        with served(self.size, 1) as (address, _):
            async with httpx.AsyncClient(base_url=address, timeout=30) as http:
                direct = Caller(self.clip, 0, http)
                direct.start()
                await direct.first()
                await asyncio.sleep(15.0)
                rows = {"cluster": self.callers[0].seen, "direct": direct.seen}
                for name, seen in rows.items():
                    delays = [1000 * d for t, d in seen if d is not None and t > time.monotonic() - 12.0]
                    self._add(f"media.{name}", delays, "ms", "lower")
                await direct.close()
        both = [self.result.get(f"media.{name}").value for name in ("cluster", "direct")]
        if None not in both:
            self.result.add("media.added", both[0] - both[1], "ms", better="lower", about="difference of the medians")

    async def _node(self) -> None:
        """A machine dies; its callers come back elsewhere, the others notice nothing."""
        back, others = [], []
        for name in list(self.cluster.nodes)[:2]:
            await self._hang_up()
            await self._call(4)
            where = await self._where()
            victims = [c for c in self.callers if where[c.id] == name]
            rest = [c for c in self.callers if c not in victims]
            await asyncio.sleep(3.0)
            began = time.monotonic()
            await asyncio.to_thread(self.cluster.nodes[name].kill)
            await self._until(lambda v=victims, t=began: all(c.back(t) is not None for c in v), 40.0)
            await asyncio.sleep(3.0)
            now = time.monotonic()
            back += [c.back(began) for c in victims]
            others += [c.gap(began, now) for c in rest]
            assert all(len(c.began) == 1 for c in rest), "a caller of another node offered again"
            await asyncio.to_thread(self.cluster.nodes[name].start().wait)
        self._add("node killed.pictures again", back, "s", "lower", BACK_S)
        self.result.add("node killed.others' longest gap", max(others), "s", samples=others, better="lower")

    async def _front(self) -> None:
        """The front dies and is started again: media goes on, and the new one knows the sessions."""
        await self._call(4)
        await asyncio.sleep(3.0)
        calm = [c.gap(time.monotonic() - 3.0, time.monotonic()) for c in self.callers]
        began = time.monotonic()
        await asyncio.to_thread(self.cluster.front.kill)
        await asyncio.sleep(5.0)
        self.cluster.front.start()
        await asyncio.to_thread(self.cluster.front.wait)
        now = time.monotonic()
        gaps = [c.gap(began, now) for c in self.callers]
        self.result.add("front killed.away", now - began, "s")
        self.result.add("front killed.longest gap", max(gaps), "s", samples=gaps, better="lower")
        self.result.add("front killed.longest gap before", max(calm), "s", samples=calm)
        self._known("front killed", await self._statuses())

    async def _head(self) -> None:
        """The head dies and is started again with what Redis has kept: no session is lost."""
        if self.cluster.redis is None:
            self.result.notes.append("head: skipped, there is no redis-server here")
            return
        await self._call(4)
        await asyncio.sleep(2.0)
        began = time.monotonic()
        await asyncio.to_thread(self.cluster.head.kill)
        await asyncio.sleep(1.0)
        during = await self._statuses()
        self.cluster.head.start()
        restarted = time.monotonic()
        while (answer := await self.http.post("/api/sessions", json={})).status_code != 201:
            assert time.monotonic() - restarted < 240.0, answer.text
            await asyncio.sleep(0.5)
        now = time.monotonic()
        await self.http.delete(f"/api/sessions/{answer.json()['id']}")
        self.result.add("head killed.offers again", now - began, "s", better="lower",
                        about="from its death; it was started again a second later")  # fmt: skip
        gaps = [c.gap(began, now) for c in self.callers]
        self.result.add("head killed.longest gap", max(gaps), "s", samples=gaps, better="lower")
        self.result.add("head killed.known while away", float(sum(s == 200 for s in during)), f"of {len(during)}")
        self._known("head killed", await self._statuses())
        self.result.add("head killed.sessions lost", float(sum(len(c.began) - 1 for c in self.callers)), target=0,
                        better="lower")  # fmt: skip

    async def _drain(self) -> None:
        """A node is emptied: nobody is moved before the deadline, and then each at once."""
        await self._call(4)
        where = await self._where()
        name = Counter(where.values()).most_common(1)[0][0]
        there = [c for c in self.callers if where[c.id] == name]
        await asyncio.sleep(2.0)
        began = time.monotonic()
        answer = await self.http.post(f"/api/cluster/nodes/{name}/drain", params={"seconds": 6})
        assert answer.status_code == 204, answer.text
        await asyncio.sleep(5.0)
        early = sum(len(c.began) - 1 for c in self.callers)
        await self._until(lambda: all(c.back(began) is not None for c in there), 30.0)
        await asyncio.sleep(1.0)
        now = time.monotonic()
        gaps = [c.gap(began, now) for c in there]
        self.result.add("drain.moved before the deadline", early, better="lower", target=0)
        self.result.add("drain.longest gap of the moved", max(gaps), "s", samples=gaps, better="lower")
        others = [c.gap(began, now) for c in self.callers if c not in there]
        self.result.add("drain.longest gap of the others", max(others), "s", samples=others, better="lower")
        self.result.add("drain.left on the node", (await self._counts())[name], better="lower", target=0)
        await self.http.delete(f"/api/cluster/nodes/{name}/drain")

    async def _rolling(self) -> None:
        """All nodes are restarted, one after the other, while two callers stay and others come and go."""
        await self._call(2)
        offers: Counter[int] = Counter()

        async def come_and_go() -> None:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    answer = await self.http.post("/api/sessions", json={})
                    offers[answer.status_code] += 1
                    if answer.status_code == 201:
                        await self.http.delete(f"/api/sessions/{answer.json()['id']}")
                await asyncio.sleep(0.5)

        began, visitor = time.monotonic(), asyncio.create_task(come_and_go())
        for name, part in self.cluster.nodes.items():
            await self.http.post(f"/api/cluster/nodes/{name}/drain", params={"seconds": 3})
            async with asyncio.timeout(60.0):
                while (await self._counts()).get(name):
                    await asyncio.sleep(0.2)
            await asyncio.to_thread(part.stop)
            part.start()
            await asyncio.to_thread(part.wait)
        visitor.cancel()
        now = time.monotonic()
        self.result.add("rolling.offers", offers.total())
        self.result.add("rolling.refused", offers.total() - offers[201], "of the offers", better="lower", target=0)
        gaps = [c.gap(began, now) for c in self.callers]
        self.result.add("rolling.longest gap of who stayed", max(gaps), "s", samples=gaps, better="lower")
        self.result.add("rolling.took", now - began, "s")

    # --- what they share

    def _add(self, name: str, values: list[Any], unit: str, better: Any, target: float | None = None) -> None:
        """Median, and the worst."""
        known = [v for v in values if v is not None]
        middle = float(np.median(known)) if known else None
        self.result.add(name, middle, unit, samples=known, better=better, target=target, about="median")
        self.result.add(f"{name}.worst", max(known, default=None), unit, better=better)

    def _known(self, name: str, statuses: list[int]) -> None:
        found = float(sum(status == 200 for status in statuses))
        self.result.add(f"{name}.sessions found", found, f"of {len(statuses)}", better="higher", target=len(statuses))

    async def _call(self, count: int) -> None:
        for _ in range(count):
            caller = Caller(self.clip, len(self.callers), self.http)
            self.callers.append(caller)
            caller.start()
            await caller.first()

    async def _hang_up(self) -> None:
        for caller in self.callers:
            await caller.close()
            with contextlib.suppress(httpx.HTTPError):
                await self.http.delete(f"/api/sessions/{caller.id}")
        self.callers = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(20.0):
                while any((await self._counts()).values()):
                    await asyncio.sleep(0.2)

    async def _until(self, condition: Any, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.02)

    async def _status(self) -> dict[str, Any]:
        answer = await self.http.get("/api/cluster")
        return answer.json() if answer.status_code == 200 else {"nodes": []}

    async def _counts(self) -> dict[str, int]:
        return {node["name"]: node["sessions"] for node in (await self._status())["nodes"]}

    async def _where(self) -> dict[str, str]:
        """Sessions and their nodes."""
        answers = [await self.http.get(f"/api/cluster/sessions/{caller.id}") for caller in self.callers]
        return {caller.id: answer.json()["node"] for caller, answer in zip(self.callers, answers, strict=True)}

    async def _statuses(self) -> list[int]:
        return [(await self.http.get(f"/api/sessions/{caller.id}")).status_code for caller in self.callers]
