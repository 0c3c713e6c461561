"""The scope of a breach (泄露范围): by the journal, who was shown what of how many students, from when to when.

A disclosure is a row that was permitted and names field classes: what :mod:`xinqiao.casefile.statement` shows a family,
here for everybody at once. The database groups the rows and hands them over student by student, so memory does not grow
with them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import groupby
from typing import Any, Final, NamedTuple

from xinqiao.api.common.v1.options_pb2 import Purpose
from xinqiao.contract.fields import class_name, classes_of
from xinqiao.store import tables
from xinqiao.store.readonly import JournalReader
from xinqiao.store.sql import ColumnElement, Select, func, or_, select

_J: Final = tables.journal.c
_SHARE: Final = "shares/"
_NOBODY: Final = ""
DIMENSIONS: Final = ("partners", "actors", "purposes", "classes", "bases")
"""What the figures of a scope are given by."""


class Sought(NamedTuple):
    """Which rows: each part that is empty does not narrow.

    ``since_us`` inclusive, ``until_us`` exclusive, microseconds since 1970 UTC; ``first`` and ``last`` are sequence
    numbers of ``writer``'s chain, both inclusive. ``partner`` is the agency that was shown something or a caller's own
    id, ``actor`` the caller alone.
    """

    partner: str = ""
    actor: str = ""
    since_us: int = 0
    until_us: int = 0
    writer: str = ""
    first: int = 0
    last: int = 0


class Shown(NamedTuple):
    """What one recipient was shown of one student; ``student`` is the internal id."""

    student: str
    partner: str
    classes: tuple[str, ...]
    disclosures: int
    first_us: int
    last_us: int


@dataclass(slots=True)
class Figures:
    """How often, of how many students, and when first and last (0 = never)."""

    disclosures: int = 0
    students: int = 0
    first_us: int = 0
    last_us: int = 0

    def add(self, disclosures: int, first_us: int, last_us: int) -> None:
        """Count rows of a student who is counted already."""
        self.disclosures += disclosures
        self.first_us = min(self.first_us or first_us, first_us)
        self.last_us = max(self.last_us, last_us)


@dataclass(slots=True)
class Scope:
    """The answer. ``nameless`` are disclosures that no student's id stands beside; they count in no ``students``.

    ``by`` holds the figures of every partner, actor, purpose, field class and basis by its name.
    """

    whole: Figures = field(default_factory=Figures)
    nameless: int = 0
    by: dict[str, dict[str, Figures]] = field(default_factory=lambda: {name: {} for name in DIMENSIONS})


def disclosed() -> ColumnElement[bool]:
    """The rows by which something of somebody went to a recipient."""
    return (_J.decision == "permit") & (_J.classes > 0)


def scope(journal: JournalReader, sought: Sought, each: Callable[[Shown], None] | None = None) -> Scope:
    """Count what the rows show; ``each`` is given every student and recipient, by student. Raises Unreadable."""
    found = Scope()
    for student, rows in groupby(journal.ask(_grouped(sought)), key=lambda row: row[0]):
        _add(found, student, rows, each)
    return found


def _grouped(sought: Sought) -> Select[*tuple[Any, ...]]:
    # By student in the database, which sorts on disk what memory does not hold. An expression and not the bare column:
    # along its index the rows would be fetched one by one from all over the table, in twice the time.
    keys = (func.coalesce(_J.student, _NOBODY), _J.partner, _J.actor, _J.purpose, _J.classes, _J.basis)
    figures = (func.count(), func.min(_J.at_us), func.max(_J.at_us))
    return select(*keys, *figures).where(*_wanted(sought)).group_by(*keys).order_by(*keys)


def _wanted(sought: Sought) -> Iterator[ColumnElement[bool]]:
    yield disclosed()
    if sought.partner:
        yield or_(_J.partner == sought.partner, _J.actor == sought.partner)
    if sought.actor:
        yield _J.actor == sought.actor
    if sought.since_us:
        yield _J.at_us >= sought.since_us
    if sought.until_us:
        yield _J.at_us < sought.until_us
    if sought.writer:
        yield _J.writer == sought.writer
    if sought.first:
        yield _J.seq >= sought.first
    if sought.last:
        yield _J.seq <= sought.last


def _add(found: Scope, student: str, rows: Iterator[Any], each: Callable[[Shown], None] | None) -> None:
    seen: set[tuple[str, str]] = set()
    shown: dict[str, tuple[Figures, int]] = {}
    for _, partner, actor, purpose, classes, basis, count, first_us, last_us in rows:
        found.whole.add(count, first_us, last_us)
        found.nameless += count if student == _NOBODY else 0
        names = ((partner,), (actor,), (purpose_name(purpose),), class_names(classes), (basis_name(basis),))
        for dimension, words in zip(DIMENSIONS, names, strict=True):
            for word in words:
                figures = found.by[dimension].setdefault(word, Figures())
                figures.add(count, first_us, last_us)
                if student != _NOBODY and (dimension, word) not in seen:
                    seen.add((dimension, word))
                    figures.students += 1
        own, mask = shown.get(partner, (Figures(), 0))
        own.add(count, first_us, last_us)
        shown[partner] = own, mask | classes
    if student == _NOBODY:
        return
    found.whole.students += 1
    if each is not None:
        for partner, (own, mask) in shown.items():
            each(Shown(student, partner, class_names(mask), own.disclosures, own.first_us, own.last_us))


@lru_cache(maxsize=64)
def purpose_name(number: int) -> str:
    """``TREATMENT`` for the number of ``PURPOSE_TREATMENT``; the number itself for one that is not known."""
    known = number in Purpose.values()
    return Purpose.Name(Purpose.ValueType(number)).removeprefix("PURPOSE_") if known else str(number)


@lru_cache(maxsize=4096)
def class_names(mask: int) -> tuple[str, ...]:
    """The field classes of a mask, by name."""
    return tuple(class_name(number) for number in classes_of(mask))


def basis_name(basis: str) -> str:
    """The legal basis; every single share as ``share``; none as ``consent-or-policy``, which needed no other ground."""
    return "share" if basis.startswith(_SHARE) else basis or "consent-or-policy"
