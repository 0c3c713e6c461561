"""Which guardians may be told or called: never one in conflict with the child."""

from collections.abc import Iterable

from xinqiao.api.common.v1.types_pb2 import Guardian, Student


def reachable(guardians: Iterable[Guardian]) -> list[Guardian]:
    """Those who may be told, in their order."""
    return [guardian for guardian in guardians if not guardian.in_conflict]


def hide_conflicts(student: Student) -> None:
    """Take the others out of a record that leaves: whoever gets the number from us would call it."""
    kept = reachable(student.guardians)
    del student.guardians[:]
    student.guardians.extend(kept)
