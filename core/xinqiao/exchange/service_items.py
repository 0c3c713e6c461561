"""The services of a run: what the two parties did in a period, as counts, and about no student."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from xinqiao.api.common.v1.options_pb2 import FIELD_CLASS_AGGREGATE, PURPOSE_RECONCILIATION
from xinqiao.api.exchange.v1.exchange_pb2 import (
    ITEM_OUTCOME_FAILED,
    ITEM_OUTCOME_SENT,
    ITEM_OUTCOME_WITHHELD,
    PackageItem,
    Service,
)
from xinqiao.contract.clock import local_date
from xinqiao.contract.fields import present, redact
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.registry import Partner, Registry, owns
from xinqiao.exchange.activities import to_message
from xinqiao.exchange.periods import Span
from xinqiao.exchange.view import Judging, Position, Selected, Source, Verdict, in_books
from xinqiao.store import tables
from xinqiao.store.sql import ColumnElement, or_, select
from xinqiao.store.tx import ReadTx

_A: Final = tables.activities.c


class ServiceView:
    """Activities of the parties that were done in the period, or before it and recorded or corrected in it.

    Of what another agency did, a school's books hold what was at that school, and what was at none.
    """

    prefix = "activities"
    asks_consent = False

    def page(
        self, tx: ReadTx, door: Door, parties: Sequence[str], period: Span, after: Position | None, limit: int
    ) -> tuple[list[Selected], Position | None]:
        """See ``View``."""
        first, until = local_date(period.from_us).isoformat(), local_date(period.to_us).isoformat()
        done = (_A.day >= first) & (_A.day < until)
        late = (_A.day < first) & or_(
            *[at.between(period.from_us, period.to_us - 1) for at in (_A.created_us, _A.updated_us)]
        )
        wanted = select(_A.agency, _A.source, _A.id, _A.created_us).where(
            between(door.registry, parties), _A.withdrawn.is_(False), done | late
        )
        if after is not None:
            wanted = wanted.where((_A.created_us > after[0]) | ((_A.created_us == after[0]) & (_A.id > after[1])))
        rows = tx.all(wanted.order_by(_A.created_us, _A.id).limit(limit))
        found = [Selected(f"activities/{row['agency']}/{row['source']}", "") for row in rows]
        return found, (int(rows[-1]["created_us"]), str(rows[-1]["id"])) if len(rows) == limit else None

    def belongs(self, tx: ReadTx, door: Door, key: str, period: Span) -> bool:
        """See ``View``."""
        row = tx.get(tables.activities, *_parts(key))
        return (
            row is not None
            and not row["withdrawn"]
            and in_books(str(row["day"]), int(row["created_us"]), int(row["updated_us"]), period)
        )

    def judging(
        self, tx: ReadTx, door: Door, recipient: Partner, page: Sequence[Selected], period: Span
    ) -> Judging:  # fmt: skip
        """See ``View``; a service has no history, so a correction counts for whatever is not sealed yet."""
        del page, period
        mask, denials = door.permitted(
            tx, recipient=recipient, purpose=PURPOSE_RECONCILIATION, student=None, relation="PARTY"
        )
        reason = "" if mask >> FIELD_CLASS_AGGREGATE & 1 else denials[FIELD_CLASS_AGGREGATE].reason
        return partial(_judged, tx, door, recipient, mask, reason)

    def source(self, tx: ReadTx, door: Door, key: str) -> Source | None:
        """See ``View``: the agency that gave the service."""
        row = tx.get(tables.activities, *_parts(key))
        return None if row is None else Source(str(row["school"]), str(row["agency"]), int(row["updated_us"]))


def between(registry: Registry, parties: Sequence[str]) -> "ColumnElement[bool]":
    """Activities of either party that the books of the two hold."""
    ways: list[ColumnElement[bool]] = []
    for agency, other in (parties, parties[::-1]):
        partner = registry.find(other)
        schools = partner.schools if partner is not None else frozenset[str]()
        is_school = partner is not None and any(owns(partner, school) for school in schools)
        own = _A.agency == agency
        ways.append(own & _A.school.in_(["", *sorted(schools)]) if is_school else own)
    return or_(*ways)


def _judged(
    tx: ReadTx, door: Door, recipient: Partner, mask: int, reason: str, chosen: Selected, ordinal: int
) -> Verdict:
    row = tx.get(tables.activities, *_parts(chosen.key))
    if row is None:
        return Verdict(ITEM_OUTCOME_FAILED, "ITEM_GONE")
    if reason or row["withdrawn"]:
        return Verdict(ITEM_OUTCOME_WITHHELD, reason or "WITHDRAWN")
    service = Service(agency=row["agency"], activity=to_message(row))
    if service.agency != recipient.agency:
        service.activity.ClearField("series")
        service.activity.ClearField("crisis")
    item = PackageItem(ordinal=ordinal, service=service)
    kept = redact(item, mask)
    data = item.SerializeToString(deterministic=True)
    return Verdict(ITEM_OUTCOME_SENT, "", data, present(item, mask), door.keys.system_sealer(), item, kept)


def _parts(key: str) -> tuple[str, str]:
    agency, _, source = key.partition("/")
    return agency, source
