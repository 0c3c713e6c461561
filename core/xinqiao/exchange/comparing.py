"""A party's books beside ours: each of its records matched exactly or not at all, and what of ours it does not name."""

from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from xinqiao.api.common.v1.types_pb2 import StudentRef
from xinqiao.api.exchange.v1 import activity_service_pb2 as activity
from xinqiao.api.exchange.v1 import exchange_service_pb2 as rpc
from xinqiao.api.referral.v1.referral_pb2 import REFERRAL_STATE_CLOSED, REFERRAL_STATE_OUTCOME_REPORTED, Referral
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.students import Known
from xinqiao.exchange.activities import to_message
from xinqiao.exchange.entry_items import day_of
from xinqiao.exchange.items import ENTRIES, PAGE, REFERRALS, SERVICES, source_of
from xinqiao.exchange.periods import Span
from xinqiao.exchange.referral_items import state_at
from xinqiao.exchange.view import Position, Selected, View, within
from xinqiao.store import tables
from xinqiao.store.sql import select
from xinqiao.store.tx import ReadTx

DIFFERS: Final = frozenset({"STATE_DIFFERS", "SERVICE_DIFFERS"})
"""Reasons of a record that was matched, and says otherwise than ours."""

LACKED: Final = "MISSING"
"""Reason of what is in our books and not in theirs."""

MENDS: Final = MappingProxyType(
    {
        "STUDENT_DESCRIBED": "name the student by your own id, or by the code the gateway gave you",
        "STUDENT_UNKNOWN": "is of no student that the gateway knows by this code; mend the code",
        "REFERRAL_UNKNOWN": "names no referral between the two of you; mend its number",
        "REFERRAL_OF_ANOTHER": "names a referral of another student; mend the number or the student",
        "STATE_DIFFERS": "the referral stood otherwise at the period's end; compare the two and mend the wrong one",
        "ENTRY_UNKNOWN": "no such entry of yours came for this student and day; bring it, or take it out",
        "SERVICE_UNKNOWN": "no service came under this number; bring it, or take it out",
        "SERVICE_DIFFERS": "came with another kind, day or figure; compare the two and mend the wrong one",
        LACKED: "stands in our books of the period and not in yours; add it, or say that it never was",
    }
)
"""What whoever sent the books is told of each reason."""

_E: Final = tables.entries.c
_COMPARED: Final = ("kind", "day", "attendances", "persons", "withdrawn")


class Match(NamedTuple):
    """What a record was found to be about, and why it is not exactly that; ``reason`` is empty where both agree."""

    student: str | None = None
    school: str = ""
    item: str = ""
    reason: str = ""


class Ours(NamedTuple):
    """A record of our books that the party should have too; ``source`` is the party's own id of it, where it has one."""

    item: str
    student: str | None
    school: str
    source: str = ""


def match(call: Call, record: rpc.PackageRecord, parties: Sequence[str], period: Span, taken: set[str]) -> Match:
    """Exact by what both sides know, else nobody and why. ``taken`` are the items that other records stand for."""
    if record.HasField("service"):
        return _service(call, record.service)
    known = _student(call, record.student)
    if isinstance(known, str):
        return Match(reason=known)
    if record.entry_kind:
        return _entry(call, record, known, taken)
    if not record.referral:
        return Match(known.id, known.school)
    row = call.reading.get(tables.referrals, record.referral.removeprefix("referrals/"))
    if row is None or {str(row["sender"]), str(row["recipient"])} != set(parties):
        return Match(reason="REFERRAL_UNKNOWN")
    if row["student"] != known.id:
        return Match(reason="REFERRAL_OF_ANOTHER")
    ours = call.door.keys.readable(Referral, row, table="referrals")
    same = ours is not None and _same_state(record.state, state_at(ours, period))
    return Match(known.id, known.school, f"referrals/{row['id']}", "" if same else "STATE_DIFFERS")


def _same_state(theirs: int, ours: int) -> bool:
    """Nothing said is no difference; and that the sender closed it after the outcome is in the sender's books only."""
    reported_then_closed = (theirs, ours) == (REFERRAL_STATE_OUTCOME_REPORTED, REFERRAL_STATE_CLOSED)
    return theirs in (0, ours) or reported_then_closed


def expected(
    tx: ReadTx, door: Door, agency: str, views: Sequence[View], parties: Sequence[str], period: Span
) -> Iterator[Ours]:
    """What our books hold of the period's days and the party's own should hold too.

    Of referrals all, for both sides know them; of entries and services those that the party recorded itself.
    """
    for view in views:
        after: Position | None = None
        while True:
            page, after = view.page(tx, door, parties, period, after, PAGE)
            for chosen in page:
                if _is_theirs(tx, door, agency, view, chosen, period):
                    source = source_of(tx, door, chosen.item)
                    own = chosen.key.partition("/")[2] if view is SERVICES else ""
                    yield Ours(chosen.item, chosen.student or None, source.school if source is not None else "", own)
            if after is None:
                break


def _is_theirs(tx: ReadTx, door: Door, agency: str, view: View, chosen: Selected, period: Span) -> bool:
    """Whether the party's books of the period should hold it. What is late stands in those of its own day."""
    if view is REFERRALS:
        return True
    if view is SERVICES:
        author, _, source = chosen.key.partition("/")
        row = tx.get(tables.activities, author, source) if author == agency else None
        return row is not None and within(str(row["day"]), period)
    row = tx.get(tables.entries, chosen.key)
    assert view is ENTRIES, "each dataset says here what of it is whose"
    return row is not None and row["author"] == agency and within(day_of(door, row), period)


def _student(call: Call, ref: StudentRef) -> Known | str:
    """The student, or why there is none."""
    if ref.WhichOneof("ref") == "described":
        return "STUDENT_DESCRIBED"
    try:
        return call.door.students.resolve(call.reading, call.caller, ref)
    except Refusal:
        return "STUDENT_UNKNOWN"


def _entry(call: Call, record: rpc.PackageRecord, known: Known, taken: set[str]) -> Match:
    """Two of one student, kind and day are alike to both sides: each record stands for one of them, and no more."""
    wanted = select(tables.entries).where(
        _E.student == known.id, _E.author == call.caller.agency, _E.kind == int(record.entry_kind),
        _E.superseded_by == "",
    )  # fmt: skip
    for row in call.reading.all(wanted.order_by(_E.created_us, _E.id)):
        item = f"entries/{row['id']}"
        if item not in taken and day_of(call.door, row) == record.day:
            return Match(known.id, known.school, item)
    return Match(reason="ENTRY_UNKNOWN")


def _service(call: Call, said: activity.Activity) -> Match:
    row = call.reading.get(tables.activities, call.caller.agency, said.source)
    if row is None:
        return Match(reason="SERVICE_UNKNOWN")
    ours = to_message(row)
    same = all(getattr(ours, name) == getattr(said, name) for name in _COMPARED)
    same = same and (ours.times or 1) == (said.times or 1)  # 0 means one
    item = f"activities/{call.caller.agency}/{said.source}"
    return Match(None, str(row["school"]), item, "" if same else "SERVICE_DIFFERS")
