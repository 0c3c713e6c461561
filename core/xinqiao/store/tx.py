"""What a command may do inside its transaction, and a query inside its snapshot."""

import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sqlalchemy import Connection, Dialect, Executable, Row, RowMapping, Select, Table
from sqlalchemy.engine.result import ResultMetaData, SimpleResultMetaData
from sqlalchemy.exc import DBAPIError

_ABSENT = object()


class Kept(NamedTuple):
    """A statement rendered for the driver: its text, its parameters in order, their defaults, and the row's names."""

    sql: str
    names: Sequence[str]
    defaults: dict[str, Any]
    columns: ResultMetaData


class Statements:
    """SQL texts for one dialect, built once per table and shape: rendering them each time costs more than running."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._quote = dialect.identifier_preparer
        self._mark = "?" if dialect.paramstyle == "qmark" else "%s"
        self._inserts: dict[Table, str] = {}
        self._lenient: dict[Table, str] = {}
        self._gets: dict[Table, str] = {}
        self._deletes: dict[Table, str] = {}
        self._updates: dict[tuple[Table, tuple[str, ...]], str] = {}
        self._columns: dict[Table, ResultMetaData] = {}
        self._kept: dict[int, tuple[Select[*tuple[Any, ...]], Kept]] = {}

    def insert(self, table: Table) -> str:
        sql = self._inserts.get(table)
        if sql is None:
            names = [column.name for column in table.columns]
            marks = ", ".join([self._mark] * len(names))
            sql = f"INSERT INTO {self._table(table)} ({self._names(names)}) VALUES ({marks})"
            self._inserts[table] = sql
        return sql

    def insert_if_absent(self, table: Table) -> str:
        sql = self._lenient.get(table)
        if sql is None:
            sql = f"{self.insert(table)} ON CONFLICT DO NOTHING RETURNING 1"
            self._lenient[table] = sql
        return sql

    def get(self, table: Table) -> str:
        sql = self._gets.get(table)
        if sql is None:
            names = self._names([column.name for column in table.columns])
            sql = f"SELECT {names} FROM {self._table(table)} WHERE {self._key(table)}"
            self._gets[table] = sql
        return sql

    def delete(self, table: Table) -> str:
        sql = self._deletes.get(table)
        if sql is None:
            sql = f"DELETE FROM {self._table(table)} WHERE {self._key(table)}"
            self._deletes[table] = sql
        return sql

    def update(self, table: Table, names: tuple[str, ...]) -> str:
        sql = self._updates.get((table, names))
        if sql is None:
            unknown = sorted(set(names) - set(table.columns.keys()))
            if unknown or not names:
                raise ValueError(f"table {table.name} has no columns {unknown}" if unknown else "nothing to update")
            changes = ", ".join(f"{self._quote.quote(name)} = {self._mark}" for name in names)
            sql = f"UPDATE {self._table(table)} SET {changes} WHERE {self._key(table)}"
            self._updates[(table, names)] = sql
        return sql

    def columns(self, table: Table) -> ResultMetaData:
        """The names of the columns that ``get`` selects."""
        columns = self._columns.get(table)
        if columns is None:
            columns = self._columns[table] = SimpleResultMetaData([column.name for column in table.columns])
        return columns

    def kept(self, statement: Select[*tuple[Any, ...]]) -> Kept:
        """``statement`` rendered for SQLite, once; the statement is held so that its identity stays its own."""
        known = self._kept.get(id(statement))
        if known is None:
            compiled: Any = statement.compile(dialect=self._dialect)
            names = [column.name for column in statement.selected_columns]
            kept = Kept(str(compiled), compiled.positiontup or (), dict(compiled.params), SimpleResultMetaData(names))
            known = self._kept[id(statement)] = (statement, kept)
        return known[1]

    def _table(self, table: Table) -> str:
        return self._quote.format_table(table)

    def _names(self, names: Sequence[str]) -> str:
        return ", ".join(self._quote.quote(name) for name in names)

    def _key(self, table: Table) -> str:
        return " AND ".join(f"{self._quote.quote(column.name)} = {self._mark}" for column in table.primary_key.columns)


class ReadTx:
    """A snapshot: every query in it sees the same committed state. ``now_us`` is constant within it."""

    def __init__(self, connection: Connection, statements: Statements, now_us: int) -> None:
        self._connection = connection
        self._statements = statements
        # SQLite's driver costs a tenth of SQLAlchemy's cursor around it, and most of a command is such small statements.
        driver = connection.connection.driver_connection
        self._raw = driver if isinstance(driver, sqlite3.Connection) else None
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
    through :meth:`remember`, so that a rollback undoes the change.
    """

    def __init__(
        self, connection: Connection, statements: Statements, now_us: int, writer: str, local: dict[str, object]
    ) -> None:
        super().__init__(connection, statements, now_us)
        self.writer = writer
        self.locals = local
        self._undo: list[tuple[str, object]] = []
        self._after: list[Callable[[], None]] = []

    def insert(self, table: Table, *values: object) -> None:
        """Insert one row, values in column order. Raises ``sql.IntegrityError`` when a constraint forbids it."""
        self._change(self._statements.insert(table), values)

    def insert_many(self, table: Table, rows: Sequence[tuple[object, ...]]) -> None:
        """Insert many rows, each with values in column order; nothing for no rows."""
        if not rows:
            return
        sql = self._statements.insert(table)
        if self._raw is None:
            self._connection.exec_driver_sql(sql, list(rows))
        else:
            _direct(self._raw, sql, rows, many=True)

    def insert_if_absent(self, table: Table, *values: object) -> bool:
        """Insert unless a key or unique constraint already has such a row; True when it was inserted."""
        sql = self._statements.insert_if_absent(table)
        if self._raw is None:
            return self._connection.exec_driver_sql(sql, values).first() is not None
        return bool(_direct(self._raw, sql, values).fetchall())

    def update(self, table: Table, key: tuple[object, ...], **values: object) -> bool:
        """Change these columns of the row with this primary key; False when there is none."""
        sql = self._statements.update(table, tuple(values))
        return self._change(sql, (*values.values(), *key)) == 1

    def delete(self, table: Table, *key: object) -> bool:
        """Delete the row with this primary key; False when there is none."""
        return self._change(self._statements.delete(table), key) == 1

    def _change(self, sql: str, values: tuple[object, ...]) -> int:
        """Run a change and count the rows it touched."""
        if self._raw is None:
            return self._connection.exec_driver_sql(sql, values).rowcount
        return _direct(self._raw, sql, values).rowcount

    def execute(self, statement: Executable) -> int:
        """Run an update or delete; the number of rows it matched."""
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
        self._connection.exec_driver_sql("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            self._connection.exec_driver_sql("ROLLBACK TO SAVEPOINT attempt")
            self._connection.exec_driver_sql("RELEASE SAVEPOINT attempt")
            self.forget(undo)
            del self._after[after:]
            raise
        self._connection.exec_driver_sql("RELEASE SAVEPOINT attempt")

    def forget(self, mark: int = 0) -> None:
        """For the writer: undo what was remembered since ``mark``."""
        while len(self._undo) > mark:
            key, before = self._undo.pop()
            if before is _ABSENT:
                self.locals.pop(key, None)
            else:
                self.locals[key] = before

    @property
    def callbacks(self) -> list[Callable[[], None]]:
        """For the writer: what :meth:`after_commit` collected."""
        return self._after


def _row(columns: Any, values: tuple[Any, ...]) -> RowMapping:
    # SQLAlchemy's own row without its cursor machinery: the hot statements go straight to the driver.
    return Row(columns, None, columns._key_to_index, values)._mapping  # pyright: ignore[reportCallIssue, reportPrivateUsage]


def _direct(raw: sqlite3.Connection, sql: str, values: Any, *, many: bool = False) -> sqlite3.Cursor:
    """Run one statement; an error comes as SQLAlchemy's, without the values: they may be a person's."""
    try:
        return raw.executemany(sql, values) if many else raw.execute(sql, values)
    except sqlite3.Error as error:
        raise DBAPIError.instance(sql, None, error, sqlite3.Error, hide_parameters=True) from error
