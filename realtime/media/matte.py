"""How much of each pixel is a person: a quick word, and a better one that takes a second.

The quick one is MediaPipe's selfie segmentation, made for whoever sits before a camera. It knows bodies, and makes
mistakes where a background has a person's colours, or a painting its own. U²-Net (Qin et al., "U²-Net: Going Deeper
with Nested U-Structure for Salient Object Detection", 2020; here its small version) finds what stands out: its
outlines are cleaner, but of a dark jacket it may see nothing. They fail in different places, so the better matte adds
up what both say, as log-odds.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import lru_cache
from hashlib import blake2b
from importlib import resources
from typing import Any

import cv2
import numpy as np

from realtime.flow.memory import give_back

SIDE = 320
"""U²-Net was trained on squares of so many pixels."""
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of the pictures it was trained on, by channel, 0 to 1."""
OUTPUT = "1959"
"""Of its seven outputs the one that the others are fused into."""
SALIENT_SHARE = 0.25
"""How much U²-Net's log-odds count, the selfie network's the rest. Least error on people cut from plain backgrounds
and laid over others (`benchmarks/README.md`)."""
SUREST = 1e-4
"""No network is taken to be surer than this."""
KEPT = 16
"""Answers of U²-Net that are kept: the same picture is often prepared again, for another engine or session."""

_selfie_lock, _salient_lock = threading.Lock(), threading.Lock()
_answers: OrderedDict[bytes, np.ndarray] = OrderedDict()


@lru_cache(maxsize=1)
def _selfie() -> Any:
    """The selfie segmentation network of the mediapipe wheel. Not thread-safe: use under `_selfie_lock`."""
    from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

    return SelfieSegmentation(model_selection=0)


def _salient(square: np.ndarray) -> np.ndarray:
    """What U²-Net's small version says of a picture, uint8 (SIDE, SIDE, 3): float32 (SIDE, SIDE) in 0..1.

    The network is read anew each time: once it has run it holds 210 MiB, and reading it takes a twentieth of a run.
    """
    stored = resources.files("realtime.data").joinpath("u2netp.onnx").read_bytes()
    net = cv2.dnn.readNetFromONNX(np.frombuffer(stored, np.uint8))
    scaled = square.astype(np.float32) / max(1.0, float(square.max()))
    scaled = (scaled - np.array(MEAN, np.float32)) / np.array(SPREAD, np.float32)
    net.setInput(scaled.transpose(2, 0, 1)[None])
    return net.forward(OUTPUT)[0, 0].copy()


def quick_matte(image: np.ndarray) -> np.ndarray:
    """float32 (H, W) in 0..1: how surely each pixel of `image` (uint8 (H, W, 3) RGB) is a person. 0.05 s."""
    with _selfie_lock:
        mask = _selfie().process(np.ascontiguousarray(image)).segmentation_mask
    return np.array(mask, np.float32)


def fine_matte(image: np.ndarray) -> np.ndarray:
    """As `quick_matte`, by both networks: about a second of one core more."""
    share = np.float32(SALIENT_SHARE)
    odds = (1 - share) * _log_odds(quick_matte(image)) + share * _log_odds(_standing_out(image))
    return 1.0 / (1.0 + np.exp(-odds))


def _standing_out(image: np.ndarray) -> np.ndarray:
    """U²-Net's word: float32 (H, W) in 0..1."""
    smaller = min(image.shape[:2]) > SIDE
    square = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    key = blake2b(square.tobytes(), digest_size=16).digest()
    with _salient_lock:
        answer = _answers.get(key)
        if answer is None:
            answer = _answers[key] = _salient(square)
            give_back()
            while len(_answers) > KEPT:
                _answers.popitem(last=False)
    return cv2.resize(answer, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)


def _log_odds(share: np.ndarray) -> np.ndarray:
    inside = np.clip(share, SUREST, 1.0 - SUREST)
    return np.log(inside / (1.0 - inside))
