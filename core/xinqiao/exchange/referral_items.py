"""The referrals of a run: which of them a period holds, and what of each a partner may have now."""

from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from itertools import islice
from typing import Any, Final

from xinqiao.api.common.v1.options_pb2 import FIELD_CLASS_CASE_REF, PURPOSE_RECONCILIATION
from xinqiao.api.exchange.v1.exchange_pb2 import (
    ITEM_OUTCOME_FAILED,
    ITEM_OUTCOME_SENT,
    ITEM_OUTCOME_WITHHELD,
    PackageItem,
)
from xinqiao.api.referral.v1.referral_pb2 import REFERRAL_EVENT_REPORT_OUTCOME, Referral
from xinqiao.contract.fields import present, redact
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.policy import Decision, Relation
from xinqiao.disclosure.records import hide_chain
from xinqiao.disclosure.registry import Partner
from xinqiao.exchange.periods import Span
from xinqiao.exchange.view import Judging, Position, Selected, Source, Verdict
from xinqiao.store import tables
from xinqiao.store.drills import not_drill
from xinqiao.store.errors import SealBroken
from xinqiao.store.sql import RowMapping, bindparam, select
from xinqiao.store.tx import ReadTx

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


class ReferralView:
    """Referrals between the two parties that changed in the period.

    One that changed again afterwards still belongs to the period: its history says so. One whose history can no longer
    be read is a member too, so that it is counted as failed and not lost from the books.
    """

    prefix = "referrals"
    asks_consent = False

    def page(
        self, tx: ReadTx, door: Door, parties: Sequence[str], period: Span, after: Position | None, limit: int
    ) -> tuple[list[Selected], Position | None]:
        """See ``View``."""
        # Each direction by its index, in order from where it stopped: asked for as one, the database would sort all of
        # them anew for every page.
        one, other = parties
        both = [
            _one_way(tx, sender, recipient, period, after, limit) for sender, recipient in ((one, other), (other, one))
        ]
        rows = list(islice(merge(*both, key=lambda row: (row[2], row[0])), limit))
        found = [
            Selected(f"referrals/{key}", student)
            for key, student, _, updated_us in rows
            if updated_us < period.to_us or self.belongs(tx, door, key, period)
        ]
        return found, (rows[-1][2], rows[-1][0]) if len(rows) == limit else None

    def belongs(self, tx: ReadTx, door: Door, key: str, period: Span) -> bool:
        """See ``View``."""
        row = tx.get(tables.referrals, key)
        if row is None or int(row["created_us"]) >= period.to_us or int(row["updated_us"]) < period.from_us:
            return False
        return _changed_in(door, row, period)

    def judging(
        self, tx: ReadTx, door: Door, recipient: Partner, page: Sequence[Selected], period: Span
    ) -> Judging:  # fmt: skip
        """See ``View``; whatever happened to the referral after the period."""
        return _Judge(tx, door, recipient, page, period)

    def source(self, tx: ReadTx, door: Door, key: str) -> Source | None:
        """See ``View``: the school that knows the student."""
        row = tx.get(tables.referrals, key)
        return None if row is None else Source(str(row["school"]), "", int(row["updated_us"]))


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


class _Judge:
    """Of one page, whose rows, keys and names are fetched all at once."""

    def __init__(self, tx: ReadTx, door: Door, recipient: Partner, page: Sequence[Selected], period: Span) -> None:
        students = [chosen.student for chosen in page]
        self._tx, self._door, self._recipient, self._period = tx, door, recipient, period
        self._rows = {str(row[0]): row for row in _rows(tx, [chosen.key for chosen in page])}
        self._sealers = door.keys.sealers(students, keep=False)
        self._names = dict(zip(students, door.students.names(recipient.agency, students), strict=True))
        self._alike: dict[Relation, tuple[int, Mapping[int, Decision]]] = {}

    def __call__(self, chosen: Selected, ordinal: int) -> Verdict:
        """What of this item the recipient may have now; ``ordinal`` is its place in the package."""
        row = self._rows.get(chosen.key)
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
