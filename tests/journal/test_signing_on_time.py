"""When the signer signs, what it remembers beside the database, and what happens when it cannot sign for long."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.journal.conftest import KEY, PUBLIC, add, stored, tamper

from xinqiao.contract.clock import ManualClock
from xinqiao.contract.errors import Refusal
from xinqiao.journal.checkpoint import Checkpointer, JournalInconsistent, latest, routine_stopped, unsigned_since
from xinqiao.journal.entry import Entry, entry_hash
from xinqiao.journal.heads import check_clock, last_rows, newest_us
from xinqiao.journal.note import open_checkpoint
from xinqiao.store.engine import Store

Signer = Callable[[], Checkpointer]


@pytest.fixture
def signer(store: Store, tmp_path: Path) -> Signer:
    """A signer as it is after every restart: the database, the key, and its memory."""
    return lambda: Checkpointer(store, KEY, "d", memory=tmp_path / "signer.heads", every_s=59, every_rows=100)


def signed(store: Store) -> dict[str, int]:
    with store.read() as tx:
        return {writer: open_checkpoint(note, [PUBLIC]).size for writer, note in latest(tx).items()}


def test_a_row_waits_for_its_signature_a_minute_at_most(store: Store, clock: ManualClock, signer: Signer) -> None:
    own = signer()
    own.tick()
    writer = add(store, 1)[0].writer
    for second in range(60):
        own.tick()
        if second < 58:
            assert signed(store) == {}
        clock.advance(timedelta(seconds=1))
    assert signed(store) == {writer: 1}


def test_enough_rows_are_signed_at_once(store: Store, signer: Signer) -> None:
    own = signer()
    own.tick()
    writer = add(store, 99)[0].writer
    own.tick()
    assert signed(store) == {}
    while add(store, 1)[0].writer != writer:
        pass
    own.tick()
    assert signed(store)[writer] == 100
    assert {open_checkpoint(note, [PUBLIC]).size for note in own.notes} == set(signed(store).values())


def test_two_who_sign_at_once_take_turns(store: Store, signer: Signer) -> None:
    own = signer()
    for _ in range(20):
        add(store, 5)
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(own.run_once) for _ in range(4)]:
                done.result(30)
    assert sum(signed(store).values()) == 100


def test_a_broken_journal_is_not_read_again_every_second(
    store: Store, store_url: str, clock: ManualClock, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = signer()
    add(store, 150)
    tamper(store_url, "UPDATE journal SET reason = 'x' WHERE seq = 3")
    with pytest.raises(JournalInconsistent):
        own.tick()
    assert own.failure == "JOURNAL_INCONSISTENT"
    pages: list[object] = []
    page = own._page

    def spy(*about: Any) -> list[Entry]:
        pages.append(about)
        return page(*about)

    monkeypatch.setattr(own, "_page", spy)
    own.tick()
    assert pages == []
    clock.advance(timedelta(seconds=60))
    with pytest.raises(JournalInconsistent):
        own.tick()
    assert pages


def test_a_restarted_signer_reads_only_the_new_rows(
    store: Store, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = add(store, 50)[0].writer
    signer().run_once()
    while add(store, 1)[0].writer != writer:
        pass
    own = signer()
    pages: list[tuple[str, int]] = []
    page = own._page

    def spy(name: str, after: int, top: int) -> list[Entry]:
        pages.append((name, after))
        return page(name, after, top)

    monkeypatch.setattr(own, "_page", spy)
    own.run_once()
    assert [after for name, after in pages if name == writer] == [50]
    assert signed(store)[writer] == 51


@pytest.mark.parametrize("rows_too", [False, True])
def test_a_database_that_was_rolled_back_is_not_signed_by_a_restarted_signer(
    store: Store, store_url: str, signer: Signer, rows_too: bool
) -> None:
    writer = add(store, 3)[0].writer
    signer().run_once()
    while add(store, 1)[0].writer != writer:
        pass
    signer().run_once()
    tamper(store_url, "DELETE FROM checkpoints WHERE size > 3", *(["DELETE FROM journal WHERE seq > 3"] * rows_too))
    with pytest.raises(JournalInconsistent, match=r"rolled back.*signer\.heads"):
        signer().run_once()
    assert writer not in signed(store) or signed(store)[writer] == 3


def test_a_row_that_does_not_follow_from_the_remembered_head_is_not_signed(
    store: Store, store_url: str, signer: Signer
) -> None:
    writer = add(store, 3)[0].writer
    signer().run_once()
    while add(store, 1)[0].writer != writer:
        pass
    (row,) = (each for each in stored(store_url) if (each.writer, each.seq) == (writer, 4))
    forged = row._replace(prev_hash=bytes(32))
    values = [value.hex() for value in (forged.prev_hash, entry_hash(forged))]
    one, two = (f"X'{value}'" if store.dialect == "sqlite" else f"'\\x{value}'" for value in values)
    tamper(store_url, f"UPDATE journal SET prev_hash = {one}, hash = {two} WHERE seq = 4 AND writer = '{writer}'")
    with pytest.raises(JournalInconsistent, match="row 3"):
        signer().run_once()


def test_a_memory_that_cannot_be_read_stops_the_start_and_says_what_to_do(signer: Signer, tmp_path: Path) -> None:
    for content in (
        "",
        "{}x",
        '{"main": {"note": 5}}',
        '{"main": []}',
        '{"main": {"note": "", "frontier": "AA==", "last": ""}}',
    ):
        (tmp_path / "signer.heads").write_text(content)
        with pytest.raises(Refusal, match="move this file away"):
            signer()


def test_a_memory_of_another_tree_is_not_believed(store: Store, signer: Signer, tmp_path: Path) -> None:
    writer = add(store, 2)[0].writer
    signer().run_once()
    while add(store, 1)[0].writer != writer:
        pass
    path = tmp_path / "signer.heads"
    assert path.stat().st_mode & 0o077 == 0
    own = signer()
    own._memory.heads[writer].frontier._nodes[0] = bytes(32)
    with pytest.raises(JournalInconsistent, match="memory"):
        own.run_once()


def test_four_hours_without_a_signature_stop_the_routine_and_a_signature_starts_it_again(
    store: Store, clock: ManualClock, signer: Signer
) -> None:
    def stopped() -> bool:
        with store.read() as tx:
            return routine_stopped(tx)

    clock.advance(timedelta(days=2))
    assert not stopped(), "an idle journal needs no signature"
    add(store, 1)
    clock.advance(timedelta(hours=1))
    add(store, 5)
    clock.advance(timedelta(hours=3))
    assert not stopped()
    clock.advance(timedelta(microseconds=1))
    with store.read() as tx:
        assert routine_stopped(tx)
        assert unsigned_since(tx) == tx.now_us - 4 * 3_600_000_000 - 1
    signer().run_once()
    assert not stopped()


def test_the_newest_row_is_found_without_reading_the_others(store: Store, clock: ManualClock) -> None:
    with store.read() as tx:
        assert newest_us(tx) is None
        check_clock(tx, 0)
    entries: list[Entry] = []
    for _ in range(12):  # enough that every writer has some
        entries += add(store, 2)
        clock.advance(timedelta(minutes=1))
    with store.read() as tx:
        assert newest_us(tx) == max(entry.at_us for entry in entries)
        assert dict(last_rows(tx)) == {
            writer: max(entry.seq for entry in entries if entry.writer == writer)
            for writer in {entry.writer for entry in entries}
        }
