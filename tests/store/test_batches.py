"""Rows that wait and answers that are kept never show: a batch does what its commands do one by one on a plain driver."""

import sqlite3
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from sqlalchemy.dialects import sqlite as dialect
from sqlalchemy.schema import CreateTable

from xinqiao.contract.clock import ManualClock
from xinqiao.store import tables as t
from xinqiao.store import writer
from xinqiao.store.batch import Probe
from xinqiao.store.engine import Store, open_store
from xinqiao.store.queue import Job
from xinqiao.store.sql import Table, bindparam, func, select, text
from xinqiao.store.tx import Tx

Op = tuple[Any, ...]
Command = list[Op]
Outcome = tuple[str, Any]
"""("ok", what each step saw) or ("error", its class)."""

# One table with a key alone, one with a second uniqueness, one with CHECKs: each takes another road through the writer.
_TABLES = {"meta": t.meta, "pseudonyms": t.pseudonyms, "holdings": t.holdings}
_BY_VALUE = t.meta.select().where(t.meta.c.value == bindparam("value")).order_by(t.meta.c.key)
_LATE = t.holdings.select().where(t.holdings.c.deadline_us < bindparam("by")).order_by(t.holdings.c.item)


class _Stop(BaseException):
    """What is no Exception: a command must not take the writer with it."""


_OWN = {"ValueError", "_Stop"}


class PlainTx:
    """The reference: each verb is one statement of the driver, at once."""

    def __init__(self, raw: sqlite3.Connection) -> None:
        self.raw = raw

    def insert(self, table: Table, *values: object) -> None:
        marks = ", ".join("?" * len(values))
        self.raw.execute(f"INSERT INTO {table.name} VALUES ({marks})", values)

    def insert_many(self, table: Table, rows: Sequence[tuple[object, ...]]) -> None:
        for row in rows:
            self.insert(table, *row)

    def insert_if_absent(self, table: Table, *values: object) -> bool:
        marks = ", ".join("?" * len(values))
        sql = f"INSERT INTO {table.name} VALUES ({marks}) ON CONFLICT DO NOTHING"
        return self.raw.execute(sql, values).rowcount == 1

    def update(self, table: Table, key: tuple[object, ...], **values: object) -> bool:
        changes = ", ".join(f"{name} = ?" for name in values)
        sql = f"UPDATE {table.name} SET {changes} WHERE {_where(table)}"
        return self.raw.execute(sql, (*values.values(), *key)).rowcount == 1

    def delete(self, table: Table, *key: object) -> bool:
        return self.raw.execute(f"DELETE FROM {table.name} WHERE {_where(table)}", key).rowcount == 1

    def get(self, table: Table, *key: object) -> tuple[Any, ...] | None:
        found = self.raw.execute(f"SELECT * FROM {table.name} WHERE {_where(table)}", key).fetchone()
        return None if found is None else tuple(found)

    def by_value(self, value: str) -> list[tuple[Any, ...]]:
        return self.raw.execute("SELECT * FROM meta WHERE value = ? ORDER BY key", (value,)).fetchall()

    def late(self, by: int) -> list[tuple[Any, ...]]:
        return self.raw.execute("SELECT * FROM holdings WHERE deadline_us < ? ORDER BY item", (by,)).fetchall()

    def count(self, table: Table) -> int:
        return int(self.raw.execute(f"SELECT count(*) FROM {table.name}").fetchone()[0])

    @contextmanager
    def savepoint(self) -> Generator[None, None, None]:
        self.raw.execute("SAVEPOINT attempt")
        try:
            yield
        except BaseException:
            self.raw.execute("ROLLBACK TO attempt")
            self.raw.execute("RELEASE attempt")
            raise
        self.raw.execute("RELEASE attempt")


class BatchedTx:
    """The same verbs over the store's own ``Tx``, rows as plain tuples."""

    def __init__(self, tx: Tx) -> None:
        self.tx = tx
        self.insert, self.insert_many, self.insert_if_absent = tx.insert, tx.insert_many, tx.insert_if_absent
        self.update, self.delete, self.savepoint = tx.update, tx.delete, tx.savepoint

    def get(self, table: Table, *key: object) -> tuple[Any, ...] | None:
        found = self.tx.get(table, *key)
        return None if found is None else tuple(found.values())

    def by_value(self, value: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.tx.find(_BY_VALUE, value=value)]

    def late(self, by: int) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self.tx.pick(_LATE, by=by)]

    def count(self, table: Table) -> int:
        return int(self.tx.scalar(select(func.count()).select_from(table)))


def _where(table: Table) -> str:
    return " AND ".join(f"{column.name} = ?" for column in table.primary_key.columns)


def _play(tx: Any, command: Sequence[Op]) -> list[Any]:
    """Take the steps of a command; what each saw."""
    return [_step(tx, *op) for op in command]


def _step(tx: Any, verb: str, *rest: Any) -> Any:
    if verb == "fail":
        raise rest[0]
    if verb == "attempt":
        try:
            with tx.savepoint():
                return _play(tx, rest[0])
        except Exception as error:
            return _name(error)
    if verb == "shrug":  # a command that takes an error of the database for an answer
        try:
            return _step(tx, *rest[0])
        except Exception as error:
            return _name(error)
    if verb in ("by_value", "late"):
        return getattr(tx, verb)(*rest)
    table = _TABLES[rest[0]]
    if verb == "update":
        return tx.update(table, rest[1], **rest[2])
    if verb in ("insert_many", "count"):
        return getattr(tx, verb)(table, *rest[1:])
    return getattr(tx, verb)(table, *rest[1])


def _name(error: BaseException) -> str:
    return type(getattr(error, "orig", None) or error).__name__


_few = st.sampled_from("abc")
_bad = st.sampled_from([None, "\ud800", 2**70])
_word = st.one_of(_few, _few, _few, _few, _few, _bad)
_number = st.one_of(st.integers(1, 3), st.integers(1, 3), st.sampled_from([0, 2**70, None]))


def _rows(name: str, *, sound: bool = False) -> st.SearchStrategy[tuple[Any, ...]]:
    """Rows for a table; unless ``sound`` some that a constraint forbids or that SQLite cannot hold."""
    word: st.SearchStrategy[Any] = _few if sound else _word
    if name == "meta":
        return st.tuples(_few, word)
    if name == "pseudonyms":
        return st.tuples(st.just("p"), _few, word)
    holder = _few if sound else st.one_of(_few, _few, _few, st.just(""))
    number: st.SearchStrategy[Any] = st.integers(1, 3) if sound else _number
    return st.tuples(
        _few, st.just("k"), st.none(), _few, holder, number, _few, st.just(1), st.just(1), st.integers(0, 2)
    )


def _key(name: str) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.tuples(st.just("p"), _few) if name == "pseudonyms" else st.tuples(_few)


def _change(name: str) -> st.SearchStrategy[dict[str, Any]]:
    if name == "meta":
        return st.fixed_dictionaries({"value": _word})
    if name == "pseudonyms":
        return st.fixed_dictionaries({"student": _word})
    return st.fixed_dictionaries({"deadline_us": _number})


def _on(name: str) -> st.SearchStrategy[Op]:
    here, row, key = st.just(name), _rows(name), _key(name)
    # Whether a key that is there or a CHECK that fails is seen first is nobody's business: so these rows are sound.
    sound = _rows(name, sound=True)
    return st.one_of(
        st.tuples(st.just("insert"), here, row),
        st.tuples(st.just("insert"), here, row),
        st.tuples(st.just("insert_if_absent"), here, sound),
        st.tuples(st.just("insert_many"), here, st.lists(row, max_size=1)),
        st.tuples(st.just("update"), here, key, _change(name)),
        st.tuples(st.just("delete"), here, key),
        st.tuples(st.just("get"), here, key),
        st.tuples(st.just("count"), here),
    )


_verb: st.SearchStrategy[Op] = st.one_of(
    _on("meta"), _on("pseudonyms"), _on("holdings"),
    st.tuples(st.just("by_value"), _few), st.tuples(st.just("late"), st.integers(1, 4)),
    st.tuples(st.just("fail"), st.sampled_from([ValueError("no"), _Stop()])),
)  # fmt: skip
_op: st.SearchStrategy[Op] = st.recursive(
    st.one_of(_verb, _verb, st.tuples(st.just("shrug"), _verb)),
    lambda inner: st.tuples(st.just("attempt"), st.lists(inner, max_size=4)),
    max_leaves=6,
)
_command = st.lists(_op, min_size=1, max_size=6)
_probe = st.one_of(
    st.none(), *(st.tuples(st.just(_TABLES[name]), _key(name)) for name in ("meta", "pseudonyms", "holdings"))
)
_batches = st.lists(st.lists(st.tuples(_command, _probe), min_size=1, max_size=12), min_size=1, max_size=3)


@contextmanager
def _plain() -> Generator[sqlite3.Connection, None, None]:
    raw = sqlite3.connect(":memory:", isolation_level=None)
    for table in _TABLES.values():
        raw.execute(str(CreateTable(table).compile(dialect=dialect.dialect())))
    yield raw
    raw.close()


def _one_by_one(raw: sqlite3.Connection, command: Command) -> Outcome:
    raw.execute("BEGIN")
    try:
        seen = _play(PlainTx(raw), command)
    except BaseException as error:
        raw.execute("ROLLBACK")
        return "error", _name(error)
    raw.execute("COMMIT")
    return "ok", seen


def _together(store: Store, commands: Sequence[tuple[Command, Probe | None]]) -> list[Outcome]:
    """Run commands that wait together, so that they share batches."""
    outcomes: list[Outcome | None] = [None] * len(commands)
    left, gate, finished = [len(commands)], threading.Event(), threading.Event()

    def job(place: int) -> Job:
        def done(result: Any, error: BaseException | None) -> None:
            outcomes[place] = ("ok", result) if error is None else ("error", _name(error))
            left[0] -= 1
            if not left[0]:
                finished.set()

        command, probe = commands[place]
        return Job(lambda tx: _play(BatchedTx(tx), command), done, False, probe)

    store.write(lambda _tx: gate.wait(10))
    store.submit_all([job(place) for place in range(len(commands))])
    gate.set()
    assert finished.wait(30)
    return [outcome for outcome in outcomes if outcome is not None]


def _content(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    with store.read() as tx:
        return {
            name: [tuple(row.values()) for row in tx.all(table.select().order_by(*table.primary_key.columns))]
            for name, table in _TABLES.items()
        }


def _plain_content(raw: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    return {
        name: raw.execute(
            f"SELECT * FROM {name} ORDER BY {', '.join(c.name for c in table.primary_key.columns)}"
        ).fetchall()
        for name, table in _TABLES.items()
    }


def _empty(tx: Tx) -> None:
    for table in _TABLES.values():
        tx.execute(table.delete())


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=_batches, at_once=st.sampled_from([2, 3, 64]))
def test_a_batch_answers_and_stores_what_its_commands_do_one_by_one(
    shared: Store, batches: list[list[tuple[Command, Probe | None]]], at_once: int
) -> None:
    shared.run(_empty)
    with pytest.MonkeyPatch.context() as patch, _plain() as raw:
        patch.setattr(writer, "_AT_ONCE", at_once)
        for commands in batches:
            expected = [_one_by_one(raw, command) for command, _ in commands]
            for got, wanted in zip(_together(shared, commands), expected, strict=True):
                # Of several reasons to fail another may be the first: a waiting row is refused later than inserted.
                assert got == wanted or (got[0] == wanted[0] == "error" and (got[1] in _OWN or wanted[1] not in _OWN))
            assert _content(shared) == _plain_content(raw)


@pytest.fixture
def shared(sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock) -> Generator[Store, None, None]:
    store = open_store(*sqlite_urls, keyring_dir, clock)
    yield store
    store.close()


def test_what_sqlite_cannot_hold_is_the_error_of_its_own_command_and_nobody_elses(shared: Store) -> None:
    outcomes = _together(
        shared,
        [
            ([("insert", "meta", ("first", "v"))], None),
            ([("insert", "meta", ("unsound", "\ud800"))], None),
            ([("count", "meta")], None),
        ],
    )
    assert outcomes == [("ok", [None]), ("error", "UnicodeEncodeError"), ("ok", [1])]
    assert _content(shared)["meta"] == [("first", "v")]


def test_a_key_that_waited_when_it_was_looked_up_is_found_once_it_is_in_the_database(
    shared: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_AT_ONCE", 2)
    wait: Op = ("get", "meta", ("nobody",))
    outcomes = _together(
        shared,
        [
            ([("insert", "meta", ("k", "v"))], None),
            ([wait], None),
            ([("count", "meta")], (t.meta, ("k",))),  # looks the key up beside another, then all waiting rows go in
            ([("get", "meta", ("k",))], (t.meta, ("other",))),
        ],
    )
    assert outcomes[3] == ("ok", [("k", "v")])


def test_a_kept_answer_ends_with_a_row_that_waits_and_with_the_failure_of_its_command(shared: Store) -> None:
    look: Op = ("by_value", "v")
    outcomes = _together(
        shared,
        [
            ([look], None),
            ([("insert", "meta", ("k", "v"))], None),
            ([look], None),
            ([("insert", "meta", ("lost", "v")), look, ("fail", ValueError("no"))], None),
            ([look], None),
        ],
    )
    here = ("ok", [[("k", "v")]])
    assert outcomes == [("ok", [[]]), ("ok", [None]), here, ("error", "ValueError"), here]


def test_on_a_full_disk_nobody_is_told_of_a_row_that_is_not_there(shared: Store) -> None:
    def fill(tx: Tx, name: str, size: int) -> None:
        tx.insert(t.meta, name, "x" * size)
        if size % 2:
            tx.get(t.students, name)  # asks the database: what waits goes in here or at the end
            tx.update(t.meta, (name,), value="y" * size)

    def swallow(tx: Tx, name: str) -> None:
        try:
            tx.insert_many(t.meta, [(f"{name}.{each}", "z" * 5000) for each in range(200)])
        except Exception:
            tx.insert(t.meta, name, "after the error")

    def limit(tx: Tx, pages: int) -> None:
        tx.scalar(text(f"PRAGMA max_page_count = {pages}"))

    pages = shared.run(lambda tx: int(tx.scalar(text("PRAGMA page_count")))) + 60
    shared.run(lambda tx: limit(tx, pages))
    # After an error the writer takes a new connection: the disk is no larger for that.
    engine: Any = vars(shared)["_writing"]

    @event.listens_for(engine, "connect")
    def small(raw: Any, _record: object) -> None:  # pyright: ignore[reportUnusedFunction]
        raw.execute(f"PRAGMA max_page_count = {pages}")

    futures: dict[str, Future[None]] = {}
    for number in range(120):
        name = f"row{number}"
        size = 3000 + number % 3
        job = partial(swallow, name=name) if number % 40 == 39 else partial(fill, name=name, size=size)
        futures[name] = shared.write(job)
        if number % 7 == 0:
            wait([futures[name]])
    wait(futures.values())
    told = {name for name, future in futures.items() if future.exception() is None}
    stored = {row[0] for row in _content(shared)["meta"]}
    assert told < set(futures), "the disk was never full"
    assert told
    assert told <= stored
    assert stored - told == set(), "what failed left something behind"
    shared.run(lambda tx: limit(tx, 10 * pages))
    shared.run(lambda tx: fill(tx, "later", 3001))
    with shared.read() as tx:
        assert tx.get(t.meta, "later") is not None
        assert tx.scalar(text("PRAGMA integrity_check")) == "ok"
