"""To which guardian a notice may go: never to one in conflict with the child."""

from xinqiao.api.common.v1.types_pb2 import Guardian, Student
from xinqiao.contract.errors import Refusal


def addressee(student: Student, ordinal: int) -> Guardian:
    """The guardian meant; 0 is the first who is not in conflict with the child.

    Raises Refusal NOT_FOUND/GUARDIAN, FAILED_PRECONDITION/NO_GUARDIAN or GUARDIAN_IN_CONFLICT.
    """
    if ordinal:
        if ordinal > len(student.guardians):
            raise Refusal("NOT_FOUND", "GUARDIAN", "the student's record has no such guardian")
        if student.guardians[ordinal - 1].in_conflict:
            raise conflict()
        return student.guardians[ordinal - 1]
    for guardian in student.guardians:
        if not guardian.in_conflict:
            return guardian
    raise Refusal(
        "FAILED_PRECONDITION", "NO_GUARDIAN",
        "the record has no guardian to whom a notice may go: add one, or report to the authority that protects minors",
    )  # fmt: skip


def by_name(student: Student, name: str) -> Guardian:
    """The guardian a notice is addressed to, as the record has them now. Raises as :func:`addressee`."""
    for guardian in student.guardians:
        if guardian.full_name == name:
            if guardian.in_conflict:
                raise conflict()
            return guardian
    raise Refusal("NOT_FOUND", "GUARDIAN", "the addressee is no longer among the student's guardians; name another")


def conflict() -> Refusal:
    """The refusal of a notice to a guardian in conflict with the child."""
    return Refusal(
        "FAILED_PRECONDITION", "GUARDIAN_IN_CONFLICT",
        "this guardian is in conflict with the child: a notice must never go there; name another guardian",
    )  # fmt: skip
