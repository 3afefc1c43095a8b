"""WHIP (RFC 9725: publish a camera, as OBS does) and WHEP (watch the avatar, as players do): SDP over plain HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request, Response

from realtime.media.backgrounds import Background
from realtime.server.common.limits import Limits
from realtime.server.common.sessions import End
from realtime.server.http.door import Door, client_of, knock
from realtime.server.places import Answered, Offered, Profile, Trickled, Wish
from realtime.server.rtc.sdp import BadOffer, wants

router = APIRouter(tags=["WHIP and WHEP"])

SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": {SDP: {"schema": {"type": "string"}}}}}
_PROBLEM = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}
_STATUSES = (400, 401, 403, 404, 408, 413, 414, 415, 422, 429, 503)
_RESPONSES: dict[int | str, dict[str, Any]] = {status: {"description": "Refused", **_PROBLEM} for status in _STATUSES}
_CREATED: dict[int | str, dict[str, Any]] = {201: {"description": "The answer", "content": {SDP: {}}}, **_RESPONSES}
_TRICKLED: dict[int | str, dict[str, Any]] = {
    **_RESPONSES,
    **{status: {"description": "Refused", **_PROBLEM} for status in (412, 428)},
}
_FRAGMENT: dict[str, Any] = {"requestBody": {"required": True, "content": {FRAGMENT: {"schema": {"type": "string"}}}}}
Id = Annotated[str, Path(max_length=64)]


async def _text(request: Request, limits: Limits, kind: str) -> str:
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != kind:
        raise HTTPException(415, f"Send it as {kind}")
    body = await request.body()
    if len(body) > limits.sdp_bytes:
        raise HTTPException(413, "The body is too large")
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise BadOffer("The body is not text") from None


def _created(request: Request, answer: Answered, location: str, view: str) -> Response:
    door: Door = request.app.state.door
    links = [f'<{request.url_for("view", id=view).path}>; rel="alternate"']
    for server in door.place.terms.ice_servers:
        link = f'<{server["urls"]}>; rel="ice-server"'
        if "username" in server:
            link += f'; username="{server["username"]}"; credential="{server["credential"]}"'
        links.append(link)
    headers = {"Location": location, "Link": ", ".join(links), "ETag": answer.etag, "Accept-Patch": FRAGMENT}
    return Response(answer.sdp, 201, headers, SDP)


async def _trickle(request: Request, key: str, peer: str | None) -> Response:
    door: Door = request.app.state.door
    etag = request.headers.get("if-match")
    fragment = await _text(request, door.limits, FRAGMENT)
    if etag is None:
        raise HTTPException(428, "Send the ETag of the answer as If-Match")
    match await door.place.trickle(key, peer, fragment, etag):
        case Trickled.TAKEN:
            return Response(status_code=204)
        case Trickled.NO_PEER:
            raise HTTPException(404, "There is no such connection")
        case Trickled.OTHER_ETAG:
            raise HTTPException(412, "The ETag is not that of this connection")
        case Trickled.RESTART:
            raise HTTPException(422, "ICE restarts are not done here: make a new offer")


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
    sdp = await _text(request, door.limits, SDP)
    if not wants(sdp, "video")[0]:
        raise BadOffer("The offer sends no video")
    wish = Wish(source="camera", portrait=portrait, profile=profile, client=client_of(request))
    opened = await door.place.begin(wish, Offered(sdp=sdp, publishes=True, client=client_of(request)))
    assert opened.answer is not None  # an offer came with the wish
    door.announce(opened.keys.view, "WHIP")
    return _created(request, opened.answer, f"/whip/{opened.keys.id}", opened.keys.view)


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
    sdp = await _text(request, door.limits, SDP)
    if not wants(sdp, "video")[1]:
        raise BadOffer("The offer receives no video")
    answer = await door.place.answer(
        id, Offered(sdp=sdp, watches=True, background=background, client=client_of(request))
    )
    return _created(request, answer, f"/whep/{id}/{answer.peer}", id)


@router.delete("/whep/{id}/{viewer}", responses=_RESPONSES)
async def unwatch(request: Request, id: Id, viewer: Id) -> Response:
    """Stop watching."""
    door: Door = request.app.state.door
    if not await door.place.hang_up(id, viewer):
        raise HTTPException(404, "There is no such viewer")
    return Response(status_code=200)


@router.patch("/whip/{id}", status_code=204, responses=_TRICKLED, openapi_extra=_FRAGMENT, response_class=Response)
async def trickle_publisher(request: Request, id: Id) -> Response:
    """Candidates of the publisher that its offer did not hold (trickle ICE)."""
    return await _trickle(request, id, None)


@router.patch(
    "/whep/{id}/{viewer}", status_code=204, responses=_TRICKLED, openapi_extra=_FRAGMENT, response_class=Response
)
async def trickle_viewer(request: Request, id: Id, viewer: Id) -> Response:
    """Candidates of a viewer that its offer did not hold (trickle ICE)."""
    return await _trickle(request, id, viewer)


@router.options("/whip", include_in_schema=False)
@router.options("/whep/{id}", include_in_schema=False)
async def endpoint_options() -> Response:
    """What may be sent here."""
    return Response(status_code=200, headers={"Allow": "POST, OPTIONS", "Accept-Post": SDP})


@router.options("/whip/{id}", include_in_schema=False)
@router.options("/whep/{id}/{viewer}", include_in_schema=False)
async def resource_options() -> Response:
    """What may be sent to a connection."""
    return Response(status_code=200, headers={"Allow": "PATCH, DELETE, OPTIONS", "Accept-Patch": FRAGMENT})
