"""Quarters and terms settled end to end, late starts that say so, and periods that go to a partner in their order."""

from datetime import date

import pytest
from tests.exchange.conftest import EXCHANGE, PERIOD, Books, at

from xinqiao.api.exchange.v1 import exchange_pb2 as pb
from xinqiao.config.settings import Exchange
from xinqiao.contract.errors import Refusal
from xinqiao.contract.workdays import Term, WorkCalendar
from xinqiao.exchange.service import Exchanges
from xinqiao.store import tables
from xinqiao.store.sql import select

TERMS = WorkCalendar(
    terms=(
        Term("spring", 2025, date(2026, 2, 24), date(2026, 6, 30)),
        Term("autumn", 2026, date(2026, 9, 1), date(2027, 1, 29)),
    )
)
BY_WORKING_DAY = {"run": {"day": 1, "working": True, "at": "02:00"}, "close_by_working_day": 5}


def settled_by(books: Books, length: str, schedule: object = None) -> Exchanges:
    fields = books.definition.model_dump() | {"period": length} | ({"schedule": schedule} if schedule else {})
    books.definition = Exchange.model_validate(fields)
    exchanges = books.exchanges()
    exchanges.calendar = TERMS
    return exchanges


def test_a_quarter_is_settled_as_one_period(books: Books) -> None:
    books.refer("july", (at(2026, 7, 1, 0), 1, 2))
    books.refer("september", (at(2026, 9, 30, 23), 1, 2))
    books.refer("october", (at(2026, 10, 1, 0), 1, 2))
    (run,) = settled_by(books, "quarter").run(EXCHANGE, "2026-Q3", actor="admin")
    assert (run.state, run.period, run.sent) == (pb.RUN_STATE_RECONCILED, "2026-Q3", 2)
    assert [item for item, _, _ in books.items()] == ["referrals/july", "referrals/september"]


def test_a_term_is_due_once_it_is_over_and_settled_with_what_changed_in_it(books: Books) -> None:
    books.refer("may", (at(2026, 5, 4), 1, 2))
    books.refer("holidays", (at(2026, 7, 1, 0), 1, 2))
    exchanges = settled_by(books, "term")
    assert [(one.period, one.late) for one in exchanges.due(books.clock.now_us())] == [("2025-T1", True)]
    (run,) = exchanges.run(EXCHANGE, "2025-T1", actor="gateway")
    assert (run.state, run.sent) == (pb.RUN_STATE_RECONCILED, 1)
    assert exchanges.due(books.clock.now_us()) == []
    with pytest.raises(Refusal, match="PERIOD"):
        exchanges.run(EXCHANGE, "2026-T1", actor="admin")


def test_a_district_without_terms_owes_none_and_a_term_gone_from_its_calendar_stops_nothing(books: Books) -> None:
    exchanges = settled_by(books, "term")
    exchanges.run(EXCHANGE, "2025-T1", actor="gateway")
    exchanges.calendar = WorkCalendar()
    assert exchanges.due(books.clock.now_us()) == []


def test_an_exchange_that_was_settled_by_the_month_goes_on_by_the_quarter(books: Books) -> None:
    books.refer("a", (at(2026, 2, 10), 1, 2))
    books.run()
    due = settled_by(books, "quarter").due(books.clock.now_us())
    assert [one.period for one in due] == ["2026-Q1", "2026-Q2", "2026-Q3"]


def test_what_closes_by_the_fifth_working_day_is_the_partners_until_that_days_end(books: Books) -> None:
    books.refer_many("a")
    books.desk.waiting = True
    (run,) = settled_by(books, "month", BY_WORKING_DAY).run(EXCHANGE, PERIOD, actor="admin")
    assert (run.late, run.deadline_us) == (False, at(2026, 10, 14, 0))
    assert books.holding() == ("mental-health", "await_receipt", at(2026, 10, 14, 0))


def test_a_late_start_runs_and_says_so_in_the_run_and_in_the_journal(books: Books) -> None:
    (run,) = settled_by(books, "month", BY_WORKING_DAY).run(EXCHANGE, "2026-08", actor="admin")
    assert (run.state, run.late) == (pb.RUN_STATE_RECONCILED, True)
    c = tables.journal.c
    with books.store.read() as tx:
        planned = tx.all(select(tables.journal).where(c.kind == "exchange.planned"))
    assert [row["reason"] for row in planned] == ["LATE:2026-08"]


def test_a_later_period_waits_until_the_earlier_one_was_handed_over(books: Books) -> None:
    exchanges = books.exchanges()
    books.desk.down = True
    exchanges.run(EXCHANGE, "2026-08", actor="gateway")
    books.desk.down = False
    (run,) = exchanges.run(EXCHANGE, PERIOD, actor="admin")
    assert (run.state, books.desk.calls) == (pb.RUN_STATE_SENDING, [])
    for due in exchanges.due(books.clock.now_us()):
        exchanges.run(due.exchange, due.period, actor="gateway")
    sent = [pb.Manifest.FromString(pb.Package.FromString(each).manifest).period for each in books.desk.taken.values()]
    assert sent == ["2026-08", PERIOD]
    assert books.holding() is None


def test_an_earlier_period_that_is_disputed_holds_up_no_later_one(books: Books) -> None:
    exchanges = books.exchanges()
    books.desk.wrong_key = True
    assert exchanges.run(EXCHANGE, "2026-08", actor="gateway")[0].state == pb.RUN_STATE_INCOMPLETE
    books.desk.wrong_key = False
    assert exchanges.run(EXCHANGE, PERIOD, actor="gateway")[0].state == pb.RUN_STATE_RECONCILED
