"""A run as the store keeps it: its row, its lease, its journal row and holding at every change of state."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from google.protobuf.message import DecodeError

from xinqiao.api.common.v1.options_pb2 import PURPOSE_RECONCILIATION
from xinqiao.api.exchange.v1 import exchange_pb2 as pb
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.door import Door
from xinqiao.exchange.package import read_receipt
from xinqiao.exchange.parts import Part
from xinqiao.exchange.periods import MARKS, Length, Schedule, length_of
from xinqiao.journal.append import append
from xinqiao.store import tables
from xinqiao.store.holdings import drop, hold
from xinqiao.store.sql import ColumnElement, RowMapping, func, not_, select
from xinqiao.store.tx import ReadTx, Tx

LEASE_US: Final = 120_000_000
"""How long a run belongs to whoever drives it after its last step: a crashed driver is replaced after that."""

CLOSED: Final = (pb.RUN_STATE_RECONCILED, pb.RUN_STATE_ABANDONED)
UNFINISHED: Final = (pb.RUN_STATE_PLANNED, pb.RUN_STATE_SNAPSHOT, pb.RUN_STATE_SENDING)
OVERDUE: Final = "RECEIPT_OVERDUE"


class Dataset(Protocol):
    """One kind of record that one party gives the other; ``gateway.yaml``'s is one."""

    @property
    def contract(self) -> str: ...
    @property
    def to(self) -> str: ...


class Definition(Protocol):
    """An exchange as configured; `xinqiao.config.settings.Exchange` is one."""

    @property
    def parties(self) -> tuple[str, ...]: ...
    @property
    def datasets(self) -> tuple[Dataset, ...]: ...
    @property
    def period(self) -> Length: ...
    @property
    def schedule(self) -> Schedule: ...
    @property
    def nil_report(self) -> bool: ...
    @property
    def expects(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Key:
    """What a run settles: unique, so that it says in the database whether the work is already someone's."""

    exchange: str
    partner: str
    period: str
    revision: int = 0

    def id(self, deployment: str) -> str:
        """The run's id, the same whoever makes it and after a restore: the partner's protection against a repeat."""
        parts = (deployment, self.exchange, self.partner, self.period, str(self.revision))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def key_of(row: RowMapping) -> Key:
    """The key of a run's row."""
    return Key(str(row["exchange"]), str(row["partner"]), str(row["period"]), int(row["revision"]))


def name_of(row: RowMapping) -> str:
    """`exchanges/{exchange}/runs/{id}`."""
    return f"exchanges/{row['exchange']}/runs/{row['id']}"


def newest(tx: ReadTx, key: Key) -> RowMapping | None:
    """The newest revision of the run, or None."""
    c = tables.exchange_runs.c
    return tx.one(
        select(tables.exchange_runs)
        .where(c.exchange == key.exchange, c.partner == key.partner, c.period == key.period)
        .order_by(c.revision.desc())
        .limit(1)
    )


def of_length(length: Length) -> ColumnElement[bool]:
    """Runs of periods of this length: an exchange may have been settled by another one before."""
    period = tables.exchange_runs.c.period
    mark = MARKS[length]
    if mark:
        return period.contains(mark)
    return not_(func.substr(period, 6, 1).in_([each for each in MARKS.values() if each]))


def earlier_unsent(tx: ReadTx, key: Key) -> bool:
    """Whether a package of an earlier period has yet to be handed to this partner: the books go in their order."""
    c = tables.exchange_runs.c
    wanted = (
        select(func.count())
        .select_from(tables.exchange_runs)
        .where(c.exchange == key.exchange, c.partner == key.partner, c.period < key.period, c.state.in_(UNFINISHED))
    )
    return bool(tx.scalar(wanted.where(of_length(length_of(key.period)))))


def disputed(row: RowMapping, revision: int, *, amend: bool = False) -> bool:
    """Whether this is that revision and both sides disagree about it, or the partner refused it; with ``amend`` also
    one that both sides agreed about."""
    states = (pb.RUN_STATE_INCOMPLETE, pb.RUN_STATE_RECONCILED) if amend else (pb.RUN_STATE_INCOMPLETE,)
    return int(row["revision"]) == revision and row["state"] in states


def take(tx: Tx, run: str, owner: str) -> None:
    """Take or renew the lease of a run. Raises Refusal ABORTED/RUNNING while another driver has it."""
    key = f"exchange-lease/{run}"
    held = tx.get(tables.meta, key)
    value = f"{owner} {tx.now_us + LEASE_US}"
    if held is None:
        if tx.insert_if_absent(tables.meta, key, value):
            return
        held = tx.get(tables.meta, key)
    other, _, until = str(held["value"] if held is not None else "").partition(" ")
    if other != owner and until and int(until) > tx.now_us:
        raise Refusal(
            "ABORTED", "RUNNING", "this exchange is being run by another; ask again when that is done",
            retry_after_s=max(1.0, (int(until) - tx.now_us) / 1_000_000),
        )  # fmt: skip
    tx.update(tables.meta, (key,), value=value)


def release(tx: Tx, run: str, owner: str) -> None:
    """Give the lease back; harmless when it is another's by now."""
    key = f"exchange-lease/{run}"
    held = tx.get(tables.meta, key)
    if held is not None and str(held["value"]).startswith(f"{owner} "):
        tx.delete(tables.meta, key)


def packed(tx: ReadTx, part: Part) -> int:
    """How many items of the part have a place in its package by now."""
    counted = select(func.count()).select_from(tables.exchange_items)
    return int(tx.scalar(counted.where(_within(part), tables.exchange_items.c.place.is_not(None))))


def totals(tx: ReadTx, part: Part) -> dict[str, int]:
    """How many items of the part have each outcome, by column of `exchange_runs`; ``selected`` is their sum."""
    c = tables.exchange_items.c
    rows = tx.all(select(c.outcome, func.count().label("items")).where(_within(part)).group_by(c.outcome))
    found = {int(row["outcome"]): int(row["items"]) for row in rows}
    return {
        "selected": sum(found.values()),
        "sent": found.get(pb.ITEM_OUTCOME_SENT, 0),
        "withheld": found.get(pb.ITEM_OUTCOME_WITHHELD, 0),
        "refused": found.get(pb.ITEM_OUTCOME_REFUSED, 0),
        "failed": found.get(pb.ITEM_OUTCOME_FAILED, 0),
        "withdrawn": found.get(pb.ITEM_OUTCOME_WITHDRAWN, 0),
    }


def _within(part: Part) -> ColumnElement[bool]:
    c = tables.exchange_items.c
    return (c.run == part.run) & (c.ordinal >= part.start) & (c.ordinal < part.end)


def move(
    tx: Tx,
    door: Door,
    row: RowMapping,
    state: int,
    *,
    actor: str,
    grace_us: int,
    reason: str = "",
    payload: bytes | None = None,
    columns: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Change a run's state with its journal row and its holding, in one transaction.

    The partner holds it while its receipt is awaited, the operator in every other open state; whoever must decide has
    ``grace_us`` for it. ``columns`` are further changes of the row; ``payload`` is what the journal row commits to: the
    manifest sent or the receipt taken.
    """
    tx.update(tables.exchange_runs, (row["id"],), state=state, updated_us=tx.now_us, **columns)
    record(tx, door, row, state, actor=actor, reason=reason, payload=payload)
    if state in CLOSED:
        drop(tx, name_of(row))
        return
    waiting = state == pb.RUN_STATE_AWAIT_RECEIPT
    decide = state == pb.RUN_STATE_INCOMPLETE
    hold(
        tx, name_of(row), kind="exchange", school="",
        holder=str(row["partner"]) if waiting else door.registry.holder(""),
        deadline_us=tx.now_us + grace_us if decide else int(row["deadline_us"]),
        step=reason.lower() if decide else _word(state),
    )  # fmt: skip


def record(
    tx: Tx, door: Door, row: RowMapping, state: int, *, actor: str, reason: str, payload: bytes | None = None
) -> None:
    """The journal row of a run's state."""
    append(
        tx, kind=f"exchange.{_word(state)}", decision="permit", actor=actor, partner=str(row["partner"]),
        purpose=PURPOSE_RECONCILIATION, resource=name_of(row), reason=reason or str(row["period"]),
        policy_version=door.policy.version, payload=payload,
        sealer=door.keys.system_sealer() if payload is not None else None,
    )  # fmt: skip


def to_message(row: RowMapping, receipt_keys: Mapping[str, bytes]) -> pb.ExchangeRun:
    """The run for a caller. The receipt stands in it only when the partner really signed it."""
    run = pb.ExchangeRun(
        name=name_of(row), exchange=row["exchange"], partner=row["partner"], period=row["period"],
        revision=row["revision"], state=pb.RunState.ValueType(int(row["state"])), selected=row["selected"],
        sent=row["sent"], withheld=row["withheld"], refused=row["refused"], failed=row["failed"],
        late=bool(row["late"]), deadline_us=row["deadline_us"], withdrawn=row["withdrawn"], reason=row["reason"],
    )  # fmt: skip
    if row["manifest"] is not None:
        run.manifest.ParseFromString(bytes(row["manifest"]))
    if row["receipt"] is not None:
        try:
            signed = pb.SignedReceipt.FromString(bytes(row["receipt"]))
            run.receipt.CopyFrom(read_receipt(signed, receipt_keys.get(str(row["partner"]), b"")))
        except (Refusal, DecodeError):
            pass  # kept in the store as evidence of what came instead
    return run


def _word(state: int) -> str:
    return pb.RunState.Name(pb.RunState.ValueType(state)).removeprefix("RUN_STATE_").lower()
