"""The referral contract: created under consent or law, delivered by its lane, held by exactly one side until closed."""

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.common.v1.options_pb2 import (
    FIELD_CLASS_CASE_REF,
    PURPOSE_EDUCATION,
    PURPOSE_OPERATION,
    PURPOSE_TREATMENT,
)
from xinqiao.api.referral.v1 import referral_pb2 as pb
from xinqiao.api.referral.v1 import referral_service_pb2 as rpc
from xinqiao.api.screening.v1.screening_pb2 import TRIAGE_STATE_CONFIRMED
from xinqiao.config.clocks import Deadline
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.call import Call, asks_partners, outside_transaction
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.duties import open_duty, tell_guardian
from xinqiao.disclosure.policy import Relation
from xinqiao.disclosure.records import check_version, hide_chain, newest, own_row
from xinqiao.disclosure.registry import Partner, Reader
from xinqiao.disclosure.students import Known
from xinqiao.referral.book import CRISIS, Book, before_hold, change, known_of
from xinqiao.referral.capacity import Answers, Capacity, said
from xinqiao.referral.crisis import Fallback, Plan, pass_on
from xinqiao.referral.declines import Refusals
from xinqiao.referral.holdings import PhoneBook, list_holdings
from xinqiao.referral.post import Post
from xinqiao.referral.states import FINAL, Side, advance
from xinqiao.store import tables
from xinqiao.store.drills import is_drill
from xinqiao.store.errors import KeyGone, SealBroken
from xinqiao.store.sql import RowMapping
from xinqiao.store.tx import Tx

_PERSON_DECIDES = frozenset({"WITHDRAWN", "DISPUTED", "REFUSED", "SHREDDED"})
"""Why a red delivery may end without the machine looking for another hospital: somebody has said no."""


class DrillRoom(Protocol):
    """The functions behind the RPCs of drills."""

    def start(self, request: rpc.StartDrillRequest, call: Call) -> rpc.StartDrillResponse: ...
    def finish(self, request: rpc.FinishDrillRequest, call: Call) -> rpc.FinishDrillResponse: ...
    def get(self, request: rpc.GetDrillRequest, call: Call) -> rpc.GetDrillResponse: ...
    def page(self, request: rpc.ListDrillsRequest, call: Call) -> rpc.ListDrillsResponse: ...


class Referrals:
    """The functions behind ``ReferralService``."""

    drills: DrillRoom
    """Set once there is a pipeline, for a drill goes the way of every call."""

    def __init__(
        self, door: Door, deadline: Deadline, reads: Reader, capacity: Capacity, plan: Plan, refusals: Refusals,
        phones: PhoneBook,
    ) -> None:  # fmt: skip
        self.door = door
        self.book = Book(door, deadline)
        self.post = Post(door, reads)
        self.fallback = Fallback(self.book, self.post, plan)
        self._capacity = capacity
        self._refusals = refusals
        self._phones = phones

    def use(self, plan: Plan, services: Mapping[str, Sequence[str]], refusals: Refusals, phones: PhoneBook) -> None:
        """Go on with another crisis plan, other services, reasons to decline and telephones."""
        self.fallback.plan, self._capacity.services = plan, services
        self._refusals, self._phones = refusals, phones

    # -- a new referral ---------------------------------------------------------------------------------------------

    def ask_capacity(self, request: rpc.CreateReferralRequest, caller: Partner) -> object:
        """What to ask hospitals before the transaction, if anything."""
        del caller
        return self._capacity.question(request)

    @asks_partners("ask_capacity")
    def create_referral(self, request: rpc.CreateReferralRequest, call: Call) -> rpc.CreateReferralResponse:
        """Create, release to the recipient and hold; on a legal basis also open the duty to notify."""
        tx = call.tx
        known = self.door.students.resolve(tx, call.caller, request.student)
        named = self._capacity.candidates(request)
        for each in named:
            self.post.recipient(each)
        tier = self._tier(call, known, request)
        self._check_facts(request)
        call.student = known.id
        answers = cast("Answers", call.answers or {})
        choice = self._capacity.choose(named, answers, red=tier >= types.TIER_RED)
        referral = pb.Referral(
            sender=call.caller.agency,
            recipient=choice.recipient,
            state=pb.REFERRAL_STATE_DRAFT,
            tier=types.Tier.ValueType(tier),
            urgency=request.urgency,
            reason=request.reason,
            crisis_facts=request.crisis_facts,
            location=request.location,
            triage=request.triage,
            basis=request.basis,
            create_time_us=tx.now_us,
            note=request.note,
            support=request.support,
            recipients=choice.others,
        )
        self.fallback.cite(tx, known.id, referral, choice.recipient)
        if not request.draft:
            change(referral, pb.REFERRAL_EVENT_SEND, pb.REFERRAL_STATE_SENT, call.caller.id, tx.now_us)
        record = self.book.insert(tx, known, referral)
        response = rpc.CreateReferralResponse(referral=referral)
        response.asked.extend(rpc.CapacityAnswer(recipient=k, answer=said(v)) for k, v in answers.items())
        if not request.draft:
            response.withheld.extend(self.post.send(tx, known, referral, call.caller.id).withheld)
            response.duty = self._after_sending(call, known, referral)
        response.referral.student = self.door.students.name(call.caller.agency, known.id)
        call.view(response, student=known.id)
        kind = "referral.drafted" if request.draft else "referral.created"
        call.journal(kind, resource=referral.name, student=known.id, basis=referral.basis, payload=record)
        return response

    def _tier(self, call: Call, known: Known, request: rpc.CreateReferralRequest) -> int:
        """The tier that a person confirmed; in an emergency a proposed one will do, for red never waits."""
        row = own_row(call, tables.triages, request.triage.removeprefix("triages/"), "TRIAGE", "")
        if row["student"] != known.id:
            raise Refusal("NOT_FOUND", "TRIAGE", "no such triage for this student")
        if row["state"] == TRIAGE_STATE_CONFIRMED:
            return int(row["confirmed"])
        if request.urgency == pb.URGENCY_EMERGENCY:
            return max(int(row["proposed"]), types.TIER_RED)
        raise Refusal("FAILED_PRECONDITION", "TIER_NOT_CONFIRMED", "a person must confirm the tier first (ConfirmTier)")

    def _check_facts(self, request: rpc.CreateReferralRequest) -> None:
        found = self.door.bases.get(request.basis)
        owed = request.urgency == pb.URGENCY_EMERGENCY or (found is not None and found.needs_facts)
        if owed and not request.crisis_facts.strip():
            raise Refusal("INVALID_ARGUMENT", "FACTS_REQUIRED", "an emergency or a legal basis needs crisis_facts")

    def _after_sending(self, call: Call, known: Known, referral: pb.Referral) -> str:
        """The duties that a sending opens; that to notify, if there is one."""
        if referral.urgency == pb.URGENCY_EMERGENCY:
            tell_guardian(
                call.tx, self.door, student=known.id, school=known.school, triage=referral.triage,
                holder=self.door.registry.holder(known.school), tier=types.TIER_RED,
                deadline_us=self.book.deadline(types.TIER_RED, "guardian", call.tx.now_us),
            )  # fmt: skip
        if not referral.basis:
            return ""
        return open_duty(
            call.tx, self.door, student=known.id, school=known.school, basis=referral.basis, item=referral.name,
            holder=call.caller.id, tier=int(referral.tier), actor=call.caller.id, recipient=referral.recipient,
            purpose=self.post.purpose(referral.recipient), facts=referral.crisis_facts,
        )  # fmt: skip

    # -- reading ----------------------------------------------------------------------------------------------------

    def get_referral(self, request: rpc.GetReferralRequest, call: Call) -> rpc.GetReferralResponse:
        """The referral as its sender or recipient may see it."""
        row, side = self._find(call, request.name, "")
        return rpc.GetReferralResponse(referral=self._shown(call, row, side))

    def list_referrals(self, request: rpc.ListReferralsRequest, call: Call) -> rpc.ListReferralsResponse:
        """The caller's referrals, sent or received, newest first."""
        c = tables.referrals.c
        mine = (c.recipient == call.caller.agency) | (
            (c.sender == call.caller.agency) & c.school.in_(call.caller.schools)
        )
        rows, following = newest(call, tables.referrals, request, mine)
        shown: list[pb.Referral] = []
        for row in rows:
            try:
                shown.append(self._shown(call, row, self._side(call.caller, row)))
            except (KeyGone, SealBroken):  # one erased or broken record must not hide all the others
                shown.append(pb.Referral(name=f"referrals/{row['id']}", state=row["state"], etag=str(row["version"])))
        return rpc.ListReferralsResponse(referrals=shown, next_page_token=following)

    # -- events -----------------------------------------------------------------------------------------------------

    def advance_referral(self, request: rpc.AdvanceReferralRequest, call: Call) -> rpc.AdvanceReferralResponse:
        """Apply one event, and tell the other side."""
        if request.event == pb.REFERRAL_EVENT_REPORT_OUTCOME:
            raise Refusal("FAILED_PRECONDITION", "OUTCOME_REQUIRED", "use ReportOutcome, which carries the outcome")
        row, side = self._find(call, request.name, request.etag)
        call.student = str(row["student"])
        if self._over(call, row):
            referral = self.book.load(row)
        elif request.event == pb.REFERRAL_EVENT_REDIRECT:
            referral = self._redirect(call, row, side, request)
        else:
            referral = self._apply(call, row, side, request)
            if request.event == pb.REFERRAL_EVENT_SEND:
                self._send_again(call, row, referral)
            else:
                self.post.tell_other_side(call.tx, row, side, referral, call.caller.id)
        record = referral.SerializeToString()
        shown = self._view(call, referral, row, side)
        call.journal(
            "referral.advanced", resource=request.name, student=call.student,
            reason=pb.ReferralEvent.Name(request.event), payload=record,
        )  # fmt: skip
        return rpc.AdvanceReferralResponse(referral=shown)

    def report_outcome(self, request: rpc.ReportOutcomeRequest, call: Call) -> rpc.ReportOutcomeResponse:
        """Store the outcome, or its correction, and send the school what it may see of it."""
        row, side = self._find(call, request.name, request.etag)
        call.student = str(row["student"])
        referral = self.book.load(row)
        told = side == "recipient" and row["state"] == pb.REFERRAL_STATE_OUTCOME_REPORTED
        if not (self._over(call, row) or (told and referral.outcome == request.outcome)):
            event = rpc.AdvanceReferralRequest(event=pb.REFERRAL_EVENT_REPORT_OUTCOME)
            referral = self._apply(call, row, side, event, outcome=request.outcome)
            self.post.tell_other_side(call.tx, row, side, referral, call.caller.id)
        record = referral.SerializeToString()
        shown = self._view(call, referral, row, side)
        call.journal("referral.outcome", resource=request.name, student=call.student, payload=record)
        return rpc.ReportOutcomeResponse(referral=shown)

    def _over(self, call: Call, row: RowMapping) -> bool:
        """What comes late for a drill that is over changes nothing, and is nobody's fault."""
        return row["state"] in FINAL and is_drill(call.tx, str(row["student"]))

    def _apply(
        self, call: Call, row: RowMapping, side: Side, request: rpc.AdvanceReferralRequest,
        outcome: pb.Outcome | None = None,
    ) -> pb.Referral:  # fmt: skip
        referral = self.book.load(row)
        target = advance(int(row["state"]), request.event, side, reason=request.reason)
        if request.event == pb.REFERRAL_EVENT_RESUME:
            target = before_hold(referral)
        judged = self.post.purpose(referral.recipient) == PURPOSE_TREATMENT and not is_drill(
            call.tx, str(row["student"])
        )
        if target == pb.REFERRAL_STATE_DECLINED and judged:  # only a hospital may not refuse
            referral.reason_code = self._refusals.code(int(referral.tier), request.reason_code, request.reason)
        if request.event == pb.REFERRAL_EVENT_SEND:
            self.fallback.cite(call.tx, str(row["student"]), referral, referral.recipient)
        change(referral, request.event, target, call.caller.id, call.tx.now_us, request.reason)
        if request.appointment_us:
            referral.appointment_us = request.appointment_us
        if outcome is not None:
            if referral.HasField("outcome"):
                referral.earlier_outcomes.append(referral.outcome)
            referral.outcome.CopyFrom(outcome)
        self.book.store(call.tx, row, referral)
        return referral

    def _send_again(self, call: Call, row: RowMapping, referral: pb.Referral) -> None:
        """Send a draft for the first time, or once more what was declined or never answered."""
        known = known_of(row)
        self.post.send(call.tx, known, referral, call.caller.id)
        if row["state"] == pb.REFERRAL_STATE_DRAFT or referral.basis != self.book.load(row).basis:
            self._after_sending(call, known, referral)

    def _redirect(
        self, call: Call, row: RowMapping, side: Side, request: rpc.AdvanceReferralRequest
    ) -> pb.Referral:  # fmt: skip
        """Hand over to another recipient under a disclosure decision of its own; the chain is kept."""
        advance(int(row["state"]), request.event, side, reason=request.reason)
        referral, tx = self.book.load(row), call.tx
        tried = {str(each["recipient"]) for each in self.book.chain(tx, row)}
        recipient = request.recipient or next((each for each in referral.recipients if each not in tried), "")
        if not recipient or recipient == referral.recipient:
            raise Refusal("INVALID_ARGUMENT", "RECIPIENT", "name the next recipient; the referral's own list has none")
        self.post.recipient(recipient)
        self.fallback.cite(tx, str(row["student"]), referral, recipient)
        passed_on = pass_on(tx, self.book, self.post, row, referral, recipient, call.caller.id, request.reason)
        if passed_on.basis:
            open_duty(
                tx, self.door, student=str(row["student"]), school=str(row["school"]), basis=passed_on.basis,
                item=passed_on.name, holder=call.caller.id, tier=int(row["tier"]), actor=call.caller.id,
                recipient=passed_on.recipient, purpose=self.post.purpose(passed_on.recipient),
                facts=passed_on.crisis_facts,
            )  # fmt: skip
        return referral

    # -- what the delivery workers report ---------------------------------------------------------------------------

    def delivered(self, tx: Tx, delivery: RowMapping, receipt: str) -> None:
        """The recipient's system has the referral: that closes the delivery, not the referral."""
        del receipt
        row = self.book.row(tx, str(delivery["item"]))
        if row is None or row["state"] != pb.REFERRAL_STATE_SENT:
            return
        self._move(tx, row, pb.REFERRAL_EVENT_RECEIVE, pb.REFERRAL_STATE_RECEIVED, str(delivery["recipient"]), "")

    def undelivered(self, tx: Tx, item: str, reason: str, stopped: bool) -> None:
        """The recipient never got it: back to the sender, who can send it again, elsewhere, or withdraw it.

        An emergency does not wait for that: the next channel is told at once, unless somebody has said no, which only
        the door can know (``stopped``): a partner's adapter may give its refusal any name.
        """
        row = self.book.row(tx, item)
        if row is None or row["state"] != pb.REFERRAL_STATE_SENT:
            return
        readable = self._move(tx, row, pb.REFERRAL_EVENT_TIME_OUT, pb.REFERRAL_STATE_TIMED_OUT, "gateway", reason)
        if row["lane"] != CRISIS or (stopped and reason in _PERSON_DECIDES):
            return
        if readable:
            self.fallback.unconfirmed(tx, item)
        else:
            self.fallback.telephone(tx, row)

    def _move(self, tx: Tx, row: RowMapping, event: int, state: int, actor: str, reason: str) -> bool:
        """Put a referral in its next state; False when nobody can read it any more, and it moved all the same."""
        moved = self.book.move(tx, row, event, state, actor, reason)
        self.book.journal(tx, row, event, reason)
        return moved is not None

    # -- holdings and drills ----------------------------------------------------------------------------------------

    def list_holdings(self, request: rpc.ListHoldingsRequest, call: Call) -> rpc.ListHoldingsResponse:
        """Everything open that the caller may watch, by deadline."""
        return list_holdings(request, call, self._phones)

    @outside_transaction
    def start_drill(self, request: rpc.StartDrillRequest, call: Call) -> rpc.StartDrillResponse:
        """Play a red case that is none."""
        return self.drills.start(request, call)

    def finish_drill(self, request: rpc.FinishDrillRequest, call: Call) -> rpc.FinishDrillResponse:
        """End a drill and close what it left open."""
        return self.drills.finish(request, call)

    def get_drill(self, request: rpc.GetDrillRequest, call: Call) -> rpc.GetDrillResponse:
        """A drill and the times of its steps."""
        return self.drills.get(request, call)

    def list_drills(self, request: rpc.ListDrillsRequest, call: Call) -> rpc.ListDrillsResponse:
        """Drills, newest first."""
        return self.drills.page(request, call)

    # -- shared -----------------------------------------------------------------------------------------------------

    def _find(self, call: Call, name: str, etag: str) -> tuple[RowMapping, Side]:
        row = self.book.row(call.reading, name)
        side = self._side(call.caller, row) if row is not None else "gateway"
        if row is None or side == "gateway":
            raise Refusal("NOT_FOUND", "REFERRAL", "no such referral for this caller")
        check_version(row, etag)
        return row, side

    @staticmethod
    def _side(caller: Partner, row: RowMapping) -> Side:
        if caller.agency == row["recipient"]:
            return "recipient"
        return "sender" if caller.agency == row["sender"] and str(row["school"]) in caller.schools else "gateway"

    def _shown(self, call: Call, row: RowMapping, side: Side) -> pb.Referral:
        return self._view(call, self.book.load(row), row, side)

    def _purpose(self, call: Call, student: str, basis: str) -> int:
        """For what the recipient reads: its own purpose, or once that is over, to see where its referral stands."""
        purpose = self.post.purpose(call.caller.agency)
        mask, _ = self.door.permitted(
            call.reading, recipient=call.caller, purpose=purpose, student=student, relation="PARTY", basis=basis
        )
        return purpose if mask >> FIELD_CLASS_CASE_REF & 1 else PURPOSE_OPERATION

    def _view(self, call: Call, referral: pb.Referral, row: RowMapping, side: Side) -> pb.Referral:
        student = str(row["student"])
        referral.student = self.door.students.name(call.caller.agency, student)
        relation: Relation = "PARTY" if side == "recipient" else "OWN"
        if side == "recipient":
            hide_chain(referral)
        else:
            del referral.earlier_outcomes[:]
        outcome = pb.Outcome()
        if side == "sender" and referral.HasField("outcome"):
            # What a hospital found is not the school's own record: the school sees of it what EDUCATION allows.
            outcome.CopyFrom(referral.outcome)
            call.view(outcome, student=student, relation="OWN", purpose=PURPOSE_EDUCATION)
            referral.ClearField("outcome")
        basis = referral.basis if side == "recipient" else ""
        purpose = self._purpose(call, student, basis) if side == "recipient" else None
        call.view(referral, student=student, relation=relation, purpose=purpose, basis=basis)
        if outcome.ByteSize():
            referral.outcome.CopyFrom(outcome)
        return referral
