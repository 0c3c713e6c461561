"""One file of the agency, judged whole: the activities, entries and answers that its rows are."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import BinaryIO, TypeVar

from xinqiao.adapters.files import Column, Duplicates, FileRefused, Findings, Place, Row, read_table
from xinqiao.adapters.files.workbook import read_workbook
from xinqiao.api.adapter.v1.adapter_service_pb2 import Origin, ReadResponse, ReferralUpdate, Rejected
from xinqiao.api.casefile.v1.plan_service_pb2 import RecordEntryRequest
from xinqiao.api.casefile.v1.team_service_pb2 import ReportTaskRequest
from xinqiao.api.exchange.v1 import activity_service_pb2 as pb
from xinqiao.api.referral.v1 import referral_pb2
from xinqiao.contract.numbers import is_a_persons
from xinqiao_social_work import wire
from xinqiao_social_work.settings import SocialWorkSettings

T = TypeVar("T")

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")
_STUDENT = re.compile(r"students/[a-z2-7]{26}")
_ITEM = re.compile(r"(tasks|referrals)/[A-Za-z0-9_-]{1,64}")
_WORD = re.compile(r"[A-Za-z0-9_-]{0,64}")
_MOST = 10_000
_MOST_MINUTES = 600


@dataclass(frozen=True, slots=True)
class Record:
    """What one row is: a count of something done, and what else goes with it (an entry, or an answer alone)."""

    source: str
    place: Place
    activity: pb.Activity | None = None
    beside: ReadResponse | None = None

    @property
    def mark(self) -> str:
        """Changes when what is brought beside the activity does; empty where nothing is."""
        if self.beside is None:
            return ""
        return hashlib.sha256(self.beside.SerializeToString(deterministic=True)).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A file that was judged: its records, what a person should know, and the first day that is still to come."""

    records: list[Record]
    findings: Findings
    comes: date | None = None


def read_sheet(
    stream: BinaryIO, file_name: str, label: str, settings: SocialWorkSettings, today: date, expected: int | None = None
) -> Sheet:
    """Judge the file. Raises FileRefused when nothing of it may be taken.

    ``label`` stands for the file in every message; ``expected`` is the row count its manifest tells.
    """
    log = wire.log_of(file_name)
    if log is None and not wire.is_answers(file_name):
        message = f"is no log by its name; begin it with one of {wire.known_words()}"
        raise FileRefused("DATA/FILE_TYPE", message, Place(label))
    # Rows of a log stand for one another's completeness; an answer stands for itself and must not wait for its neighbour.
    findings = Findings(accept_valid_rows=settings.accept_valid_rows or log is None)
    parser = _Answers() if log is None else _Log(log, settings, today)
    rows = rows_of(stream, file_name, label, settings, parser.columns, findings, expected)
    records = list[Record]()
    seen = Duplicates()

    def parse(row: Row) -> Record | None:
        record = parser.parse(row)
        if record is not None and seen.is_repeat(row, record.source, _content(record)):
            return None
        return record

    records.extend(record for record in findings.parsed(rows, parse) if record is not None)
    return Sheet(records, findings, parser.comes)


def rows_of(
    stream: BinaryIO, file_name: str, label: str, settings: SocialWorkSettings, columns: tuple[Column, ...],
    findings: Findings, expected: int | None,
) -> Iterator[Row]:  # fmt: skip
    """The rows of a file by its ending. Raises FileRefused for one that is no table."""
    if file_name.lower().endswith(".xlsx"):
        return read_workbook(stream, columns=columns, name=label, extra="ignore", findings=findings)
    if file_name.lower().endswith(".csv"):
        return read_table(
            stream, encoding=settings.encoding_of(file_name), columns=columns, name=label, extra="ignore",
            findings=findings, expected_rows=expected,
        )  # fmt: skip
    raise FileRefused("DATA/FILE_TYPE", "is neither .csv nor .xlsx", Place(label))


class _Log:
    def __init__(self, log: wire.Log, settings: SocialWorkSettings, today: date) -> None:
        self._log = log
        self._settings = settings
        self._today = today
        self.comes: date | None = None
        note = (wire.NOTE,) if log.id == "session" and settings.bring_notes else ()
        school = (wire.SCHOOL,) if settings.schools else ()
        self.columns = (wire.ROW, wire.DAY, *school, *log.columns, *note)

    def parse(self, row: Row) -> Record | None:
        log = self._log
        source = f"{log.id}/{own_id(row, wire.ROW)}"
        day = row.date(wire.DAY.name)
        if day > self._today:
            if not log.may_be_planned:
                raise row.reject(wire.DAY.name, "DATA/DATE", "has not come yet; log what was done")
            self.comes = min(day, self.comes or day)
            return None
        activity = pb.Activity(
            source=source, kind=log.kind, day=day.isoformat(), school=self._school(row), audience=self._audience(row),
            times=self._count(row, wire.LETTERS, least=1), minutes=self._minutes(row), crisis=self._crisis(row),
            attendances=int(log.one_person) or self._count(row, wire.ATTENDANCES, wire.SOME_ATTENDANCES),
            persons=int(log.one_person) or self._count(row, wire.PERSONS, wire.SOME_PERSONS),
            series=self._series(row),
        )  # fmt: skip
        return Record(source, row.place(), activity, self._entry(row, day))

    def _has(self, column: Column) -> bool:
        return column in self.columns

    def _series(self, row: Row) -> str:
        column = self._log.series
        if column is None or not row.text(column.name, optional=not column.required):
            return ""
        return f"{self._log.id}/{own_id(row, column)}"

    def _school(self, row: Row) -> str:
        code = row.text(wire.SCHOOL.name, optional=True).strip() if self._has(wire.SCHOOL) else ""
        if code and code not in self._settings.schools:
            raise row.reject(wire.SCHOOL.name, "DATA/CODE", "is no school of `schools` in the settings")
        return code

    def _audience(self, row: Row) -> pb.Audience.ValueType:
        if not self._has(wire.AUDIENCE):
            return self._log.audience
        return code_of(row, wire.AUDIENCE, wire.AUDIENCES)

    def _count(self, row: Row, *columns: Column, least: int = 0) -> int:
        """The figure of the first of ``columns`` that this log has; 0 for none."""
        column = next((column for column in columns if self._has(column)), None)
        if column is None:
            return 0
        return row.integer(column.name, least, _MOST, optional=not column.required) or 0

    def _minutes(self, row: Row) -> int:
        if not self._has(wire.MINUTES):
            return 0
        return row.integer(wire.MINUTES.name, 0, _MOST_MINUTES, optional=True) or 0

    def _crisis(self, row: Row) -> bool:
        if not self._has(wire.CRISIS):
            return False
        text = row.text(wire.CRISIS.name, optional=True).strip()
        if text not in wire.YES | wire.NO:
            raise row.reject(wire.CRISIS.name, "DATA/CODE", "must be 是 or 否 (yes or no)")
        return text in wire.YES

    def _entry(self, row: Row, day: date) -> ReadResponse | None:
        """The entry in the plan of a student the gateway knows; None for a row without a pseudonym."""
        name = row.text(wire.STUDENT.name, optional=True).strip() if self._has(wire.STUDENT) else ""
        if not name:
            return None
        if _STUDENT.fullmatch(name) is None:
            message = "must be the students/… of a referral or task, as the gateway gave it; or leave it blank"
            raise row.reject(wire.STUDENT.name, "DATA/ID", message)
        request = RecordEntryRequest()
        request.student.name, request.entry.day = name, day.isoformat()
        request.entry.session.theme = _words(row, wire.THEME, 400, needed=True)
        request.entry.session.minutes = self._minutes(row)
        request.entry.session.number = row.integer(wire.NUMBER.name, 0, 1000, optional=True) or 0
        if self._has(wire.NOTE):
            request.entry.session.note = _words(row, wire.NOTE, 8000)
        return ReadResponse(entry=request)


class _Answers:
    columns = wire.ANSWER_COLUMNS
    comes: date | None = None

    def parse(self, row: Row) -> Record:
        source = f"answer/{own_id(row, wire.ROW)}"
        item = row.text(wire.ITEM.name).strip()
        if _ITEM.fullmatch(item) is None:
            message = "must be the tasks/… or referrals/… of what is answered, as the gateway gave it"
            raise row.reject(wire.ITEM.name, "DATA/ID", message)
        answer = self._task(row, item) if item.startswith("tasks/") else self._referral(row, item, source)
        return Record(source, row.place(), beside=answer)

    @staticmethod
    def _task(row: Row, item: str) -> ReadResponse:
        if code_of(row, wire.RESULT, wire.TASK_RESULTS) == wire.CANNOT:
            message = f"the agency cannot do {item}; hand the task to another holder"
            # A person's affair, whatever the agency sends next: the need is still there.
            said = Rejected(place=f"{row.place().within}, {item}", reason="TASK/CANNOT", message=message)
            return ReadResponse(rejected=said, origin=Origin(series=item))
        words = _words(row, wire.WORDS, 2000, needed=True)
        return ReadResponse(task_report=ReportTaskRequest(name=item, report=words))

    @staticmethod
    def _referral(row: Row, item: str, source: str) -> ReadResponse:
        event = code_of(row, wire.RESULT, wire.REFERRAL_RESULTS)
        code = row.text(wire.CODE.name, optional=True).strip()
        if _WORD.fullmatch(code) is None:
            raise row.reject(wire.CODE.name, "DATA/CODE", "must be a code of the district's list of reasons")
        update = ReferralUpdate(
            referral=item, event=event, reason=_words(row, wire.WORDS, 1000, needed=event in wire.NEED_WORDS),
            reason_code=code,
        )  # fmt: skip
        if event == referral_pb2.REFERRAL_EVENT_REPORT_OUTCOME:
            update.outcome.school_advice = _words(row, wire.ADVICE, 2000, needed=True)
            update.outcome.care_advice = _words(row, wire.CARE, 2000)
        digest = hashlib.sha256(update.SerializeToString(deterministic=True)).hexdigest()[:16]
        update.source = f"{source}@{digest}"
        return ReadResponse(referral=update)


def own_id(row: Row, column: Column) -> str:
    """The agency's own id of something: nothing that is, or could be, a person's name or number."""
    text = row.text(column.name).strip()
    if _ID.fullmatch(text) is None:
        message = "must be the agency's own id: up to 64 letters, digits and . _ : / -"
        raise row.reject(column.name, "DATA/ID", message)
    if is_a_persons(text):
        raise row.reject(column.name, "DATA/ID", "is an identity or telephone number; give it an id of its own")
    return text


def code_of(row: Row, column: Column, codes: Mapping[str, T]) -> T:
    """What a word of ``codes`` stands for. Raises RecordRejected."""
    found = codes.get(row.text(column.name, optional=not column.required).strip())
    if found is None:
        raise row.reject(column.name, "DATA/CODE", f"must be one of {', '.join(codes)}")
    return found


def _words(row: Row, column: Column, most: int, *, needed: bool = False) -> str:
    text = row.text(column.name, optional=not needed).strip()
    if len(text) > most:
        raise row.reject(column.name, "DATA/CELL_TOO_LONG", f"is longer than {most} characters")
    return text


def _content(record: Record) -> tuple[bytes, str]:
    activity = record.activity.SerializeToString(deterministic=True) if record.activity is not None else b""
    return activity, record.mark
