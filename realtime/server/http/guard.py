"""What stands before every route: Host, Origin and token, size and time of bodies, the headers of every answer, and
one answer to all that nobody foresaw.

Plain ASGI, so that WebSockets and streamed answers pass through the same door as all else."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import time
import traceback
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode

from realtime.server.common.limits import Attempts, Bucket, Limits, caller_of
from realtime.server.http import refusals
from realtime.server.http.security import COOKIE, HEADERS, Policy, Verdict

log = logging.getLogger(__name__)

Scope = dict[str, Any]
OPEN_PATHS = frozenset({"/api/health"})
"""Answered without a token: they say nothing about anyone."""
BRINGING = ("/portraits", "/views", "/background", "/look", "/presets")
"""How the addresses below /api/ end that take files; the bodies of all others are small."""


class _BodyRefused(Exception):
    """Ends the application's reading of a body."""


class Guard:
    """Wraps an ASGI application. refused: called with the short name of the rule that turned a request away."""

    def __init__(
        self, app: Any, policy: Policy, limits: Limits, refused: Callable[[str], None] = lambda rule: None
    ) -> None:
        self.app, self.policy, self.limits, self.refused = app, policy, limits, refused
        self._complaints = Bucket(1.0, 10.0)
        self._attempts = Attempts()
        self._headers = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """One connection."""
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        began, headers = False, _latin(scope["headers"])
        cors = [(n.lower().encode(), v.encode()) for n, v in self.policy.cors(headers.get("origin")).items()]

        async def noted(message: Any) -> None:
            nonlocal began
            began = True
            if message["type"] == "http.response.start" and cors:
                message = {**message, "headers": [*message.get("headers", []), *cors]}
            await send(message)

        try:
            await self._attend(scope, headers, receive, noted)
        except Exception as error:
            self._complain(scope, error)
            if scope["type"] == "http" and not began:
                verdict = Verdict(500, "unforeseen", "Something went wrong here; it is in the server's log")
                await self._refuse(verdict, scope, headers, send)
            elif scope["type"] == "websocket":
                with contextlib.suppress(RuntimeError):  # it may be closed already
                    await send({"type": "websocket.close", "code": 1011})

    def _complain(self, scope: Scope, error: Exception) -> None:
        """One line, and not too many of them. Keys and queries are left out: they open sessions."""
        if self._complaints.take(time.monotonic()):
            what = f"{scope.get('method', 'socket')} /{scope['path'].split('/')[1][:20]}"
            at = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(at.filename).name}:{at.lineno}"
            log.error("%s: unforeseen %s at %s", what.encode("unicode_escape").decode(), type(error).__name__, where)
        log.debug("unforeseen", exc_info=error)

    async def _attend(self, scope: Scope, headers: dict[str, str], receive: Any, send: Any) -> None:
        try:
            query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), max_num_fields=50))
            verdict = self._judge(scope, headers, query)
        except ValueError:
            query, verdict = {}, Verdict(400, "address", "The address has too many fields")
        if scope["type"] == "websocket":
            if verdict is not None:
                self.refused(verdict.rule)
                await receive()
                await send({"type": "websocket.close", "code": 1008, "reason": verdict.reason})
                return
            await self.app(scope, receive, send)
            return
        preflight = self.policy.preflight(scope["method"], headers)
        if verdict is None and preflight is not None:
            allowed = [(name.lower().encode(), value.encode()) for name, value in preflight.items()]
            await self._answer(send, 204, allowed, b"")
            return
        if verdict is None and self.policy.token and scope["method"] == "GET" and "token" in query:
            await self._keep_token(scope, query, send)
            return
        if verdict is None:
            verdict = self._too_long(scope, headers)
        if verdict is not None:
            if verdict.status == 413:
                await self._discard(receive)
            await self._refuse(verdict, scope, headers, send)
            return
        await self._serve(scope, headers, receive, send)

    def _judge(self, scope: Scope, headers: dict[str, str], query: dict[str, str]) -> Verdict | None:
        policy, host, origin = self.policy, headers.get("host"), headers.get("origin")
        fetch_site = headers.get("sec-fetch-site") if headers.get("sec-fetch-mode") != "navigate" else None
        verdict = policy.check_host(host) or policy.check_origin(origin, host, fetch_site)
        if verdict is None and policy.preflight(scope.get("method", ""), headers) is not None:
            return None
        if verdict is None and policy.token and scope["path"] not in OPEN_PATHS:
            verdict = self._judge_token(scope, headers, query)
        return verdict

    def _judge_token(self, scope: Scope, headers: dict[str, str], query: dict[str, str]) -> Verdict | None:
        address, now = caller_of((scope.get("client") or ("",))[0]), time.monotonic()
        if self._attempts.wait(address, now):
            return Verdict(429, "wrong-token", "Too many wrong tokens; slow down")
        verdict = self.policy.check_token(headers, _cookie(headers), query.get("token"))
        if verdict is None:
            self._attempts.right(address)
        elif verdict.rule == "wrong-token" and self._attempts.wrong(address, now):
            log.warning("%s has sent many wrong tokens: they are not looked at for a while", address)
        return verdict

    def _too_long(self, scope: Scope, headers: dict[str, str]) -> Verdict | None:
        if len(scope.get("raw_path") or b"") + len(scope.get("query_string", b"")) > 4096:
            return Verdict(414, "address", "The address is too long")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            return Verdict(400, "body", "Content-Length is not a number")
        if int(length) > self._most(scope):
            return Verdict(413, "body", f"The body is too large; at most {self._most(scope)} bytes")
        return None

    def _most(self, scope: Scope) -> int:
        brings = scope["path"].startswith("/api/") and scope["path"].endswith(BRINGING)
        return self.limits.body_bytes if brings else self.limits.sdp_bytes

    async def _discard(self, receive: Any) -> None:
        """Read what is too large for a while: a client that is still sending would never see our answer."""
        left = 4 * self.limits.body_bytes
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.limits.body_s / 2):
                while left > 0:
                    message = await receive()
                    left -= len(message.get("body", b"")) + 1
                    if not message.get("more_body", False):
                        return

    async def _serve(self, scope: Scope, headers: dict[str, str], receive: Any, send: Any) -> None:
        """Hand on, counting the body and adding the headers."""
        loop = asyncio.get_running_loop()
        deadline, most, read, finished, started = loop.time() + self.limits.body_s, self._most(scope), 0, False, False
        refusal: Verdict | None = None

        async def counted() -> Any:
            nonlocal read, finished, refusal
            if finished:
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                refusal = Verdict(408, "body", "The body took too long to arrive")
                raise _BodyRefused from None
            read += len(message.get("body", b""))
            finished = not message.get("more_body", False)
            if read > most:
                refusal = Verdict(413, "body", f"The body is too large; at most {most} bytes")
                raise _BodyRefused
            return message

        async def dressed(message: Any) -> None:
            nonlocal started
            if refusal is not None and not started:
                return  # whatever the application makes of the body's end, ours is the answer
            if message["type"] == "http.response.start":
                started = True
                given = {name for name, _ in message.get("headers", [])}
                added = [pair for pair in self._headers if pair[0] not in given]
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        with contextlib.suppress(_BodyRefused):
            await self.app(scope, counted, dressed)
        if refusal is not None and not started:
            if refusal.status == 413 and not finished:
                await self._discard(receive)
            await self._refuse(refusal, scope, headers, send)

    async def _refuse(self, verdict: Verdict, scope: Scope, headers: dict[str, str], send: Any) -> None:
        self.refused(verdict.rule)
        kind, body = b"application/json", json.dumps({"detail": verdict.reason}).encode()
        if refusals.wants_page(scope["method"], scope["path"], headers):
            kind, body = b"text/html; charset=utf-8", refusals.page(verdict)
        extra = [(b"www-authenticate", b"Bearer")] if verdict.status == 401 else []
        if verdict.status == 429:
            extra.append((b"retry-after", str(math.ceil(Attempts.SLOW_S)).encode()))
        if verdict.status in {408, 413}:
            extra.append((b"connection", b"close"))
        await self._answer(send, verdict.status, [(b"content-type", kind), *extra], body)

    async def _keep_token(self, scope: Scope, query: dict[str, str], send: Any) -> None:
        """The link with the token was opened: keep it in a cookie and take it out of the address."""
        rest = urlencode({name: value for name, value in query.items() if name != "token"})
        where = "/" + quote(scope["path"].lstrip("/\\")) + (f"?{rest}" if rest else "")
        token = quote(self.policy.token or "", safe="")
        cookie = f"{COOKIE}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age=2592000"
        cookie += "; Secure" if self.policy.tls or scope.get("scheme") == "https" else ""  # a trusted proxy's word
        await self._answer(send, 303, [(b"location", where.encode()), (b"set-cookie", cookie.encode())], b"")

    async def _answer(self, send: Any, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        head = [*headers, (b"content-length", str(len(body)).encode()), *self._headers]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": body})


def _latin(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name; of a name that comes twice, both values, so that none can hide behind the other."""
    out: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        out[key] = f"{out[key]}, {text}" if key in out else text
    return out


def _cookie(headers: dict[str, str]) -> str | None:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return None
    return unquote(morsel.value) if morsel else None
