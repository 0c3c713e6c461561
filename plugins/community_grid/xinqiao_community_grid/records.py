"""What a station sends, row by row, as what the gateway takes: visits, task reports, signs of concern, weekly reports."""

import hmac
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Protocol

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files import Column, FileRefused, Findings, Place, Row, read_table
from xinqiao.adapters.files.cells import coded, matching, mentioned, readable, short, yes_or_no
from xinqiao.adapters.files.jsonrows import as_rows, is_object, parse_object
from xinqiao.adapters.intray import Book, Judged, Letter, faults, rejected
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse, Rejected
from xinqiao.api.casefile.v1.plan_pb2 import Entry, Visit
from xinqiao.api.casefile.v1.plan_service_pb2 import RecordEntryRequest
from xinqiao.api.casefile.v1.team_service_pb2 import ReportTaskRequest
from xinqiao.api.common.v1.types_pb2 import StudentDescription, StudentRef
from xinqiao.api.screening.v1 import screening_pb2 as screening
from xinqiao.api.screening.v1.screening_service_pb2 import ReportSignalRequest
from xinqiao.contract.clock import BEIJING, to_us
from xinqiao_community_grid.books import Books
from xinqiao_community_grid.settings import CommunityGridSettings
from xinqiao_community_grid.weeks import Weeks
from xinqiao_community_grid.wire import (
    ALLOTMENTS,
    BOOKS,
    CONCERN_WORDS,
    CONCERNS,
    GRAVEST,
    RECORD,
    STUDENT,
    VISITS,
    WEEKS,
)

FORM = "xinqiao-grid-form/1"
_TASK = re.compile(r"tasks/[A-Za-z0-9_-]{1,64}", re.ASCII)
_WEEK = re.compile(r"(20[0-9]{2})-W([0-5][0-9])", re.ASCII)
_TEXT = 1000


class Desk(Protocol):
    """Says what the form of a grid and week must show as its ticket, and hears who does a task and that it is done."""

    def ticket(self, grid: str, week: str) -> str: ...
    def allot(self, task: str, grid: str) -> None: ...
    def done(self, task: str) -> None: ...


@dataclass(slots=True)
class _Found:
    """What a letter brings, the urgent first, and who does what; nothing counts before the whole letter is judged."""

    signals: list[ReadResponse]
    others: list[ReadResponse]
    allotted: list[tuple[str, str]]
    done: list[str]
    books: Books


class Visits:
    """Judges letters of one station. Its own memory is hashes of record ids and the counts of each grid and week."""

    def __init__(self, settings: CommunityGridSettings, folder: Path, desk: Desk) -> None:
        self._settings = settings
        self._desk = desk
        self._records = Book(folder / "records")
        self._brought: dict[tuple[str, str], str] = {}
        self._weeks = Weeks(folder / "weeks", settings)

    def judge(self, letter: Letter) -> Judged:
        """See ``intray.Judge``: a bad row refuses all of a file, unless ``accept_valid_rows``; of a page, itself only."""
        self._records.forget()
        self._weeks.forget()
        alone = self._settings.accept_valid_rows or letter.form == "page"
        findings = Findings(accept_valid_rows=alone)
        found = _Found([], [], [], [], Books(self._settings.exchange))
        # Where nothing else of a file is taken, danger does not wait until a clerk has mended it: the mended file brings
        # the same words, and the gateway knows them.
        try:
            for row, take in self._rows(letter, findings):
                try:
                    take(row, letter, found)
                except RecordRejected as error:
                    findings.reject(error)
        except FileRefused as error:
            whole = rejected(letter, error.place, error.reason, error.message)
            return Judged(False, [*found.signals, ReadResponse(rejected=whole)])
        told = faults(letter, findings)
        if letter.conflict or (findings.rejected_count and not alone):
            return Judged(False, [*found.signals, *told])
        for task, grid in found.allotted:
            self._desk.allot(task, grid)
        for task in found.done:
            self._desk.done(task)
        self._records.keep()
        self._weeks.keep()
        books = found.books.brought(letter, broken=bool(findings.rejected_count))
        return Judged(True, [*found.signals, *found.others, *self._weeks.complete(letter.number), *books, *told])

    def look(self) -> None:
        """A look begins: what was brought before it is settled."""
        self._brought.clear()

    def refused(self, rejected: Sequence[Rejected]) -> None:
        """What the gateway did not take of a letter may come again under the same record number."""
        for item in rejected:
            record = self._brought.pop((item.source, item.place), None)
            if record is not None:
                self._records.drop(record)

    def silent(self, week: str) -> list[str]:
        """The grids that owe a report of ``week`` and have not spoken."""
        return self._weeks.silent(week)

    def _rows(self, letter: Letter, findings: Findings) -> Iterator[tuple[Row, Any]]:
        if letter.form == "csv":
            columns, take = self._table(letter)
            rows = read_table(
                io.BytesIO(letter.data), encoding=self._settings.encoding, columns=columns, name=letter.name,
                findings=findings, expected_rows=letter.rows,
            )  # fmt: skip
            for row in rows:
                yield row, take
        elif letter.form == "page":
            page = parse_object(letter.data, letter.name)
            for row in as_rows(page.get("records"), VISITS, letter.name, "records", findings):
                yield row, self._visit
            for row in as_rows(page.get("reports", []), WEEKS, letter.name, "reports", findings):
                yield row, self._week
            for row in as_rows(page.get("books", []), BOOKS, letter.name, "books", findings):
                yield row, self._book
        elif letter.form == "json":
            yield from self._form(letter, findings)
        else:
            message = "is none of: .csv (visits, weekly reports, books, allotments), .json (a phone form)"
            raise FileRefused("DATA/FILE_TYPE", message, Place(letter.name))

    def _form(self, letter: Letter, findings: Findings) -> Iterator[tuple[Row, Any]]:
        """What a grid member's phone gave back; its ticket says that the form was ours, and for this grid and week."""
        form = parse_object(letter.data, letter.name)
        place = Place(letter.name)
        if form.get("form") != FORM:
            raise FileRefused("DATA/PROFILE", f"is not what a phone form ({FORM}) gives back", place)
        grid, week, ticket = (str(form.get(key, "")) for key in ("grid", "week", "ticket"))
        if not hmac.compare_digest(ticket.encode(), self._desk.ticket(grid, week).encode()):
            raise FileRefused(
                "DATA/TICKET", "was not filled in on a form of this gateway; take the form of the week", place
            )
        if set(form) - {"form", "ticket", "grid", "week", "records", "report", "loaded"}:
            raise FileRefused("DATA/UNKNOWN_FIELD", "holds fields that a phone form does not", place)
        for row in as_rows(form.get("records"), VISITS, letter.name, "records", findings):
            if row.text("grid", optional=True) != grid:
                raise FileRefused("DATA/TICKET", "a record is of another grid than the form", place)
            yield row, self._visit
        report = form.get("report")
        if is_object(report):
            for row in as_rows([{"grid": grid, "week": week, **report}], WEEKS, letter.name, "report", findings):
                yield row, self._week

    def _table(self, letter: Letter) -> tuple[Sequence[Column], Any]:
        """Which table it is, by its header; what fits none is judged as visits and told what is missing there."""
        head = letter.data.partition(b"\n")[0].decode(self._settings.encoding, "replace").lstrip("\ufeff")
        cells = {cell.strip().strip('"') for cell in head.split(",")}
        if cells & {"week", "周次"}:
            return WEEKS, self._week
        if cells & {"month", "月份"}:
            return BOOKS, self._book
        if cells & {"task", "任务编号"} and not cells & {"day", "走访日期"}:
            return [*ALLOTMENTS, *_ignored(cells)], self._allotment
        return VISITS, self._visit

    # -- rows -------------------------------------------------------------------------------------------------------

    def _visit(self, row: Row, letter: Letter, found: _Found) -> None:
        danger = self._danger(row)
        try:
            self._record(row, letter, found)
        except RecordRejected:
            if danger:  # a slip in the row itself holds it back as little as one in a row beside it
                found.signals.append(ReadResponse(signal=self._sign(row, danger), origin=row.origin()))
            raise

    def _danger(self, row: Row) -> int:
        """The gravest thing that the row can be read to say, in whatever words stand there; 0 for none."""
        found = mentioned(readable(row, "concern"), CONCERN_WORDS | self._settings.concerns)
        return next((CONCERNS[kind] for kind in GRAVEST if kind in found), 0)

    def _sign(self, row: Row, kind: int) -> ReportSignalRequest:
        """The signal of a row that is not taken: of whom, what and when, as far as it can be read."""
        code = readable(row, "student")
        if STUDENT.fullmatch(code):
            student = StudentRef(name=code)
        else:
            where = f"网格走访记录（{row.place().within}）的学生编号无法识别，请向网格员核实"
            student = StudentRef(described=StudentDescription(other=where))
        seen = readable(row, "observed")[:_TEXT] or "网格员填写了危险情况，未写明所见"
        try:
            occurred_us = to_us(datetime.combine(row.date("day"), time.min, BEIJING))
        except RecordRejected:
            occurred_us = 0
        return ReportSignalRequest(
            student=student, source=screening.SIGNAL_SOURCE_GRID_MEMBER, kind=screening.SignalKind.ValueType(kind),
            facts=seen, occurred_us=occurred_us,
        )  # fmt: skip

    def _record(self, row: Row, letter: Letter, found: _Found) -> None:
        grid = self._grid(row)
        record = matching(row, "record", RECORD, "letters, digits, . _ : - ; at most 64")
        student = StudentRef(
            name=matching(row, "student", STUDENT, "the student code of the task sheet (students/...)")
        )
        task = matching(row, "task", _TASK, "the task code of the task sheet (tasks/...)", optional=True)
        day, met = row.date("day"), yes_or_no(row, "met")
        visit = Visit(
            observed=short(row, "observed", _TEXT, optional=False), care_situation=short(row, "care_situation", _TEXT),
            need=short(row, "need", _TEXT), told_school=bool(yes_or_no(row, "told_school", optional=True)),
            next_visit=_next(row, day),
        )  # fmt: skip
        kind = self._concern(row)
        content = repr((grid, student.name, task, day, met, kind, visit.SerializeToString(deterministic=True)))
        verdict = self._records.judge(record, content, letter.number)
        if verdict == "new":
            self._brought[letter.source, row.place().within] = record
        if verdict == "other":
            raise row.reject(
                "record", "DATA/DUPLICATE", "other content came under this record number; give it a new one"
            )
        if verdict == "same":
            return
        if kind:
            signal = ReportSignalRequest(
                student=student, source=screening.SIGNAL_SOURCE_GRID_MEMBER, kind=screening.SignalKind.ValueType(kind),
                facts=visit.observed, occurred_us=to_us(datetime.combine(day, time.min, BEIJING)),
            )  # fmt: skip
            found.signals.append(ReadResponse(signal=signal, origin=row.origin()))
        entry = RecordEntryRequest(student=student, entry=Entry(day=day.isoformat(), grid_visit=visit))
        found.others.append(ReadResponse(entry=entry, origin=row.origin()))
        if task and met:
            report = ReportTaskRequest(name=task, report=visit.observed)
            found.others.append(ReadResponse(task_report=report, origin=row.origin()))
            found.done.append(task)

    def _week(self, row: Row, letter: Letter, found: _Found) -> None:
        grid = self._grid(row)
        week = row.text("week").strip()
        if not is_week(week):
            raise row.reject("week", "DATA/WEEK", "must be a week of the calendar written YYYY-Www, as in 2026-W42")
        nil, seen = yes_or_no(row, "nil"), row.integer("seen", 0, 100_000)
        concerns = row.integer("concerns", 0, 100_000, optional=True)
        if nil and concerns:
            raise row.reject("nil", "DATA/NIL", "says nil although concerns are counted; say no")
        if not nil and not concerns:
            raise row.reject("concerns", "DATA/NIL", "says that it is no nil report: give how many concerns there were")
        if not self._weeks.add(grid, week, seen, concerns or 0, letter.number):
            raise row.reject("week", "DATA/DUPLICATE", "this grid's report of the week came before with other figures")

    def _book(self, row: Row, letter: Letter, found: _Found) -> None:
        found.books.add(row)

    def _allotment(self, row: Row, letter: Letter, found: _Found) -> None:
        if not row.text("grid", optional=True).strip():
            return  # the clerk has not come to this one yet
        found.allotted.append((matching(row, "task", _TASK, "the task code of the task sheet"), self._grid(row)))

    def _grid(self, row: Row) -> str:
        code = row.text("grid").strip()
        if not self._settings.is_grid(code):
            raise row.reject("grid", "DATA/GRID", "is not a grid code of the pattern this district configured")
        return code

    def _concern(self, row: Row) -> int:
        return CONCERNS[coded(row, "concern", CONCERN_WORDS | self._settings.concerns, "none")]


def is_week(text: str) -> bool:
    """Whether ``text`` is an ISO 8601 week such as ``2026-W42``."""
    found = _WEEK.fullmatch(text)
    try:
        return found is not None and bool(date.fromisocalendar(int(found[1]), int(found[2]), 1))
    except ValueError:
        return False


def _ignored(cells: set[str]) -> list[Column]:
    known = {name for column in ALLOTMENTS for name in (column.name, *column.aliases)}
    return [Column(cell, required=False) for cell in sorted(cells - known) if cell]


def _next(row: Row, day: date) -> str:
    following = row.date("next_visit", optional=True)
    if following is not None and following < day:
        raise row.reject("next_visit", "DATA/DATE", "lies before the visit")
    return following.isoformat() if following is not None else ""
