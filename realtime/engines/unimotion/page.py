"""`avatar inspect` for motion tokens: what the networks make of a driving frame and a reference."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from realtime.engines.unimotion.dit import sample
from realtime.engines.unimotion.driving import read_frames, square, tensor
from realtime.engines.unimotion.weights import load_unimotion

STEPS = (1, 2, 4, 8)
"""Of the sampler, for the last row."""
GAP = 4


@torch.no_grad()
def page(weights: Path, reference: np.ndarray, frame: np.ndarray, device: str, side: int) -> tuple[np.ndarray, str]:
    """A page, uint8 (H, W, 3), and what it shows in words. reference, frame: uint8 (H, W, 3).

    First row: the driver as E sees it, the crops that the reader found (right hand, left hand mirrored, face), the
    reference. Second: what D's guidance holds, its three main components as colours; the reference moved bone by
    bone; heat maps of the joints on the reference; the hands' normals. Third: what comes out after 1, 2, 4 and 8
    steps. Last: the tokens as bars. Raises BadFile.
    """
    place = torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")
    network = load_unimotion(weights).to(place)
    size = network.config.size
    here = tensor(square(reference, size)[None]).to(place)
    tokens, small, crops = read_frames(network, tensor(square(frame, 2 * size)[None]).to(place))
    guidance = network.guide(network.look(here), tokens)
    fine = network.move(here, guidance, tokens)
    maps = network.joint_head(guidance.features)
    maps = maps.flatten(2).softmax(2).unflatten(2, maps.shape[2:])
    normals, sure = network.normal_head(guidance.features, fine)
    noise = torch.randn(here.shape, generator=torch.Generator().manual_seed(0)).to(place)
    made = [
        (sample(network.dit, here * 2 - 1, guidance.features, fine, tokens.face, noise, n) + 1) / 2 for n in STEPS
    ]
    rows = [
        [picture(small), *(picture(crops[:, n]) for n in range(3)), picture(here)],
        [
            components(guidance.features),
            picture((fine[:, :3] + 1) / 2),
            heat(here, maps),
            picture((normals * torch.sigmoid(sure) + 1) / 2),
        ],
        [picture(image) for image in made],
    ]
    sheets = [np.hstack([_padded(cv2.resize(p, (side, side), interpolation=cv2.INTER_NEAREST)) for p in row])
              for row in rows]  # fmt: skip
    wide = max(sheet.shape[1] for sheet in sheets)
    sheets.append(bars(torch.cat(tokens, 1)[0].cpu().numpy(), wide - GAP, side // 2))
    full = [np.pad(s, ((0, 0), (0, wide - s.shape[1]), (0, 0)), constant_values=255) for s in sheets]
    return np.vstack(full), f"{network.config.tokens} numbers in four motion tokens"


def picture(image: Tensor) -> np.ndarray:
    """float (1, 3, H, W) in 0..1 to uint8 (H, W, 3)."""
    return (image[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()


def components(guidance: Tensor) -> np.ndarray:
    """The three main components of the places of (1, C, h, w) as the colours of (h, w)."""
    places = guidance[0].flatten(1).T.float().cpu()
    places = places - places.mean(0)
    _, _, axes = torch.linalg.svd(places, full_matrices=False)
    shown = places @ axes[:3].T
    shown = (shown - shown.amin(0)) / (shown.amax(0) - shown.amin(0)).clamp(min=1e-6)
    return (shown.unflatten(0, guidance.shape[2:]) * 255).byte().numpy()


def heat(reference: Tensor, maps: Tensor) -> np.ndarray:
    """The reference, darkened, with the joints' maps (1, J, h, w) over it in red."""
    size = reference.shape[3]
    strength = maps / maps.amax((2, 3), keepdim=True)
    strength = torch.nn.functional.interpolate(strength.amax(1, keepdim=True), (size, size), mode="bilinear")
    red = torch.tensor([1.0, 0.1, 0.1], device=reference.device)[:, None, None]
    return picture(reference * 0.6 * (1 - strength) + red * strength)


def bars(values: np.ndarray, width: int, height: int) -> np.ndarray:
    """Values in -1..1 as bars up and down from the middle: uint8 (height, width + GAP, 3)."""
    shown = np.full((height, width, 3), 255, np.uint8)
    edges = np.linspace(0, width, len(values) + 1).astype(int)
    for value, (left, right) in zip(values, pairwise(edges), strict=True):
        top, bottom = sorted((height // 2, round((1 - float(value)) * height / 2)))
        shown[top : bottom + 1, left : max(left + 1, right - 1)] = (60, 90, 160)
    return _padded(shown)


def _padded(image: np.ndarray) -> np.ndarray:
    return np.pad(image, ((0, GAP), (0, GAP), (0, 0)), constant_values=255)
