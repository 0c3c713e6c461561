"""What a centre sends, call by call, as what the gateway takes: signs of concern by codes, closed call-backs, counts."""

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files import FileRefused, Findings, Place, Row, read_table
from xinqiao.adapters.files.cells import NO, YES, coded, matching, mentioned, moment, readable, short, yes_or_no
from xinqiao.adapters.files.jsonrows import as_rows, parse_object
from xinqiao.adapters.intray import Book, Judged, Letter, faults, fingerprint, rejected
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse, Rejected
from xinqiao.api.casefile.v1.team_service_pb2 import ReportTaskRequest
from xinqiao.api.common.v1.types_pb2 import StudentDescription, StudentRef
from xinqiao.api.exchange.v1.activity_service_pb2 import Activity, RecordActivitiesRequest
from xinqiao.api.screening.v1 import screening_pb2 as screening
from xinqiao.api.screening.v1.screening_service_pb2 import ReportSignalRequest
from xinqiao.contract.clock import BEIJING, Clock, from_us, to_us
from xinqiao_hotline.log import KEPT_DAYS, CallLog, Held
from xinqiao_hotline.settings import HotlineSettings
from xinqiao_hotline.wire import (
    BASES,
    BASIS_WORDS,
    CALLER_WORDS,
    CALLERS,
    CALLS,
    OUTCOME_WORDS,
    OUTCOMES,
    TOPIC_SAID,
    TOPIC_WORDS,
    TOPICS,
)

OVERDUE = "overdue"
_CALL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", re.ASCII)
_STUDENT = re.compile(r"students/[a-z2-7]{26}", re.ASCII)
_TASK = re.compile(r"tasks/[A-Za-z0-9_-]{1,64}", re.ASCII)
_PHONE = re.compile(r"\+?[0-9]{5,15}", re.ASCII)
_LONGEST = timedelta(hours=12)
_AHEAD = timedelta(minutes=10)
_ACTIVITIES = 1000


class Closing(Protocol):
    """Hears which call-back was closed."""

    def closed(self, task: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Call:
    """One record: what was said in it by codes. ``student`` is None where the caller told nothing about anybody."""

    number: str
    line: str
    start: datetime
    end: datetime
    topic: str
    caller: str
    outcome: str
    student: StudentRef | None
    location: str
    hand_off: screening.HandOff | None
    task: str
    closed: bool
    summary: str

    def facts(self) -> str:
        """The record in words that come from its codes; the summary only where the settings take it."""
        minutes = max(1, round((self.end - self.start).total_seconds() / 60))
        at = self.start.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M")
        said = (
            f"热线{self.line} 通话{self.number}：{at}接通，约{minutes}分钟；来电人：{CALLERS[self.caller]}；"
            f"事由：{TOPIC_SAID[self.topic]}；处置：{OUTCOMES[self.outcome]}。"
        )
        return f"{said}\n{self.summary}" if self.summary else said


@dataclass(slots=True)
class _Found:
    """What a letter brings, the urgent first; nothing counts before the whole letter is judged."""

    danger: list[ReadResponse] = field(default_factory=list[ReadResponse])
    signals: list[ReadResponse] = field(default_factory=list[ReadResponse])
    closed: list[ReadResponse] = field(default_factory=list[ReadResponse])
    calls: dict[str, tuple[Row, Call]] = field(default_factory=dict[str, tuple[Row, Call]])
    tasks: list[str] = field(default_factory=list[str])
    text_told: bool = False


class Calls:
    """Judges letters of one centre. Its own memory is hashes of call numbers and when calls were held."""

    def __init__(self, settings: HotlineSettings, folder: Path, closing: Closing, clock: Clock) -> None:
        self._settings = settings
        self._closing = closing
        self._clock = clock
        self._records = Book(folder / "calls")
        self._brought: dict[tuple[str, str], tuple[str, str]] = {}
        self._log = CallLog(folder / "held", from_us(clock.now_us()))

    def judge(self, letter: Letter) -> Judged:
        """See ``intray.Judge``: a bad row refuses all of a file but its danger, unless ``accept_valid_rows``."""
        if letter.form == OVERDUE:
            message = (
                f"was not closed within {self._settings.closure_days} days; call back, or say that it is not needed"
            )
            raise RecordRejected("CALLBACK_OPEN", message, letter.data.decode("ascii"))
        self._records.forget()
        self._log.forget()
        alone = self._settings.accept_valid_rows or letter.form == "page"
        findings, found = Findings(accept_valid_rows=alone), _Found()
        # Where nothing else of a file is taken, danger does not wait until a clerk has mended it: the mended file brings
        # the same words, and the gateway knows them.
        try:
            for row in self._rows(letter, findings):
                try:
                    self._record(row, letter, found, findings)
                except RecordRejected as error:
                    findings.reject(error)
        except FileRefused as error:
            whole = rejected(letter, error.place, error.reason, error.message)
            return Judged(False, [*found.danger, ReadResponse(rejected=whole)])
        if letter.conflict or (findings.rejected_count and not alone):
            return Judged(False, [*found.danger, *faults(letter, findings)])
        for task in found.tasks:
            self._closing.closed(task)
        self._records.keep()
        self._log.keep()
        self._look_at(found, findings)
        items = [*found.danger, *found.signals, *found.closed, *self._counts(found), *faults(letter, findings)]
        return Judged(True, items)

    def look(self) -> None:
        """A look begins: what was brought before it is settled."""
        self._brought.clear()

    def refused(self, items: Sequence[Rejected]) -> None:
        """What the gateway did not take of a letter may come again under the same number."""
        for item in items:
            for key in self._brought.pop((item.source, item.place), ()):
                self._records.drop(key)

    def _rows(self, letter: Letter, findings: Findings) -> Iterator[Row]:
        if letter.form == "csv":
            yield from read_table(
                io.BytesIO(letter.data), encoding=self._settings.encoding, columns=CALLS, name=letter.name,
                findings=findings, expected_rows=letter.rows,
            )  # fmt: skip
        elif letter.form == "page":
            page = parse_object(letter.data, letter.name)
            yield from as_rows(page.get("records"), CALLS, letter.name, "records", findings)
        else:
            raise FileRefused("DATA/FILE_TYPE", "is no .csv of call records", Place(letter.name))

    def _record(self, row: Row, letter: Letter, found: _Found, findings: Findings) -> None:
        try:
            call = self._call(row, found, findings)
        except RecordRejected:
            self._unread(row, found)
            raise
        record, sign = f"record {call.line} {call.number}", f"sign {call.number} {call.topic}"
        verdict = self._records.judge(record, repr(call), letter.number)
        if verdict == "same":
            return
        self._brought[letter.source, row.place().within] = record, sign
        found.calls.setdefault(fingerprint(call.number), (row, call))
        # By number and kind, whatever the line: put through from one to the other it is one sign, and a graver one is new.
        new = self._records.judge(sign, "", letter.number) == "new"
        if TOPICS[call.topic] and new:
            self._sign(row, call, found)
        held = Held(
            fingerprint(call.number), call.line, to_us(call.start), to_us(call.end),
            _is_crisis(call.topic), letter.number,
        )  # fmt: skip
        self._log.add(held)
        if verdict == "other":
            message = (
                "came before with other content; what is new and urgent in it was taken, ask the line about the rest"
            )
            raise row.reject("call", "DATA/DUPLICATE", message)
        if call.task and call.closed:
            report = ReportTaskRequest(
                name=call.task, report=f"回访：{OUTCOMES[call.outcome]}，{TOPIC_SAID[call.topic]}"
            )
            found.closed.append(ReadResponse(task_report=report, origin=row.origin()))
            found.tasks.append(call.task)

    def _sign(self, row: Row, call: Call, found: _Found) -> None:
        crisis = _is_crisis(call.topic)
        student = call.student
        if student is None:
            if not crisis:
                return  # a worry about nobody in particular is a count
            # Nobody was named: still somebody's to ask the line about.
            told = StudentDescription(other=f"热线{call.line} 通话{call.number}，来电人未说明是谁，请向热线核实")
            student = StudentRef(described=told)
        signal = ReportSignalRequest(
            student=student, source=screening.SIGNAL_SOURCE_HOTLINE, kind=screening.SignalKind.ValueType(TOPICS[call.topic]),
            facts=call.facts(), occurred_us=to_us(call.start), location=call.location if crisis else "",
            hand_off=call.hand_off if crisis else None,
        )  # fmt: skip
        (found.danger if crisis else found.signals).append(ReadResponse(signal=signal, origin=row.origin()))

    def _unread(self, row: Row, found: _Found) -> None:
        """The danger in a record that is not taken, of whom and when as far as it can be read: no slip holds it back."""
        topics = mentioned(readable(row, "topic"), TOPIC_WORDS | self._settings.topics)
        topic = next((topic for topic in TOPICS if topic in topics and _is_crisis(topic)), None)
        if topic is None:
            return
        call = f"热线{readable(row, 'line')[:20]} 通话{readable(row, 'call')[:64]}"
        told = StudentDescription(other=f"{call}，记录有误，未能读出是谁，请向热线核实")
        try:
            occurred_us = min(to_us(moment(row, "started")), self._clock.now_us())
        except RecordRejected:
            occurred_us = 0
        signal = ReportSignalRequest(
            student=_student(row, Findings()) or StudentRef(described=told), source=screening.SIGNAL_SOURCE_HOTLINE,
            kind=screening.SignalKind.ValueType(TOPICS[topic]), occurred_us=occurred_us,
            facts=f"{call}：事由：{TOPIC_SAID[topic]}；记录有误，其余内容请向热线核实。",
        )  # fmt: skip
        found.danger.append(ReadResponse(signal=signal, origin=row.origin()))

    def _look_at(self, found: _Found, findings: Findings) -> None:
        """Name what is odd about a call that was taken: held while the line is closed, or by more than it has seats."""
        for row, call in found.calls.values():
            line = self._settings.lines[call.line]
            if not line.is_open(call.start):
                findings.warn(
                    row.place("started"), "HOTLINE/CLOSED", "the line is closed then; correct the time or its hours"
                )
            if self._log.at_one_time(call.line, to_us(call.start)) > line.seats:
                message = (
                    f"more calls at one time than the line has seats ({line.seats}); correct the times or its seats"
                )
                findings.warn(row.place("started"), "HOTLINE/SEATS", message)

    def _counts(self, found: _Found) -> Iterator[ReadResponse]:
        counts: list[Activity] = []
        for line, day in self._log.days(found.calls):
            counts += self._log.counts(line, day)
        for start in range(0, len(counts), _ACTIVITIES):
            yield ReadResponse(activities=RecordActivitiesRequest(activities=counts[start : start + _ACTIVITIES]))

    # -- cells ------------------------------------------------------------------------------------------------------

    def _call(self, row: Row, found: _Found, findings: Findings) -> Call:
        chosen = self._settings
        line = row.text("line").strip()
        if line not in chosen.lines:
            raise row.reject("line", "DATA/LINE", "is no line of the settings; add it there with its seats and hours")
        start, end = self._span(row)
        summary = short(row, "summary", 2000)
        if summary and not chosen.free_text:
            summary = ""
            if not found.text_told:  # once a letter: it is about a column, not about a call
                message = "was not read, here and below: only codes are taken; leave the column out"
                findings.warn(row.place("summary"), "HOTLINE/FREE_TEXT", message)
            found.text_told = True
        task = matching(row, "task", _TASK, "the task code of the call-back sheet (tasks/...)", optional=True)
        row.text("topic")  # a call without a topic is a fault: it must be said that there was none
        topic = coded(row, "topic", TOPIC_WORDS | chosen.topics, "none")
        return Call(
            number=matching(row, "call", _CALL, "letters, digits, . _ : - ; at most 64"), line=line, start=start, end=end,
            topic=topic,
            caller=coded(row, "caller", CALLER_WORDS | chosen.callers, "unknown"),
            outcome=coded(row, "outcome", OUTCOME_WORDS | chosen.outcomes, "none"),
            student=_student(row, findings if _is_crisis(topic) else None),
            location=short(row, "location", 400), hand_off=_hand_off(row, line), task=task,
            closed=bool(yes_or_no(row, "closed", optional=True)),
            summary=summary,
        )  # fmt: skip

    def _span(self, row: Row) -> tuple[datetime, datetime]:
        start, end, now = moment(row, "started"), moment(row, "ended"), from_us(self._clock.now_us())
        if not start <= end <= start + _LONGEST:
            raise row.reject("ended", "DATA/DATE_RANGE", "must be after the beginning, by at most 12 hours")
        if end > now + _AHEAD:
            raise row.reject("ended", "DATA/DATE_RANGE", "has not come yet; check the clock of the line")
        if start < now - timedelta(days=KEPT_DAYS):
            raise row.reject("started", "DATA/DATE_RANGE", f"is more than {KEPT_DAYS} days ago")
        return start, end


def _is_crisis(topic: str) -> bool:
    return TOPICS[topic] not in (screening.SIGNAL_KIND_UNSPECIFIED, screening.SIGNAL_KIND_CONCERN)


def _student(row: Row, leaving_out: Findings | None) -> StudentRef | None:
    """The code of a student the gateway gave this centre, or what the caller told; None for neither.

    With ``leaving_out`` a bad cell is listed there and left out: danger does not wait for a digit of a phone number.
    """
    told = StudentDescription()
    for fill in (_name, _born, _phone, _class):
        try:
            found = fill(row, told)
        except RecordRejected as error:
            if leaving_out is None:
                raise
            leaving_out.warn(row.place(_column(error)), error.reason, f"{error.message}; the call was taken without it")
            continue
        if found is not None:
            return found
    return StudentRef(described=told) if told.ByteSize() else None


def _name(row: Row, told: StudentDescription) -> StudentRef | None:
    name = matching(row, "student", _STUDENT, "the student code of the call-back sheet (students/...)", optional=True)
    if name:
        return StudentRef(name=name)
    told.school, told.full_name = short(row, "school", 64), short(row, "name", 120)
    return None


def _born(row: Row, told: StudentDescription) -> None:
    birth = row.date("birth_date", optional=True)
    if birth is not None and not 1990 <= birth.year <= 2099:
        raise row.reject("birth_date", "DATA/DATE_RANGE", "must be a year from 1990 on")
    told.birth_date = birth.isoformat() if birth is not None else ""


def _phone(row: Row, told: StudentDescription) -> None:
    phone = re.sub(r"[ -]", "", row.text("phone", optional=True))
    if phone and _PHONE.fullmatch(phone) is None:
        raise row.reject("phone", "DATA/PHONE", "must be 5 to 15 digits")
    told.phone = phone


def _class(row: Row, told: StudentDescription) -> None:
    told.class_title = short(row, "class_title", 120)


def _column(error: RecordRejected) -> str | None:
    return error.place.column if isinstance(error.place, Place) else None


def _hand_off(row: Row, line: str) -> screening.HandOff | None:
    """What 110 needs to join the call, or to find the caller; a number that is none must not hold up the rest."""
    if not yes_or_no(row, "hand_off", optional=True):
        return None
    number = row.text("origin_number", optional=True).replace("-", "").replace(" ", "")
    agreed = row.text("agreed", optional=True).strip().casefold()
    basis = BASIS_WORDS.get(row.text("location_basis", optional=True).strip(), "unknown")
    return screening.HandOff(
        call=row.text("call").strip(), line=line, origin_number=number if _PHONE.fullmatch(number) else "",
        location_basis=screening.LocationBasis.ValueType(BASES[basis]),
        consent=(
            screening.CALLER_CONSENT_GIVEN if agreed in YES
            else screening.CALLER_CONSENT_REFUSED if agreed in NO
            else screening.CALLER_CONSENT_UNSPECIFIED
        ),
    )  # fmt: skip
