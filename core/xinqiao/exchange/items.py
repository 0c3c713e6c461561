"""The items of a run: which referrals a period holds, and what of each a partner may have now."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from xinqiao.api.common.v1.options_pb2 import FIELD_CLASS_CASE_REF, PURPOSE_RECONCILIATION
from xinqiao.api.exchange.v1.exchange_pb2 import (
    ITEM_OUTCOME_FAILED,
    ITEM_OUTCOME_SENT,
    ITEM_OUTCOME_WITHHELD,
    PackageItem,
)
from xinqiao.api.referral.v1.referral_pb2 import REFERRAL_EVENT_REPORT_OUTCOME, Referral
from xinqiao.contract.fields import Kept, present, redact
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.policy import Decision, Relation
from xinqiao.disclosure.records import hide_chain
from xinqiao.disclosure.registry import Partner
from xinqiao.exchange.periods import Span
from xinqiao.store import tables
from xinqiao.store.drills import not_drill
from xinqiao.store.engine import Store
from xinqiao.store.errors import SealBroken
from xinqiao.store.sealing import Sealer
from xinqiao.store.sql import RowMapping, bindparam, select
from xinqiao.store.tx import ReadTx

PAGE: Final = 400
"""Items in one transaction: a crisis write that waits behind it waits for some 20 milliseconds."""

_ASKED: Final = 200  # referrals in one statement
_KEYS_ASKED: Final = tuple(f"k{n}" for n in range(_ASKED))
_R: Final = tables.referrals.c
_BY_KEYS: Final = select(_R.id, _R.school, _R.sender, _R.recipient, _R.sealed).where(
    _R.id.in_([bindparam(name) for name in _KEYS_ASKED])
)
_FIRST_PAGE: Final = (
    select(_R.id, _R.student, _R.created_us, _R.updated_us)
    .where(_R.sender == bindparam("of"), _R.recipient == bindparam("to"), not_drill(_R.student))
    .where(_R.created_us < bindparam("until_us"), _R.updated_us >= bindparam("from_us"))
    .order_by(_R.created_us, _R.id)
    .limit(bindparam("most"))
)
# The first condition says nothing new, but only from it an index knows where to begin.
_NEXT_PAGE: Final = _FIRST_PAGE.where(
    _R.created_us >= bindparam("at_us"),
    (_R.created_us > bindparam("at_us")) | ((_R.created_us == bindparam("at_us")) & (_R.id > bindparam("last"))),
)
_I: Final = tables.exchange_items.c
_MEMBERS: Final = (
    select(_I.ordinal, _I.item, _I.student, _I.outcome, _I.reason, _I.digest)
    .where(_I.run == bindparam("run"), _I.outcome.in_([bindparam("one"), bindparam("other")]))
    .where(_I.ordinal > bindparam("after"), _I.ordinal < bindparam("end"))
    .order_by(_I.ordinal)
    .limit(PAGE)
)


class Selected(NamedTuple):
    """One frozen member of a run: a referral's name and its student."""

    item: str
    student: str


class Member(NamedTuple):
    """A frozen member as its run keeps it: an `exchange_items` row."""

    ordinal: int
    item: str
    student: str
    outcome: int
    reason: str
    digest: bytes


class Verdict(NamedTuple):
    """What the door says of one item now: ``data`` is the serialized ``item`` when ``outcome`` is SENT, without what
    was ``kept`` back of it, for the reasons in ``denials``."""

    outcome: int
    reason: str = ""
    data: bytes = b""
    classes: int = 0
    sealer: Sealer | None = None
    item: PackageItem | None = None
    kept: Sequence[Kept] = ()
    denials: Mapping[int, Decision] = MappingProxyType({})

    @property
    def digest(self) -> bytes:
        """SHA-256 of what goes; empty for nothing."""
        return hashlib.sha256(self.data).digest() if self.data else b""


Position = tuple[int, str]
"""Where a page of the selection begins: after the referral created at this time, with this id."""


def select_page(
    tx: ReadTx, door: Door, parties: Sequence[str], period: Span, after: Position | None, limit: int
) -> tuple[list[Selected], Position | None]:
    """The next of the referrals between the two parties that changed in the period, oldest first, and where the page
    after it begins; None at the end. A page may hold fewer than ``limit``, or none, before the end.

    A referral that changed again afterwards still belongs to the period: its history says so. One whose history can
    no longer be read is a member too, so that it is counted as failed and not lost from the books.
    """
    # Each direction by its index, in order from where it stopped: asked for as one, the database would sort all of them
    # anew for every page.
    one, other = parties
    both = [_one_way(tx, sender, recipient, period, after, limit) for sender, recipient in ((one, other), (other, one))]
    rows = list(islice(merge(*both, key=lambda row: (row[2], row[0])), limit))
    found = [
        Selected(f"referrals/{key}", student)
        for key, student, _, updated_us in rows
        if updated_us < period.to_us or belongs(tx, door, key, period)
    ]
    return found, (rows[-1][2], rows[-1][0]) if len(rows) == limit else None


def _one_way(
    tx: ReadTx, sender: str, recipient: str, period: Span, after: Position | None, limit: int
) -> Sequence[Sequence[Any]]:
    """(id, student, created_us, updated_us) of a page of one direction."""
    wanted: dict[str, object] = {
        "of": sender, "to": recipient, "from_us": period.from_us, "until_us": period.to_us, "most": limit
    }  # fmt: skip
    if after is None:
        return tx.pick(_FIRST_PAGE, **wanted)
    return tx.pick(_NEXT_PAGE, **wanted, at_us=after[0], last=after[1])


def select_items(store: Store, door: Door, parties: Sequence[str], period: Span) -> Iterator[list[Selected]]:
    """All pages of the selection, each in a snapshot of its own."""
    after: Position | None = None
    while True:
        with store.read() as tx:
            page, after = select_page(tx, door, parties, period, after, PAGE)
        yield page
        if after is None:
            return


def belongs(tx: ReadTx, door: Door, item: str, period: Span) -> bool:
    """Whether a referral that was in one period is in this one too."""
    row = tx.get(tables.referrals, item.removeprefix("referrals/"))
    if row is None or int(row["created_us"]) >= period.to_us or int(row["updated_us"]) < period.from_us:
        return False
    return _changed_in(door, row, period)


class Judge:
    """Asks the door of the items of one page, whose rows, keys and names are fetched all at once.

    The same record, policy and consents give the same bytes, whatever happened to the referral after the period.
    """

    def __init__(
        self, tx: ReadTx, door: Door, recipient: Partner, page: "Sequence[Selected | Member]", period: Span
    ) -> None:
        students = [chosen.student for chosen in page]
        self._tx, self._door, self._recipient, self._period = tx, door, recipient, period
        self._rows = {str(row[0]): row for row in _rows(tx, [_key(chosen) for chosen in page])}
        self._sealers = door.keys.sealers(students, keep=False)
        self._names = dict(zip(students, door.students.names(recipient.agency, students), strict=True))
        self._alike: dict[Relation, tuple[int, Mapping[int, Decision]]] = {}

    def __call__(self, chosen: "Selected | Member", ordinal: int) -> Verdict:
        """What of this item the recipient may have now; ``ordinal`` is its place in the package."""
        row = self._rows.get(_key(chosen))
        if row is None:
            return Verdict(ITEM_OUTCOME_FAILED, "ITEM_GONE")
        key, school, sender, recipient, sealed = row
        sealer = self._sealers.get(chosen.student)
        if sealer is None:
            return Verdict(ITEM_OUTCOME_FAILED, "KEY_GONE")
        item = PackageItem(ordinal=ordinal)
        referral = item.referral
        try:
            sealer.read(referral, bytes(sealed), table="referrals", key=key)
        except SealBroken:
            return Verdict(ITEM_OUTCOME_FAILED, "SEAL_BROKEN")
        mask, denials = self._permitted(chosen.student, _relation(self._recipient, school, sender, recipient))
        if not mask >> FIELD_CLASS_CASE_REF & 1:
            return Verdict(ITEM_OUTCOME_WITHHELD, denials[FIELD_CLASS_CASE_REF].reason, denials=denials)
        _as_of(referral, self._period)
        hide_chain(referral)
        referral.name = chosen.item
        referral.student = self._names[chosen.student]
        kept = redact(item, mask)
        data = item.SerializeToString(deterministic=True)
        return Verdict(ITEM_OUTCOME_SENT, "", data, present(item, mask), sealer, item, kept, denials)

    def _permitted(self, student: str, relation: Relation) -> tuple[int, Mapping[int, Decision]]:
        known = self._alike.get(relation)
        if known is not None:
            return known
        found = self._door.permitted(
            self._tx, recipient=self._recipient, purpose=PURPOSE_RECONCILIATION, student=student, relation=relation
        )
        # Where the policy asks for no consent, nothing of the answer is the student's own.
        if not self._door.policy.asks_consent(self._recipient.roles, PURPOSE_RECONCILIATION, relation):
            self._alike[relation] = found
        return found


def judge(tx: ReadTx, door: Door, recipient: Partner, member: Selected, period: Span, ordinal: int) -> Verdict:
    """As :class:`Judge`, of one item."""
    return Judge(tx, door, recipient, [member], period)(member, ordinal)


def members(tx: ReadTx, run: str, *, after: int, end: int, outcomes: tuple[int, int]) -> list[Member]:
    """The next page of a run's items before ordinal ``end`` with one of these outcomes, in frozen order."""
    found = tx.pick(_MEMBERS, run=run, after=after, end=end, one=outcomes[0], other=outcomes[1])
    return [Member._make(row) for row in found]


def member(row: RowMapping) -> Selected:
    """The member that an item's row stands for."""
    return Selected(str(row["item"]), str(row["student"]))


def _key(chosen: "Selected | Member") -> str:
    return chosen.item.removeprefix("referrals/")


def _rows(tx: ReadTx, keys: Sequence[str]) -> Iterator[Sequence[Any]]:
    """(id, school, sender, recipient, sealed) of many referrals; always the same statement, so it is rendered once."""
    for start in range(0, len(keys), _ASKED):
        part = list(keys[start : start + _ASKED])
        part += part[-1:] * (_ASKED - len(part))
        yield from tx.pick(_BY_KEYS, **dict(zip(_KEYS_ASKED, part, strict=True)))


def _relation(asking: Partner, school: str, sender: str, recipient: str) -> Relation:
    if asking.agency == recipient:
        return "PARTY"
    return "OWN" if asking.agency == sender and school in asking.schools else "NONE"


def _changed_in(door: Door, row: RowMapping, period: Span) -> bool:
    if int(row["updated_us"]) < period.to_us:
        return True
    referral = door.keys.readable(Referral, row, table="referrals")
    return referral is None or any(period.from_us <= each.time_us < period.to_us for each in referral.history)


def state_at(referral: Referral, period: Span) -> int:
    """Where the referral stood at the end of the period."""
    _as_of(referral, period)
    return int(referral.state)


def _as_of(referral: Referral, period: Span) -> None:
    """Cut the referral back to the end of the period, so that a later change neither leaks into nor alters it.

    What the history does not date (appointment, reason of the last change, version) is left out.
    """
    history = referral.history
    kept = [change for change in history if change.time_us < period.to_us]
    if kept:
        referral.state = kept[-1].state
    if len(kept) != len(history):
        outcomes = [*referral.earlier_outcomes, referral.outcome]
        reported = sum(change.event == REFERRAL_EVENT_REPORT_OUTCOME for change in kept)
        referral.ClearField("outcome")
        if reported:
            referral.outcome.CopyFrom(outcomes[reported - 1])
        del history[len(kept) :]
    for undated in ("earlier_outcomes", "appointment_us", "state_reason", "etag"):
        referral.ClearField(undated)
