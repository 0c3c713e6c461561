"""Two-sided receipts that name what differs, items that go back to their source, and amended periods with tombstones."""

import pytest
from tests.exchange.conftest import EXCHANGE, PERIOD, SCHOOL, Books, at, definition, student_of
from tests.exchange.test_runs import own_only_policy

from xinqiao.api.exchange.v1 import exchange_pb2 as pb
from xinqiao.api.exchange.v1 import exchange_service_pb2 as rpc
from xinqiao.contract.errors import Refusal

SENT, WITHDRAWN = pb.ITEM_OUTCOME_SENT, pb.ITEM_OUTCOME_WITHDRAWN


def listed(books: Books, run: pb.ExchangeRun, caller: str = "admin", **fields: bool) -> list[rpc.RunItem]:
    request = rpc.ListExchangeItemsRequest(run=run.name, **fields)
    return list(books.ask("ListExchangeItems", request, caller).items)


def amended(books: Books, revision: int = 0, reason: str = "CONSENT_WITHDRAWN") -> pb.ExchangeRun:
    wish = rpc.Revise(revision=revision, reason=reason, amend=True)
    return books.exchanges().run(EXCHANGE, PERIOD, actor="admin", revise=wish)[0]


# -- receipts that tell what was received ------------------------------------------------------------------------------


def test_a_receipt_that_tells_what_was_received_settles(books: Books) -> None:
    books.refer_many("a", "b")
    books.desk.tells = True
    (run,) = books.run()
    assert (run.state, len(run.receipt.item_sha256)) == (pb.RUN_STATE_RECONCILED, 2)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda receipt: receipt.item_sha256.__setitem__(1, bytes(32)), [("referrals/b", 1, "DIFFERS")]),
        (lambda receipt: receipt.item_sha256.pop(), [("referrals/c", 2, "MISSING")]),
        (lambda receipt: receipt.item_sha256.append(bytes(32)), []),
    ],
)
def test_a_mismatch_names_the_items_and_gives_each_to_the_operator(books: Books, change, named) -> None:  # type: ignore[no-untyped-def]
    books.refer_many("a", "b", "c")
    books.desk.tells, books.desk.mend = True, change
    (run,) = books.run()
    assert run.state == pb.RUN_STATE_INCOMPLETE
    holding = books.holding()
    assert holding is not None
    assert holding[:2] == ("admin", "receipt_differs")
    assert [(one.item, one.ordinal, one.reason) for one in listed(books, run, with_reason=True)] == named
    assert books.held_items() == [("admin", "", reason.lower()) for _, _, reason in named]


def test_a_count_that_is_wrong_names_the_item_when_the_partner_tells_what_it_received(books: Books) -> None:
    books.refer_many("a", "b")

    def lose_one(receipt: pb.Receipt) -> None:
        receipt.item_sha256.pop()
        receipt.accepted = 1

    books.desk.tells, books.desk.mend = True, lose_one
    (run,) = books.run()
    assert [(one.item, one.reason) for one in listed(books, run, with_reason=True)] == [("referrals/b", "MISSING")]


def test_a_forged_receipt_marks_nothing(books: Books) -> None:
    books.refer_many("a")
    books.desk.tells = books.desk.wrong_key = True
    books.desk.mend = lambda receipt: receipt.item_sha256.__setitem__(0, bytes(32))
    (run,) = books.run()
    holding = books.holding()
    assert holding is not None
    assert holding[1] == "receipt_signature"
    assert (listed(books, run, with_reason=True), books.held_items()) == ([], [])


def test_the_next_revision_closes_what_was_open_about_the_last_ones_items(books: Books) -> None:
    books.refer_many("a", "b")
    books.desk.tells = True
    books.desk.mend = lambda receipt: receipt.item_sha256.__setitem__(1, bytes(32))
    books.run()
    assert len(books.held_items()) == 1
    books.desk.mend = lambda receipt: None
    wish = rpc.Revise(revision=0, reason="MENDED")
    (run,) = books.exchanges().run(EXCHANGE, PERIOD, actor="admin", revise=wish)
    assert (run.state, run.reason, run.manifest.reason) == (pb.RUN_STATE_RECONCILED, "MENDED", "MENDED")
    assert (books.held_items(), books.holding()) == ([], None)


# -- refused items go back to their source -----------------------------------------------------------------------------


def test_a_refused_item_goes_back_to_its_school_with_the_reason_and_a_deadline(books: Books) -> None:
    books.refer_many("a", "b")
    books.desk.refuse = [(1, "NO_SUCH_CASE")]
    (run,) = books.run()
    assert run.state == pb.RUN_STATE_RECONCILED
    assert books.held_items() == [(SCHOOL, "S1", "refused_no_such_case")]
    assert books.holding() is None


def test_a_refused_item_rejoins_its_period_once_it_is_mended_at_its_source(books: Books) -> None:
    books.refer_many("a", "b")
    books.desk.refuse = [(1, "NO_SUCH_CASE")]
    books.run()
    books.desk.refuse = []
    assert books.exchanges().collect() == [], "nothing was mended yet"
    books.wait(hours=1)
    books.refer("b", (at(2026, 9, 10), 1, 2), (books.clock.now_us(), 3, 4))
    (run,) = books.exchanges().collect()
    assert (run.revision, run.reason, run.state, run.sent) == (1, "MENDED", pb.RUN_STATE_RECONCILED, 2)
    assert [row["state"] for row in books.rows()] == [pb.RUN_STATE_RECONCILED] * 2, "the first revision stands"
    assert books.held_items() == []
    assert books.exchanges().collect() == []


def test_an_item_that_is_refused_again_is_held_again_and_not_sent_over_and_over(books: Books) -> None:
    books.refer_many("a")
    books.desk.refuse = [(0, "NO_SUCH_CASE")]
    books.run()
    books.wait(hours=1)
    books.refer("a", (at(2026, 9, 10), 1, 2), (books.clock.now_us(), 3, 4))
    books.wait(hours=1)
    assert [run.revision for run in books.exchanges().collect()] == [1]
    assert books.exchanges().collect() == []
    assert books.held_items() == [(SCHOOL, "S1", "refused_no_such_case")]


# -- amendments and withdrawals ----------------------------------------------------------------------------------------


def test_what_was_erased_goes_as_a_tombstone_without_content_in_the_next_revision(books: Books) -> None:
    books.refer_many("a", "b", "c")
    books.run()
    books.store.keys.shred(student_of("b"))
    run = amended(books, reason="ERASED")
    assert (run.revision, run.state, run.reason) == (1, pb.RUN_STATE_RECONCILED, "ERASED")
    assert (run.selected, run.sent, run.withdrawn, run.failed) == (3, 2, 1, 0)
    assert (run.manifest.items, run.manifest.withdrawn, run.receipt.accepted) == (3, 1, 3)
    first, stone, last = books.desk.items(f"exchange-{books.rows()[-1]['id']}")
    assert (first.referral.name, last.referral.name) == ("referrals/a", "referrals/c")
    assert stone == pb.PackageItem(ordinal=1, tombstone=pb.Tombstone(revision=0, ordinal=1, reason="KEY_GONE"))
    assert books.items()[1] == ("referrals/b", WITHDRAWN, "KEY_GONE")


def test_what_the_door_permits_no_more_is_taken_back_and_that_is_on_record(books: Books) -> None:
    books.definition = definition(SCHOOL)
    books.refer_many("a", "b")
    books.run()
    rows = books.journal("released")
    books.policy = own_only_policy(books.folder)
    books.refer("b", (at(2026, 9, 10), 1, 2), school="moved-away")
    run = amended(books)
    assert (run.sent, run.withdrawn, run.withheld) == (1, 1, 0)
    assert books.items()[1] == ("referrals/b", WITHDRAWN, "NOT_IN_POLICY")
    assert books.journal("released") == rows + 2


def test_what_left_the_period_is_taken_back_too(books: Books) -> None:
    from xinqiao.store import tables

    books.refer_many("a", "b")
    books.run()
    books.store.run(lambda tx: tx.delete(tables.referrals, "a"))
    run = amended(books)
    assert (run.selected, run.sent, run.withdrawn) == (2, 1, 1)
    kept, stone = books.desk.items(f"exchange-{books.rows()[-1]['id']}")
    assert (kept.referral.name, stone.tombstone.ordinal, stone.tombstone.reason) == ("referrals/b", 0, "ITEM_GONE")


def test_a_tombstone_is_repeated_until_a_revision_with_it_was_agreed_and_points_where_the_item_was(
    books: Books,
) -> None:
    from xinqiao.store import tables

    books.refer_many("a", "b")
    books.run()
    books.store.run(lambda tx: tx.delete(tables.referrals, "b"))
    books.desk.wrong_key = True
    assert amended(books).state == pb.RUN_STATE_INCOMPLETE
    books.desk.wrong_key = False
    run = amended(books, 1, "AGAIN")
    assert (run.revision, run.state, run.withdrawn) == (2, pb.RUN_STATE_RECONCILED, 1)
    stone = books.desk.items(f"exchange-{books.rows()[-1]['id']}")[-1]
    assert (stone.tombstone.revision, stone.tombstone.ordinal) == (0, 1)
    assert amended(books, 2, "LATER").withdrawn == 0


def test_amending_again_with_the_same_revision_changes_nothing(books: Books) -> None:
    books.refer_many("a")
    books.run()
    assert amended(books).revision == 1
    rows = books.journal()
    assert (amended(books).revision, books.journal()) == (1, rows)


def test_a_settled_period_is_not_revised_without_saying_that_it_is_amended(books: Books) -> None:
    books.refer_many("a")
    books.run()
    with pytest.raises(Refusal, match="amend"):
        books.exchanges().run(EXCHANGE, PERIOD, actor="admin", revise=rpc.Revise(revision=0, reason="MENDED"))


# -- who sees the items ------------------------------------------------------------------------------------------------


def test_a_partner_lists_the_items_of_its_own_runs_only_and_in_pages(books: Books) -> None:
    books.refer_many("a", "b", "c")
    (run,) = books.run()
    request = rpc.ListExchangeItemsRequest(run=run.name, page_size=2)
    first = books.ask("ListExchangeItems", request, "mental-health")
    request.page_token = first.next_page_token
    rest = books.ask("ListExchangeItems", request, "mental-health")
    assert [(one.item, one.ordinal) for one in [*first.items, *rest.items]] == [
        ("referrals/a", 0), ("referrals/b", 1), ("referrals/c", 2),
    ]  # fmt: skip
    assert books.last_call.disclosed, "it goes on record"
    with pytest.raises(Refusal, match="RUN"):
        listed(books, run, SCHOOL)
