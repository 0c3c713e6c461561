"""Who holds what, until when: one row an open item, holder and deadline never null, so nothing can lie unowned."""

from typing import Any

from sqlalchemy import RowMapping

from xinqiao.store import refusals, tables
from xinqiao.store.tx import ReadTx, Tx

INTAKE = "intake/"
"""What agencies sent and nobody took: `intake/AGENCY/...`."""


def opened(
    item: str,
    *,
    kind: str,
    school: str,
    holder: str,
    deadline_us: int,
    step: str,
    now_us: int,
    tier: int = 0,
    student: str | None = None,
) -> tuple[object, ...]:
    """The row of an item that opens now, in column order. Raises ValueError without holder or deadline."""
    if not holder or deadline_us <= 0:
        raise ValueError(f"{item}: an open item needs a holder and a deadline")
    return (item, kind, student, school, holder, deadline_us, step, tier, now_us, 0)


def hold(
    tx: Tx,
    item: str,
    *,
    kind: str,
    school: str,
    holder: str,
    deadline_us: int,
    step: str,
    tier: int = 0,
    student: str | None = None,
) -> None:
    """Open an item, or hand an open one to its next holder with its next deadline and step.

    While the step stays the same its clock runs on: an event that brings no progress neither wins time nor takes an
    item back from whom it was escalated to.
    """
    new = opened(
        item, kind=kind, school=school, holder=holder, deadline_us=deadline_us, step=step, now_us=tx.now_us, tier=tier,
        student=student,
    )  # fmt: skip
    if not tx.insert_if_absent(tables.holdings, *new):
        row = tx.get(tables.holdings, item)
        if row is not None and row["step"] == step:
            deadline_us = min(deadline_us, int(row["deadline_us"]))
            if row["escalations"]:
                holder = str(row["holder"])
            tx.update(tables.holdings, (item,), holder=holder, deadline_us=deadline_us, tier=max(tier, row["tier"]))
        else:
            tx.update(
                tables.holdings, (item,), holder=holder, deadline_us=deadline_us, step=step, tier=tier, escalations=0
            )


def drop(tx: Tx, item: str) -> bool:
    """Close an item; False when it was not open."""
    if item.startswith(INTAKE):
        refusals.forget(tx, item)
    return tx.delete(tables.holdings, item)


def overdue(tx: ReadTx, limit: int) -> "list[RowMapping]":
    """Open items whose deadline has passed, the longest first."""
    h = tables.holdings
    return list(tx.all(h.select().where(h.c.deadline_us < tx.now_us).order_by(h.c.deadline_us).limit(limit)))


def page(
    tx: ReadTx,
    *,
    schools: "frozenset[str] | None",
    holders: "list[str] | None",
    after: tuple[int, str] | None,
    limit: int,
) -> "list[RowMapping]":
    """Open items by deadline, so overdue first; None for ``schools`` or ``holders`` means any."""
    h = tables.holdings
    statement: Any = h.select().order_by(h.c.deadline_us, h.c.item).limit(limit)
    if schools is not None and holders is not None:
        statement = statement.where(h.c.school.in_(schools) | h.c.holder.in_(holders))
    if after is not None:
        statement = statement.where(
            (h.c.deadline_us > after[0]) | ((h.c.deadline_us == after[0]) & (h.c.item > after[1]))
        )
    return list(tx.all(statement))
