"""Who may speak to the server. Decisions only: header values in, a verdict out; no socket, no framework.

Threats: another web page in the same browser that calls our API (Origin, Sec-Fetch-Site), a name that an attacker
points at this machine (DNS rebinding: Host), people on the same network (token), a page that frames or scripts
ours (headers).
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit

from realtime.errors import BadValue, UsageError

COOKIE = "avatar_token"
LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})

HEADERS: dict[str, str] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "media-src 'self' blob: mediastream:; connect-src 'self'; font-src 'self'; manifest-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(), geolocation=(), usb=()",
    "Cache-Control": "no-store",
}
"""Sent with every response."""
EXPOSED = "Location, Link, ETag, Accept-Post, Accept-Patch, Retry-After"
PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, If-Match",
    "Access-Control-Max-Age": "600",
}


class NeedsToken(UsageError):
    """A server that others can reach was asked to run with a token too weak to keep them out."""

    def __str__(self) -> str:
        return "--token is too short: give at least 16 characters, or leave it out and one is made"


def is_loopback(host: str) -> bool:
    """True where only this machine can reach `host` (a name or an address to bind)."""
    if host.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def split_host(value: str) -> tuple[str, int | None] | None:
    """Name and port of a Host header, the name in lower case and without brackets. None where it is no host."""
    if not value or len(value) > 255 or any(c in value for c in "/\\@?# \t,") or not value.isascii():
        return None
    try:
        parts = urlsplit(f"//{value}")
        name, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return None
    return (name, port) if name else None


def exact_origin(text: str) -> str:
    """An origin as browsers send it: "https://example.org:8443", no path, no port where it is the usual one.
    Raises BadValue."""
    expected = "it is scheme and host, such as https://example.org"
    try:
        parts = urlsplit(text.rstrip("/").lower())
        port = parts.port
    except ValueError:
        raise BadValue("--allow-origin", text, expected) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path or parts.query or parts.fragment:
        raise BadValue("--allow-origin", text, expected)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{port}" if port not in {None, usual} else "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why a request is refused: HTTP status and one sentence; `rule` is a short name for the metrics."""

    status: int
    rule: str
    reason: str


@dataclass(frozen=True)
class Policy:
    """What this server accepts.

    host: the address it binds. token: None where only this machine can reach it and none was asked for.
    names: further host names under which it is reached (a proxy's). origins: further origins ("https://example.org")
    whose pages may call it."""

    host: str = "127.0.0.1"
    token: str | None = None
    names: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    tls: bool = False
    _own_names: frozenset[str] = field(default_factory=lambda: frozenset({socket.gethostname().lower()}))

    @classmethod
    def for_host(
        cls,
        host: str,
        token: str | None = None,
        names: frozenset[str] = frozenset(),
        origins: frozenset[str] = frozenset(),
        tls: bool = False,
    ) -> Policy:
        """The policy for binding `host`: a token is made where others can reach it and none is given.

        Raises NeedsToken for a token under 16 characters, BadValue for what is no origin."""
        if token is not None and len(token) < 16:
            raise NeedsToken
        if token is None and (not is_loopback(host) or names):
            token = secrets.token_urlsafe(24)
        return cls(host, token, frozenset(n.lower() for n in names), frozenset(map(exact_origin, origins)), tls)

    @property
    def scheme(self) -> str:
        """http or https."""
        return "https" if self.tls else "http"

    def check_host(self, header: str | None) -> Verdict | None:
        """DNS rebinding: an attacker's name must not reach us, whatever it points at. An address may, for nobody
        can point an address elsewhere; on a loopback server only a loopback address."""
        split = split_host(header or "")
        refused = Verdict(403, "host", "This server does not answer to that host name (--allow-host NAME adds one)")
        if split is None:
            return Verdict(400, "host", "The Host header is missing or malformed")
        name = split[0]
        if name in LOOPBACK_NAMES or name in self.names:
            return None
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return None if not is_loopback(self.host) and name in self._own_names | {self.host.lower()} else refused
        return None if address.is_loopback or not is_loopback(self.host) else refused

    def check_origin(self, origin: str | None, host: str | None, fetch_site: str | None = None) -> Verdict | None:
        """Another site's page must not call us. No Origin: not a page (a program), or a plain navigation."""
        refused = Verdict(403, "origin", "Pages of other sites may not use this server")
        if origin is None:
            return refused if fetch_site in {"cross-site", "same-site"} else None
        if origin in self.origins:
            return None
        try:
            parts = urlsplit(origin)
            same = parts.scheme in {"http", "https"} and split_host(parts.netloc) == split_host(host or "")
        except ValueError:
            return refused
        if not same or parts.path or parts.query:
            return refused
        behind_proxy = bool(self.names)
        return None if behind_proxy or parts.scheme == self.scheme else refused

    def cors(self, origin: str | None) -> dict[str, str]:
        """Headers that let a page of a named origin read an answer; none for all others."""
        if not self.origins:
            return {}
        if origin not in self.origins:
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": str(origin),
            "Access-Control-Expose-Headers": EXPOSED,
        }

    def preflight(self, method: str, headers: Mapping[str, str]) -> dict[str, str] | None:
        """Headers of the answer where a browser asks, for a page of a named origin, whether it may call: without a
        token, which browsers do not send then. None for any other request."""
        if method != "OPTIONS" or headers.get("origin") not in self.origins:
            return None
        if "access-control-request-method" not in headers:
            return None
        private = {"Access-Control-Allow-Private-Network": "true"}
        return PREFLIGHT | (private if "access-control-request-private-network" in headers else {})

    def check_token(self, headers: Mapping[str, str], cookie: str | None, query: str | None) -> Verdict | None:
        """The token comes as `Authorization: Bearer`, as our cookie, or as `?token=` in the link that was printed."""
        if self.token is None:
            return None
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        given = [cookie, query, bearer.strip() if scheme.lower() == "bearer" else None]
        for candidate in given:
            if candidate and hmac.compare_digest(candidate.encode(), self.token.encode()):
                return None
        rule = "wrong-token" if any(given) else "token"
        return Verdict(401, rule, "Open the link that the server printed: it carries the token")

    def link(self, host: str, port: int, path: str = "/") -> str:
        """The address to open, with the token where there is one."""
        name = f"[{host}]" if ":" in host else host
        return f"{self.scheme}://{name}:{port}{path}" + (f"?token={quote(self.token, safe='')}" if self.token else "")
