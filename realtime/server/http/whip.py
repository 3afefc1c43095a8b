"""WHIP (RFC 9725: publish a camera, as OBS does) and WHEP (watch the avatar, as players do): SDP over plain HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response

from realtime.server.http.door import Door, client_of, knock
from realtime.server.limits import Limits
from realtime.server.messages import Background
from realtime.server.places import Offered, Profile, Wish
from realtime.server.rtc.sdp import BadOffer, wants
from realtime.server.sessions import End

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


def _created(request: Request, sdp: str, location: str, view: str) -> Response:
    headers = {"Location": location, "Link": f'<{request.url_for("view", id=view).path}>; rel="alternate"'}
    return Response(sdp, 201, headers, SDP)


@router.post(
    "/whip",
    status_code=201,
    responses=_CREATED,
    openapi_extra=_BODY,
    response_class=Response,
    dependencies=[Depends(knock)],
)
async def publish(
    request: Request,
    portrait: Annotated[str | None, Query(max_length=64)] = None,
    profile: Annotated[Profile | None, Query(description="A secret of yours: the view's link stays the same")] = None,
) -> Response:
    """Publish a camera: it drives a new avatar. The `Link` of the answer is where the avatar is seen; WHEP players
    watch it at `/whep/KEY`, where KEY is the last part of that link."""
    door: Door = request.app.state.door
    sdp = await _offer(request, door.limits)
    if not wants(sdp, "video")[0]:
        raise BadOffer("The offer sends no video")
    wish = Wish(source="camera", portrait=portrait, profile=profile)
    opened = await door.place.begin(wish, Offered(sdp=sdp, publishes=True, client=client_of(request)))
    assert opened.answer is not None  # an offer came with the wish
    door.announce(opened.keys.view, "WHIP")
    return _created(request, opened.answer.sdp, f"/whip/{opened.keys.id}", opened.keys.view)


@router.delete("/whip/{id}", responses=_RESPONSES)
async def unpublish(request: Request, id: Id) -> Response:
    """Stop publishing: the session ends."""
    door: Door = request.app.state.door
    await door.place.end(id, End.CLIENT)
    return Response(status_code=200)


@router.post(
    "/whep/{id}",
    status_code=201,
    responses=_CREATED,
    openapi_extra=_BODY,
    response_class=Response,
    dependencies=[Depends(knock)],
)
async def watch(
    request: Request,
    id: Id,
    background: Annotated[
        Background | None, Query(description="What this viewer alone sees behind the portrait")
    ] = None,
) -> Response:
    """Watch the avatar of a session, by the key of its view (or its id)."""
    door: Door = request.app.state.door
    sdp = await _offer(request, door.limits)
    if not wants(sdp, "video")[1]:
        raise BadOffer("The offer receives no video")
    answer = await door.place.answer(
        id, Offered(sdp=sdp, watches=True, background=background, client=client_of(request))
    )
    return _created(request, answer.sdp, f"/whep/{id}/{answer.peer}", id)


@router.delete("/whep/{id}/{viewer}", responses=_RESPONSES)
async def unwatch(request: Request, id: Id, viewer: Id) -> Response:
    """Stop watching."""
    door: Door = request.app.state.door
    if not await door.place.hang_up(id, viewer):
        raise HTTPException(404, "There is no such viewer")
    return Response(status_code=200)
