"""Leaves and returns to school (休学与复学): each open one held by exactly one school, until its last check is recorded."""

import secrets
from datetime import date

from xinqiao.api.common.v1.options_pb2 import PURPOSE_EDUCATION, ROLE_SCHOOL_PLATFORM, ROLE_SCHOOL_PSYCHOLOGIST
from xinqiao.api.common.v1.types_pb2 import Tier, Withheld
from xinqiao.api.referral.v1 import return_pb2 as pb
from xinqiao.api.referral.v1 import return_service_pb2 as rpc
from xinqiao.config.district import ReturnTerms
from xinqiao.contract.errors import Refusal, Violation
from xinqiao.contract.fields import redact
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door, denial
from xinqiao.disclosure.records import check_version, newest, own_row
from xinqiao.disclosure.registry import Partner
from xinqiao.referral.book import stored
from xinqiao.referral.return_to_school import (
    FINAL,
    STEPS,
    Side,
    advance,
    before_offer,
    checks_of,
    due,
    next_check,
    word,
)
from xinqiao.store import tables
from xinqiao.store.errors import KeyGone, SealBroken
from xinqiao.store.holdings import drop, hold
from xinqiao.store.sql import RowMapping
from xinqiao.store.tx import ReadTx, Tx


class Returns:
    """The functions behind ``ReturnService``."""

    def __init__(self, door: Door, terms: ReturnTerms) -> None:
        self.door = door
        self.terms = terms

    def open_return(self, request: rpc.OpenReturnRequest, call: Call) -> rpc.OpenReturnResponse:
        """Open a leave at its first step; a student has at most one open."""
        known = self.door.students.resolve(call.tx, call.caller, request.student)
        call.student = known.id
        r = tables.returns
        if call.tx.all(r.select().where((r.c.student == known.id) & r.c.state.not_in([int(s) for s in FINAL]))):
            raise Refusal(
                "ALREADY_EXISTS", "OPEN_RETURN", "the student has an open leave or return: go on with that one"
            )
        plan = pb.Return(
            school_agency=call.caller.agency, state=pb.RETURN_STATE_FOUND, found=request.found,
            tier=Tier.ValueType(self._tier(call, known.id, request.triage)),
        )  # fmt: skip
        plan.history.add(state=plan.state, actor=call.caller.id, time_us=call.tx.now_us)
        self._insert(call.tx, plan, known.id, known.school)
        response = rpc.OpenReturnResponse(plan=self._view(call, plan, known.id, "school"))
        call.journal("return.opened", resource=plan.name, student=known.id, payload=plan.SerializeToString())
        return response

    def advance_return(self, request: rpc.AdvanceReturnRequest, call: Call) -> rpc.AdvanceReturnResponse:
        """Apply one event with what it needs."""
        if request.event == pb.RETURN_EVENT_HAND_OVER:
            raise Refusal("FAILED_PRECONDITION", "USE_HAND_OVER", "use HandOverReturn, which says to which school")
        row, plan, side = self._find(call, request.name, request.etag)
        target = advance(plan.state, request.event, side)
        _need(request)
        if request.event == pb.RETURN_EVENT_TAKE_OVER:
            return rpc.AdvanceReturnResponse(
                plan=self._take_over(call, row, plan, _school(call.caller, request.school))
            )
        if request.event == pb.RETURN_EVENT_DECLINE_HAND_OVER:
            target, plan.next_school = before_offer(plan), ""
        self._apply(call, plan, request)
        if request.event == pb.RETURN_EVENT_CHECK and next_check(plan) is None:
            target = pb.RETURN_STATE_CLOSED
        plan.state_reason = request.reason
        # A leave made longer wins its time by decision, not by delay.
        fresh = request.event in (pb.RETURN_EVENT_EXTEND_LEAVE, pb.RETURN_EVENT_DECLINE_HAND_OVER)
        self._move(call, row, plan, target, request.event, fresh=fresh)
        return rpc.AdvanceReturnResponse(plan=self._done(call, row, plan, side, word(request.event)))

    def hand_over_return(self, request: rpc.HandOverReturnRequest, call: Call) -> rpc.HandOverReturnResponse:
        """Offer it to the next school through the door; that school holds it until it takes or declines it."""
        row, plan, side = self._find(call, request.name, request.etag)
        target = advance(plan.state, pb.RETURN_EVENT_HAND_OVER, side)
        recipient = self.door.registry.find(request.recipient)
        if (
            recipient is None or recipient.agency != recipient.id or not recipient.schools
            or recipient.agency == call.caller.agency
            or recipient.roles.isdisjoint({ROLE_SCHOOL_PLATFORM, ROLE_SCHOOL_PSYCHOLOGIST})
        ):  # fmt: skip
            raise Refusal("NOT_FOUND", "RECIPIENT", "no such other school among the partners")
        plan.next_school, plan.state_reason = recipient.id, request.reason
        student = str(row["student"])
        released = self.door.release(
            call.tx, self._carried(call.reading, plan, student, recipient), recipient=recipient, purpose=PURPOSE_EDUCATION,
            student=student, relation="PARTY", kind="return", item=plan.name, actor=call.caller.id,
            key=f"{plan.name.replace('/', '.')}.v{plan.etag}", enqueue=False,
        )  # fmt: skip
        self._move(call, row, plan, target, pb.RETURN_EVENT_HAND_OVER)
        withheld: list[Withheld] = list(released.withheld)
        shown = self._done(call, row, plan, side, "HAND_OVER")
        return rpc.HandOverReturnResponse(plan=shown, withheld=withheld)

    def get_return(self, request: rpc.GetReturnRequest, call: Call) -> rpc.GetReturnResponse:
        """It, as the school that runs it or the school that is asked may see it."""
        row, plan, side = self._find(call, request.name, "")
        return rpc.GetReturnResponse(plan=self._view(call, plan, str(row["student"]), side))

    def list_returns(self, request: rpc.ListReturnsRequest, call: Call) -> rpc.ListReturnsResponse:
        """The caller's, newest first."""
        c = tables.returns.c
        mine = (c.agency == call.caller.agency) & c.school.in_(call.caller.schools)
        rows, following = newest(call, tables.returns, request, mine | (c.recipient == call.caller.agency))
        shown: list[pb.Return] = []
        for row in rows:
            try:
                shown.append(self._view(call, self._load(row), str(row["student"]), self._side(call.caller, row)))
            except (KeyGone, SealBroken):  # one erased or broken record must not hide all the others
                shown.append(pb.Return(name=f"returns/{row['id']}", state=row["state"], etag=str(row["version"])))
        # An offer under a consent that was taken back since: there is nothing left to show of it.
        shown = [plan for plan in shown if plan.name]
        return rpc.ListReturnsResponse(plans=shown, next_page_token=following)

    def _tier(self, call: Call, student: str, triage: str) -> int:
        if not triage:
            return 0
        row = own_row(call, tables.triages, triage.removeprefix("triages/"), "TRIAGE", "")
        if row["student"] != student:
            raise Refusal("NOT_FOUND", "TRIAGE", "no such triage for this student")
        return int(row["confirmed"] or row["proposed"])

    def _apply(self, call: Call, plan: pb.Return, request: rpc.AdvanceReturnRequest) -> None:
        if request.HasField("opinion"):
            plan.opinions.append(request.opinion)
        if request.HasField("leave"):
            _check_leave(request.leave)
            plan.leave.CopyFrom(request.leave)
        if request.HasField("assessment"):
            plan.assessment.CopyFrom(request.assessment)
        if request.HasField("plan"):
            _check_steps(request.plan)
            plan.plan.CopyFrom(request.plan)
            del plan.plan.checks[:]
            plan.plan.checks.extend(checks_of(self.terms, request.plan.first_day))
        if request.event == pb.RETURN_EVENT_CHECK:
            check = next_check(plan)
            if check is None:
                raise Refusal("FAILED_PRECONDITION", "STATE", "every check is recorded")
            if request.check.result == pb.CHECK_RESULT_MISSED and not request.check.note.strip():
                raise Refusal("FAILED_PRECONDITION", "REASON_REQUIRED", "say in the note why the check was not held")
            check.result, check.note = request.check.result, request.check.note
            check.time_us, check.late = call.tx.now_us, call.tx.now_us > check.due_us

    def _take_over(self, call: Call, row: RowMapping, plan: pb.Return, school: str) -> pb.Return:
        """Close it at the old school and open it at the next, with what that school may know now and nothing else."""
        student = str(row["student"])
        carried = self._carried(call.reading, plan, student, call.caller)
        mask, denials = self.door.permitted(
            call.tx, recipient=call.caller, purpose=PURPOSE_EDUCATION, student=student, relation="PARTY"
        )
        for lost in redact(carried, mask):
            if lost.required:  # the consent was taken back since the offer
                raise denial(denials[lost.field_class].reason, call.caller, PURPOSE_EDUCATION, student)
        taken = pb.Return(
            school_agency=call.caller.agency, state=pb.ReturnState.ValueType(before_offer(plan)), tier=plan.tier,
            handed_over_from=plan.name,
        )  # fmt: skip
        taken.MergeFrom(_kept(carried))
        taken.history.add(
            event=pb.RETURN_EVENT_TAKE_OVER, state=taken.state, actor=call.caller.id, time_us=call.tx.now_us
        )
        self._move(call, row, plan, pb.RETURN_STATE_TRANSFERRED, pb.RETURN_EVENT_TAKE_OVER)
        self._insert(call.tx, taken, student, school)
        record = taken.SerializeToString()
        shown = self._view(call, taken, student, "school")
        call.journal(
            "return.taken_over", resource=taken.name, student=student, reason=f"from:{plan.name}", payload=record
        )
        return shown

    def _carried(self, tx: ReadTx, plan: pb.Return, student: str, recipient: Partner) -> pb.Return:
        """What could go to the next school: the plan and its conditions, under that school's name of the student."""
        carried = pb.Return(
            name=plan.name, student=self.door.students.name(recipient.agency, student),
            school_agency=plan.school_agency, state=plan.state, next_school=plan.next_school,
        )  # fmt: skip
        carried.MergeFrom(_kept(plan))
        if plan.next_school:
            carried.person.CopyFrom(self.door.students.load(tx, student, recipient.agency))
            carried.person.local_id = ""
        return carried

    def _insert(self, tx: Tx, plan: pb.Return, student: str, school: str) -> None:
        identifier = secrets.token_hex(16)
        tx.insert(
            tables.returns, identifier, student, school, plan.school_agency, "", int(plan.state), int(plan.tier),
            tx.now_us, tx.now_us, 1, self._seal(identifier, student, plan),
        )  # fmt: skip
        plan.name, plan.etag = f"returns/{identifier}", "1"
        self._hold(tx, plan, student, school)

    def _move(
        self, call: Call, row: RowMapping, plan: pb.Return, target: int, event: int, *, fresh: bool = False
    ) -> None:
        plan.state = pb.ReturnState.ValueType(target)
        plan.history.add(
            event=pb.ReturnEvent.ValueType(event), state=plan.state, actor=call.caller.id, time_us=call.tx.now_us
        )
        identifier, student, version = str(row["id"]), str(row["student"]), int(row["version"]) + 1
        call.student = student
        offered = plan.next_school if plan.state == pb.RETURN_STATE_HANDING_OVER else ""
        call.tx.update(
            tables.returns, (identifier,), state=int(plan.state), recipient=offered, updated_us=call.tx.now_us,
            version=version, sealed=self._seal(identifier, student, plan),
        )  # fmt: skip
        plan.etag = str(version)
        if fresh:
            drop(call.tx, plan.name)
        self._hold(call.tx, plan, student, str(row["school"]))

    def _hold(self, tx: Tx, plan: pb.Return, student: str, school: str) -> None:
        """Exactly one holder and deadline while it is open, none once it is final."""
        if plan.state in FINAL:
            drop(tx, plan.name)
            return
        step, deadline_us = due(plan, self.terms, tx.now_us)
        holder = plan.next_school if plan.state == pb.RETURN_STATE_HANDING_OVER else self.door.registry.holder(school)
        hold(
            tx, plan.name, kind="return", school=school, student=student, step=step, holder=holder,
            deadline_us=deadline_us, tier=int(plan.tier),
        )  # fmt: skip

    def _done(self, call: Call, row: RowMapping, plan: pb.Return, side: Side, reason: str) -> pb.Return:
        student, record = str(row["student"]), plan.SerializeToString()
        shown = self._view(call, plan, student, side)
        call.journal("return.advanced", resource=shown.name, student=student, reason=reason, payload=record)
        return shown

    def _find(self, call: Call, name: str, etag: str) -> tuple[RowMapping, pb.Return, Side]:
        row = call.reading.get(tables.returns, name.removeprefix("returns/"))
        if row is None or not self._concerns(call.caller, row):
            raise Refusal("NOT_FOUND", "RETURN", "no such leave or return for this caller")
        check_version(row, etag)
        return row, self._load(row), self._side(call.caller, row)

    @staticmethod
    def _concerns(caller: Partner, row: RowMapping) -> bool:
        own = row["agency"] == caller.agency and str(row["school"]) in caller.schools
        return own or row["recipient"] == caller.agency

    @staticmethod
    def _side(caller: Partner, row: RowMapping) -> Side:
        return "next" if row["recipient"] == caller.agency else "school"

    def _view(self, call: Call, plan: pb.Return, student: str, side: Side) -> pb.Return:
        plan.student = self.door.students.name(call.caller.agency, student)
        if side == "school":
            call.view(plan, student=student)
            return plan
        asked = self._carried(call.reading, plan, student, call.caller)
        asked.etag = plan.etag
        call.view(asked, student=student, relation="PARTY", purpose=PURPOSE_EDUCATION)
        return asked

    def _load(self, row: RowMapping) -> pb.Return:
        plan = self.door.keys.record(pb.Return, row, table="returns")
        plan.name, plan.etag = f"returns/{row['id']}", str(row["version"])
        return plan

    def _seal(self, identifier: str, student: str, plan: pb.Return) -> bytes:
        return self.door.keys.sealer(student).seal(stored(plan), table="returns", key=identifier)


def _need(request: rpc.AdvanceReturnRequest) -> None:
    for need in STEPS[request.event].needs:
        given = bool(request.reason.strip()) if need == "reason" else request.HasField(need)
        if need == "check" and given:
            given = bool(request.check.result)
        if not given:
            raise Refusal("FAILED_PRECONDITION", f"{need.upper()}_REQUIRED", f"{word(request.event)} needs `{need}`")


def _school(caller: Partner, wanted: str) -> str:
    """The school that takes a plan over. Raises Refusal PERMISSION_DENIED/SCOPE or INVALID_ARGUMENT/SCHOOL_REQUIRED."""
    if wanted and wanted not in caller.schools:
        raise Refusal("PERMISSION_DENIED", "SCOPE", "the school is not one of the caller's")
    if not wanted and len(caller.schools) != 1:
        raise Refusal("INVALID_ARGUMENT", "SCHOOL_REQUIRED", "say in `school` which of the caller's schools takes it")
    return wanted or next(iter(caller.schools))


def _kept(plan: pb.Return) -> pb.Return:
    """What a next school may be offered; why the student was found and what was said stays behind."""
    kept = pb.Return(opinions=plan.opinions)
    if plan.HasField("leave"):
        kept.leave.CopyFrom(plan.leave)
    if plan.HasField("assessment"):
        kept.assessment.CopyFrom(plan.assessment)
    if plan.HasField("plan"):
        kept.plan.CopyFrom(plan.plan)
    return kept


def _check_leave(leave: pb.LeaveDates) -> None:
    """Raises Refusal INVALID_ARGUMENT/DATE_RANGE unless it has two real days in order."""
    if _day(leave.first_day, "leave.first_day") > _day(leave.last_day, "leave.last_day"):
        raise _bad_day("leave.last_day", "the leave must not end before it begins")


def _check_steps(plan: pb.AttendancePlan) -> None:
    """Raises Refusal INVALID_ARGUMENT/DATE_RANGE unless the steps follow one another from the first day on."""
    last = _day(plan.first_day, "plan.first_day")
    for index, step in enumerate(plan.steps):
        where = f"plan.steps[{index}].first_day"
        day = _day(step.first_day, where)
        if day < last:
            raise _bad_day(where, "a step must not begin before the one before it, nor before the first day back")
        last = day


def _day(text: str, where: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise _bad_day(where, "send a day of the calendar as YYYY-MM-DD") from None


def _bad_day(where: str, mend: str) -> Refusal:
    return Refusal(
        "INVALID_ARGUMENT", "DATE_RANGE", f"{where}: {mend}", violations=(Violation(where, "DATE_RANGE", mend),)
    )
