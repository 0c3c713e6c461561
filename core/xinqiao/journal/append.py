"""Writing one journal row in the transaction of its effect: no row, no bytes."""

from collections.abc import Iterable
from typing import Final, NamedTuple, cast

from xinqiao.contract.errors import Refusal
from xinqiao.journal.entry import ZERO_HASH, EncodingError, Entry, entry_hash
from xinqiao.store import tables
from xinqiao.store.sealing import Sealer
from xinqiao.store.sql import select
from xinqiao.store.tx import Tx

MAX_VALUE: Final = 512
"""The longest text value, in characters: room for codes and references, not for stories."""

_MAX_NUMBER: Final = 2**31 - 1
"""PostgreSQL's integer column."""

_HEAD: Final = "journal.head"


class Line(NamedTuple):
    """What a journal row is to say; :func:`append` tells what of it means what."""

    kind: str
    decision: str
    actor: str
    partner: str = ""
    purpose: int = 0
    classes: int = 0
    student: str | None = None
    resource: str = ""
    reason: str = ""
    basis: str = ""
    policy_version: str = ""
    payload: bytes | None = None
    sealer: Sealer | None = None


def append(
    tx: Tx,
    *,
    kind: str,
    decision: str,
    actor: str,
    partner: str = "",
    purpose: int = 0,
    classes: int = 0,
    student: str | None = None,
    resource: str = "",
    reason: str = "",
    basis: str = "",
    policy_version: str = "",
    payload: bytes | None = None,
    sealer: Sealer | None = None,
) -> Entry:
    """Append one row to the chain of ``tx.writer`` and return it; it becomes durable with ``tx`` or not at all.

    ``payload`` is never stored: only ``sealer``'s commitment to it is, so shredding the student's key makes the row
    unlinkable while the chain still verifies. Raises ValueError for a payload without sealer, and Refusal
    ``INVALID_ARGUMENT/JOURNAL_VALUE`` for an empty kind or a value that is too long, holds NUL, or is out of range.
    """
    seq, prev_hash = _head(tx)
    entry = _entry(
        tx, seq + 1, prev_hash, kind, decision, actor, partner, purpose, classes, student, resource, reason, basis,
        policy_version, payload, sealer,
    )  # fmt: skip
    tx.insert(tables.journal, *entry)
    tx.remember(_HEAD, (entry.seq, entry.hash))
    return entry


def append_all(tx: Tx, lines: Iterable[Line]) -> None:
    """As :func:`append`, of many rows, in their order."""
    seq, prev_hash = _head(tx)
    entries: list[Entry] = []
    for line in lines:
        seq += 1
        entry = _entry(tx, seq, prev_hash, *line)
        prev_hash = entry.hash
        entries.append(entry)
    if entries:
        tx.insert_many(tables.journal, entries)
        tx.remember(_HEAD, (seq, prev_hash))


def _entry(
    tx: Tx, seq: int, prev_hash: bytes, kind: str, decision: str, actor: str, partner: str, purpose: int, classes: int,
    student: str | None, resource: str, reason: str, basis: str, policy_version: str, payload: bytes | None,
    sealer: Sealer | None,
) -> Entry:  # fmt: skip
    if payload is not None and sealer is None:
        raise ValueError("a journal row with a payload needs the student's sealer")
    texts = (kind, decision, actor, partner, student or "", resource, reason, basis, policy_version)
    if not kind or max(map(len, texts)) > MAX_VALUE or "\0" in "".join(texts):
        raise _refusal()
    if not (0 <= purpose <= _MAX_NUMBER and 0 <= classes <= _MAX_NUMBER):
        raise _refusal()
    commitment = ZERO_HASH if payload is None or sealer is None else sealer.commit(tx.writer, seq, payload)
    unhashed = Entry(
        tx.writer, seq, tx.now_us, kind, decision, actor, partner, purpose, classes,
        student, resource, reason, basis, policy_version, commitment, prev_hash, b"",
    )  # fmt: skip
    try:
        digest = entry_hash(unhashed)
    except EncodingError:
        raise _refusal() from None
    return Entry._make((*unhashed[:-1], digest))


def _head(tx: Tx) -> tuple[int, bytes]:
    """Number and hash of the writer's newest row, its own uncommitted rows included."""
    known = tx.recall(_HEAD)
    if known is not None:
        return cast(tuple[int, bytes], known)
    column = tables.journal.c
    newest = select(column.seq, column.hash).where(column.writer == tx.writer).order_by(column.seq.desc()).limit(1)
    row = tx.one(newest)
    return (0, ZERO_HASH) if row is None else (int(row["seq"]), bytes(row["hash"]))


def _refusal() -> Refusal:
    return Refusal(
        "INVALID_ARGUMENT",
        "JOURNAL_VALUE",
        f"a journal row takes codes and references only: give a kind, and at most {MAX_VALUE} characters without NUL "
        "in each value, and numbers from 0 to 2147483647",
    )
