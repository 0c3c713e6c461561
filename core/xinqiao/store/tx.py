"""What a command may do inside its transaction, and a query inside its snapshot."""

import sqlite3
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Executable, Row, RowMapping, Select, Table
from sqlalchemy.exc import DBAPIError

from xinqiao.store.batch import Batch
from xinqiao.store.statements import Statements, sizes

_ABSENT = object()


class ReadTx:
    """A snapshot: every query in it sees the same committed state. ``now_us`` is constant within it."""

    def __init__(
        self, connection: Connection, statements: Statements, now_us: int, raw: sqlite3.Connection | None = None
    ) -> None:
        self._connection = connection
        self._statements = statements
        # SQLite's driver costs a tenth of SQLAlchemy's cursor around it, and most of a command is such small statements.
        self._raw = raw if raw is not None else _sqlite(connection)
        self.now_us = now_us

    def get(self, table: Table, *key: object) -> RowMapping | None:
        """The row with this primary key (values in key order), or None."""
        sql = self._statements.get(table)
        if self._raw is None:
            return self._connection.exec_driver_sql(sql, key).mappings().first()
        found = _direct(self._raw, sql, key).fetchone()
        return None if found is None else _row(self._statements.columns(table), found)

    def find(self, statement: Select[*tuple[Any, ...]], **values: object) -> Sequence[RowMapping]:
        """Every row of a statement that its module keeps, its ``bindparam`` names filled in: rendered only once."""
        if self._raw is None:
            return self._connection.execute(statement, values).mappings().all()
        kept = self._statements.kept(statement)
        filled = kept.defaults | values
        cursor = _direct(self._raw, kept.sql, [filled[name] for name in kept.names])
        return [_row(kept.columns, found) for found in cursor.fetchall()]

    def pick(self, statement: Select[*tuple[Any, ...]], **values: object) -> Sequence[Sequence[Any]]:
        """As :meth:`find` with plain rows, values in the order of the statement: for look-ups of very many keys."""
        if self._raw is None:
            return self._connection.execute(statement, values).all()
        kept = self._statements.kept(statement)
        filled = kept.defaults | values
        return _direct(self._raw, kept.sql, [filled[name] for name in kept.names]).fetchall()

    def one(self, statement: Executable) -> RowMapping | None:
        """The first row, or None."""
        return self._connection.execute(statement).mappings().first()

    def all(self, statement: Executable) -> Sequence[RowMapping]:
        """Every row, in the order of the statement."""
        return self._connection.execute(statement).mappings().all()

    def scalar(self, statement: Executable) -> Any:
        """The first column of the first row, or None when there is no row."""
        return self._connection.execute(statement).scalar()


class Tx(ReadTx):
    """One command's transaction. It runs on a writer thread and may be run again: no effects outside ``Tx``.

    ``writer`` names the chain the journal must use. ``locals`` outlives the command on the same writer; change it only
    through :meth:`remember`, so that a rollback undoes the change. With a ``batch`` (SQLite) inserted rows wait in it
    until somebody must see them or the batch ends, so a row that a constraint forbids is refused later than inserted.
    """

    def __init__(
        self,
        connection: Connection,
        statements: Statements,
        now_us: int,
        writer: str,
        local: dict[str, object],
        batch: Batch | None = None,
    ) -> None:
        super().__init__(connection, statements, now_us, batch.raw if batch is not None else None)
        self.writer = writer
        self.locals = local
        self._batch = batch
        self._marks: dict[Table, int] = {}
        self._touched: set[Table | None] = set()
        self._protected = False
        self._undo: list[tuple[str, object]] = []
        self._after: list[Callable[[], None]] = []

    def get(self, table: Table, *key: object) -> RowMapping | None:
        """The row with this primary key (values in key order), or None."""
        if self._batch is not None:
            row = self._batch.waiting(table, key)
            if row is not None:
                return _row(self._statements.columns(table), row)
            if self._batch.absent(table, key):
                return None
        return super().get(table, *key)

    def find(self, statement: Select[*tuple[Any, ...]], **values: object) -> Sequence[RowMapping]:
        """As in a snapshot; the answer is remembered until one of the statement's tables changes."""
        batch = self._batch
        if batch is None:
            return super().find(statement, **values)
        kept = self._statements.kept(statement)
        filled = kept.defaults | values
        key = tuple([filled[name] for name in kept.names])
        rows = batch.answer(kept, key)
        if rows is None:
            self._settle(kept.tables)
            rows = [_row(kept.columns, found) for found in _direct(batch.raw, kept.sql, key).fetchall()]
            batch.remember(kept, key, rows)
        return rows

    def pick(self, statement: Select[*tuple[Any, ...]], **values: object) -> Sequence[Sequence[Any]]:
        """As in a snapshot."""
        self._ready(statement)
        return super().pick(statement, **values)

    def one(self, statement: Executable) -> RowMapping | None:
        """The first row, or None."""
        self._ready(statement)
        return super().one(statement)

    def all(self, statement: Executable) -> Sequence[RowMapping]:
        """Every row, in the order of the statement."""
        self._ready(statement)
        return super().all(statement)

    def scalar(self, statement: Executable) -> Any:
        """The first column of the first row, or None when there is no row."""
        self._ready(statement)
        return super().scalar(statement)

    def insert(self, table: Table, *values: object) -> None:
        """Insert one row, values in column order. Raises ``sql.IntegrityError``, at the latest at the end of the
        command or of the :meth:`savepoint` around it, when a constraint forbids it."""
        batch = self._batch
        if batch is None or batch.alone or not batch.add(table, values, self._marks):
            self._change(table, self._statements.insert(table), values)

    def insert_many(self, table: Table, rows: Sequence[tuple[object, ...]]) -> None:
        """Insert many rows, each with values in column order; nothing for no rows."""
        self.insert_values(table, list(chain.from_iterable(rows)))

    def insert_values(self, table: Table, values: list[object]) -> None:
        """As :meth:`insert_many`, the values of all rows laid end to end, as :func:`end_to_end` gives them: for a bulk
        load, a tuple a row costs as much as binding it."""
        if not values:
            return
        width = len(table.columns)
        if self._raw is None:
            rows = list(zip(*[iter(values)] * width, strict=True))
            self._connection.exec_driver_sql(self._statements.insert(table), rows)
            return
        self._before_change(table)
        start = 0
        for size in sizes(len(values) // width):
            _direct(self._raw, self._statements.insert_rows(table, size), values[start : start + size * width])
            start += size * width

    def insert_if_absent(self, table: Table, *values: object) -> bool:
        """Insert unless a key or unique constraint already has such a row; True when it was inserted."""
        if self._batch is not None and not self._batch.alone and self._statements.key_only(table):
            key = tuple([values[place] for place in self._statements.key_positions(table)])
            if self.get(table, *key) is not None:
                return False
            self.insert(table, *values)
            return True
        sql = self._statements.insert_if_absent(table)
        if self._raw is None:
            return self._connection.exec_driver_sql(sql, values).first() is not None
        self._before_change(table)
        return bool(_direct(self._raw, sql, values).fetchall())

    def update(self, table: Table, key: tuple[object, ...], **values: object) -> bool:
        """Change these columns of the row with this primary key; False when there is none."""
        sql = self._statements.update(table, tuple(values))
        return self._change(table, sql, (*values.values(), *key)) == 1

    def update_many(self, table: Table, names: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
        """Change these columns of many rows, each given as the new values and then its primary key."""
        if not rows:
            return
        sql = self._statements.update(table, names)
        if self._raw is None:
            self._connection.exec_driver_sql(sql, list(rows))
            return
        self._before_change(table)
        try:
            self._raw.executemany(sql, rows)
        except sqlite3.Error as error:
            raise DBAPIError.instance(sql, None, error, sqlite3.Error, hide_parameters=True) from error

    def delete(self, table: Table, *key: object) -> bool:
        """Delete the row with this primary key; False when there is none."""
        return self._change(table, self._statements.delete(table), key) == 1

    def execute(self, statement: Executable) -> int:
        """Run an update or delete; the number of rows it matched."""
        self._ready(statement)
        return getattr(self._connection.execute(statement), "rowcount", -1)

    def remember(self, key: str, value: object) -> None:
        """Keep ``value`` for later commands of this writer, unless this one is rolled back."""
        self._undo.append((key, self.locals.get(key, _ABSENT)))
        self.locals[key] = value

    def recall(self, key: str) -> object | None:
        """What an earlier command of this writer remembered, or None: then ask the database."""
        return self.locals.get(key)

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` on the writer thread once the commit is durable; never after a rollback. Keep it short."""
        self._after.append(callback)

    @contextmanager
    def savepoint(self) -> Generator[None, None, None]:
        """An attempt inside the command: an exception undoes only what was done since, and is raised on."""
        undo, after = len(self._undo), len(self._after)
        direct = self._batch is not None and self._batch.alone
        if self._batch is not None:
            self._protect()
            self._settle()
            self._batch.alone = True  # inside an attempt a forbidden row must be refused where it is inserted
        self._connection.exec_driver_sql("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            self._connection.exec_driver_sql("ROLLBACK TO SAVEPOINT attempt")
            self._connection.exec_driver_sql("RELEASE SAVEPOINT attempt")
            self.forget(undo)
            del self._after[after:]
            self._unlearn()
            raise
        else:
            self._connection.exec_driver_sql("RELEASE SAVEPOINT attempt")
        finally:
            if self._batch is not None:
                self._batch.alone = direct

    def forget(self, mark: int = 0) -> None:
        """For the writer: undo what was remembered since ``mark``."""
        while len(self._undo) > mark:
            key, before = self._undo.pop()
            if before is _ABSENT:
                self.locals.pop(key, None)
            else:
                self.locals[key] = before

    def keep(self) -> None:
        """For the writer: the command succeeded."""
        if self._protected and self._raw is not None:
            # Raises when SQLite has rolled back everything on its own (disk full, I/O error): the batch is lost then.
            self._raw.execute("RELEASE command")

    def roll_back(self) -> None:
        """For the writer: the command failed; nothing of it stays, and nobody else's rows are touched."""
        self.forget()
        if self._batch is None or self._raw is None:
            return
        self._batch.drop(self._marks)
        if self._protected:
            self._raw.execute("ROLLBACK TO command")
            self._raw.execute("RELEASE command")
        self._unlearn()

    @property
    def callbacks(self) -> list[Callable[[], None]]:
        """For the writer: what :meth:`after_commit` collected."""
        return self._after

    def _change(self, table: Table, sql: str, values: tuple[object, ...]) -> int:
        """Run a change and count the rows it touched."""
        if self._raw is None:
            return self._connection.exec_driver_sql(sql, values).rowcount
        self._before_change(table)
        return _direct(self._raw, sql, values).rowcount

    def _before_change(self, table: Table) -> None:
        if self._batch is not None:
            self._protect()
            self._settle((table,))
            self._batch.changed(table)
            self._touched.add(table)

    def _ready(self, statement: Executable) -> None:
        """Before any statement that is not kept: show it all rows, and take one that may write for a change of all."""
        if self._batch is None:
            return
        if not getattr(statement, "is_select", False):
            self._protect()
            self._batch.changed(None)
            self._touched.add(None)
        self._settle()

    def _settle(self, tables: Iterable[Table] | None = None) -> None:
        """Put waiting rows into the database, so that the next statement sees them."""
        batch = self._batch
        if batch is None or not batch.rows:
            return
        wanted = [table for table in (batch.rows if tables is None else tables) if table in batch.rows]
        if not wanted:
            return
        if any(table in self._marks for table in wanted):
            self._protect()
        batch.flush(wanted)
        for table in wanted:
            self._marks.pop(table, None)
            self._touched.add(table)

    def _protect(self) -> None:
        """Begin what a rollback of this command alone undoes in the database; most commands only add rows."""
        if not self._protected and self._batch is not None:
            self._batch.flush_before(self._marks)
            self._batch.raw.execute("SAVEPOINT command")
            self._protected = True

    def _unlearn(self) -> None:
        """After a rollback: what was read meanwhile may be of rows that are gone."""
        if self._batch is not None:
            for table in self._touched:
                self._batch.changed(table)


def end_to_end(columns: Sequence[Sequence[object]]) -> list[object]:
    """Rows given column by column, as :meth:`Tx.insert_values` takes them."""
    width = len(columns)
    values: list[object] = [None] * (width * len(columns[0]))
    for at, column in enumerate(columns):
        values[at::width] = column
    return values


def _sqlite(connection: Connection) -> sqlite3.Connection | None:
    driver = connection.connection.driver_connection
    return driver if isinstance(driver, sqlite3.Connection) else None


def _row(columns: Any, values: tuple[Any, ...]) -> RowMapping:
    # SQLAlchemy's own row without its cursor machinery: the hot statements go straight to the driver.
    return Row(columns, None, columns._key_to_index, values)._mapping  # pyright: ignore[reportCallIssue, reportPrivateUsage]


def _direct(raw: sqlite3.Connection, sql: str, values: Any) -> sqlite3.Cursor:
    """Run one statement; an error comes as SQLAlchemy's, without the values: they may be a person's."""
    try:
        return raw.execute(sql, values)
    except sqlite3.Error as error:
        raise DBAPIError.instance(sql, None, error, sqlite3.Error, hide_parameters=True) from error
