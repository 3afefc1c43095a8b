"""Pictures that clients bring: decoded elsewhere, looked at, shown and kept, few at a time."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from realtime.engines import TakesViews
from realtime.errors import BadPortrait
from realtime.face.upright import CUT, Looked, box, is_cut, look
from realtime.media.backdrop import BadBackdrop, decode_backdrop
from realtime.media.decoding import DecodeLimits, Decoder
from realtime.media.uploads import decode_portrait, encode_jpeg
from realtime.server.common import messages
from realtime.server.common.limits import Places
from realtime.server.common.sessions import Right
from realtime.server.places import Busy, OneView
from realtime.server.places.house import House
from realtime.server.places.session import Session


class Portraits:
    """The portraits of all sessions of a house, with the process that decodes them."""

    def __init__(self, house: House) -> None:
        self._house, limits = house, house.limits
        self._uploads = Places(limits.uploads, 1)
        cost = DecodeLimits(limits.portrait_pixels, limits.upload_cpu_s, limits.upload_s, limits.upload_memory_bytes)
        self._decoder = Decoder(decode_portrait, cost)
        clips = replace(cost, cpu_s=limits.clip_cpu_s, wall_s=limits.clip_s)
        self._backdrops = Decoder(decode_backdrop, clips)

    async def add(self, key: str, data: bytes, title: str) -> messages.PortraitInfo:
        """Decode, show and keep a picture. Raises BadPortrait, PortraitLate, GalleryFull, Busy."""
        session = self._house.get(key, Right.CONTROL)
        with self._upload(session):
            portrait = await session.performer.try_portrait(await self._whole_face(data), title)
        return _info(session, portrait.id)

    async def add_view(self, key: str, portrait: str, data: bytes) -> messages.PortraitInfo:
        """Decode and keep another picture of the person of a portrait that was brought. Raises UnknownName, OneView,
        TooManyViews, BadPortrait, PortraitLate, GalleryFull, Busy."""
        session = self._house.get(key, Right.CONTROL)
        engine = session.performer.engine
        if not isinstance(engine, TakesViews):
            raise OneView(engine.name)
        with self._upload(session):
            session.performer.gallery.one_more(portrait)  # before it is decoded
            await session.performer.try_view(portrait, await self._whole_face(data))
        return _info(session, portrait)

    def remove_view(self, key: str, portrait: str, view: str) -> None:
        """Forget such a picture. Raises UnknownName."""
        session = self._house.get(key, Right.CONTROL)
        session.performer.forget_view(portrait, view)
        session.tell_portraits()

    async def _whole_face(self, data: bytes) -> np.ndarray:
        """A stranger's picture, uint8 (H, W, 3) RGB, upright. Raises BadPortrait, also where its border cuts the
        face."""
        seen = await self._looked(data)
        if seen.faces and is_cut(seen.faces[0], seen.image):
            raise BadPortrait(CUT)
        return seen.image

    async def add_background(self, key: str, data: bytes) -> messages.BackgroundInfo:
        """Decode a picture or a clip, show it behind the portrait, and keep it. Raises BadBackdrop, PortraitLate,
        Busy."""
        session = self._house.get(key, Right.CONTROL)
        with self._upload(session):
            try:
                own = await self._backdrops.decode(data)
            except BadPortrait as error:
                raise BadBackdrop(error.reason) from None
            await session.performer.try_background(own)
        return messages.BackgroundInfo(moving=own.moving, seconds=round(own.seconds, 1), cut=own.cut)

    async def look(self, key: str, data: bytes) -> messages.Look:
        """Decode a picture and find its faces; nothing is kept. Raises BadPortrait, Busy."""
        with self._upload(self._house.get(key, Right.CONTROL)):
            seen = await self._looked(data)
            jpeg = await asyncio.to_thread(encode_jpeg, seen.image, None, 92)
        height, width = seen.image.shape[:2]
        faces = []
        for face in seen.faces:
            x, y, w, h = box(face)
            cut = is_cut(face, seen.image)
            faces.append(messages.FaceInfo(x=x / width, y=y / height, width=w / width, height=h / height, cut=cut))
        address = "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
        return messages.Look(image=address, width=width, height=height, turned=seen.turns != 0, faces=faces)

    async def _looked(self, data: bytes) -> Looked:
        """A stranger's picture, decoded, upright, with its faces."""
        return await asyncio.to_thread(look, await self._decoder.decode(data))

    @contextlib.contextmanager
    def _upload(self, session: Session) -> Iterator[None]:
        """One of the few pictures that are worked on at once, one in each gallery. Raises Busy."""
        gallery = "of all" if session.shared else session.id
        if not self._uploads.take(gallery):
            raise Busy("Other portraits are being prepared")
        try:
            yield
        finally:
            self._uploads.leave(gallery)

    def remove(self, key: str, portrait: str) -> None:
        """Forget a picture. Raises UnknownName."""
        session = self._house.get(key, Right.CONTROL)
        session.performer.forget_portrait(portrait)
        session.tell_portraits()

    def small(self, key: str, portrait: str) -> bytes:
        """The gallery's small picture, JPEG. Raises UnknownName."""
        return self._house.get(key, Right.CONTROL).performer.gallery.get(portrait).small

    async def close(self) -> None:
        """End the process that decodes."""
        await asyncio.to_thread(self._decoder.close)
        await asyncio.to_thread(self._backdrops.close)


def _info(session: Session, portrait: str) -> messages.PortraitInfo:
    """What is told of a portrait that has changed, to all who control the session too."""
    return next(info for info in session.tell_portraits() if info.id == portrait)
