"""Candidates that come after the offer (trickle ICE, RFC 8840), as a PATCH of WHIP carries them (RFC 9725). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from realtime.server.rtc.sdp import BadOffer

MOST_CANDIDATES = 32


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a PATCH says. candidates: (mid of the media section, "foundation component ..."). end: no more will come.
    ufrag: of the ICE session that they belong to; None where it is not said."""

    candidates: tuple[tuple[str, str], ...]
    end: bool = False
    ufrag: str | None = None


def parse_fragment(text: str) -> Fragment:
    """Raises BadOffer for what is no fragment, or too much of one."""
    candidates: list[tuple[str, str]] = []
    mid, ufrag, end = "0", None, False
    for line in text.splitlines():
        name, _, value = line.strip().partition(":")
        match name:
            case "a=mid":
                mid = value
            case "a=ice-ufrag":
                ufrag = value
            case "a=candidate":
                candidates.append((mid, value))
            case "a=end-of-candidates":
                end = True
    if not candidates and not end and ufrag is None:
        raise BadOffer("This is no SDP fragment: it names no candidate")
    if len(candidates) > MOST_CANDIDATES:
        raise BadOffer(f"The fragment has {len(candidates)} candidates; at most {MOST_CANDIDATES}")
    return Fragment(tuple(candidates), end, ufrag)
