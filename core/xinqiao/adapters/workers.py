"""Daemon threads that run one agency's calls, so that a plugin which hangs holds its own threads and no others."""

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

from xinqiao.adapters import recording
from xinqiao.adapters.errors import PartnerUnavailable

T = TypeVar("T")

READ_AHEAD: Final = 64
"""Items a source may be ahead of the gateway; a source that had to wait goes on when half of them are taken."""

_MOMENT_S: Final = 0.0005


class Busy(Exception):
    """No thread is free for this call."""


class Job(Generic[T]):
    """One call under way in a thread."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._done = threading.Event()
        self._value: T | None = None
        self._error: BaseException | None = None
        self.abandoned = False
        self.finished = False

    def wait(self, timeout_s: float) -> bool:
        """Whether the call ended within ``timeout_s`` seconds."""
        return self._done.wait(timeout_s)

    def result(self) -> T:
        """What the finished call returned; raises what it raised, even SystemExit."""
        if self._error is not None:
            raise self._error
        return cast(T, self._value)

    def run(self) -> None:
        """Make the call and keep its outcome."""
        try:
            self._value = self._work()
        except BaseException as e:  # A plugin's sys.exit() must not take the thread with it
            self._error = e

    def tell(self) -> None:
        """Wake who waits."""
        self._done.set()


class Workers:
    """``concurrency`` slots for all calls and one more for crisis calls only; one thread a slot, started when needed.

    A slot is held until its call really ends, also after the caller gave up waiting: the number of threads that
    a hanging partner can hold is bounded by that.
    """

    def __init__(self, name: str, concurrency: int) -> None:
        self._name = name
        self._concurrency = concurrency
        self.tape: Final = recording.Tape(name)
        self._jobs: queue.SimpleQueue[Job[object] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._in_use = 0
        self._hung = 0
        self._closed = False

    @property
    def hung(self) -> int:
        """Threads whose caller gave up on them and which have not returned."""
        return self._hung

    @property
    def stuck(self) -> bool:
        """All slots for routine calls are hung; only the slot for crisis calls may be left."""
        return self._hung >= self._concurrency

    def submit(self, work: Callable[[], T], *, crisis: bool) -> Job[T]:
        """Start ``work`` at once. Raises Busy when no slot is free or the workers are closed."""
        job = Job(work)
        with self._lock:
            if self._closed or self._in_use >= self._concurrency + int(crisis):
                raise Busy
            self._in_use += 1
            if self._threads < self._in_use:
                self._threads += 1
                threading.Thread(target=self._loop, name=f"xinqiao-{self._name}-{self._threads}", daemon=True).start()
        self._jobs.put(cast("Job[object]", job))
        return job

    def abandon(self, job: Job[T]) -> bool:
        """Give up waiting for ``job``. False when it ended just now, so that its outcome is there after all."""
        with self._lock:
            if job.finished:
                return False
            if not job.abandoned:
                job.abandoned = True
                self._hung += 1
            return True

    def close(self) -> None:
        """Take no more work; each thread ends when its call does. Does not wait."""
        with self._lock:
            self._closed = True
            for _ in range(self._threads):
                self._jobs.put(None)

    def _loop(self) -> None:
        recording.work_for(self.tape)
        while (job := self._jobs.get()) is not None:
            job.run()
            with self._lock:
                job.finished = True
                self._in_use -= 1
                self._hung -= int(job.abandoned)
            job.tell()


class Stream:
    """A bounded queue between the thread that reads a source and the caller that stores what it brings.

    Neither side takes a lock while the other need not be woken: a roster brings a million small items, and a deque's
    ``append`` and ``popleft`` are atomic. A side that waits says so under the lock before it looks a last time.
    """

    def __init__(self, source: Callable[[], Any]) -> None:
        self._source = source
        self._items: deque[Box | None] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._moment = threading.Event()
        self._hungry = self._full = self._stopped = False

    def run(self) -> None:
        """Fill the queue until the source ends or the caller has gone."""
        items: Any = None
        try:
            items = iter(self._source())
            for item in items:
                if not self._put(Box(item)):
                    break
        finally:
            self._put(None)
            if hasattr(items, "close"):
                items.close()

    def take(self, timeout_s: float) -> "Box | None":
        """The next item, or None when the source has ended or failed. Raises PartnerUnavailable when too slow."""
        if not self._items and not self._stopped:
            # Rosters come in crowds: a moment's patience, and the two threads need not wake each other for each item.
            self._moment.wait(_MOMENT_S)
        if not self._items:
            self._hungry = True
            with self._changed:
                came = self._changed.wait_for(lambda: self._items, timeout_s)
            self._hungry = False
            if not came:
                raise PartnerUnavailable(f"deadline of {timeout_s:g} s for one item passed")
        item = self._items.popleft()
        if self._full and len(self._items) <= READ_AHEAD // 2:
            self._wake()
        return item

    def stop(self) -> None:
        """The caller wants no more."""
        self._stopped = True
        self._wake()

    def _put(self, item: "Box | None") -> bool:
        if len(self._items) >= READ_AHEAD and not self._stopped:
            self._full = True
            with self._changed:
                self._changed.wait_for(lambda: self._stopped or len(self._items) <= READ_AHEAD // 2)
            self._full = False
        if self._stopped:
            return False
        self._items.append(item)
        if self._hungry:
            self._wake()
        return True

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


@dataclass(frozen=True, slots=True)
class Box:
    """Whatever a source yielded, even None."""

    item: Any
