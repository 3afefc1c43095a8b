"""Several sessions in one launch: whoever has a frame waiting when the device is free rides in the same batch."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future

import numpy as np
from torch import Tensor

from realtime.engines.gpu.graph import FrameGraph, Pending, Rows
from realtime.engines.gpu.thread import GpuSession, GpuThread, out_of_memory
from realtime.errors import DeviceError

Results = dict[str, np.ndarray]


class Seat:
    """One session of a `Batcher`. Made by `Batcher.join`."""

    session: GpuSession

    def __init__(self, batcher: Batcher, name: str) -> None:
        self.name, self._batcher = name, batcher

    def submit(self, values: Mapping[str, np.ndarray]) -> Future[Results]:
        """Run one frame; the result is its outputs. A frame that still waits when the next one comes is dropped, and
        its future cancelled: between live stages only the newest counts. The arrays are read later: do not change
        them before the result is there."""
        return self._batcher._submit(self, values)

    def set_state(self, **values: Tensor) -> Future[None]:
        """Overwrite this session's state, in order with its frames."""
        return self.session.submit(lambda: self._batcher._set_state(self, values))

    def leave(self) -> None:
        """Give the row back; a frame that still waits is cancelled. Safe to call twice."""
        self.session.close()


class Batcher:
    """Runs the frames of up to `graph.batches[-1]` sessions on one `FrameGraph`, on the device's thread.

    While a batch is under way the next one is uploaded; its results are handed out before those of the next.
    A batch runs for its oldest session: when memory runs out the newest one is closed and the batch is run again.
    """

    def __init__(self, graph: FrameGraph, thread: GpuThread) -> None:
        self._graph, self._thread = graph, thread
        self._rows = Rows(graph.batches[-1])
        self._seats: list[Seat] = []
        self._lock = threading.Lock()
        self._waiting: dict[Seat, tuple[Mapping[str, np.ndarray], Future[Results]]] = {}
        self._scheduled = False
        self._under_way: tuple[Pending, dict[int, Future[Results]]] | None = None

    def join(self, name: str) -> Future[Seat]:
        """A seat for one more session. The future fails with DeviceError when all are taken."""

        seat = Seat(self, name)

        def take() -> None:
            try:
                self._rows.take(seat)
            except ValueError as error:
                raise DeviceError("GPU", f"no room for the session {name}: {error}") from error
            self._seats.append(seat)

        joined: Future[Seat] = Future()

        def opened(session: Future[GpuSession]) -> None:
            if error := session.exception():
                joined.set_exception(error)
            else:
                seat.session = session.result()
                joined.set_result(seat)

        self._thread.open(name, take, lambda _: self._leave(seat)).add_done_callback(opened)
        return joined

    def _submit(self, seat: Seat, values: Mapping[str, np.ndarray]) -> Future[Results]:
        future: Future[Results] = Future()
        if seat.session.ended is not None:
            future.set_exception(seat.session.ended)
            return future
        with self._lock:
            older = self._waiting.pop(seat, None)
            self._waiting[seat] = (values, future)
            schedule, self._scheduled = not self._scheduled, True
        if older is not None:
            older[1].cancel()
        if schedule:
            self._schedule(seat)
        return future

    def _schedule(self, seat: Seat) -> None:
        seats = self._seats
        oldest = seats[0] if seats else seat
        oldest.session.submit(self._flush).add_done_callback(self._flushed)

    def _flush(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, {}
        before, self._under_way = self._under_way, None
        rows = {self._rows.row(seat): given for seat, given in waiting.items() if not given[1].cancelled()}
        failed: Exception | None = None
        try:
            if rows:
                pending = self._graph.submit({row: values for row, (values, _) in rows.items()})
                started = {row: future for row, (_, future) in rows.items() if future.set_running_or_notify_cancel()}
                self._under_way = (pending, started)
        except Exception as error:
            failed = error
        if before is not None:
            _hand_out(*before)
        if failed is not None:
            if out_of_memory(failed):  # the thread sheds the newest session and calls again
                with self._lock:
                    self._waiting = waiting | self._waiting
                raise failed
            for _, future in rows.values():
                if future.set_running_or_notify_cancel():
                    future.set_exception(failed)
        with self._lock:
            more = self._scheduled = bool(self._waiting)
        if more:
            self._schedule(next(iter(waiting)))
        elif self._under_way is not None:
            last, self._under_way = self._under_way, None
            _hand_out(*last)

    def _flushed(self, done: Future[None]) -> None:
        """Where the session it ran for was closed, the others' frames run for another; where the thread has ended,
        nobody will ever run what waits."""
        if error := done.exception():
            with self._lock:
                waiting, self._waiting = self._waiting, {}
                self._scheduled = False
            for seat in list(waiting):
                if seat.session.ended is None and self._thread.alive:
                    values, future = waiting.pop(seat)
                    self._resubmit(seat, values, future)
            for _, future in waiting.values():
                if future.set_running_or_notify_cancel():
                    future.set_exception(error)

    def _resubmit(self, seat: Seat, values: Mapping[str, np.ndarray], future: Future[Results]) -> None:
        with self._lock:
            if seat in self._waiting:
                future.cancel()
                return
            self._waiting[seat] = (values, future)
            schedule, self._scheduled = not self._scheduled, True
        if schedule:
            self._schedule(seat)

    def _set_state(self, seat: Seat, values: Mapping[str, Tensor]) -> None:
        self._graph.set_state(self._rows.row(seat), **values)

    def _leave(self, seat: Seat) -> None:
        with self._lock:
            waiting = self._waiting.pop(seat, None)
        if waiting is not None and waiting[1].set_running_or_notify_cancel():
            waiting[1].set_exception(seat.session.ended or DeviceError("GPU", f"the session {seat.name} is closed"))
        self._seats.remove(seat)
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
