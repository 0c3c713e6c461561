"""Exchanges settled by the week, and disputed runs that a person gives up for a new revision."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.exchange.conftest import EXCHANGE, HOSPITAL, PERIOD, SCHOOL, Books, at, definition

from xinqiao.api.exchange.v1 import exchange_pb2 as pb
from xinqiao.api.exchange.v1 import exchange_service_pb2 as rpc
from xinqiao.config.settings import Exchange
from xinqiao.contract.errors import Refusal
from xinqiao.store import tables
from xinqiao.store.sql import select


def weekly(books: Books) -> Books:
    schedule = {"run": {"day": 2, "working": False, "at": "02:00"}, "close_after_days": 3}
    books.definition = Exchange.model_validate(
        books.definition.model_dump() | {"period": "week", "schedule": schedule}
    )  # fmt: skip
    return books


def test_a_weekly_exchange_settles_what_changed_from_monday_to_sunday(books: Books) -> None:
    weekly(books).refer("sunday", (at(2026, 9, 27, 23), 1, 2))
    books.refer("monday", (at(2026, 9, 28, 0), 1, 2))
    books.refer("later", (at(2026, 10, 5, 0), 1, 2))
    (run,) = books.exchanges().run(EXCHANGE, "2026-W40", actor="admin")
    assert (run.state, run.period, run.sent) == (pb.RUN_STATE_RECONCILED, "2026-W40", 1)
    assert [item for item, _, _ in books.items()] == ["referrals/monday"]


def test_weeks_are_due_oldest_first_from_the_first_referral_on(books: Books) -> None:
    weekly(books).refer("a", (at(2026, 9, 10), 1, 2))
    due = [one.period for one in books.exchanges().due(at(2026, 9, 29, 3))]
    assert due == ["2026-W37", "2026-W38", "2026-W39"]
    assert [one.period for one in books.exchanges().due(at(2026, 9, 29, 1))] == ["2026-W37", "2026-W38"]


def test_an_exchange_that_was_monthly_before_goes_on_by_the_week(books: Books) -> None:
    books.refer("a", (at(2026, 9, 10), 1, 2))
    books.run()
    due = [one.period for one in weekly(books).exchanges().due(at(2026, 9, 29, 3))]
    assert due == ["2026-W37", "2026-W38", "2026-W39"]


@pytest.mark.parametrize(("length", "period"), [("week", "2026-09"), ("month", "2026-W36")])
def test_a_period_of_the_other_length_is_refused(books: Books, length: str, period: str) -> None:
    if length == "week":
        weekly(books)
    with pytest.raises(Refusal, match="PERIOD"):
        books.exchanges().run(EXCHANGE, period, actor="admin")
    assert books.rows() == []


# -- a disputed run, revised by hand ----------------------------------------------------------------------------------


def revised(books: Books, revision: int = 0) -> list[pb.ExchangeRun]:
    wish = rpc.Revise(revision=revision, reason="PHONE_AGREED")
    return books.exchanges().run(EXCHANGE, PERIOD, actor="admin", revise=wish)


def test_a_disputed_run_is_given_up_for_a_new_revision_with_the_reason_on_record(books: Books) -> None:
    books.refer_many("a", "b")
    books.desk.mend = lambda receipt: setattr(receipt, "accepted", 1)
    assert books.run()[0].state == pb.RUN_STATE_INCOMPLETE
    books.desk.mend = lambda receipt: None
    (run,) = revised(books)
    assert (run.state, run.revision, run.sent) == (pb.RUN_STATE_RECONCILED, 1, 2)
    assert [row["state"] for row in books.rows()] == [pb.RUN_STATE_ABANDONED, pb.RUN_STATE_RECONCILED]
    assert books.holding() is None
    c = tables.journal.c
    with books.store.read() as tx:
        given_up = tx.all(select(tables.journal).where(c.kind == "exchange.abandoned"))
    assert [(row["actor"], row["reason"]) for row in given_up] == [("admin", "REVISED:PHONE_AGREED")]


def test_asking_for_the_same_revision_again_changes_nothing_even_when_the_new_one_is_disputed_too(books: Books) -> None:
    books.refer_many("a")
    books.desk.mend = lambda receipt: setattr(receipt, "accepted", 7)
    books.run()
    revised(books)
    rows = books.journal()
    (run,) = revised(books)
    assert (run.revision, run.state, books.journal()) == (1, pb.RUN_STATE_INCOMPLETE, rows)


@pytest.mark.parametrize("state", ["none", "reconciled", "waiting"])
def test_what_nobody_disputes_is_not_revised(books: Books, state: str) -> None:
    books.refer_many("a")
    if state != "none":
        books.desk.waiting = state == "waiting"
        books.run()
    rows = books.journal()
    with pytest.raises(Refusal, match="STATE"):
        revised(books)
    assert (books.journal(), len(books.rows())) == (rows, 0 if state == "none" else 1)


def test_the_other_party_that_agreed_keeps_its_revision(books: Books) -> None:
    books.definition = definition(HOSPITAL, SCHOOL)
    books.refer("a", (at(2026, 9, 10), 1, 2), outcome=True)
    good = books.desk.keys[HOSPITAL]
    books.desk.keys[HOSPITAL] = Ed25519PrivateKey.generate()
    exchanges = books.exchanges()
    books.desk.keys[HOSPITAL] = good
    exchanges.run(EXCHANGE, PERIOD, actor="admin")
    assert {run.partner: run.revision for run in revised(books)} == {HOSPITAL: 1, SCHOOL: 0}
