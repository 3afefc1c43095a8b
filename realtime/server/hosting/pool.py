"""A few worker threads shared fairly by all sessions."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

log = logging.getLogger(__name__)


class Worker(Protocol):
    """What the pool runs. `step` does one piece of work; never two at once for one worker."""

    def step(self) -> None:
        """Do what is waiting. Must return soon."""

    def failed(self, error: Exception) -> None:
        """`step` raised."""


class Probe:
    """A worker that does nothing but say that its turn came."""

    def __init__(self, came: Callable[[], object]) -> None:
        self._came = came

    def step(self) -> None:
        """Say so."""
        self._came()

    def failed(self, error: Exception) -> None:
        """Who asked is gone."""


class Pool:
    """Runs workers that have something to do, each in its turn.

    A worker stands in the queue at most once, and goes to its end after each step: whoever sends twice as much
    gets no more than the others. `wake` may be called from any thread and never blocks.
    """

    def __init__(self, threads: int = 2) -> None:
        lock = threading.Lock()
        self._due = threading.Condition(lock)  # notified once for each worker that begins to wait
        self._stepped = threading.Condition(lock)  # for those who wait for the end of a step
        self._waiting: dict[Worker, None] = {}  # in order of arrival
        self._running: set[Worker] = set()
        self._again: set[Worker] = set()
        self._closed = False
        self.aside = ThreadPoolExecutor(1, thread_name_prefix="avatar-aside")
        """For long work (preparing a portrait), so that no one's pictures wait for it."""
        self._threads = [
            threading.Thread(target=self._work, name=f"avatar-{i}", daemon=True) for i in range(max(1, threads))
        ]
        for thread in self._threads:
            thread.start()

    def wake(self, worker: Worker) -> None:
        """`worker` has something to do."""
        with self._due:
            if worker in self._running:
                self._again.add(worker)
            elif worker not in self._waiting and not self._closed:
                self._waiting[worker] = None
                self._due.notify()

    def forget(self, worker: Worker, timeout: float | None = 10.0) -> bool:
        """Take `worker` out, waiting for the step it is in, `timeout` seconds or for ever. False where that step did
        not end in time."""
        with self._stepped:
            self._waiting.pop(worker, None)
            self._again.discard(worker)
            return self._stepped.wait_for(lambda: worker not in self._running, timeout)

    def _work(self) -> None:
        while True:
            with self._due:
                self._due.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                worker = next(iter(self._waiting))
                del self._waiting[worker]
                self._running.add(worker)
            try:
                worker.step()
            except Exception as error:
                log.debug("a session's step failed", exc_info=True)
                worker.failed(error)
            finally:
                with self._stepped:
                    self._running.discard(worker)
                    if worker in self._again:  # this very thread looks for what waits next: nobody is woken for it
                        self._again.discard(worker)
                        self._waiting[worker] = None
                    self._stepped.notify_all()
            del worker  # one that has ended is not held until the next one comes

    def close(self) -> None:
        """Stop all threads after the step they are in. Safe to call twice."""
        with self._due:
            self._closed = True
            self._waiting.clear()
            self._due.notify_all()
        self.aside.shutdown(wait=True, cancel_futures=True)
        for thread in self._threads:
            thread.join(timeout=10.0)
