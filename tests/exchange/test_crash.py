"""Killed at every commit, and before and after the partner was reached: a rerun goes on and nothing happens twice."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import pytest
from tests.exchange.conftest import EXCHANGE, FOREVER, HOSPITAL, PERIOD, Books, student_of

from xinqiao.api.casefile.v1.casefile_pb2 import CONSENT_STATE_GIVEN, CONSENT_STATE_WITHDRAWN
from xinqiao.api.common.v1.options_pb2 import FIELD_CLASS_CASE_REF, PURPOSE_RECONCILIATION
from xinqiao.api.exchange.v1 import exchange_pb2 as pb
from xinqiao.contract.errors import Refusal
from xinqiao.exchange.periods import span
from xinqiao.exchange.runs import LEASE_US
from xinqiao.store import tables
from xinqiao.store.engine import Store
from xinqiao.store.tx import Tx

T = TypeVar("T")


class Killed(BaseException):
    """The process is gone."""


class DyingStore:
    """A store whose process dies at its n-th command: before its commit, or right after it."""

    def __init__(self, store: Store, commands: int, *, after_commit: bool) -> None:
        self._store, self._left, self._after_commit = store, commands, after_commit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def run(self, command: Callable[[Tx], T], crisis: bool = False) -> T:
        if self._left < 0:
            raise Killed
        self._left -= 1
        if self._left >= 0:
            return self._store.run(command, crisis)
        if self._after_commit:
            self._store.run(command, crisis)
        raise Killed


@pytest.mark.parametrize("after_commit", [False, True])
def test_killed_at_any_command_a_rerun_finishes_and_the_partner_sees_one_effect(
    books: Books, after_commit: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("items", "building"):
        monkeypatch.setattr(f"xinqiao.exchange.{module}.PAGE", 2)
    periods = iter(f"{year}-{month:02}" for year in range(2020, 2025) for month in range(1, 13))
    states: set[int] = set()
    deaths = 0
    for commands in range(100):
        period = PERIOD if commands == 0 else next(periods)
        fill(books, period)
        released, taken = books.journal("released"), len(books.desk.taken)
        dying = cast(Store, DyingStore(books.store, commands, after_commit=after_commit))
        try:
            books.exchanges(dying).run(EXCHANGE, period, actor="admin")
        except Killed:
            deaths += 1
            states.update(int(row["state"]) for row in books.rows() if row["period"] == period)
        else:
            break
        books.wait(microseconds=LEASE_US + 1)
        (run,) = books.exchanges().run(EXCHANGE, period, actor="admin")
        assert (run.state, run.revision) == (pb.RUN_STATE_RECONCILED, 0)
        assert (run.selected, run.sent, run.failed) == (3, 2, 1)
        assert books.journal("released") - released == 2
        assert len(books.desk.taken) - taken == 1
        assert books.holding() is None
    assert deaths > 8
    # The last command gives the lease back, after the run was reconciled.
    assert states == {
        pb.RUN_STATE_PLANNED, pb.RUN_STATE_SNAPSHOT, pb.RUN_STATE_SENDING, pb.RUN_STATE_AWAIT_RECEIPT,
        pb.RUN_STATE_RECONCILED,
    }  # fmt: skip


def fill(books: Books, period: str) -> None:
    for name in ("a", "b", "c"):
        books.refer(f"{period}-{name}", (span(period).from_us, 1, 2))
    books.store.keys.shred(student_of(f"{period}-b"))


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_the_partner_is_asked_the_same_package_goes_again(books: Books, when: str) -> None:
    books.refer_many("a", "b")

    def die() -> None:
        raise Killed

    setattr(books.desk, when, die)
    with pytest.raises(Killed):
        books.run()
    assert books.rows()[0]["state"] == pb.RUN_STATE_SENDING
    setattr(books.desk, when, lambda: None)
    (run,) = books.run()
    assert run.state == pb.RUN_STATE_RECONCILED
    assert len({request for _, request in books.desk.calls}) == 1 == len(books.desk.taken)
    assert books.journal("released") == 2


def test_a_dead_drivers_run_is_taken_over_once_its_lease_is_over(books: Books) -> None:
    dying = cast(Store, DyingStore(books.store, 1, after_commit=True))
    with pytest.raises(Killed):
        books.exchanges(dying).run(EXCHANGE, PERIOD, actor="admin")
    with pytest.raises(Refusal, match="RUNNING"):
        books.run()
    books.wait(microseconds=LEASE_US)
    assert books.run()[0].state == pb.RUN_STATE_RECONCILED


def test_a_record_erased_between_its_judgement_and_its_sending_does_not_go(books: Books) -> None:
    books.refer_many("a", "b")
    dying = cast(Store, DyingStore(books.store, 5, after_commit=False))  # the sixth command writes the manifest
    with pytest.raises(Killed):
        books.exchanges(dying).run(EXCHANGE, PERIOD, actor="admin")
    assert (books.rows()[0]["state"], books.journal("released")) == (pb.RUN_STATE_SNAPSHOT, 2)
    books.store.keys.shred(student_of("b"))
    books.wait(microseconds=LEASE_US)
    (run,) = books.run()
    assert (run.revision, run.state, run.sent, run.failed) == (1, pb.RUN_STATE_RECONCILED, 1, 1)
    assert [item.referral.name for item in books.desk.only()] == ["referrals/a"]


def test_a_record_erased_while_its_package_is_signed_does_not_go(books: Books) -> None:
    books.refer_many("a", "b")

    class Erasing(DyingStore):
        """As the sixth command writes the manifest, somebody is erased."""

        def run(self, command: Callable[[Tx], T], crisis: bool = False) -> T:
            self._left -= 1
            if self._left == 0:
                books.store.keys.shred(student_of("b"))
            return self._store.run(command, crisis)

    erasing = cast(Store, Erasing(books.store, 6, after_commit=False))
    (run,) = books.exchanges(erasing).run(EXCHANGE, PERIOD, actor="admin")
    assert (run.revision, run.state, run.sent, run.withdrawn) == (1, pb.RUN_STATE_RECONCILED, 1, 1)
    assert [item.WhichOneof("body") for item in books.desk.only()] == ["referral", "tombstone"]


def test_a_consent_withdrawn_while_its_package_is_signed_is_heeded(books: Books) -> None:
    text = books.policy.read_text("utf-8")
    granted = "relation: [OWN, PARTY, NONE]\n    classes: [AGGREGATE, CASE_REF]\n    needs: none\n"
    assert granted in text
    books.policy = books.folder / "consents.yaml"
    asks = granted.replace("AGGREGATE, CASE_REF", "CASE_REF").replace("none\n", "consent\n")
    counts = granted.replace("AGGREGATE, CASE_REF", "AGGREGATE")
    others = "  - id: counts-without-consent\n    roles: [HOSPITAL]\n    purposes: [RECONCILIATION]\n    "
    books.policy.write_text(text.replace(granted, f"{asks}{others}{counts}"), "utf-8")
    books.refer_many("a", "b")
    for name in ("a", "b"):
        values = (name, student_of(name), HOSPITAL, PURPOSE_RECONCILIATION, 1 << FIELD_CLASS_CASE_REF)
        row = (*values, int(CONSENT_STATE_GIVEN), 0, FOREVER, 1, 1, 1, b"")
        books.store.run(lambda tx, row=row: tx.insert(tables.consents, *row))  # type: ignore[misc]

    class Withdrawing(DyingStore):
        """As the sixth command writes the manifest, a guardian withdraws."""

        def run(self, command: Callable[[Tx], T], crisis: bool = False) -> T:
            self._left -= 1
            if self._left == 0:
                withdrawn = int(CONSENT_STATE_WITHDRAWN)
                self._store.run(lambda tx: tx.update(tables.consents, ("b",), state=withdrawn, updated_us=2))
            return self._store.run(command, crisis)

    withdrawing = cast(Store, Withdrawing(books.store, 6, after_commit=False))
    (run,) = books.exchanges(withdrawing).run(EXCHANGE, PERIOD, actor="admin")
    assert (run.revision, run.state, run.sent, run.withdrawn) == (1, pb.RUN_STATE_RECONCILED, 1, 1)


def test_a_driver_that_slept_through_its_lease_changes_nothing(books: Books) -> None:
    books.refer_many("a")
    rows: list[int] = []

    def sleep_while_another_finishes() -> None:
        books.desk.before = lambda: None
        books.wait(microseconds=LEASE_US)
        assert books.run()[0].state == pb.RUN_STATE_RECONCILED
        rows.append(books.journal())

    books.desk.before = sleep_while_another_finishes
    assert books.run()[0].state == pb.RUN_STATE_RECONCILED
    assert rows == [books.journal()]
    assert len(books.desk.taken) == 1
