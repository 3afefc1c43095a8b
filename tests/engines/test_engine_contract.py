"""The contract of `realtime.engines.Engine`, for every engine: which codes it takes, and how its life ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from realtime.engines import ENGINES, Engine, load_engine
from realtime.errors import BadValue, EngineError
from realtime.media.portraits import builtin_portrait
from realtime.session.shelf import Shelf
from realtime.types import Frame, MotionCode


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
def make(request: pytest.FixtureRequest) -> Iterator[Callable[..., Engine]]:
    """Makes the engine, small and on the CPU, with a portrait."""
    made: list[Engine] = []

    def build(**wanted: object) -> Engine:
        options: dict[str, object] = {"size": 64}
        if request.param != "mesh":
            pytest.importorskip("torch")
            weights = "recipe:1" if request.param != "lia-x" else request.getfixturevalue("small_lia_x")
            options |= {"weights": weights, "device": "cpu", "crop": "none", **wanted}
        engine = load_engine(request.param, **options)
        made.append(engine)
        engine.set_portrait(builtin_portrait())
        return engine

    yield build
    for engine in made:
        engine.close()


@pytest.fixture
def engine(make: Callable[..., Engine]) -> Engine:
    return make()


def moving_face(*shifts: int) -> list[np.ndarray]:
    """Driving frames of 640 x 480 in which a face stands so many pixels from the left."""
    face = cv2.resize(builtin_portrait(), (320, 320), interpolation=cv2.INTER_AREA)
    frames = [np.full((480, 640, 3), 90, np.uint8) for _ in shifts]
    for frame, left in zip(frames, shifts, strict=True):
        frame[80:400, left : left + 320] = face
    return frames


def test_an_engine_goes_by_the_time_of_capture_alone(make: Callable[..., Engine]) -> None:
    """The same frames in the same steps give the same codes whatever their media time; in other steps others do."""
    engine = make(crop="face")
    frames = moving_face(60, 80, 100, 120, 140)

    def last_code(step: float, media_step: float) -> np.ndarray:
        engine.reset()
        for n, image in enumerate(frames):
            code = engine.encode(Frame(image, captured=50.0 + n * step, index=n, pts=n * media_step))
            assert code is not None
            assert (code.captured, code.pts, code.index) == (50.0 + n * step, n * media_step, n)
        return code.values

    steady = last_code(1 / 30, 1 / 30)
    np.testing.assert_allclose(last_code(1 / 30, 1 / 5), steady, atol=1e-5)
    assert np.abs(last_code(1 / 5, 1 / 30) - steady).max() > 1e-4


def test_a_session_gets_a_portrait_ready_and_shows_it(engine: Engine) -> None:
    """An engine may have a `prepare` of its own for that; a method of this name must take the picture alone."""
    ready = Shelf(engine).prepare("mine", builtin_portrait())
    engine.set_portrait(ready.data)
    assert engine.portrait_code.kind == engine.kind


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
