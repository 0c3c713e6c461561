"""What went in an earlier revision of a period and may go no more: taken back by a tombstone, without content."""

from collections.abc import Iterator
from typing import NamedTuple

from xinqiao.api.exchange.v1 import exchange_pb2 as pb
from xinqiao.exchange.items import PAGE, member
from xinqiao.exchange.parts import Places
from xinqiao.exchange.runs import Key
from xinqiao.exchange.view import Selected
from xinqiao.store import tables
from xinqiao.store.engine import Store
from xinqiao.store.sql import ColumnElement, RowMapping, select
from xinqiao.store.tx import ReadTx

_RUN = tables.exchange_runs.c
_ITEM = tables.exchange_items.c


class Went(NamedTuple):
    """Where an item stood when it went last."""

    revision: int
    part: int
    ordinal: int


def last_went(tx: ReadTx, key: Key, item: str) -> Went | None:
    """The newest revision before ``key`` in whose package the item stood and that may have reached the partner."""
    row = tx.one(
        select(_RUN.id, _RUN.revision, _ITEM.place)
        .join(tables.exchange_items, _ITEM.run == _RUN.id)
        .where(_earlier(key), _ITEM.item == item, _ITEM.outcome == pb.ITEM_OUTCOME_SENT, _ITEM.place.is_not(None))
        .order_by(_RUN.revision.desc())
        .limit(1)
    )
    if row is None:
        return None
    return Went(int(row["revision"]), *Places(tx, str(row["id"]))(int(row["place"])))


def not_selected_again(store: Store, key: Key, run: str) -> Iterator[list[Selected]]:
    """Pages of what the newest earlier package held and the list of ``run`` does not hold yet.

    With it go the tombstones of a package that the partner never confirmed: it may still hold what they took back.
    """
    after = -1
    while True:
        with store.read() as tx:
            old = tx.one(select(tables.exchange_runs).where(_earlier(key)).order_by(_RUN.revision.desc()).limit(1))
            if old is None:
                return
            outcomes = [int(pb.ITEM_OUTCOME_SENT)]
            if old["state"] != pb.RUN_STATE_RECONCILED:
                outcomes.append(int(pb.ITEM_OUTCOME_WITHDRAWN))
            listed = select(_ITEM.item).where(_ITEM.run == run)
            rows: list[RowMapping] = list(
                tx.all(
                    select(tables.exchange_items)
                    .where(_ITEM.run == old["id"], _ITEM.outcome.in_(outcomes), _ITEM.ordinal > after)
                    .where(_ITEM.item.not_in(listed))
                    .order_by(_ITEM.ordinal)
                    .limit(PAGE)
                )
            )
        yield [member(row) for row in rows]
        if len(rows) < PAGE:
            return
        after = int(rows[-1]["ordinal"])


def tombstone(went: Went, at: int, reason: str) -> bytes:
    """The serialized item that stands at ``at`` in its package for one that went."""
    stone = pb.Tombstone(revision=went.revision, ordinal=went.ordinal, reason=reason, part=went.part)
    return pb.PackageItem(ordinal=at, tombstone=stone).SerializeToString(deterministic=True)


def _earlier(key: Key) -> "ColumnElement[bool]":
    return (
        (_RUN.exchange == key.exchange)
        & (_RUN.partner == key.partner)
        & (_RUN.period == key.period)
        & (_RUN.revision < key.revision)
        & _RUN.manifest.is_not(None)
    )
