"""What the database itself guarantees, whatever the rooms do."""

import pytest

from xinqiao.store import tables as t
from xinqiao.store.engine import Store
from xinqiao.store.sql import IntegrityError, delete, text, update

_ROW = ("w", 1, 5, "read", "allowed", "a", "p", 1, 1, None, "r", "why", "b", "v1", b"c", b"p", b"h")


@pytest.mark.parametrize("statement", [update(t.journal).values(reason="other"), delete(t.journal)])
def test_a_journal_row_can_be_neither_changed_nor_deleted(store: Store, statement: object) -> None:
    store.run(lambda tx: tx.insert(t.journal, *_ROW))
    with pytest.raises(Exception, match="append-only"):
        store.run(lambda tx: tx.execute(statement))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with store.read() as tx:
        row = tx.get(t.journal, "w", 1)
    assert row is not None
    assert row["reason"] == "why"


def test_a_journal_row_cannot_be_replaced_on_sqlite_or_truncated_on_postgresql(store: Store) -> None:
    store.run(lambda tx: tx.insert(t.journal, *_ROW))
    columns = ", ".join(f'"{name}"' for name in t.journal.columns.keys() if name != "reason")  # noqa: SIM118
    trick = (
        f"REPLACE INTO journal ({columns}, reason) SELECT {columns}, 'other' FROM journal"
        if store.dialect == "sqlite"
        else "TRUNCATE journal"
    )
    with pytest.raises(Exception, match="append-only"):
        store.run(lambda tx: tx.execute(text(trick)))
    with store.read() as tx:
        row = tx.get(t.journal, "w", 1)
    assert row is not None
    assert row["reason"] == "why"


@pytest.mark.parametrize("statement", [update(t.checkpoints).values(note="other"), delete(t.checkpoints)])
def test_a_checkpoint_can_be_neither_changed_nor_deleted(store: Store, statement: object) -> None:
    store.run(lambda tx: tx.insert(t.checkpoints, "w", 1, 5, "note"))
    with pytest.raises(Exception, match="append-only"):
        store.run(lambda tx: tx.execute(statement))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with store.read() as tx:
        row = tx.get(t.checkpoints, "w", 1)
    assert row is not None
    assert row["note"] == "note"


@pytest.mark.parametrize(("holder", "deadline_us"), [(None, 5), ("", 5), ("nurse", None), ("nurse", 0)])
def test_an_open_item_without_holder_or_deadline_is_refused(
    store: Store, holder: str | None, deadline_us: int | None
) -> None:
    with pytest.raises(IntegrityError):
        store.run(lambda tx: tx.insert(t.holdings, "i", "triage", None, "sch", holder, deadline_us, "s", 1, 5, 0))


def test_an_open_item_has_one_holder(store: Store) -> None:
    store.run(lambda tx: tx.insert(t.holdings, "i", "triage", None, "sch", "nurse", 9, "s", 1, 5, 0))
    with pytest.raises(IntegrityError):
        store.run(lambda tx: tx.insert(t.holdings, "i", "triage", None, "sch", "clinic", 9, "s", 1, 5, 0))


def test_one_student_has_one_pseudonym_per_partner(store: Store) -> None:
    store.run(lambda tx: tx.insert(t.pseudonyms, "p", "x", "s1"))
    with pytest.raises(IntegrityError):
        store.run(lambda tx: tx.insert(t.pseudonyms, "p", "y", "s1"))
