"""All that is held of a student, gathered for the family that asked for it (PIPL art. 45); only the door lets it out."""

from collections.abc import Mapping
from typing import Any, Final

from google.protobuf.message import Message

from xinqiao.api.casefile.v1 import casefile_pb2, consent_pb2, plan_pb2, sharing_pb2, team_pb2
from xinqiao.api.common.v1.options_pb2 import PURPOSE_MANDATORY_REPORT
from xinqiao.api.gateway.v1.access_service_pb2 import StudentExport
from xinqiao.api.referral.v1 import notice_pb2, referral_pb2, return_pb2
from xinqiao.api.screening.v1 import screening_pb2
from xinqiao.casefile.statement import disclosure_of
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.guardians import hide_conflicts
from xinqiao.store import tables
from xinqiao.store.sql import RowMapping
from xinqiao.store.tx import ReadTx

PARTS: Final[Mapping[str, type[Message]]] = {
    "assessments": screening_pb2.Assessment,
    "signals": screening_pb2.Signal,
    "triages": screening_pb2.Triage,
    "referrals": referral_pb2.Referral,
    "notices": notice_pb2.Notice,
    "returns": return_pb2.Return,
    "consents": casefile_pb2.Consent,
    "recalls": consent_pb2.Recall,
    "overrides": consent_pb2.Override,
    "duties": casefile_pb2.Duty,
    "plans": plan_pb2.Plan,
    "entries": plan_pb2.Entry,
    "shares": sharing_pb2.Share,
    "tasks": team_pb2.CareTask,
}
"""Every kind of record in an export, by the name that its table, its field and its resource names share."""

LEFT_OUT: Final[Mapping[str, str]] = {
    "students": "its one record stands first",
    "teams": "its members are shares, its tasks stand by themselves",
    "mailboxes": "a letter is between its writer and the worker: the school may not read it",
    "letters": "as mailboxes",
    "alerts": "whom one is about was never known; once it is, it is a signal",
}
"""Sealed tables that are no part, and why."""


class Exports:
    """Gathers exports."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def gather(self, tx: ReadTx, student: str, agency: str, from_us: int, to_us: int) -> tuple[StudentExport, int]:
        """The record, named for ``agency``, as far as it was made in the time given; how many parts cannot be read.

        A guardian may be the one whom a mandatory report is about, so nothing that it rests on is in here.
        """
        export, unreadable = StudentExport(student=self._door.students.load(tx, student, agency)), 0
        hide_conflicts(export.student)
        name, guarded = export.student.name, self._guarded(tx, student)
        for part, kind in PARTS.items():
            table = tables.metadata.tables[part]
            c = table.c
            wanted = (c.student == student) & (c.created_us >= from_us) & (c.created_us < to_us)
            for row in tx.all(table.select().where(wanted).order_by(c.created_us, c.id)):
                record: Any = self._door.keys.readable(kind, row, table=part)
                if record is None:
                    unreadable += 1
                elif f"{part}/{row['id']}" in guarded or guarded & _rests_on(record):
                    guarded.add(f"{part}/{row['id']}")  # what rests on this one in turn comes later
                else:
                    getattr(export, part).append(_named(record, part, row, name))
        export.disclosures.extend(self._disclosures(tx, student, from_us, to_us))
        return export, unreadable

    def _guarded(self, tx: ReadTx, student: str) -> set[str]:
        """Duties to report, and the signs and tiers that they follow from."""
        found: set[str] = set()
        for row in tx.all(tables.duties.select().where(tables.duties.c.student == student)):
            basis = self._door.bases.get(str(row["basis"]))
            if basis is None or PURPOSE_MANDATORY_REPORT not in basis.purposes:
                continue
            found.add(f"duties/{row['id']}")
            duty = self._door.keys.readable(casefile_pb2.Duty, row, table="duties")
            found |= {duty.item} if duty is not None and duty.item else set()
        s = tables.signals.c
        harmed = tables.signals.select().where(
            (s.student == student) & (s.kind == str(int(screening_pb2.SIGNAL_KIND_ABUSE)))
        )
        return found | {f"signals/{row['id']}" for row in tx.all(harmed)}

    def _disclosures(self, tx: ReadTx, student: str, from_us: int, to_us: int) -> list[sharing_pb2.Disclosure]:
        j = tables.journal.c
        wanted = (j.student == student) & (j.decision == "permit") & (j.classes > 0)
        wanted = wanted & (j.purpose != int(PURPOSE_MANDATORY_REPORT)) & (j.at_us >= from_us) & (j.at_us < to_us)
        rows = tx.all(tables.journal.select().where(wanted).order_by(j.at_us, j.writer, j.seq))
        return [disclosure_of(self._door, row) for row in rows]


def _rests_on(record: Any) -> set[str]:
    """The signs and tiers that a record names as what it is about."""
    found: set[str] = set()
    for field in ("subject", "signals", "triage", "item"):
        value = getattr(record, field, "")
        found |= {value} if isinstance(value, str) else set(value)
    return found - {""}


def _named(record: Any, part: str, row: RowMapping, student: str) -> Any:
    """The record under its own name and the student's, in the state its row has."""
    fields = record.DESCRIPTOR.fields_by_name
    record.name = f"{part}/{row['id']}"
    for field, value in (("student", student), ("create_time_us", int(row["created_us"]))):
        if field in fields:
            setattr(record, field, value)
    if "state" in fields and "state" in row:
        record.state = int(row["state"])
    if part == "duties":
        del record.contacts[:]  # as it stood then: one flagged since must not be told
    return record
