"""Claiming deliveries: one owner, leases, order, fencing."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import create_engine

from xinqiao.contract.clock import ManualClock
from xinqiao.store import tables as t
from xinqiao.store.claims import DeliveryState, claim, finish
from xinqiao.store.engine import Store
from xinqiao.store.statements import Statements
from xinqiao.store.tx import Tx

_LEASE = 30_000_000
_PENDING = int(DeliveryState.PENDING)


def _row(
    name: str, *, student: str | None = None, recipient: str = "clinic", lane: int = 1, due: int = 0, created: int = 1
) -> tuple[object, ...]:
    head = (name, recipient, lane, "kind", student, "item", _PENDING, 0, due, 0, "", name, "", "")
    return (*head, created, created, 1, "basis", None)


def _fill(store: Store, *rows: tuple[object, ...]) -> None:
    store.run(lambda tx: tx.insert_many(t.deliveries, rows))


def _claim(store: Store, owner: str = "a", limit: int = 10, **options: Any) -> list[str]:
    given: dict[str, Any] = {"lanes": [1, 2], "recipients": None, "lease_us": _LEASE, **options}
    return [row["id"] for row in store.run(lambda tx: claim(tx, owner=owner, limit=limit, **given))]


def test_a_claimed_row_names_its_owner_attempt_and_lease(store: Store, clock: ManualClock) -> None:
    _fill(store, _row("d1"))
    rows = store.run(lambda tx: claim(tx, lanes=[1], recipients=None, owner="a", limit=1, lease_us=_LEASE))
    assert [(row["owner"], row["attempt"], row["state"]) for row in rows] == [("a", 1, DeliveryState.RUNNING)]
    assert rows[0]["lease_until_us"] == clock.now_us() + _LEASE


def test_two_owners_never_get_the_same_row(store: Store) -> None:
    _fill(store, *(_row(f"d{n:03}") for n in range(120)))
    got: dict[str, list[str]] = {"a": [], "b": [], "c": []}

    def work(owner: str) -> None:
        while rows := _claim(store, owner, limit=7):
            got[owner] += rows

    with ThreadPoolExecutor(len(got)) as pool:
        list(pool.map(work, got))
    everything = [name for rows in got.values() for name in rows]
    assert len(everything) == len(set(everything))
    rest = _claim(store, "rest", limit=200)  # skipped while another transaction held them
    assert sorted(everything + rest) == [f"d{n:03}" for n in range(120)]


def test_a_row_locked_by_an_uncommitted_claim_is_skipped_not_waited_for(
    postgres_urls: tuple[str, str], clock: ManualClock
) -> None:
    engine = create_engine(postgres_urls[0], isolation_level="READ COMMITTED")
    statements = Statements(engine.dialect)
    with engine.begin() as connection:
        tx = Tx(connection, statements, clock.now_us(), "w", {})
        tx.insert_many(t.deliveries, [_row("d1"), _row("d2", created=2)])
    with engine.begin() as first, engine.begin() as second:
        second.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
        one = Tx(first, statements, clock.now_us(), "w", {})
        two = Tx(second, statements, clock.now_us(), "w", {})
        mine = claim(one, lanes=[1], recipients=None, owner="a", limit=1, lease_us=_LEASE)
        theirs = claim(two, lanes=[1], recipients=None, owner="b", limit=1, lease_us=_LEASE)
    engine.dispose()
    assert ([row["id"] for row in mine], [row["id"] for row in theirs]) == (["d1"], ["d2"])


def test_a_running_row_comes_back_only_when_its_lease_has_run_out(store: Store, clock: ManualClock) -> None:
    _fill(store, _row("d1"))
    assert _claim(store, "a") == ["d1"]
    clock.advance(timedelta(seconds=29))
    assert _claim(store, "b") == []
    clock.advance(timedelta(seconds=1))
    assert _claim(store, "b") == ["d1"]


def test_an_owner_that_lost_its_lease_cannot_finish(store: Store, clock: ManualClock) -> None:
    _fill(store, _row("d1"))
    _claim(store, "a")
    clock.advance(timedelta(seconds=31))
    _claim(store, "b")
    delivered = {"state": DeliveryState.DELIVERED, "receipt": "r"}
    assert store.run(lambda tx: finish(tx, "d1", "a", 1, **delivered)) is False
    assert store.run(lambda tx: finish(tx, "d1", "b", 1, **delivered)) is False
    assert store.run(lambda tx: finish(tx, "d1", "b", 2, **delivered)) is True
    assert store.run(lambda tx: finish(tx, "d1", "b", 2, **delivered)) is False


def test_the_same_owner_is_fenced_by_its_attempt(store: Store, clock: ManualClock) -> None:
    _fill(store, _row("d1"))
    _claim(store, "a")
    clock.advance(timedelta(seconds=31))
    _claim(store, "a")
    assert store.run(lambda tx: finish(tx, "d1", "a", 1, state=DeliveryState.DEAD)) is False


def test_a_recipient_gets_the_events_of_a_student_in_their_order(store: Store) -> None:
    _fill(
        store,
        _row("z-old", student="s1", created=1),
        _row("a-new", student="s1", created=2),
        _row("other-recipient", student="s1", recipient="school", created=3),
        _row("other-student", student="s2", created=3),
    )
    assert sorted(_claim(store)) == ["other-recipient", "other-student", "z-old"]
    assert _claim(store) == []
    store.run(lambda tx: finish(tx, "z-old", "a", 1, state=DeliveryState.DELIVERED))
    assert _claim(store) == ["a-new"]


@pytest.mark.parametrize("state", [DeliveryState.DELIVERED, DeliveryState.DEAD, DeliveryState.CANCELLED])
def test_a_closed_row_never_blocks_and_is_never_claimed(store: Store, state: DeliveryState) -> None:
    _fill(store, _row("old", student="s1", created=1), _row("new", student="s1", created=2))
    store.run(lambda tx: tx.update(t.deliveries, ("old",), state=int(state)))
    assert _claim(store) == ["new"]


def test_a_postponed_older_row_still_blocks_the_younger(store: Store, clock: ManualClock) -> None:
    later = clock.now_us() + 60_000_000
    _fill(store, _row("old", student="s1", due=later, created=1), _row("new", student="s1", created=2))
    assert _claim(store) == []
    clock.advance(timedelta(seconds=60))
    assert _claim(store) == ["old"]


def test_rows_about_no_student_do_not_wait_for_each_other(store: Store) -> None:
    _fill(store, _row("d1", created=1), _row("d2", created=2))
    assert _claim(store) == ["d1", "d2"]


def test_the_lane_named_first_goes_first(store: Store) -> None:
    _fill(store, _row("slow", lane=1, due=1), _row("fast", lane=2, due=5), _row("foreign", lane=3))
    assert _claim(store, lanes=[2, 1]) == ["fast", "slow"]


def test_only_named_recipients_are_served(store: Store) -> None:
    _fill(store, _row("d1", recipient="clinic"), _row("d2", recipient="school"))
    assert _claim(store, recipients=["school"]) == ["d2"]
    assert _claim(store, recipients=[]) == []


def test_a_claim_never_exceeds_its_limit(store: Store) -> None:
    _fill(store, *(_row(f"d{n}") for n in range(9)))
    assert len(_claim(store, limit=4)) == 4


def test_an_outcome_needs_a_state(store: Store) -> None:
    with pytest.raises(ValueError, match="needs a state"):
        store.run(lambda tx: finish(tx, "d1", "a", 1, receipt="r"))
