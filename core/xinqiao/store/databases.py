"""Connections: one engine per role, with the settings on which durability and secrecy rest."""

import fcntl
import os
from pathlib import Path
from typing import Any, Literal, Self

from sqlalchemy import URL, Connection, Engine, NullPool, QueuePool, create_engine, event, make_url

from xinqiao.contract.errors import Refusal
from xinqiao.store.errors import StoreBusy

Role = Literal["writer", "reader", "keys", "migration"]

BUSY_MS = 5000
_WRITING_PRAGMAS = (
    "journal_mode=WAL",
    # FULL: NORMAL loses acknowledged rows at a power cut.
    "synchronous=FULL",
    "fullfsync=ON",
    "foreign_keys=ON",
    "secure_delete=ON",
    # Without it INSERT OR REPLACE deletes journal rows behind the back of the append-only triggers.
    "recursive_triggers=ON",
    # A statement that may fail half-way keeps the pages it changes: in memory, not in a file opened each time.
    "temp_store=MEMORY",
    "cache_size=-16000",
    # Only a backstop: the writer checkpoints between batches, when nobody waits for an answer.
    "wal_autocheckpoint=10000",
)
_READING_PRAGMAS = ("query_only=ON", "wal_autocheckpoint=0")


def parse_url(url: str, what: str) -> URL:
    """The parsed ``url``; ``what`` names the setting in the refusal. Only SQLite files and psycopg are accepted."""
    parsed = make_url(url)
    sqlite_file = parsed.get_backend_name() == "sqlite" and parsed.database not in (None, "", ":memory:")
    if sqlite_file or parsed.drivername in ("postgresql", "postgresql+psycopg"):
        return parsed
    raise Refusal(
        "INVALID_ARGUMENT",
        "DATABASE_URL",
        f"the {what} database URL must be sqlite:///<file> or postgresql+psycopg://...",
    )


def make_engine(url: URL, role: Role, *, readers: int = 8) -> Engine:
    """An engine for ``role``; a reader cannot write, whatever SQL it is given."""
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, role, readers)
    return _postgresql_engine(url, role, readers)


def _sqlite_engine(url: URL, role: Role, readers: int) -> Engine:
    options: dict[str, Any] = {"connect_args": {"check_same_thread": False, "timeout": BUSY_MS / 1000}}
    if role == "reader":
        engine = create_engine(url, poolclass=QueuePool, pool_size=readers, max_overflow=readers, **options)
    elif role == "keys":
        engine = create_engine(url, poolclass=QueuePool, pool_size=1, max_overflow=0, **options)
    else:
        engine = create_engine(url, poolclass=NullPool, **options)
    pragmas = _READING_PRAGMAS if role == "reader" else _WRITING_PRAGMAS
    begin = "BEGIN" if role == "reader" else "BEGIN IMMEDIATE"

    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # the driver must not begin or commit on its own
        connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    def start(connection: Connection) -> None:
        raw: Any = connection.connection.driver_connection
        if not raw.in_transaction:  # the writer begins on its own, at the driver
            raw.execute(begin)

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", start)
    return engine


def _postgresql_engine(url: URL, role: Role, readers: int) -> Engine:
    if role == "reader":
        engine = create_engine(
            url, isolation_level="REPEATABLE READ", pool_size=readers, max_overflow=readers, pool_pre_ping=True
        )

        def read_only(connection: Any, _record: object) -> None:
            connection.read_only = True

        event.listen(engine, "connect", read_only)
        return engine
    if role == "keys":
        return create_engine(url, pool_size=1, max_overflow=0, pool_pre_ping=True)
    # SERIALIZABLE gives rooms on PostgreSQL what the single writer gives them on SQLite: check, then write.
    return create_engine(url, poolclass=NullPool, isolation_level="SERIALIZABLE")


class FileLock:
    """An exclusive lock beside a SQLite file, held until :meth:`release` or the death of the process."""

    def __init__(self, url: URL, what: str) -> None:
        """Take the lock at once; a no-op for PostgreSQL. Raises :class:`StoreBusy` when another holds it."""
        self._descriptor: int | None = None
        if url.get_backend_name() != "sqlite":
            return
        database = Path(url.database or "")
        database.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(f"{database}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise StoreBusy(f"the {what} database") from error
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; harmless when repeated."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.release()
