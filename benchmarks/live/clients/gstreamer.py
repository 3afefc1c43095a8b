"""GStreamer's webrtcbin in the system's Python, where GStreamer's bindings are."""

from __future__ import annotations

import functools
import subprocess
from pathlib import Path

from benchmarks.live.clients.seen import Absent

PYTHON = "/usr/bin/python3"
SHAPES = [(kinds, policy) for kinds in ("audio,video", "video,audio") for policy in ("max-bundle", "none")]
"""Both orders of sections, with and without max-bundle."""
PACKAGES = (
    "python3-gi", "gstreamer1.0-nice", "gstreamer1.0-plugins-base", "gstreamer1.0-plugins-good",
    "gstreamer1.0-plugins-bad", "gir1.2-gst-plugins-base-1.0", "gir1.2-gst-plugins-bad-1.0",
)  # fmt: skip
CHECK = """
import gi
gi.require_version("Gst", "1.0"); gi.require_version("GstWebRTC", "1.0")
from gi.repository import Gst
Gst.init(None)
assert all(Gst.ElementFactory.find(name) for name in ("webrtcbin", "nicesrc", "vp8enc", "rtpvp8pay", "dtlsenc"))
"""


@functools.cache
def present() -> bool:
    """Whether all of it is installed."""
    if not Path(PYTHON).exists():
        return False
    return subprocess.run([PYTHON, "-c", CHECK], capture_output=True, check=False).returncode == 0


def command(mode: str, url: str, seconds: float, kinds: str, policy: str) -> list[str]:
    """The client's command line. Raises Absent."""
    if not present():
        raise Absent("GStreamer's webrtcbin", "is not installed", f"On Debian: apt-get install {' '.join(PACKAGES)}")
    client = Path(__file__).with_name("gstreamer_client.py")
    return [PYTHON, str(client), mode, url, str(seconds), kinds, policy]
