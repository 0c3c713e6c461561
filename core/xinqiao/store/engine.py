"""Opening a store, and the store itself: one door for commands, one for snapshots."""

from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL

from xinqiao.contract.clock import Clock
from xinqiao.contract.errors import Refusal
from xinqiao.store import migrate as migrations
from xinqiao.store.databases import FileLock, make_engine, parse_url
from xinqiao.store.keys import KeyStore
from xinqiao.store.providers import KeyProvider
from xinqiao.store.queue import CommandQueue, Job
from xinqiao.store.sealing import AES_256_GCM
from xinqiao.store.statements import Statements
from xinqiao.store.tx import ReadTx, Tx
from xinqiao.store.writer import PostgresqlWriter, SqliteWriter, Writer

T = TypeVar("T")
_POSTGRESQL_WRITERS = 4


class Store:
    """The records, their keys, and the threads that write them. Safe to use from any thread.

    ``batch_hooks`` are called on a writer thread once after the answers of each batch; an event loop is woken there.
    ``held`` is closed last: the locks and the key store.
    """

    def __init__(self, url: URL, keys: KeyStore, clock: Clock, node: str, writers: int) -> None:
        self.clock = clock
        self.keys = keys
        self.node = node
        self.batch_hooks: list[Callable[[], None]] = []
        self.held = ExitStack()
        self._queue = CommandQueue()
        self._readers = make_engine(url, "reader")
        self._writing = make_engine(url, "writer")
        self._statements = Statements(self._readers.dialect)
        self._writers = self._make_writers(writers)
        try:
            for writer in self._writers:
                writer.start()
        except BaseException:
            self._stop()
            raise

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self._readers.dialect.name

    @property
    def serial(self) -> bool:
        """Whether commands run in the order in which they are queued: there is one writer."""
        return len(self._writers) == 1

    @property
    def writer_ids(self) -> tuple[str, ...]:
        """The journal chains this process extends."""
        return tuple(writer.name for writer in self._writers)

    @contextmanager
    def read(self) -> Generator[ReadTx, None, None]:
        """A snapshot of what is committed; it cannot write."""
        with self._readers.connect() as connection, connection.begin():
            yield ReadTx(connection, self._statements, self.clock.now_us())

    def submit(
        self, command: Callable[[Tx], T], done: Callable[[T | None, BaseException | None], None], crisis: bool = False
    ) -> None:
        """Queue ``command``; ``done(result, error)`` is called on a writer thread after the commit is durable.

        A command may run more than once before it is committed. Raises ``StoreClosed``.
        """
        self._queue.put((Job(command, done, crisis),))

    def submit_all(self, jobs: Iterable[Job]) -> None:
        """As :meth:`submit`, for many at once."""
        self._queue.put(jobs)

    def write(self, command: Callable[[Tx], T], *, crisis: bool = False) -> Future[T]:
        """As :meth:`submit`; the future is resolved after the commit, and cannot be cancelled."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()

        def done(result: T | None, error: BaseException | None) -> None:
            if error is None:
                future.set_result(result)  # type: ignore[arg-type]  # T may itself admit None
            else:
                future.set_exception(error)

        self.submit(command, done, crisis)
        return future

    def run(self, command: Callable[[Tx], T], crisis: bool = False) -> T:
        """Run ``command`` and wait for its commit; raises what it raised."""
        if any(writer.is_current_thread for writer in self._writers):
            raise RuntimeError("a command cannot wait for another command: use the same Tx")
        return self.write(command, crisis=crisis).result()

    def close(self) -> None:
        """Finish what waits, checkpoint and disconnect; harmless when repeated."""
        self._stop()
        self.held.close()

    def _stop(self) -> None:
        self._queue.close()
        self._readers.dispose()
        for writer in self._writers:
            writer.join()
        self._writing.dispose()

    def _make_writers(self, count: int) -> list[Writer]:
        if self.dialect == "sqlite":
            return [SqliteWriter(self.node, self._writing, self._queue, self.clock, self.batch_hooks)]
        return [
            PostgresqlWriter(f"{self.node}-{index}", self._writing, self._queue, self.clock, self.batch_hooks)
            for index in range(count)
        ]


def open_store(
    url: str,
    keys_url: str,
    keyring_dir: Path,
    clock: Clock,
    *,
    node: str = "main",
    writers: int | None = None,
    migrate: bool = False,
    suite: int = AES_256_GCM,
    provider: KeyProvider | None = None,
) -> Store:
    """Open the records at ``url`` and the keys at ``keys_url`` and start the writers.

    ``node`` names the journal chains of this process; ``writers`` counts PostgreSQL writers (SQLite always has one).
    ``suite`` is used for new students' keys; ``provider`` holds the master key, by default the files in ``keyring_dir``.
    Raises ``StoreBusy`` when another process writes there,
    ``SchemaMismatch`` unless ``migrate``, and Refusals about the URLs and the key file.
    """
    if writers is not None and writers < 1:
        raise Refusal("INVALID_ARGUMENT", "WRITERS", "a store needs at least one writer")
    records, keys_at = parse_url(url, "records"), parse_url(keys_url, "key")
    if records == keys_at:
        raise Refusal(
            "INVALID_ARGUMENT", "KEY_DATABASE_SHARED", "keys need a database of their own, apart from the records"
        )
    with ExitStack() as undo:
        undo.enter_context(FileLock(records, "records"))
        undo.enter_context(FileLock(keys_at, "key"))
        if migrate:
            migrations.upgrade_locked(records, keys_at)
        else:
            migrations.check_records(records)
            migrations.check_keys(keys_at)
        keys = KeyStore(keyring_dir, keys_url, clock, suite=suite, provider=provider)
        undo.callback(keys.close)
        store = Store(records, keys, clock, node, writers or _POSTGRESQL_WRITERS)
        store.held = undo.pop_all()
    return store
