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

Since = Literal["created", "changed", "ended"]

_COLUMNS: Final[Mapping[Since, str]] = {"created": "created_us", "changed": "updated_us", "ended": "not_after_us"}
_D = tables.deliveries.c


@dataclass(frozen=True, slots=True)
class Kept:
    """A kind of record that is kept for a time. ``blank`` leaves the row and takes only its content."""

    table: Table
    wanted: ColumnElement[bool] | None = None
    blank: bool = False

    @property
    def since(self) -> tuple[Since, ...]:
        """What its time may be counted from."""
        return tuple(word for word, column in _COLUMNS.items() if column in self.table.c)


KEPT: Final[Mapping[str, Kept]] = {
    **{
        table.name: Kept(table)
        for table in (
            tables.assessments, tables.signals, tables.triages, tables.referrals, tables.notices, tables.returns,
            tables.duties, tables.consents, tables.recalls, tables.overrides, tables.requests, tables.uploads, tables.plans,
            tables.entries, tables.shares, tables.teams, tables.tasks, tables.mailboxes, tables.letters,
            tables.access_requests,
        )
    },
    "deliveries": Kept(tables.deliveries, _D.state.in_([int(DeliveryState.DELIVERED), int(DeliveryState.CANCELLED)])),
    "dead_letters": Kept(
        tables.deliveries, (_D.state == int(DeliveryState.DEAD)) & _D.payload.is_not(None), blank=True
    ),
    "expected_reports": Kept(tables.expected_reports),
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


def _ripe(kept: Kept, since: Since, before_us: int) -> ColumnElement[bool]:
    found = kept.table.c[_COLUMNS[since]] < before_us
    if kept.wanted is not None:
        found &= kept.wanted
    student = kept.table.c.get("student")
    if student is not None:
        h = tables.holdings.c
        # A dead letter is an open item itself, until a person closes it: only a legal hold keeps its content.
        reason = h.kind == HOLD if kept.blank else h.student.is_not(None)
        found &= student.is_(None) | student.not_in(select(h.student).where(reason))
    return found
