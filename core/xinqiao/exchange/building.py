"""Building what goes into one package: each item passes the door with its journal row, and is hashed as it passes."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol, TypeVar, get_args

from xinqiao.api.common.v1.options_pb2 import FIELD_CLASS_AGGREGATE, PURPOSE_RECONCILIATION
from xinqiao.api.exchange.v1 import exchange_pb2 as pb
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.policy import Relation
from xinqiao.disclosure.registry import Partner
from xinqiao.exchange import runs
from xinqiao.exchange.items import PAGE, Judge, members
from xinqiao.exchange.package import VERSION, Items, ItemWriter
from xinqiao.exchange.parts import Part
from xinqiao.exchange.periods import Span
from xinqiao.exchange.runs import Key, key_of
from xinqiao.exchange.tombstones import last_went, tombstone
from xinqiao.exchange.view import Member, Verdict, View
from xinqiao.journal.append import Line, append_all
from xinqiao.journal.checkpoint import latest
from xinqiao.store import tables
from xinqiao.store.engine import Store
from xinqiao.store.sql import RowMapping, select
from xinqiao.store.tx import ReadTx, Tx

PACKED: Final = (pb.ITEM_OUTCOME_SENT, pb.ITEM_OUTCOME_WITHDRAWN)
"""Outcomes of what stands in a package."""

_UNDECIDED: Final = pb.ITEM_OUTCOME_UNSPECIFIED
T = TypeVar("T")


class Changed(Exception):
    """What may go is no longer what this revision promised: it must not be sent again under the same name."""


class Write(Protocol):
    """Runs a command while the run of ``row`` is still ours and stands where it stood."""

    def __call__(self, row: RowMapping, command: Callable[[Tx], T]) -> T: ...


class _Judged(NamedTuple):
    """A part as this very drive judged it, and how many students had been erased before it began to."""

    run: str
    number: int
    items: Items
    erased: int


class Builder:
    """Builds the packages of one drive."""

    def __init__(
        self, store: Store, door: Door, recipient: Partner, period: Span, views: Sequence[View], actor: str,
        write: Write,
    ) -> None:  # fmt: skip
        self._store = store
        self._door = door
        self._recipient = recipient
        self._period = period
        self._views = views
        self._actor = actor
        self._write = write
        self._judged: _Judged | None = None

    def judge(self, row: RowMapping, part: Part) -> None:
        """Decide what is undecided of a part, page by page, each a transaction with its journal rows."""
        with self._store.read() as tx:
            packed = runs.packed(tx, part)
        # What a driver before this one judged must be built again, and what hangs on consents that may end any moment.
        writer = None if packed or self._asks_consent() else ItemWriter()
        erased = self._door.keys.erased()
        last: int | None = part.start - 1
        while last is not None:
            after, at = last, packed
            last, page = self._write(row, lambda tx: self._judge_page(tx, row, part, after, at))  # noqa: B023
            packed += len(page)
            if writer is not None:
                writer.add_all(page)
        self._judged = None if writer is None else _Judged(part.run, part.number, writer.done(), erased)

    def items(self, row: RowMapping, part: Part) -> Items:
        """The items of a part as this drive has judged them, while nothing can have changed since; else built again,
        through the door. Raises Changed unless they are what was journalled."""
        judged, self._judged = self._judged, None
        if judged is not None and judged[:2] == (part.run, part.number) and judged.erased == self._door.keys.erased():
            self._judged = judged
            return judged.items
        return self._rebuild(row, part)

    def _asks_consent(self) -> bool:
        if any(view.asks_consent for view in self._views):
            return True
        asks = self._door.policy.asks_consent
        return any(asks(self._recipient.roles, PURPOSE_RECONCILIATION, each) for each in get_args(Relation))

    def _judge_page(
        self, tx: Tx, row: RowMapping, part: Part, after: int, packed: int
    ) -> tuple[int | None, list[bytes]]:
        """Pass the next items through the door; ``packed`` stand in the package by now.

        The ordinal to go on after, None at the end, and what is to be packed of the page.
        """
        run, key = str(row["id"]), key_of(row)
        page = members(tx, run, after=after, end=part.end, outcomes=(_UNDECIDED, _UNDECIDED))
        judge = self._judge(tx, page)
        decided: list[tuple[object, ...]] = []
        lines: list[Line] = []
        goes: list[bytes] = []
        for item in page:
            at = packed + len(goes)
            verdict = judge(item.chosen, at)
            if key.revision and verdict.outcome != pb.ITEM_OUTCOME_SENT:
                verdict = self._taken_back(tx, key, item, verdict, at)
            place = None
            if verdict.outcome in PACKED:
                place = part.first + at
                goes.append(verdict.data)
            decided.append((verdict.outcome, verdict.reason, verdict.digest, place, run, item.ordinal))
            lines.append(self._line(row, item, verdict))
        append_all(tx, lines)
        tx.update_many(tables.exchange_items, ("outcome", "reason", "digest", "place"), decided)
        return (page[-1].ordinal if len(page) == PAGE else None), goes

    def _taken_back(self, tx: Tx, key: Key, item: Member, verdict: Verdict, at: int) -> Verdict:
        """What may go no more and went before is taken back; what never went is as the door says."""
        went = last_went(tx, key, item.chosen.item)
        if went is None:
            return verdict
        data = tombstone(went, at, verdict.reason)
        mask = 1 << FIELD_CLASS_AGGREGATE
        return Verdict(pb.ITEM_OUTCOME_WITHDRAWN, verdict.reason, data, mask, self._door.keys.system_sealer())

    def _line(self, row: RowMapping, item: Member, verdict: Verdict) -> Line:
        goes = verdict.outcome in PACKED
        return Line(
            kind="released" if goes else "refused",
            decision="permit" if goes else "deny",
            actor=self._actor,
            partner=self._recipient.agency,
            purpose=PURPOSE_RECONCILIATION,
            classes=verdict.classes,
            student=item.chosen.student or None,
            resource=item.chosen.item,
            reason=verdict.reason or f"exchange:{row['exchange']}:{row['period']}",
            policy_version=self._door.policy.version,
            payload=verdict.data if goes else None,
            sealer=verdict.sealer,
        )

    def _rebuild(self, row: RowMapping, part: Part) -> Items:
        writer = ItemWriter()
        after, at = part.start - 1, 0
        while True:
            with self._store.read() as tx:
                page = members(tx, str(row["id"]), after=after, end=part.end, outcomes=PACKED)
                judge = self._judge(tx, page)
                for item in page:
                    data = self._data(tx, row, item, judge, at)
                    if not data or hashlib.sha256(data).digest() != item.digest:
                        raise Changed
                    writer.add(data)
                    at += 1
            if len(page) < PAGE:
                return writer.done()
            after = page[-1].ordinal

    def _data(self, tx: ReadTx, row: RowMapping, item: Member, judge: Judge, at: int) -> bytes:
        if item.outcome == pb.ITEM_OUTCOME_SENT:
            return judge(item.chosen, at).data
        went = last_went(tx, key_of(row), item.chosen.item)
        return tombstone(went, at, item.reason) if went is not None else b""

    def _judge(self, tx: ReadTx, page: list[Member]) -> Judge:
        return Judge(tx, self._door, self._recipient, [item.chosen for item in page], self._period)


def make_manifest(
    tx: ReadTx, row: RowMapping, counts: Mapping[str, int], items: Items, part: int = 0, of: int = 0, *,
    deployment: str, policy_version: str,
) -> bytes:  # fmt: skip
    """The serialized manifest of a run's package, or of one ``part`` of ``of``; with the journal's newest checkpoints."""
    note = tx.scalar(
        select(tables.checkpoints.c.note)
        .order_by(tables.checkpoints.c.at_us.desc(), tables.checkpoints.c.size.desc())
        .limit(1)
    )
    return pb.Manifest(
        version=VERSION, deployment=deployment, exchange=row["exchange"], partner=row["partner"],
        period=row["period"], revision=row["revision"], items=items.number, items_sha256=items.sha256,
        selected=counts["selected"], withheld=counts["withheld"], failed=counts["failed"],
        withdrawn=counts["withdrawn"], reason=row["reason"], policy_version=policy_version, checkpoint=note or "",
        create_time_us=tx.now_us, checkpoints=latest(tx).values(), part=part, parts=of,
    ).SerializeToString(deterministic=True)  # fmt: skip
