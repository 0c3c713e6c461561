"""Any tampering, at random: always found, with the first bad row; and what is not tampered with is never accused."""

import json
import random
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.journal.conftest import KEY, add, stored, tamper
from tests.journal.test_verify import OTHER, chained, journal, sign

from xinqiao.api.exchange.v1.exchange_pb2 import Receipt
from xinqiao.journal import witness
from xinqiao.journal.append import append
from xinqiao.journal.chain import WORDS
from xinqiao.journal.checkpoint import Checkpointer
from xinqiao.journal.entry import Entry, entry_hash
from xinqiao.journal.verify import Report, StoredCheckpoint, verify, verify_database
from xinqiao.store.engine import Store
from xinqiao.store.errors import KeyGone
from xinqiao.store.readonly import open_journal

SIZE = 60
ROWS = journal(SIZE)
MARKS = [sign(ROWS, size) for size in (7, 20, 41, SIZE)]
Act = Callable[[list[Entry], random.Random], int]


def check(rows: list[Entry], marks: list[StoredCheckpoint] = MARKS, receipts: list[str] | None = None) -> Report:
    return verify(rows, marks, [KEY.public_key()], receipts=receipts or [])


def edit(rows: list[Entry], dice: random.Random) -> int:
    """Any column of any row."""
    place, column = dice.randrange(len(rows)), dice.choice([name for name in OTHER if name != "writer"])
    rows[place] = rows[place]._replace(**{column: OTHER[column]})
    return place + 1


def flip(rows: list[Entry], dice: random.Random) -> int:
    """One bit of one byte column."""
    place, column = dice.randrange(len(rows)), dice.choice(["commitment", "prev_hash", "hash"])
    data = bytearray(getattr(rows[place], column))
    data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    rows[place] = rows[place]._replace(**{column: bytes(data)})
    return place + 1


def edit_with_hash(rows: list[Entry], dice: random.Random) -> int:
    place = edit(rows, dice) - 1
    rows[place] = rows[place]._replace(hash=entry_hash(rows[place]))
    return place + 1


def delete(rows: list[Entry], dice: random.Random) -> int:
    place = dice.randrange(len(rows))
    del rows[place]
    return place + 1


def delete_range(rows: list[Entry], dice: random.Random) -> int:
    place = dice.randrange(len(rows))
    del rows[place : place + dice.randint(1, 5)]
    return place + 1


def swap(rows: list[Entry], dice: random.Random) -> int:
    """The contents of two rows, each under the other's number."""
    one, other = sorted(dice.sample(range(len(rows)), 2))
    rows[one], rows[other] = rows[other]._replace(seq=one + 1), rows[one]._replace(seq=other + 1)
    return one + 1


def duplicate(rows: list[Entry], dice: random.Random) -> int:
    place = dice.randrange(len(rows))
    rows.insert(place + 1, rows[place])
    return place + 1


def truncate(rows: list[Entry], dice: random.Random) -> int:
    place = dice.randrange(len(rows))
    del rows[place:]
    return place + 1


def recompute(rows: list[Entry], dice: random.Random) -> int:
    """What somebody does who can compute but has no signing key: edit, and put every later hash right."""
    place = edit(rows, dice) - 1
    rows[:] = chained(rows)
    return place + 1


def recompute_without(rows: list[Entry], dice: random.Random) -> int:
    place = delete(rows, dice) - 1
    rows[:] = chained(rows)
    return place + 1


ACTS: list[Act] = [
    edit, flip, edit_with_hash, delete, delete_range, swap, duplicate, truncate, recompute, recompute_without,
]  # fmt: skip


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_one_act_of_tampering_is_found_no_later_than_at_its_row(act: Act, seed: int) -> None:
    rows, dice = list(ROWS), random.Random(seed)
    first = act(rows, dice)
    if rows == ROWS:  # the draw left everything as it was, such as a value edited to itself
        return
    report = check(rows)
    assert report.code in (2, 3)
    assert report.first_bad is not None
    signed_before = max((mark.size for mark in MARKS if mark.size < first), default=0)
    # Where the last rows were chained anew and are fewer than were signed, no signature says where it began.
    latest = max(first, len(rows) + 1) if act is recompute_without else first
    assert signed_before < report.first_bad.seq <= latest


def test_a_row_that_a_signature_covers_is_not_blamed_for_the_next_one() -> None:
    rows = list(ROWS)
    rows[41] = rows[41]._replace(prev_hash=bytes(32))
    rows[41] = rows[41]._replace(hash=entry_hash(rows[41]))
    found = check(rows).first_bad
    assert found is not None and (found.seq, found.reason) == (42, "LINK")


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(2, 6))
def test_several_acts_at_once_are_found_and_never_crash(seed: int, count: int) -> None:
    rows, dice = list(ROWS), random.Random(seed)
    for _ in range(count):
        if len(rows) > 2:
            dice.choice(ACTS)(rows, dice)
    report = check(rows)
    assert (report.code == 0) == (rows == ROWS)
    assert {finding.reason for finding in report.findings} <= WORDS.keys()


@settings(max_examples=100, deadline=None)
@given(kept=st.integers(0, SIZE - 1), more=st.integers(0, 30), mark=st.integers(0, 3))
def test_a_rollback_to_any_snapshot_is_found_by_any_later_receipt(kept: int, more: int, mark: int) -> None:
    """The snapshot has its own checkpoints, and may have been written on since."""
    again = chained(ROWS[:kept] + [row._replace(reason="after") for row in ROWS[:more]])
    own = [each for each in MARKS if each.size <= kept]
    assert check(again, own).code == 0, "by itself it looks sound"
    report = check(again, own, [MARKS[mark].note])
    assert (report.code == 0) == (kept >= MARKS[mark].size)


def test_any_one_bit_of_two_thousand_rows_is_found_at_its_row() -> None:
    rows, dice = journal(2000), random.Random(4)
    marks = [sign(rows, 2000)]
    assert check(rows, marks).code == 0
    for _ in range(150):
        bent = list(rows)
        place = flip(bent, dice)
        report = check(bent, marks)
        assert report.code == 2
        assert report.first_bad is not None and report.first_bad.seq == place


def test_every_finding_is_said_in_both_languages(store: Store, store_url: str, keys: Path) -> None:
    add(store, 10)
    Checkpointer(store, KEY, "d").run_once()
    tamper(store_url, "UPDATE journal SET reason = 'other' WHERE seq = 4", "DELETE FROM journal WHERE seq = 7")
    report = verify_database(store_url, keys)
    chinese, english = report.lines("zh"), report.lines("en")
    assert chinese[0].startswith("存证日志被改动：9 行")
    assert english[0].startswith("journal TAMPERED: 9 rows")
    assert ("首个有问题的行" in chinese[1], "first bad row" in english[1]) == (True, True)
    assert chinese[1].endswith("4 行")
    assert english[1].endswith(" 4")
    assert report.as_dict()["first_bad"] == {"writer": report.findings[0].writer, "seq": 4}
    for zh, en in WORDS.values():
        assert any("\u4e00" <= letter <= "\u9fff" for letter in zh)
        assert en.isascii()


def test_the_receipts_that_partners_keep_of_packages_are_read(
    store: Store, store_url: str, keys: Path, tmp_path: Path
) -> None:
    add(store, 4)
    (note,) = Checkpointer(store, KEY, "d").run_once().values()
    folder = tmp_path / "receipts"
    folder.mkdir()
    receipt = Receipt(checkpoint=note, checkpoints=[note]).SerializeToString()
    (folder / "2026-10.receipt.json").write_text(json.dumps({"receipt": b64encode(receipt).decode(), "signature": ""}))
    report = verify_database(store_url, keys, folder)
    assert (report.code, report.receipts) == (0, 1)
    tamper(store_url, "DELETE FROM journal WHERE seq > 2", "DELETE FROM checkpoints")
    assert verify_database(store_url, keys, folder).code == 3
    (folder / "other.json").write_text("[1]")
    report = verify_database(store_url, keys, folder)
    assert {finding.reason for finding in report.findings} == {"CUT", "NO_RECEIPT"}


def test_what_a_partner_echoed_is_kept_and_used_and_the_newest_stays(store: Store, store_url: str, keys: Path) -> None:
    own = Checkpointer(store, KEY, "d")
    writer = add(store, 2)[0].writer
    (first,) = own.run_once().values()
    while add(store, 1)[0].writer != writer:
        pass
    second = own.run_once()[writer]
    for note in (first, second, first):
        store.run(lambda tx, note=note: witness.keep(tx, "hospital", [note]))  # type: ignore[misc]
    store.run(lambda tx: witness.keep(tx, "school", [first]))
    with open_journal(store_url) as reader:
        assert reader.witnesses() == [second, first]
    assert verify_database(store_url, keys).receipts == 2
    tamper(store_url, f"DELETE FROM journal WHERE seq > 1 AND writer = '{writer}'", "DELETE FROM checkpoints")
    assert verify_database(store_url, keys).code == 3


def test_a_shredded_students_commitment_is_unlinkable_and_the_chain_still_verifies(
    store: Store, store_url: str, keys: Path
) -> None:
    store.keys.ensure(["s1", "s2"])
    one, two = store.keys.sealer("s1"), store.keys.sealer("s2")
    payload = b"the same words"
    rows = store.run(
        lambda tx: [
            append(tx, kind="T", decision="", actor="a", student=who, payload=payload, sealer=sealer)
            for who, sealer in (("s1", one), ("s1", one), ("s2", two))
        ]
    )
    assert len({row.commitment for row in rows}) == 3, "the same payload never looks the same twice"
    Checkpointer(store, KEY, "d").run_once()
    store.keys.shred("s1")
    with pytest.raises(KeyGone):
        store.keys.sealer("s1")
    assert verify_database(store_url, keys).code == 0
    held = next(row for row in stored(store_url) if row.student == "s2")
    assert store.keys.sealer("s2").commit(held.writer, held.seq, payload) == held.commitment
    # Whoever has the payload and the whole database, but not the key, has nothing to compare it with.
    guesses = [store.keys.system_sealer(), store.keys.sealer("s2"), store.keys.sealer_for("journal")]
    assert all(guess.commit(rows[0].writer, rows[0].seq, payload) != rows[0].commitment for guess in guesses)


def test_a_signers_own_key_is_all_that_verification_needs(store: Store, store_url: str, keys: Path) -> None:
    add(store, 3)
    Checkpointer(store, Ed25519PrivateKey.generate(), "d").run_once()
    assert verify_database(store_url, keys).code == 2
