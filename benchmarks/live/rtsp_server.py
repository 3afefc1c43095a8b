"""An RTSP server for the faults: JPEG pictures from standard input, each after its length (4 bytes, big-endian).

Run by the system's Python, to which GStreamer's bindings belong (Debian: gir1.2-gst-rtsp-server-1.0):
  /usr/bin/python3 rtsp_server.py PORT     serves rtsp://127.0.0.1:PORT/live
"""

from __future__ import annotations

import struct
import sys
import threading
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402  the versions come first

PIPELINE = (
    "( appsrc name=pictures is-live=true do-timestamp=true format=time "
    "caps=image/jpeg,width=640,height=480,framerate=30/1 ! rtpjpegpay name=pay0 )"
)


def main(port: str) -> None:
    """Serve until standard input ends."""
    Gst.init(None)
    server, factory = GstRtspServer.RTSPServer(), GstRtspServer.RTSPMediaFactory()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory.set_launch(PIPELINE)
    factory.set_shared(True)
    wanting: list[Any] = []

    def configure(_: Any, media: Any) -> None:
        wanting[:] = [media.get_element().get_by_name("pictures")]

    factory.connect("media-configure", configure)
    server.get_mount_points().add_factory("/live", factory)
    server.attach(None)
    loop = GLib.MainLoop()

    def feed() -> None:
        while len(head := sys.stdin.buffer.read(4)) == 4:
            picture = sys.stdin.buffer.read(struct.unpack(">I", head)[0])
            for source in wanting:
                source.emit("push-buffer", Gst.Buffer.new_wrapped(picture))
        loop.quit()

    threading.Thread(target=feed, daemon=True).start()
    loop.run()


if __name__ == "__main__":
    main(sys.argv[1])
