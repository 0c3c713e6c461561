"""The writer: answers after the commit, harms no neighbour, crisis first."""

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from xinqiao.contract.clock import ManualClock
from xinqiao.contract.errors import Refusal
from xinqiao.store import tables as t
from xinqiao.store import writer
from xinqiao.store.engine import Store, open_store
from xinqiao.store.errors import CommitFailed, StoreBusy, StoreClosed
from xinqiao.store.queue import Job
from xinqiao.store.sql import IntegrityError, func, select, text, update
from xinqiao.store.tx import Tx
from xinqiao.store.writer import SqliteWriter


def _put(key: str) -> Callable[[Tx], None]:
    def command(tx: Tx) -> None:
        tx.insert(t.meta, key, "v")

    return command


def _put_many(rows: list[tuple[object, ...]], tx: Tx) -> None:
    tx.insert_many(t.meta, rows)


def _note(order: list[str], word: str, _tx: Tx) -> None:
    order.append(word)


def _keys(store: Store) -> list[str]:
    with store.read() as tx:
        return [row["key"] for row in tx.all(t.meta.select().order_by(t.meta.c.key))]


def _blocker(store: Store) -> threading.Event:
    """Occupy every writer until the returned event is set."""
    gate, running = threading.Event(), threading.Semaphore(0)

    def wait(_tx: Tx) -> None:
        running.release()
        gate.wait(10)

    for _ in store.writer_ids:
        store.write(wait)
    for _ in store.writer_ids:
        running.acquire(timeout=10)
    return gate


def test_an_answer_comes_only_after_another_connection_can_see_the_row(store: Store) -> None:
    seen: list[bool] = []
    done = threading.Event()

    def answer(_result: object, error: BaseException | None) -> None:
        seen.append(error is None and "a" in _keys(store))
        done.set()

    store.submit(_put("a"), answer)
    assert done.wait(10)
    assert seen == [True]


def test_no_command_of_a_batch_is_answered_before_the_batch_is_committed(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock
) -> None:
    store = open_store(*sqlite_urls, keyring_dir, clock)
    gate = _blocker(store)
    first: Future[None] = store.write(_put("first"))
    inside: list[bool] = []

    def second(tx: Tx) -> None:
        tx.insert(t.meta, "second", "v")
        inside.append(first.done())

    gate.set()
    store.write(second).result(10)
    assert inside == [False]
    assert first.done()
    store.close()


def test_a_failing_command_harms_no_neighbour(store: Store) -> None:
    gate = _blocker(store)

    def fail(tx: Tx) -> None:
        tx.insert(t.meta, "half", "v")
        raise Refusal("ABORTED", "TEST", "on purpose")

    before, broken, after = store.write(_put("a")), store.write(fail), store.write(_put("b"))
    gate.set()
    before.result(10)
    after.result(10)
    with pytest.raises(Refusal, match="on purpose"):
        broken.result(10)
    assert _keys(store) == ["a", "b"]


def test_a_constraint_violation_harms_no_neighbour(store: Store) -> None:
    gate = _blocker(store)
    first, twice, other = store.write(_put("a")), store.write(_put("b")), store.write(_put("c"))
    gate.set()
    for future in (first, twice, other):
        future.result(10)
    with pytest.raises(IntegrityError):
        store.run(_put("a"))
    assert _keys(store) == ["a", "b", "c"]


def test_crisis_overtakes_routine(store: Store) -> None:
    order: list[str] = []
    gate = _blocker(store)
    futures = [store.write(partial(_note, order, f"routine {n}")) for n in range(20)]
    futures.append(store.write(lambda _tx: order.append("crisis"), crisis=True))
    gate.set()
    for future in futures:
        future.result(10)
    # Several PostgreSQL writers start at the same moment, so the place may vary by their number.
    assert order.index("crisis") < len(store.writer_ids)


def test_a_crisis_command_overtakes_routine_ones_that_were_taken_with_others_already(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock
) -> None:
    store = open_store(*sqlite_urls, keyring_dir, clock)
    order: list[str] = []

    def first(_tx: Tx) -> None:
        order.append("first")
        crisis.append(store.write(lambda _tx: order.append("crisis"), crisis=True))

    crisis: list[Future[None]] = []
    gate = _blocker(store)
    routine = [store.write(first), *(store.write(partial(_note, order, f"routine {n}")) for n in range(5))]
    gate.set()
    for future in routine:
        future.result(10)
    assert order == ["first", "crisis", *(f"routine {n}" for n in range(5))]
    assert crisis[0].done()
    store.close()


def test_crisis_commands_taken_with_a_routine_one_are_not_put_behind_one_that_comes_later(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(*sqlite_urls, keyring_dir, clock)
    order: list[str] = []
    waiting: list[Future[None]] = []
    taken = store._queue.take_waiting

    def first(_tx: Tx) -> None:
        order.append("routine")
        waiting.append(store.write(partial(_note, order, "crisis 4"), crisis=True))

    def take_waiting(limit: int, *, crisis_only: bool) -> list[Job]:
        jobs = taken(limit, crisis_only=crisis_only)
        if jobs and jobs[0].command is first:  # they come between the first take and the second
            waiting.extend(store.write(partial(_note, order, f"crisis {n}"), crisis=True) for n in (1, 2, 3))
        return jobs

    monkeypatch.setattr(store._queue, "take_waiting", take_waiting)
    store.write(first).result(10)
    for future in waiting:
        future.result(10)
    assert order == ["routine", "crisis 1", "crisis 2", "crisis 3", "crisis 4"]
    store.close()


def test_after_refused_rows_a_crisis_command_does_not_wait_for_every_routine_one_to_run_alone(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock
) -> None:
    store = open_store(*sqlite_urls, keyring_dir, clock)
    store.run(_put("taken"))
    tries: list[int] = []
    red: list[Future[None]] = []
    done_before: list[int] = []

    def first(tx: Tx) -> None:
        tries.append(1)
        tx.insert(t.meta, "first", "v")
        if len(tries) == 2:  # alone now
            red.append(store.write(lambda _tx: done_before.append(sum(each.done() for each in routine)), crisis=True))

    gate = _blocker(store)
    routine = [store.write(first), *(store.write(_put(f"r{n}")) for n in range(50)), store.write(_put("taken"))]
    gate.set()
    for future in routine[:-1]:
        future.result(10)
    with pytest.raises(IntegrityError):
        routine[-1].result(10)
    red[0].result(10)
    assert done_before[0] <= 1
    assert len(_keys(store)) == 52
    store.close()


def test_routine_commands_do_not_delay_the_commit_of_a_crisis_command(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock
) -> None:
    store = open_store(*sqlite_urls, keyring_dir, clock)
    gate = _blocker(store)
    crisis = store.write(_put("crisis"), crisis=True)
    answered: list[bool] = []
    routine = store.write(lambda _tx: answered.append(crisis.done()))
    gate.set()
    routine.result(10)
    assert answered == [True]
    store.close()


def _red_case(store: Store, passes: Callable[[], None]) -> list[str]:
    """In which order the two commands of a red case run, the second sent on the answer to the first, and a routine one.

    ``passes`` is called while the first runs.
    """
    order: list[str] = []

    def signal(_tx: Tx) -> None:
        order.append("signal")
        passes()

    store.run(lambda _tx: None)
    gate = _blocker(store)
    reported, routine = store.write(signal, crisis=True), store.write(partial(_note, order, "routine"))
    gate.set()
    reported.result(10)
    time.sleep(0.05)  # a caller who is not quick
    store.run(partial(_note, order, "referral"), crisis=True)
    routine.result(10)
    return order


def test_routine_waits_a_moment_for_the_next_command_of_a_red_case(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_RED_FOLLOWS_S", 2.0)
    store = open_store(*sqlite_urls, keyring_dir, clock)
    assert _red_case(store, lambda: None) == ["signal", "referral", "routine"]
    # But not for ever: a storm of red cases must not stop the rest.
    assert _red_case(store, lambda: clock.advance(timedelta(seconds=1))) == ["signal", "routine", "referral"]
    store.close()


def test_a_rolled_back_command_forgets_what_it_remembered(store: Store) -> None:
    def fail(tx: Tx) -> None:
        tx.remember("head", 2)
        tx.remember("new", 1)
        tx.remember("head", 3)
        raise Refusal("ABORTED", "TEST", "on purpose")

    def look(tx: Tx) -> tuple[str, object, object]:
        return tx.writer, tx.recall("head"), tx.recall("new")

    for _ in range(12):  # enough to meet every writer more than once
        store.run(lambda tx: tx.remember("head", 1))
    for _ in range(12):
        with pytest.raises(Refusal):
            store.run(fail)
    seen = {store.run(look) for _ in range(12)}
    assert {(head, new) for _, head, new in seen} <= {(1, None), (None, None)}
    assert any(head == 1 for _, head, _ in seen)


def test_a_savepoint_undoes_rows_memory_and_callbacks_of_the_attempt_only(store: Store) -> None:
    called: list[str] = []

    def command(tx: Tx) -> object:
        tx.insert(t.meta, "kept", "v")
        tx.remember("head", 1)
        tx.after_commit(lambda: called.append("kept"))
        with pytest.raises(IntegrityError), tx.savepoint():
            tx.remember("head", 2)
            tx.after_commit(lambda: called.append("lost"))
            tx.insert(t.meta, "lost", "v")
            tx.insert(t.meta, "kept", "again")
        return tx.recall("head")

    assert store.run(command) == 1
    assert _keys(store) == ["kept"]
    assert called == ["kept"]


def test_after_commit_is_not_called_for_a_failed_command(store: Store) -> None:
    called: list[str] = []

    def fail(tx: Tx) -> None:
        tx.after_commit(lambda: called.append("x"))
        raise Refusal("ABORTED", "TEST", "on purpose")

    with pytest.raises(Refusal):
        store.run(fail)
    store.run(lambda tx: tx.after_commit(lambda: called.append("y")))
    assert called == ["y"]


def test_a_failed_commit_fails_everyone_in_the_batch_and_forgets_the_heads(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock
) -> None:
    store = open_store(*sqlite_urls, keyring_dir, clock)

    def parents(tx: Tx) -> None:
        tx.execute(text("CREATE TABLE p (id TEXT PRIMARY KEY)"))
        tx.execute(text("CREATE TABLE c (p TEXT REFERENCES p DEFERRABLE INITIALLY DEFERRED)"))
        tx.remember("head", 1)

    def orphan(tx: Tx) -> None:
        tx.execute(text("INSERT INTO c VALUES ('nobody')"))
        tx.remember("head", 2)

    store.run(parents)
    gate = _blocker(store)
    futures = [store.write(_put("a")), store.write(orphan), store.write(_put("b"))]
    gate.set()
    for future in futures:
        with pytest.raises(CommitFailed):
            future.result(10)
    assert _keys(store) == []
    assert store.run(lambda tx: tx.recall("head")) is None
    store.run(_put("later"))
    assert _keys(store) == ["later"]
    store.close()


def test_a_swallowed_database_error_is_never_acknowledged_on_postgresql(
    postgres_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock
) -> None:
    store = open_store(*postgres_urls, keyring_dir, clock)
    store.run(_put("a"))

    def swallow(tx: Tx) -> str:
        tx.insert(t.meta, "b", "v")
        with pytest.raises(IntegrityError):
            tx.insert(t.meta, "a", "again")
        return "fine"

    with pytest.raises(RuntimeError, match="swallowed"):
        store.run(swallow)
    assert _keys(store) == ["a"]
    store.close()


def test_concurrent_read_then_write_loses_no_update(store: Store) -> None:
    store.run(lambda tx: tx.insert(t.meta, "n", "0"))

    def add(tx: Tx) -> None:
        row = tx.get(t.meta, "n")
        assert row is not None
        tx.update(t.meta, ("n",), value=str(int(row["value"]) + 1))

    done, refused = 0, 0
    for future in [store.write(add) for _ in range(60)]:
        try:
            future.result(30)
            done += 1
        except Refusal as error:
            assert error.reason == "STORE_CONTENDED"
            refused += 1
    with store.read() as tx:
        row = tx.get(t.meta, "n")
    assert row is not None
    assert int(row["value"]) == done
    assert done > refused


def test_hooks_run_after_the_answers_of_a_batch(store: Store) -> None:
    events: list[str] = []
    hooked = threading.Event()

    def hook() -> None:
        events.append("hook")
        hooked.set()

    store.batch_hooks.append(hook)
    store.submit(_put("a"), lambda _result, _error: events.append("answer"))
    assert hooked.wait(10)
    assert events == ["answer", "hook"]


def test_a_raising_answer_or_hook_does_not_stop_the_writer(store: Store) -> None:
    def bad(*_arguments: object) -> None:
        raise ValueError("on purpose")

    store.batch_hooks.append(bad)
    store.submit(_put("a"), bad)
    for key in "bcdef":
        store.run(_put(key))
    assert _keys(store) == list("abcdef")


def test_a_second_opener_is_refused_until_the_first_closes(
    store_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock
) -> None:
    first = open_store(*store_urls, keyring_dir, clock)
    with pytest.raises(StoreBusy, match="already running"):
        open_store(*store_urls, keyring_dir, clock)
    first.close()
    open_store(*store_urls, keyring_dir, clock).close()


def test_two_nodes_share_a_postgresql_database(
    postgres_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock
) -> None:
    first = open_store(*postgres_urls, keyring_dir, clock, node="a", writers=2)
    second = open_store(*postgres_urls, keyring_dir, clock, node="b", writers=2)
    first.run(_put("a"))
    second.run(_put("b"))
    assert first.writer_ids == ("a-0", "a-1")
    assert _keys(first) == ["a", "b"]
    first.close()
    second.close()


def test_closing_finishes_what_waits_and_then_takes_no_more(
    store_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock
) -> None:
    store = open_store(*store_urls, keyring_dir, clock)
    futures = [store.write(_put(f"{n:02}")) for n in range(30)]
    store.close()
    assert all(future.done() and future.exception() is None for future in futures)
    with pytest.raises(StoreClosed):
        store.write(_put("late"))


def test_a_command_cannot_wait_for_another_command(store: Store) -> None:
    with pytest.raises(RuntimeError, match="same Tx"):
        store.run(lambda _tx: store.run(_put("a")))


def test_a_reader_cannot_write(store: Store) -> None:
    with pytest.raises(Exception, match=r"(?i)read-?only"), store.read() as tx:
        tx.scalar(text("INSERT INTO meta VALUES ('a', 'b') RETURNING 1"))
    assert _keys(store) == []


def test_a_reader_keeps_its_snapshot_while_others_commit(store: Store) -> None:
    count = select(func.count()).select_from(t.meta)
    with store.read() as tx:
        assert tx.scalar(count) == 0
        store.run(_put("a"))
        assert tx.scalar(count) == 0
    with store.read() as tx:
        assert tx.scalar(count) == 1


def test_a_batch_is_flushed_to_disk_before_its_answers(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock
) -> None:
    store = open_store(*sqlite_urls, keyring_dir, clock)
    names = ("synchronous", "journal_mode", "foreign_keys", "secure_delete", "recursive_triggers")
    found = store.run(lambda tx: [tx.scalar(text(f"PRAGMA {name}")) for name in names])
    assert found == [2, "wal", 1, 1, 1]
    store.close()


def test_the_log_stays_bounded_because_the_writer_checkpoints(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock, tmp_path: Path
) -> None:
    store = open_store(*sqlite_urls, keyring_dir, clock)
    for batch in range(100):
        rows: list[tuple[object, ...]] = [(f"{batch}-{n}", "v" * 100) for n in range(1000)]
        store.run(partial(_put_many, rows))
    assert os.path.getsize(tmp_path / "records.db-wal") < 16_000_000
    store.close()
    assert not os.path.exists(tmp_path / "records.db-wal")


def test_the_single_sqlite_writer_is_named_after_its_node(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock
) -> None:
    store = open_store(*sqlite_urls, keyring_dir, clock, node="n1", writers=7)
    assert store.writer_ids == ("n1",)
    assert isinstance(store._writers[0], SqliteWriter)  # pyright: ignore[reportPrivateUsage]
    store.close()


def test_tx_verbs_agree_on_both_databases(store: Store) -> None:
    def command(tx: Tx) -> None:
        tx.insert(t.local_ids, "p", b"\x00\x01", "s1")
        tx.insert_many(t.meta, [("a", "1"), ("b", "2")])
        tx.insert_many(t.meta, [])
        assert tx.insert_if_absent(t.meta, "a", "9") is False
        assert tx.insert_if_absent(t.meta, "c", "3") is True
        assert tx.update(t.meta, ("a",), value="4") is True
        assert tx.update(t.meta, ("nobody",), value="4") is False
        assert tx.delete(t.meta, "b") is True
        assert tx.delete(t.meta, "b") is False
        assert tx.execute(update(t.meta).values(value="5")) == 2
        assert dict(tx.get(t.local_ids, "p", b"\x00\x01") or {}) == {
            "partner": "p",
            "blind": b"\x00\x01",
            "student": "s1",
        }
        assert tx.get(t.meta, "b") is None
        with pytest.raises(ValueError, match="no columns"):
            tx.update(t.meta, ("a",), nothing=1)

    store.run(command)
    assert _keys(store) == ["a", "c"]


def test_the_time_stands_still_inside_a_command(store: Store, clock: ManualClock) -> None:
    def command(tx: Tx) -> bool:
        before = tx.now_us
        clock._us += 1_000_000  # pyright: ignore[reportPrivateUsage]
        return tx.now_us == before

    assert store.run(command)
    assert store.run(lambda tx: tx.now_us) == clock.now_us()
