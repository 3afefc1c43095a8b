"""A WHIP and WHEP client made of GStreamer's webrtcbin; runs in the system's Python, where GStreamer's bindings are.

    python3 gstreamer_client.py whip|whep URL SECONDS [video|video,audio|audio,video] [max-bundle|balanced|none]

Publishes for so long, or watches until 30 pictures came, so long at most. The offer's sections come in the order
that is given. Prints one JSON line: the answer's status, the resource, how many pictures were sent or received, and
how many packets of sound. Ends the connection as it should be.
"""

import json
import sys
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

SENT = {
    "video": "videotestsrc is-live=true pattern=ball ! video/x-raw,width=320,height=240,framerate=30/1 "
    "! videoconvert ! identity name=count silent=false ! vp8enc deadline=1 ! rtpvp8pay pt=96 "
    "! application/x-rtp,media=video,encoding-name=VP8,payload=96 ! peer.",
    "audio": "audiotestsrc is-live=true ! audioconvert ! audioresample ! audio/x-raw,rate=48000,channels=2 ! opusenc "
    "! rtpopuspay pt=97 ! application/x-rtp,media=audio,encoding-name=OPUS,payload=97 ! peer.",
}
RECEIVED = {
    "video": "application/x-rtp,media=video,encoding-name=VP8,payload=96,clock-rate=90000",
    "audio": "application/x-rtp,media=audio,encoding-name=OPUS,payload=97,clock-rate=48000",
}
SHOWN = {
    "video": "rtpvp8depay ! vp8dec ! identity name=seen signal-handoffs=true ! fakesink sync=false",
    "audio": "identity name=seen signal-handoffs=true ! fakesink sync=false",
}


def main(mode: str, url: str, seconds: float, kinds: str = "video", policy: str = "max-bundle") -> None:
    """One connection."""
    Gst.init(None)
    done = {"status": 0, "resource": "", "pictures": 0, "sounds": 0}
    loop = GLib.MainLoop()
    if mode == "whip":
        sent = [SENT[kind] for kind in kinds.split(",")]
        pipeline = Gst.parse_launch(" ".join([f"webrtcbin name=peer bundle-policy={policy}", *sent]))
        peer = pipeline.get_by_name("peer")
    else:
        pipeline = Gst.Pipeline.new("watch")
        peer = Gst.parse_launch(f"webrtcbin name=peer bundle-policy={policy}")
        pipeline.add(peer)
        for kind in kinds.split(","):
            caps = Gst.Caps.from_string(RECEIVED[kind])
            peer.emit("add-transceiver", GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY, caps)

    def count(*_):
        done["pictures"] += 1
        if mode == "whep" and done["pictures"] >= 30:
            loop.quit()

    def heard(*_):
        done["sounds"] += 1

    def shown(_, pad):
        kind = pad.get_current_caps().get_structure(0).get_string("media")
        sink = Gst.parse_bin_from_description(SHOWN[kind], True)
        sink.get_by_name("seen").connect("handoff", count if kind == "video" else heard)
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
        peer.emit("create-offer", None, Gst.Promise.new_with_change_func(offered, None))

    peer.connect("notify::ice-gathering-state", gathered)
    if mode == "whip":
        peer.connect("on-negotiation-needed", needed)
    pipeline.set_state(Gst.State.PLAYING)
    if mode == "whep":
        GLib.timeout_add(100, lambda: needed() or False)
    GLib.timeout_add(int(seconds * 1000), loop.quit)
    loop.run()
    print(json.dumps(done), flush=True)
    if done["resource"]:
        base = "/".join(url.split("/")[:3])
        urllib.request.urlopen(urllib.request.Request(base + done["resource"], method="DELETE"), timeout=5)
    pipeline.set_state(Gst.State.NULL)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), *sys.argv[4:])
