"""Made-up driving clips of a real person: the public-domain portrait that comes with the package, moved about."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import av
import cv2
import numpy as np


def astronaut() -> np.ndarray:
    """The photograph whole, with head, arms and chest: uint8 (512, 512, 3) RGB."""
    stored = np.frombuffer(resources.files("realtime.data").joinpath("astronaut.png").read_bytes(), np.uint8)
    return np.ascontiguousarray(cv2.imdecode(stored, cv2.IMREAD_COLOR)[..., ::-1])


def moved(frames: int, picture: np.ndarray | None = None) -> list[np.ndarray]:
    """The photograph, smaller and going to the right, on grey: uint8 (256, 320, 3) each."""
    small = cv2.resize(astronaut() if picture is None else picture, (200, 200), interpolation=cv2.INTER_AREA)
    grain = np.random.default_rng(0).integers(100, 140, (256, 320, 3), np.uint8)
    shown = []
    for n in range(frames):
        image = grain.copy()
        left = 20 + 4 * (n % 20)
        image[56:256, left : left + 200] = small
        shown.append(image)
    return shown


def write_clip(path: Path, frames: Sequence[np.ndarray], fps: int = 25, sound: bool = False) -> Path:
    """An H.264 clip, with a tone where `sound`."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=fps, options={"crf": "12", "preset": "ultrafast"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        tone = out.add_stream("aac", rate=48_000) if sound else None
        for image in frames:
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode(None))
        if tone is not None:
            samples = np.sin(np.arange(48_000 * len(frames) // fps) * 440 * 2 * np.pi / 48_000).astype(np.float32)
            for start in range(0, len(samples) - 1024, 1024):
                frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="fltp", layout="mono")
                frame.sample_rate, frame.pts = 48_000, start
                out.mux(tone.encode(frame))
            out.mux(tone.encode(None))
    return path
