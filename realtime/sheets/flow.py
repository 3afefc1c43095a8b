"""What each direction of a motion dictionary moves, and how much of the picture it takes: heat maps and bars.

Works with any engine: where an engine knows its own flow (`flow(code)`, as the neural engines do) that is shown;
for the others the flow between the picture at rest and the moved one is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from realtime.engines import Engine
from realtime.media.pictures import fit_into
from realtime.sheets.contact import contact_row, edited_portrait
from realtime.types import Direction

BULK = 0.9
"""The share of a direction's motion that counts as nearly all of it."""
FAINT = 0.02
"""Mean flow in pixels around which the bars stop growing in proportion and grow with the logarithm."""
INK = (20, 20, 20)


@dataclass(frozen=True)
class DirectionFlow:
    """How one direction moves the picture between rest and the ends of its range.

    magnitude: float32 (H, W), mean |flow| of both ends, pixels. mean: over the picture. spread: the smallest share
    of the picture that holds `BULK` of the motion, 0 to 1: small where the direction is local.
    """

    direction: Direction
    magnitude: np.ndarray

    @property
    def mean(self) -> float:
        return float(self.magnitude.mean())

    @property
    def spread(self) -> float:
        values = np.sort(self.magnitude, axis=None)[::-1].astype(np.float64)
        total = values.sum()
        if total <= 0:
            return 0.0
        return float(np.searchsorted(np.cumsum(values), BULK * total) + 1) / values.size


def measure(
    engine: Engine, directions: Sequence[Direction], on_one: Callable[[], None] = lambda: None
) -> list[DirectionFlow]:
    """The flow of each direction, in their order. The engine has its portrait; its reference is left at the
    portrait's own code. `on_one` is called after each direction."""
    rest = engine.portrait_code
    engine.reference = rest
    own = getattr(engine, "flow", None)
    base = own(rest) if own is not None else None
    still = _grey(edited_portrait(engine, {}))
    flows = []
    for direction in directions:
        fields = []
        for amount in (direction.lo, direction.hi):
            if amount == 0:
                continue
            if own is not None:
                values = rest.values.copy()
                values[direction.index] += amount
                fields.append(own(rest.with_values(values)) - base)
            else:
                fields.append(_seen_flow(still, _grey(edited_portrait(engine, {direction.name: amount}))))
        lengths = [np.linalg.norm(f, axis=-1) for f in fields] or [np.zeros(still.shape, np.float32)]
        flows.append(DirectionFlow(direction, np.mean(lengths, axis=0).astype(np.float32)))
        on_one()
    return flows


def _grey(picture: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)


def _seen_flow(still: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Dense optical flow, float32 (H, W, 2) in pixels, 0 where nothing changed."""
    import cv2

    finder = cv2.DISOpticalFlow.create(cv2.DISOpticalFlow_PRESET_MEDIUM)
    flow = finder.calc(still, moved, np.zeros((*still.shape, 2), np.float32))
    changed = cv2.dilate((cv2.absdiff(still, moved) > 2).astype(np.uint8), np.ones((9, 9), np.uint8))
    return flow * changed[..., None]


def flow_sheet(engine: Engine, flows: Sequence[DirectionFlow], cell: int = 160) -> np.ndarray:
    """The sheet: uint8 (H, W, 3) RGB. On the left, how much and how widely each direction moves the picture, the
    strongest first; on the right, a heat map per direction over the portrait, each on its own scale."""
    portrait = edited_portrait(engine, {})
    tiles = [
        contact_row([fit_into(heat(portrait, flow.magnitude), cell, cell)], flow.direction.name[: cell // 8])
        for flow in flows
    ]
    columns = max(3, round(1.3 * len(tiles) ** 0.5))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    maps = np.vstack([np.hstack(tiles[k : k + columns]) for k in range(0, len(tiles), columns)])
    bars = _bars(flows)
    tall = max(bars.shape[0], maps.shape[0])
    return np.hstack([np.pad(p, ((0, tall - len(p)), (0, 0), (0, 0)), constant_values=255) for p in (bars, maps)])


def heat(portrait: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    """`magnitude` (h, w) as colour over the greyed portrait, uint8 (H, W, 3) RGB; full colour at its own largest
    values."""
    import cv2

    height, width = portrait.shape[:2]
    strength = cv2.resize(magnitude, (width, height), interpolation=cv2.INTER_LINEAR)
    top = float(np.quantile(strength, 0.995)) or float(strength.max())
    strength = np.clip(strength / top, 0, 1) if top > 0 else np.zeros_like(strength)
    colour = cv2.applyColorMap((255 * strength).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    grey = 0.6 * _grey(portrait)[..., None].repeat(3, -1) + 60
    cover = (0.9 * np.sqrt(strength))[..., None]
    return np.rint(grey * (1 - cover) + colour * cover).clip(0, 255).astype(np.uint8)


def _bars(flows: Sequence[DirectionFlow], row: int = 18) -> np.ndarray:
    """A line per direction: name, mean |flow| (the bar grows with its logarithm), spread."""
    import cv2

    names, first, second, width = 10, 190, 420, 600
    panel = np.full((row * (len(flows) + 4), width, 3), 255, np.uint8)

    def write(text: str, x: int, line: float) -> None:
        at = (x, round(row * (line + 1)) - 5)
        cv2.putText(panel, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, INK, 1, cv2.LINE_AA)

    write("direction", names, 0.5)
    write("mean |flow|, pixels", first, 0.5)
    write(f"holds {100 * BULK:.0f}% of it", second, 0.5)
    ordered = sorted(flows, key=lambda f: -f.mean)
    most = np.log1p(max((f.mean for f in ordered), default=0.0) / FAINT) or 1.0
    for line, flow in enumerate(ordered, 2):
        top, bottom = line * row + 3, (line + 1) * row - 3
        long = round(150 * np.log1p(flow.mean / FAINT) / most)
        wide = round(110 * flow.spread)
        write(flow.direction.name[:24], names, line)
        cv2.rectangle(panel, (first, top), (first + long, bottom), (214, 96, 40), -1)
        write(f"{flow.mean:.2g}", first + long + 5, line)
        cv2.rectangle(panel, (second, top), (second + wide, bottom), (60, 110, 170), -1)
        write(f"{100 * flow.spread:.0f}% of the picture" if line == 2 else f"{100 * flow.spread:.0f}%",
              second + wide + 5, line)  # fmt: skip
    return panel
