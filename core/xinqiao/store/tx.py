"""What a command may do inside its transaction, and a query inside its snapshot."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Dialect, Executable, RowMapping, Table

_ABSENT = object()


class Statements:
    """SQL texts for one dialect, built once per table and shape: rendering them each time costs more than running."""

    def __init__(self, dialect: Dialect) -> None:
        self._quote = dialect.identifier_preparer
        self._mark = "?" if dialect.paramstyle == "qmark" else "%s"
        self._inserts: dict[Table, str] = {}
        self._lenient: dict[Table, str] = {}
        self._gets: dict[Table, str] = {}
        self._deletes: dict[Table, str] = {}
        self._updates: dict[tuple[Table, tuple[str, ...]], str] = {}

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
        self.now_us = now_us

    def get(self, table: Table, *key: object) -> RowMapping | None:
        """The row with this primary key (values in key order), or None."""
        return self._connection.exec_driver_sql(self._statements.get(table), key).mappings().first()

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
        self._connection.exec_driver_sql(self._statements.insert(table), values)

    def insert_many(self, table: Table, rows: Sequence[tuple[object, ...]]) -> None:
        """Insert many rows, each with values in column order; nothing for no rows."""
        if rows:
            self._connection.exec_driver_sql(self._statements.insert(table), list(rows))

    def insert_if_absent(self, table: Table, *values: object) -> bool:
        """Insert unless a key or unique constraint already has such a row; True when it was inserted."""
        sql = self._statements.insert_if_absent(table)
        return self._connection.exec_driver_sql(sql, values).first() is not None

    def update(self, table: Table, key: tuple[object, ...], **values: object) -> bool:
        """Change these columns of the row with this primary key; False when there is none."""
        sql = self._statements.update(table, tuple(values))
        return self._connection.exec_driver_sql(sql, (*values.values(), *key)).rowcount == 1

    def delete(self, table: Table, *key: object) -> bool:
        """Delete the row with this primary key; False when there is none."""
        return self._connection.exec_driver_sql(self._statements.delete(table), key).rowcount == 1

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
