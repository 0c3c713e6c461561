"""What an operator sees of a period before it is run: what the partner would, cut to what the operator may."""

from typing import Any

import pytest
from tests.exchange.conftest import EXCHANGE, HOSPITAL, PERIOD, SCHOOL, Books, at, definition, student_of
from tests.exchange.test_runs import own_only_policy

from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.exchange.v1 import exchange_pb2 as pb
from xinqiao.api.exchange.v1 import exchange_service_pb2 as rpc
from xinqiao.contract.errors import Refusal
from xinqiao.store import tables

NEW, CHANGED, SAME, GONE = rpc.ITEM_CHANGE_NEW, rpc.ITEM_CHANGE_CHANGED, rpc.ITEM_CHANGE_SAME, rpc.ITEM_CHANGE_GONE


def looked(books: Books, caller: str = "admin", **fields: Any) -> rpc.PreviewExchangeResponse:
    fields = {"exchange": EXCHANGE, "period": PERIOD} | fields
    return books.ask("PreviewExchange", rpc.PreviewExchangeRequest(**fields), caller)


def everything(books: Books, **fields: Any) -> list[rpc.PreviewItem]:
    found: list[rpc.PreviewItem] = []
    page = looked(books, **fields)
    while True:
        found += page.items
        if not page.next_page_token:
            return found
        page = looked(books, **fields, page_token=page.next_page_token)


def test_what_is_shown_is_what_goes_and_nothing_is_sent(books: Books) -> None:
    books.refer("a", (at(2026, 9, 10), 1, 2), (at(2026, 9, 20), 10, 11), outcome=True)
    (item,) = looked(books).items
    assert (books.desk.calls, books.rows(), books.journal()) == ([], [], 0)
    assert (item.item, item.outcome, item.change) == ("referrals/a", pb.ITEM_OUTCOME_SENT, NEW)
    books.run()
    (sent,) = books.desk.only()
    assert item.content.referral.student != sent.referral.student
    assert student_of("a") not in str(item)
    for each in (item.content, sent):
        each.referral.ClearField("student")
    assert item.content == sent
    assert "秘密" not in str(item)
    assert {"referral.name", "referral.student", "referral.state", "referral.history[2]"} <= set(item.fields)
    assert not {"referral.reason", "referral.note"} & set(item.fields)


def test_what_is_kept_back_stands_with_its_class_and_reason(books: Books) -> None:
    books.refer("a", (at(2026, 9, 10), 1, 2), outcome=True)
    (item,) = looked(books).items
    kept = {each.field: (options.FieldClass.Name(each.field_class), each.reason) for each in item.withheld}
    assert kept["referral.reason"] == ("FIELD_CLASS_REFERRAL_REASON", "NOT_IN_POLICY")
    assert "referral.outcome.diagnosis" in kept


def test_an_item_that_would_be_withheld_or_cannot_be_built_says_why(books: Books) -> None:
    books.policy, books.definition = own_only_policy(books.folder), definition(SCHOOL)
    text = books.policy.read_text("utf-8").replace(
        "[SCHOOL_PLATFORM, HOSPITAL]", "[SCHOOL_PLATFORM, HOSPITAL, OPERATOR]"
    )
    books.policy.write_text(text.replace("classes: [AGGREGATE]", "classes: [AGGREGATE, CASE_REF]", 0), "utf-8")
    books.refer("a", (at(2026, 9, 10), 1, 2), school="moved-away")
    books.refer_many("b")
    books.store.keys.shred(student_of("b"))
    items = looked(books).items
    assert [(each.outcome, each.reason) for each in items] == [
        (pb.ITEM_OUTCOME_WITHHELD, "NOT_IN_POLICY"), (pb.ITEM_OUTCOME_FAILED, "KEY_GONE"),
    ]  # fmt: skip
    assert not any(each.item or each.HasField("content") for each in items), "this operator may have counts only"


def test_the_operator_sees_no_more_than_its_role_may_and_it_goes_on_record(books: Books) -> None:
    books.definition = definition(SCHOOL)
    books.refer("a", (at(2026, 9, 10), 1, 2))
    books.run()
    (sent,) = books.desk.only()
    (item,) = looked(books).items
    seen = books.last_call.disclosed[student_of("a")]
    assert seen & ~(1 << options.FIELD_CLASS_AGGREGATE | 1 << options.FIELD_CLASS_CASE_REF) == 0
    assert seen >> options.FIELD_CLASS_CASE_REF & 1
    assert sent.referral.name == item.content.referral.name


def test_the_difference_from_the_last_period_is_new_changed_same_and_gone(books: Books) -> None:
    august, september = at(2026, 8, 10), at(2026, 9, 10)
    books.refer("both", (august, 1, 2), (september, 3, 4))
    books.refer("gone", (august, 1, 2))
    books.exchanges().run(EXCHANGE, "2026-08", actor="admin")
    books.refer("new", (september, 1, 2))
    found = {each.item: each.change for each in everything(books)}
    assert found == {"referrals/both": CHANGED, "referrals/gone": GONE, "referrals/new": NEW}


def test_the_same_content_in_another_place_of_the_package_is_the_same(books: Books) -> None:
    books.refer("first", (at(2026, 8, 1), 1, 2))
    books.refer("touched", (at(2026, 8, 10), 1, 2))
    books.exchanges().run(EXCHANGE, "2026-08", actor="admin")
    books.store.run(lambda tx: tx.update(tables.referrals, ("touched",), updated_us=at(2026, 9, 3)))
    assert {each.item: each.change for each in everything(books)} == {
        "referrals/touched": SAME, "referrals/first": GONE,
    }  # fmt: skip


def test_pages_hold_every_item_once(books: Books) -> None:
    for name in "abcde":
        books.refer(f"old-{name}", (at(2026, 8, 10), 1, 2))
    books.exchanges().run(EXCHANGE, "2026-08", actor="admin")
    books.refer_many(*"abcde")
    found = [(each.item, each.change) for each in everything(books, page_size=2)]
    assert found == [(f"referrals/{name}", NEW) for name in "abcde"] + [
        (f"referrals/old-{name}", GONE) for name in "abcde"
    ]


def test_a_period_that_runs_may_be_looked_at_and_one_that_has_not_begun_may_not(books: Books) -> None:
    books.refer("a", (at(2026, 10, 10), 1, 2))
    assert [each.item for each in looked(books, period="2026-10").items] == ["referrals/a"]
    with pytest.raises(Refusal, match="PERIOD"):
        looked(books, period="2026-11")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"exchange": "none"}, "EXCHANGE"),
        ({"period": "2026-W40"}, "PERIOD"),
        ({"period": "soon"}, "PERIOD"),
        ({"partner": SCHOOL}, "PARTNER"),
        ({"partner": "nobody"}, "PARTNER"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(books: Books, fields: dict[str, str], reason: str) -> None:
    with pytest.raises(Refusal, match=reason):
        looked(books, **fields)


def test_a_partner_that_could_get_nothing_now_is_said_to_be_barred(books: Books) -> None:
    books.definition = definition(HOSPITAL, SCHOOL)
    books.hospital_until_us = books.clock.now_us()
    answer = looked(books)
    assert (answer.partner, list(answer.partners)) == (HOSPITAL, [HOSPITAL, SCHOOL])
    assert answer.barred == "AGREEMENT_EXPIRED"
    assert looked(books, partner=SCHOOL).barred == ""
