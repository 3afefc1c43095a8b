"""A refusal as a page, for people who opened a link in a browser; programs get it as JSON.

It is whole in itself: without the token not even the style sheet is given out."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from realtime.server.http.security import Verdict

CURES = {
    "token": (
        "This avatar server is private. Open the link that it printed when it started: it ends in ?token= and the"
        " token. Or type the token here:"
    ),
    "wrong-token": (
        "The token is not the one that this server has now; it may have been started anew since. Open the link that"
        " it printed, or type the token here:"
    ),
}
"""What to do, by the rule that was broken; for all others the verdict's own sentence says it."""
_FIELD = '<form><label>Token <input name="token" type="password" autocomplete="off" required></label> '
_FIELD += "<button>Open</button></form>"


def wants_page(method: str, path: str, headers: Mapping[str, str]) -> bool:
    """Is it a browser that opens a link? path: API clients are told in JSON whatever they accept."""
    return method in {"GET", "HEAD"} and not path.startswith("/api/") and "text/html" in headers.get("accept", "")


def page(verdict: Verdict) -> bytes:
    """The refusal as HTML, UTF-8."""
    asks = verdict.status == 401
    said = CURES[verdict.rule] if asks else f"{verdict.reason}."
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><title>Realtime avatar</title></head>'
        f"<body><main><h1>Realtime avatar</h1><p>{escape(said)}</p>{_FIELD if asks else ''}</main></body></html>"
    ).encode()
