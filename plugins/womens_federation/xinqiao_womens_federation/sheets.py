"""Reads a workbook that a clerk has filled in: what each row says, and which rows cannot be taken and why."""

import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files.places import FileRefused, Findings, Place
from xinqiao.adapters.files.rows import FORBIDDEN, Duplicates, Row
from xinqiao.adapters.files.workbook import read_workbook
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse, ReferralUpdate
from xinqiao.api.casefile.v1.plan_pb2 import Entry, Support, Visit
from xinqiao.api.casefile.v1.plan_service_pb2 import RecordEntryRequest
from xinqiao.api.casefile.v1.team_service_pb2 import ReportTaskRequest
from xinqiao.api.common.v1.types_pb2 import StudentRef
from xinqiao.api.exchange.v1.activity_service_pb2 import Activity, RecordActivitiesRequest
from xinqiao.api.referral.v1.referral_pb2 import (
    REFERRAL_EVENT_ACCEPT,
    REFERRAL_EVENT_DECLINE,
    REFERRAL_EVENT_REPORT_OUTCOME,
    Outcome,
    ReferralEvent,
)
from xinqiao.api.screening.v1.screening_service_pb2 import SubmitReportRequest
from xinqiao_womens_federation import wire
from xinqiao_womens_federation.book import Mend
from xinqiao_womens_federation.wire import Sheet

_WORDS: Final = 1000
_MANY: Final = 1_000_000
_TYPED: Final = 2000


class Item(NamedTuple):
    """What one row says, where it stands, and what the clerk wrote there."""

    body: ReadResponse
    place: Place
    typed: str


@dataclass(slots=True)
class Found:
    """What a workbook holds: items in its order, and what was not taken."""

    items: list[Item] = field(default_factory=list[Item])
    refused: list[Mend] = field(default_factory=list[Mend])
    noted: list[Mend] = field(default_factory=list[Mend])


def read_book(
    data: bytes, label: str, reports: Mapping[str, str], round_of: Callable[[str], str] = lambda _: ""
) -> Found:
    """Judge the whole workbook. A bad row costs that row; a bad sheet refuses the file (FileRefused).

    ``reports`` names the cadence each part answers. ``round_of`` tells two deliveries of one referral apart.
    """
    reader = _Book(data, label, round_of)
    reader.rows(wire.REFERRALS, reader.referral)
    reader.rows(wire.TASKS, reader.task)
    activities = reader.rows(wire.ACTIVITIES, reader.activity)
    visits = reader.rows(wire.VISITS, reader.visit)
    filled = {"activities": activities, "visits": visits}
    reader.rows(wire.SUMMARY, lambda row: reader.summary(row, filled, reports))
    return reader.found


def refusal(error: RecordRejected) -> Mend:
    """Why the whole file was not taken."""
    place = error.place if isinstance(error.place, Place) else Place("")
    return _mend(place, error.reason, f"whole file refused: {error.message}")


class _Book:
    """One pass over the sheets; every method of a row yields its items or raises RecordRejected."""

    def __init__(self, data: bytes, label: str, round_of: Callable[[str], str]) -> None:
        self._data = data
        self._label = label
        self._round_of = round_of
        self._duplicates = Duplicates()
        self._students: set[str] = set()
        self.found = Found()

    def rows(self, sheet: Sheet, parse: Callable[[Row], Iterator[ReadResponse]]) -> int:
        """Parse each row of ``sheet``; returns how many rows the clerk has filled in. Raises FileRefused."""
        findings = Findings(accept_valid_rows=True)
        count = 0
        stream = io.BytesIO(self._data)
        rows = read_workbook(
            stream, columns=sheet.columns, name=self._label, sheet=sheet.name, extra="name", findings=findings
        )
        for row in rows:
            count += 1
            try:
                self.found.items.extend(Item(body, row.place(), _typed(row, sheet)) for body in list(parse(row)))
            except RecordRejected as error:
                if isinstance(error, FileRefused):
                    raise
                place = error.place if isinstance(error.place, Place) else row.place()
                self.found.refused.append(_mend(place, error.reason, error.message, _typed(row, sheet)))
        self.found.refused.extend(_mend(each.place, each.reason, each.message) for each in findings.rejected)
        told = [each for each in findings.warnings if each.reason not in ("DATA/EMPTY", "DATA/TRUNCATED")]
        self.found.noted.extend(_mend(each.place, each.reason, each.message) for each in told)
        return count + findings.rejected_count

    def referral(self, row: Row) -> Iterator[ReadResponse]:
        """Nothing for a row that is not answered yet."""
        answer = _choice(row, "办理", wire.REFERRALS, optional=True)
        reason = _choice(row, "婉拒原因", wire.REFERRALS, optional=True)
        outcome = _words(row, "办理情况", optional=True)
        if not answer:
            if reason or outcome:
                raise row.reject("办理", "DATA/MISSING", "is blank, but the row is answered; choose from the list")
            return
        name = _matching(row, "转介编号", wire.REFERRAL, "is no referral of the workbook; copy it from there")
        if answer == wire.DECLINE:
            if not reason:
                raise row.reject("婉拒原因", "DATA/MISSING", "must not be blank where a referral is declined")
            yield self._update(name, REFERRAL_EVENT_DECLINE, reason)
            return
        if answer == wire.DONE and not outcome:
            raise row.reject("办理情况", "DATA/MISSING", "must not be blank where a referral is done")
        yield self._update(name, REFERRAL_EVENT_ACCEPT, "")
        if answer == wire.DONE:
            yield self._update(name, REFERRAL_EVENT_REPORT_OUTCOME, outcome)

    def _update(self, name: str, event: ReferralEvent.ValueType, words: str) -> ReadResponse:
        # The source makes a repeat harmless in whatever file it comes: what is said, not where.
        word = ReferralEvent.Name(event).removeprefix("REFERRAL_EVENT_")
        update = ReferralUpdate(referral=name, event=event, source=f"{name}#{self._round_of(name)}#{word}")
        if event == REFERRAL_EVENT_REPORT_OUTCOME:
            update.outcome.CopyFrom(Outcome(care_advice=words))
            update.source += "#" + hashlib.sha256(words.encode()).hexdigest()[:8]  # a correction is another outcome
        else:
            update.reason = words
        return ReadResponse(referral=update)

    def task(self, row: Row) -> Iterator[ReadResponse]:
        """Nothing for a task that is still open."""
        state = _choice(row, "完成情况", wire.TASKS, optional=True)
        report = _words(row, "说明", optional=True)
        if not state:
            if report:
                raise row.reject("完成情况", "DATA/MISSING", "is blank, but the row is answered; choose from the list")
            return
        name = _matching(row, "任务编号", wire.TASK, "is no task of the workbook; copy it from there")
        if not report:
            raise row.reject("说明", "DATA/MISSING", "must say what was done, or why it is not needed")
        void = state == wire.TASK_VOID
        yield ReadResponse(task_report=ReportTaskRequest(name=name, report=report, cancelled=void))

    def activity(self, row: Row) -> Iterator[ReadResponse]:
        """One activity: the same number again replaces it."""
        made = Activity(
            source=_matching(row, "活动编号", wire.NUMBER, "is your own number of it: letters, digits and ._:/-"),
            day=row.date("日期").isoformat(),
            kind=wire.ACTIVITIES_BY_WORD[_choice(row, "类别", wire.ACTIVITIES)],
            audience=wire.AUDIENCES_BY_WORD[_choice(row, "对象", wire.ACTIVITIES)],
            times=row.integer("场次", 0, _MANY, optional=True) or 0,
            attendances=row.integer("人次", 0, 10 * _MANY, optional=True) or 0,
            persons=row.integer("人数", 0, 10 * _MANY, optional=True) or 0,
            minutes=row.integer("分钟", 0, 100_000, optional=True) or 0,
        )
        self._duplicates.is_repeat(row, made.source, made.SerializeToString(deterministic=True))
        yield ReadResponse(activities=RecordActivitiesRequest(activities=[made]))

    def visit(self, row: Row) -> Iterator[ReadResponse]:
        """A home visit, or support given."""
        student = _matching(row, "学生编号", wire.CODE, "is no code of the list of students; choose it there")
        entry = Entry(day=row.date("日期").isoformat())
        what = _words(row, "情况")
        if _choice(row, "类别", wire.VISITS) == wire.VISIT:
            later = row.date("下次走访", optional=True)
            entry.home_visit.CopyFrom(
                Visit(
                    observed=what,
                    care_situation=_words(row, "照料情况", optional=True),
                    need=_words(row, "家庭需求", optional=True),
                    told_school=_choice(row, "已告知学校", wire.VISITS, optional=True) == wire.YES,
                    next_visit=later.isoformat() if later is not None else "",
                )
            )
        else:
            entry.support.CopyFrom(Support(what=what))
        self._students.add(student)
        yield ReadResponse(entry=RecordEntryRequest(student=StudentRef(name=f"students/{student}"), entry=entry))

    def summary(self, row: Row, filled: Mapping[str, int], reports: Mapping[str, str]) -> Iterator[ReadResponse]:
        """Nil is said, never guessed; a blank says that the part is not reported yet."""
        said = _choice(row, "有无", wire.SUMMARY, optional=True)
        if not said:
            return
        period = _matching(row, "期间", wire.PERIOD, "is a month such as 2026-11")
        part = next((key for key, word in wire.PARTS.items() if word == row.text("部分")), None)
        if part is None:
            raise row.reject("部分", "DATA/CODE", "is no part of the workbook; take the sheet as it came")
        nil = said == wire.NIL
        if nil == bool(filled[part]):
            what = (
                f"says nil, but {filled[part]} row(s) are filled in"
                if nil
                else "says there were some, but no row is filled in"
            )
            raise row.reject("有无", "DATA/NIL", what)
        if part in reports:
            seen = len(self._students) if part == "visits" else 0
            yield ReadResponse(
                report=SubmitReportRequest(cadence=reports[part], period=period, nil_report=nil, students_seen=seen)
            )


def _choice(row: Row, name: str, sheet: Sheet, *, optional: bool = False) -> str:
    """A word of the drop-down; ``""`` for a blank optional one."""
    word = row.text(name, optional=optional).strip()
    choices = next(each.choices for each in sheet.fields if each.zh == name)
    if word and word not in choices:
        raise row.reject(name, "DATA/CODE", "is not a word of the drop-down; choose from the list")
    return word


def _words(row: Row, name: str, *, optional: bool = False) -> str:
    text = row.text(name, optional=optional).strip()
    if len(text) > _WORDS or FORBIDDEN.search(text):
        raise row.reject(name, "DATA/TEXT", f"is longer than {_WORDS} characters, or holds odd ones; shorten it")
    return text


def _matching(row: Row, name: str, pattern: re.Pattern[str], message: str) -> str:
    text = row.text(name).strip()
    if pattern.fullmatch(text) is None:
        raise row.reject(name, "DATA/ID", message)
    return text


def _typed(row: Row, sheet: Sheet) -> str:
    """What the clerk wrote in a row, for the clerk's own error sheet."""
    names = [each.zh for each in sheet.fields if each.fill]
    pairs = zip(names, row.raw(names), strict=True)
    return "；".join(f"{name}：{value}" for name, value in pairs if value is not None)[:_TYPED]


def _mend(place: Place, reason: str, message: str, typed: str = "") -> Mend:
    return Mend(place.sheet or "", place.row, place.column or "", reason, message, typed)
