"""The HTTP face: routes, typed and documented (`/openapi.json`); what they do is behind a `places.Place`."""

from __future__ import annotations

import pathlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

import realtime
from realtime import clients
from realtime.errors import AvatarError, UnknownName, UsageError
from realtime.server.common import messages
from realtime.server.common.metrics import CONTENT_TYPE
from realtime.server.common.sessions import Behind, End, ServerFull
from realtime.server.http import motion_socket, pages, presets, whip
from realtime.server.http.door import Door, client_of, knock
from realtime.server.http.guard import Guard
from realtime.server.http.security import Policy
from realtime.server.places import (
    Busy,
    Health,
    NotAllowed,
    Offered,
    Place,
    Profile,
    TooManyDrivers,
    TooManyViewers,
    UnknownSession,
    Wish,
)
from realtime.server.rtc.sdp import BadOffer, wants

WEB = pathlib.Path(clients.__file__).with_name("web")


class Problem(BaseModel):
    """Every refusal: one sentence."""

    detail: str


class Offer(BaseModel):
    """A browser's offer."""

    model_config = ConfigDict(extra="forbid")

    sdp: Annotated[
        str | None,
        Field(min_length=1, max_length=32 * 1024, description="None: no WebRTC; pictures by HTTP (`preview`)"),
    ] = None
    type: Annotated[str, Field(pattern="^offer$")] = "offer"
    portrait: Annotated[str | None, Field(max_length=64)] = None
    source: Annotated[messages.Source | None, Field(description="Drives first; by default what the offer brings")] = (
        None
    )
    profile: Annotated[
        Profile | None,
        Field(description="A secret of the client's own making: the links stay the same from session to session"),
    ] = None


class Answer(BaseModel):
    """Our answer. `id` is the session's, to be kept secret: who knows it controls the session."""

    id: str
    sdp: str | None
    type: str = "answer"
    view: str = Field(description="Key that only watches: `/view/KEY`, `/whep/KEY`")
    drive: str = Field(description="Key that only drives: `/api/motion?session=KEY`")


class Links(BaseModel):
    """The keys that links carry."""

    view: str
    drive: str


class NewLinks(BaseModel):
    """Where new links come from."""

    model_config = ConfigDict(extra="forbid")

    profile: Profile | None = None


class View(BaseModel):
    """What is behind a view's link."""

    live: bool = Field(description="A session stands behind it now; otherwise the view waits")
    dead: bool = Field(description="No session will stand behind it any more: it was withdrawn, or its session ended")


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documentation of refusals, with those that any route may give."""
    return {status: {"model": Problem} for status in {400, 401, 403, 408, 413, 414, 422, *statuses}}


def create_app(
    place: Place, policy: Policy | None = None, announce: Callable[[str, str], None] = lambda view, how: None
) -> FastAPI:
    """The application for one place. It opens the place when it starts and closes it when it stops.

    announce: see `Door`."""
    policy = policy or Policy()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await place.open()
        try:
            yield
        finally:
            await place.close()

    app = FastAPI(
        title="realtime-avatar",
        version=realtime.__version__,
        description="Browsers drive an avatar over WebRTC. Control messages: see /api/control.schema.json.",
        docs_url=None,  # its scripts come from a CDN
        redoc_url=None,
        lifespan=lifespan,
    )
    door = app.state.door = Door(place, policy, announce)
    app.add_middleware(Guard, policy=policy, limits=door.limits, refused=door.refused)
    _handle_errors(app)
    _add_api(app, door)
    app.include_router(whip.router)
    app.include_router(motion_socket.router)
    app.include_router(presets.router)
    pages.add(app, WEB)
    return app


def _handle_errors(app: FastAPI) -> None:
    def answer(status: int, error: Exception, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status, headers)

    @app.exception_handler(ServerFull)
    @app.exception_handler(Busy)
    async def full(_: Request, error: ServerFull | Busy) -> JSONResponse:
        return answer(503, error, {"Retry-After": str(error.retry_after)})

    @app.exception_handler(NotAllowed)
    async def forbidden(_: Request, error: NotAllowed) -> JSONResponse:
        return answer(403, error)

    @app.exception_handler(TooManyViewers)
    @app.exception_handler(TooManyDrivers)
    async def crowded(_: Request, error: UsageError) -> JSONResponse:
        return answer(503, error, {"Retry-After": "10"})

    @app.exception_handler(UnknownSession)
    async def unknown(_: Request, error: UnknownSession) -> JSONResponse:
        return answer(404, error)

    @app.exception_handler(UnknownName)
    async def unnamed(_: Request, error: UnknownName) -> JSONResponse:
        return answer(404, error)

    @app.exception_handler(UsageError)
    async def bad(_: Request, error: UsageError) -> JSONResponse:
        return answer(400, error)

    @app.exception_handler(BadOffer)
    async def bad_offer(_: Request, error: BadOffer) -> JSONResponse:
        return answer(400, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]  # what was sent is not sent back: it may be anything
        where = ".".join(str(part)[:64] for part in first["loc"])
        return JSONResponse({"detail": f"{where}: {first['msg']}"[:300]}, 422)

    @app.exception_handler(AvatarError)
    async def failed(_: Request, error: AvatarError) -> JSONResponse:
        return answer(503, error, {"Retry-After": "10"})


CONSENT = "I may use this face: it is mine, or its owner agreed"


def _consented(consent: bool) -> None:
    if not consent:
        raise HTTPException(403, "Say first that you may use this face (consent=true)")


@asynccontextmanager
async def _picture(door: Door, request: Request, kinds: tuple[str, ...] = pages.PICTURES) -> AsyncIterator[bytes]:
    """The picture that a request brings; it counts as under way until the block ends. Raises Busy."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() not in kinds:
        raise HTTPException(415, f"Send the file itself, with its type: {kinds[0]}, {kinds[1]} and so on")
    client = client_of(request)
    if not door.uploads.take(client):
        async for _ in request.stream():
            pass  # who is still sending would not see the answer
        raise Busy("Too many portraits are being received")
    try:
        yield await request.body()
    finally:
        door.uploads.leave(client)


def _add_api(app: FastAPI, door: Door) -> None:
    place = door.place

    @app.get("/api/health", tags=["server"], responses={**problems(), 503: {"model": Health}})
    async def health(response: Response) -> Health:
        """Is the server well? Answered without a token; 503 where threads that sessions need are stuck."""
        found = await place.health()
        response.status_code = 200 if found.status == "ok" else 503
        return found

    @app.get(
        "/metrics",
        tags=["server"],
        responses={**problems(), 200: {"content": {CONTENT_TYPE: {}}}},
        response_class=Response,
    )
    async def metrics() -> Response:
        """Prometheus text."""
        return Response(await place.metrics() + door.metrics.text(), media_type=CONTENT_TYPE)

    @app.get("/api/control.schema.json", tags=["control"], responses=problems())
    async def control_schema() -> dict[str, Any]:
        """JSON schema of the messages on the data channel `control`."""
        return messages.schema()

    @app.post(
        "/api/sessions",
        status_code=201,
        tags=["sessions"],
        responses=problems(404, 429, 503),
        dependencies=[Depends(knock)],
    )
    async def open_session(offer: Offer, request: Request, response: Response) -> Answer:
        """Open a session: an SDP offer in, the answer and the session's id out.

        A camera in the offer drives the avatar; without one the built-in sample does."""
        source = offer.source or ("camera" if offer.sdp and wants(offer.sdp, "video")[0] else "sample")
        client = client_of(request)
        opened = await place.begin(
            Wish(source=source, portrait=offer.portrait, profile=offer.profile, client=client),
            Offered(sdp=offer.sdp, publishes=True, watches=True, client=client) if offer.sdp else None,
        )
        response.headers["Location"] = f"/api/sessions/{opened.keys.id}"
        return Answer(sdp=opened.answer.sdp if opened.answer else None, **opened.keys.model_dump())

    @app.get("/api/sessions/{id}", tags=["sessions"], responses=problems(404))
    async def session_state(id: str) -> messages.Hello:
        """What a session can do, and its state."""
        return await place.hello(id)

    @app.delete(
        "/api/sessions/{id}", status_code=204, tags=["sessions"], responses=problems(404), response_class=Response
    )
    async def end_session(
        id: str,
        linger: Annotated[
            bool, Query(description="Let the portrait idle for as long as somebody has its view open")
        ] = False,
    ) -> Response:
        """End a session and free all it held."""
        await place.end(id, End.CLIENT, linger)
        return Response(status_code=204)

    @app.post("/api/sessions/{id}/links", tags=["links"], responses=problems(404))
    async def renew_links(id: str, links: NewLinks) -> Links:
        """New keys to watch and to drive by. The old ones are dead at once; who came by them is hung up on."""
        keys = await place.renew(id, links.profile)
        return Links(view=keys.view, drive=keys.drive)

    @app.delete(
        "/api/sessions/{id}/links", status_code=204, tags=["links"], responses=problems(404), response_class=Response
    )
    async def withdraw_links(id: str) -> Response:
        """Withdraw both links. Who came by them is hung up on."""
        await place.withdraw(id)
        return Response(status_code=204)

    @app.get("/api/views/{view}", tags=["links"], responses=problems())
    async def view_state(view: Annotated[str, Path(max_length=64)]) -> View:
        """Does anything drive this view now? A view that waits may ask each second."""
        behind = await place.behind(view)
        return View(live=behind is Behind.LIVE, dead=behind is Behind.DEAD)

    @app.post("/api/sessions/{id}/control", tags=["control"], responses=problems(404, 429))
    async def control(id: str, command: messages.Command) -> messages.State | messages.Pong:
        """One control message, for clients without a data channel. A change takes effect between two pictures."""
        reply = await place.control(id, command)
        if reply is None:
            raise HTTPException(429, "Too many messages", {"Retry-After": "1"})
        return reply

    picture, behind = (
        {"required": True, "content": {kind: {"schema": {"type": "string", "format": "binary"}} for kind in kinds}}
        for kinds in (pages.PICTURES, pages.BACKGROUNDS)
    )

    @app.post(
        "/api/sessions/{id}/portraits",
        status_code=201,
        tags=["portraits"],
        responses=problems(404, 415, 429, 503),
        openapi_extra={"requestBody": picture},
        dependencies=[Depends(knock)],
    )
    async def add_portrait(
        id: str,
        request: Request,
        consent: Annotated[bool, Query(description=CONSENT)] = False,
        title: Annotated[str, Query(max_length=60)] = "Your picture",
    ) -> messages.PortraitInfo:
        """Bring a portrait (the picture as the body) to this session, and show it. Kept until it ends.

        PNG, JPEG, WebP, GIF, TIFF, AVIF or HEIC. One that lies on its side is set upright."""
        _consented(consent)
        async with _picture(door, request) as data:
            return await place.add_portrait(id, data, title)

    @app.post(
        "/api/sessions/{id}/portraits/{portrait}/views",
        status_code=201,
        tags=["portraits"],
        responses=problems(404, 415, 429, 503),
        openapi_extra={"requestBody": picture},
        dependencies=[Depends(knock)],
    )
    async def add_view(
        id: str,
        portrait: str,
        request: Request,
        consent: Annotated[bool, Query(description=CONSENT)] = False,
    ) -> messages.PortraitInfo:
        """Bring another picture (as the body) of the person of a portrait that this session brought: turned left or
        right, smiling. The head is shown from the one that comes nearest. The new one's id is the last of `views`.

        Kept until the session ends, at most `hello.views` of a portrait; of the kinds that portraits are. 400 where
        the engine takes one picture (`hello.views` is 0 then)."""
        _consented(consent)
        async with _picture(door, request) as data:
            return await place.add_view(id, portrait, data)

    @app.delete(
        "/api/sessions/{id}/portraits/{portrait}/views/{view}",
        status_code=204,
        tags=["portraits"],
        responses=problems(404, 503),
        response_class=Response,
    )
    async def remove_view(id: str, portrait: str, view: str) -> Response:
        """Forget a view of a portrait that this session brought."""
        await place.remove_view(id, portrait, view)
        return Response(status_code=204)

    @app.post(
        "/api/sessions/{id}/background",
        status_code=201,
        tags=["portraits"],
        responses=problems(404, 415, 429, 503),
        openapi_extra={"requestBody": behind},
        dependencies=[Depends(knock)],
    )
    async def add_background(id: str, request: Request) -> messages.BackgroundInfo:
        """Bring a picture or a clip (the file as the body; MP4 or WebM, its first 20 seconds go round), and show it
        behind the portrait. Kept until the session ends; the message `background` "own" comes back to it."""
        async with _picture(door, request, pages.BACKGROUNDS) as data:
            return await place.add_background(id, data)

    @app.post(
        "/api/sessions/{id}/look",
        tags=["portraits"],
        responses=problems(404, 415, 429, 503),
        openapi_extra={"requestBody": picture},
        dependencies=[Depends(knock)],
    )
    async def look(id: str, request: Request) -> messages.Look:
        """What is in a picture, before it is brought: it as a JPEG, set upright, and where its faces are. Nothing of
        it is kept."""
        async with _picture(door, request) as data:
            return await place.look(id, data)

    @app.delete(
        "/api/sessions/{id}/portraits/{portrait}",
        status_code=204,
        tags=["portraits"],
        responses=problems(404),
        response_class=Response,
    )
    async def remove_portrait(id: str, portrait: str) -> Response:
        """Forget a portrait that this session brought."""
        await place.remove_portrait(id, portrait)
        return Response(status_code=204)

    @app.get(
        "/api/sessions/{id}/portraits/{portrait}.jpg",
        tags=["portraits"],
        responses={**problems(404), 200: {"content": {"image/jpeg": {}}}},
        response_class=Response,
    )
    async def small_picture(id: str, portrait: str) -> Response:
        """The gallery's small picture of a portrait."""
        return Response(await place.picture(id, portrait), media_type="image/jpeg")
