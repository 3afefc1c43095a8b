"""What the tests of training share: the smallest configuration, made-up pictures, a data folder of them."""

import math

import cv2
import numpy as np
import pytest
import torch

from realtime.training.config import preset
from realtime.training.data.clips import Index, ShardWriter
from realtime.training.trainer import Place

CPU = Place(torch.device("cpu"))


def micro(system="motrans", **settings):
    """The smallest run there is: pictures of 32 pixels, two parts."""
    base = preset(system, "tiny")
    small = {
        "size": 32, "steps": 4, "batch": 2, "log_every": 1, "check_every": 2, "sample_every": 4, "save_every": 2,
        "optimiser.warmup": 0, "tensorboard": "false", "losses.scales": "[1.0]", "data.hold_out": 0.25,
    } | settings  # fmt: skip
    if system in ("motrans", "fomm", "mraa"):
        small = {
            "animator.parts": 2, "animator.transformer.dim": 16, "animator.transformer.layers": 1,
            "animator.transformer.ffn": 16, "animator.heat.base": 8, "animator.heat.blocks": 2,
            "animator.generator.base": 8, "animator.generator.bottleneck": 1, "animator.generator.mask.base": 8,
            "animator.generator.mask.blocks": 2,
        } | small  # fmt: skip
    ordered = sorted(small.items(), key=lambda item: item[0] == "size")  # the size last, when the networks are small
    return base.with_settings([f"{name}={value}" for name, value in ordered])


def moving_spot(frames, size=32, seed=0):
    """Pictures of a bright spot that wanders over a patterned ground: JPEG files."""
    rng = np.random.default_rng(seed)
    rough = rng.integers(30, 120, (4, 4, 3)).astype(np.uint8)
    ground = cv2.resize(rough, (size, size), interpolation=cv2.INTER_CUBIC)
    out = []
    for n in range(frames):
        image = ground.copy()
        at = (int(size * (0.5 + 0.25 * math.sin(n / 2))), int(size * (0.5 + 0.25 * math.cos(n / 3))))
        cv2.circle(image, at, size // 6, (220, 200, 60), -1)
        image[:8, :8] = 12 * n  # no two frames are equal
        out.append(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes())
    return out


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder with two indexed clips."""
    folder = tmp_path_factory.mktemp("data")
    index = Index(32, 2.2)
    with ShardWriter(folder, index) as writer:
        writer.add("spot-0000", "spot.mp4", moving_spot(16))
        writer.add("spot-0001", "spot.mp4", moving_spot(12, seed=1))
    return folder


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def micro_tokens(**settings):
    """The smallest run of motion tokens: pictures of 32 pixels, networks of one layer."""
    small = {
        "unimotion.body": 16, "unimotion.hand": 8, "unimotion.face": 8, "unimotion.width": 16, "unimotion.heads": 2,
        "unimotion.eye": 8, "unimotion.decoder": 1, "unimotion.dit_width": 16, "unimotion.dit_layers": 1,
        "unimotion.detail": 4, "unimotion.crop": 16, "unimotion.marks": 2, "optimiser.cosine": "false",
        "puppets.joints_first": 0.0, "keep": 0,
    } | settings  # fmt: skip
    return micro("unimotion", **small)
