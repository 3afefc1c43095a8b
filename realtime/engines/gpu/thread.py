"""The one thread that owns the device. Sessions hand it work; nobody else touches the GPU.

One owner means that graphs are captured without another thread in between, that work of all sessions is in one order,
and that an event loop only ever awaits a future. When memory runs out, the newest session is closed and the others
go on: whoever came first keeps what he has.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from realtime.errors import AvatarError, DeviceError

T = TypeVar("T")
log = logging.getLogger(__name__)
CURE = "Close a session, or allow fewer with --max-sessions"


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` is the device's memory running out (torch's and CuPy's errors have the same name)."""
    return type(error).__name__ == "OutOfMemoryError"


@dataclass(eq=False)
class GpuSession:
    """One user of the device. Made by `GpuThread.open`."""

    name: str
    number: int
    thread: GpuThread
    release: Callable[[], None] | None = None
    ended: AvatarError | None = None
    value: Any = None
    _closed: bool = field(default=False, repr=False)

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` on the device's thread, in the order of submission. The future fails with DeviceError once the
        session was closed."""
        return self.thread._submit(self, work)

    def close(self) -> None:
        """Give back what the session holds; returns when that is done. Safe to call twice."""
        if not self._closed and self.thread.alive:
            self._closed = True
            self.thread._submit(None, lambda: self.thread._end(self, _closed(self))).result()


def _closed(session: GpuSession) -> DeviceError:
    return DeviceError("GPU", f"the session {session.name} is closed")


class GpuThread:
    """Runs the work of all sessions, one piece after the other.

    free_cache: called after a session was shed, to give its memory back to the device (default: torch's cache).
    """

    def __init__(
        self,
        *,
        is_out_of_memory: Callable[[BaseException], bool] = out_of_memory,
        free_cache: Callable[[], None] | None = None,
        name: str = "gpu",
    ) -> None:
        self._is_out_of_memory = is_out_of_memory
        self._free_cache = free_cache or _free_torch_cache
        self._jobs: queue.SimpleQueue[tuple[GpuSession | None, Callable[[], Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._sessions: list[GpuSession] = []
        self._numbers = 0
        self._stop = threading.Lock()
        self._stopped = False
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether work is still taken."""
        return not self._stopped

    @property
    def sessions(self) -> list[str]:
        """Names of the open sessions, the oldest first."""
        return [s.name for s in self._sessions]

    def open(self, name: str, make: Callable[[], T], release: Callable[[T], None]) -> Future[GpuSession]:
        """Start a session: `make` runs on the thread and allocates what it needs, its result is `session.value`;
        `release` takes that result, once, when the session ends. The future fails where `make` does; where memory
        runs out it is this session, the newest, that does not start."""
        self._numbers += 1
        session = GpuSession(name, self._numbers, self)

        def start() -> GpuSession:
            self._sessions.append(session)
            try:
                made = session.value = make()
            except BaseException:
                self._sessions.remove(session)
                raise
            session.release = lambda: release(made)
            return session

        return self._submit(session, start)

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Run `work` for no session in particular. Memory running out in it sheds nobody."""
        return self._submit(None, work)

    def close(self) -> None:
        """End all sessions and the thread. Work that has not begun fails. Safe to call twice."""
        with self._stop:
            if self._stopped:
                return
            self._stopped = True
        self._jobs.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> GpuThread:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _submit(self, session: GpuSession | None, work: Callable[[], T]) -> Future[T]:
        future: Future[T] = Future()
        with self._stop:
            if self._stopped:
                future.set_exception(DeviceError("GPU", "its thread has ended"))
            else:
                self._jobs.put((session, work, future))
        return future

    def _loop(self) -> None:
        while (job := self._jobs.get()) is not None:
            session, work, future = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(self._run(session, work))
            except BaseException as error:
                future.set_exception(error)
            del job, work, future  # a future's result may hold device memory
        for session in reversed(list(self._sessions)):
            self._end(session, DeviceError("GPU", "its thread has ended"))
        while not self._jobs.empty():
            if (job := self._jobs.get()) is not None:
                job[2].set_exception(DeviceError("GPU", "its thread has ended"))

    def _run(self, session: GpuSession | None, work: Callable[[], T]) -> T:
        while True:
            if session is not None and session.ended is not None:
                raise session.ended
            try:
                return work()
            except Exception as error:
                if session is None or not self._is_out_of_memory(error):
                    raise
                newest = self._sessions[-1] if self._sessions else session
                if session not in self._sessions:  # it was being opened
                    newest = session
                shed = DeviceError(
                    "GPU",
                    f"out of memory: the session {newest.name}, the newest, was closed to keep the others",
                    CURE,
                )
                shed.__cause__ = error.with_traceback(None)  # its frames would hold on to memory
            self._end(newest, shed)
            self._free_cache()
            if newest is session:
                raise shed

    def _end(self, session: GpuSession, why: AvatarError) -> None:
        if session.ended is None:
            session.ended = why
        if session in self._sessions:
            self._sessions.remove(session)
        release, session.release = session.release, None
        session.value = None
        if release is None:
            return
        try:
            release()
        except Exception:  # anything the caller's code may raise: this thread serves the other sessions as well
            log.exception("closing the session %s failed", session.name)


_threads: dict[str, GpuThread] = {}
_lock = threading.Lock()


def gpu_thread(device: object) -> GpuThread:
    """The thread that owns `device` (a torch device, or its name); one per device and process."""
    with _lock:
        found = _threads.get(str(device))
        if found is None or not found.alive:
            found = _threads[str(device)] = GpuThread(name=f"gpu {device}")
        return found


def _free_torch_cache() -> None:
    import sys

    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
