"""Where something is in a file, and what was found there."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from xinqiao.adapters.errors import RecordRejected

_LISTED = 1000
R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """A spot in a file: ``row`` counts from 1 with the header (and blank rows) counted, as a spreadsheet shows it.

    ``column`` is a known column's name, or a letter or number where no name is known; never text from the file.
    """

    file: str
    sheet: str | None = None
    row: int | None = None
    column: str | None = None

    @property
    def within(self) -> str:
        """The spot without the file: `sheet s, row 3, column c`; empty for all of it."""
        where = [f"sheet {self.sheet}"] if self.sheet is not None else []
        if self.row is not None:
            where.append(f"row {self.row}")
        if self.column is not None:
            where.append(f"column {self.column}")
        return ", ".join(where)

    def __str__(self) -> str:
        return f"{self.file}: {where}" if (where := self.within) else self.file


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the row report: where, an UPPER_SNAKE reason, and how to mend it. Never the value."""

    place: Place
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}: {self.message}"


class FileRefused(RecordRejected):
    """The whole file is refused: nothing of it may be imported. ``reason`` looks like ``DATA/ENCODING``.

    ``rows`` are the rows it is refused for, where it is for rows: whoever mends the file wants all of them.
    """

    def __init__(self, reason: str, message: str, place: Place, rows: Sequence[Finding] = ()) -> None:
        super().__init__(reason, message, place)
        self.rows: Sequence[Finding] = rows


class Findings:
    """The row report of one file: warnings, and the rows that were rejected.

    A file is atomic: ``settle`` refuses all of it when a row was rejected, unless ``accept_valid_rows`` was asked for.
    The first 1,000 of each kind are listed, all are counted.
    """

    def __init__(self, *, accept_valid_rows: bool = False) -> None:
        self.accept_valid_rows = accept_valid_rows
        self.warnings: list[Finding] = []
        self.rejected: list[Finding] = []
        self.warning_count = 0
        self.rejected_count = 0

    def warn(self, place: Place, reason: str, message: str) -> None:
        """Note something a person should see although the file is usable."""
        self.warning_count += 1
        if len(self.warnings) < _LISTED:
            self.warnings.append(Finding(place, reason, message))

    def reject(self, error: RecordRejected) -> None:
        """Note a rejected row. A ``FileRefused`` is raised again: it is never one row's affair."""
        if isinstance(error, FileRefused):
            raise error
        place = error.place if isinstance(error.place, Place) else Place(str(error.place))
        self.rejected_count += 1
        if len(self.rejected) < _LISTED:
            self.rejected.append(Finding(place, error.reason, error.message))

    def parsed(self, rows: Iterable[R], parse: Callable[[R], T]) -> Iterator[T]:
        """``parse`` each row, note those it rejects, and ``settle`` after the last one.

        The caller must not commit before the iterator has ended: the refusal comes last.
        """
        for row in rows:
            try:
                item = parse(row)
            except RecordRejected as error:
                self.reject(error)
                continue
            yield item
        self.settle()

    def settle(self) -> None:
        """Raise ``FileRefused`` if the rejected rows make the whole file unusable; call once, before committing."""
        if self.rejected_count and not self.accept_valid_rows:
            first = self.rejected[0]
            raise FileRefused(
                first.reason,
                f"{self.rejected_count} row(s) rejected, the first: {first.message}; mend them or accept valid rows",
                first.place,
                self.rejected,
            )
