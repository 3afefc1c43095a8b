"""The HTTP face: routes, typed and documented (`/openapi.json`); what they do is in `studio`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

import realtime
from realtime import clients
from realtime.errors import AvatarError, UnknownName, UsageError
from realtime.media.uploads import decode_portrait
from realtime.server import messages
from realtime.server.http import motion_socket, pages, whip
from realtime.server.http.guard import Guard
from realtime.server.http.security import Policy
from realtime.server.metrics import CONTENT_TYPE
from realtime.server.places.here import Studio, TooManyViewers, UnknownSession, source_for
from realtime.server.rtc.sdp import BadOffer
from realtime.server.sessions import End, ServerFull

WEB = Path(clients.__file__).with_name("web")


class Problem(BaseModel):
    """Every refusal: one sentence."""

    detail: str


class Offer(BaseModel):
    """A browser's offer."""

    model_config = ConfigDict(extra="forbid")

    sdp: Annotated[str, Field(min_length=1, max_length=32 * 1024)]
    type: Annotated[str, Field(pattern="^offer$")] = "offer"
    portrait: Annotated[str | None, Field(max_length=64)] = None
    source: Annotated[messages.Source | None, Field(description="Drives first; by default what the offer brings")] = (
        None
    )


class Answer(BaseModel):
    """Our answer. `id` is the session's, to be kept secret: who knows it controls the session."""

    id: str
    sdp: str
    type: str = "answer"


class Health(BaseModel):
    """Is the server well?"""

    status: str
    version: str
    sessions: int
    max_sessions: int


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Documentation of refusals, with those that any route may give."""
    return {status: {"model": Problem} for status in {400, 401, 403, 408, 413, 414, 422, *statuses}}


async def knock(request: Request) -> None:
    """At most so many sessions and portraits per second from one address."""
    studio: Studio = request.app.state.studio
    wait = studio.knocks.take(request.client.host if request.client else "", studio.now())
    if wait:
        raise HTTPException(429, "Too many requests; slow down", {"Retry-After": str(max(1, round(wait + 0.5)))})


def create_app(studio: Studio, policy: Policy | None = None) -> FastAPI:
    """The application for one studio. It opens the studio when it starts and closes it when it stops."""
    policy = policy or Policy()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await studio.open()
        try:
            yield
        finally:
            await studio.close()

    app = FastAPI(
        title="realtime-avatar",
        version=realtime.__version__,
        description="Browsers drive an avatar over WebRTC. Control messages: see /api/control.schema.json.",
        docs_url=None,  # its scripts come from a CDN
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.studio, app.state.policy = studio, policy
    app.add_middleware(
        Guard,
        policy=policy,
        limits=studio.settings.limits,
        refused=lambda rule: studio.metrics.refused.labels(rule).inc(),
    )
    _handle_errors(app)
    _add_api(app, studio)
    app.include_router(whip.router)
    app.include_router(motion_socket.router)
    pages.add(app, WEB)
    return app


def _handle_errors(app: FastAPI) -> None:
    def answer(status: int, error: Exception, headers: dict[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status, headers)

    @app.exception_handler(ServerFull)
    async def full(_: Request, error: ServerFull) -> JSONResponse:
        return answer(503, error, {"Retry-After": str(error.retry_after)})

    @app.exception_handler(TooManyViewers)
    async def crowded(_: Request, error: TooManyViewers) -> JSONResponse:
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


def _add_api(app: FastAPI, studio: Studio) -> None:
    @app.get("/api/health", tags=["server"], responses=problems())
    async def health() -> Health:
        """Is the server well? Answered without a token."""
        return Health(
            status="ok",
            version=realtime.__version__,
            sessions=len(studio.sessions),
            max_sessions=studio.settings.limits.sessions,
        )

    @app.get(
        "/metrics",
        tags=["server"],
        responses={**problems(), 200: {"content": {CONTENT_TYPE: {}}}},
        response_class=Response,
    )
    async def metrics() -> Response:
        """Prometheus text."""
        return Response(studio.metrics.text(), media_type=CONTENT_TYPE)

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
    async def open_session(offer: Offer, response: Response) -> Answer:
        """Open a session: an SDP offer in, the answer and the session's id out.

        A camera in the offer drives the avatar; without one the built-in sample does."""
        session = await studio.begin(offer.source or source_for(offer.sdp), offer.portrait)
        try:
            answer = await studio.connect(session, offer.sdp, publishes=True, watches=True)
        except BaseException:
            await studio.end(session.id, End.FAILED)
            raise
        response.headers["Location"] = f"/api/sessions/{session.id}"
        return Answer(id=session.id, sdp=answer.sdp)

    @app.get("/api/sessions/{id}", tags=["sessions"], responses=problems(404))
    async def session_state(id: str) -> messages.Hello:
        """What a session can do, and its state."""
        return studio.hello(studio.get(id))

    @app.delete(
        "/api/sessions/{id}", status_code=204, tags=["sessions"], responses=problems(404), response_class=Response
    )
    async def end_session(id: str) -> Response:
        """End a session and free all it held."""
        studio.get(id)
        await studio.end(id, End.CLIENT)
        return Response(status_code=204)

    @app.post("/api/sessions/{id}/control", tags=["control"], responses=problems(404, 429))
    async def control(id: str, command: messages.Command) -> messages.State | messages.Pong:
        """One control message, for clients without a data channel. A change takes effect between two pictures."""
        session = studio.get(id)
        if not session.messages.take(studio.now()):
            raise HTTPException(429, "Too many messages", {"Retry-After": "1"})
        if isinstance(command, messages.Ping):
            return messages.Pong(t=command.t)
        session.performer.command(command)
        return session.performer.state()

    picture = {
        "required": True,
        "content": {t: {"schema": {"type": "string", "format": "binary"}} for t in pages.PICTURES},
    }

    @app.post(
        "/api/sessions/{id}/portraits",
        status_code=201,
        tags=["portraits"],
        responses=problems(404, 415, 429),
        openapi_extra={"requestBody": picture},
        dependencies=[Depends(knock)],
    )
    async def add_portrait(
        id: str,
        request: Request,
        consent: Annotated[bool, Query(description="I may use this face: it is mine, or its owner agreed")] = False,
        title: Annotated[str, Query(max_length=60)] = "Your picture",
    ) -> messages.PortraitInfo:
        """Bring a portrait (PNG, JPEG or WebP as the body) to this session, and show it. Kept until it ends."""
        session = studio.get(id)
        if not consent:
            raise HTTPException(403, "Say first that you may use this face (consent=true)")
        if request.headers.get("content-type", "").split(";")[0].strip().lower() not in pages.PICTURES:
            raise HTTPException(415, "Send the picture itself, as image/png, image/jpeg or image/webp")
        image = await pages.in_thread(decode_portrait, await request.body(), studio.settings.limits.portrait_pixels)
        portrait = await session.performer.try_portrait(image, title)
        studio.tell(session, messages.Portraits(portraits=session.performer.gallery.infos(id)))
        return next(info for info in session.performer.gallery.infos(id) if info.id == portrait.id)

    @app.delete(
        "/api/sessions/{id}/portraits/{portrait}",
        status_code=204,
        tags=["portraits"],
        responses=problems(404),
        response_class=Response,
    )
    async def remove_portrait(id: str, portrait: str) -> Response:
        """Forget a portrait that this session brought."""
        session = studio.get(id)
        session.performer.forget_portrait(portrait)
        studio.tell(session, messages.Portraits(portraits=session.performer.gallery.infos(id)))
        return Response(status_code=204)

    @app.get(
        "/api/sessions/{id}/portraits/{portrait}.jpg",
        tags=["portraits"],
        responses={**problems(404), 200: {"content": {"image/jpeg": {}}}},
        response_class=Response,
    )
    async def small_picture(id: str, portrait: str) -> Response:
        """The gallery's small picture of a portrait."""
        return Response(studio.get(id).performer.gallery.get(portrait).small, media_type="image/jpeg")
