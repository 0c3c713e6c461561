"""What adapters bring takes the road partners take: each item becomes a call through the pipeline, as that partner."""

import hashlib
import logging
from collections.abc import Callable, Iterator, MutableSequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from xinqiao.adapters.agency import AgencyHandle
from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable
from xinqiao.api.adapter.v1.adapter_service_pb2 import (
    FormSheet,
    Origin,
    ReadResponse,
    RecallAnswer,
    ReferralUpdate,
    Rejected,
)
from xinqiao.api.casefile.v1 import casefile_service_pb2 as casefile
from xinqiao.api.casefile.v1 import consent_service_pb2 as consent
from xinqiao.api.common.v1.types_pb2 import Student
from xinqiao.api.exchange.v1.activity_service_pb2 import RecordActivitiesRequest
from xinqiao.api.exchange.v1.exchange_service_pb2 import SubmitPackageResponse
from xinqiao.api.referral.v1 import referral_pb2, referral_service_pb2
from xinqiao.api.screening.v1 import screening_service_pb2 as screening
from xinqiao.config.clocks import Deadline
from xinqiao.contract.errors import Refusal
from xinqiao.contract.methods import Method
from xinqiao.disclosure.registry import Partner
from xinqiao.exchange.comparing import MENDS
from xinqiao.server.not_taken import Tally, close_if_clean, keep_refused, origin_of
from xinqiao.server.pipeline import Pipeline, Waiting
from xinqiao.server.uploads import Upload
from xinqiao.store import tables
from xinqiao.store.errors import SealBroken
from xinqiao.store.tx import Tx

_log = logging.getLogger("xinqiao.intake")
_STUDENTS = 1000
_PASSING = frozenset({"UNAVAILABLE", "ABORTED", "INTERNAL", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"})
_SCREENING = "/xinqiao.api.screening.v1.ScreeningService"
_CASEFILE = "/xinqiao.api.casefile.v1.CaseFileService"
_CONSENT = "/xinqiao.api.casefile.v1.ConsentService"
_REFERRAL = "/xinqiao.api.referral.v1.ReferralService"
_AS_SENT = {
    "signal": f"{_SCREENING}/ReportSignal",
    "report": f"{_SCREENING}/SubmitReport",
    "entry": "/xinqiao.api.casefile.v1.CasePlanService/RecordEntry",
    "task_report": "/xinqiao.api.casefile.v1.CareTeamService/ReportTask",
    "activities": "/xinqiao.api.exchange.v1.ActivityService/RecordActivities",
    "partner_package": "/xinqiao.api.exchange.v1.ExchangeService/SubmitPackage",
}
"""Bodies that are the very request the partner would send itself."""


class _TryAgain(Exception):
    """What was read could not be stored for a reason that passes: the cursor must not move."""


@dataclass(slots=True)
class _Students:
    """Students under way with the cursor behind the last one: prepared, or refused already."""

    students: MutableSequence[Student]
    cursor: str
    origins: list[tuple[int, Origin]] = field(default_factory=list[tuple[int, Origin]])
    call: Waiting | None = None
    refusal: Refusal | None = None

    def add(self, item: ReadResponse) -> None:
        """One more item, of one student or many."""
        self.origins.append((len(self.students), origin_of(item)))
        if item.HasField("student"):
            self.students.append(item.student)
        elif self.students:
            self.students.extend(item.students.students)
        else:  # a whole batch is not copied
            self.students = item.students.students
        self.cursor = item.cursor

    def origin(self, index: int) -> tuple[Origin, int]:
        """Of the student number ``index``: the origin of its item, and the student's number in that."""
        start, origin = next(each for each in reversed(self.origins) if each[0] <= index)
        return origin, index - start


class Intake:
    """Reads one agency from its stored cursor on, item by item; an item is durable before its cursor moves."""

    def __init__(self, pipeline: Pipeline, handle: AgencyHandle, partner: Partner, deadline: Deadline) -> None:
        self._pipeline = pipeline
        self._handle = handle
        self._partner = partner
        self._deadline = deadline
        self._ahead: _Students | None = None
        self._moving: Future[None] | None = None

    def run_once(self, progress: Callable[[Tally], None] = lambda tally: None) -> Tally:
        """Take everything the partner has now. A partner that is down is tried at the next tick."""
        tally, self._ahead, self._moving = Tally(), None, None
        try:
            self._take(self._handle.read(self._cursor()), tally, progress)
        except (PartnerUnavailable, PartnerRefused, _TryAgain) as error:
            _log.info("agency %s: %s", self._handle.agency, type(error).__name__)
        if tally.recorded or tally.told:
            self._tell([*tally.rejected[: tally.recorded], *tally.told])
        return tally

    def _take(self, items: Iterator[ReadResponse], tally: Tally, progress: Callable[[Tally], None]) -> None:
        students = _Students([], "")
        try:
            for item in items:
                kind = item.WhichOneof("body")
                if kind == "student":
                    students.add(item)
                    if len(students.students) >= _STUDENTS or item.origin.last:
                        self._register(students, tally)
                        students = _Students([], "")
                elif kind == "students":
                    self._register(students, tally)
                    students = _Students([], "")
                    batch = _Students([], "")
                    batch.add(item)
                    self._register(batch, tally)
                elif kind is not None or item.origin.last:  # else a sign of life
                    self._register(students, tally)
                    students = _Students([], "")
                    self._settle(tally)
                    self._one(item, kind or "", tally)
                    progress(tally)
        except (PartnerUnavailable, PartnerRefused):
            self._register(students, tally)  # what came before the failure is whole
            self._settle(tally)
            raise
        self._register(students, tally)
        self._settle(tally)
        progress(tally)

    def _one(self, item: ReadResponse, kind: str, tally: Tally) -> None:
        origin = origin_of(item)
        if kind == "forms":
            self._upload(item.forms, origin, tally)
        elif kind == "referral":
            self._update(item.referral, origin, tally)
        elif kind == "recall_receipt":
            self._recalled(item.recall_receipt, origin, tally)
        elif kind == "rejected":
            tally.reject(item.rejected, origin)
        elif kind == "activities":
            self._activities(item.activities, origin, tally, item.cursor)
        elif kind:
            self._as_sent(kind, getattr(item, kind), origin, tally)
        self._move(item.cursor, tally, origin)

    def _register(self, batch: "_Students", tally: Tally) -> None:
        """Prepare a batch while the writer stores the one before, and only then put it in line behind that.

        Not at once: a student of both must end as the later one says, also when the earlier batch must be tried again.
        """
        if not batch.students:
            return
        request = self._request(batch)
        try:
            batch.call = self._pipeline.prepare(f"{_CASEFILE}/RegisterStudents", request, self._partner)
        except Refusal as refusal:
            batch.refusal = refusal
        self._settle(tally, wait=False)
        if batch.call is not None:
            batch.call.submit()
        self._ahead = batch

    def _settle(self, tally: Tally, *, wait: bool = True) -> None:
        """See that the batch under way is durable, and only then move the cursor: a crash must skip nobody."""
        batch, self._ahead = self._ahead, None
        if batch is None:
            return
        try:
            if batch.refusal is not None:
                raise batch.refusal
            if batch.call is not None:
                batch.call.result()
            tally.students += len(batch.students)
        except Refusal as refusal:
            _pass_on(refusal)
            self._register_each(batch, refusal, tally)
        self._move(batch.cursor, tally, batch.origins[-1][1], wait=wait)

    def _register_each(self, batch: "_Students", refusal: Refusal, tally: Tally) -> None:
        """One bad student must not keep out the others."""
        if len(batch.students) == 1:
            tally.refuse(refusal, *batch.origin(0))
            return
        for index, student in enumerate(batch.students):
            try:
                request = self._request(_Students([student], batch.cursor))
                self._pipeline.call(f"{_CASEFILE}/RegisterStudents", request, self._partner)
                tally.students += 1
            except Refusal as own:
                _pass_on(own)
                tally.refuse(own, *batch.origin(index))

    @staticmethod
    def _request(batch: "_Students") -> casefile.RegisterStudentsRequest:
        request = casefile.RegisterStudentsRequest(students=batch.students, without_names=True)
        # The cursor is part of the key: a correction that goes back to an earlier spelling is a new event, not a repeat.
        request.request_id = _key("roster", batch.cursor.encode() + request.SerializeToString(deterministic=True))
        return request

    def _upload(self, sheet: FormSheet, origin: Origin, tally: Tally) -> None:
        method: Method = self._pipeline.methods[f"{_SCREENING}/UploadAssessments"]
        upload = Upload(self._pipeline, method, self._partner)
        name = _key("sheet", sheet.SerializeToString(deterministic=True))
        header = screening.UploadHeader(
            upload_id=name, instrument=sheet.instrument, taken_on=sheet.taken_on, coding=sheet.coding
        )
        batch = screening.AssessmentBatch(number=1, local_ids=sheet.local_ids, answers=sheet.answers)
        response = screening.UploadAssessmentsResponse()
        try:
            self._pipeline.admit(method, self._partner)
            for part in (
                screening.UploadAssessmentsRequest(header=header),
                screening.UploadAssessmentsRequest(batch=batch),
            ):
                for command in upload.prepare(_bytes(part)):
                    answer = self._pipeline.store.run(command)
                    response = answer if answer is not None else response
        except Refusal as refusal:
            _pass_on(refusal)
            tally.refuse(refusal, origin)
            return
        for row, verdict in enumerate(response.verdicts):
            if verdict in (screening.ROW_VERDICT_ACCEPTED, screening.ROW_VERDICT_ACCEPTED_CRITICAL):
                tally.forms += 1
                tally.critical += verdict == screening.ROW_VERDICT_ACCEPTED_CRITICAL
            else:
                tally.unknown += verdict == screening.ROW_VERDICT_UNKNOWN_STUDENT
                word = screening.RowVerdict.Name(screening.RowVerdict.ValueType(verdict))
                item = Rejected(
                    source=sheet.source, place=_form(sheet, row), reason=word.removeprefix("ROW_VERDICT_"),
                    message="bring the roster first, or mend the row",
                )  # fmt: skip
                tally.reject(item, origin)

    def _update(self, update: ReferralUpdate, origin: Origin, tally: Tally) -> None:
        key = _key("update", update.source.encode())
        try:
            if update.event == referral_pb2.REFERRAL_EVENT_REPORT_OUTCOME:
                self._pipeline.call(
                    f"{_REFERRAL}/ReportOutcome",
                    referral_service_pb2.ReportOutcomeRequest(
                        request_id=key, name=update.referral, outcome=update.outcome
                    ),
                    self._partner,
                )
            else:
                self._pipeline.call(
                    f"{_REFERRAL}/AdvanceReferral",
                    referral_service_pb2.AdvanceReferralRequest(
                        request_id=key, name=update.referral, event=update.event, reason=update.reason,
                        appointment_us=update.appointment_us, reason_code=update.reason_code,
                    ),
                    self._partner,
                )  # fmt: skip
            tally.updates += 1
        except Refusal as refusal:
            _pass_on(refusal)
            tally.refuse(refusal, origin)

    def _activities(self, request: RecordActivitiesRequest, origin: Origin, tally: Tally, cursor: str) -> None:
        """One bad activity must not keep out the others.

        Counts replace one another: a correction that goes back to earlier figures is a new event, not a repeat.
        """
        try:
            self._call("activities", request, cursor)
            tally.updates += 1
        except Refusal as refusal:
            _pass_on(refusal)
            if len(request.activities) == 1:
                tally.refuse(refusal, origin)
                return
            for index, activity in enumerate(request.activities):
                try:
                    self._call("activities", RecordActivitiesRequest(activities=[activity]), cursor)
                    tally.updates += 1
                except Refusal as own:
                    _pass_on(own)
                    tally.refuse(own, origin, index)

    def _as_sent(self, kind: str, request: Any, origin: Origin, tally: Tally) -> None:
        try:
            answer = self._call(kind, request)
            tally.updates += 1
        except Refusal as refusal:
            _pass_on(refusal)
            # A refused signal is somebody's word that it is red: it waits no longer than one that was taken.
            tally.refuse(refusal, origin, red=kind == "signal")
            return
        if isinstance(answer, SubmitPackageResponse):
            tally.told += [
                Rejected(source=kind, place=each.source or each.item, reason=each.reason, message=MENDS[each.reason])
                for each in answer.findings
            ]

    def _call(self, kind: str, request: Any, place: str = "") -> Any:
        """What the partner would send itself, under an id that the same content always gets."""
        request.request_id = ""
        request.request_id = _key(kind, place.encode() + request.SerializeToString(deterministic=True))
        return self._pipeline.call(_AS_SENT[kind], request, self._partner)

    def _recalled(self, answer: RecallAnswer, origin: Origin, tally: Tally) -> None:
        request = consent.ConfirmRecallRequest(
            request_id=_key("recall", answer.SerializeToString(deterministic=True)), name=answer.recall,
            receipt=answer.receipt,
        )  # fmt: skip
        try:
            self._pipeline.call(f"{_CONSENT}/ConfirmRecall", request, self._partner)
            tally.updates += 1
        except Refusal as refusal:
            _pass_on(refusal)
            tally.refuse(refusal, origin)

    def _cursor(self) -> str:
        with self._pipeline.store.read() as reading:
            row = reading.get(tables.cursors, self._handle.agency, "read")
        return str(row["value"]) if row is not None else ""

    def _move(self, cursor: str, tally: Tally, origin: Origin, *, wait: bool = True) -> None:
        """Keep the cursor, and in the same transaction what was not taken: on record, and in somebody's hands.

        Without ``wait`` a bare cursor shares the commit of what comes next, and its failure shows at the next move.
        """
        agency, fresh = self._handle.agency, tally.refused[tally.recorded :]
        if not (cursor or fresh or origin.last):
            return
        tally.recorded = len(tally.refused)

        def move(tx: Tx) -> None:
            if fresh:
                keep_refused(tx, fresh, self._partner, self._pipeline.door.registry, self._deadline)
            if origin.last:
                close_if_clean(tx, agency, origin)
            if cursor and not tx.update(tables.cursors, (agency, "read"), value=cursor, updated_us=tx.now_us):
                tx.insert(tables.cursors, agency, "read", cursor, tx.now_us)

        if self._moving is not None:  # another writer may be slower with the cursor before than with this one
            self._moving.result()
        self._moving = self._pipeline.store.write(move)
        if wait or fresh:
            self._moving.result()

    def _tell(self, kept: list[Rejected]) -> None:
        """The source learns of what is on record. Where it cannot be told, the holding still names it to a person."""
        try:
            self._handle.report(kept)
        except (PartnerUnavailable, PartnerRefused) as error:
            _log.info("agency %s was not told of %d items: %s", self._handle.agency, len(kept), type(error).__name__)


def _form(sheet: FormSheet, at: int) -> str:
    """Where the form stood: its row in the sheet, or its number among the forms where the source has no rows."""
    if at < len(sheet.rows):
        return f"row {sheet.rows[at]}, {sheet.instrument}"
    return f"form {at + 1} of {sheet.instrument}"


def _pass_on(refusal: Refusal) -> None:
    if isinstance(refusal, SealBroken):  # it will be as broken the next time: it must not hold up what follows it
        return
    if refusal.status in _PASSING or refusal.reason == "AGREEMENT_EXPIRED":
        raise _TryAgain(refusal.reason) from None


def _key(kind: str, content: bytes) -> str:
    """A request id that the same content always gets: reading it again after a crash changes nothing."""
    return f"{kind}.{hashlib.sha256(content).hexdigest()[:40]}"


def _bytes(request: screening.UploadAssessmentsRequest) -> bytes:
    return request.SerializeToString(deterministic=True)
