"""The referral contract: created under consent or law, delivered by its lane, held by exactly one side until closed."""

from collections.abc import Callable

from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.common.v1.options_pb2 import (
    PURPOSE_EDUCATION,
    PURPOSE_TREATMENT,
    ROLE_HOSPITAL,
    ROLE_OPERATOR,
)
from xinqiao.api.referral.v1 import referral_pb2 as pb
from xinqiao.api.referral.v1 import referral_service_pb2 as rpc
from xinqiao.api.screening.v1.screening_pb2 import TRIAGE_STATE_CONFIRMED, Assessment
from xinqiao.contract.errors import Refusal
from xinqiao.contract.paging import page_size, position, token
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door, Released, consented
from xinqiao.disclosure.duties import open_duty
from xinqiao.disclosure.policy import Relation
from xinqiao.disclosure.records import check_version, newest, own_row
from xinqiao.disclosure.registry import Partner
from xinqiao.disclosure.students import Known
from xinqiao.journal.append import append
from xinqiao.referral.states import FINAL, HOLDS, Side, advance
from xinqiao.store import tables
from xinqiao.store.errors import KeyGone, SealBroken
from xinqiao.store.holdings import drop, hold, page
from xinqiao.store.ids import new_id
from xinqiao.store.sql import RowMapping
from xinqiao.store.tx import ReadTx, Tx

Deadline = Callable[[int, str, int], int]
"""(tier, step, now_us) -> deadline_us, from the district's clocks."""

Reader = Callable[[str, str], int | None]
"""(agency, contract) -> mask of the classes its adapter declares that it reads, None where it has no adapter."""

_FORMS = 10  # the newest forms travel with a referral; a clinician wants the course, not the archive


class Referrals:
    """The functions behind ``ReferralService``."""

    def __init__(self, door: Door, deadline: Deadline, reads: Reader) -> None:
        self.door = door
        self.deadline = deadline
        self.reads = reads

    def create_referral(self, request: rpc.CreateReferralRequest, call: Call) -> rpc.CreateReferralResponse:
        """Create, release to the recipient and hold; on a legal basis also open the duty to notify."""
        known = self.door.students.resolve(call.tx, call.caller, request.student)
        recipient = self.door.registry.find(request.recipient)
        if recipient is None or recipient.agency != recipient.id or ROLE_HOSPITAL not in recipient.roles:
            raise Refusal("NOT_FOUND", "RECIPIENT", "no such partner takes referrals")
        tier, confirmed = self._tier(call, known, request)
        self._check_facts(request)
        call.student = known.id
        identifier = new_id(call.tx.now_us)
        referral = pb.Referral(
            sender=call.caller.agency,
            recipient=recipient.id,
            state=pb.REFERRAL_STATE_SENT,
            tier=types.Tier.ValueType(tier),
            urgency=request.urgency,
            reason=request.reason,
            crisis_facts=request.crisis_facts,
            location=request.location,
            triage=request.triage,
            basis=request.basis,
            create_time_us=call.tx.now_us,
            note=request.note,
        )
        referral.history.add(
            event=pb.REFERRAL_EVENT_SEND, state=referral.state, actor=call.caller.id, time_us=call.tx.now_us
        )
        record = self._seal(identifier, known.id, referral)
        crisis = request.urgency == pb.URGENCY_EMERGENCY
        call.tx.insert(
            tables.referrals, identifier, known.id, known.school, referral.sender, referral.recipient,
            int(referral.state), tier, 2 if crisis else 1, call.tx.now_us, call.tx.now_us, 1, record,
        )  # fmt: skip
        referral.name, referral.etag = f"referrals/{identifier}", "1"
        released = self._send(call, known, recipient, referral, crisis)
        self._hold(call.tx, identifier, known.id, known.school, referral)
        if confirmed:  # an unconfirmed triage still waits for its person, crisis or not
            drop(call.tx, request.triage)
        response = rpc.CreateReferralResponse(referral=referral, withheld=released.withheld)
        if request.basis:
            response.duty = open_duty(
                call.tx, self.door, student=known.id, school=known.school, basis=request.basis, item=referral.name,
                holder=call.caller.id, tier=tier,
            )  # fmt: skip
        response.referral.student = self.door.students.name(call.caller.agency, known.id)
        call.view(response, student=known.id)
        call.journal("referral.created", resource=referral.name, student=known.id, basis=request.basis, payload=record)
        return response

    def _tier(self, call: Call, known: Known, request: rpc.CreateReferralRequest) -> tuple[int, bool]:
        """The tier and whether a person confirmed it; in an emergency a proposed one will do, for red never waits."""
        row = own_row(call, tables.triages, request.triage.removeprefix("triages/"), "TRIAGE", "")
        if row["student"] != known.id:
            raise Refusal("NOT_FOUND", "TRIAGE", "no such triage for this student")
        if row["state"] == TRIAGE_STATE_CONFIRMED:
            return int(row["confirmed"]), True
        if request.urgency == pb.URGENCY_EMERGENCY:
            return max(int(row["proposed"]), types.TIER_RED), False
        raise Refusal("FAILED_PRECONDITION", "TIER_NOT_CONFIRMED", "a person must confirm the tier first (ConfirmTier)")

    def _check_facts(self, request: rpc.CreateReferralRequest) -> None:
        found = self.door.bases.get(request.basis)
        owed = request.urgency == pb.URGENCY_EMERGENCY or (found is not None and found.needs_facts)
        if owed and not request.crisis_facts.strip():
            raise Refusal("INVALID_ARGUMENT", "FACTS_REQUIRED", "an emergency or a legal basis needs crisis_facts")

    def _send(self, call: Call, known: Known, recipient: Partner, referral: pb.Referral, crisis: bool) -> Released:
        tx, door = call.tx, self.door
        package = pb.ReferralPackage(referral=referral, sender_title=call.caller.names.get("zh", ""))
        package.referral.student = door.students.name(recipient.agency, known.id)
        package.student.CopyFrom(door.students.load(tx, known.id, recipient.agency))
        package.student.local_id = ""
        # A guardian in conflict with the child must not be called by anyone who got the number from us.
        reachable = [guardian for guardian in package.student.guardians if not guardian.in_conflict]
        del package.student.guardians[:]
        package.student.guardians.extend(reachable)
        package.assessments.extend(self._forms(tx, known.id, recipient.agency))
        consent = consented(tx, known.id, recipient.agency, PURPOSE_TREATMENT)
        if referral.basis:
            found = door.bases.get(referral.basis)
            if found is not None:
                package.basis.id, package.basis.version = found.id, found.version
                package.basis.citation = found.citation.get("zh", "")
        elif consent.consent:
            row = tx.get(tables.consents, consent.consent)
            if row is not None:
                package.consent.consent = f"consents/{consent.consent}"
                package.consent.given_us, package.consent.expires_us = row["created_us"], row["not_after_us"]
        declared = self.reads(recipient.agency, "referral")
        return door.release(
            tx, package, recipient=recipient, purpose=PURPOSE_TREATMENT, student=known.id, relation="PARTY",
            kind="referral", item=referral.name, actor=call.caller.id, key=f"{referral.name.replace('/', '.')}.v{referral.etag}",
            basis=referral.basis, declared=-1 if declared is None else declared,
            lane="crisis" if crisis else "routine", enqueue=declared is not None,
        )  # fmt: skip

    def _forms(self, tx: ReadTx, student: str, agency: str) -> list[Assessment]:
        c = tables.assessments.c
        rows = tx.all(
            tables.assessments.select().where(c.student == student).order_by(c.created_us.desc(), c.id).limit(_FORMS)
        )
        sealer = self.door.keys.sealer(student)
        forms: list[Assessment] = []
        for row in rows:
            form = Assessment.FromString(sealer.open(bytes(row["sealed"]), table="assessments", key=str(row["id"])))
            form.name, form.student = f"assessments/{row['id']}", self.door.students.name(agency, student)
            forms.append(form)
        return forms

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

    def advance_referral(self, request: rpc.AdvanceReferralRequest, call: Call) -> rpc.AdvanceReferralResponse:
        """Apply one event, and tell the other side."""
        if request.event == pb.REFERRAL_EVENT_REPORT_OUTCOME:
            raise Refusal("FAILED_PRECONDITION", "OUTCOME_REQUIRED", "use ReportOutcome, which carries the outcome")
        row, side = self._find(call, request.name, request.etag)
        referral = self._apply(call, row, side, request.event, request.reason, request.appointment_us)
        if request.event == pb.REFERRAL_EVENT_SEND:
            self._send_again(call, row, referral)
        else:
            self._tell_other_side(call, row, side, referral)
        call.student, record = str(row["student"]), referral.SerializeToString()
        shown = self._view(call, referral, row, side)
        call.journal(
            "referral.advanced", resource=request.name, student=call.student,
            reason=pb.ReferralEvent.Name(request.event), payload=record,
        )  # fmt: skip
        return rpc.AdvanceReferralResponse(referral=shown)

    def report_outcome(self, request: rpc.ReportOutcomeRequest, call: Call) -> rpc.ReportOutcomeResponse:
        """Store the outcome and send the school what it may see of it."""
        row, side = self._find(call, request.name, request.etag)
        referral = self._apply(call, row, side, pb.REFERRAL_EVENT_REPORT_OUTCOME, "", 0, outcome=request.outcome)
        self._tell_other_side(call, row, side, referral)
        call.student, record = str(row["student"]), referral.SerializeToString()
        shown = self._view(call, referral, row, side)
        call.journal("referral.outcome", resource=request.name, student=call.student, payload=record)
        return rpc.ReportOutcomeResponse(referral=shown)

    def list_holdings(self, request: rpc.ListHoldingsRequest, call: Call) -> rpc.ListHoldingsResponse:
        """Everything open that the caller may watch, by deadline."""
        size = page_size(request.page_size)
        everything = ROLE_OPERATOR in call.caller.roles
        rows = page(
            call.reading,
            schools=None if everything else call.caller.schools,
            holders=None if everything else [call.caller.id, call.caller.agency],
            after=position(request.page_token),
            limit=size + 1,
        )
        response = rpc.ListHoldingsResponse()
        for row in rows[:size]:
            holding = types.Holding(
                item=row["item"], kind=row["kind"], holder=row["holder"], deadline_us=row["deadline_us"],
                step=row["step"], tier=row["tier"], escalations=row["escalations"], opened_us=row["opened_us"],
            )  # fmt: skip
            if row["student"]:
                own = str(row["school"]) in call.caller.schools
                call.view(holding, student=str(row["student"]), relation="OWN" if own else "PARTY")
            response.holdings.append(holding)
        if len(rows) > size:
            response.next_page_token = token(int(rows[size - 1]["deadline_us"]), str(rows[size - 1]["item"]))
        return response

    def delivered(self, tx: Tx, delivery: RowMapping, receipt: str) -> None:
        """The recipient's system has the referral: that closes the delivery, not the referral."""
        identifier = str(delivery["item"]).removeprefix("referrals/")
        row = tx.get(tables.referrals, identifier)
        if row is None or row["state"] != pb.REFERRAL_STATE_SENT:
            return
        referral = self._load(row)
        referral.state = pb.REFERRAL_STATE_RECEIVED
        referral.history.add(
            event=pb.REFERRAL_EVENT_RECEIVE, state=referral.state, actor=str(delivery["recipient"]), time_us=tx.now_us
        )
        self._store(tx, row, referral)
        append(
            tx, kind="referral.advanced", decision="permit", actor="gateway", partner=str(delivery["recipient"]),
            purpose=PURPOSE_TREATMENT, student=str(row["student"]), resource=str(delivery["item"]),
            reason="REFERRAL_EVENT_RECEIVE", policy_version=self.door.policy.version,
        )  # fmt: skip

    def undelivered(self, tx: Tx, item: str, reason: str) -> None:
        """The recipient never got it: back to the sender, who can send it again, elsewhere, or withdraw it."""
        row = tx.get(tables.referrals, item.removeprefix("referrals/"))
        if row is None or row["state"] != pb.REFERRAL_STATE_SENT:
            return
        referral = self._load(row)
        referral.state, referral.state_reason = pb.REFERRAL_STATE_TIMED_OUT, reason
        referral.history.add(event=pb.REFERRAL_EVENT_TIME_OUT, state=referral.state, actor="gateway", time_us=tx.now_us)
        self._store(tx, row, referral)
        append(
            tx, kind="referral.advanced", decision="permit", actor="gateway", partner=referral.recipient,
            purpose=PURPOSE_TREATMENT, student=str(row["student"]), resource=item,
            reason=f"REFERRAL_EVENT_TIME_OUT:{reason}", policy_version=self.door.policy.version,
        )  # fmt: skip

    def _send_again(self, call: Call, row: RowMapping, referral: pb.Referral) -> None:
        recipient = self.door.registry.find(referral.recipient)
        if recipient is None:
            raise Refusal("NOT_FOUND", "RECIPIENT", "the recipient is no longer a partner; redirect the referral")
        self._send(call, Known(str(row["student"]), str(row["school"])), recipient, referral, row["lane"] == 2)

    def _apply(
        self, call: Call, row: RowMapping, side: Side, event: int, reason: str, appointment_us: int,
        outcome: pb.Outcome | None = None,
    ) -> pb.Referral:  # fmt: skip
        referral = self._load(row)
        target = advance(int(row["state"]), event, side, reason=reason)
        if event == pb.REFERRAL_EVENT_RESUME:
            target = _before_hold(referral)
        referral.state = pb.ReferralState.ValueType(target)
        referral.state_reason = reason
        if appointment_us:
            referral.appointment_us = appointment_us
        if outcome is not None:
            referral.outcome.CopyFrom(outcome)
        referral.history.add(
            event=pb.ReferralEvent.ValueType(event), state=referral.state, actor=call.caller.id,
            time_us=call.tx.now_us,
        )  # fmt: skip
        self._store(call.tx, row, referral)
        return referral

    def _tell_other_side(self, call: Call, row: RowMapping, side: Side, referral: pb.Referral) -> None:
        other = self.door.registry.find(referral.recipient if side == "sender" else referral.sender)
        declared = self.reads(other.agency, "referral_update") if other else None
        if other is None or declared is None:
            return
        update = pb.Referral()
        update.CopyFrom(referral)
        update.student = self.door.students.name(other.agency, str(row["student"]))
        try:
            self.door.release(
                call.tx, update, recipient=other,
                purpose=PURPOSE_TREATMENT if side == "sender" else PURPOSE_EDUCATION,
                student=str(row["student"]), relation="PARTY" if side == "sender" else "OWN", kind="referral_update",
                item=referral.name, actor=call.caller.id, key=f"{referral.name.replace('/', '.')}.v{referral.etag}",
                basis=referral.basis if side == "sender" else "", declared=declared,
                lane="crisis" if row["lane"] == 2 else "routine",
            )  # fmt: skip
        except Refusal as refusal:
            # The event stands although the other side may not be told; that it was not told is on record.
            append(
                call.tx, kind="refused", decision="deny", actor=call.caller.id, partner=other.agency,
                purpose=call.method.purpose, student=str(row["student"]), resource=referral.name,
                reason=refusal.reason, policy_version=self.door.policy.version,
            )  # fmt: skip

    def _find(self, call: Call, name: str, etag: str) -> tuple[RowMapping, Side]:
        row = call.reading.get(tables.referrals, name.removeprefix("referrals/"))
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
        return self._view(call, self._load(row), row, side)

    def _view(self, call: Call, referral: pb.Referral, row: RowMapping, side: Side) -> pb.Referral:
        student = str(row["student"])
        referral.student = self.door.students.name(call.caller.agency, student)
        relation: Relation = "PARTY" if side == "recipient" else "OWN"
        outcome = pb.Outcome()
        if side == "sender" and referral.HasField("outcome"):
            # What a hospital found is not the school's own record: the school sees of it what EDUCATION allows.
            outcome.CopyFrom(referral.outcome)
            call.view(outcome, student=student, relation="OWN", purpose=PURPOSE_EDUCATION)
            referral.ClearField("outcome")
        call.view(referral, student=student, relation=relation, basis=referral.basis if side == "recipient" else "")
        if outcome.ByteSize():
            referral.outcome.CopyFrom(outcome)
        return referral

    def _load(self, row: RowMapping) -> pb.Referral:
        identifier, student = str(row["id"]), str(row["student"])
        sealer = self.door.keys.sealer(student)
        referral = pb.Referral.FromString(sealer.open(bytes(row["sealed"]), table="referrals", key=identifier))
        referral.name, referral.etag = f"referrals/{identifier}", str(row["version"])
        return referral

    def _store(self, tx: Tx, row: RowMapping, referral: pb.Referral) -> None:
        identifier, student, version = str(row["id"]), str(row["student"]), int(row["version"]) + 1
        tx.update(
            tables.referrals, (identifier,), state=int(referral.state), updated_us=tx.now_us, version=version,
            sealed=self._seal(identifier, student, referral),
        )  # fmt: skip
        referral.etag = str(version)
        self._hold(tx, identifier, student, str(row["school"]), referral)

    def _seal(self, identifier: str, student: str, referral: pb.Referral) -> bytes:
        stored = pb.Referral()
        stored.CopyFrom(referral)
        stored.name = stored.etag = stored.student = ""
        return self.door.keys.sealer(student).seal(stored.SerializeToString(), table="referrals", key=identifier)

    def _hold(self, tx: Tx, identifier: str, student: str, school: str, referral: pb.Referral) -> None:
        """Exactly one holder and deadline while the referral is open, none once it is final."""
        if referral.state in FINAL:
            drop(tx, f"referrals/{identifier}")
            if referral.state != pb.REFERRAL_STATE_CLOSED and referral.tier >= types.TIER_ORANGE:
                # Withdrawn without an outcome: the case is as serious as before, so somebody still holds it.
                hold(
                    tx, referral.triage, kind="triage", school=school, student=student, step="refer",
                    holder=self.door.registry.holder(school), tier=int(referral.tier),
                    deadline_us=self.deadline(int(referral.tier), "refer", tx.now_us),
                )  # fmt: skip
            return
        side, step = HOLDS[referral.state]
        hold(
            tx, f"referrals/{identifier}", kind="referral", school=school, student=student, step=step,
            holder=referral.recipient if side == "recipient" else self.door.registry.holder(school),
            deadline_us=self.deadline(int(referral.tier), step, tx.now_us), tier=int(referral.tier),
        )  # fmt: skip


def _before_hold(referral: pb.Referral) -> int:
    """The state a pause interrupted: going on wins nothing and forges nothing."""
    states = [change.state for change in referral.history]
    paused = len(states) - 1 - states[::-1].index(pb.REFERRAL_STATE_ON_HOLD)
    return states[paused - 1]
