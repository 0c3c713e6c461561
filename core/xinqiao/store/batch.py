"""What the commands of one SQLite writer share: rows that wait to go in together, and answers that still hold.

Each SQL statement gives the interpreter lock away and has to win it back from the edge, which costs more than the
statement. So inserted rows wait here and go in as one statement a table, and what was read is remembered until its
table changes: nobody else writes this database.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from sqlalchemy import RowMapping, Table

from xinqiao.store.statements import Kept, Statements, sizes

Key = tuple[object, ...]
Row = tuple[object, ...]
Probe = tuple[Table, Key]
"""A primary key that a command will look up: many commands' keys are looked up in one statement."""

_REMEMBERED = 10_000  # answers a statement
_FEW = 2  # keys that are cheaper to look up one by one


class RowsRefused(BaseException):
    """The database refused waiting rows. Whose they were shows when the commands run again, each alone.

    No Exception: a command must not take it for an error of its own.
    """


class Batch:
    """The waiting rows by table, and what is known without asking the database."""

    def __init__(self, raw: sqlite3.Connection, statements: Statements) -> None:
        self.raw = raw
        self.statements = statements
        self.alone = False
        """Only one command is in the transaction: its rows go in at once, and its errors are its own."""
        self.rows: dict[Table, list[Row]] = {}
        self._keys: dict[Table, dict[Key, Row]] = {}
        self._absent: set[Probe] = set()
        self._answers: dict[str, dict[Key, list[RowMapping]]] = {}
        self._uses: dict[Table, list[dict[Key, list[RowMapping]]]] = {}

    def add(self, table: Table, values: Row, marks: dict[Table, int]) -> bool:
        """Let a row wait; False when its key waits already, so that the database must say no."""
        keys = self._keys.setdefault(table, {})
        key = tuple([values[place] for place in self.statements.key_positions(table)])
        if key in keys:
            return False
        rows = self.rows.setdefault(table, [])
        marks.setdefault(table, len(rows))
        rows.append(values)
        keys[key] = values
        self._absent.discard((table, key))
        for known in self._uses.get(table, ()):
            known.clear()
        return True

    def waiting(self, table: Table, key: Key) -> Row | None:
        """The waiting row with this key."""
        keys = self._keys.get(table)
        return keys.get(key) if keys else None

    def absent(self, table: Table, key: Key) -> bool:
        """Whether the database was asked for this key already and has no such row."""
        return (table, key) in self._absent

    def look_up(self, probes: Sequence[Probe]) -> None:
        """Find out in one statement a table which of the keys are new; mostly all are."""
        if len(probes) < _FEW:
            return
        for table in {table for table, _ in probes}:
            here = self._keys.get(table, {})  # a key that waits is not absent: it will be there once it went in
            asked = list(dict.fromkeys(key for of, key in probes if of is table and key not in here))
            start = 0
            for size in sizes(len(asked)):
                part = asked[start : start + size]
                start += size
                sql = self.statements.present(table, size)
                found = self.raw.execute(sql, list(chain.from_iterable(part))).fetchall()
                self._absent.update((table, key) for key in part)
                self._absent.difference_update((table, key) for key in found)

    def flush(self, tables: Iterable[Table] | None = None) -> None:
        """Send the waiting rows to the database. Raises :class:`RowsRefused`."""
        for table in list(self.rows) if tables is None else tables:
            rows = self.rows.pop(table, None)
            if rows:
                self._keys.pop(table, None)
                self._send(table, rows)

    def flush_before(self, marks: dict[Table, int]) -> None:
        """Send the rows of the commands before the one whose own rows begin at ``marks``, which then begin at 0."""
        for table in list(self.rows):
            own = self.rows[table][marks[table] :] if table in marks else []
            earlier = self.rows[table][: marks[table]] if table in marks else self.rows[table]
            if own:
                self.rows[table], marks[table] = own, 0
                keys, places = self._keys[table], self.statements.key_positions(table)
                for row in earlier:
                    del keys[tuple([row[place] for place in places])]
            else:
                del self.rows[table]
                self._keys.pop(table, None)
            self._send(table, earlier)

    def drop(self, marks: dict[Table, int]) -> None:
        """Take back the rows from ``marks`` on."""
        for table, mark in marks.items():
            rows = self.rows.get(table, [])
            keys, places = self._keys.get(table, {}), self.statements.key_positions(table)
            for row in rows[mark:]:
                del keys[tuple([row[place] for place in places])]
            del rows[mark:]
            if not rows:
                self.rows.pop(table, None)
            self.changed(table)

    def forget(self, *, everything: bool = False) -> None:
        """At the end of a transaction: nothing waits any more; after a rollback nothing is known any more either."""
        self.rows.clear()
        self._keys.clear()
        self._absent.clear()
        if everything:
            self.changed(None)

    def answer(self, kept: Kept, values: Key) -> list[RowMapping] | None:
        """What the statement gave for these values, while its tables have not changed since."""
        known = self._answers.get(kept.sql)
        return known.get(values) if known is not None else None

    def remember(self, kept: Kept, values: Key, rows: list[RowMapping]) -> None:
        """Keep an answer."""
        known = self._answers.get(kept.sql)
        if known is None:
            known = self._answers[kept.sql] = {}
            for table in kept.tables:
                self._uses.setdefault(table, []).append(known)
        if len(known) >= _REMEMBERED:
            known.clear()
        known[values] = rows

    def changed(self, table: Table | None) -> None:
        """Forget the answers that rest on ``table``; all of them for None."""
        for known in self._answers.values() if table is None else self._uses.get(table, ()):
            known.clear()
        if table is not None and self._absent:
            self._absent = {probe for probe in self._absent if probe[0] is not table}

    def _send(self, table: Table, rows: list[Row]) -> None:
        start = 0
        for size in sizes(len(rows)):
            values: list[Any] = list(chain.from_iterable(rows[start : start + size]))
            start += size
            try:
                if not self.raw.in_transaction:
                    raise sqlite3.OperationalError("the transaction was rolled back")
                self.raw.execute(self.statements.insert_rows(table, size), values)
            except Exception as error:  # also Python's own, of a number or a text that SQLite cannot hold
                raise RowsRefused(table.name) from error
