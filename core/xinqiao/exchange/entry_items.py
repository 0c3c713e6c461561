"""The entries of plans of a run: what either party recorded about students whose case the school shares with the other."""

from collections.abc import Sequence
from typing import Final

from xinqiao.api.casefile.v1.plan_pb2 import Entry
from xinqiao.api.casefile.v1.sharing_pb2 import SHARE_STATE_ACTIVE
from xinqiao.api.common.v1.options_pb2 import FIELD_CLASS_AGGREGATE, FIELD_CLASS_CASE_REF, PURPOSE_RECONCILIATION
from xinqiao.api.exchange.v1.exchange_pb2 import (
    ITEM_OUTCOME_FAILED,
    ITEM_OUTCOME_SENT,
    ITEM_OUTCOME_WITHHELD,
    PackageItem,
    PlanEntry,
)
from xinqiao.contract.entry_kinds import CLASS_OF, visible_kinds
from xinqiao.contract.fields import mask_of, present, redact
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.policy import Relation
from xinqiao.disclosure.registry import Partner, Registry, owns
from xinqiao.disclosure.shares import PREFIX, active
from xinqiao.exchange.periods import Span
from xinqiao.exchange.view import Judging, Position, Selected, Source, Verdict, in_books
from xinqiao.store import tables
from xinqiao.store.drills import not_drill
from xinqiao.store.errors import SealBroken
from xinqiao.store.sql import ColumnElement, RowMapping, exists, or_, select
from xinqiao.store.tx import ReadTx

_E: Final = tables.entries.c
_S: Final = tables.shares.c
_ROW: Final = select(
    _E.id, _E.student, _E.school, _E.kind, _E.author, _E.superseded_by, _E.created_us, _E.sealed
)  # fmt: skip
_HEAD: Final = mask_of([FIELD_CLASS_AGGREGATE, FIELD_CLASS_CASE_REF])
_ALL: Final = -1


class EntryView:
    """Entries about a day of the period, or about an earlier one and recorded in it, that stand.

    They are of the books where the school shared the student's case when they were made, and their class with it: of
    what was never shared not even a count of what is withheld may tell.
    """

    prefix = "entries"
    asks_consent = True

    def page(
        self, tx: ReadTx, door: Door, parties: Sequence[str], period: Span, after: Position | None, limit: int
    ) -> tuple[list[Selected], Position | None]:
        """See ``View``."""
        shared = between(door.registry, parties)
        if shared is None:
            return [], None
        wanted = _ROW.where(shared, _E.superseded_by == "", _E.created_us >= period.from_us, not_drill(_E.student))
        if after is not None:
            wanted = wanted.where((_E.created_us > after[0]) | ((_E.created_us == after[0]) & (_E.id > after[1])))
        rows = tx.all(wanted.order_by(_E.created_us, _E.id).limit(limit))
        found = [Selected(f"entries/{row['id']}", str(row["student"])) for row in rows if _within(door, row, period)]
        return found, (int(rows[-1]["created_us"]), str(rows[-1]["id"])) if len(rows) == limit else None

    def belongs(self, tx: ReadTx, door: Door, key: str, period: Span) -> bool:
        """See ``View``."""
        row = tx.get(tables.entries, key)
        return row is not None and not row["superseded_by"] and _within(door, row, period)

    def judging(
        self, tx: ReadTx, door: Door, recipient: Partner, page: Sequence[Selected], period: Span
    ) -> Judging:  # fmt: skip
        """See ``View``; an entry is never changed, so nothing of it is later than the period but that it is replaced."""
        del period
        return _Judge(tx, door, recipient, page)

    def source(self, tx: ReadTx, door: Door, key: str) -> Source | None:
        """See ``View``: whoever recorded it. It is mended by the entry that replaces it."""
        row = tx.get(tables.entries, key)
        if row is None:
            return None
        newer = tx.get(tables.entries, str(row["superseded_by"]).removeprefix("entries/"))
        author = door.registry.find(str(row["author"]))
        own = author is None or owns(author, str(row["school"]))
        changed = row if newer is None else newer
        return Source(str(row["school"]), "" if own else str(row["author"]), int(changed["created_us"]))


class _Judge:
    """Of one page, whose rows, keys and names are fetched all at once."""

    def __init__(self, tx: ReadTx, door: Door, recipient: Partner, page: Sequence[Selected]) -> None:
        students = [chosen.student for chosen in page]
        self._tx, self._door, self._recipient = tx, door, recipient
        rows = tx.all(_ROW.where(_E.id.in_([chosen.key for chosen in page])))
        self._rows = {str(row["id"]): row for row in rows}
        self._sealers = door.keys.sealers(students, keep=False)
        self._names = dict(zip(students, door.students.names(recipient.agency, students), strict=True))

    def __call__(self, chosen: Selected, ordinal: int) -> Verdict:
        row, sealer = self._rows.get(chosen.key), self._sealers.get(chosen.student)
        if row is None:
            return Verdict(ITEM_OUTCOME_FAILED, "ITEM_GONE")
        if sealer is None:
            return Verdict(ITEM_OUTCOME_FAILED, "KEY_GONE")
        if row["superseded_by"]:
            return Verdict(ITEM_OUTCOME_WITHHELD, "SUPERSEDED")
        try:
            entry = sealer.record(Entry, bytes(row["sealed"]), table="entries", key=chosen.key)
        except SealBroken:
            return Verdict(ITEM_OUTCOME_FAILED, "SEAL_BROKEN")
        case, lacking = self._case(row)
        relation: Relation = "OWN" if owns(self._recipient, str(row["school"])) else "PARTY"
        mask, denials = self._door.permitted(
            self._tx, recipient=self._recipient, purpose=PURPOSE_RECONCILIATION, student=chosen.student,
            relation=relation,
        )  # fmt: skip
        if not mask >> FIELD_CLASS_CASE_REF & 1:
            lacking = denials[FIELD_CLASS_CASE_REF].reason
        if lacking:
            return Verdict(ITEM_OUTCOME_WITHHELD, lacking, denials=denials)
        mask &= case | _HEAD
        entry.name, entry.create_time_us = chosen.item, int(row["created_us"])
        entry.plan_version = 0  # how many entries there are in all would tell of those that are not shared
        item = PackageItem(ordinal=ordinal, entry=PlanEntry(student=self._names[chosen.student], entry=entry))
        kept = redact(item, mask)
        data = item.SerializeToString(deterministic=True)
        return Verdict(ITEM_OUTCOME_SENT, "", data, present(item, mask), sealer, item, kept, denials)

    def _case(self, row: RowMapping) -> tuple[int, str]:
        """The classes of the student's case that the recipient may read now, and why not even that there is such an
        entry; the books never show more than the case itself would."""
        if owns(self._recipient, str(row["school"])):
            return _ALL, ""
        reason = "SHARE_ENDED"
        for share in active(self._tx, str(row["student"]), self._recipient.agency):
            mask, denials = self._door.permitted(
                self._tx, recipient=self._recipient, purpose=int(share["purpose"]), student=str(row["student"]),
                relation="PARTY", basis=f"{PREFIX}{share['id']}",
            )  # fmt: skip
            needed = FIELD_CLASS_CASE_REF if row["author"] == self._recipient.agency else CLASS_OF[int(row["kind"])]
            if mask >> needed & 1:
                return mask, ""
            reason = denials[needed].reason
        return 0, reason


def between(registry: Registry, parties: Sequence[str]) -> "ColumnElement[bool] | None":
    """Entries that the books of the two hold: of either, about a student of the one, of a class shared with the other
    when they were made; what the other recorded itself is of its books in any class. None where neither is a school."""
    for name, other in (parties, parties[::-1]):
        school = registry.find(name)
        codes = sorted(code for code in school.schools if owns(school, code)) if school is not None else []
        if codes:
            told = [
                (_S.classes.bitwise_and(1 << each) != 0) & _E.kind.in_(visible_kinds(1 << each))
                for each in sorted(set(CLASS_OF.values()))
            ]
            shared = select(_S.id).where(
                _S.student == _E.student, _S.recipient == other, _S.created_us <= _E.created_us,
                _S.not_after_us > _E.created_us,
                (_S.state == int(SHARE_STATE_ACTIVE)) | (_S.updated_us > _E.created_us),
                or_(_E.author == other, *told),
            )  # fmt: skip
            return _E.school.in_(codes) & _E.author.in_([name, other]) & exists(shared)
    return None


def day_of(door: Door, row: RowMapping) -> str:
    """The day that an entry is about; empty where it cannot be read any more."""
    entry = door.keys.readable(Entry, row, table="entries")
    return entry.day if entry is not None else ""


def _within(door: Door, row: RowMapping, period: Span) -> bool:
    # One that cannot be read is a member when it was recorded: counted as failed, and not lost from the books.
    return in_books(day_of(door, row), int(row["created_us"]), int(row["created_us"]), period)
