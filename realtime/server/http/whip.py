"""WHIP (RFC 9725: publish a camera, as OBS does) and WHEP (watch the avatar, as players do): SDP over plain HTTP."""

from __future__ import annotations

import logging
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response

from realtime.server.limits import Limits
from realtime.server.places.here import Session, Studio
from realtime.server.rtc.sdp import BadOffer, wants
from realtime.server.sessions import End

log = logging.getLogger(__name__)
router = APIRouter(tags=["WHIP and WHEP"])

SDP = "application/sdp"
_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": {SDP: {"schema": {"type": "string"}}}}}
_PROBLEM = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
_STATUSES = (400, 401, 403, 404, 408, 413, 414, 415, 422, 429, 503)
_RESPONSES: dict[int | str, dict[str, Any]] = {status: {"description": "Refused", **_PROBLEM} for status in _STATUSES}
_CREATED: dict[int | str, dict[str, Any]] = {201: {"description": "The answer", "content": {SDP: {}}}, **_RESPONSES}
Id = Annotated[str, Path(max_length=64)]


async def _offer(request: Request, limits: Limits) -> str:
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != SDP:
        raise HTTPException(415, f"Send the offer as {SDP}")
    body = await request.body()
    if len(body) > limits.sdp_bytes:
        raise HTTPException(413, "The offer is too large")
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise BadOffer("The offer is not text") from None


async def _knock(studio: Studio, request: Request) -> None:
    wait = studio.knocks.take(request.client.host if request.client else "", studio.now())
    if wait:
        raise HTTPException(429, "Too many requests; slow down", {"Retry-After": str(max(1, round(wait + 0.5)))})


def _created(request: Request, sdp: str, location: str, session: Session) -> Response:
    headers = {"Location": location, "Link": f'<{request.url_for("view", id=session.id).path}>; rel="alternate"'}
    return Response(sdp, 201, headers, SDP)


@router.post("/whip", status_code=201, responses=_CREATED, openapi_extra=_BODY, response_class=Response)
async def publish(request: Request, portrait: Annotated[str | None, Query(max_length=64)] = None) -> Response:
    """Publish a camera: it drives a new avatar. The `Link` of the answer is where the avatar is seen; WHEP players
    watch it at `/whep/{id}`, where id is the last part of `Location`."""
    studio: Studio = request.app.state.studio
    await _knock(studio, request)
    sdp = await _offer(request, studio.settings.limits)
    if not wants(sdp, "video")[0]:
        raise BadOffer("The offer sends no video")
    session = await studio.begin("camera", portrait)
    try:
        answer = await studio.connect(session, sdp, publishes=True, watches=False)
    except BaseException:
        await studio.end(session.id, End.FAILED)
        raise
    studio.announce(session, "WHIP")
    return _created(request, answer.sdp, f"/whip/{session.id}", session)


@router.delete("/whip/{id}", responses=_RESPONSES)
async def unpublish(request: Request, id: Id) -> Response:
    """Stop publishing: the session ends."""
    studio: Studio = request.app.state.studio
    studio.get(id)
    await studio.end(id, End.CLIENT)
    return Response(status_code=200)


@router.post("/whep/{id}", status_code=201, responses=_CREATED, openapi_extra=_BODY, response_class=Response)
async def watch(request: Request, id: Id) -> Response:
    """Watch the avatar of a session."""
    studio: Studio = request.app.state.studio
    await _knock(studio, request)
    session = studio.get(id)
    sdp = await _offer(request, studio.settings.limits)
    if not wants(sdp, "video")[1]:
        raise BadOffer("The offer receives no video")
    answer = await studio.connect(session, sdp, publishes=False, watches=True)
    return _created(request, answer.sdp, f"/whep/{id}/{answer.peer}", session)


@router.delete("/whep/{id}/{viewer}", responses=_RESPONSES)
async def unwatch(request: Request, id: Id, viewer: Id) -> Response:
    """Stop watching."""
    studio: Studio = request.app.state.studio
    session = studio.get(id)
    peer = next((peer for peer in session.peers if peer.id == viewer and not peer.publishes), None)
    if peer is None:
        raise HTTPException(404, "There is no such viewer")
    await studio.disconnect(session, peer)
    return Response(status_code=200)
