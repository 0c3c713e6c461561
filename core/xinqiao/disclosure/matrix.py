"""The disclosure matrix as a table: what each role would see for each purpose, and what that takes.

For people: to read a policy at a glance, and to see what a change of it opens or closes before it is put in place.
"""

from collections.abc import Iterator
from typing import NamedTuple

from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.contract.fields import ALL_CLASSES, class_name
from xinqiao.disclosure.policy import Policy, Question, Relation, decide

FREE, CONSENT, BASIS, EITHER, NEVER = "free", "consent", "basis", "consent or basis", "never"
_RELATIONS: tuple[Relation, ...] = ("OWN", "PARTY", "NONE")


class Cell(NamedTuple):
    """One place of the matrix, in the words of the policy file."""

    role: str
    purpose: str
    relation: str
    field_class: str


class Change(NamedTuple):
    """What a cell takes under one policy and under another."""

    cell: Cell
    before: str
    after: str

    @property
    def opens(self) -> bool:
        """Whether there is a way through now that was not there before."""
        return bool(_ways(self.after) - _ways(self.before))


def cells(policy: Policy) -> Iterator[tuple[Cell, str]]:
    """Every cell and what it takes: nothing (``free``), a consent, a legal basis, either, or ``never``.

    A consent and a basis are taken to be in force and to name the class, and the agreement to hold: without those
    nothing goes anyway.
    """
    for role, purpose in ((r, p) for r in options.Role.values() if r for p in options.Purpose.values() if p):
        for relation in _RELATIONS:
            for field_class in ALL_CLASSES:
                cell = Cell(
                    options.Role.Name(role).removeprefix("ROLE_"),
                    options.Purpose.Name(purpose).removeprefix("PURPOSE_"), relation, class_name(field_class),
                )  # fmt: skip
                yield cell, _takes(policy, Question(role, purpose, field_class, relation))


def changes(before: Policy, after: Policy) -> list[Change]:
    """The cells in which two policies differ, in the order of the matrix."""
    return [
        Change(cell, old, new)
        for (cell, old), (_, new) in zip(cells(before), cells(after), strict=True)
        if old != new
    ]  # fmt: skip


def _takes(policy: Policy, question: Question) -> str:
    bit = 1 << question.field_class
    if decide(policy, question).permit:
        return FREE
    consent = decide(policy, question._replace(consent="GIVEN", consented=bit)).permit
    basis = decide(policy, question._replace(basis="b", basis_state="VALID", basis_classes=bit)).permit
    return {(True, True): EITHER, (True, False): CONSENT, (False, True): BASIS}.get((consent, basis), NEVER)


def _ways(takes: str) -> frozenset[str]:
    """The ways through: more of them is more open."""
    return {
        FREE: frozenset({FREE, CONSENT, BASIS}), EITHER: frozenset({CONSENT, BASIS}), CONSENT: frozenset({CONSENT}),
        BASIS: frozenset({BASIS}),
    }.get(takes, frozenset())  # fmt: skip
