"""Plans and their entries (一生一策): every version can be read again, every entry has its author and its class."""

import secrets
from collections.abc import Iterable
from datetime import date

from xinqiao.api.casefile.v1 import plan_pb2 as pb
from xinqiao.api.casefile.v1 import plan_service_pb2 as rpc
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.common.v1.types_pb2 import Withheld
from xinqiao.casefile.access import (
    Access,
    access,
    mask_of_access,
    own_student,
    shared_student,
    show,
    withheld_classes,
)
from xinqiao.casefile.rules import CasefileRules
from xinqiao.contract.clock import local_date
from xinqiao.contract.entry_kinds import CLASS_OF, kind_of, visible_kinds
from xinqiao.contract.errors import Refusal, Violation
from xinqiao.contract.fields import mask_of
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.records import check_version, newest
from xinqiao.disclosure.students import Known
from xinqiao.store import tables
from xinqiao.store.holdings import drop, hold
from xinqiao.store.sql import RowMapping, update
from xinqiao.store.tx import ReadTx, Tx

OPEN = int(pb.PLAN_STATE_OPEN)

_CONTACTS = frozenset(
    {
        pb.ENTRY_KIND_SESSION, pb.ENTRY_KIND_HOME_VISIT, pb.ENTRY_KIND_GRID_VISIT, pb.ENTRY_KIND_PHONE_CALL,
        pb.ENTRY_KIND_SUPPORT,
    }
)  # fmt: skip
"""Kinds that a student without a plan may have too."""

_REVIEWS = frozenset({pb.ENTRY_KIND_GOAL, pb.ENTRY_KIND_OUTCOME_SCALE})
"""Kinds by which the school has looked at the plan again."""


class Plans:
    """The functions behind ``CasePlanService``."""

    def __init__(self, door: Door, rules: CasefileRules) -> None:
        self.door = door
        self.rules = rules

    def open_plan(self, request: rpc.OpenPlanRequest, call: Call) -> rpc.OpenPlanResponse:
        """Open a plan; a student has at most one open."""
        known = own_student(call, request.student)
        call.student = known.id
        identifier = secrets.token_hex(16)
        plan = pb.Plan(school_agency=call.caller.agency, reason=request.reason)
        record = plan.SerializeToString()
        if not call.tx.insert_if_absent(
            tables.plans, identifier, known.id, known.school, call.caller.agency, OPEN, call.tx.now_us, call.tx.now_us,
            1, self._seal("plans", identifier, known.id, record),
        ):  # fmt: skip
            raise Refusal("ALREADY_EXISTS", "OPEN_PLAN", "the student has an open plan: go on with that one")
        plan.name, plan.version, plan.state = f"plans/{identifier}", 1, pb.PLAN_STATE_OPEN
        plan.create_time_us = call.tx.now_us
        plan.student = self.door.students.name(call.caller.agency, known.id)
        self._hold(call.tx, plan.name, known)
        response = rpc.OpenPlanResponse(plan=plan)
        call.view(response, student=known.id)
        call.journal("plan.opened", resource=plan.name, student=known.id, reason=request.reason, payload=record)
        return response

    def close_plan(self, request: rpc.ClosePlanRequest, call: Call) -> rpc.ClosePlanResponse:
        """Close a plan; nobody holds it any more, and it can still be read by the school."""
        row, by = self._find(call, request.name)
        check_version(row, request.etag)
        if row["state"] != OPEN:
            raise Refusal("FAILED_PRECONDITION", "STATE", "the plan is closed already")
        student = call.student = str(row["student"])
        t = tables.teams.c
        if call.tx.all(tables.teams.select().where((t.student == student) & (t.state == 1))):
            raise Refusal("FAILED_PRECONDITION", "OPEN_TEAM", "dissolve the student's care team first")
        kept = self.door.keys.readable(pb.Plan, row, table="plans") or pb.Plan(school_agency=str(row["agency"]))
        kept.reason = request.reason
        sealed = self._seal("plans", str(row["id"]), student, kept.SerializeToString())
        self._change(call.tx, row, state=int(pb.PLAN_STATE_CLOSED), version=int(row["version"]), sealed=sealed)
        drop(call.tx, request.name)
        closed = call.tx.get(tables.plans, row["id"])
        response = rpc.ClosePlanResponse(plan=self.plan(call, closed or row, by)[0])
        show(call, response, student, by)
        call.journal("plan.closed", resource=request.name, student=student, reason=request.reason)
        return response

    def record_entry(self, request: rpc.RecordEntryRequest, call: Call) -> rpc.RecordEntryResponse:
        """Record an entry of a class the caller may see, in the open plan, or as a short contact."""
        known, by = shared_student(call, request.student)
        call.student = known.id
        entry = pb.Entry()
        entry.CopyFrom(request.entry)
        entry.kind = kind_of(entry)
        mask, _ = mask_of_access(call, known.id, by)
        if not mask >> CLASS_OF[entry.kind] & 1:
            raise Refusal("PERMISSION_DENIED", "CLASS", "an entry of this kind is of a class the caller may not see")
        _check_days(entry, local_date(call.tx.now_us))
        plan = self._open(call.tx, known.id)
        before = self._superseded(call, known, entry, by)
        if before is not None and before["plan"] != (plan["id"] if plan is not None else ""):
            plan = call.tx.get(tables.plans, before["plan"]) if before["plan"] else None
            if plan is not None:
                raise Refusal("FAILED_PRECONDITION", "NO_PLAN", "the plan of that entry is closed")
        elif plan is None and entry.kind not in _CONTACTS:
            raise Refusal("FAILED_PRECONDITION", "NO_PLAN", "entries of this kind need an open plan")
        self._insert(call, known, entry, plan, before)
        if plan is not None and by.own and entry.kind in _REVIEWS:
            drop(call.tx, entry.plan)
            self._hold(call.tx, entry.plan, known)
        record = entry.SerializeToString()
        _without_notes(entry)
        entry.plan_version = entry.plan_version if by.own else 0
        response = rpc.RecordEntryResponse(entry=entry)
        show(call, response, known.id, by)
        call.journal(
            "entry.recorded", resource=entry.name, student=known.id, reason=kind_word(entry.kind), payload=record
        )
        return response

    def get_plan(self, request: rpc.GetPlanRequest, call: Call) -> rpc.GetPlanResponse:
        """A plan as it stands or stood, as the caller may see it."""
        row, by = self._find(call, request.name)
        if request.version and (not by.own or request.version > row["version"]):
            raise Refusal("INVALID_ARGUMENT", "PLAN_VERSION", "the plan has no such version for this caller")
        plan, withheld = self.plan(call, row, by, request.version)
        response = rpc.GetPlanResponse(plan=plan, withheld=withheld)
        show(call, response, str(row["student"]), by)
        return response

    def list_entries(self, request: rpc.ListEntriesRequest, call: Call) -> rpc.ListEntriesResponse:
        """Entries of a student, newest first, of classes the caller may see."""
        known, by = shared_student(call, request.student)
        mask, _ = mask_of_access(call, known.id, by)
        kinds = [kind for kind in visible_kinds(mask) if request.kind in (0, kind)]
        e = tables.entries.c
        wanted = (e.student == known.id) & e.kind.in_(kinds)
        if request.contacts_only:
            wanted = wanted & (e.plan == "")
        rows, following = newest(call, tables.entries, request, wanted)
        response = rpc.ListEntriesResponse(entries=[self._entry(row) for row in rows], next_page_token=following)
        if not by.own:
            _without_versions(response.entries)
        show(call, response, known.id, by)
        return response

    def plan(self, call: Call, row: RowMapping, by: Access, version: int = 0) -> tuple[pb.Plan, list[Withheld]]:
        """A plan with the entries that stand in ``version`` (0 = now) and that the caller may see; the classes it is not
        shown, whether or not there are entries of them."""
        student = str(row["student"])
        mask, reasons = mask_of_access(call, student, by)
        plan = self.door.keys.readable(pb.Plan, row, table="plans") or pb.Plan(school_agency=str(row["agency"]))
        plan.name, plan.state, plan.version = f"plans/{row['id']}", row["state"], version or int(row["version"])
        plan.create_time_us = int(row["created_us"])
        plan.student = self.door.students.name(call.caller.agency, student)
        e = tables.entries.c
        standing = (e.plan == row["id"]) & e.kind.in_(visible_kinds(mask))
        if version:
            later = (e.superseded_version == 0) | (e.superseded_version > version)
            standing = standing & (e.plan_version <= version) & later
        else:
            standing = standing & (e.superseded_version == 0)
        found = call.reading.all(tables.entries.select().where(standing).order_by(e.plan_version, e.id))
        plan.entries.extend(self._entry(each) for each in found)
        if not by.own:  # how many entries there are in all would tell of those it is not shown
            plan.version = 0
            _without_versions(plan.entries)
        withheld = withheld_classes("plan.entries", mask_of(list(CLASS_OF.values())), mask, reasons)
        withheld.append(
            Withheld(
                field="plan.entries.session.note", field_class=options.FIELD_CLASS_COUNSELLING_NOTE,
                reason="CLASS_NEVER_SHARED",
            )
        )  # fmt: skip
        return plan, withheld

    def open_plan_of(self, call: Call, student: str, by: Access) -> tuple[pb.Plan | None, list[Withheld]]:
        """The open plan of a student as :meth:`plan` gives it; None without one."""
        row = self._open(call.reading, student)
        return (None, []) if row is None else self.plan(call, row, by)

    # -- stored -------------------------------------------------------------------------------------------------------

    def _find(self, call: Call, name: str) -> tuple[RowMapping, Access]:
        row = call.reading.get(tables.plans, name.removeprefix("plans/"))
        by = access(call, Known(str(row["student"]), str(row["school"]))) if row is not None else None
        # A closed plan is the school's alone.
        if row is None or by is None or not (by.own or row["state"] == OPEN):
            raise Refusal("NOT_FOUND", "PLAN", "no such plan for this caller")
        return row, by

    @staticmethod
    def _open(tx: ReadTx, student: str) -> RowMapping | None:
        p = tables.plans.c
        return tx.one(tables.plans.select().where((p.student == student) & (p.state == OPEN)))

    def _superseded(self, call: Call, known: Known, entry: pb.Entry, by: Access) -> RowMapping | None:
        """The entry that ``entry`` replaces: one of the same student and kind, by its author or the school."""
        if not entry.supersedes:
            return None
        row = call.tx.get(tables.entries, entry.supersedes.removeprefix("entries/"))
        if (
            row is None or row["student"] != known.id or row["kind"] != entry.kind
            or not (by.own or row["author"] == call.caller.agency)
        ):  # fmt: skip
            raise Refusal("NOT_FOUND", "ENTRY", "no such entry of this kind for this caller to replace")
        if row["superseded_by"]:
            raise Refusal("FAILED_PRECONDITION", "SUPERSEDED", "the entry was replaced already: replace the newest one")
        return row

    def _insert(
        self, call: Call, known: Known, entry: pb.Entry, plan: RowMapping | None, before: RowMapping | None
    ) -> None:  # fmt: skip
        identifier = secrets.token_hex(16)
        version = 0
        if plan is not None:
            version = int(plan["version"]) + 1
            self._change(call.tx, plan, version=version)
        entry.name, entry.superseded_by, entry.author = "", "", call.caller.agency
        entry.plan = f"plans/{plan['id']}" if plan is not None else ""
        entry.plan_version, entry.create_time_us = version, call.tx.now_us
        if before is not None:
            e = tables.entries.c
            done = call.tx.execute(
                update(tables.entries)
                .where((e.id == before["id"]) & (e.superseded_by == ""))
                .values(superseded_by=f"entries/{identifier}", superseded_version=version or 1)
            )
            if done != 1:
                raise Refusal("ABORTED", "VERSION", "the entry was replaced meanwhile; read it again")
        call.tx.insert(
            tables.entries, identifier, known.id, known.school, str(plan["id"]) if plan is not None else "",
            int(entry.kind), entry.author, version, "", 0, call.tx.now_us,
            self._seal("entries", identifier, known.id, entry.SerializeToString()),
        )  # fmt: skip
        entry.name = f"entries/{identifier}"

    def _change(self, tx: Tx, row: RowMapping, **values: object) -> None:
        """Change an open plan that nobody changed meanwhile. Raises Refusal ABORTED/VERSION."""
        p = tables.plans.c
        same = (p.id == row["id"]) & (p.version == row["version"]) & (p.state == OPEN)
        if tx.execute(update(tables.plans).where(same).values(updated_us=tx.now_us, **values)) != 1:
            raise Refusal("ABORTED", "VERSION", "the plan has changed since; read it again")

    def _entry(self, row: RowMapping) -> pb.Entry:
        entry = self.door.keys.readable(pb.Entry, row, table="entries") or pb.Entry(author=str(row["author"]))
        entry.name, entry.superseded_by = f"entries/{row['id']}", str(row["superseded_by"])
        entry.kind, entry.create_time_us = row["kind"], int(row["created_us"])
        _without_notes(entry)
        return entry

    def _hold(self, tx: Tx, name: str, known: Known) -> None:
        hold(
            tx, name, kind="plan", school=known.school, student=known.id, step="review_plan",
            holder=self.door.registry.holder(known.school), deadline_us=tx.now_us + self.rules.review_us,
        )  # fmt: skip

    def _seal(self, table: str, identifier: str, student: str, record: bytes) -> bytes:
        return self.door.keys.sealer(student).seal(record, table=table, key=identifier)


def kind_word(kind: int) -> str:
    """``GRID_VISIT`` for ``ENTRY_KIND_GRID_VISIT``."""
    return pb.EntryKind.Name(pb.EntryKind.ValueType(kind)).removeprefix("ENTRY_KIND_")


def _without_versions(entries: Iterable[pb.Entry]) -> None:
    for entry in entries:
        entry.plan_version = 0


def _without_notes(entry: pb.Entry) -> None:
    """A note is never read out; that it is never is said once, whether or not there is one."""
    if entry.HasField("session"):
        entry.session.note = ""


def _check_days(entry: pb.Entry, today: date) -> None:
    """Raises Refusal INVALID_ARGUMENT/DATE_RANGE."""
    if _day(entry.day, "entry.day") > today:
        raise _bad_day("entry.day", "an entry is about a day that has come")
    if entry.HasField("attendance"):
        first = _day(entry.attendance.first_day, "entry.attendance.first_day")
        if first > _day(entry.attendance.last_day, "entry.attendance.last_day"):
            raise _bad_day("entry.attendance.last_day", "the last day must not come before the first")
    later = {
        "entry.home_visit.next_visit": entry.home_visit.next_visit,
        "entry.grid_visit.next_visit": entry.grid_visit.next_visit,
        "entry.goal.due": entry.goal.due,
        "entry.hardship.since": entry.hardship.since,
    }
    for where, text in later.items():
        if text:
            _day(text, where)


def _day(text: str, where: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise _bad_day(where, "send a day of the calendar as YYYY-MM-DD") from None


def _bad_day(where: str, mend: str) -> Refusal:
    return Refusal(
        "INVALID_ARGUMENT", "DATE_RANGE", f"{where}: {mend}", violations=(Violation(where, "DATE_RANGE", mend),)
    )
