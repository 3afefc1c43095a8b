"""WHIP from FFmpeg, whose muxer answers no consent checks but sends checks of its own."""

from __future__ import annotations

import subprocess
import sys

import av
import pytest
from aioice import ice

from tests.support import until
from tests.support.server import make_studio, running

SENDER = """
import sys, time
from fractions import Fraction
import av, numpy as np
url, certificate, key = sys.argv[1:]
out = av.open(url, "w", format="whip", options={"cert_file": certificate, "key_file": key})
stream = out.add_stream("libx264", rate=30, options={"preset": "ultrafast", "tune": "zerolatency", "bf": "0"})
stream.width, stream.height, stream.pix_fmt, stream.codec_context.gop_size = 320, 240, "yuv420p", 30
stream.profile = "Baseline"
begun = time.monotonic()
for n in range(100000):
    image = np.zeros((240, 320, 3), np.uint8)
    image[100:140, n % 280 : n % 280 + 40] = 255
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    frame.pts, frame.time_base = n, Fraction(1, 30)
    out.mux(stream.encode(frame))
    time.sleep(max(0.0, begun + n / 30 - time.monotonic()))
"""


def certificate(folder) -> tuple[str, str]:
    """Files of a certificate on P-256. The one that FFmpeg makes with GnuTLS is on P-224, which the OpenSSL that
    aiortc uses does not know."""
    from realtime.server.serving import self_signed

    with self_signed("127.0.0.1") as tls:
        for name in ("cert", "key"):
            (folder / name).write_bytes(getattr(tls, name).read_bytes())
    return str(folder / "cert"), str(folder / "key")


@pytest.mark.skipif("whip" not in av.formats_available, reason="this PyAV's FFmpeg has no WHIP muxer")
def test_a_publisher_that_answers_no_checks_stays_as_long_as_it_sends(tmp_path, monkeypatch):
    monkeypatch.setattr(ice, "CONSENT_INTERVAL", 0.2)  # consent ends after six checks without a sign of life
    monkeypatch.setattr("aioice.stun.RETRY_RTO", 0.1)
    with running(make_studio()) as server:
        command = [sys.executable, "-c", SENDER, f"{server.url}/whip", *certificate(tmp_path)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as sender:
            try:
                for _ in range(200):
                    if (found := list(server.studio.sessions.values())) and found[0].performer.received > 5:
                        break
                    server.wait(0.1)
                (session,) = server.studio.sessions.values()
                server.wait(4.0)  # more than twice what ends the consent of one that is silent
                received = session.performer.received
                until(lambda: session.performer.received > received + 5, what="it was given up")
                (peer,) = session.peers
                sender.kill()
                for _ in range(100):
                    if peer.pc.connectionState in {"failed", "closed"}:
                        break
                    server.wait(0.1)
                assert peer.pc.connectionState in {"failed", "closed"}
            finally:
                sender.kill()
