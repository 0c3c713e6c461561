"""Writers: threads that run the waiting commands, commit, and only then answer.

SQLite has one: serial by construction, many commands share one fsync. PostgreSQL has several, a transaction each.
On both a command may run more than once before it is committed.
"""

import logging
import sys
import threading
import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from xinqiao.contract.clock import Clock
from xinqiao.store.batch import Batch, RowsRefused
from xinqiao.store.errors import CommitFailed, StoreBusy, StoreContended
from xinqiao.store.queue import CommandQueue, Job
from xinqiao.store.statements import Statements
from xinqiao.store.tx import Tx

_BATCH_COMMANDS = 256
_AT_ONCE = 64  # commands taken together: their keys are looked up in one statement
_BATCH_SECONDS = 0.01
_GATHER_FROM = 3  # commands a batch from which it pays to wait for as many again
_RED_FOLLOWS_S = 0.01  # within this the next command of a red case comes: its referral, its delivery
_ROUTINE_WAITS_S = 0.1  # and for no longer than this routine commands are kept waiting for it
_GATHER_PAUSE_S = 0.002  # nobody came for so long: no more of them are on their way
_GATHER_LONGEST_S = 0.02
_CHECKPOINT_ROWS = 20_000
_CHECKPOINT_BATCHES = 1_000
_ATTEMPTS = 12
_RETRY_SQLSTATES = frozenset({"40001", "40P01"})  # serialization failure, deadlock
_LOCK_TRIES = 20
_log = logging.getLogger(__name__)


class Writer(ABC):
    """A thread that owns one writing connection and one journal chain."""

    def __init__(
        self, name: str, engine: Engine, queue: CommandQueue, clock: Clock, hooks: list[Callable[[], None]]
    ) -> None:
        self.name = name
        self._engine = engine
        self._queue = queue
        self._clock = clock
        self._hooks = hooks
        self._statements = Statements(engine.dialect)
        self._locals: dict[str, object] = {}
        self._open: Connection | None = None
        self._thread = threading.Thread(target=self._loop, name=f"xinqiao-writer-{name}", daemon=True)

    def start(self) -> None:
        """Connect (so that a bad place fails the start, not the first command) and begin to work."""
        self._connection()
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of the work after the queue was closed, and disconnect."""
        if self._thread.ident is not None:
            self._thread.join()
        if self._open is not None:
            self._before_closing(self._open)
            self._open.close()
            self._open = None

    @property
    def is_current_thread(self) -> bool:
        """Whether the caller runs on this writer: then waiting for another command would never end."""
        return threading.current_thread() is self._thread

    @abstractmethod
    def _work(self, first: Job) -> list[Job]:
        """Run ``first`` and what else fits, commit, and return the finished jobs. Never raises."""

    @abstractmethod
    def _prepare(self, connection: Connection) -> None:
        """Called with each fresh connection."""

    @abstractmethod
    def _before_closing(self, connection: Connection) -> None:
        """Called with the connection at an orderly end."""

    @abstractmethod
    def _after_batch(self) -> None:
        """Called when everybody has been answered."""

    def _connection(self) -> Connection:
        if self._open is None:
            connection = self._engine.connect()
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._open = connection
        return self._open

    def _drop(self) -> None:
        """Forget the connection and what was remembered on it: only the database knows the truth now."""
        self._locals.clear()
        connection, self._open = self._open, None
        if connection is not None:
            _guard(connection.invalidate)
            _guard(connection.close)

    def _next(self) -> Job | None:
        """The next job, waiting for one; None at the end."""
        return self._queue.take()

    def _loop(self) -> None:
        while (job := self._next()) is not None:
            for finished in self._work(job):
                for callback in finished.callbacks:
                    _guard(callback)
                try:
                    finished.done(finished.result, finished.error)
                except Exception:
                    _log.exception("an answer could not be delivered to its caller")
            for hook in self._hooks:
                _guard(hook)
            _guard(self._after_batch)


class SqliteWriter(Writer):
    """Group commit: each command in its own savepoint, one commit, then all answers."""

    _rows_at_checkpoint = 0
    _batches = 0
    _batch: Batch | None = None
    _expected = 0
    _red = False
    _routine_at = 0.0

    def _work(self, first: Job) -> list[Job]:
        taken: list[Job] = []
        try:
            self._run_batch(first, taken)
        except BaseException as cause:
            self._give_up(taken, cause)
        self._red = any(job.crisis for job in taken)
        return taken

    def _next(self) -> Job | None:
        """Callers that wait for answers come back together. While this thread sleeps the edge reads them all without
        losing the interpreter lock to it, and they share one commit: worth more than beginning with the first. Both at
        work at once cost a quarter more for each call, the lock going to and fro."""
        if self._expected >= _GATHER_FROM:
            self._queue.gather(min(self._expected, _BATCH_COMMANDS), _GATHER_PAUSE_S, _GATHER_LONGEST_S)
        return super()._next()

    def _give_up(self, jobs: Sequence[Job], cause: BaseException) -> None:
        _log.error("a batch of %d commands was not committed: %s", len(jobs), type(cause).__name__)
        self._drop()
        for job in jobs:
            _fail(job, cause)

    def _run_batch(self, first: Job, taken: list[Job]) -> None:
        taken.append(first)
        connection, batch = self._connection(), self._shared()
        batch.raw.execute("BEGIN IMMEDIATE")
        try:
            self._run_waiting(connection, batch, taken)
            batch.flush()
        except RowsRefused:
            self._end(connection, batch, commit=False)
            batch.forget(everything=True)
            self._locals.clear()
            self._run_alone(connection, batch, taken)
            return
        except BaseException:
            batch.forget(everything=True)
            raise
        _refuse_lost(batch)
        self._end(connection, batch, commit=True)
        batch.forget()
        # Who was answered now asks again soon; with those that wait already they make the next batch. Not so the parts
        # of an upload, which come without a probe: all that are to come wait already.
        back = sum([job.probe is not None for job in taken])
        self._expected = back + self._queue.waiting if back else 0

    def _run_waiting(self, connection: Connection, batch: Batch, taken: list[Job]) -> None:
        """Run the first command and those that come while it runs."""
        jobs = list(taken)
        started = self._clock.monotonic()
        crisis = False
        while jobs:
            if len(jobs) == 1 and not crisis and not jobs[0].crisis:
                more = self._queue.take_waiting(_AT_ONCE, crisis_only=False)
                jobs += more
                taken += more
            batch.look_up([job.probe for job in jobs if job.probe is not None])
            for place, job in enumerate(jobs, 1):
                self._run_one(connection, batch, job)
                crisis = crisis or job.crisis
                if not crisis and place < len(jobs) and not jobs[place].crisis and self._queue.crisis_waits:
                    self._queue.put_back(jobs[place:])
                    del taken[place - len(jobs) :]
                    break
            late = not crisis and self._clock.monotonic() - started > _BATCH_SECONDS
            room = _BATCH_COMMANDS - len(taken)
            if late or room <= 0:
                return
            # Once a crisis command is in, routine ones wait for the next commit: they must not delay its answer.
            jobs = self._queue.take_waiting(min(room, _AT_ONCE), crisis_only=crisis)
            taken += jobs

    def _run_one(self, connection: Connection, batch: Batch, job: Job) -> None:
        tx = Tx(connection, self._statements, self._clock.now_us(), self.name, self._locals, batch)
        try:
            job.result = job.command(tx)
        except RowsRefused:
            tx.forget()
            raise
        except BaseException as error:
            job.error = error
            tx.roll_back()
        else:
            job.callbacks = tx.callbacks
            tx.keep()
        _refuse_lost(batch)

    def _run_alone(self, connection: Connection, batch: Batch, taken: list[Job]) -> None:
        """After rows were refused: each command again in a transaction of its own, to find whose they were.

        Crisis commands first; where there is one, or one comes meanwhile, routine ones wait for the next batch.
        """
        batch.alone = True
        left = deque(sorted(taken, key=lambda job: not job.crisis))
        for job in taken:
            job.result, job.error, job.callbacks = None, None, ()
        taken.clear()
        crisis = left[0].crisis
        try:
            while left and (left[0].crisis or not (crisis or self._queue.crisis_waits)):
                batch.raw.execute("BEGIN IMMEDIATE")
                self._run_one(connection, batch, left[0])
                self._end(connection, batch, commit=True)
                batch.forget()
                taken.append(left.popleft())
            self._queue.put_back(left)
        except BaseException as cause:  # what was confirmed before it stays confirmed
            taken += left
            self._give_up(left, cause)
        finally:
            batch.alone = False

    @staticmethod
    def _end(connection: Connection, batch: Batch, *, commit: bool) -> None:
        """End the transaction. SQLAlchemy knows of it only where a command ran a statement through it: its own begin
        and commit cost a command alone a tenth of its time."""
        ending: Any = connection if connection.in_transaction() else batch.raw
        if commit:
            ending.commit()
        else:
            ending.rollback()

    def _shared(self) -> Batch:
        """What the commands on this connection share."""
        if self._batch is None:
            raw: Any = self._connection().connection.driver_connection
            self._batch = Batch(raw, self._statements)
        return self._batch

    def _drop(self) -> None:
        super()._drop()
        self._batch = None

    def _prepare(self, connection: Connection) -> None:
        del connection
        self._rows_at_checkpoint = 0
        self._batches = 0

    def _after_batch(self) -> None:
        self._keep_free()
        if self._open is None or self._queue.crisis_waits:
            return
        raw = self._open.connection.driver_connection
        rows: int = raw.total_changes if raw is not None else 0
        self._batches += 1
        if rows - self._rows_at_checkpoint >= _CHECKPOINT_ROWS or self._batches >= _CHECKPOINT_BATCHES:
            self._rows_at_checkpoint = rows
            self._batches = 0
            _checkpoint(raw, "PASSIVE")

    def _keep_free(self) -> None:
        """After a crisis command begin nothing else for a moment: a red case is several commands, one after another,
        and each of them would wait for a part of an upload and its commit, or for a checkpoint."""
        now = self._clock.monotonic()
        if not self._red:
            self._routine_at = now
        elif now - self._routine_at < _ROUTINE_WAITS_S:
            self._queue.gather(sys.maxsize, _RED_FOLLOWS_S, _RED_FOLLOWS_S)

    def _before_closing(self, connection: Connection) -> None:
        _checkpoint(connection.connection.driver_connection, "TRUNCATE")


class PostgresqlWriter(Writer):
    """One SERIALIZABLE transaction per command, run again when PostgreSQL says that it collided with another."""

    _lock_tries = _LOCK_TRIES

    def _work(self, first: Job) -> list[Job]:
        for attempt in range(1, _ATTEMPTS + 1):
            if self._try(first, last=attempt == _ATTEMPTS):
                break
            threading.Event().wait(0.001 * attempt * attempt)
        return [first]

    def _try(self, job: Job, *, last: bool) -> bool:
        """Run once; False when it should be tried again."""
        tx: Tx | None = None
        committing = False
        try:
            connection = self._connection()
            # The context manager: after a failed COMMIT it is the one way to end the transaction for SQLAlchemy too.
            with connection.begin():
                tx = Tx(connection, self._statements, self._clock.now_us(), self.name, self._locals)
                job.result = job.command(tx)
                _refuse_swallowed_error(connection)
                committing = True
            job.callbacks = tx.callbacks
        except BaseException as error:
            if tx is not None:
                tx.forget()
            return self._judge(job, error, committing=committing, last=last)
        return True

    def _judge(self, job: Job, error: BaseException, *, committing: bool, last: bool) -> bool:
        job.result = None
        collided = isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", None) in _RETRY_SQLSTATES
        if collided and not last:
            return False
        if collided:
            job.error = StoreContended(_ATTEMPTS)
            job.error.__cause__ = error
        elif committing or self._open is None or self._open.closed or self._open.invalidated:
            self._drop()
            _fail(job, error)
        else:
            job.error = error
        return True

    def _prepare(self, connection: Connection) -> None:
        """Take the chain of this writer: two gateways of one node name must never extend the same chain."""
        for _ in range(self._lock_tries):
            taken = connection.exec_driver_sql("SELECT pg_try_advisory_lock(%s, %s)", _lock_key(self.name)).scalar()
            connection.commit()
            if taken:
                return
            threading.Event().wait(0.05)  # the session of a process that just died may linger for a moment
        raise StoreBusy(f"the journal chain {self.name}")

    def _before_closing(self, connection: Connection) -> None:
        """The end of the session gives the chain back."""

    def _after_batch(self) -> None:
        """The server takes its own checkpoints."""


def _refuse_lost(batch: Batch) -> None:
    """SQLite rolls back everything on its own when the disk is full: the rest must not be committed bit by bit."""
    if not batch.raw.in_transaction:
        raise RuntimeError("SQLite rolled the transaction back")


def _lock_key(name: str) -> tuple[int, int]:
    value = zlib.crc32(name.encode())
    return 0x5851, value - (1 << 31)


def _refuse_swallowed_error(connection: Connection) -> None:
    """PostgreSQL answers COMMIT of a failed transaction with a silent ROLLBACK, which must never look like success."""
    driver = connection.connection.driver_connection
    if driver is not None and driver.info.transaction_status.name == "INERROR":
        raise RuntimeError("a command swallowed a database error: wrap the attempt in tx.savepoint()")


def _fail(job: Job, cause: BaseException) -> None:
    job.result = None
    job.callbacks = ()
    if job.error is None:
        job.error = CommitFailed()
        job.error.__cause__ = cause


def _checkpoint(raw: Any, mode: str) -> None:
    raw.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()


def _guard(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception:
        _log.exception("a callback of the store failed")
