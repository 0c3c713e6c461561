"""The screening contract: forms and signals in, tiers for people to confirm out."""

import secrets
from collections.abc import Callable
from datetime import date

from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.api.screening.v1 import screening_service_pb2 as rpc
from xinqiao.contract.clock import local_date
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.duties import tell_guardian
from xinqiao.disclosure.records import newest, own_row
from xinqiao.disclosure.students import Known
from xinqiao.screening.instruments import Instrument, InstrumentLibrary
from xinqiao.screening.scoring import Score, score
from xinqiao.screening.triage import Proposal, RulePack, propose
from xinqiao.store import tables
from xinqiao.store.errors import KeyGone, SealBroken
from xinqiao.store.holdings import drop, hold
from xinqiao.store.sql import ColumnElement, RowMapping
from xinqiao.store.tx import Tx

Deadline = Callable[[int, str, int], int]
"""(tier, step, now_us) -> deadline_us, from the district's clocks."""

_MISSING = 255

_AGENCY_SOURCES: dict[int, int] = {
    pb.SIGNAL_SOURCE_GRID_MEMBER: options.ROLE_GRID,
    pb.SIGNAL_SOURCE_HOTLINE: options.ROLE_HOTLINE,
    pb.SIGNAL_SOURCE_POLICE: options.ROLE_POLICE,
    pb.SIGNAL_SOURCE_HOSPITAL: options.ROLE_HOSPITAL,
    pb.SIGNAL_SOURCE_WOMENS_FEDERATION: options.ROLE_WOMENS_FEDERATION,
    pb.SIGNAL_SOURCE_YOUTH_LEAGUE: options.ROLE_YOUTH_LEAGUE,
    pb.SIGNAL_SOURCE_SOCIAL_WORKER: options.ROLE_SOCIAL_WORK,
}
"""Sources that are agencies: only the agency itself may say that it is the source."""


class Screening:
    """The functions behind ``ScreeningService``; each takes ``(request, call)`` and gives the response."""

    def __init__(self, door: Door, library: InstrumentLibrary, pack: RulePack, deadline: Deadline) -> None:
        self.door = door
        self.library = library
        self.pack = pack
        self.deadline = deadline
        self.uploads: object = None  # set by the one who builds the rooms; streams are driven by the edge

    def submit_assessment(self, request: rpc.SubmitAssessmentRequest, call: Call) -> rpc.SubmitAssessmentResponse:
        """Score, store, triage, and raise a signal on a critical item."""
        known = self.door.students.resolve(call.tx, call.caller, request.student)
        instrument = self.instrument(request.instrument)
        check_date(request.taken_on, call.tx.now_us)
        scored = score(instrument, [None if byte == _MISSING else byte for byte in request.answers])
        proposal = propose(self.pack, instrument, scored)
        call.student = known.id
        assessment = to_message(instrument, scored, request.answers, request.taken_on, call.tx.now_us)
        identifier = secrets.token_hex(16)
        sealer = self.door.keys.sealer(known.id)
        record = assessment.SerializeToString()
        call.tx.insert(
            tables.assessments, identifier, known.id, known.school, instrument.id, request.taken_on, proposal.tier,
            bool(scored.critical), call.caller.agency, None, call.tx.now_us,
            sealer.seal(record, table="assessments", key=identifier),
        )  # fmt: skip
        assessment.name = f"assessments/{identifier}"
        assessment.student = self.door.students.name(call.caller.agency, known.id)
        response = rpc.SubmitAssessmentResponse(assessment=assessment)
        if proposal.tier > types.TIER_GREEN:
            triage, signal = self.follow_up(call.tx, known, assessment.name, proposal, bool(scored.critical))
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
        triage = pb.Triage(
            subject=subject,
            proposed=types.Tier.ValueType(proposal.tier),
            state=pb.TRIAGE_STATE_PROPOSED,
            rule=f"{proposal.pack}@{proposal.version}/{proposal.rule}",
            reason_zh=proposal.reason_zh,
            reason_en=proposal.reason_en,
            inputs=proposal.inputs,
        )
        signal = ""
        if critical:
            message = pb.Signal(
                source=pb.SIGNAL_SOURCE_SCREENING,
                kind=pb.SIGNAL_KIND_SUICIDAL,
                facts=f"{proposal.reason_zh} / {proposal.reason_en}",
                assessment=subject,
            )
            signal = self.open_signal(tx, known, message).name
        self.open_triage(tx, known, triage)
        return triage, signal

    def open_triage(self, tx: Tx, known: Known, triage: pb.Triage) -> None:
        """Store a proposed triage and give it to the school's psychologist."""
        identifier = secrets.token_hex(16)
        record = triage.SerializeToString()
        tx.insert(
            tables.triages, identifier, known.id, known.school, triage.subject, int(triage.proposed), 0,
            int(triage.state), tx.now_us, tx.now_us, 1,
            self.door.keys.sealer(known.id).seal(record, table="triages", key=identifier),
        )  # fmt: skip
        triage.name, triage.etag = f"triages/{identifier}", "1"
        hold(
            tx, triage.name, kind="triage", school=known.school, holder=self.door.registry.holder(known.school),
            deadline_us=self.deadline(int(triage.proposed), "confirm", tx.now_us), step="confirm",
            tier=int(triage.proposed), student=known.id,
        )  # fmt: skip

    def open_signal(self, tx: Tx, known: Known, signal: pb.Signal) -> pb.Signal:
        """Store a signal and start its holder's clock."""
        identifier = secrets.token_hex(16)
        signal.state = pb.SIGNAL_STATE_OPEN
        record = signal.SerializeToString()
        tx.insert(
            tables.signals, identifier, known.id, known.school, str(int(signal.kind)), types.TIER_RED,
            int(signal.state), str(int(signal.source)), tx.now_us, tx.now_us, 1,
            self.door.keys.sealer(known.id).seal(record, table="signals", key=identifier),
        )  # fmt: skip
        signal.name, signal.etag, signal.create_time_us = f"signals/{identifier}", "1", tx.now_us
        hold(
            tx, signal.name, kind="signal", school=known.school, holder=self.door.registry.holder(known.school),
            deadline_us=self.deadline(types.TIER_RED, "acknowledge", tx.now_us), step="acknowledge",
            tier=types.TIER_RED, student=known.id,
        )  # fmt: skip
        return signal

    def report_signal(self, request: rpc.ReportSignalRequest, call: Call) -> rpc.ReportSignalResponse:
        """Store a signal and open a triage proposed red. Raises Refusal PERMISSION_DENIED/PARTNER_MISMATCH."""
        owner = _AGENCY_SOURCES.get(int(request.source))
        if owner is not None and owner not in call.caller.roles:
            raise Refusal("PERMISSION_DENIED", "PARTNER_MISMATCH", "source names an agency that is not the caller's")
        known = self.door.students.resolve(call.tx, call.caller, request.student)
        call.student = known.id
        signal = self.open_signal(
            call.tx,
            known,
            pb.Signal(source=request.source, kind=request.kind, facts=request.facts, opinion=request.opinion),
        )
        triage = pb.Triage(
            subject=signal.name,
            proposed=types.TIER_RED,
            state=pb.TRIAGE_STATE_PROPOSED,
            rule="core/reported-signal",
            reason_zh="有人报告危机信号，须由人确认等级",
            reason_en="a sign of crisis was reported; a person must confirm the tier",
        )
        self.open_triage(call.tx, known, triage)
        signal.student = triage.student = self.door.students.name(call.caller.agency, known.id)
        response = rpc.ReportSignalResponse(signal=signal, triage=triage)
        record = response.SerializeToString()
        call.view(response, student=known.id, relation="OWN" if call.caller.schools else "PARTY")
        call.journal("signal.reported", resource=signal.name, student=known.id, payload=record)
        return response

    def acknowledge_signal(self, request: rpc.AcknowledgeSignalRequest, call: Call) -> rpc.AcknowledgeSignalResponse:
        """Make the caller the holder; the tier is still to be confirmed."""
        identifier = request.name.removeprefix("signals/")
        row = own_row(call, tables.signals, identifier, "SIGNAL", request.etag)
        if row["state"] != pb.SIGNAL_STATE_OPEN:
            raise Refusal("FAILED_PRECONDITION", "STATE", "the signal is taken already")
        student, version = str(row["student"]), int(row["version"]) + 1
        sealer = self.door.keys.sealer(student)
        signal = pb.Signal.FromString(sealer.open(bytes(row["sealed"]), table="signals", key=identifier))
        signal.state = pb.SIGNAL_STATE_ACKNOWLEDGED
        record = signal.SerializeToString()
        call.tx.update(
            tables.signals, (identifier,), state=int(signal.state), updated_us=call.tx.now_us, version=version,
            sealed=sealer.seal(record, table="signals", key=identifier),
        )  # fmt: skip
        hold(
            call.tx, request.name, kind="signal", school=str(row["school"]), holder=call.caller.id,
            deadline_us=self.deadline(types.TIER_RED, "confirm", call.tx.now_us), step="resolve",
            tier=types.TIER_RED, student=student,
        )  # fmt: skip
        signal.name, signal.etag = request.name, str(version)
        signal.student = self.door.students.name(call.caller.agency, student)
        response = rpc.AcknowledgeSignalResponse(signal=signal)
        call.student = student
        call.view(response, student=student)
        call.journal("signal.acknowledged", resource=request.name, student=student, payload=record)
        return response

    def confirm_tier(self, request: rpc.ConfirmTierRequest, call: Call) -> rpc.ConfirmTierResponse:
        """A person's word: it closes the proposal and the signals it rests on, or keeps a red case held."""
        identifier = request.name.removeprefix("triages/")
        row = own_row(call, tables.triages, identifier, "TRIAGE", request.etag)
        if row["state"] != pb.TRIAGE_STATE_PROPOSED:
            raise Refusal("FAILED_PRECONDITION", "STATE", "the tier is confirmed already")
        if request.tier < row["proposed"] and not request.note.strip():
            raise Refusal("FAILED_PRECONDITION", "NOTE_REQUIRED", "to go below the proposed tier, say why in note")
        student, version = str(row["student"]), int(row["version"]) + 1
        sealer = self.door.keys.sealer(student)
        triage = pb.Triage.FromString(sealer.open(bytes(row["sealed"]), table="triages", key=identifier))
        triage.confirmed, triage.state = request.tier, pb.TRIAGE_STATE_CONFIRMED
        triage.confirmed_by, triage.note = call.caller.id, request.note
        record = triage.SerializeToString()
        call.tx.update(
            tables.triages, (identifier,), confirmed=int(request.tier), state=int(triage.state),
            updated_us=call.tx.now_us, version=version,
            sealed=sealer.seal(record, table="triages", key=identifier),
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
        self._resolve_signals(call, student, triage.subject)
        triage.name, triage.etag = request.name, str(version)
        triage.student = self.door.students.name(call.caller.agency, student)
        response = rpc.ConfirmTierResponse(triage=triage)
        call.student = student
        call.view(response, student=student)
        call.journal("tier.confirmed", resource=request.name, student=student, payload=record)
        return response

    def _resolve_signals(self, call: Call, student: str, subject: str) -> None:
        """A confirmed tier answers the signals of the same subject, and no other: the triage holds the case now."""
        c = tables.signals.c
        rows = call.tx.all(
            tables.signals.select().where((c.student == student) & (c.state != pb.SIGNAL_STATE_RESOLVED))
        )
        for row in rows:
            signal = pb.Signal.FromString(self._open(row, "signals"))
            if subject not in (f"signals/{row['id']}", signal.assessment):
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
            assessments=[self._assessment(call, row) for row in rows], next_page_token=following
        )

    def list_signals(self, request: rpc.ListSignalsRequest, call: Call) -> rpc.ListSignalsResponse:
        """The signals of the caller's schools, newest first."""
        mine = tables.signals.c.school.in_(call.caller.schools)
        rows, following = newest(call, tables.signals, request, mine)
        signals: list[pb.Signal] = []
        for row in rows:
            signal = pb.Signal.FromString(self._open_or_nothing(row, "signals"))
            signal.name, signal.etag = f"signals/{row['id']}", str(row["version"])
            signal.state, signal.create_time_us = row["state"], int(row["created_us"])
            signal.student = self.door.students.name(call.caller.agency, str(row["student"]))
            call.view(signal, student=str(row["student"]))
            signals.append(signal)
        return rpc.ListSignalsResponse(signals=signals, next_page_token=following)

    def list_triages(self, request: rpc.ListTriagesRequest, call: Call) -> rpc.ListTriagesResponse:
        """Triages of the caller's schools, newest first."""
        c = tables.triages.c
        wanted: ColumnElement[bool] = c.school.in_(call.caller.schools)
        if request.open_only:
            wanted = wanted & (c.state == pb.TRIAGE_STATE_PROPOSED)
        rows, following = newest(call, tables.triages, request, wanted)
        triages: list[pb.Triage] = []
        for row in sorted(rows, key=lambda r: (r["state"], -int(r["proposed"]))):
            triage = pb.Triage.FromString(self._open_or_nothing(row, "triages"))
            triage.name, triage.etag = f"triages/{row['id']}", str(row["version"])
            triage.state, triage.proposed, triage.confirmed = row["state"], row["proposed"], row["confirmed"]
            triage.student = self.door.students.name(call.caller.agency, str(row["student"]))
            call.view(triage, student=str(row["student"]))
            triages.append(triage)
        return rpc.ListTriagesResponse(triages=triages, next_page_token=following)

    def instrument(self, identifier: str) -> Instrument:
        """The definition. Raises Refusal NOT_FOUND/INSTRUMENT for an unknown or disabled one."""
        found = self.library.get(identifier)
        if found is None or not found.enabled:
            raise Refusal("NOT_FOUND", "INSTRUMENT", "this gateway has no such instrument, or it is switched off")
        return found

    def _assessment(self, call: Call, row: RowMapping) -> pb.Assessment:
        record = pb.Assessment.FromString(self._open(row, "assessments"))
        record.name = f"assessments/{row['id']}"
        student = str(row["student"])
        record.student = self.door.students.name(call.caller.agency, student)
        call.view(record, student=student)
        return record

    def _open_or_nothing(self, row: RowMapping, table: str) -> bytes:
        """In a list one erased or broken record must not hide all the others: it shows its plain columns only."""
        try:
            return self._open(row, table)
        except (KeyGone, SealBroken):
            return b""

    def _open(self, row: RowMapping, table: str) -> bytes:
        student, key, sealed = str(row["student"]), str(row["id"]), bytes(row["sealed"])
        return self.door.keys.sealer(student).open(sealed, table=table, key=key)


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
