"""How a network of 14 thousand million numbers is fitted into a machine: decisions, no I/O and no torch.

Nothing here was measured by this project: sizes are computed from the published files, and times are other people's,
each with what it was said of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from realtime.errors import BadValue

GB, GIB = 10**9, 2**30
TRANSFORMER_BF16 = 34.6e9
"""Bytes of the transformer in bfloat16: half of the published float32 (69.1 GB)."""
ROUND_IT = 1.6e9
"""Bytes of the image encoder and the VAE."""
TEXT_ENCODER = 11.4e9
"""Bytes of the text encoder, which is loaded once, to read the prompt, and then never again for it."""

Placing = Literal["whole", "by turns", "by blocks", "by layers", "cpu"]


@dataclass(frozen=True)
class Plan:
    """A way to run. least: GPU memory from which on it is taken, GB (10^9 bytes). precision: how the transformer's
    weights are held. placing: what of the pipeline lies on the GPU. ram: of the machine, GB. figure: seconds that
    somebody reports for `FIGURE_FRAMES` frames of `FIGURE_PIXELS` at 20 steps, None: nobody does; source: who."""

    name: str
    least: float
    precision: Literal["float32", "bfloat16", "fp8", "gguf"]
    placing: Placing
    ram: float
    about: str
    figure: float | None = None
    source: str = ""


FIGURE_FRAMES, FIGURE_PIXELS, FIGURE_STEPS = 81, 480 * 832, 20
_USER = "one user's report, RTX 5090, 480 x 832, 81 frames"

PLANS = (
    Plan("80 GB", 60, "bfloat16", "whole", 48, "all of it on the GPU, in bfloat16"),
    Plan("48 GB", 42, "bfloat16", "by turns", 48, "in bfloat16; the parts take turns on the GPU"),
    Plan(
        "24 GB", 22, "fp8", "by turns", 48,
        "weights held as 8-bit floats, computed in bfloat16; the parts take turns on the GPU",
    ),
    Plan(
        "16 GB", 11, "bfloat16", "by blocks", 48,
        "in bfloat16; a block of the transformer at a time is on the GPU, the next one on its way",
    ),
    Plan(
        "less", 6, "bfloat16", "by layers", 48, "in bfloat16; a layer at a time is on the GPU: least memory, slowest",
        385, f"{_USER}: bfloat16 with sequential offload, 5.5 GB",
    ),
    Plan("cpu", 0, "float32", "cpu", 90, "without a GPU, in float32: to try tiny networks; the real one takes days"),
)  # fmt: skip
GGUF = Plan(
    "16 GB, GGUF", 14, "gguf", "by turns", 24,
    "weights from a GGUF file, 4 to 8 bits each, computed in bfloat16; the parts take turns on the GPU",
    272, f"{_USER}: a 4-bit form (FP4, not GGUF), 15.6 GB",
)  # fmt: skip


def choose(memory: float, gguf: bool = False) -> Plan:
    """The plan for a GPU of `memory` GB; 0: there is none. gguf: a GGUF file is given. Raises BadValue."""
    if gguf and memory >= GGUF.least:
        return GGUF
    if gguf:
        raise BadValue("--transformer", "GGUF", f"a GGUF file wants a GPU of {GGUF.least:.0f} GB or more")
    if 0 < memory < PLANS[-2].least:
        raise BadValue(
            "--memory", f"{memory:g} GB", f"Wan-Animate needs {PLANS[-2].least:.0f} GB of GPU memory or more"
        )
    return next(plan for plan in PLANS if memory >= plan.least)


def figure_for(plan: Plan, pixels: int, frames: Sequence[int], steps: int) -> float | None:
    """Seconds for segments of so many frames each, after the plan's figure, as if time grew with pixels, frames and
    steps: attention grows faster, so a larger film takes longer than this. None where nobody gives a figure."""
    if plan.figure is None:
        return None
    one = plan.figure * pixels / FIGURE_PIXELS * steps / FIGURE_STEPS
    return sum(one * count / FIGURE_FRAMES for count in frames)


def duration_words(seconds: float) -> str:
    """ "50 s", "12 min", "3.5 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
