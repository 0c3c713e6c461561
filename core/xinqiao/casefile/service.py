"""The case-file contract: students registered, consents kept and withdrawn, cases shown as the door lets them."""

from collections.abc import Callable
from datetime import date

from xinqiao.api.casefile.v1 import casefile_pb2 as pb
from xinqiao.api.casefile.v1 import casefile_service_pb2 as rpc
from xinqiao.casefile.cases import Cases
from xinqiao.casefile.consents import Consents
from xinqiao.casefile.erasure import Erasure
from xinqiao.casefile.plans import Plans
from xinqiao.casefile.shares import Shares
from xinqiao.casefile.sharing import Sharing
from xinqiao.casefile.statement import Statements
from xinqiao.contract.clock import local_date
from xinqiao.contract.errors import Refusal, Violation
from xinqiao.disclosure.call import Call, outside_transaction, prepares
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.records import own_row
from xinqiao.disclosure.registry import Partner
from xinqiao.disclosure.students import Prepared, Read
from xinqiao.disclosure.versions import PolicyVersions
from xinqiao.store import tables
from xinqiao.store.holdings import drop

_WORTH = 32  # students for which preparing pays


class CaseFile(Cases, Sharing, Statements):
    """The functions behind ``CaseFileService``."""

    def __init__(
        self, door: Door, consents: Consents, read: Read, erasure: Erasure, *, shares: Shares, plans: Plans,
        versions: PolicyVersions,
    ) -> None:  # fmt: skip
        """``read`` gives a snapshot; ``versions`` has the policies there were."""
        self.door = door
        self.consents = consents
        self.shares = shares
        self.plans = plans
        self.versions = versions
        self._erasure = erasure
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

    @outside_transaction
    def shred_student(self, request: rpc.ShredStudentRequest, call: Call) -> rpc.ShredStudentResponse:
        """Erase a student; two databases change, so it runs in transactions of its own."""
        return self._erasure.shred(request, call)


def _check_birth_dates(request: rpc.RegisterStudentsRequest, today: date) -> None:
    """Raises Refusal INVALID_ARGUMENT/DATE_RANGE on a day that does not exist or has not come yet."""
    days = [student.birth_date for student in request.students]
    # a thousand pupils share a few hundred days
    wrong = {day for day in set(days) if day and not _has_come(day, today)}
    if wrong:
        where = f"students[{next(index for index, day in enumerate(days) if day in wrong)}].birth_date"
        raise Refusal(
            "INVALID_ARGUMENT", "DATE_RANGE", f"{where} is not a day of the calendar up to today",
            violations=(Violation(where, "DATE_RANGE", "send the day of birth, or leave it empty"),),
        )  # fmt: skip


def _has_come(day: str, today: date) -> bool:
    try:
        return date.fromisoformat(day) <= today
    except ValueError:
        return False
