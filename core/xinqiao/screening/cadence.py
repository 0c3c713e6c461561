"""Expected reports: made on time, taken when they come, and a sign with a holder when they do not."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Final, NamedTuple

from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.api.screening.v1 import screening_service_pb2 as rpc
from xinqiao.config.cadence import Cadence
from xinqiao.contract.clock import local_date
from xinqiao.contract.errors import Refusal
from xinqiao.contract.paging import page_size, position, token
from xinqiao.contract.workdays import WorkCalendar, start_of
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.journal.append import append
from xinqiao.screening.expected import Expected, expected, running_since
from xinqiao.store import tables
from xinqiao.store.engine import Store
from xinqiao.store.holdings import drop, hold
from xinqiao.store.ids import new_id
from xinqiao.store.sql import RowMapping, or_
from xinqiao.store.tx import ReadTx, Tx

_BATCH: Final = 200
"""Reports missed in one command: after days of downtime crisis commands still find their turn in between."""

_SUBJECTS: Final = 50
_EACH: Final = 20
"""Reports made in one command: so many schools, and at most so many of each."""

_AHEAD: Final = timedelta(days=30)
_CALENDAR: Final = "calendars/district"
_DUE, _MISSED, _RECEIVED = int(pb.REPORT_STATE_DUE), int(pb.REPORT_STATE_MISSED), int(pb.REPORT_STATE_RECEIVED)
_log = logging.getLogger("xinqiao.cadence")


class Owed(NamedTuple):
    """Who owes a cadence's reports, about what: ``subject`` is a school code, or the reporter where there is none."""

    subject: str
    unit: str
    school: str
    reporter: str


class Reports:
    """The report functions of ``ScreeningService``, and the tick behind them."""

    def __init__(self, door: Door, calendar: WorkCalendar, cadences: Mapping[str, Cadence], operator: str) -> None:
        self._door = door
        self._calendar = calendar
        self._cadences = cadences
        self._operator = operator
        self._made_on: date | None = None
        self._asked: dict[tuple[int, date, date], list[Expected]] = {}

    def use(self, calendar: WorkCalendar, cadences: Mapping[str, Cadence]) -> None:
        """Go on with another calendar and other reports; those that are made stay as they were made."""
        self._calendar, self._cadences = calendar, cadences
        self._made_on = None

    # -- the tick -----------------------------------------------------------------------------------------------------

    def tick(self, store: Store) -> int:
        """Make the reports that are expected by now, then declare those missed whose time is over, the oldest first.

        What is done stands in the database: a restart, a second node or a tick made up for after days does nothing
        twice and leaves nothing out. Returns how many were declared missed now.
        """
        today = local_date(store.clock.now_us())
        if self._cadences and today != self._made_on:
            for name, cadence in self._cadences.items():
                waiting = list(self._owed(cadence))
                while waiting:
                    some = waiting[:_SUBJECTS]
                    waiting = store.run(partial(self._make, name, cadence, some, today)) + waiting[_SUBJECTS:]
            self._asked.clear()
            store.run(lambda tx: self._watch_calendar(tx, today))
            self._made_on = today
        total = 0
        with store.read() as reading:
            late = bool(self._overdue(reading, 1))
        while late:
            done = store.run(self._miss)
            total, late = total + done, done == _BATCH
        return total

    def _owed(self, cadence: Cadence) -> Iterator[Owed]:
        role = int(options.Role.Value(f"ROLE_{cadence.role}"))
        seen: set[str] = set()
        for partner in self._door.registry.with_role(role):
            for subject in sorted(partner.schools) if cadence.per == "school" else [partner.agency]:
                if subject in seen:
                    continue
                seen.add(subject)
                school = subject if cadence.per == "school" else ""
                for unit in cadence.units.get(school) or ("",):
                    yield Owed(subject, unit, school, partner.id if school else partner.agency)

    def _make(self, name: str, cadence: Cadence, some: Sequence[Owed], today: date, tx: Tx) -> list[Owed]:
        """Make rows for the periods that have begun since the last time; whose are not all made yet."""
        rest: list[Owed] = []
        for owed in some:
            key = f"cadence/{name}/{owed.subject}/{owed.unit}"
            kept = tx.get(tables.meta, key)
            found = self._begun(cadence, None if kept is None else str(kept["value"]), today, tx.now_us)
            following = (today + timedelta(days=1)).isoformat()
            if len(found) > _EACH:
                following = found[_EACH].first.isoformat()
                rest.append(owed)
            made = sum(self._insert(tx, name, owed, each) for each in found[:_EACH])
            if kept is None:
                tx.insert(tables.meta, key, following)
            elif str(kept["value"]) < following:
                tx.update(tables.meta, (key,), value=following)
            if made:
                self._journal(tx, "reports.expected", owed.reporter, key, f"made:{made}")
        return rest

    def _begun(self, cadence: Cadence, kept: str | None, today: date, now_us: int) -> list[Expected]:
        """Periods begun since the day that was kept, in order of their first day."""
        since = running_since(cadence, self._calendar, today) if kept is None else date.fromisoformat(kept)
        asked = (id(cadence), since, today)
        if asked not in self._asked:  # the same for every school, and worth a hundred of the inserts that follow
            self._asked[asked] = sorted(expected(cadence, self._calendar, since, today), key=lambda each: each.first)
        if kept is None:
            # Switched on now: the running period is owed if its time is not over; nothing before it ever was.
            return [each for each in self._asked[asked] if each.due_us > now_us]
        return self._asked[asked]

    def _insert(self, tx: Tx, name: str, owed: Owed, each: Expected) -> bool:
        return tx.insert_if_absent(
            tables.expected_reports, new_id(tx.now_us), name, owed.subject, owed.unit, each.period, owed.school,
            owed.reporter, _DUE, each.due_us, " ".join(each.windows), each.guessed, 0, False, 0, 0, tx.now_us, tx.now_us,
        )  # fmt: skip

    def _overdue(self, tx: ReadTx, limit: int) -> list[RowMapping]:
        c = tables.expected_reports.c
        return list(
            tx.all(
                tables.expected_reports.select()
                .where((c.state == _DUE) & (c.due_us < tx.now_us))
                .order_by(c.due_us, c.id)
                .limit(limit)
            )
        )

    def _miss(self, tx: Tx) -> int:
        """One missed report each: a holding for whoever asks why, and a row in the journal."""
        rows = self._overdue(tx, _BATCH)
        for row in rows:
            tx.update(tables.expected_reports, (row["id"],), state=_MISSED, updated_us=tx.now_us)
            cadence, name = self._cadences.get(str(row["cadence"])), f"reports/{row['id']}"
            within = cadence.ask_within if cadence else timedelta(days=1)
            hold(
                tx, name, kind="report", school=str(row["school"]), holder=self._asks(cadence, str(row["school"])),
                deadline_us=self._calendar.add_working_time(tx.now_us, within), step="ask",
            )  # fmt: skip
            self._journal(tx, "report.missed", str(row["reporter"]), name, f"{row['cadence']}:{row['period']}")
        return len(rows)

    def _asks(self, cadence: Cadence | None, school: str) -> str:
        if cadence is None:
            return self._operator
        found = self._door.registry.with_role(int(options.Role.Value(f"ROLE_{cadence.ask}")), school)
        return found[0].id if found else self._operator

    def _watch_calendar(self, tx: Tx, today: date) -> None:
        """A calendar that runs out would end the reports without a word: the operator holds it before that happens."""
        calendar, ahead = self._calendar, today + _AHEAD
        ends = calendar.terms[-1].last if calendar.terms else ahead
        guessed = calendar.guessed_years(today, ahead)
        if ends >= ahead and not guessed:
            if drop(tx, _CALENDAR):
                self._journal(tx, "calendar.extended", self._operator, _CALENDAR, "")
            return
        if tx.get(tables.holdings, _CALENDAR) is None:
            reason = f"holidays-unknown:{guessed[0]}" if guessed else "terms-run-out"
            deadline = calendar.add_working_time(max(tx.now_us, start_of(min(ends, ahead))), timedelta(days=1))
            hold(
                tx, _CALENDAR, kind="calendar", school="", holder=self._operator, deadline_us=deadline,
                step="extend-calendar",
            )  # fmt: skip
            self._journal(tx, "calendar.short", self._operator, _CALENDAR, reason)
            _log.warning("the district's calendar does not reach 30 days ahead: %s", reason)

    def _journal(self, tx: Tx, kind: str, partner: str, resource: str, reason: str) -> None:
        append(
            tx, kind=kind, decision="permit", actor="gateway", partner=partner, purpose=options.PURPOSE_OPERATION,
            resource=resource, reason=reason, policy_version=self._door.policy.version,
        )  # fmt: skip

    # -- the contract -------------------------------------------------------------------------------------------------

    def submit_report(self, request: rpc.SubmitReportRequest, call: Call) -> rpc.SubmitReportResponse:
        """Take a report, in time or late; what was held because it was missing is held no longer."""
        if request.nil_report != (request.concerns == 0):
            raise Refusal(
                "INVALID_ARGUMENT",
                "NIL_REPORT",
                "a report without concerns says nil_report, one with concerns does not",
            )
        subject = request.school or call.caller.agency
        if request.school and request.school not in call.caller.schools:
            raise self._unknown()
        c = tables.expected_reports.c
        row = call.tx.one(
            tables.expected_reports.select().where(
                (c.cadence == request.cadence) & (c.subject == subject) & (c.unit == request.unit)
                & (c.period == request.period)
            )
        )  # fmt: skip
        if row is None:
            raise self._unknown()
        if row["state"] == _RECEIVED:
            raise Refusal("FAILED_PRECONDITION", "STATE", "this report has come before")
        call.tx.update(
            tables.expected_reports, (row["id"],), state=_RECEIVED, received_us=call.tx.now_us,
            nil_report=request.nil_report, students_seen=request.students_seen, concerns=request.concerns,
            updated_us=call.tx.now_us,
        )  # fmt: skip
        name = f"reports/{row['id']}"
        drop(call.tx, name)
        call.journal("report.received", resource=name, reason="late" if call.tx.now_us > row["due_us"] else "in time")
        stored = call.tx.get(tables.expected_reports, row["id"])
        assert stored is not None
        return rpc.SubmitReportResponse(report=self._message(stored, ""))

    def list_expected_reports(
        self, request: rpc.ListExpectedReportsRequest, call: Call
    ) -> rpc.ListExpectedReportsResponse:
        """What is owed, the earliest due first."""
        c = tables.expected_reports.c
        statement = tables.expected_reports.select()
        if options.ROLE_OPERATOR not in call.caller.roles:
            statement = statement.where(or_(c.school.in_(call.caller.schools), c.subject == call.caller.agency))
        if request.open_only:
            statement = statement.where(c.state != _RECEIVED)
        size, after = page_size(request.page_size), position(request.page_token)
        if after is not None:
            statement = statement.where((c.due_us > after[0]) | ((c.due_us == after[0]) & (c.id > after[1])))
        rows = call.reading.all(statement.order_by(c.due_us, c.id).limit(size + 1))
        following = token(int(rows[size - 1]["due_us"]), str(rows[size - 1]["id"])) if len(rows) > size else ""
        reports = [self._message(row, self._holder(call.reading, row)) for row in rows[:size]]
        return rpc.ListExpectedReportsResponse(reports=reports, next_page_token=following)

    def _holder(self, tx: ReadTx, row: RowMapping) -> str:
        if row["state"] == _DUE:
            return str(row["reporter"])
        held = tx.get(tables.holdings, f"reports/{row['id']}")
        return str(held["holder"]) if held is not None else ""

    def _message(self, row: RowMapping, holder: str) -> pb.ExpectedReport:
        cadence = self._cadences.get(str(row["cadence"]))
        return pb.ExpectedReport(
            name=f"reports/{row['id']}", cadence=row["cadence"],
            title_zh=cadence.names.zh if cadence else row["cadence"],
            title_en=cadence.names.en if cadence else row["cadence"],
            subject=row["subject"], unit=row["unit"], period=row["period"], due_us=row["due_us"], state=row["state"],
            holder=holder, received_us=row["received_us"], nil_report=row["nil_report"],
            students_seen=row["students_seen"], concerns=row["concerns"], windows=str(row["windows"]).split(),
            calendar_guessed=row["guessed"],
        )  # fmt: skip

    @staticmethod
    def _unknown() -> Refusal:
        return Refusal("NOT_FOUND", "REPORT", "no such report is expected of this caller; see ListExpectedReports")
