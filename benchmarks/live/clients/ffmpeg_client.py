"""FFmpeg's WHIP muxer, by PyAV: `python -m benchmarks.live.clients.ffmpeg_client URL FILM CERTIFICATE KEY`.

Sends a film at its own pace, H.264 and Opus. The certificate is on P-256: the one that FFmpeg makes by itself with
GnuTLS is on P-224, which the OpenSSL that aiortc uses does not know.
"""

from __future__ import annotations

import sys
import time

import av


def main(url: str, film: str, certificate: str, key: str) -> None:
    """One publication."""
    source = av.open(film)
    out = av.open(url, "w", format="whip", options={"cert_file": certificate, "key_file": key})
    shape = source.streams.video[0]
    video = out.add_stream("libx264", rate=30, options={"preset": "ultrafast", "tune": "zerolatency", "bf": "0"})
    video.width, video.height, video.pix_fmt = shape.width, shape.height, "yuv420p"
    video.codec_context.gop_size = 30
    video.profile = "Baseline"
    audio = out.add_stream("libopus", rate=48000, layout="stereo")
    begun: float | None = None
    for packet in source.demux(video=0, audio=0):
        for frame in packet.decode():
            begun = time.monotonic() if begun is None else begun
            time.sleep(max(0.0, begun + frame.time - time.monotonic()))
            if isinstance(frame, av.VideoFrame):
                frame.pict_type = 0
                out.mux(video.encode(frame.reformat(format="yuv420p")))
            elif isinstance(frame, av.AudioFrame):
                out.mux(audio.encode(frame))
    out.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
