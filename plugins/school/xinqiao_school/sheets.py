"""Score sheets, CSV and XLSX: rows into forms by instrument and day, with every bad cell named."""

import heapq
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import repeat
from typing import BinaryIO

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files.delimited import read_table
from xinqiao.adapters.files.places import FileRefused, Findings, Place
from xinqiao.adapters.files.rows import Cell, Column, Duplicates, Row
from xinqiao.adapters.files.workbook import read_workbook
from xinqiao.api.adapter.v1.adapter_service_pb2 import FormSheet
from xinqiao_school.columns import NOT_ANSWERED, Items, Plan, plan_sheet
from xinqiao_school.notes import Notes, header_cells
from xinqiao_school.settings import Encoding, SchoolSettings, SheetSettings

MAX_ROWS = 2000

_NO_FORM = bytes((NOT_ANSWERED,))


@dataclass(slots=True)
class _Batch:
    rows: "array[int]" = field(default_factory=lambda: array("I"))
    local_ids: list[str] = field(default_factory=list[str])
    answers: bytearray = field(default_factory=bytearray)
    coding: str = ""


@dataclass(slots=True)
class Scores:
    """The forms of one sheet, by day and instrument in the order of the file."""

    batches: dict[tuple[str, str], _Batch] = field(default_factory=dict[tuple[str, str], _Batch])
    students: dict[str, None] = field(default_factory=dict[str, None])

    def forms(self, source: str) -> Iterator[FormSheet]:
        """Batches of at most 2,000 rows; each has its own number in its source, so none is taken for a repeat."""
        number = 0
        for (taken_on, instrument), batch in self.batches.items():
            width = len(batch.answers) // len(batch.local_ids)
            for start in range(0, len(batch.local_ids), MAX_ROWS):
                number += 1
                yield FormSheet(
                    instrument=instrument,
                    taken_on=taken_on,
                    local_ids=batch.local_ids[start : start + MAX_ROWS],
                    answers=bytes(batch.answers[start * width : (start + MAX_ROWS) * width]),
                    source=f"{source}#{number}",
                    rows=batch.rows[start : start + MAX_ROWS],
                    coding=batch.coding,
                )

    def in_order(self) -> Iterator[tuple[int, str]]:
        """Row and instrument of each form, by rows."""
        yield from heapq.merge(
            *(zip(batch.rows, repeat(instrument)) for (_, instrument), batch in self.batches.items())
        )

    def add(self, row: int, student: str, taken_on: str, items: Items, answers: bytes) -> None:
        key = (taken_on, items.instrument)
        batch = self.batches.get(key)
        if batch is None:
            batch = self.batches[key] = _Batch(coding=items.coding)
        batch.rows.append(row)
        batch.local_ids.append(student)
        batch.answers += answers


def read_scores(
    stream: BinaryIO, file_name: str, label: str, settings: SchoolSettings, notes: Notes, expected_rows: int | None
) -> Scores:
    """Read a whole sheet; its defects go to ``notes``.

    Raises FileRefused when nothing of it may be taken: for a fault of the file, for more or fewer rows than
    ``expected_rows``, and for any bad row unless ``accept_valid_rows`` is set.
    """
    sheet = settings.sheet_for(file_name)
    findings = Findings(accept_valid_rows=settings.accept_valid_rows)
    reader = _Reader(settings, sheet, label, findings)
    rows = reader.workbook(stream) if file_name.lower().endswith(".xlsx") else reader.delimited(stream)
    scores = Scores()
    total = 0
    try:
        for row in rows:
            try:
                reader.take(row, scores)
                total += 1
            except RecordRejected as error:
                findings.reject(error)
        total += findings.rejected_count
        if expected_rows is not None and total != expected_rows:
            message = f"{total} rows, the manifest says {expected_rows}; send it again"
            raise FileRefused("DATA/TRUNCATED", message, Place(label))
        findings.settle()
    finally:
        notes.add_findings(findings)
    return scores


class _Reader:
    def __init__(self, settings: SchoolSettings, sheet: SheetSettings, label: str, findings: Findings) -> None:
        self._settings = settings
        self._sheet = sheet
        self._label = label
        self._findings = findings
        self._repeats = Duplicates()
        self._days: dict[Cell, str] = {}
        self._plan = Plan(None, "", None, None, ())

    def delimited(self, stream: BinaryIO) -> Iterator[Row]:
        encoding = self._sheet.encoding or self._settings.encoding
        columns = self._delimited_columns(stream, encoding)
        stream.seek(0)
        yield from read_table(
            stream,
            encoding=encoding,
            columns=columns,
            name=self._label,
            extra="ignore",
            findings=self._findings,
        )

    def workbook(self, stream: BinaryIO) -> Iterator[Row]:
        # The header of the sheet that was judged and chosen says which columns to read of it.
        yield from read_workbook(
            stream, columns=lambda cells: self._columns(cells, None), name=self._label, extra="ignore",
            findings=self._findings,
        )  # fmt: skip

    def take(self, row: Row, scores: Scores) -> None:
        """Add the row's forms. Raises RecordRejected for the first bad cell."""
        plan = self._plan
        student = f"{plan.prefix}{row.number}" if plan.student is None else _student(row, plan.student)
        if len(student) > 128:
            raise row.reject(plan.student, "DATA/CELL_TOO_LONG", "is longer than 128 characters")
        taken_on = str(plan.day) if plan.date is None else self._date(row, plan.date)
        answers = [_answers(row, items) for items in plan.instruments]
        if self._repeats.is_repeat(row, (student, taken_on), tuple(answers)):
            return
        empty = True
        for items, given in zip(plan.instruments, answers, strict=True):
            if given.strip(_NO_FORM):
                empty = False
                scores.students[student] = None
                scores.add(row.number, student, taken_on, items, given)
        if empty:
            self._findings.warn(row.place(), "DATA/EMPTY", "no answer in the whole row; not taken as a form")

    def _date(self, row: Row, column: str) -> str:
        """The day; a sheet has few, and thousands of rows of each."""
        cell = row.key(column)
        known = self._days.get(cell)
        if known is None:
            known = self._days[cell] = row.date(column).isoformat()
        return known

    def _delimited_columns(self, stream: BinaryIO, encoding: Encoding) -> list[Column]:
        """The columns; a header that only makes sense in the other encoding says that the declaration is wrong."""
        stream.seek(0)
        cells = header_cells(stream, encoding)
        try:
            return self._columns(cells, 1)
        except FileRefused:
            other: Encoding = "gb18030" if encoding == "utf-8" else "utf-8"
            stream.seek(0)
            try:
                otherwise = self._columns(header_cells(stream, other), 1)
            except FileRefused:
                otherwise = []
            # Plain ASCII columns read the same in both and so prove nothing.
            if any(not column.name.isascii() for column in otherwise) or any("\ufffd" in cell for cell in cells):
                message = f"declared {encoding}, but reads as {other}; set sheets.encoding or save the file anew"
                raise FileRefused("DATA/ENCODING", message, Place(self._label, None, 1)) from None
            raise

    def _columns(self, cells: list[str], row: int | None) -> list[Column]:
        if not any(cell.strip() for cell in cells):
            raise FileRefused("DATA/EMPTY", "the file holds no header and no rows", Place(self._label))
        self._plan = plan_sheet(cells, self._sheet, self._settings, Place(self._label, None, row))
        return [Column(name) for name in self._plan.names()]


def _student(row: Row, column: str) -> str:
    cell = row.key(column)
    found = cell.strip() if type(cell) is str else ""
    return found or row.text(column).strip()  # a number, or what is wrong with the cell


def _answers(row: Row, items: Items) -> bytes:
    try:
        return bytes(map(items.codes.__getitem__, row.raw(items.columns)))
    except KeyError:  # blanks around an answer, or no answer at all
        return bytes(_answer(row, column, items) for column in items.columns)


def _answer(row: Row, column: str, items: Items) -> int:
    code = items.codes.get(row.text(column, optional=True).strip())
    return _checked(row, column, items) if code is None else code


def _checked(row: Row, column: str, items: Items) -> int:
    """The answer, or the error that names what is wrong with it. ``-0``, ``1.0`` and the like are no answers."""
    try:
        return row.integer(column, items.low, items.high)
    except RecordRejected as error:
        if error.reason == "DATA/NUMBER_RANGE":
            message = f"an answer of {items.instrument} is from {items.low} to {items.high}"
            raise row.reject(column, "DATA/ANSWER_RANGE", message) from None
        raise
