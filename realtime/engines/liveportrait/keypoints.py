"""How LivePortrait's keypoints move: from the network's numbers to pose and expression, and from those to keypoints.

All is a fixed sequence of torch operations on the device, without a look at values, so that it can be captured.
Keypoints are rows, multiplied by rotations from the right (LivePortrait, arXiv 2407.03168, equations 2 and 6):

    x_s = s_s (x_c R_s + e_s) + t_s

and, moved relative to a driver's neutral frame 0,

    x_d = s_s (s_i / s_0) (x_c (R_i R_0^T R_s) + e_s + e_i - e_0) + t_s + t_i - t_0.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from realtime.engines.liveportrait import code as c
from realtime.engines.liveportrait.layers import KEYPOINTS
from realtime.engines.liveportrait.motion import BINS

OPEN_EYE, CLOSED_LIPS = 0.35, 0.02
"""Openings that are assumed where a portrait's face was not measured."""
MOST_OPEN = 0.8
"""Opening beyond which the retargeting networks are not asked."""
LIPS_APART = 0.03
"""Opening from which a portrait's lips count as parted."""


def degrees(logits: Tensor) -> Tensor:  # (B, 66) -> (B)
    """The expected angle of a head's classes, 3 degrees apart, centred on 0."""
    bins = torch.arange(BINS, device=logits.device, dtype=logits.dtype)
    return 3.0 * (logits.softmax(1) * bins).sum(1) - 1.5 * (BINS - 1)


def rotation(pitch: Tensor, yaw: Tensor, roll: Tensor) -> Tensor:  # degrees (B) -> (B, 3, 3)
    """(Rz(roll) Ry(yaw) Rx(pitch)) transposed, to multiply rows from the right; the network's signs."""
    angles = [angle * (math.pi / 180) for angle in (pitch, yaw, roll)]
    (sp, cp), (sy, cy), (sr, cr) = [(torch.sin(angle), torch.cos(angle)) for angle in angles]
    rows = (
        torch.stack([cr * cy, sr * cy, -sy], 1),
        torch.stack([cr * sy * sp - sr * cp, sr * sy * sp + cr * cp, cy * sp], 1),
        torch.stack([cr * sy * cp + sr * sp, sr * sy * cp - cr * sp, cy * cp], 1),
    )
    return torch.stack(rows, 1)


@dataclass(frozen=True)
class Motion:
    """Pose and expression of one or more pictures, without the face they are of.

    rotation: (B, 3, 3). expression: (B, 21, 3). scale: (B). move: (B, 2), x and y.
    """

    rotation: Tensor
    expression: Tensor
    scale: Tensor
    move: Tensor

    @classmethod
    def of(cls, code: Tensor) -> Motion:
        """What codes (B, K) say."""
        turned = rotation(-code[:, c.PITCH], -code[:, c.YAW], code[:, c.ROLL])
        scale = torch.exp(code[:, c.SCALE] + code[:, c.INDEX["zoom"]])
        return cls(turned, c.expression_of(code), scale, code[:, c.X : c.Y + 1])

    def place(self, canonical: Tensor) -> Tensor:  # (B, 21, 3) -> (B, 21, 3)
        """The keypoints of a face, `canonical`, in this motion."""
        shifts = F.pad(self.move, (0, 1))[:, None]
        return self.scale[:, None, None] * (canonical @ self.rotation + self.expression) + shifts


def code_of(out: dict[str, Tensor]) -> Tensor:
    """The code (B, K) of the motion extractor's outputs; the openings of eyes and lips, which it does not measure,
    are left at 0."""
    values = {name: value.float() for name, value in out.items()}
    gaze, rest = c.split_gaze(values["exp"])
    pose = torch.stack([-degrees(values["yaw"]), -degrees(values["pitch"]), degrees(values["roll"])], 1)
    scale = values["scale"].clamp_min(1e-3).log()
    openings, sliders = (scale.new_zeros(len(scale), n) for n in (3, len(c.SLIDERS)))
    return torch.cat([pose, values["t"][:, :2], scale, gaze, openings, rest, sliders], 1)


def relative(driving: Motion, start: Motion, source: Motion) -> Motion:
    """The portrait's motion `source`, changed as the driver's changed from `start` to `driving`."""
    turned = driving.rotation @ start.rotation.transpose(1, 2) @ source.rotation
    expression = source.expression + (driving.expression - start.expression)
    scale = source.scale * (driving.scale / start.scale)
    return Motion(turned, expression, scale, source.move + (driving.move - start.move))


@functools.lru_cache(maxsize=8)
def _taken_over(device: torch.device) -> Tensor:
    """(21, 3): which parts of a driver's expression the portrait takes over in absolute motion; the rest says whose
    face it is."""
    taken = torch.zeros(KEYPOINTS, 3)
    taken[[1, 2, 6, *range(11, KEYPOINTS)]] = 1
    for keypoint, axes in {3: "y", 4: "y", 5: "z", 8: "z", 9: "yz"}.items():
        for axis in axes:
            taken[keypoint, "xyz".index(axis)] = 1
    return taken.to(device)


@functools.lru_cache(maxsize=8)
def _chosen(keypoints: tuple[int, ...], device: torch.device) -> Tensor:  # (21, 1) bool
    chosen = torch.zeros(KEYPOINTS, 1, dtype=torch.bool)
    chosen[list(keypoints)] = True
    return chosen.to(device)


def absolute(driving: Motion, source: Motion) -> Motion:
    """The driver's own pose, place and expression, with the portrait's size and shape of face."""
    taken = _taken_over(source.expression.device)
    expression = source.expression + taken * (driving.expression - source.expression)
    return Motion(driving.rotation, expression, source.scale.expand_as(driving.scale), driving.move)


@dataclass(frozen=True)
class Heads:
    """The three small networks, see `networks.Networks`."""

    stitch: Callable[[Tensor, Tensor], Tensor]
    retarget_eye: Callable[[Tensor, Tensor], Tensor]
    retarget_lip: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Rules:
    """Choices of the engine.

    stitch: the moved head stays joined to its shoulders. retarget_eyes, retarget_lips: how far they open is taken
    from the driver's measured opening instead of his expression. close_lips: parted lips of the portrait are closed.
    """

    stitch: bool = True
    retarget_eyes: bool = False
    retarget_lips: bool = False
    close_lips: bool = False

    def tensor(self, device: torch.device | str = "cpu") -> Tensor:
        """(1, 4), 1 where a choice is on: engines that share a captured graph may choose differently."""
        chosen = [float(getattr(self, name)) for name in RULES]
        return torch.tensor([chosen], device=device)


RULES = ("stitch", "retarget_eyes", "retarget_lips", "close_lips")
"""The order of the choices in `Rules.tensor`."""


def stitched(heads: Heads, source: Tensor, driving: Tensor) -> Tensor:  # (B, 21, 3) each -> (B, 21, 3)
    """The driving keypoints, shifted so that the head stays joined to its shoulders."""
    shift = heads.stitch(source, driving)
    own, common = shift[:, : 3 * KEYPOINTS].unflatten(1, (KEYPOINTS, 3)), shift[:, 3 * KEYPOINTS :]
    return driving + own + F.pad(common, (0, 1))[:, None]


def lips_closed(heads: Heads, source: Tensor, code: Tensor) -> Tensor:
    """Shifts (B, 21, 3) that close the portrait's lips; none where they are not parted. code: the portrait's."""
    own = code[:, c.LIPS]
    shift = heads.retarget_lip(source, torch.stack([own, torch.zeros_like(own)], 1))
    return torch.where((own >= LIPS_APART)[:, None, None], shift, torch.zeros_like(shift))


def drive(code: Tensor, reference: Tensor, source: Tensor, canonical: Tensor, heads: Heads, rules: Tensor) -> Tensor:
    """Where the keypoints go: (B, 21, 3), for the warp.

    code, reference, source: (B, K), of the driver, of his neutral face, and of the portrait. A reference that is the
    portrait's own code makes the motion absolute. canonical: (B, 21, 3), the portrait's. rules: (B or 1, 4), see
    `Rules.tensor`.
    """
    on = rules.unbind(1)
    stitch, eyes, lips, shut = ((flag > 0)[:, None, None] for flag in on)
    own = Motion.of(source)
    seen, start = Motion.of(code), Motion.of(reference)
    as_is = (reference == source).all(1)
    one, other = absolute(seen, own), relative(seen, start, own)
    zoom = torch.exp(code[:, c.INDEX["zoom"]] - reference[:, c.INDEX["zoom"]])
    expression = torch.where(as_is[:, None, None], one.expression, other.expression)
    for flag, numbers in ((eyes, c.EYE_KEYPOINTS), (lips, c.LIP_KEYPOINTS)):
        expression = torch.where(flag & _chosen(numbers, own.expression.device), own.expression, expression)
    moved = Motion(
        torch.where(as_is[:, None, None], one.rotation, other.rotation),
        expression,
        torch.where(as_is, one.scale * zoom, other.scale),
        torch.where(as_is[:, None], one.move, other.move),
    )
    home = own.place(canonical).expand(len(code), -1, -1)
    wanted = _openings(code, reference, source, as_is, on[1] > 0, on[2] > 0)
    keypoints = moved.place(canonical) + _opened(wanted, source, home, heads)
    keypoints = torch.where(stitch, stitched(heads, home, keypoints), keypoints)
    return torch.where(shut, keypoints + lips_closed(heads, home, source), keypoints)


def _openings(
    code: Tensor, reference: Tensor, source: Tensor, as_is: Tensor, eyes: Tensor, lips: Tensor
) -> tuple[Tensor, Tensor]:
    """How far eyes and lips shall be open, (B) both. eyes, lips: (B) bool, whether to go by the driver's."""
    own_eyes, own_lips = source[:, c.EYE_RIGHT : c.EYE_LEFT + 1].mean(1), source[:, c.LIPS]
    # The network knows one opening for both eyes: that of the eye at the picture's left.
    seen, start = code[:, c.EYE_RIGHT], reference[:, c.EYE_RIGHT]
    of_driver = torch.where(as_is, seen, own_eyes * (seen / start.clamp_min(0.05)).clamp(0, 2))
    want_eyes = torch.where(eyes, of_driver, own_eyes) * (1 - code[:, c.INDEX["blink"]])
    seen, start = code[:, c.LIPS], reference[:, c.LIPS]
    of_driver = torch.where(as_is, seen, own_lips + (seen - start))
    want_lips = torch.where(lips, of_driver, own_lips) + MOST_OPEN * code[:, c.INDEX["lips"]]
    return want_eyes.clamp(0, MOST_OPEN), want_lips.clamp(0, MOST_OPEN)


def _opened(wanted: tuple[Tensor, Tensor], source: Tensor, home: Tensor, heads: Heads) -> Tensor:
    """Shifts (B, 21, 3) of the retargeting networks: what they add for the wanted opening, less what they add for the
    portrait's own, so that an opening that is not changed moves nothing."""
    eyes = source[:, c.EYE_RIGHT : c.EYE_LEFT + 1].expand(len(home), -1)
    lips = source[:, c.LIPS].expand(len(home))

    def eye_shift(opening: Tensor) -> Tensor:
        return heads.retarget_eye(home, torch.cat([eyes, opening[:, None]], 1))

    def lip_shift(opening: Tensor) -> Tensor:
        return heads.retarget_lip(home, torch.stack([lips, opening], 1))

    want_eyes, want_lips = wanted
    return eye_shift(want_eyes) - eye_shift(eyes.mean(1)) + lip_shift(want_lips) - lip_shift(lips)
