"""SQL texts for one dialect, built once per table and shape: rendering them each time costs more than running."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

from sqlalchemy import Dialect, Select, Table, UniqueConstraint
from sqlalchemy.engine.result import ResultMetaData, SimpleResultMetaData
from sqlalchemy.sql.visitors import iterate

_SIZES = (256, 200, 128, 64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1)
"""Rows in one INSERT: few sizes, so that the driver keeps every statement prepared."""


class Kept(NamedTuple):
    """A statement rendered for the driver: its text, its parameters in order, their defaults, and the row's names."""

    sql: str
    names: Sequence[str]
    defaults: dict[str, Any]
    columns: ResultMetaData
    tables: frozenset[Table]


class Statements:
    """The texts, each rendered when it is first asked for."""

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
        self._many: dict[tuple[Table, int], str] = {}
        self._many_updates: dict[tuple[Table, tuple[str, ...], int], str] = {}
        self._keys: dict[Table, tuple[int, ...]] = {}
        self._present: dict[tuple[Table, int], str] = {}
        self._key_only: dict[Table, bool] = {}
        self._kept: dict[int, tuple[Select[*tuple[Any, ...]], Kept]] = {}

    def insert(self, table: Table) -> str:
        sql = self._inserts.get(table)
        if sql is None:
            names = [column.name for column in table.columns]
            marks = ", ".join([self._mark] * len(names))
            sql = f"INSERT INTO {self._table(table)} ({self._names(names)}) VALUES ({marks})"
            self._inserts[table] = sql
        return sql

    def insert_rows(self, table: Table, count: int) -> str:
        """One INSERT of ``count`` rows; take the counts that :func:`sizes` gives."""
        sql = self._many.get((table, count))
        if sql is None:
            row = "(" + ", ".join([self._mark] * len(table.columns)) + ")"
            head = self.insert(table).partition(" VALUES ")[0]
            sql = self._many[(table, count)] = f"{head} VALUES {', '.join([row] * count)}"
        return sql

    def key_positions(self, table: Table) -> tuple[int, ...]:
        """Where the primary key's columns stand among the columns of ``table``."""
        places = self._keys.get(table)
        if places is None:
            names = list(table.columns.keys())
            places = self._keys[table] = tuple(names.index(column.name) for column in table.primary_key.columns)
        return places

    def key_only(self, table: Table) -> bool:
        """Whether the primary key is the table's only uniqueness."""
        only = self._key_only.get(table)
        if only is None:
            unique = any(isinstance(each, UniqueConstraint) for each in table.constraints)
            only = not unique and not any(index.unique for index in table.indexes)
            self._key_only[table] = only
        return only

    def present(self, table: Table, count: int) -> str:
        """Which of ``count`` primary keys have a row: the values of those keys."""
        sql = self._present.get((table, count))
        if sql is None:
            key = [self._quote.quote(column.name) for column in table.primary_key.columns]
            asked = ", ".join(["(" + ", ".join([self._mark] * len(key)) + ")"] * count)
            match = " AND ".join(f"t.{name} = asked.column{place}" for place, name in enumerate(key, 1))
            found = ", ".join(f"t.{name}" for name in key)
            # A join, not IN (VALUES ...): SQLite would scan the table for the latter.
            sql = f"SELECT {found} FROM (VALUES {asked}) AS asked CROSS JOIN {self._table(table)} AS t ON {match}"
            self._present[(table, count)] = sql
        return sql

    def update_rows(self, table: Table, names: tuple[str, ...], count: int) -> str:
        """One UPDATE of ``count`` rows, each with its primary key and then the values of ``names``.

        One statement, not one a row: SQLite's driver gives the interpreter lock away at each of them.
        """
        sql = self._many_updates.get((table, names, count))
        if sql is None:
            key = [self._quote.quote(column.name) for column in table.primary_key.columns]
            row = "(" + ", ".join([self._mark] * (len(key) + len(names))) + ")"
            changes = ", ".join(
                f"{self._quote.quote(name)} = new.column{place}" for place, name in enumerate(names, len(key) + 1)
            )
            match = " AND ".join(f"t.{name} = new.column{place}" for place, name in enumerate(key, 1))
            values = ", ".join([row] * count)
            sql = f"UPDATE {self._table(table)} AS t SET {changes} FROM (VALUES {values}) AS new WHERE {match}"
            self._many_updates[(table, names, count)] = sql
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
            found = [part for part in iterate(statement) if part.__visit_name__ == "table"]
            used = frozenset(cast("list[Table]", found))
            kept = Kept(
                str(compiled), compiled.positiontup or (), dict(compiled.params), SimpleResultMetaData(names), used
            )
            known = self._kept[id(statement)] = (statement, kept)
        return known[1]

    def _table(self, table: Table) -> str:
        return self._quote.format_table(table)

    def _names(self, names: Sequence[str]) -> str:
        return ", ".join(self._quote.quote(name) for name in names)

    def _key(self, table: Table) -> str:
        return " AND ".join(f"{self._quote.quote(column.name)} = {self._mark}" for column in table.primary_key.columns)


def sizes(count: int) -> Iterator[int]:
    """Cut ``count`` rows into the sizes for which a statement is kept."""
    for size in _SIZES:
        while count >= size:
            yield size
            count -= size
