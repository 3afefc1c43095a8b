"""The wiring of the stages, with an engine, sources and sinks that behave as told."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from realtime.errors import AvatarError, BadFile, DeviceError, EngineError, UnknownName
from realtime.session.local import Pipeline
from realtime.settings import Live, PipelineSettings
from realtime.types import MotionCode
from tests.support import FakeEngine, ListSink, ListSource, plain


def grey(n: int, start: int = 60) -> list[np.ndarray]:
    """Pictures that each differ from the one before."""
    shades = [plain(start + i) for i in range(min(n, 120))]
    return [shades[i % 120] for i in range(n)]


async def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until `condition` holds; fail after `seconds`."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def test_lossless_gives_every_frame_in_order() -> None:
    sink, engine = ListSink(), FakeEngine()
    engine.render_seconds = 0.002
    pipeline = Pipeline(ListSource(grey(40)), engine, [sink], PipelineSettings(lossless=True))
    asyncio.run(pipeline.run())
    assert [p.index for p in sink.pictures] == list(range(40))
    assert pipeline.stats.counts.dropped == 0
    assert not pipeline.interrupted
    assert sink.closed >= 1
    assert pipeline.source.closed >= 1
    assert len(engine.threads["encode"] - engine.threads["render"]) >= 1


def test_a_slow_engine_renders_the_newest_frame_and_drops_the_others() -> None:
    """While one picture is being made 60 frames go by: the next one is that of the 60th. Lateness cannot grow."""
    engine, sink = FakeEngine(), ListSink()
    source = ListSource(grey(60), fps=600)
    pipeline = Pipeline(source, engine, [sink])
    gate, plain_render, plain_encode = threading.Event(), engine.render, engine.encode
    encoded = [-1]

    def encode(frame):
        code = plain_encode(frame)
        encoded.append(frame.index)
        return code

    engine.encode = encode  # type: ignore[method-assign]

    def slow_render(code: MotionCode) -> np.ndarray:
        if pipeline.control.phase == "running":
            gate.wait(20)
        return plain_render(code)

    engine.render = slow_render  # type: ignore[method-assign]

    async def scenario() -> None:
        running = asyncio.create_task(pipeline.run())
        await until(lambda: encoded[-1] == 59)
        await asyncio.sleep(0.3)  # the code of the last frame is on its way to the slot
        gate.set()
        await running

    asyncio.run(scenario())
    counts = pipeline.stats.counts
    shown = [p.index for p in sink.pictures if p.index >= 0]
    assert counts.captured == 60
    assert counts.delivered + counts.dropped == counts.captured
    assert len(shown) <= 3
    assert shown[-1] == 59
    assert shown == sorted(shown)


def test_an_engine_three_times_too_slow_drops_two_of_three() -> None:
    engine, sink = FakeEngine(), ListSink()
    engine.render_seconds = 0.03
    pipeline = Pipeline(ListSource(grey(100), fps=100), engine, [sink])
    asyncio.run(pipeline.run())
    counts = pipeline.stats.counts
    assert counts.delivered + counts.dropped == counts.captured == 100
    assert counts.dropped >= 40
    waited = [p.stamps["render"] - p.stamps["encode"] for p in sink.pictures if p.index >= 0]
    assert np.median(waited[len(waited) // 2 :]) < 3 * np.median(waited[: len(waited) // 2]) + 0.05  # no queue


def test_stats_file_has_the_documented_keys(tmp_path) -> None:
    path = tmp_path / "stats.json"
    pipeline = Pipeline(
        ListSource([*grey(5), plain(0)]), FakeEngine(), [ListSink()], PipelineSettings(lossless=True, stats=path)
    )
    asyncio.run(pipeline.run())
    stats = json.loads(path.read_text())
    assert set(stats) == {"frames", "fps", "latency_ms", "engine", "device", "size"}
    assert stats["frames"] == {
        "captured": 6, "encoded": 6, "rendered": 6, "delivered": 6, "dropped": 0, "no_face": 1
    }  # fmt: skip
    assert set(stats["latency_ms"]) == {"total", "capture", "encode", "render", "deliver"}
    assert all(set(v) == {"p50", "p95", "p99"} for v in stats["latency_ms"].values())
    assert (stats["engine"], stats["device"], stats["size"]) == ("fake", "cpu", 64)


@pytest.mark.parametrize("lossless", [False, True])
def test_the_camera_picture_is_never_shown(lossless: bool) -> None:
    """Marker frames drive it, then faces vanish and the engine fails: no output holds the marker."""
    marker = plain((250, 10, 250))
    engine, sink = FakeEngine(), ListSink()
    engine.set_portrait(plain((20, 120, 20)))
    frames = [marker] * 4 + [plain(0)] * 6 + [marker] * 2
    pipeline = Pipeline(ListSource(frames, fps=60), engine, [sink], PipelineSettings(lossless=lossless))
    if not lossless:
        renders = iter(range(100))
        plain_render = engine.render

        def failing(code: MotionCode) -> np.ndarray:
            if next(renders) > 6:
                raise RuntimeError("the device is lost")
            return plain_render(code)

        engine.render = failing  # type: ignore[method-assign]
        with pytest.raises(EngineError, match="device is lost"):
            asyncio.run(pipeline.run())
    else:
        asyncio.run(pipeline.run())
    assert sink.pictures
    for picture in sink.pictures:
        assert not (np.abs(picture.image.astype(int) - marker[0, 0]) < 12).all(-1).any()


def test_engine_failure_holds_the_last_picture_then_the_still_portrait_then_recovers() -> None:
    engine, sink = FakeEngine(), ListSink()
    pipeline = Pipeline(ListSource([plain(180)] * 100_000, fps=100), engine, [sink], live=Live(absolute=True))
    notices: list[str] = []
    pipeline.control.subscribe(lambda n: notices.append(n.text))

    def last() -> int:
        return int(sink.pictures[-1].image[0, 0, 0]) if sink.pictures else -1

    async def scenario() -> None:
        running = asyncio.create_task(pipeline.run())
        await until(lambda: last() == 180)
        pipeline._rendering.faults.fallback._hold = 1e9
        engine.fail_render = True
        await until(lambda: bool(notices))
        shown = len(sink.pictures)
        await until(lambda: len(sink.pictures) >= shown + 5)
        assert last() == 180  # the last picture is held
        pipeline._rendering.faults.fallback._hold = 0.0
        await until(lambda: last() == 128)  # the still portrait
        engine.fail_render = False
        await until(lambda: last() == 180)
        pipeline.control.stop()
        await running

    asyncio.run(scenario())
    assert "device is lost" in notices[0]
    assert "works again" in notices[1]
    assert len(notices) == 2


def test_a_failing_sink_does_not_stop_the_others() -> None:
    bad, good = ListSink(fail_after=3), ListSink()
    pipeline = Pipeline(ListSource(grey(20)), FakeEngine(), [bad, good], PipelineSettings(lossless=True))
    with pytest.raises(AvatarError, match="disk is full"):
        asyncio.run(pipeline.run())
    assert len(good.pictures) == 20
    assert len(bad.pictures) == 3
    assert bad.closed >= 1
    assert pipeline.stats.counts.delivered == 20


def test_a_slow_sink_does_not_slow_the_others() -> None:
    slow, quick = ListSink(), ListSink()
    gate, write = threading.Event(), slow.write
    slow.write = lambda picture: gate.wait(20) and write(picture)  # type: ignore[method-assign]
    pipeline = Pipeline(ListSource(grey(50), fps=100), FakeEngine(), [slow, quick])

    async def scenario() -> None:
        running = asyncio.create_task(pipeline.run())
        await until(lambda: bool(quick.pictures) and quick.pictures[-1].index == 49)
        gate.set()
        await running

    asyncio.run(scenario())
    assert len(slow.pictures) <= 3
    assert slow.pictures[-1].index == 49


def test_a_sink_that_cannot_open_ends_the_session_before_it_starts() -> None:
    good = ListSink()
    pipeline = Pipeline(ListSource(grey(5), fps=30), FakeEngine(), [good, ListSink(fail_open=True)])
    with pytest.raises(DeviceError, match="is broken"):
        asyncio.run(pipeline.run())
    assert good.closed >= 1
    assert pipeline.source.closed >= 1


def test_all_sinks_failed_ends_the_session() -> None:
    source = ListSource(grey(10_000), fps=200)
    pipeline = Pipeline(source, FakeEngine(), [ListSink(fail_after=2)])
    with pytest.raises(AvatarError, match="disk is full"):
        asyncio.run(asyncio.wait_for(pipeline.run(), 10))
    assert source.items


def test_an_error_of_the_source_is_raised_once_and_sinks_are_closed() -> None:
    sink = ListSink()
    source = ListSource([*grey(3), BadFile("clip.mp4", "is damaged"), *grey(3)])
    with pytest.raises(BadFile, match="is damaged"):
        asyncio.run(Pipeline(source, FakeEngine(), [sink], PipelineSettings(lossless=True)).run())
    assert sink.closed >= 1


def test_an_engine_error_offline_is_raised() -> None:
    engine = FakeEngine()
    engine.fail_encode = True
    with pytest.raises(EngineError, match="encoder broke"):
        asyncio.run(Pipeline(ListSource(grey(9)), engine, [ListSink()], PipelineSettings(lossless=True)).run())


def test_stop_ends_a_session_without_end() -> None:
    source, sink = ListSource(grey(100_000), fps=60), ListSink()
    pipeline = Pipeline(source, FakeEngine(), [sink])

    async def scenario() -> None:
        running = asyncio.create_task(pipeline.run())
        await until(lambda: len(sink.pictures) > 3)
        pipeline.control.stop()
        await asyncio.wait_for(running, 20)

    asyncio.run(scenario())
    assert pipeline.interrupted
    assert sink.closed >= 1
    assert not [t for t in threading.enumerate() if t.name.startswith("avatar-")]


def test_a_source_that_is_slow_to_open_is_waited_for_without_polling(monkeypatch) -> None:
    source, opening, gate = ListSource(grey(5)), threading.Event(), threading.Event()
    source.open = lambda: (opening.set(), gate.wait(20))  # type: ignore[method-assign, assignment]
    pipeline = Pipeline(source, FakeEngine(), [ListSink()])
    slept: list[float] = []
    sleep = asyncio.sleep

    async def noted(delay: float, *rest: object) -> None:
        slept.append(delay)
        await sleep(delay)

    async def scenario() -> None:
        monkeypatch.setattr(asyncio, "sleep", noted)
        running = asyncio.create_task(pipeline.run())
        await asyncio.to_thread(opening.wait, 20)
        pipeline.control.stop()
        await sleep(0)
        gate.set()
        await running

    asyncio.run(scenario())
    assert slept == []
    assert pipeline.interrupted
    assert source.closed >= 1


def test_stop_offline_leaves_what_waited_for_the_neutral_face(monkeypatch) -> None:
    monkeypatch.setattr("realtime.session.local.LAST_WORDS", 0.0)
    source, sink = ListSource([plain(0)] * 100), ListSink()  # without a face there is no neutral to find
    pipeline = Pipeline(source, FakeEngine(), [sink], PipelineSettings(lossless=True))
    read, early = source.read, []

    def read_then_stop():
        if len(source.items) == 10:
            early.extend(sink.pictures)
            pipeline.control.stop()
        return read()

    source.read = read_then_stop  # type: ignore[method-assign]
    stats = asyncio.run(pipeline.run())
    assert early == []
    assert 1 <= len(sink.pictures) < 10
    assert stats.counts.delivered + stats.counts.dropped == stats.counts.captured


def test_duration_ends_a_live_session() -> None:
    pipeline = Pipeline(ListSource(grey(100_000), fps=50), FakeEngine(), [ListSink()], PipelineSettings(duration=0.4))
    started = time.monotonic()
    asyncio.run(pipeline.run())
    assert 0.3 < time.monotonic() - started < 60


def test_duration_offline_is_media_time() -> None:
    sink = ListSink()
    settings = PipelineSettings(lossless=True, duration=0.5)
    asyncio.run(Pipeline(ListSource(grey(60), fps=None), FakeEngine(), [sink], settings).run())
    assert len(sink.pictures) == 15


def test_a_silent_source_leaves_the_avatar_idling_in_the_sinks() -> None:
    sink = ListSink()
    source = ListSource([plain(100), plain(120), None, plain(120)], fps=60, gap=0.9)
    asyncio.run(Pipeline(source, FakeEngine(), [sink]).run())
    assert sum(p.index < 0 for p in sink.pictures) >= 1


def test_portrait_is_swapped_while_running_and_a_bad_one_is_refused() -> None:
    engine, sink = FakeEngine(), ListSink()
    pipeline = Pipeline(ListSource([plain(100)] * 100_000, fps=60), engine, [sink])
    control = pipeline.control

    def last() -> tuple[int, ...]:
        return tuple(sink.pictures[-1].image[0, 0]) if sink.pictures else ()

    async def scenario() -> None:
        running = asyncio.create_task(pipeline.run())
        await until(lambda: last() == (128, 128, 128))
        control.set_portrait(plain((10, 200, 10)), "green")
        await until(lambda: last() == (10, 200, 10))
        assert control.snapshot()["portrait"] == "green"
        control.set_portrait(plain(0), "black")
        await until(lambda: any("no face" in n["text"] for n in control.snapshot()["notices"]))
        assert last() == (10, 200, 10)
        control.prepare_portrait(plain((200, 10, 10)), "red")
        await until(lambda: "red" in control.snapshot()["portraits"])
        assert last() == (10, 200, 10)
        control.choose_portrait("red")
        await until(lambda: last() == (200, 10, 10))
        with pytest.raises(UnknownName, match="prepared portrait"):
            control.choose_portrait("blue")
        control.stop()
        await running

    asyncio.run(scenario())


def test_edits_are_checked_by_name() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'smile'"):
        Pipeline(ListSource([]), FakeEngine(), [], live=Live(edits={"smlie": 0.5}))


def test_snapshot_is_json() -> None:
    pipeline = Pipeline(ListSource([]), FakeEngine(), [ListSink()])
    assert json.loads(json.dumps(pipeline.control.snapshot()))["phase"] == "starting"


def test_pause_uses_no_driving_frame_and_resume_follows_again() -> None:
    engine, sink = FakeEngine(), ListSink()
    pipeline = Pipeline(ListSource([plain(180)] * 100_000, fps=100), engine, [sink], live=Live(absolute=True))

    async def scenario() -> None:
        running = asyncio.create_task(pipeline.run())
        await until(lambda: bool(sink.pictures) and sink.pictures[-1].image[0, 0, 0] == 180)
        pipeline.control.pause()
        await until(lambda: abs(int(sink.pictures[-1].image[0, 0, 0]) - 128) < 6)  # at rest
        encoded = pipeline.stats.counts.encoded
        shown = len(sink.pictures)
        await until(lambda: len(sink.pictures) > shown + 5)
        assert pipeline.stats.counts.encoded <= encoded + 1
        assert pipeline.control.snapshot()["phase"] == "paused"
        pipeline.control.resume()
        await until(lambda: sink.pictures[-1].image[0, 0, 0] == 180)
        pipeline.control.stop()
        await running

    asyncio.run(scenario())


def test_mirror_flips_the_driving_frame() -> None:
    engine = FakeEngine()
    seen: list[int] = []
    plain_encode = engine.encode

    def encode(frame):
        seen.append(int(frame.image[0, 0, 0]))
        return plain_encode(frame)

    engine.encode = encode  # type: ignore[method-assign]
    picture = plain(50)
    picture[:, 32:] = 200
    settings = PipelineSettings(lossless=True)
    asyncio.run(Pipeline(ListSource([picture]), engine, [ListSink()], settings, Live(mirror=True)).run())
    assert seen[-1] == 200
    asyncio.run(Pipeline(ListSource([picture]), engine, [ListSink()], settings).run())
    assert seen[-1] == 50
