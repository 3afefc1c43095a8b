"""Several sessions in one launch: whoever has a frame waiting when the device is free rides in the same batch."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import numpy as np
from torch import Tensor

from realtime.engines.gpu_thread import GpuThread
from realtime.engines.graph import FrameGraph, Pending, Rows
from realtime.errors import DeviceError

Results = dict[str, np.ndarray]


class Seat:
    """One session of a `Batcher`. Made by `Batcher.join`."""

    def __init__(self, batcher: Batcher, name: str) -> None:
        self.name, self._batcher = name, batcher

    def submit(self, values: Mapping[str, np.ndarray]) -> Future[Results]:
        """Run one frame; the result is its outputs. A frame that still waits when the next one comes is dropped, and
        its future cancelled: between live stages only the newest counts. The arrays are read later: do not change
        them before the result is there."""
        return self._batcher._submit(self, values)

    def set_state(self, **values: Tensor) -> Future[None]:
        """Overwrite this session's state, in order with its frames."""
        return self._batcher._on_thread(lambda: self._batcher._set_state(self, values))

    def leave(self) -> Future[None]:
        """Give the row back; a frame that still waits is cancelled."""
        return self._batcher._on_thread(lambda: self._batcher._leave(self))


class Batcher:
    """Runs the frames of up to `graph.batches[-1]` sessions on one `FrameGraph`, on the device's thread.

    While a batch is under way the next one is uploaded; its results are handed out before those of the next.
    """

    def __init__(self, graph: FrameGraph, thread: GpuThread) -> None:
        self._graph, self._thread = graph, thread
        self._rows = Rows(graph.batches[-1])
        self._lock = threading.Lock()
        self._waiting: dict[Seat, tuple[Mapping[str, np.ndarray], Future[Results]]] = {}
        self._scheduled = False
        self._under_way: tuple[Pending, dict[int, Future[Results]]] | None = None

    def join(self, name: str) -> Future[Seat]:
        """A seat for one more session. The future fails with DeviceError when all are taken."""

        def take() -> Seat:
            seat = Seat(self, name)
            try:
                self._rows.take(seat)
            except ValueError as error:
                raise DeviceError("GPU", f"no room for the session {name}: {error}") from error
            return seat

        return self._on_thread(take)

    def _on_thread(self, work: Any) -> Future[Any]:
        return self._thread.submit(work)

    def _submit(self, seat: Seat, values: Mapping[str, np.ndarray]) -> Future[Results]:
        future: Future[Results] = Future()
        with self._lock:
            older = self._waiting.pop(seat, None)
            self._waiting[seat] = (values, future)
            schedule, self._scheduled = not self._scheduled, True
        if older is not None:
            older[1].cancel()
        if schedule:
            self._on_thread(self._flush).add_done_callback(self._flushed)
        return future

    def _flush(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        before, self._under_way = self._under_way, None
        started: dict[int, Future[Results]] = {}
        try:
            frames = {}
            for seat, (values, future) in waiting.items():
                if future.set_running_or_notify_cancel():
                    row = self._rows.row(seat)
                    frames[row], started[row] = values, future
            if frames:
                self._under_way = (self._graph.submit(frames), started)
        except Exception as error:
            for future in started.values():
                future.set_exception(error)
        if before is not None:
            _hand_out(*before)
        with self._lock:
            more = self._scheduled = bool(self._waiting)
        if more:
            self._on_thread(self._flush).add_done_callback(self._flushed)
        elif self._under_way is not None:
            last, self._under_way = self._under_way, None
            _hand_out(*last)

    def _flushed(self, done: Future[None]) -> None:
        """Where the thread has ended, nobody will ever run what waits."""
        if error := done.exception():
            with self._lock:
                waiting, self._waiting = self._waiting, {}
            for _, future in waiting.values():
                if future.set_running_or_notify_cancel():
                    future.set_exception(error)

    def _set_state(self, seat: Seat, values: Mapping[str, Tensor]) -> None:
        self._graph.set_state(self._rows.row(seat), **values)

    def _leave(self, seat: Seat) -> None:
        with self._lock:
            waiting = self._waiting.pop(seat, None)
        if waiting is not None:
            waiting[1].cancel()
        moved = self._rows.give_back(seat)
        if moved is not None:
            self._graph.move_state(*moved)


def _hand_out(pending: Pending, futures: Mapping[int, Future[Results]]) -> None:
    try:
        results = pending.results()
    except Exception as error:
        for future in futures.values():
            future.set_exception(error)
        return
    for row, future in futures.items():
        future.set_result(results[row])
