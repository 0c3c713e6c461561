"""The screening contract: forms and signals in, tiers for people to confirm out."""

from collections.abc import Sequence
from datetime import date

from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.api.screening.v1 import screening_service_pb2 as rpc
from xinqiao.config.clocks import Deadline
from xinqiao.contract.clock import local_date
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.duties import tell_guardian
from xinqiao.disclosure.records import newest, own_row
from xinqiao.disclosure.students import Known
from xinqiao.screening.cadence import Reports
from xinqiao.screening.cases import signal_of, signal_rows, triage_of, triage_rows
from xinqiao.screening.coding import in_own_coding
from xinqiao.screening.instruments import Instrument, InstrumentLibrary
from xinqiao.screening.scoring import Score, score
from xinqiao.screening.signals import Signals
from xinqiao.screening.triage import Proposal, RulePack, propose
from xinqiao.store import tables
from xinqiao.store.holdings import drop, hold
from xinqiao.store.ids import new_id
from xinqiao.store.sql import ColumnElement, RowMapping
from xinqiao.store.tx import Tx

_MISSING = 255


class Screening:
    """The functions behind ``ScreeningService``; each takes ``(request, call)`` and gives the response."""

    def __init__(
        self,
        door: Door,
        library: InstrumentLibrary,
        pack: RulePack,
        deadline: Deadline,
        signals: Signals,
        reports: Reports,
    ) -> None:
        self.door = door
        self.library = library
        self.pack = pack
        self.deadline = deadline
        self.report_signal = signals.report_signal
        self.acknowledge_signal = signals.acknowledge_signal
        self.get_signal_state = signals.get_signal_state
        self.list_signals = signals.list_signals
        self.look = signals.look
        self.list_alerts = signals.list_alerts
        self.identify_alert = signals.identify_alert
        self.pass_alert = signals.pass_alert
        self.submit_report = reports.submit_report
        self.list_expected_reports = reports.list_expected_reports

    def submit_assessment(self, request: rpc.SubmitAssessmentRequest, call: Call) -> rpc.SubmitAssessmentResponse:
        """Score, store, triage, and raise a signal on a critical item."""
        known = self.door.students.resolve(call.tx, call.caller, request.student)
        instrument = self.instrument(request.instrument)
        check_date(request.taken_on, call.tx.now_us)
        answers = request.answers
        form: Sequence[int | None] = [None if byte == _MISSING else byte for byte in answers]
        if instrument.codings or request.coding:  # stored in the instrument's own coding, so that none need be noted
            form = in_own_coding(instrument, form, request.coding)
            answers = bytes(_MISSING if value is None else value for value in form)
        scored = score(instrument, form, coding=instrument.own_coding)
        proposal = propose(self.pack, instrument, scored)
        call.student = known.id
        assessment = to_message(instrument, scored, answers, request.taken_on, call.tx.now_us)
        identifier = new_id(call.tx.now_us)
        sealer = self.door.keys.sealer(known.id)
        record = assessment.SerializeToString()
        call.tx.insert(
            tables.assessments, identifier, known.id, known.school, instrument.id, request.taken_on, proposal.tier,
            proposal.crisis, call.caller.agency, None, call.tx.now_us,
            sealer.seal(record, table="assessments", key=identifier),
        )  # fmt: skip
        assessment.name = f"assessments/{identifier}"
        assessment.student = self.door.students.name(call.caller.agency, known.id)
        response = rpc.SubmitAssessmentResponse(assessment=assessment)
        if proposal.tier > types.TIER_GREEN:
            triage, signal = self.follow_up(call.tx, known, assessment.name, proposal, proposal.crisis)
            triage.student = assessment.student
            response.triage.CopyFrom(triage)
            response.signal = signal
        call.view(response, student=known.id)
        call.journal("assessment.submitted", resource=assessment.name, student=known.id, payload=record)
        return response

    def follow_up(
        self, tx: Tx, known: Known, subject: str, proposal: Proposal, critical: bool
    ) -> tuple[pb.Triage, str]:
        """Open a triage for a person to confirm and, on a critical item, the crisis signal; each with its holder."""
        triage = triage_of(proposal)
        triage.subject = subject
        signal = ""
        if critical:
            message = signal_of(proposal)
            message.assessment = subject
            signal = self.open_signal(tx, known, message).name
        self.open_triage(tx, known, triage)
        return triage, signal

    def open_triage(self, tx: Tx, known: Known, triage: pb.Triage) -> None:
        """Store a proposed triage and give it to the school's psychologist."""
        identifier, tier = new_id(tx.now_us), int(triage.proposed)
        record = triage.SerializeToString()
        row, held = triage_rows(
            self.door.keys.sealer(known.id).seal(record, table="triages", key=identifier), known, identifier,
            triage.subject, tier, holder=self.door.registry.holder(known.school),
            deadline_us=self.deadline(tier, "confirm", tx.now_us), now_us=tx.now_us,
        )  # fmt: skip
        tx.insert(tables.triages, *row)
        tx.insert(tables.holdings, *held)
        triage.name, triage.etag = f"triages/{identifier}", "1"

    def open_signal(self, tx: Tx, known: Known, signal: pb.Signal) -> pb.Signal:
        """Store a signal and start its holder's clock."""
        identifier = new_id(tx.now_us)
        signal.state = pb.SIGNAL_STATE_OPEN
        record = signal.SerializeToString()
        row, held = signal_rows(
            self.door.keys.sealer(known.id).seal(record, table="signals", key=identifier), known, identifier, signal,
            holder=self.door.registry.holder(known.school),
            deadline_us=self.deadline(types.TIER_RED, "acknowledge", tx.now_us), now_us=tx.now_us,
        )  # fmt: skip
        tx.insert(tables.signals, *row)
        tx.insert(tables.holdings, *held)
        signal.name, signal.etag, signal.create_time_us = f"signals/{identifier}", "1", tx.now_us
        return signal

    def confirm_tier(self, request: rpc.ConfirmTierRequest, call: Call) -> rpc.ConfirmTierResponse:
        """A person's word: it closes the proposal and the signals it rests on, or keeps a red case held."""
        identifier = request.name.removeprefix("triages/")
        row = own_row(call, tables.triages, identifier, "TRIAGE", request.etag)
        if row["state"] != pb.TRIAGE_STATE_PROPOSED:
            raise Refusal("FAILED_PRECONDITION", "STATE", "the tier is confirmed already")
        if request.tier < row["proposed"] and not request.note.strip():
            raise Refusal("FAILED_PRECONDITION", "NOTE_REQUIRED", "to go below the proposed tier, say why in note")
        student, version = str(row["student"]), int(row["version"]) + 1
        # A broken one is decided about by its plain columns: nothing else could ever end its clock.
        triage = self.door.keys.readable(pb.Triage, row, table="triages") or pb.Triage()
        triage.subject, triage.proposed = str(row["subject"]), row["proposed"]
        triage.confirmed, triage.state = request.tier, pb.TRIAGE_STATE_CONFIRMED
        triage.confirmed_by, triage.note = call.caller.id, request.note
        record = triage.SerializeToString()
        call.tx.update(
            tables.triages, (identifier,), confirmed=int(request.tier), state=int(triage.state),
            updated_us=call.tx.now_us, version=version,
            sealed=self.door.keys.sealer(student).seal(record, table="triages", key=identifier),
        )  # fmt: skip
        if request.tier >= types.TIER_ORANGE:
            # A confirmed serious case stays held until it is referred: nobody may confirm red and go home.
            hold(
                call.tx, request.name, kind="triage", school=str(row["school"]), holder=call.caller.id,
                deadline_us=self.deadline(int(request.tier), "refer", call.tx.now_us), step="refer",
                tier=int(request.tier), student=student,
            )  # fmt: skip
        else:
            drop(call.tx, request.name)
        if request.tier == types.TIER_RED:
            tell_guardian(
                call.tx, self.door, student=student, school=str(row["school"]), triage=request.name,
                holder=call.caller.id, deadline_us=self.deadline(types.TIER_RED, "guardian", call.tx.now_us),
                tier=types.TIER_RED,
            )  # fmt: skip
        self._resolve_signals(call, student, {request.name, triage.subject, *triage.signals})
        triage.name, triage.etag = request.name, str(version)
        triage.level_zh, triage.level_en = self.pack.words(int(triage.confirmed))
        triage.student = self.door.students.name(call.caller.agency, student)
        response = rpc.ConfirmTierResponse(triage=triage)
        call.student = student
        call.view(response, student=student)
        call.journal("tier.confirmed", resource=request.name, student=student, payload=record)
        return response

    def _resolve_signals(self, call: Call, student: str, subjects: set[str]) -> None:
        """A confirmed tier answers the signals it was about, and no other: the triage holds the case now."""
        c = tables.signals.c
        rows = call.tx.all(
            tables.signals.select().where((c.student == student) & (c.state != pb.SIGNAL_STATE_RESOLVED))
        )
        for row in rows:
            # A broken one is known by its name alone; it must not keep the word from the others.
            signal = self.door.keys.readable(pb.Signal, row, table="signals") or pb.Signal()
            if subjects.isdisjoint((f"signals/{row['id']}", signal.assessment, signal.triage)):
                continue
            call.tx.update(tables.signals, (row["id"],), state=int(pb.SIGNAL_STATE_RESOLVED), updated_us=call.tx.now_us)
            drop(call.tx, f"signals/{row['id']}")

    def get_assessment(self, request: rpc.GetAssessmentRequest, call: Call) -> rpc.GetAssessmentResponse:
        """One form of the caller's school."""
        identifier = request.name.removeprefix("assessments/")
        row = own_row(call, tables.assessments, identifier, "ASSESSMENT", "")
        return rpc.GetAssessmentResponse(assessment=self._assessment(call, row))

    def list_assessments(self, request: rpc.ListAssessmentsRequest, call: Call) -> rpc.ListAssessmentsResponse:
        """A student's forms, newest first."""
        known = self.door.students.resolve(call.reading, call.caller, request.student)
        rows, following = newest(call, tables.assessments, request, tables.assessments.c.student == known.id)
        return rpc.ListAssessmentsResponse(
            assessments=[self._assessment(call, row, listed=True) for row in rows], next_page_token=following
        )

    def list_triages(self, request: rpc.ListTriagesRequest, call: Call) -> rpc.ListTriagesResponse:
        """Triages of the caller's schools, newest first."""
        c = tables.triages.c
        wanted: ColumnElement[bool] = c.school.in_(call.caller.schools)
        if request.open_only:
            wanted = wanted & (c.state == pb.TRIAGE_STATE_PROPOSED)
        rows, following = newest(call, tables.triages, request, wanted)
        triages: list[pb.Triage] = []
        for row in rows:
            triage = self.door.keys.readable(pb.Triage, row, table="triages") or pb.Triage()
            triage.name, triage.etag = f"triages/{row['id']}", str(row["version"])
            triage.state, triage.proposed, triage.confirmed = row["state"], row["proposed"], row["confirmed"]
            triage.level_zh, triage.level_en = self.pack.words(int(triage.confirmed or triage.proposed))
            triage.student = self.door.students.name(call.caller.agency, str(row["student"]))
            call.view(triage, student=str(row["student"]))
            triages.append(triage)
        # Of two equally urgent ones the better founded first; both have the same clock.
        triages.sort(key=lambda each: (each.state, -each.proposed, -each.inputs.get("signal.trust", 0)))
        return rpc.ListTriagesResponse(triages=triages, next_page_token=following)

    def instrument(self, identifier: str) -> Instrument:
        """The definition. Raises Refusal NOT_FOUND/INSTRUMENT for an unknown or disabled one."""
        found = self.library.get(identifier)
        if found is None or not found.enabled:
            raise Refusal("NOT_FOUND", "INSTRUMENT", "this gateway has no such instrument, or it is switched off")
        return found

    def _assessment(self, call: Call, row: RowMapping, *, listed: bool = False) -> pb.Assessment:
        read = self.door.keys.readable if listed else self.door.keys.record
        record = read(pb.Assessment, row, table="assessments") or pb.Assessment()
        record.name = f"assessments/{row['id']}"
        student = str(row["student"])
        record.student = self.door.students.name(call.caller.agency, student)
        call.view(record, student=student)
        return record


def check_date(taken_on: str, now_us: int) -> None:
    """Raises Refusal INVALID_ARGUMENT/DATE_RANGE on a day that does not exist or has not come yet."""
    try:
        day = date.fromisoformat(taken_on)
    except ValueError:
        raise Refusal("INVALID_ARGUMENT", "DATE_RANGE", "taken_on is not a day of the calendar") from None
    if day > local_date(now_us):
        raise Refusal("INVALID_ARGUMENT", "DATE_RANGE", "taken_on lies in the future")


def to_message(instrument: Instrument, scored: Score, answers: bytes, taken_on: str, now_us: int) -> pb.Assessment:
    """The record of a scored form, without the names that only its reader can give it."""
    return pb.Assessment(
        instrument=instrument.id,
        instrument_version=instrument.version,
        taken_on=taken_on,
        answers=answers,
        scores=[pb.Score(id=name, value=value) for name, value in scored.scores.items()],
        category=scored.category or "",
        critical=scored.critical,
        complete=scored.complete,
        create_time_us=now_us,
    )
