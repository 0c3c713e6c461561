"""The case-file contract: students registered, consents kept and withdrawn, cases shown as the door lets them."""

import secrets
from collections.abc import Callable
from datetime import date

from xinqiao.api.casefile.v1 import casefile_pb2 as pb
from xinqiao.api.casefile.v1 import casefile_service_pb2 as rpc
from xinqiao.api.common.v1.options_pb2 import FIELD_CLASS_COUNSELLING_NOTE, FieldClass
from xinqiao.api.common.v1.types_pb2 import Tier
from xinqiao.casefile.ages import under_fourteen
from xinqiao.casefile.erasure import Erasure
from xinqiao.contract.clock import local_date
from xinqiao.contract.errors import Refusal, Violation
from xinqiao.contract.fields import ALL_CLASSES, mask_of
from xinqiao.disclosure.call import Call, outside_transaction, prepares
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.policy import Relation, decide
from xinqiao.disclosure.records import own_row
from xinqiao.disclosure.registry import Partner
from xinqiao.disclosure.students import Known, Prepared, Read
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState
from xinqiao.store.errors import SealBroken
from xinqiao.store.holdings import drop
from xinqiao.store.sql import RowMapping, Table, func
from xinqiao.store.tx import Tx

_YEAR_US = 366 * 86_400_000_000
_WORTH = 32  # students for which preparing pays


class CaseFile:
    """The functions behind ``CaseFileService``."""

    def __init__(
        self,
        door: Door,
        undelivered: Callable[[Tx, str, str, bool], None],
        read: Read,
        erasure: Erasure,
    ) -> None:
        """``undelivered`` takes back the record of a delivery that a withdrawal cancels: (tx, item, reason, True).

        ``read`` gives a snapshot.
        """
        self.door = door
        self._erasure = erasure
        self._undelivered = undelivered
        self._read = read

    def prepare_students(self, request: rpc.RegisterStudentsRequest, caller: Partner) -> Callable[[], Prepared] | None:
        """Keys and seals of a roster's new students; None for few, and for a request that will be refused anyway."""
        students = self.door.students
        if len(request.students) < _WORTH or not {each.school for each in request.students} <= caller.schools:
            return None

        return lambda: students.prepare(self._read, caller, request.students)

    @prepares("prepare_students")
    def register_students(self, request: rpc.RegisterStudentsRequest, call: Call) -> rpc.RegisterStudentsResponse:
        """Insert or update the caller's students, all or none."""
        students = self.door.students
        _check_birth_dates(request, local_date(call.tx.now_us))
        prepared = call.answers if isinstance(call.answers, Prepared) else None
        known = students.register_all(call.tx, call.caller, request.students, prepared)
        call.journal(
            "students.registered", resource=f"partners/{call.caller.agency}", reason=f"students:{len(request.students)}"
        )
        if request.without_names:
            return rpc.RegisterStudentsResponse()
        return rpc.RegisterStudentsResponse(names=students.names(call.caller.agency, [each.id for each in known]))

    def record_consent(self, request: rpc.RecordConsentRequest, call: Call) -> rpc.RecordConsentResponse:
        """Keep a consent, or a refusal, with its evidence; an earlier word of the same signer is superseded."""
        known = self.door.students.resolve(call.tx, call.caller, request.student)
        consent = pb.Consent()
        consent.CopyFrom(request.consent)
        self._check(call, known, consent)
        call.student = known.id
        identifier = secrets.token_hex(16)
        consent.name = consent.student = consent.etag = ""
        consent.not_before_us = consent.not_before_us or call.tx.now_us
        consent.create_time_us = call.tx.now_us
        self._supersede(call, known, consent)
        record = consent.SerializeToString()
        call.tx.insert(
            tables.consents, identifier, known.id, consent.recipient, int(consent.purpose),
            mask_of(list(consent.classes)), int(consent.state), consent.not_before_us, consent.not_after_us,
            call.tx.now_us, call.tx.now_us, 1,
            self.door.keys.sealer(known.id).seal(record, table="consents", key=identifier),
        )  # fmt: skip
        consent.name, consent.etag = f"consents/{identifier}", "1"
        consent.student = self.door.students.name(call.caller.agency, known.id)
        response = rpc.RecordConsentResponse(consent=consent)
        call.view(response, student=known.id, relation="OWN")
        call.journal(
            "consent.recorded", resource=consent.name, student=known.id,
            reason=pb.ConsentState.Name(consent.state), payload=record,
        )  # fmt: skip
        return response

    def _check(self, call: Call, known: Known, consent: pb.Consent) -> None:
        recipient = self.door.registry.find(consent.recipient)
        if recipient is None or recipient.agency != recipient.id:
            raise Refusal("NOT_FOUND", "RECIPIENT", "no such partner agency")
        if FIELD_CLASS_COUNSELLING_NOTE in consent.classes:
            raise Refusal("INVALID_ARGUMENT", "CLASS_NEVER_SHARED", "counselling notes are never shared")
        if consent.state not in (pb.CONSENT_STATE_GIVEN, pb.CONSENT_STATE_REFUSED, pb.CONSENT_STATE_DISPUTED):
            raise Refusal("INVALID_ARGUMENT", "ENUM", "a consent is recorded as GIVEN, REFUSED or DISPUTED")
        start = consent.not_before_us or call.tx.now_us
        if not start < consent.not_after_us <= start + _YEAR_US or consent.not_after_us <= call.tx.now_us:
            raise Refusal("INVALID_ARGUMENT", "TERM", "a consent holds for at most 12 months and must not be over")
        born = self.door.students.load(call.tx, known.id, call.caller.agency).birth_date
        young = under_fourteen(born, local_date(call.tx.now_us))
        if young and consent.signer == pb.SIGNER_STUDENT:
            raise Refusal("FAILED_PRECONDITION", "GUARDIAN_REQUIRED", "under 14 a guardian must sign (PIPL art. 31)")
        if not young and consent.signer == pb.SIGNER_GUARDIAN and consent.state == pb.CONSENT_STATE_GIVEN:
            raise Refusal("FAILED_PRECONDITION", "STUDENT_REQUIRED", "from 14 on the student must sign too")

    def _supersede(self, call: Call, known: Known, consent: pb.Consent) -> None:
        c = tables.consents.c
        rows = call.tx.all(
            tables.consents.select().where(
                (c.student == known.id) & (c.recipient == consent.recipient) & (c.purpose == int(consent.purpose))
                & c.state.in_([pb.CONSENT_STATE_GIVEN, pb.CONSENT_STATE_REFUSED, pb.CONSENT_STATE_DISPUTED])
            )
        )  # fmt: skip
        for row in rows:
            # A dispute ends only when both have signed.
            same = row["state"] != pb.CONSENT_STATE_DISPUTED and consent.signer == self._open(row).signer
            if same or consent.signer == pb.SIGNER_BOTH:
                call.tx.update(
                    tables.consents, (row["id"],), state=int(pb.CONSENT_STATE_SUPERSEDED), updated_us=call.tx.now_us
                )

    def withdraw_consent(self, request: rpc.WithdrawConsentRequest, call: Call) -> rpc.WithdrawConsentResponse:
        """Take a consent back: from this commit nothing starts under it, and what is queued is cancelled."""
        identifier = request.name.removeprefix("consents/")
        row = call.tx.get(tables.consents, identifier)
        owner = call.tx.get(tables.students, str(row["student"])) if row is not None else None
        if row is None or owner is None or str(owner["school"]) not in call.caller.schools:
            raise Refusal("NOT_FOUND", "CONSENT", "no such consent for this caller")
        if row["state"] != pb.CONSENT_STATE_GIVEN:
            raise Refusal("FAILED_PRECONDITION", "STATE", "the consent is not in force")
        student = str(row["student"])
        call.student = student
        call.tx.update(
            tables.consents, (identifier,), state=int(pb.CONSENT_STATE_WITHDRAWN), updated_us=call.tx.now_us,
            version=int(row["version"]) + 1,
        )  # fmt: skip
        d = tables.deliveries
        queued = call.tx.all(
            d.select()
            .with_only_columns(d.c.id, d.c.kind, d.c.item)
            .where(
                (d.c.student == student) & (d.c.recipient == row["recipient"]) & (d.c.purpose == row["purpose"])
                & (d.c.basis == "") & d.c.state.in_([int(DeliveryState.PENDING), int(DeliveryState.DEAD)])
            )
        )  # fmt: skip
        for delivery in queued:
            call.tx.update(
                d, (delivery["id"],), state=int(DeliveryState.CANCELLED), last_reason="WITHDRAWN", payload=None,
                updated_us=call.tx.now_us,
            )  # fmt: skip
            drop(call.tx, f"deliveries/{delivery['id']}")
            if delivery["kind"] == "referral":
                self._undelivered(call.tx, str(delivery["item"]), "WITHDRAWN", True)
        cancelled = len(queued)
        consent = self._open(row)
        consent.name, consent.etag = request.name, str(int(row["version"]) + 1)
        consent.state = pb.CONSENT_STATE_WITHDRAWN
        consent.student = self.door.students.name(call.caller.agency, student)
        response = rpc.WithdrawConsentResponse(consent=consent, cancelled_deliveries=cancelled)
        call.view(response, student=student)
        call.journal("consent.withdrawn", resource=request.name, student=student, reason=f"cancelled:{cancelled}")
        return response

    def get_case(self, request: rpc.GetCaseRequest, call: Call) -> rpc.GetCaseResponse:
        """The case as the caller may see it, with what was kept back."""
        known = self._known(call, request)
        case = pb.Case(student=self.door.students.load(call.reading, known.id, call.caller.agency))
        own = known.school in call.caller.schools
        if not own:
            case.student.local_id = ""
        t = tables.triages.c
        highest = call.reading.scalar(
            tables.triages.select().with_only_columns(func.max(t.confirmed)).where(t.student == known.id)
        )
        case.tier = Tier.ValueType(highest or 0)
        for row in self._rows(call, tables.consents, known.id):
            try:
                consent = self._open(row)
            except SealBroken:  # one broken record must not hide the case: it shows its plain columns
                consent = pb.Consent(recipient=str(row["recipient"]), purpose=row["purpose"])
            consent.name, consent.etag, consent.state = f"consents/{row['id']}", str(row["version"]), row["state"]
            case.consents.append(consent)
        for row in self._rows(call, tables.duties, known.id):
            try:
                duty = self.door.keys.record(pb.Duty, row, table="duties")
            except SealBroken:
                duty = pb.Duty(kind=str(row["kind"]), basis=str(row["basis"]))
            duty.name, duty.state = f"duties/{row['id']}", row["state"]
            case.duties.append(duty)
        h = tables.holdings
        for row in call.reading.all(h.select().where(h.c.student == known.id).order_by(h.c.deadline_us)):
            case.holdings.add(
                item=row["item"], kind=row["kind"], holder=row["holder"], deadline_us=row["deadline_us"],
                step=row["step"], tier=row["tier"], escalations=row["escalations"], opened_us=row["opened_us"],
            )  # fmt: skip
        relation: Relation = "OWN" if own else "PARTY"
        response = rpc.GetCaseResponse(withheld=call.view(case, student=known.id, relation=relation), case=case)
        call.view(response, student=known.id, relation=relation)  # what was kept back tells something too
        return response

    def explain_disclosure(self, request: rpc.ExplainDisclosureRequest, call: Call) -> rpc.ExplainDisclosureResponse:
        """Rule by rule what a partner would see now; nothing is released."""
        known = self._known(call, request)
        recipient = self.door.registry.find(request.recipient)
        if recipient is None:
            raise Refusal("NOT_FOUND", "RECIPIENT", "no such partner")
        asked = self.door.question(
            call.reading, recipient=recipient, purpose=int(request.purpose), student=known.id,
            relation="OWN" if known.school in recipient.schools else "PARTY", basis=request.basis,
        )  # fmt: skip
        response = rpc.ExplainDisclosureResponse(policy_version=self.door.policy.version)
        for field_class in ALL_CLASSES:
            decisions = [
                decide(self.door.policy, asked._replace(role=role, field_class=field_class))
                for role in sorted(recipient.roles)
            ]
            best = next((d for d in decisions if d.permit), decisions[0])
            response.verdicts.add(
                field_class=FieldClass.ValueType(field_class), permitted=best.permit, rule=best.rule,
                reason=best.reason,
            )  # fmt: skip
        call.disclosed[known.id] = 0
        return response

    def discharge_duty(self, request: rpc.DischargeDutyRequest, call: Call) -> rpc.DischargeDutyResponse:
        """Mark a duty as done and release its holder."""
        identifier = request.name.removeprefix("duties/")
        row = own_row(call, tables.duties, identifier, "DUTY", "")
        if row["state"] != pb.DUTY_STATE_OPEN:
            raise Refusal("FAILED_PRECONDITION", "STATE", "the duty is discharged already")
        student = str(row["student"])
        call.student = student
        duty = self.door.keys.record(pb.Duty, row, table="duties")
        if request.told and duty.kind == "tell-guardian":
            guardians = self.door.students.load(call.tx, student, call.caller.agency).guardians
            if any(each.in_conflict and each.full_name == request.told for each in guardians):
                raise Refusal(
                    "FAILED_PRECONDITION", "GUARDIAN_IN_CONFLICT", "this guardian must not be told; tell another"
                )
        duty.state, duty.how = pb.DUTY_STATE_DISCHARGED, request.how
        record = duty.SerializeToString()
        call.tx.update(
            tables.duties, (identifier,), state=int(duty.state), updated_us=call.tx.now_us,
            version=int(row["version"]) + 1, sealed=self.door.keys.sealer(student).seal(record, table="duties", key=identifier),
        )  # fmt: skip
        drop(call.tx, request.name)
        duty.name, duty.student = request.name, self.door.students.name(call.caller.agency, student)
        response = rpc.DischargeDutyResponse(duty=duty)
        call.view(response, student=student)
        call.journal("duty.discharged", resource=request.name, student=student, payload=record)
        return response

    @outside_transaction
    def shred_student(self, request: rpc.ShredStudentRequest, call: Call) -> rpc.ShredStudentResponse:
        """Erase a student; two databases change, so it runs in transactions of its own."""
        return self._erasure.shred(request, call)

    def _known(self, call: Call, request: "rpc.GetCaseRequest | rpc.ExplainDisclosureRequest") -> Known:
        known = self.door.students.resolve(call.reading, call.caller, request.student)
        call.student = known.id
        return known

    def _rows(self, call: Call, table: Table, student: str) -> "list[RowMapping]":
        return list(
            call.reading.all(table.select().where(table.c.student == student).order_by(table.c.created_us.desc()))
        )

    def _open(self, row: RowMapping) -> pb.Consent:
        return self.door.keys.record(pb.Consent, row, table="consents")


def _check_birth_dates(request: rpc.RegisterStudentsRequest, today: date) -> None:
    """Raises Refusal INVALID_ARGUMENT/DATE_RANGE on a day that does not exist or has not come yet."""
    for index, student in enumerate(request.students):
        try:
            ahead = bool(student.birth_date) and date.fromisoformat(student.birth_date) > today
        except ValueError:
            ahead = True
        if ahead:
            where = f"students[{index}].birth_date"
            raise Refusal(
                "INVALID_ARGUMENT", "DATE_RANGE", f"{where} is not a day of the calendar up to today",
                violations=(Violation(where, "DATE_RANGE", "send the day of birth, or leave it empty"),),
            )  # fmt: skip
