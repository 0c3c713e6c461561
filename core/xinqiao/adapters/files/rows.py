"""The row that every table reader yields, so that the code for scores and rosters does not know the file format."""

import re
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from operator import itemgetter
from typing import Literal, overload

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files.places import FileRefused, Place
from xinqiao.api.adapter.v1.adapter_service_pb2 import Origin

Cell = str | int | float | bool | date | None
_Picker = Callable[[Sequence[Cell]], tuple[Cell, ...]]
Day = date  # inside Row the name ``date`` is a method
Extra = Literal["refuse", "ignore", "name"]

# C0 but TAB LF CR, DEL, C1, zero-width, bidi overrides, line separators, byte order mark inside text, lone surrogates,
# and U+FFFD, which says that an earlier conversion lost the character.
FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffd"
    "\ud800-\udfff\ufffe\uffff]"
)
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_EXACT = 10**15  # a number cell is a binary double: sixteen digits and more may already be wrong


@dataclass(frozen=True, slots=True)
class Column:
    """A column that a reader knows: its ``name``, other accepted spellings, and whether the file must have it."""

    name: str
    aliases: tuple[str, ...] = ()
    required: bool = True


@dataclass(frozen=True, slots=True)
class TableLimits:
    """Most that one table may hold: data rows (blank ones counted), columns, bytes (UTF-8) of a cell and of a line."""

    rows: int = 200_000
    columns: int = 256
    cell_bytes: int = 32 * 1024
    line_bytes: int = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the known columns are in this file: name -> index from 0; ``width`` cells are expected in each row."""

    file: str
    sheet: str | None
    index: dict[str, int]
    width: int
    known: frozenset[str]
    _pickers: "dict[tuple[str, ...], _Picker]" = field(
        default_factory=dict[tuple[str, ...], "_Picker"], init=False, repr=False, compare=False
    )

    def pick(self, columns: tuple[str, ...], cells: Sequence[Cell]) -> tuple[Cell, ...]:
        """The cells of two or more of these columns; how is worked out once for all rows."""
        picker = self._pickers.get(columns)
        if picker is None:
            picker = self._pickers[columns] = itemgetter(*[self.index[name] for name in columns])
        return picker(cells)


class Row:
    """One data row. Each getter raises ``RecordRejected`` with the place when the cell is not what was asked for."""

    __slots__ = ("_cells", "_layout", "number")

    def __init__(self, number: int, cells: Sequence[Cell], layout: Layout) -> None:
        self.number = number
        self._cells = cells
        self._layout = layout

    def raw(self, columns: Sequence[str]) -> Sequence[Cell]:
        """The cells as they are, for a caller that knows every value it takes; a truth value as text, it is no number."""
        cells, layout = self._cells, self._layout
        several = len(columns) > 1
        found = layout.pick(tuple(columns), cells) if several else [cells[layout.index[name]] for name in columns]
        return [str(cell) if isinstance(cell, bool) else cell for cell in found] if bool in map(type, found) else found

    def key(self, column: str) -> Cell:
        """The cell as it is, to look up what was made of an equal one before; not to be taken for its value."""
        return self._cells[self._layout.index[column]]

    def place(self, column: str | None = None) -> Place:
        """Where this row (or one cell of it) is."""
        return Place(self._layout.file, self._layout.sheet, self.number, column)

    def origin(self) -> Origin:
        """Where this row is, for what is read from it; whoever knows the file fills in its source."""
        return Origin(places=[self.place().within])

    def reject(self, column: str | None, reason: str, message: str) -> RecordRejected:
        """The error for a caller to raise; ``message`` must not hold the value."""
        return RecordRejected(reason, message, self.place(column))

    def text(self, column: str, *, optional: bool = False) -> str:
        """The cell as text, unchanged; ``""`` for a blank cell of an ``optional`` column.

        Whole numbers of a workbook come without ``.0``; sixteen digits and more raise ``DATA/ID_PRECISION``.
        """
        value = self._value(column, optional)
        if value is None:
            return ""
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "TRUE" if value else "FALSE"
        if isinstance(value, date):
            return _date_text(value)
        if abs(value) >= _EXACT:
            raise self.reject(column, "DATA/ID_PRECISION", "a number cell has lost digits; store the column as text")
        return str(value)

    @overload
    def integer(self, column: str, lo: int, hi: int, *, optional: Literal[False] = False) -> int: ...
    @overload
    def integer(self, column: str, lo: int, hi: int, *, optional: bool) -> int | None: ...
    def integer(self, column: str, lo: int, hi: int, *, optional: bool = False) -> int | None:
        """A whole number from ``lo`` to ``hi``; ``None`` for a blank cell of an ``optional`` column."""
        value = self._value(column, optional)
        if value is None:
            return None
        if isinstance(value, str) and _INTEGER.fullmatch(value) and value != "-0":
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.reject(column, "DATA/NUMBER", "must be a whole number in plain digits")
        if not lo <= value <= hi:
            raise self.reject(column, "DATA/NUMBER_RANGE", f"must be from {lo} to {hi}")
        return value

    @overload
    def date(self, column: str, *, optional: Literal[False] = False) -> Day: ...
    @overload
    def date(self, column: str, *, optional: bool) -> Day | None: ...
    def date(self, column: str, *, optional: bool = False) -> Day | None:
        """A day: ``YYYY-MM-DD`` as text, or a date cell without a time of day in a workbook."""
        value = self._value(column, optional)
        if value is None:
            return None
        if isinstance(value, datetime):
            if value.time() != datetime.min.time():
                raise self.reject(column, "DATA/DATE", "holds a time of day; a day is expected")
            return value.date()
        if isinstance(value, date):
            return value
        if isinstance(value, str) and _ISO_DATE.fullmatch(value):
            try:
                return date.fromisoformat(value)
            except ValueError:
                raise self.reject(column, "DATA/DATE", "is not a day of the calendar") from None
        raise self.reject(column, "DATA/DATE", "must be a day written YYYY-MM-DD")

    def identifier(self, column: str, check: Callable[[str], str | None], normalise: Callable[[str], str] = str) -> str:
        """Text that ``check`` (see ``identifiers``) finds no reason against, after ``normalise``."""
        value = normalise(self.text(column))
        reason = check(value)
        if reason is not None:
            raise self.reject(column, reason, "is not a valid number of this kind; compare it with the document")
        return value

    def _value(self, column: str, optional: bool) -> Cell:
        index = self._layout.index.get(column)
        if index is None:
            if column not in self._layout.known:
                raise KeyError(f"column {column!r} was not declared to the reader")
            value: Cell = None
        else:
            value = self._cells[index]
        if value is None or (isinstance(value, str) and not value.strip()):
            if optional:
                return None
            raise self.reject(column, "DATA/MISSING", "must not be blank")
        return value


def check_cells(number: int, cells: Sequence[Cell], layout: Layout, limits: TableLimits) -> None:
    """Refuse a row of the wrong width, with a cell that is too long, or with characters no name or score has."""
    if len(cells) != layout.width:
        raise RecordRejected(
            "DATA/COLUMN_COUNT",
            f"has {len(cells)} cells, the header has {layout.width}; look for a missing or stray separator",
            Place(layout.file, layout.sheet, number),
        )
    texts = "".join([cell for cell in cells if type(cell) is str])
    if texts.isascii() and texts.isprintable() and len(texts) <= limits.cell_bytes:
        return
    for position, cell in enumerate(cells):
        if not isinstance(cell, str) or (cell.isascii() and cell.isprintable() and len(cell) <= limits.cell_bytes):
            continue
        if too_long(cell, limits):
            reason, message = "DATA/CELL_TOO_LONG", f"is longer than {limits.cell_bytes} bytes"
        elif (bad := FORBIDDEN.search(cell)) is not None:
            reason = "DATA/CHARSET"
            message = f"holds U+{ord(bad.group()):04X} at character {bad.start() + 1}; remove it"
        else:
            continue
        raise RecordRejected(reason, message, Place(layout.file, layout.sheet, number, column_label(layout, position)))


def too_long(cell: str, limits: TableLimits) -> bool:
    """Whether ``cell`` is longer than allowed, counted in UTF-8 bytes."""
    return len(cell) * 4 > limits.cell_bytes and len(cell.encode("utf-8", "surrogatepass")) > limits.cell_bytes


def column_label(layout: Layout, position: int) -> str:
    """The known name of the column at ``position`` (from 0), else its number from 1."""
    return next((name for name, index in layout.index.items() if index == position), str(position + 1))


def is_blank(cells: Sequence[Cell]) -> bool:
    """Whether no cell holds anything."""
    # nearly always the first one says it: a generator would cost as much as the rest of the row
    for cell in cells:  # noqa: SIM110
        if cell is not None and not (isinstance(cell, str) and not cell.strip()):
            return False
    return True


class Duplicates:
    """Finds the same key twice: equal content is merged and counted, differing content is rejected with both rows."""

    def __init__(self) -> None:
        self.merged = 0
        self._seen: dict[Hashable, tuple[int, Hashable]] = {}

    def is_repeat(self, row: Row, key: Hashable, content: Hashable) -> bool:
        """True when ``row`` repeats an earlier one exactly. Raises ``DATA/DUPLICATE`` when it contradicts one."""
        first = self._seen.setdefault(key, (row.number, content))
        if first[0] == row.number:
            return False
        if first[1] != content:
            raise row.reject(None, "DATA/DUPLICATE", f"contradicts row {first[0]}, which has the same key")
        self.merged += 1
        return True


def refuse(reason: str, message: str, file: str, sheet: str | None = None, row: int | None = None) -> FileRefused:
    """Shorthand for a refusal of the whole file."""
    return FileRefused(reason, message, Place(file, sheet, row))


def _date_text(value: date) -> str:
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == datetime.min.time() else value.isoformat(sep=" ")
    return value.isoformat()
