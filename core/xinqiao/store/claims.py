"""Claiming deliveries: every row has at most one owner at a time, and an owner that lost its lease can do no harm."""

from collections.abc import Sequence
from enum import IntEnum

from sqlalchemy import ColumnElement, RowMapping, and_, case, exists, not_, or_, select, update

from xinqiao.api.common.v1.options_pb2 import LANE_ROUTINE
from xinqiao.store.tables import deliveries
from xinqiao.store.tx import ReadTx, Tx


class DeliveryState(IntEnum):
    """Where a delivery stands."""

    PENDING = 1
    RUNNING = 2
    DELIVERED = 3
    DEAD = 4
    CANCELLED = 5


_OPEN = (DeliveryState.PENDING, DeliveryState.RUNNING)


def claim(
    tx: Tx,
    *,
    lanes: Sequence[int],
    recipients: Sequence[str] | None,
    owner: str,
    limit: int,
    lease_us: int,
    delivery: str | None = None,
) -> list[RowMapping]:
    """Take up to ``limit`` due deliveries for ``owner`` until ``tx.now_us + lease_us``, and count the attempt.

    Earlier ``lanes`` go first, then what is due longest. ``recipients`` restricts whom they are for; None means all;
    ``delivery`` asks for that one only.
    Due is a PENDING row whose time has come, or a RUNNING one whose lease has run out. A row waits while an older one
    of the same student and recipient is open, so that a recipient reads a student's events in their order.
    """
    if not lanes or limit < 1 or (recipients is not None and not recipients):
        return []
    table = deliveries
    urgency = case({lane: place for place, lane in enumerate(lanes)}, value=table.c.lane)
    picked = (
        select(table.c.id)
        .where(_due(tx.now_us), table.c.lane.in_(lanes), not_(_blocked()))
        .order_by(urgency, table.c.not_before_us, table.c.created_us, table.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=table)
    )
    if recipients is not None:
        picked = picked.where(table.c.recipient.in_(recipients))
    if delivery is not None:
        picked = picked.where(table.c.id == delivery)
    # A common table expression: PostgreSQL may run a plain sub-select again and exceed the limit.
    batch = picked.cte("picked").prefix_with("MATERIALIZED")
    rows = tx.all(
        update(table)
        .where(table.c.id.in_(select(batch.c.id)))
        .values(
            state=DeliveryState.RUNNING,
            owner=owner,
            lease_until_us=tx.now_us + lease_us,
            attempt=table.c.attempt + 1,
            updated_us=tx.now_us,
        )
        .returning(*table.c)
    )
    place = {lane: index for index, lane in enumerate(lanes)}
    return sorted(rows, key=lambda row: (place[row["lane"]], row["not_before_us"], row["created_us"], row["id"]))


def waiting(tx: ReadTx, lane: int) -> bool:
    """Whether :func:`claim` would find anything on ``lane``; a look that needs no write transaction."""
    found = select(deliveries.c.id).where(_due(tx.now_us), deliveries.c.lane == lane, not_(_blocked())).limit(1)
    return tx.scalar(found) is not None


def finish(tx: Tx, delivery: str, owner: str, attempt: int, **values: object) -> bool:
    """Write the outcome (``values`` holds at least ``state``); False when the lease went to someone else meanwhile.

    ``attempt`` is the one that :func:`claim` returned: it fences off an owner that slept through its lease.
    """
    if "state" not in values:
        raise ValueError("the outcome of a delivery needs a state")
    table = deliveries
    changed = tx.execute(
        update(table)
        .where(
            table.c.id == delivery,
            table.c.owner == owner,
            table.c.attempt == attempt,
            table.c.state == DeliveryState.RUNNING,
        )
        .values(updated_us=tx.now_us, **values)
    )
    return changed == 1


def never_left(tx: Tx, item: str, recipient: str) -> bool:
    """Cancel deliveries of a withdrawn item that nobody has tried yet; whether ``recipient`` surely has none of it.

    A try without an answer may have arrived: then the recipient must be told as well.
    """
    table = deliveries
    here = (table.c.item == item, table.c.recipient == recipient, table.c.kind == "referral")
    untried = (table.c.state == DeliveryState.PENDING) & (table.c.attempt == 0)
    tx.execute(
        update(table)
        .where(*here, untried)
        .values(state=DeliveryState.CANCELLED, last_reason="WITHDRAWN", payload=None, updated_us=tx.now_us)
    )
    refused = (table.c.state == DeliveryState.DEAD) & (table.c.last_reason != "PARTNER_UNAVAILABLE")
    may_be_there = select(table.c.id).where(*here, table.c.state != DeliveryState.CANCELLED, not_(refused)).limit(1)
    known = select(table.c.id).where(*here).limit(1)
    return tx.scalar(known) is not None and tx.scalar(may_be_there) is None


def _due(now_us: int) -> ColumnElement[bool]:
    table = deliveries
    return or_(
        and_(table.c.state == DeliveryState.PENDING, table.c.not_before_us <= now_us),
        and_(table.c.state == DeliveryState.RUNNING, table.c.lease_until_us <= now_us),
    )


def _blocked() -> ColumnElement[bool]:
    younger, older = deliveries, deliveries.alias("older")
    return exists().where(
        older.c.student == younger.c.student,  # never true for null: what concerns no student has no order
        older.c.recipient == younger.c.recipient,
        older.c.state.in_(_OPEN),
        or_(older.c.lane == younger.c.lane, younger.c.lane == LANE_ROUTINE),  # red never waits for routine
        or_(
            older.c.created_us < younger.c.created_us,
            and_(older.c.created_us == younger.c.created_us, older.c.id < younger.c.id),
        ),
    )
