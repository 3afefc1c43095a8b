"""Presets over HTTP: a file looked over, for pages that keep presets themselves."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from realtime.presets.preset import Preset, dump, parse
from realtime.server.http.door import knock

JSON = "application/json"
_PROBLEM = {"content": {JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
_STATUSES = (400, 401, 403, 404, 408, 413, 414, 422, 429)
REFUSED: dict[int | str, dict[str, Any]] = {status: {"description": "Refused", **_PROBLEM} for status in _STATUSES}
FILE: dict[int | str, dict[str, Any]] = {200: {"description": "The preset's file", "content": {JSON: {}}}}
BODY: dict[str, Any] = {"requestBody": {"required": True, "content": {JSON: {"schema": {"type": "object"}}}}}

router = APIRouter(tags=["presets"])


@router.post(
    "/api/presets",
    responses={**REFUSED, **FILE},
    openapi_extra=BODY,
    dependencies=[Depends(knock)],
    response_class=Response,
)
async def look_over(request: Request) -> Response:
    """Is this a preset's file? It comes back as this version writes it; 400 says which field is wrong. Nothing of it
    is kept."""
    return as_file(await brought(request))


async def brought(request: Request) -> Preset:
    """The preset that a request brings. Raises BadFile."""
    return await asyncio.to_thread(parse, await request.body())


def as_file(preset: Preset) -> Response:
    """A preset as its file."""
    return Response(dump(preset), media_type=JSON)
