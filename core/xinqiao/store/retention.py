"""What is past its time: found on a snapshot, erased a few rows at a time, and never of a student with anything open."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState
from xinqiao.store.sql import ColumnElement, Table, func, select
from xinqiao.store.tx import ReadTx, Tx

HOLD: Final = "legal_hold"
"""Kind of the open item that a legal hold is; while anything of a student is open, nothing of the student is erased."""

LEAVERS: Final = "students"
"""The kind that is no record but a student who has left: not a row goes, but the key to all of them."""

Since = Literal["created", "changed", "ended", "left"]

_COLUMNS: Final[Mapping[Since, str]] = {
    "created": "created_us", "changed": "updated_us", "ended": "not_after_us", "left": "left_us"
}  # fmt: skip
_D = tables.deliveries.c


@dataclass(frozen=True, slots=True)
class Kept:
    """A kind of record that is kept for a time. ``blank`` leaves the row and takes only its content; ``student`` is the
    column that says whose it is; ``subject`` is true where open items may stand under its own id too, as a mailbox's."""

    table: Table
    wanted: ColumnElement[bool] | None = None
    blank: bool = False
    student: str = "student"
    subject: bool = False

    @property
    def since(self) -> tuple[Since, ...]:
        """What its time may be counted from; of a student nothing but the leaving."""
        if "left_us" in self.table.c:
            return ("left",)
        return tuple(word for word, column in _COLUMNS.items() if column in self.table.c)


KEPT: Final[Mapping[str, Kept]] = {
    **{
        table.name: Kept(table)
        for table in (
            tables.assessments, tables.signals, tables.triages, tables.referrals, tables.notices, tables.returns,
            tables.duties, tables.consents, tables.recalls, tables.overrides, tables.requests, tables.uploads, tables.plans,
            tables.entries, tables.shares, tables.teams, tables.tasks, tables.letters, tables.access_requests,
        )
    },
    "mailboxes": Kept(tables.mailboxes, subject=True),
    "deliveries": Kept(tables.deliveries, _D.state.in_([int(DeliveryState.DELIVERED), int(DeliveryState.CANCELLED)])),
    "dead_letters": Kept(
        tables.deliveries, (_D.state == int(DeliveryState.DEAD)) & _D.payload.is_not(None), blank=True
    ),
    "alerts": Kept(tables.alerts, tables.alerts.c.state > 1),
    "expected_reports": Kept(tables.expected_reports),
    "activities": Kept(tables.activities),
    LEAVERS: Kept(tables.students, tables.students.c.left_us > 0, student="id"),
}  # fmt: skip
"""Every kind by the name that a rule gives it."""


@dataclass(frozen=True, slots=True)
class Age:
    """What is held of a kind: rows, the time of the oldest (0 = none), and how many are past their time, for they are
    a student's with something open or have only just become due."""

    rows: int
    oldest_us: int
    past: int


def age(tx: ReadTx, kind: str, since: Since, before_us: int) -> Age:
    """What is held of a kind now."""
    kept = KEPT[kind]
    at = kept.table.c[_COLUMNS[since]]
    counted = select(
        func.count().label("rows"), func.min(at).label("oldest"),
        func.count().filter(at < before_us).label("past"),
    ).select_from(kept.table)  # fmt: skip
    row = tx.one(counted if kept.wanted is None else counted.where(kept.wanted))
    return Age(int(row["rows"]), int(row["oldest"] or 0), int(row["past"])) if row is not None else Age(0, 0, 0)


def due(tx: ReadTx, kind: str, since: Since, before_us: int, limit: int) -> list[tuple[Any, ...]]:
    """Primary keys of rows whose time has come."""
    kept = KEPT[kind]
    keys = list(kept.table.primary_key.columns)
    return [
        tuple(row[key.name] for key in keys)
        for row in tx.all(select(*keys).where(_ripe(kept, since, before_us)).limit(limit))
    ]


def erase(tx: Tx, kind: str, since: Since, before_us: int, keys: Sequence[tuple[Any, ...]]) -> int:
    """Erase these rows, those of them that are still due; how many were."""
    kept, erased = KEPT[kind], 0
    columns = list(kept.table.primary_key.columns)
    for key in keys:
        here = _ripe(kept, since, before_us)
        for column, value in zip(columns, key, strict=True):
            here &= column == value
        statement: Any = kept.table.update().values(payload=None) if kept.blank else kept.table.delete()
        erased += tx.execute(statement.where(here))
    return erased


Memory = Sequence[tuple[str, Since, int]]
"""Kinds that the law has kept for a time of their own, each with the time before which it no longer is: (kind, since,
before_us)."""


def leavers(tx: ReadTx, before_us: int, memory: Memory, limit: int, student: str = "") -> list[str]:
    """Students who left before then, of whom nothing is open and nothing of ``memory`` must be kept still, the earliest
    first. Their key opens those records too, so while one must be kept the student is. ``student`` asks of one alone."""
    kept, s, m, h = KEPT[LEAVERS], tables.students.c, tables.mailboxes.c, tables.holdings.c
    wanted = _ripe(kept, "left", before_us)
    # A letter is held under the name of its mailbox, and goes with its writer's.
    wanted &= ~select(m.id).where((m.student == s.id) & (h.student == m.id)).exists()
    if student:
        wanted &= s.id == student
    for kind, since, gone_us in memory:
        c = KEPT[kind].table.c
        wanted &= ~select(c.student).where((c.student == s.id) & (c[_COLUMNS[since]] >= gone_us)).exists()
    return [str(row["id"]) for row in tx.all(select(s.id).where(wanted).order_by(s.left_us, s.id).limit(limit))]


def _ripe(kept: Kept, since: Since, before_us: int) -> ColumnElement[bool]:
    found = kept.table.c[_COLUMNS[since]] < before_us
    if kept.wanted is not None:
        found &= kept.wanted
    student = kept.table.c.get(kept.student)
    if student is not None:
        h = tables.holdings.c
        # A dead letter is an open item itself, until a person closes it: only a legal hold keeps its content.
        reason = h.kind == HOLD if kept.blank else h.student.is_not(None)
        found &= student.is_(None) | student.not_in(select(h.student).where(reason))
    if kept.subject:
        found &= kept.table.c.id.not_in(select(tables.holdings.c.student).where(tables.holdings.c.student.is_not(None)))
    return found
