"""A party's own package: nil is not missing, a missing one lies with somebody, a record is matched exactly or by a person."""

from datetime import timedelta
from typing import Any

import pytest
from tests.exchange.conftest import EXCHANGE, HOSPITAL, PERIOD, SCHOOL, Books, at

from xinqiao.api.common.v1.types_pb2 import StudentRef
from xinqiao.api.exchange.v1 import exchange_service_pb2 as rpc
from xinqiao.api.referral.v1.referral_pb2 import ReferralState
from xinqiao.config.settings import Exchange
from xinqiao.contract.errors import Refusal
from xinqiao.store import tables
from xinqiao.store.sql import select

ITEM = f"exchanges/{EXCHANGE}/arrivals/{SCHOOL}/{PERIOD}"


def expecting(books: Books, *parties: str) -> Books:
    books.definition = Exchange.model_validate(books.definition.model_dump() | {"expects": list(parties)})
    return books


def brought(books: Books, *records: rpc.PackageRecord, **fields: Any) -> rpc.SubmitPackageResponse:
    fields = {"exchange": EXCHANGE, "period": PERIOD} | fields
    return books.write("SubmitPackage", rpc.SubmitPackageRequest(records=records, **fields), SCHOOL)


def record(source: str, local_id: str, referral: str = "", state: int = 0) -> rpc.PackageRecord:
    stands = ReferralState.ValueType(state)
    return rpc.PackageRecord(source=source, student=StudentRef(local_id=local_id), referral=referral, state=stands)


def kept(books: Books) -> list[tuple[str, str]]:
    c = tables.exchange_records.c
    with books.store.read() as tx:
        rows = tx.all(select(tables.exchange_records).order_by(c.source))
    return [(str(row["source"]), str(row["reason"])) for row in rows]


# -- nil and missing ---------------------------------------------------------------------------------------------------


def test_a_package_that_does_not_come_is_the_partys_until_the_period_closes_and_then_the_operators(
    books: Books,
) -> None:
    exchanges = expecting(books, SCHOOL).exchanges()
    exchanges.watch()
    assert books.holding() == (SCHOOL, "package_awaited", at(2026, 10, 18, 2))
    rows = books.journal()
    exchanges.watch()
    assert books.journal() == rows
    books.clock.advance(timedelta(days=6))
    exchanges.watch()
    holding = books.holding()
    assert holding is not None
    assert holding[:2] == ("admin", "package_missing")
    assert holding[2] > books.clock.now_us()


def test_a_nil_package_closes_it_and_is_kept_as_what_it_is(books: Books) -> None:
    expecting(books, SCHOOL).exchanges().watch()
    brought(books, nil=True)
    assert books.holding() is None
    books.exchanges().watch()
    assert books.holding() is None
    with books.store.read() as tx:
        row = tx.get(tables.exchange_arrivals, EXCHANGE, SCHOOL, PERIOD)
    assert row is not None
    assert (row["nil"], row["complete"], row["records"]) == (True, True, 0)


def test_one_that_has_not_come_whole_has_not_come(books: Books) -> None:
    expecting(books, SCHOOL)
    books.enrol("s-1", SCHOOL)
    brought(books, record("r1", "s-1"), more=True)
    books.exchanges().watch()
    assert books.holding() is not None
    brought(books, record("r2", "s-1"))
    assert books.holding() is None
    assert kept(books) == [("r1", ""), ("r2", "")]


@pytest.mark.parametrize("fields", [{}, {"nil": True, "more": True}])
def test_nothing_is_not_nil_unless_it_says_so(books: Books, fields: dict[str, Any]) -> None:
    with pytest.raises(Refusal, match="NIL"):
        brought(books, **fields)


def test_before_its_time_nothing_is_awaited_and_where_nothing_is_expected_never(books: Books) -> None:
    books.exchanges().watch()
    assert books.holding() is None
    early = expecting(books, SCHOOL)
    early.definition = Exchange.model_validate(
        early.definition.model_dump() | {"schedule": {"run": {"day": 28, "at": "02:00"}, "close_after_days": 3}}
    )
    early.exchanges().watch()
    assert books.holding() is None


# -- matched exactly, or by a person -----------------------------------------------------------------------------------


def test_a_record_is_matched_by_the_partys_own_id_and_the_referral_it_names(books: Books) -> None:
    student = books.enrol("s-1", SCHOOL)
    books.refer("a", (at(2026, 9, 10), 1, 2), student=student)
    answer = brought(books, record("r1", "s-1", "referrals/a", 2))
    assert (answer.matched, answer.unmatched, answer.differing) == (1, 0, 0)
    assert books.held_items() == []


def test_what_is_not_matched_exactly_goes_to_a_person_each_with_its_reason(books: Books) -> None:
    student = books.enrol("s-1", SCHOOL)
    books.enrol("s-2", SCHOOL)
    books.refer("a", (at(2026, 9, 10), 1, 2), student=student)
    described = rpc.PackageRecord(source="r4")
    described.student.described.SetInParent()
    answer = brought(
        books, record("r1", "s-9"), record("r2", "s-2", "referrals/a"), record("r3", "s-1", "referrals/none"), described
    )  # fmt: skip
    assert (answer.matched, answer.unmatched, answer.missing) == (0, 4, 1)
    assert kept(books) == sorted([
        ("r1", "STUDENT_UNKNOWN"), ("r2", "REFERRAL_OF_ANOTHER"), ("r3", "REFERRAL_UNKNOWN"), ("r4", "STUDENT_DESCRIBED"),
        ("referrals/a", "MISSING"),
    ])  # fmt: skip
    assert books.held_items() == [
        ("admin", "", "student_unknown"), ("admin", "", "referral_of_another"), ("admin", "", "referral_unknown"),
        ("admin", "", "student_described"), (SCHOOL, "S1", "missing"),
    ]  # fmt: skip


def test_an_id_that_is_another_partys_matches_nobody(books: Books) -> None:
    books.enrol("s-1", HOSPITAL)
    assert brought(books, record("r1", "s-1")).unmatched == 1


def test_a_state_that_is_another_at_the_periods_end_goes_to_the_school(books: Books) -> None:
    student = books.enrol("s-1", SCHOOL)
    books.refer("a", (at(2026, 9, 10), 1, 2), (at(2026, 10, 2), 3, 4), student=student)
    assert brought(books, record("r1", "s-1", "referrals/a", 4)).differing == 1
    assert books.held_items() == [(SCHOOL, "S1", "state_differs")]
    assert brought(books, record("r1", "s-1", "referrals/a", 2), revision=1).matched == 1
    assert (books.held_items(), kept(books)) == ([], [("r1", "")])


def test_a_revision_that_came_whole_is_not_changed_but_followed(books: Books) -> None:
    brought(books, nil=True, revision=1)
    for revision in (0, 1):
        with pytest.raises(Refusal, match="REVISION"):
            brought(books, nil=True, revision=revision)
    brought(books, nil=True, revision=2)


@pytest.mark.parametrize("apart", [False, True])
def test_a_source_that_comes_twice_is_refused_and_nothing_is_kept_of_that_part(books: Books, apart: bool) -> None:
    books.enrol("s-1", SCHOOL)
    if apart:
        brought(books, record("r1", "s-1"), more=True)
    with pytest.raises(Refusal, match="SOURCE"):
        brought(books, record("r0", "s-1"), record("r1", "s-1"), *([] if apart else [record("r1", "s-1")]))
    assert kept(books) == ([("r1", "")] if apart else [])


@pytest.mark.parametrize(
    ("fields", "reason"),
    [({"exchange": "none"}, "EXCHANGE"), ({"period": "2026-10"}, "PERIOD"), ({"period": "2026-W40"}, "PERIOD")],
)
def test_a_package_of_nothing_that_is_settled_is_refused(books: Books, fields: dict[str, str], reason: str) -> None:
    with pytest.raises(Refusal, match=reason):
        brought(books, nil=True, **fields)
