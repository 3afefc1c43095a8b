"""A session with an engine of its own: what it holds, and what it lets go."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.errors import BadPortrait
from realtime.server.gallery import GalleryPortrait
from realtime.server.places import Wish
from tests.support.server import DotEngine, make_studio


async def test_an_engine_whose_session_cannot_begin_is_freed():
    studio = make_studio(portraits=[GalleryPortrait("plain", "Plain", np.full((64, 64, 3), 90, np.uint8))])
    await studio.open()
    made, closed = DotEngine.made, DotEngine.closed
    with pytest.raises(BadPortrait):
        await studio.begin(Wish())
    assert (DotEngine.made - made, DotEngine.closed - closed) == (1, 1)
    assert studio.book.entries == {}
    await studio.close()
