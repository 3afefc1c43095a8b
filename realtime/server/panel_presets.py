"""The presets of this machine's user over HTTP, where the page is the panel of his running camera."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel

from realtime.errors import BadValue
from realtime.media.portraits import builtin_portraits
from realtime.media.uploads import encode_jpeg
from realtime.presets.folder import PresetFolder
from realtime.presets.preset import MOST_OWN, Preset, PresetPortrait
from realtime.server.hosting.gallery import Gallery, PortraitChoice
from realtime.server.http.door import knock
from realtime.server.http.presets import BODY, FILE, REFUSED, as_file, brought

Name = Annotated[str, Path(max_length=64)]


class Presets(BaseModel):
    """The presets that are kept here."""

    names: list[str]


class PresetShelf:
    """The presets of the user of this machine. check: raises where a key does not control a session. gallery: where
    the portraits are that presets name; what comes not with the program goes into the file as a picture. choice: what
    is shown, whose background a preset keeps."""

    def __init__(
        self, folder: PresetFolder, check: Callable[[str], None], gallery: Gallery, choice: PortraitChoice
    ) -> None:
        self._folder, self._check, self._gallery, self._choice = folder, check, gallery, choice

    def whole(self, preset: Preset) -> Preset:
        """The preset with all that it needs elsewhere. Raises UnknownName, BadValue."""
        own = self._choice.wanted.behind.own
        if preset.background == "own" and not preset.own_background and own is not None:
            if len(own.source) > MOST_OWN:
                raise BadValue("background", "your own", f"a preset takes files of {MOST_OWN // 2**20} MiB at most")
            preset = replace(preset, own_background=own.source)
        portrait = preset.portrait
        if portrait is None or not portrait.id or portrait.id in builtin_portraits():
            return preset
        found = self._gallery.get(portrait.id)
        return replace(preset, portrait=PresetPortrait("", encode_jpeg(found.image, None, 92), found.title))

    def router(self) -> APIRouter:
        """The routes."""
        router = APIRouter(tags=["presets"])

        @router.get("/api/sessions/{id}/presets", responses=REFUSED)
        async def listed(id: str) -> Presets:
            """The presets that are kept on this machine."""
            self._check(id)
            return Presets(names=self._folder.names)

        @router.post(
            "/api/sessions/{id}/presets",
            status_code=201,
            responses=REFUSED,
            openapi_extra=BODY,
            dependencies=[Depends(knock)],
        )
        async def keep(id: str, request: Request) -> Presets:
            """Keep a preset, in place of one of the same name."""
            self._check(id)
            preset = await brought(request)
            await asyncio.to_thread(lambda: self._folder.save(self.whole(preset)))
            return Presets(names=self._folder.names)

        @router.get("/api/sessions/{id}/presets/{name}", responses={**REFUSED, **FILE}, response_class=Response)
        async def one(id: str, name: Name) -> Response:
            """One preset, as its file."""
            self._check(id)
            return as_file(await asyncio.to_thread(self._folder.load, name))

        @router.delete(
            "/api/sessions/{id}/presets/{name}", status_code=204, responses=REFUSED, response_class=Response
        )
        async def forget(id: str, name: Name) -> Response:
            """Forget a preset."""
            self._check(id)
            await asyncio.to_thread(self._folder.remove, name)
            return Response(status_code=204)

        return router
