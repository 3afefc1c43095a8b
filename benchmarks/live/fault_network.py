"""A caller's network, its server and itself: cut, lossy, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable

from benchmarks.live.caller import CAMERA, FPS, calling
from benchmarks.live.faults import Outcome, Plan, noticed_after, recovered_after
from benchmarks.live.glass import post
from benchmarks.live.loopback import answers, offer_loopback, served
from benchmarks.live.peers import SyntheticPeer, encode_clip
from benchmarks.live.relay import CUT, Path, Relay, alone, relayed
from benchmarks.live.subjects import driving_clip, letterboxed
from realtime.errors import ConnectionLost

Fault = Callable[[Relay, subprocess.Popen], None]
WITHIN_S = 2.0
"""After the fault's end pictures are to be back so soon."""


def cut(plan: Plan) -> Outcome:
    """Nothing passes for ten seconds."""
    return _meanwhile(plan, "network cut, 10 s", 10.0, lambda relay, _: _path(relay, CUT))


def loss(plan: Plan) -> Outcome:
    """A fifth of all datagrams is lost for ten seconds."""
    return _meanwhile(plan, "20 % of all datagrams lost, 10 s", 10.0, lambda relay, _: _path(relay, Path(loss=0.2)))


def server_stopped(plan: Plan) -> Outcome:
    """The server's process stands still."""
    return _meanwhile(plan, "SIGSTOP of the server, 5 s", 5.0, lambda _, server: os.kill(server.pid, signal.SIGSTOP))


def caller_stopped(plan: Plan) -> Outcome:
    """The caller's process stands still; times are known to a second."""
    with served(plan.size, 2) as (address, server), calling(address) as caller:
        time.sleep(3.0)
        os.kill(caller.process.pid, signal.SIGSTOP)
        time.sleep(5.0)
        ended = time.monotonic()
        alive = answers(f"{address}/api/health")
        os.kill(caller.process.pid, signal.SIGCONT)
        time.sleep(8.0)
        lost, back = (
            caller.calls - 1,
            [s.at - ended for s in caller.between(ended + 0.5, ended + 8) if s.pictures > 10],
        )
        held = alive and server.poll() is None and not lost
    return Outcome(
        "SIGSTOP of the caller, 5 s", recovered=back[0] if back else None, recovers_within=WITHIN_S + 1,
        lost="nothing" if not lost else "its session", held=held and bool(back),
    )  # fmt: skip


def _path(relay: Relay, path: Path) -> None:
    relay.up.path = relay.down.path = path


def _meanwhile(plan: Plan, injected: str, seconds: float, fault: Fault) -> Outcome:
    offer_loopback()
    with served(plan.size, 2) as (address, server):
        return asyncio.run(_through(address, server, injected, seconds, fault))


async def _through(
    address: str, server: subprocess.Popen, injected: str, seconds: float, fault: Fault
) -> Outcome:  # fmt: skip
    async with _caller(address) as (peer, relay):
        await asyncio.sleep(3.0)
        begun = time.monotonic()
        fault(relay, server)
        await asyncio.sleep(seconds)
        _path(relay, Path())
        if server.poll() is None:
            os.kill(server.pid, signal.SIGCONT)
        ended = time.monotonic()
        await asyncio.sleep(8.0)
        times = [at for at, _ in peer.seen]
    back = recovered_after(times, ended)
    during = sum(begun < t <= ended for t in times)
    return Outcome(
        injected, noticed=noticed_after([t for t in times if t <= ended] + [ended], begun), recovered=back,
        recovers_within=WITHIN_S, held=back is not None, lost="nothing" if back is not None else "the session",
        figures={"pictures lost": (max(0.0, FPS * seconds - during), "", None)},
    )  # fmt: skip


@contextlib.asynccontextmanager
async def _caller(address: str) -> AsyncIterator[tuple[SyntheticPeer, Relay]]:
    """A caller behind a relay, once pictures come. Raises ConnectionLost."""
    clip = await asyncio.to_thread(lambda: encode_clip(letterboxed(driving_clip(None, 60).frames, *CAMERA), FPS))
    loop, relays = asyncio.get_running_loop(), []
    async with contextlib.AsyncExitStack() as stack:

        def exchange(offer: dict[str, str]) -> dict[str, str]:
            answer = post(f"{address}/api/sessions", {**offer, "sdp": alone(offer["sdp"])})
            entering = stack.enter_async_context(relayed(answer["sdp"]))
            through, relay = asyncio.run_coroutine_threadsafe(entering, loop).result(10)
            relays.append(relay)
            return {**answer, "sdp": through}

        peer = SyntheticPeer(clip, 0)
        stack.push_async_callback(peer.close)
        await peer.call(exchange)
        until = time.monotonic() + 30
        while len(peer.seen) < 30:
            if time.monotonic() > until:
                raise ConnectionLost(address, "no pictures come")
            await asyncio.sleep(0.1)
        yield peer, relays[0]
