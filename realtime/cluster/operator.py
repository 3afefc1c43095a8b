"""What whoever runs the cluster may see and do over a front's HTTP: `/api/cluster`, with the cluster's key."""

from __future__ import annotations

import hmac
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, HTTPException, Path, Query, Response

from realtime.cluster.cards import Overview
from realtime.cluster.front import Front
from realtime.server.http.door import knock

KEY_HEADER = "X-Avatar-Cluster-Key"


def as_json(found: Overview) -> dict[str, Any]:
    """The cluster as JSON; the form is part of the HTTP interface."""
    nodes = []
    for node in found.nodes:
        card = {k: v for k, v in asdict(node.card).items() if k not in {"proof", "run", "ice_servers"}}
        nodes.append(
            card | {
                "state": node.state,
                "sessions": node.sessions,
                "free": node.free,
                "seen_s": round(node.seen, 3),
                "drain_s": None if node.drain_in is None else round(node.drain_in, 1),
            }
        )  # fmt: skip
    out = {k: v for k, v in asdict(found).items() if k not in {"nodes", "age"}}
    return out | {
        "age_s": round(found.age, 1),
        "sessions": found.sessions,
        "slots": found.slots,
        "nodes": sorted(nodes, key=lambda node: node["name"]),
    }


def router(front: Front, key: str) -> APIRouter:
    """The routes. key: the cluster's."""

    async def operator(given: Annotated[str, Header(alias=KEY_HEADER)] = "") -> None:
        if not hmac.compare_digest(given.encode(), key.encode()):
            raise HTTPException(403, f"Only who has the cluster's key may see this: send it as {KEY_HEADER}")

    out = APIRouter(prefix="/api/cluster", tags=["cluster"], dependencies=[Depends(knock), Depends(operator)])

    @out.get("")
    async def status() -> dict[str, Any]:
        """Nodes, their sessions, and the counts of the whole."""
        return as_json(await front.overview())

    @out.get("/sessions/{key}")
    async def session(key: Annotated[str, Path(max_length=64)]) -> dict[str, str]:
        """Which node has a session."""
        return {"node": await front.node_of(key)}

    @out.post("/nodes/{name}/drain", status_code=204, response_class=Response)
    async def drain(
        name: Annotated[str, Path(max_length=64)],
        seconds: Annotated[
            float, Query(ge=0, le=86400, description="Then its sessions are told to offer again")
        ] = 60,
    ) -> Response:
        """Let a node take no new sessions."""
        await front.drain(name, seconds)
        return Response(status_code=204)

    @out.delete("/nodes/{name}/drain", status_code=204, response_class=Response)
    async def undrain(name: Annotated[str, Path(max_length=64)]) -> Response:
        """Let it take sessions again."""
        await front.drain(name, None)
        return Response(status_code=204)

    return out
