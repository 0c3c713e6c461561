"""Reading the journal of any database without writing to it: for offline verification of a copy, a backup, a live store;
and counting what else the same snapshot holds.

Nothing is trusted: a missing, empty, foreign or damaged file ends in ``Unreadable``, and text that is not UTF-8 is kept
as surrogates so that the verifier can name the row. SQLite is read through its own driver, because a verifier must not
run the connection set-up of the store, which writes.
"""

import sqlite3
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

from sqlalchemy import Connection, Executable, Select, create_engine, inspect
from sqlalchemy.dialects import sqlite as sqlite_dialect
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import SQLAlchemyError

from xinqiao.store import tables

_BATCH = 1000
_SQLITE: Final = sqlite_dialect.dialect()
_JOURNAL = ", ".join(f'"{name}"' for name in tables.journal.c.keys())  # noqa: SIM118, a column collection is no dict
_CHECKPOINTS = '"writer", "size", "note"'


class Unreadable(Exception):
    """The database cannot be opened or read to the end; the message says where and how, never a stored value."""


class JournalReader(Protocol):
    """One snapshot of a journal."""

    def rows(self, writer: str | None = None, up_to: int | None = None) -> Iterator[tuple[Any, ...]]:
        """Journal rows in column order, by writer and ``seq``; of one ``writer`` and up to a ``seq`` when given."""
        ...

    def about(self, resource: str) -> Iterator[tuple[Any, ...]]:
        """The rows about one resource, such as ``referrals/{id}``, by writer and ``seq``."""
        ...

    def checkpoints(self) -> Iterator[tuple[str, int, str]]:
        """``(writer, size, note)`` by writer and size."""
        ...

    def witnesses(self) -> list[str]:
        """The notes that partners gave back; none in a database from before they were kept."""
        ...

    def ask(self, statement: Select[*tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """The rows of any question, such as a count; memory does not grow with what the database reads for it."""
        ...


@contextmanager
def open_journal(url: str) -> Generator[JournalReader]:
    """Open the database at ``url`` (an SQLAlchemy URL, or the path of an SQLite file) read-only, in one snapshot.

    Raises Unreadable, at opening and at reading.
    """
    try:
        parsed = make_url(url) if "://" in url else URL.create("sqlite", database=url)
    except (SQLAlchemyError, ValueError):
        raise Unreadable("the database URL cannot be parsed: write sqlite:///path or postgresql://host/name") from None
    if parsed.get_backend_name() == "sqlite":
        with closing(_open_sqlite(parsed.database or "")) as connection:
            yield _SqliteReader(connection)
    else:
        with _open_server(parsed) as connection:
            yield _ServerReader(connection)


class _SqliteReader:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, writer: str | None = None, up_to: int | None = None) -> Iterator[tuple[Any, ...]]:
        where, values = "", list[str | int]()
        if writer is not None:
            where, values = " WHERE writer = ?", [writer]
            if up_to is not None:
                where, values = where + " AND seq <= ?", [writer, up_to]
        # Only our own column names are put into the text; values are bound.
        yield from self._fetch(f"SELECT {_JOURNAL} FROM journal{where} ORDER BY writer, seq", values)

    def about(self, resource: str) -> Iterator[tuple[Any, ...]]:
        yield from self._fetch(f"SELECT {_JOURNAL} FROM journal WHERE resource = ? ORDER BY writer, seq", [resource])

    def witnesses(self) -> list[str]:
        known = "SELECT name FROM sqlite_master WHERE type = 'table' AND name = 'witnesses'"
        if not list(self._fetch(known, [])):
            return []
        return [str(row[0]) for row in self._fetch("SELECT note FROM witnesses ORDER BY partner, writer", [])]

    def checkpoints(self) -> Iterator[tuple[str, int, str]]:
        for row in self._fetch(f"SELECT {_CHECKPOINTS} FROM checkpoints ORDER BY writer, size", []):
            yield str(row[0]), row[1], str(row[2])

    def ask(self, statement: Select[*tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        compiled = statement.compile(dialect=_SQLITE, compile_kwargs={"render_postcompile": True})
        yield from self._fetch(str(compiled), [compiled.params[name] for name in compiled.positiontup or ()])

    def _fetch(self, statement: str, values: Sequence[str | int]) -> Iterator[tuple[Any, ...]]:
        try:
            cursor = self._connection.execute(statement, values)
            while batch := cursor.fetchmany(_BATCH):
                yield from batch
        except sqlite3.Error as error:
            raise Unreadable(f"the journal cannot be read to the end: {_reason(error)}") from None


class _ServerReader:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def rows(self, writer: str | None = None, up_to: int | None = None) -> Iterator[tuple[Any, ...]]:
        column = tables.journal.c
        statement = tables.journal.select().order_by(column.writer, column.seq)
        if writer is not None:
            statement = statement.where(column.writer == writer)
        if up_to is not None:
            statement = statement.where(column.seq <= up_to)
        yield from self._fetch(statement)

    def about(self, resource: str) -> Iterator[tuple[Any, ...]]:
        column = tables.journal.c
        found = tables.journal.select().where(column.resource == resource)
        yield from self._fetch(found.order_by(column.writer, column.seq))

    def witnesses(self) -> list[str]:
        column = tables.witnesses.c
        if not inspect(self._connection).has_table(tables.witnesses.name):
            return []
        statement = tables.witnesses.select().with_only_columns(column.note).order_by(column.partner, column.writer)
        return [str(row[0]) for row in self._fetch(statement)]

    def checkpoints(self) -> Iterator[tuple[str, int, str]]:
        column = tables.checkpoints.c
        statement = tables.checkpoints.select().order_by(column.writer, column.size)
        for row in self._fetch(statement.with_only_columns(column.writer, column.size, column.note)):
            yield row[0], row[1], row[2]

    def ask(self, statement: Select[*tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        yield from self._fetch(statement)

    def _fetch(self, statement: Executable) -> Iterator[tuple[Any, ...]]:
        try:
            # Closed here and now: a server-side cursor left to the garbage collector warns, and holds its snapshot.
            with self._connection.execution_options(yield_per=_BATCH).execute(statement) as result:
                for batch in result.partitions():
                    yield from map(tuple, batch)
        except SQLAlchemyError as error:
            raise Unreadable(f"the journal cannot be read to the end ({type(error).__name__})") from None


@contextmanager
def _open_server(url: URL) -> Generator[Connection]:
    where = url.render_as_string(hide_password=True)
    try:
        engine = create_engine(url, isolation_level="REPEATABLE READ")
    except (SQLAlchemyError, ImportError) as error:
        raise Unreadable(f"{where}: no driver for this database ({type(error).__name__})") from None
    try:
        try:
            connection = engine.connect().execution_options(postgresql_readonly=True)
        except SQLAlchemyError as error:
            raise Unreadable(f"{where}: cannot connect ({type(error).__name__})") from None
        with connection:
            yield connection
    finally:
        engine.dispose()


def _open_sqlite(database: str) -> sqlite3.Connection:
    path = Path(database.removeprefix("file:").partition("?")[0])
    if not path.is_file():
        raise Unreadable(f"{path}: no such database file")
    try:
        return _connect(path, "mode=ro")
    except sqlite3.Error as error:
        wal = path.with_name(path.name + "-wal")
        if wal.exists() and wal.stat().st_size:
            raise Unreadable(f"{path}: {_reason(error)}") from None
    try:
        # A WAL database on read-only media has no place for its index file; without a log there is nothing to miss.
        return _connect(path, "mode=ro&immutable=1")
    except sqlite3.Error as error:
        raise Unreadable(f"{path}: {_reason(error)}") from None


def _connect(path: Path, options: str) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?{options}", uri=True, isolation_level=None)
    try:
        connection.text_factory = _decode
        connection.execute("BEGIN")
        found = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except BaseException:
        connection.close()
        raise
    if not {"journal", "checkpoints"} <= found:
        connection.close()
        raise Unreadable(f"{path}: not a XinQiao database: it has no journal and checkpoints tables")
    return connection


def _decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _reason(error: sqlite3.Error) -> str:
    """SQLite's symbolic error name: its messages may quote stored text."""
    return str(getattr(error, "sqlite_errorname", type(error).__name__))
