"""One still picture as a driver, again and again."""

from __future__ import annotations

import time

import numpy as np

from realtime.flow.pacing import Cadence
from realtime.home import user_path
from realtime.media.pictures import read_picture
from realtime.sources import SourceBase, SourceOptions
from realtime.types import Frame


class StillSource(SourceBase):
    """The picture at `options.fps` when paced; exactly once otherwise."""

    still = True

    def __init__(self, path: str, options: SourceOptions) -> None:
        super().__init__(options)
        self.path = user_path(path)
        self.name = self.path.name
        self.fps = options.fps
        self.frames = None if options.paced else 1
        self._beat = Cadence(options.fps)
        self._image: np.ndarray | None = None
        self._index = 0

    def check(self) -> None:
        """Raises BadFile where the file is not a picture."""
        self._image = read_picture(self.path, max_side=self.options.max_side)

    def read(self) -> Frame | None:
        if self._image is None:
            self.check()
        assert self._image is not None
        if self._index and not self.options.paced:
            return None
        now = time.monotonic()
        time.sleep(max(0.0, self._beat.due(now) - now))
        frame = Frame(self._image, time.monotonic(), self._index, self._index * self._beat.period)
        self._index += 1
        return frame
