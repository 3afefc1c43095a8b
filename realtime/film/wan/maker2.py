"""`avatar animate --engine wan-2`: Wan-Animate-2, which is driven by the clip itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from realtime.errors import BadValue
from realtime.film import Job
from realtime.film.wan import published
from realtime.film.wan.maker import WanMaker
from realtime.film.wan.plans import Plan
from realtime.film.wan.prepare import Wish, prepare_frames
from realtime.film.wan.prepared import Prepared, Progress

if TYPE_CHECKING:
    from realtime.film.wan.network2 import Network2


class WanMaker2(WanMaker):
    """See `realtime.film.Maker`."""

    modes = ("animate",)
    engine = "wan-2"
    family = published.SECOND
    segment, overlap, steps = 81, 1, 40
    rate = 24.0

    def _prepare(self, wish: Wish, folder: Path, on_frame: Progress) -> Prepared:
        return prepare_frames(wish, folder, self.engine, on_frame)

    def _settle(self, job: Job) -> tuple[int, int, int]:
        for option, given in (("--transformer", job.transformer), ("--lora", job.loras)):
            if given:
                raise BadValue(option, given, "only with --engine wan")
        return super()._settle(job)

    def _network(self, job: Job, plan: Plan, weights: Path, prompt: str, how: tuple[int, int, int]) -> Network2:
        from realtime.film.wan import loading

        words = [loading.embedding(weights, text) for text in (prompt, "", loading.REFERENCE)]
        with loading.library():
            from realtime.film.wan.network2 import Network2

        return Network2(loading.load2(weights, plan, self._device(job), words), *how)
