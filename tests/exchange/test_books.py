"""A party's own books beside ours, both ways: what they say otherwise, what only they hold, and what only we do."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.exchange.pairs import CODE, PERIOD, SCHOOL, WOMEN, YOUTH, Pairs, pairs_in

from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse
from xinqiao.api.casefile.v1 import plan_pb2 as plan
from xinqiao.api.exchange.v1 import exchange_service_pb2 as rpc
from xinqiao.api.exchange.v1.activity_service_pb2 import Activity
from xinqiao.api.gateway.v1 import gateway_service_pb2 as gateway
from xinqiao.exchange.comparing import MENDS
from xinqiao.server.intake import Intake
from xinqiao.store import tables


@pytest.fixture
def pairs(make_town: Callable[..., Any], database: str) -> Iterator[Pairs]:
    with pairs_in(make_town, database) as made:
        yield made


def brought(pairs: Pairs, *records: dict[str, Any], as_: str = WOMEN, **more: Any) -> rpc.SubmitPackageResponse:
    given = {"exchange": "school-women", "period": PERIOD, "nil": not records, **more}
    return pairs.town.call(as_, rpc.SubmitPackageRequest(records=records, **given))


def visit(name: str, source: str = "v-1", day: str = "2026-10-12", kind: int = plan.ENTRY_KIND_HOME_VISIT) -> Any:
    return {"source": source, "student": {"name": name}, "entry_kind": kind, "day": day}


def service(source: str = "A-1", **more: Any) -> Any:
    given = {"kind": 7, "day": "2026-10-08", "attendances": 30, **more}
    return {"source": f"s-{source}", "service": Activity(source=source, **given)}


def told(answer: rpc.SubmitPackageResponse) -> list[tuple[str, str, str]]:
    return [(each.source, each.reason, each.item) for each in answer.findings]


def counts(answer: rpc.SubmitPackageResponse) -> tuple[int, int, int, int]:
    return answer.matched, answer.unmatched, answer.differing, answer.missing


def repairs(pairs: Pairs) -> list[gateway.Repair]:
    found = pairs.town.call(pairs.town.OPERATOR, gateway.ListRepairsRequest()).repairs
    return [each for each in found if each.code == "BOOKS_DIFFER"]


def whole(pairs: Pairs) -> tuple[str, str, str]:
    """A month with one visit, one service and one referral of the federation: their names for the visited and the
    referral, and ours for the visit."""
    local = pairs.shared()
    name = pairs.name(local, WOMEN)
    entry = pairs.entry(name, "home_visit", as_=WOMEN)
    pairs.serve(WOMEN, "A-1")
    referral = pairs.town.refer(local, recipient=WOMEN, support="每周入户").referral.name
    pairs.entry(local, "support")  # the school's own: no other party's books hold it
    pairs.november()
    return name, referral, entry.name


def test_books_that_say_the_same_match_and_leave_nobody_anything_to_do(pairs: Pairs) -> None:
    name, referral, _ = whole(pairs)
    answer = brought(
        pairs, visit(name), service(), {"source": "r-1", "student": {"name": name}, "referral": referral, "state": 2}
    )
    assert (counts(answer), told(answer)) == ((3, 0, 0, 0), [])
    assert pairs.hold() == [] and repairs(pairs) == []


def test_what_they_have_and_we_do_not_and_what_says_otherwise_is_named(pairs: Pairs) -> None:
    name, referral, _ = whole(pairs)
    answer = brought(
        pairs, visit(name), visit(name, "v-2"), visit(name, "v-3", day="2026-10-11"), service(attendances=300),
        service("A-2"), {"source": "r-1", "student": {"name": name}, "referral": referral, "state": 4},
    )  # fmt: skip
    assert counts(answer) == (1, 3, 2, 0)
    assert told(answer) == [
        ("v-2", "ENTRY_UNKNOWN", ""), ("v-3", "ENTRY_UNKNOWN", ""),
        ("s-A-1", "SERVICE_DIFFERS", f"activities/{WOMEN}/A-1"), ("s-A-2", "SERVICE_UNKNOWN", ""),
        ("r-1", "STATE_DIFFERS", referral),
    ]  # fmt: skip
    assert {(row["holder"], row["school"], row["step"]) for row in pairs.hold()} == {
        ("bureau-admin", "", "entry_unknown"), ("bureau-admin", "", "service_unknown"),
        ("bureau-admin", "", "service_differs"), (pairs.town.PSYCH, CODE, "state_differs"),
    }  # fmt: skip


def test_what_we_have_and_they_do_not_is_named_also_where_they_say_nil(pairs: Pairs) -> None:
    name, referral, entry = whole(pairs)
    answer = brought(pairs, visit(name, day="2026-10-12"))
    assert counts(answer) == (1, 0, 0, 2)
    assert told(answer) == [("", "MISSING", referral), ("A-1", "MISSING", "")]
    answer = brought(pairs, revision=1)
    assert told(answer) == [("", "MISSING", referral), ("", "MISSING", entry), ("A-1", "MISSING", "")]
    assert {row["step"] for row in pairs.hold()} == {"missing"} and len(pairs.hold()) == 3


def test_the_repair_names_the_items_until_the_books_are_mended_or_people_agreed(pairs: Pairs) -> None:
    name, referral, _ = whole(pairs)
    brought(pairs, visit(name), service(attendances=300))
    (found,) = repairs(pairs)
    assert found.subject == f"school-women/{WOMEN}"
    assert f"{referral} MISSING" in found.text_en and "s-A-1 SERVICE_DIFFERS" in found.text_en
    assert "2 项" in found.text_zh and PERIOD in found.text_zh
    first, second = (row["item"] for row in pairs.hold())
    pairs.town.call(pairs.town.OPERATOR, gateway.CloseHoldingRequest(item=first, reason="PHONE_AGREED"))
    assert "1 items" in repairs(pairs)[0].text_en
    pairs.town.call(pairs.town.OPERATOR, gateway.CloseHoldingRequest(item=second, reason="PHONE_AGREED"))
    assert repairs(pairs) == []
    record = {"source": "r-1", "student": {"name": name}, "referral": referral}
    assert counts(brought(pairs, visit(name), service(), record, revision=1)) == (3, 0, 0, 0)
    assert repairs(pairs) == [] and pairs.hold() == []


def test_in_parts_nothing_is_missing_before_the_last_and_each_item_stands_for_one_record(pairs: Pairs) -> None:
    name, referral, _ = whole(pairs)
    answer = brought(pairs, visit(name), more=True)
    assert (counts(answer), pairs.hold()) == ((1, 0, 0, 0), [])
    answer = brought(pairs, visit(name, "v-2"), service())
    assert told(answer) == [("v-2", "ENTRY_UNKNOWN", ""), ("", "MISSING", referral)]


def test_late_things_stand_in_the_books_of_their_own_day_and_what_was_never_shared_is_not_told(pairs: Pairs) -> None:
    local = pairs.shared()
    request = pairs.entry_request(pairs.name(local, WOMEN), "home_visit")
    request.entry.day = "2026-09-30"
    pairs.town.call(WOMEN, request)
    pairs.serve(WOMEN, "A-0", day="2026-09-30")
    pairs.entry(local, "session")
    pairs.november()
    assert told(brought(pairs)) == []


def test_an_id_of_another_agency_matches_nothing_of_it(pairs: Pairs) -> None:
    pairs.serve(YOUTH, "A-1")
    local = pairs.shared()
    pairs.november()
    answer = brought(pairs, service(), visit(pairs.name(local, YOUTH)))
    assert [reason for _, reason, _ in told(answer)] == ["SERVICE_UNKNOWN", "STUDENT_UNKNOWN"]


def test_a_league_hears_of_its_own_numbers_and_of_no_case(pairs: Pairs) -> None:
    local = pairs.shared(to=YOUTH)
    pairs.town.refer(local, recipient=YOUTH, support="陪伴")
    pairs.serve(YOUTH, "month/1")
    pairs.november()
    answer = brought(pairs, as_=YOUTH, exchange="school-youth")
    assert counts(answer) == (0, 0, 0, 2)
    assert told(answer) == [("", "MISSING", ""), ("month/1", "MISSING", "")]


def test_the_only_exchange_need_not_be_named_and_one_of_several_must(pairs: Pairs) -> None:
    pairs.november()
    assert counts(brought(pairs, exchange="", revision=7)) == (0, 0, 0, 0)
    assert pairs.town.rows(tables.exchange_arrivals, exchange="school-women", partner=WOMEN)[0]["revision"] == 7
    request = rpc.SubmitPackageRequest(period=PERIOD, nil=True)
    assert pairs.town.refusal(SCHOOL, request) == "INVALID_ARGUMENT/EXCHANGE"
    request = rpc.SubmitPackageRequest(period=PERIOD, nil=True, exchange="school-youth")
    assert pairs.town.refusal(WOMEN, request) == "NOT_FOUND/EXCHANGE"


@pytest.mark.parametrize(
    "record",
    [
        {"source": "a"},
        {"source": "a", "student": {"local_id": "s"}, "service": Activity(source="b", kind=7, day="2026-10-08")},
        {"source": "a", "student": {"local_id": "s"}, "entry_kind": 2},
        {"source": "a", "student": {"local_id": "s"}, "day": "2026-10-08"},
        {"source": "a", "student": {"local_id": "s"}, "referral": "referrals/r", "entry_kind": 2, "day": "2026-10-08"},
    ],
)
def test_a_record_is_of_one_thing(pairs: Pairs, record: dict[str, Any]) -> None:
    pairs.november()
    request = rpc.SubmitPackageRequest(exchange="school-women", period=PERIOD, records=[record])
    assert pairs.town.refusal(WOMEN, request).startswith("INVALID_ARGUMENT/")


def test_who_brought_the_books_by_an_adapter_hears_what_does_not_agree(pairs: Pairs) -> None:
    name, _, _ = whole(pairs)
    heard: list[Any] = []

    class Handle:
        agency = WOMEN

        def read(self, cursor: str) -> Iterator[ReadResponse]:
            package = rpc.SubmitPackageRequest(period=PERIOD, records=[visit(name), service(attendances=300)])
            yield ReadResponse(cursor="1", partner_package=package)

        def report(self, rejected: Any) -> None:
            heard.extend(rejected)

    gate = pairs.town.gate.gateway
    partner = gate.registry.find(WOMEN)
    tally = Intake(gate.pipeline, Handle(), partner, gate.clocks.deadline).run_once()  # type: ignore[arg-type]
    assert (tally.updates, tally.rejected) == (1, [])
    assert [(each.source, each.place, each.reason) for each in heard] == [
        ("partner_package", "s-A-1", "SERVICE_DIFFERS"), ("partner_package", heard[1].place, "MISSING"),
    ]  # fmt: skip
    assert heard[1].place.startswith("referrals/")
    assert all(each.message == MENDS[each.reason] for each in heard)
    assert pairs.town.rows(tables.holdings, kind="intake") == []  # each lies with somebody as what it is
