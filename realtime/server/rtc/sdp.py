"""Session descriptions as text: a first look at offers, and hints for the browser in answers. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_MEDIA = 8
MAX_LINES = 1500


class BadOffer(ValueError):
    """The text is no offer that can be answered; `str()` is a sentence."""


@dataclass(frozen=True, slots=True)
class Uplink:
    """Bits per second that the browser's camera is told to send at."""

    start: int = 1_500_000
    least: int = 300_000
    most: int = 2_500_000


def check_offer(sdp: str, limit: int = 32 * 1024) -> None:
    """Raise BadOffer for what cannot be a WebRTC offer of ours: too long, no media, no ICE, no DTLS fingerprint."""
    if len(sdp) > limit:
        raise BadOffer(f"The offer has {len(sdp)} characters; at most {limit}")
    lines = sdp.splitlines()
    if not lines or lines[0].strip() != "v=0":
        raise BadOffer("The offer is not a session description (it does not begin with v=0)")
    if len(lines) > MAX_LINES:
        raise BadOffer(f"The offer has {len(lines)} lines; at most {MAX_LINES}")
    media = [line for line in lines if line.startswith("m=")]
    if not 1 <= len(media) <= MAX_MEDIA:
        raise BadOffer(f"The offer has {len(media)} media sections; 1 to {MAX_MEDIA} can be answered")
    for needed in ("a=fingerprint:", "a=ice-ufrag:", "a=ice-pwd:"):
        if not any(line.startswith(needed) for line in lines):
            raise BadOffer(f"The offer has no {needed[2:-1]}; it is not from WebRTC")


def wants(sdp: str, kind: str) -> tuple[bool, bool]:
    """(the peer sends, the peer receives) media of this kind ("video", "audio"), by the offer's own words."""
    sends = receives = False
    for section in re.split(r"(?m)^(?=m=)", sdp)[1:]:
        if not section.startswith(f"m={kind} ") or _refused(section):
            continue
        found = re.search(r"(?m)^a=(sendrecv|sendonly|recvonly|inactive)\s*$", section)
        direction = found[1] if found else "sendrecv"
        sends |= direction in {"sendrecv", "sendonly"}
        receives |= direction in {"sendrecv", "recvonly"}
    return sends, receives


def _refused(section: str) -> bool:
    """Port 0 refuses a section (RFC 3264, section 6), except where `a=bundle-only` says that it shares the port of
    another one (RFC 8843, section 6)."""
    return bool(re.match(r"m=\w+ 0 ", section)) and not re.search(r"(?m)^a=bundle-only\s*$", section)


def let_peer_begin(sdp: str) -> str:
    """The offer with the peer as the one that begins the DTLS handshake, where it leaves the choice to us. Clients
    with an RSA certificate (GStreamer up to 1.22) share no cipher with aiortc when aiortc begins."""
    return sdp.replace("a=setup:actpass", "a=setup:active")


def hint_bitrate(sdp: str, uplink: Uplink) -> str:
    """The answer with the uplink's rates for Chromium, in the video sections. Without them its estimate starts at
    0.3 Mbit/s and the camera is sent small and blurred for many seconds."""
    hint = (
        f"x-google-min-bitrate={uplink.least // 1000};x-google-start-bitrate={uplink.start // 1000};"
        f"x-google-max-bitrate={uplink.most // 1000}"
    )
    out = []
    for section in re.split(r"(?m)^(?=m=)", sdp):
        if section.startswith("m=video "):
            section = _hinted(section, hint)
        out.append(section)
    return "".join(out)


def _hinted(section: str, hint: str) -> str:
    for payload in re.findall(r"(?m)^a=rtpmap:(\d+) (?:VP8|H264)/90000\s*$", section):
        fmtp = re.search(rf"(?m)^a=fmtp:{payload} .*?(?=\r?$)", section)
        if fmtp:
            section = section.replace(fmtp[0], f"{fmtp[0]};{hint}", 1)
        else:
            rtpmap = re.search(rf"(?m)^a=rtpmap:{payload} .*?\r?\n", section)
            assert rtpmap is not None  # it was just found
            section = section.replace(rtpmap[0], f"{rtpmap[0]}a=fmtp:{payload} {hint}\r\n", 1)
    return section
