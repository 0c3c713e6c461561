"""A long run goes in parts: each is a package of its own, a crash has at most one done twice, and the run sums them up."""

from typing import cast

import pytest
from tests.exchange.conftest import EXCHANGE, HOSPITAL, PERIOD, Books, student_of
from tests.exchange.test_crash import DyingStore, Killed

from xinqiao.api.exchange.v1 import exchange_pb2 as pb
from xinqiao.contract.errors import Refusal
from xinqiao.exchange.package import read_items
from xinqiao.exchange.periods import span
from xinqiao.exchange.runs import LEASE_US
from xinqiao.store.engine import Store

NAMES = ("a", "b", "c", "d", "e")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two items in a part, one in a page."""
    monkeypatch.setattr("xinqiao.exchange.parts.PART", 2)
    for module in ("items", "building"):
        monkeypatch.setattr(f"xinqiao.exchange.{module}.PAGE", 1)


def packages(books: Books) -> list[pb.Package]:
    return [pb.Package.FromString(package) for package in books.desk.taken.values()]


def manifests(books: Books) -> list[pb.Manifest]:
    return [pb.Manifest.FromString(package.manifest) for package in packages(books)]


def test_a_long_run_goes_in_parts_that_are_counted_each_and_together(books: Books) -> None:
    books.refer_many(*NAMES)
    books.store.keys.shred(student_of("b"))
    (run,) = books.run()
    assert (run.state, run.selected, run.sent, run.failed) == (pb.RUN_STATE_RECONCILED, 5, 4, 1)
    identifier = books.rows()[0]["id"]
    assert [request for _, request in books.desk.calls] == [f"exchange-{identifier}-p{part}" for part in (1, 2, 3)]
    assert [package.name for package in packages(books)] == [f"{EXCHANGE}-{PERIOD}-r0-p{part}" for part in (1, 2, 3)]
    parts = manifests(books)
    assert [(each.part, each.parts, each.selected, each.items, each.failed) for each in parts] == [
        (1, 3, 2, 1, 1), (2, 3, 2, 2, 0), (3, 3, 1, 1, 0),
    ]  # fmt: skip
    shown = [[(item.ordinal, item.referral.name) for item in books.desk.items(each)] for each in books.desk.taken]
    assert shown == [[(0, "referrals/a")], [(0, "referrals/c"), (1, "referrals/d")], [(0, "referrals/e")]]
    assert (run.manifest.items, run.manifest.parts, run.manifest.part) == (4, 3, 0)
    assert books.holding() is None


def test_a_run_of_no_more_than_a_part_goes_as_ever(books: Books) -> None:
    books.refer_many("a", "b")
    (run,) = books.run()
    assert [request for _, request in books.desk.calls] == [f"exchange-{books.rows()[0]['id']}"]
    assert (run.manifest.part, run.manifest.parts) == (0, 0)
    assert packages(books)[0].name == f"{EXCHANGE}-{PERIOD}-r0"


@pytest.mark.parametrize("after_commit", [False, True])
def test_killed_at_any_command_no_part_is_lost_and_at_most_one_goes_twice(books: Books, after_commit: bool) -> None:
    periods = iter(f"{year}-{month:02}" for year in range(2018, 2025) for month in range(1, 13))
    deaths, repeated = 0, 0
    for commands in range(84):
        period = next(periods)
        for name in NAMES:
            books.refer(f"{period}-{name}", (span(period).from_us, 1, 2))
        released, called, taken = books.journal("released"), len(books.desk.calls), len(books.desk.taken)
        dying = cast(Store, DyingStore(books.store, commands, after_commit=after_commit))
        try:
            books.exchanges(dying).run(EXCHANGE, period, actor="admin")
        except Killed:
            deaths += 1
        else:
            break
        books.wait(microseconds=LEASE_US + 1)
        (run,) = books.exchanges().run(EXCHANGE, period, actor="admin")
        assert (run.state, run.revision, run.sent) == (pb.RUN_STATE_RECONCILED, 0, 5)
        assert books.journal("released") - released == 5
        assert len(books.desk.taken) - taken == 3
        repeated = max(repeated, len(books.desk.calls) - called - 3)
        assert books.holding() is None
    assert deaths > 25
    assert repeated == int(not after_commit)  # killed after its receipt is kept, a part is done


def test_a_long_run_that_was_barred_before_it_began_goes_as_a_new_revision(books: Books) -> None:
    books.refer_many(*NAMES)
    books.hospital_until_us = books.clock.now_us()
    (run,) = books.run()
    assert (run.state, books.desk.calls) == (pb.RUN_STATE_INCOMPLETE, [])
    books.hospital_until_us = 2**60
    (run,) = books.run()
    assert (run.revision, run.state, run.sent) == (1, pb.RUN_STATE_RECONCILED, 5)
    assert [manifest.part for manifest in manifests(books)] == [1, 2, 3]


def test_what_is_refused_of_a_part_is_that_parts_item(books: Books) -> None:
    books.refer_many(*NAMES)

    def refuse_in_the_second(receipt: pb.Receipt) -> None:
        if len(books.desk.calls) == 2:
            receipt.accepted = 1
            receipt.refused.add(ordinal=1, reason="UNKNOWN_PATIENT")

    books.desk.mend = refuse_in_the_second
    (run,) = books.run()
    assert (run.state, run.sent, run.refused) == (pb.RUN_STATE_RECONCILED, 4, 1)
    refused = [item for item, outcome, _ in books.items() if outcome == pb.ITEM_OUTCOME_REFUSED]
    assert refused == ["referrals/d"]
    assert len(books.held_items()) == 1


def test_a_part_that_differs_gives_the_run_to_a_person_who_has_it_sent_anew(books: Books) -> None:
    books.refer_many(*NAMES)
    books.desk.tells = True

    def alter(receipt: pb.Receipt) -> None:
        if len(books.desk.calls) == 2:
            receipt.item_sha256[0] = bytes(32)

    books.desk.mend = alter
    (run,) = books.run()
    assert (run.state, len(books.desk.calls)) == (pb.RUN_STATE_INCOMPLETE, 2)
    assert [item for item, _, reason in books.items() if reason == "DIFFERS"] == ["referrals/c"]
    assert books.run()[0].state == pb.RUN_STATE_INCOMPLETE
    assert len(books.desk.calls) == 2


def test_parts_do_not_wait_for_one_anothers_receipts(books: Books) -> None:
    books.refer_many(*NAMES)
    books.desk.waiting = True
    (run,) = books.run()
    assert (run.state, len(books.desk.taken)) == (pb.RUN_STATE_AWAIT_RECEIPT, 3)
    holding = books.holding()
    assert holding is not None
    assert holding[0] == HOSPITAL
    books.desk.waiting = False
    (run,) = books.exchanges().collect()
    assert (run.state, run.sent, len(books.desk.taken)) == (pb.RUN_STATE_RECONCILED, 5, 3)


def test_a_partner_that_fails_between_parts_gets_the_rest_only(books: Books) -> None:
    books.refer_many(*NAMES)

    def fail_after_the_first() -> None:
        books.desk.down = len(books.desk.calls) == 1

    books.desk.before = fail_after_the_first
    assert books.run()[0].state == pb.RUN_STATE_SENDING
    books.desk.before = lambda: None
    books.desk.down = False
    books.wait(seconds=1)
    assert books.run()[0].state == pb.RUN_STATE_RECONCILED
    assert [request.rpartition("-")[2] for _, request in books.desk.calls] == ["p1", "p2", "p3"]


def test_what_is_erased_while_parts_go_is_taken_back_from_the_part_in_which_it_went(books: Books) -> None:
    books.refer_many(*NAMES)

    def erase_after_the_second() -> None:
        if len(books.desk.calls) == 2:
            books.store.keys.shred(student_of("d"))
            books.desk.waiting = True

    books.desk.after = erase_after_the_second
    books.run()
    books.desk.after, books.desk.waiting = lambda: None, False
    books.wait(seconds=1)
    (run,) = books.run()
    assert (run.revision, run.state, run.sent, run.withdrawn) == (1, pb.RUN_STATE_RECONCILED, 4, 1)
    bodies = [pb.PackageItem.FromString(item) for each in packages(books)[-3:] for item in read_items(each.items)]
    (stone,) = [item.tombstone for item in bodies if item.WhichOneof("body") == "tombstone"]
    assert (stone.revision, stone.part, stone.ordinal) == (0, 2, 1)


def test_a_rival_is_told_while_parts_go(books: Books) -> None:
    books.refer_many(*NAMES)
    told: list[str] = []

    def rival() -> None:
        try:
            books.run()
        except Refusal as refusal:
            told.append(refusal.reason)

    books.desk.before = rival
    assert books.run()[0].state == pb.RUN_STATE_RECONCILED
    assert told == ["RUNNING"] * 3
