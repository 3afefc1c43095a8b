"""The wiring of the stages, with an engine, sources and sinks that behave as told."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import numpy as np
import pytest

from realtime.errors import AvatarError, BadFile, DeviceError, EngineError, UnknownName
from realtime.pipeline import Pipeline
from realtime.settings import Live, PipelineSettings
from tests.support import FakeEngine, ListSink, ListSource, plain


def grey(n: int, start: int = 60) -> list[np.ndarray]:
    """Pictures that each differ from the one before."""
    return [plain(start + i % 120) for i in range(n)]


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


def test_overload_drops_frames_and_keeps_latency_bounded() -> None:
    engine, sink = FakeEngine(), ListSink()
    engine.render_seconds = 0.03  # three times the period of the source
    pipeline = Pipeline(ListSource(grey(100), fps=100), engine, [sink])
    asyncio.run(pipeline.run())
    counts = pipeline.stats.counts
    assert counts.captured == 100
    assert counts.dropped >= 40
    assert counts.delivered + counts.dropped == counts.captured
    real = [p for p in sink.pictures if p.index >= 0]
    ages = [p.stamps["render"] - p.captured for p in real]
    assert np.median(ages[-10:]) < 3 * 0.03 + 0.01  # in flight, waiting, and being rendered: never a queue
    assert [p.index for p in real] == sorted(p.index for p in real)


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
        threading.Timer(0.1, lambda: setattr(engine, "fail_render", True)).start()
        with pytest.raises(EngineError, match="device is lost"):
            asyncio.run(pipeline.run())
    else:
        asyncio.run(pipeline.run())
    assert sink.pictures
    for picture in sink.pictures:
        assert not (np.abs(picture.image.astype(int) - marker[0, 0]) < 12).all(-1).any()


def test_engine_failure_holds_the_last_picture_then_the_still_portrait_then_recovers() -> None:
    engine, sink = FakeEngine(), ListSink()
    source = ListSource([plain(180)] * 200, fps=100)
    pipeline = Pipeline(source, engine, [sink], live=Live(absolute=True))
    pipeline._render_guard._hold = 0.3
    notices: list[str] = []
    pipeline.control.subscribe(lambda n: notices.append(n.text))

    async def scenario() -> None:
        running = asyncio.create_task(pipeline.run())
        await asyncio.sleep(0.4)
        engine.fail_render = True
        await asyncio.sleep(0.15)
        held = sink.pictures[-1].image[0, 0, 0]
        await asyncio.sleep(0.5)
        still = sink.pictures[-1].image[0, 0, 0]
        engine.fail_render = False
        await running
        assert held == 180
        assert still == 128

    asyncio.run(scenario())
    assert sink.pictures[-1].image[0, 0, 0] == 180
    assert any("device is lost" in n for n in notices)
    assert any("works again" in n for n in notices)


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
    slow, quick = ListSink(seconds=0.2), ListSink()
    pipeline = Pipeline(ListSource(grey(50), fps=100), FakeEngine(), [slow, quick])
    asyncio.run(pipeline.run())
    assert len(slow.pictures) <= 6
    assert len([p for p in quick.pictures if p.index >= 0]) >= 35


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
        await asyncio.sleep(0.3)
        pipeline.control.stop()
        await asyncio.wait_for(running, 5)

    asyncio.run(scenario())
    assert pipeline.interrupted
    assert sink.closed >= 1
    assert not [t for t in threading.enumerate() if t.name.startswith("avatar-")]


def test_duration_ends_a_live_session() -> None:
    pipeline = Pipeline(ListSource(grey(100_000), fps=50), FakeEngine(), [ListSink()], PipelineSettings(duration=0.4))
    started = time.monotonic()
    asyncio.run(pipeline.run())
    assert 0.3 < time.monotonic() - started < 5


def test_duration_offline_is_media_time() -> None:
    sink = ListSink()
    settings = PipelineSettings(lossless=True, duration=0.5)
    asyncio.run(Pipeline(ListSource(grey(60), fps=None), FakeEngine(), [sink], settings).run())
    assert len(sink.pictures) == 15


def test_a_silent_source_leaves_the_avatar_idling_in_the_sinks() -> None:
    sink = ListSink()
    source = ListSource([plain(100), plain(120), None, plain(120)], fps=60, gap=0.9)
    asyncio.run(Pipeline(source, FakeEngine(), [sink]).run())
    assert sum(p.index < 0 for p in sink.pictures) >= 5


def test_portrait_is_swapped_while_running_and_a_bad_one_is_refused() -> None:
    engine, sink = FakeEngine(), ListSink()
    pipeline = Pipeline(ListSource(grey(100_000, 100)[:1] * 100_000, fps=60), engine, [sink])

    async def scenario() -> None:
        running = asyncio.create_task(pipeline.run())
        await asyncio.sleep(0.2)
        pipeline.control.set_portrait(plain((10, 200, 10)), "green")
        await asyncio.sleep(0.2)
        assert tuple(sink.pictures[-1].image[0, 0]) == (10, 200, 10)
        assert pipeline.control.snapshot()["portrait"] == "green"
        pipeline.control.set_portrait(plain(0), "black")
        await asyncio.sleep(0.2)
        assert tuple(sink.pictures[-1].image[0, 0]) == (10, 200, 10)
        assert any("no face" in n["text"] for n in pipeline.control.snapshot()["notices"])
        pipeline.control.stop()
        await running

    asyncio.run(scenario())


def test_edits_are_checked_by_name() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'smile'"):
        Pipeline(ListSource([]), FakeEngine(), [], live=Live(edits={"smlie": 0.5}))


def test_snapshot_is_json() -> None:
    pipeline = Pipeline(ListSource([]), FakeEngine(), [ListSink()])
    assert json.loads(json.dumps(pipeline.control.snapshot()))["phase"] == "starting"
