"""The contract of `realtime.engines.Engine`, for every engine: which codes it takes, and how its life ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from realtime.engines import ENGINES, Engine, load_engine
from realtime.errors import BadValue, EngineError
from realtime.media.portraits import builtin_portrait
from realtime.types import MotionCode


@pytest.fixture(scope="module")
def small_lia_x(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a LIA-X that leaves the finest levels away: the whole one takes minutes here."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    from realtime.engines.latent.lia_x import LiaX
    from realtime.training.systems import initialise_equalised

    network = LiaX(1, 40, size=64, width=64)
    initialise_equalised(network, torch.Generator().manual_seed(1))
    path = tmp_path_factory.mktemp("weights") / "lia-x.safetensors"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, str(path))
    return path


@pytest.fixture(params=sorted(ENGINES))
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    options: dict[str, object] = {"size": 64}
    if request.param != "mesh":
        pytest.importorskip("torch")
        weights = "recipe:1" if request.param != "lia-x" else request.getfixturevalue("small_lia_x")
        options |= {"weights": weights, "device": "cpu", "crop": "none"}
    made = load_engine(request.param, **options)
    made.set_portrait(builtin_portrait())
    yield made
    made.close()


def not_its_codes(engine: Engine) -> list[object]:
    own = engine.portrait_code
    return [
        "x",
        own.values,
        MotionCode("other", own.values),
        MotionCode(engine.kind, own.values[:-1]),
        MotionCode(engine.kind, own.values[None]),
    ]


def test_the_reference_is_checked_where_it_is_set(engine: Engine) -> None:
    own = engine.portrait_code
    engine.reference = own
    for wrong in not_its_codes(engine):
        with pytest.raises(BadValue, match=r"^reference cannot be"):
            engine.reference = wrong  # type: ignore[assignment]
        assert engine.reference is own
    engine.reference = None
    assert engine.reference is None
    engine.render(own)
    assert engine.reference is own


def test_codes_of_others_are_refused(engine: Engine) -> None:
    for wrong in not_its_codes(engine):
        with pytest.raises(BadValue, match=r"^code cannot be"):
            engine.render(wrong)  # type: ignore[arg-type]


def test_a_closed_engine_does_nothing_and_says_so(engine: Engine) -> None:
    own, frame = engine.portrait_code, np.full((64, 64, 3), 90, np.uint8)
    engine.close()
    engine.close()
    for act in (
        lambda: engine.render(own),
        lambda: engine.encode(frame),
        lambda: engine.set_portrait(frame),
        lambda: engine.portrait_code,
    ):
        with pytest.raises(EngineError, match="is closed"):
            act()
