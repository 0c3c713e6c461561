"""The two lines before the writers: crisis commands always go first."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xinqiao.store.batch import Probe
from xinqiao.store.errors import StoreClosed
from xinqiao.store.tx import Tx

Command = Callable[[Tx], Any]
Done = Callable[[Any, BaseException | None], None]


@dataclass(slots=True)
class Job:
    """A waiting command, whom to tell, and (once it ran) what to tell. ``probe`` is a key it will look up."""

    command: Command
    done: Done
    crisis: bool
    probe: Probe | None = None
    result: Any = None
    error: BaseException | None = None
    callbacks: Sequence[Callable[[], None]] = field(default=())


class CommandQueue:
    """Two lines before the writers: crisis commands always go first.

    Taking needs no lock, since ``popleft`` is atomic: a writer that is paused while it holds a lock would stop the edge.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._crisis: deque[Job] = deque()
        self._routine: deque[Job] = deque()
        self._sleepers = 0
        self._wanted = 1
        self._closed = False

    def put(self, jobs: Iterable[Job]) -> None:
        """Let ``jobs`` wait. Raises :class:`StoreClosed` after :meth:`close`."""
        with self._changed:
            if self._closed:
                raise StoreClosed
            for job in jobs:
                (self._crisis if job.crisis else self._routine).append(job)
            if self._sleepers and (self.waiting >= self._wanted or self._crisis):
                self._changed.notify(self.waiting)

    def take(self) -> Job | None:
        """The next job, waiting for one; None when closed and empty."""
        while True:
            taken = self.take_waiting(1, crisis_only=False)
            if taken:
                return taken[0]
            with self._changed:
                if self._crisis or self._routine:
                    continue
                if self._closed:
                    return None
                self._sleepers += 1
                self._changed.wait()
                self._sleepers -= 1

    def take_waiting(self, limit: int, *, crisis_only: bool) -> list[Job]:
        """Up to ``limit`` jobs that wait now, without waiting; routine ones only where no crisis job waits."""
        taken = _pop(self._crisis, limit)
        return taken if taken or crisis_only else _pop(self._routine, limit)

    def put_back(self, jobs: Sequence[Job]) -> None:
        """Let routine jobs that were taken wait again, before all others: a crisis job goes first."""
        self._routine.extendleft(reversed(jobs))

    @property
    def crisis_waits(self) -> bool:
        """Whether a crisis job waits."""
        return bool(self._crisis)

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        return len(self._crisis) + len(self._routine)

    def gather(self, count: int, pause_s: float, longest_s: float) -> None:
        """Wait until ``count`` jobs wait, while they keep coming: at most ``pause_s`` for the next, ``longest_s`` in all.

        A crisis job ends the wait at once. For a queue with one writer.
        """
        with self._changed:
            self._wanted, self._sleepers = count, self._sleepers + 1
            for _ in range(round(longest_s / pause_s)):
                before = len(self._routine)
                if self._changed.wait_for(lambda: len(self._routine) >= count or self._crisis or self._closed, pause_s):
                    break
                if len(self._routine) == before:
                    break
            self._wanted, self._sleepers = 1, self._sleepers - 1

    def close(self) -> None:
        """Take no more; what already waits is still done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _pop(line: deque[Job], limit: int) -> list[Job]:
    taken: list[Job] = []
    while line and len(taken) < limit:
        try:
            taken.append(line.popleft())
        except IndexError:  # another writer was faster
            break
    return taken
