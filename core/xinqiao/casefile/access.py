"""By what a caller reads a case: as the student's school, or by a share in force; anybody else finds nothing there."""

from typing import NamedTuple

from google.protobuf.message import Message

from xinqiao.api.common.v1.options_pb2 import FieldClass
from xinqiao.api.common.v1.types_pb2 import StudentRef, Withheld
from xinqiao.contract.errors import Refusal
from xinqiao.contract.fields import classes_of
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.policy import Relation
from xinqiao.disclosure.registry import owns
from xinqiao.disclosure.shares import active
from xinqiao.disclosure.students import Known
from xinqiao.store.sql import RowMapping


class Access(NamedTuple):
    """A ground to read a case: the relation and purpose it is judged by, and the share, where it is one."""

    relation: Relation
    purpose: int
    ground: str = ""
    share: RowMapping | None = None

    @property
    def own(self) -> bool:
        """The caller is the student's school."""
        return self.share is None


def own_student(call: Call, ref: StudentRef) -> Known:
    """A student of the caller's school. Raises Refusal NOT_FOUND/STUDENT, alike for absent and foreign."""
    known = call.door.students.resolve(call.reading, call.caller, ref)
    if not owns(call.caller, known.school):
        raise no_student()
    return known


def shared_student(call: Call, ref: StudentRef, share: str = "") -> tuple[Known, Access]:
    """A student whose case the caller may read, and by what. Raises Refusal NOT_FOUND/STUDENT in every other case."""
    known = call.door.students.resolve(call.reading, call.caller, ref)
    found = access(call, known, share)
    if found is None:
        raise no_student()
    return known, found


def access(call: Call, known: Known, share: str = "") -> Access | None:
    """By what the caller may read this case now: its own student, else the share named, else its newest one."""
    if owns(call.caller, known.school):
        return None if share else Access("OWN", call.method.purpose)
    for row in active(call.reading, known.id, call.caller.agency):
        if share in ("", f"shares/{row['id']}"):
            return Access("PARTY", int(row["purpose"]), f"shares/{row['id']}", row)
    return None


def mask_of_access(call: Call, student: str, by: Access) -> tuple[int, dict[int, str]]:
    """The classes that may be read now, and why each other class may not."""
    mask, denials = call.door.permitted(
        call.reading, recipient=call.caller, purpose=by.purpose, student=student, relation=by.relation, basis=by.ground
    )
    return mask, {field_class: decision.reason for field_class, decision in denials.items()}


def show(call: Call, message: Message, student: str, by: Access) -> list[Withheld]:
    """Cut a record down to what the caller may see of it."""
    return call.view(message, student=student, relation=by.relation, purpose=by.purpose, basis=by.ground)


def withheld_classes(field: str, classes: int, mask: int, reasons: dict[int, str]) -> list[Withheld]:
    """What is kept back, class by class, whether or not there is anything: so it tells nothing of what there is."""
    return [
        Withheld(field=field, field_class=FieldClass.ValueType(each), reason=reasons.get(each, "NOT_IN_POLICY"))
        for each in classes_of(classes & ~mask)
    ]


def no_student() -> Refusal:
    """The same as for an unknown name."""
    return Refusal("NOT_FOUND", "STUDENT", "no such student for this caller")
