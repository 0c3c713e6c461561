"""Every way to tamper with a journal is found with the first bad row, and a clean journal is never accused."""

from collections.abc import Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from xinqiao.journal.entry import ZERO_HASH, EncodingError, Entry, entry_hash, leaf
from xinqiao.journal.merkle import root_of
from xinqiao.journal.note import Checkpoint, make_checkpoint
from xinqiao.journal.verify import Report, StoredCheckpoint, verify

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SIZE = 30
OTHER: dict[str, Any] = {
    "writer": "evil", "at_us": 5, "kind": "K", "decision": "PERMIT", "actor": "x", "partner": "x", "purpose": 9,
    "classes": 9, "student": None, "resource": "x", "reason": "x", "basis": "x", "policy_version": "x",
    "commitment": b"\1" * 32, "prev_hash": b"\1" * 32, "hash": b"\1" * 32,
}  # fmt: skip


def chained(entries: Sequence[Entry], prev: bytes = ZERO_HASH, first: int = 1) -> list[Entry]:
    """``entries`` with numbers, links and hashes put right, as an attacker who can compute would."""
    out: list[Entry] = []
    for seq, entry in enumerate(entries, first):
        entry = entry._replace(seq=seq, prev_hash=prev)
        prev = entry_hash(entry)
        out.append(entry._replace(hash=prev))
    return out


def blank(number: int, writer: str = "main") -> Entry:
    return Entry(
        writer, 0, 1_790_000_000_000_000 + number, "DISCLOSE", "DENY", "spiffe://a/b", "hospital", 2, 5, f"s{number}",
        f"case/{number}", "R", "B", "1", bytes([number % 256]) * 32, b"", b"",
    )  # fmt: skip


def journal(size: int = SIZE, writer: str = "main") -> list[Entry]:
    return chained([blank(number, writer) for number in range(size)])


def sign(rows: Sequence[Entry], size: int) -> StoredCheckpoint:
    writer = rows[0].writer
    head = Checkpoint("d", writer, size, root_of(row.hash for row in rows[:size]))
    return StoredCheckpoint(writer, size, make_checkpoint(KEY, head))


ROWS = journal()
MARKS = [sign(ROWS, 10), sign(ROWS, 20), sign(ROWS, 25)]


def check(rows: Sequence[Entry], receipts: Sequence[str] = (), marks: Sequence[StoredCheckpoint] = MARKS) -> Report:
    return verify(rows, marks, [KEY.public_key()], receipts=receipts)


def outcome(report: Report) -> tuple[int, int]:
    assert report.first_bad is not None
    return report.code, report.first_bad.seq


def test_a_clean_journal_is_sound_and_its_unsigned_tail_is_counted() -> None:
    report = check(ROWS, [MARKS[0].note])
    assert (report.code, report.uncheckpointed, report.uncheckpointed_since_us) == (0, 5, ROWS[25].at_us)
    assert report.lines()[-1] == "not yet checkpointed: 5 rows"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.text(max_size=20), st.none() | st.text(max_size=5)), max_size=40),
       st.data())  # fmt: skip
def test_a_clean_journal_is_never_accused(drafts: list[tuple[str, str, str | None]], data: st.DataObject) -> None:
    rows: list[Entry] = []
    marks: list[StoredCheckpoint] = []
    for writer in "abc":
        drafted = [blank(1, w)._replace(reason=reason, student=student) for w, reason, student in drafts if w == writer]
        chain = chained(drafted)
        rows += chain
        sizes = data.draw(st.sets(st.integers(1, len(chain)))) if chain else set[int]()
        marks += [sign(chain, size) for size in sizes]
    report = check(rows, [mark.note for mark in marks], marks)
    assert (report.code, report.findings) == (0, ())


@pytest.mark.parametrize("column", OTHER)
@pytest.mark.parametrize("seq", [1, 10, 17, 28, 30])
def test_an_edit_of_any_column_is_found_at_its_row(column: str, seq: int) -> None:
    rows = list(ROWS)
    rows[seq - 1] = rows[seq - 1]._replace(**{column: OTHER[column]})
    report = check(rows)
    assert report.code == 2
    assert seq in {finding.seq for finding in report.findings if finding.code == 2}
    assert column == "writer" or outcome(report) == (2, seq)


@pytest.mark.parametrize("value", ["text", 1.5, None, 2**70])
def test_a_number_of_the_wrong_type_is_found_and_not_a_crash(value: object) -> None:
    rows = list(ROWS)
    rows[11] = rows[11]._replace(seq=value)  # type: ignore[arg-type]
    assert outcome(check(rows)) == (2, 12)


@pytest.mark.parametrize("value", [b"bytes", 5, "\udc80"])
def test_a_text_of_the_wrong_type_is_found_and_not_a_crash(value: object) -> None:
    rows = list(ROWS)
    rows[11] = rows[11]._replace(reason=value)  # type: ignore[arg-type]
    assert outcome(check(rows)) == (2, 12)


@pytest.mark.parametrize("seq", [1, 2, 15, 25])
def test_a_deleted_row_is_reported_as_missing(seq: int) -> None:
    assert outcome(check(ROWS[: seq - 1] + ROWS[seq:])) == (3, seq)


def test_a_duplicated_row_is_found() -> None:
    assert outcome(check([*ROWS[:12], ROWS[11], *ROWS[12:]])) == (2, 12)


def test_two_rows_with_swapped_numbers_are_found_at_the_first() -> None:
    rows = list(ROWS)
    rows[6], rows[13] = ROWS[13]._replace(seq=7), ROWS[6]._replace(seq=14)
    assert outcome(check(rows)) == (2, 7)


@pytest.mark.parametrize("size", [0, 1, 19, 20, 24])
def test_a_truncated_journal_is_incomplete_against_its_checkpoints(size: int) -> None:
    assert outcome(check(ROWS[:size])) == (3, size + 1)


def test_rows_cut_with_their_checkpoints_are_incomplete_against_a_receipt() -> None:
    assert check(ROWS[:20], marks=MARKS[:2]).code == 0
    assert outcome(check(ROWS[:20], [MARKS[2].note], MARKS[:2])) == (3, 21)


def test_a_whole_writer_removed_is_incomplete_against_a_receipt() -> None:
    other = journal(5, "second")
    assert outcome(check(ROWS, [sign(other, 5).note])) == (3, 1)


@pytest.mark.parametrize(("edited", "first"), [(3, 1), (10, 1), (11, 11), (22, 21)])
def test_a_chain_recomputed_without_the_signing_key_is_found_within_its_checkpoint(edited: int, first: int) -> None:
    forged = chained([row._replace(reason="other") if row.seq == edited else row for row in ROWS])
    assert outcome(check(forged)) == (2, first)


def test_a_removed_row_with_the_chain_recomputed_is_found() -> None:
    assert outcome(check(chained(ROWS[:4] + ROWS[5:]))) == (2, 1)


def test_a_rollback_that_was_written_on_again_is_found_by_a_receipt() -> None:
    again = ROWS[:20] + chained([blank(99)] * 10, ROWS[19].hash, 21)
    assert check(again, marks=MARKS[:2]).code == 0
    assert outcome(check(again, [MARKS[2].note], MARKS[:2])) == (2, 21)


def test_a_checkpoint_signed_by_the_attackers_own_key_is_tampering() -> None:
    head = Checkpoint("d", "main", 30, root_of(row.hash for row in ROWS))
    forged = StoredCheckpoint("main", 30, make_checkpoint(Ed25519PrivateKey.generate(), head))
    assert check(ROWS, marks=[forged]).code == 2


def test_a_checkpoint_filed_under_another_size_is_tampering() -> None:
    assert check(ROWS, marks=[MARKS[0]._replace(size=12)]).code == 2


def test_a_receipt_that_cannot_be_read_is_said_and_not_ignored() -> None:
    assert check(ROWS, ["junk"]).code == 4


def test_a_receipt_of_another_deployment_proves_nothing_here() -> None:
    head = Checkpoint("other", "main", 10, root_of(row.hash for row in ROWS[:10]))
    assert check(ROWS, [make_checkpoint(KEY, head)]).code == 4


@pytest.mark.parametrize("seq", [1, 5, 20, 24, 28])
def test_a_row_edited_together_with_its_hash_is_found_by_its_successor(seq: int) -> None:
    rows = list(ROWS)
    edited = rows[seq - 1]._replace(reason="other")
    rows[seq - 1] = edited._replace(hash=entry_hash(edited))
    report = check(rows, marks=[])
    assert outcome(report) == (2, seq)


def test_tampering_weighs_more_than_missing_rows_but_the_first_bad_row_is_named() -> None:
    rows = [*ROWS[:2], *ROWS[3:]]
    rows[20] = rows[20]._replace(reason="other")
    assert outcome(check(rows)) == (2, 3)


def test_findings_are_capped_but_counted() -> None:
    report = check([row._replace(reason="other") for row in ROWS])
    assert (len(report.findings), report.findings_total) == (20, 30)
    assert "and 10 more" in report.lines()


def test_findings_never_quote_a_row() -> None:
    rows = [row._replace(reason="CANARY", student="CANARY") for row in ROWS]
    rows[3] = rows[3]._replace(reason="CANARY\udc80")
    report = check(rows)
    assert "CANARY" not in str(report.as_dict()) + str(report.lines())


@given(st.sampled_from([name for name in OTHER if name != "hash"]))
def test_the_leaf_covers_every_column(column: str) -> None:
    assert leaf(ROWS[3]._replace(**{column: OTHER[column]})) != leaf(ROWS[3])


def test_moving_text_between_columns_changes_the_leaf() -> None:
    assert leaf(ROWS[0]._replace(reason="AB", basis="C")) != leaf(ROWS[0]._replace(reason="A", basis="BC"))
    assert leaf(ROWS[0]._replace(student=None)) != leaf(ROWS[0]._replace(student=""))


def test_the_leaf_encoding_of_version_one_is_frozen() -> None:
    assert entry_hash(ROWS[0]).hex() == "5fc20e09ce0ad3e6c20c509aeac653c4daf423ded62c3def75852c86a009e64b"


def test_an_encoding_error_does_not_quote_the_value() -> None:
    with pytest.raises(EncodingError) as caught:
        leaf(ROWS[0]._replace(reason="CANARY\ud800"))
    assert "CANARY" not in str(caught.value)
    assert caught.value.__cause__ is None
