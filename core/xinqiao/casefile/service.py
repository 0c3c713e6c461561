"""The case-file contract: students registered, consents kept and withdrawn, cases shown as the door lets them."""

from collections.abc import Callable
from datetime import date

from xinqiao.api.casefile.v1 import casefile_pb2 as pb
from xinqiao.api.casefile.v1 import casefile_service_pb2 as rpc
from xinqiao.api.common.v1.options_pb2 import FieldClass
from xinqiao.api.common.v1.types_pb2 import Tier
from xinqiao.casefile.consents import Consents, state_now
from xinqiao.contract.clock import local_date
from xinqiao.contract.errors import Refusal, Violation
from xinqiao.contract.fields import ALL_CLASSES
from xinqiao.disclosure.call import Call, prepares
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.guardians import reachable
from xinqiao.disclosure.policy import Relation, decide
from xinqiao.disclosure.records import own_row
from xinqiao.disclosure.registry import Partner
from xinqiao.disclosure.students import Known, Prepared, Read
from xinqiao.store import tables
from xinqiao.store.errors import SealBroken
from xinqiao.store.holdings import drop
from xinqiao.store.sql import RowMapping, Table, func

_WORTH = 32  # students for which preparing pays


class CaseFile:
    """The functions behind ``CaseFileService``."""

    def __init__(self, door: Door, consents: Consents, read: Read) -> None:
        """``read`` gives a snapshot."""
        self.door = door
        self.consents = consents
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
        """Keep a consent, or a refusal, with its evidence."""
        return self.consents.record(request, call)

    def withdraw_consent(self, request: rpc.WithdrawConsentRequest, call: Call) -> rpc.WithdrawConsentResponse:
        """Take a consent back, with all that follows."""
        return self.consents.withdraw(request, call)

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
                consent = self.door.keys.record(pb.Consent, row, table="consents")
            except SealBroken:  # one broken record must not hide the case: it shows its plain columns
                consent = pb.Consent(recipient=str(row["recipient"]), purpose=row["purpose"])
            consent.name, consent.etag = f"consents/{row['id']}", str(row["version"])
            consent.state = state_now(row, call.reading.now_us)
            case.consents.append(consent)
        for row in self._rows(call, tables.duties, known.id):
            try:
                duty = self.door.keys.record(pb.Duty, row, table="duties")
            except SealBroken:
                duty = pb.Duty(kind=str(row["kind"]), basis=str(row["basis"]))
            duty.name, duty.state = f"duties/{row['id']}", row["state"]
            if duty.contacts:  # as the record has them now: one flagged since must not be told
                del duty.contacts[:]
                duty.contacts.extend(reachable(case.student.guardians))
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
        if request.told and duty.tell == "GUARDIAN":
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

    def _known(self, call: Call, request: "rpc.GetCaseRequest | rpc.ExplainDisclosureRequest") -> Known:
        known = self.door.students.resolve(call.reading, call.caller, request.student)
        call.student = known.id
        return known

    def _rows(self, call: Call, table: Table, student: str) -> "list[RowMapping]":
        return list(
            call.reading.all(table.select().where(table.c.student == student).order_by(table.c.created_us.desc()))
        )


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
