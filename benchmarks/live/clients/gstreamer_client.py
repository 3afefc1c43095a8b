"""A WHIP and WHEP client made of GStreamer's webrtcbin; runs in the system's Python, where GStreamer's bindings are.

    python3 gstreamer_client.py whip|whep URL SECONDS [video|video,audio|audio,video] [max-bundle|balanced|none]

Publishes a test picture, or the film of `--film` (Matroska with MJPEG and PCM), for so long; or watches for so long,
until `--pictures` came at most. The offer's sections come in the order that is given. Prints one JSON line: the
answer's status, the resource, how many pictures were sent or received, how many packets of sound, and of a viewer
the seconds from offer to first picture, when each picture came with its brightness in a grid of 32 x 24 (base64), and
when each beep began. Ends the connection as it should be.
"""

import argparse
import array
import base64
import json
import sys
import time
import urllib.request
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

MADE = {
    "video": "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=30/1",
    "audio": "audiotestsrc is-live=true",
}
FILMED = {
    "video": "film.video_0 ! queue ! jpegdec ! clocksync",
    "audio": "film.audio_0 ! queue ! clocksync",
}
SENT = {
    "video": "videoconvert ! identity name=count silent=false ! vp8enc deadline=1 ! rtpvp8pay pt=96 "
    "! application/x-rtp,media=video,encoding-name=VP8,payload=96 ! peer.",
    "audio": "audioconvert ! audioresample ! audio/x-raw,rate=48000,channels=2 ! opusenc ! rtpopuspay pt=97 "
    "! application/x-rtp,media=audio,encoding-name=OPUS,payload=97 ! peer.",
}
RECEIVED = {
    "video": "application/x-rtp,media=video,encoding-name=VP8,payload=96,clock-rate=90000",
    "audio": "application/x-rtp,media=audio,encoding-name=OPUS,payload=97,clock-rate=48000",
}
SHOWN = {
    "video": "rtpvp8depay ! vp8dec ! videoconvert ! videoscale ! video/x-raw,format=GRAY8,width=32,height=24 "
    "! identity name=seen signal-handoffs=true ! fakesink sync=false",
    "audio": "rtpopusdepay ! opusdec ! audioconvert ! audioresample ! audio/x-raw,format=S16LE,channels=1,rate=48000 "
    "! identity name=seen signal-handoffs=true ! fakesink sync=false",
}
LOUD, QUIET_S = 2000, 0.5
"""Amplitude of a beep; the silence between two."""


def main(options: argparse.Namespace) -> None:
    """One connection."""
    Gst.init(None)
    mode, url, kinds, policy = options.mode, options.url, options.kinds.split(","), options.policy
    done: dict[str, Any] = {
        "status": 0,
        "resource": "",
        "pictures": 0,
        "sounds": 0,
        "first": None,
        "seen": [],
        "heard": [],
    }
    loop = GLib.MainLoop()
    began = [0.0, 0.0]  # the offer; the last loud sample
    if mode == "whip":
        film = [f"filesrc location={options.film} ! matroskademux name=film"] if options.film else []
        sent = [f"{(FILMED if film else MADE)[kind]} ! {SENT[kind]}" for kind in kinds]
        pipeline = Gst.parse_launch(" ".join([f"webrtcbin name=peer bundle-policy={policy}", *film, *sent]))
        peer = pipeline.get_by_name("peer")
    else:
        pipeline = Gst.Pipeline.new("watch")
        peer = Gst.parse_launch(f"webrtcbin name=peer bundle-policy={policy}")
        pipeline.add(peer)
        for kind in kinds:
            caps = Gst.Caps.from_string(RECEIVED[kind])
            peer.emit("add-transceiver", GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY, caps)

    def count(*_):
        done["pictures"] += 1

    def saw(_, buffer):
        now = time.monotonic()
        done["pictures"] += 1
        if done["first"] is None:
            done["first"] = now - began[0]
        done["seen"].append((now, base64.b64encode(buffer.extract_dup(0, buffer.get_size())).decode()))
        if done["pictures"] == options.pictures:
            loop.quit()

    def heard(_, buffer):
        now = time.monotonic()
        done["sounds"] += 1
        samples = array.array("h", buffer.extract_dup(0, buffer.get_size()))
        loud = next((n for n, sample in enumerate(samples) if abs(sample) > LOUD), None)
        if loud is not None:
            if now - began[1] > QUIET_S:
                done["heard"].append(now + loud / 48000)
            began[1] = now

    def shown(_, pad):
        kind = pad.get_current_caps().get_structure(0).get_string("media")
        sink = Gst.parse_bin_from_description(SHOWN[kind], True)
        sink.get_by_name("seen").connect("handoff", saw if kind == "video" else heard)
        pipeline.add(sink)
        sink.sync_state_with_parent()
        pad.link(sink.get_static_pad("sink"))

    peer.connect("pad-added", shown)
    if mode == "whip":
        identity = pipeline.get_by_name("count")
        identity.set_property("signal-handoffs", True)
        identity.connect("handoff", count)

    def gathered(*_):
        if peer.get_property("ice-gathering-state") != GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            return
        GLib.idle_add(post)

    def post():
        offer = peer.get_property("local-description").sdp.as_text()
        request = urllib.request.Request(url, offer.encode(), {"Content-Type": "application/sdp"}, method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            done["status"], done["resource"] = answer.status, answer.headers["Location"]
            _, sdp = GstSdp.SDPMessage.new_from_text(answer.read().decode())
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
        peer.emit("set-remote-description", description, Gst.Promise.new())
        return False

    def offered(promise, *_):
        promise.wait()
        reply = promise.get_reply()  # the offer lives as long as its reply
        offer = reply.get_value("offer")
        peer.emit("set-local-description", offer, Gst.Promise.new())

    def needed(*_):
        began[0] = time.monotonic()
        peer.emit("create-offer", None, Gst.Promise.new_with_change_func(offered, None))

    peer.connect("notify::ice-gathering-state", gathered)
    if mode == "whip":
        peer.connect("on-negotiation-needed", needed)
    pipeline.set_state(Gst.State.PLAYING)
    if mode == "whep":
        GLib.timeout_add(100, lambda: needed() or False)
    GLib.timeout_add(int(options.seconds * 1000), loop.quit)
    loop.run()
    print(json.dumps(done), flush=True)
    if done["resource"]:
        base = "/".join(url.split("/")[:3])
        urllib.request.urlopen(urllib.request.Request(base + done["resource"], method="DELETE"), timeout=5)
    pipeline.set_state(Gst.State.NULL)


def options_of(arguments: list) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=("whip", "whep"))
    parser.add_argument("url")
    parser.add_argument("seconds", type=float)
    parser.add_argument("kinds", nargs="?", default="video")
    parser.add_argument("policy", nargs="?", default="max-bundle")
    parser.add_argument("--film")
    parser.add_argument("--pictures", type=int)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(options_of(sys.argv[1:]))
