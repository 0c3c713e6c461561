"""The journal in a real database: appending, signing, verifying, proving; on SQLite and on PostgreSQL."""

import json
import sqlite3
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.journal.conftest import KEY, PUBLIC, add, stored, tamper

from xinqiao.contract.clock import ManualClock
from xinqiao.contract.errors import Refusal
from xinqiao.journal.append import MAX_VALUE, append
from xinqiao.journal.checkpoint import Checkpointer, JournalInconsistent, latest
from xinqiao.journal.entry import ZERO_HASH, Entry, entry_hash
from xinqiao.journal.note import Checkpoint, make_checkpoint, open_checkpoint
from xinqiao.journal.proof import ProofError, check_proof, prove
from xinqiao.journal.verify import Report, verify_database
from xinqiao.store.engine import Store, open_store
from xinqiao.store.readonly import open_journal
from xinqiao.store.tx import Tx


def outcome(report: Report) -> tuple[int, int]:
    assert report.first_bad is not None
    return report.code, report.first_bad.seq


def test_rows_are_chained_per_writer_from_one(store: Store, store_url: str) -> None:
    for _ in range(3):
        add(store, 3)
    chains: dict[str, list[Entry]] = {}
    for entry in stored(store_url):
        chains.setdefault(entry.writer, []).append(entry)
    assert sum(map(len, chains.values())) == 9
    for chain in chains.values():
        assert [entry.seq for entry in chain] == list(range(1, len(chain) + 1))
        assert [entry.prev_hash for entry in chain] == [ZERO_HASH, *(entry.hash for entry in chain[:-1])]
        assert all(entry.hash == entry_hash(entry) for entry in chain)


def test_a_rolled_back_command_leaves_no_gap_and_no_row(store: Store, store_url: str, keys: Path) -> None:
    def fail(tx: Tx) -> None:
        append(tx, kind="LOST", decision="", actor="a")
        raise Refusal("ABORTED", "TEST", "no")

    for _ in range(5):
        add(store, 1)
        with pytest.raises(Refusal):
            store.run(fail)
    report = verify_database(store_url, keys)
    assert (report.code, report.rows) == (0, 5)
    assert all(entry.kind == "TEST" for entry in stored(store_url))


def test_a_savepoint_rolled_back_inside_a_command_leaves_no_gap(store: Store, store_url: str, keys: Path) -> None:
    def command(tx: Tx) -> None:
        append(tx, kind="KEPT", decision="", actor="a")
        with pytest.raises(KeyError), tx.savepoint():
            append(tx, kind="LOST", decision="", actor="a")
            raise KeyError
        append(tx, kind="KEPT", decision="", actor="a")

    store.run(command)
    assert [(entry.seq, entry.kind) for entry in stored(store_url)] == [(1, "KEPT"), (2, "KEPT")]
    assert verify_database(store_url, keys).code == 0


def test_a_payload_is_committed_to_and_never_stored(store: Store, store_url: str) -> None:
    store.keys.ensure(["s1"])
    sealer = store.keys.sealer("s1")
    entry = store.run(lambda tx: append(tx, kind="T", decision="", actor="a", student="s1", payload=b"CANARY",
                                        sealer=sealer))  # fmt: skip
    assert entry.commitment == sealer.commit(entry.writer, entry.seq, b"CANARY")
    assert "CANARY" not in str(stored(store_url))
    with pytest.raises(ValueError, match="sealer"):
        store.run(lambda tx: append(tx, kind="T", decision="", actor="a", payload=b"x"))


@pytest.mark.parametrize(
    "bad",
    [{"kind": ""}, {"kind": "k" * (MAX_VALUE + 1)}, {"reason": "C" * (MAX_VALUE + 1)}, {"basis": "\0"},
     {"student": "\ud800"}, {"purpose": 2**31}, {"classes": -1}],
)  # fmt: skip
def test_free_text_and_impossible_values_are_refused_without_a_row(
    store: Store, store_url: str, bad: dict[str, Any]
) -> None:
    with pytest.raises(Refusal) as caught:
        store.run(lambda tx: append(tx, **{"kind": "T", "decision": "", "actor": "a", **bad}))
    assert caught.value.reason == "JOURNAL_VALUE"
    assert stored(store_url) == []


def test_only_writers_with_new_rows_get_a_checkpoint(store: Store) -> None:
    checkpointer = Checkpointer(store, KEY, "d")
    assert checkpointer.run_once() == {}
    writer = add(store, 5)[0].writer
    notes = checkpointer.run_once()
    assert open_checkpoint(notes[writer], [PUBLIC]).size == 5
    assert checkpointer.run_once() == {}
    with store.read() as tx:
        assert latest(tx) == notes


def test_a_restarted_signer_goes_on_from_the_stored_rows(store: Store, store_url: str, keys: Path) -> None:
    for size in range(1, 8):
        add(store, size)
        Checkpointer(store, KEY, "d").run_once()
    report = verify_database(store_url, keys)
    assert (report.code, report.rows, report.uncheckpointed) == (0, 28, 0)


def test_a_running_signer_reads_only_new_rows(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpointer = Checkpointer(store, KEY, "d")
    writer = add(store, 50)[0].writer
    checkpointer.run_once()
    pages: list[tuple[str, int]] = []
    page = checkpointer._page

    def spy(name: str, after: int, top: int) -> list[Entry]:
        pages.append((name, after))
        return page(name, after, top)

    monkeypatch.setattr(checkpointer, "_page", spy)
    while add(store, 1)[0].writer != writer:
        pass
    checkpointer.run_once()
    assert [after for name, after in pages if name == writer] == [50]


@pytest.mark.parametrize("restarted", [False, True])
@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("DELETE FROM journal WHERE seq > 3", "missing"),
        ("DELETE FROM checkpoints", "rolled back"),
        ("UPDATE checkpoints SET note = 'x' || note", "cannot be trusted"),
    ],
)
def test_nothing_is_signed_over_a_rolled_back_or_forged_store(
    store: Store, store_url: str, statement: str, word: str, restarted: bool
) -> None:
    checkpointer = Checkpointer(store, KEY, "d")
    add(store, 5)
    checkpointer.run_once()
    tamper(store_url, statement)
    if restarted and word != "rolled back":
        checkpointer = Checkpointer(store, KEY, "d")
    with pytest.raises(JournalInconsistent, match=word):
        checkpointer.run_once()


def test_nothing_is_signed_when_rows_under_the_last_checkpoint_changed(store: Store, store_url: str) -> None:
    writer = add(store, 5)[0].writer
    # A sound signature over another history: what a recomputed chain looks like to the signer.
    note = make_checkpoint(KEY, Checkpoint("d", writer, 3, b"\1" * 32))
    tamper(store_url, f"INSERT INTO checkpoints VALUES ('{writer}', 3, 0, '{note}')")
    with pytest.raises(JournalInconsistent, match="do not match the last checkpoint"):
        Checkpointer(store, KEY, "d").run_once()


def test_an_edited_row_is_never_signed(store: Store, store_url: str) -> None:
    add(store, 5)
    tamper(store_url, "UPDATE journal SET reason = 'other' WHERE seq = 4")
    with pytest.raises(JournalInconsistent, match="row 4"):
        Checkpointer(store, KEY, "d").run_once()


def test_a_second_signer_accepts_what_the_first_one_signed(store: Store, store_url: str, keys: Path) -> None:
    first, second = Checkpointer(store, KEY, "d"), Checkpointer(store, KEY, "d")
    for signer in (first, second, first, second, second, first):
        add(store, 3)
        signer.run_once()
    assert verify_database(store_url, keys).code == 0


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("UPDATE journal SET reason = 'other' WHERE seq = 4", (2, 4)),
        ("UPDATE journal SET at_us = at_us + 1 WHERE seq = 7", (2, 7)),
        ("UPDATE journal SET classes = 1 WHERE seq = 2", (2, 2)),
        ("DELETE FROM journal WHERE seq = 5", (3, 5)),
        ("DELETE FROM journal WHERE seq > 6", (3, 7)),
        ("DELETE FROM journal", (3, 1)),
        ("UPDATE journal SET seq = 100 WHERE seq = 6", (2, 6)),
    ],
)
def test_tampering_in_the_database_is_found(
    store: Store, store_url: str, keys: Path, statement: str, expected: tuple[int, int]
) -> None:
    add(store, 10)
    Checkpointer(store, KEY, "d").run_once()
    tamper(store_url, statement)
    assert outcome(verify_database(store_url, keys)) == expected


def test_a_rolled_back_database_is_found_by_a_partners_receipt(
    store: Store, store_url: str, keys: Path, tmp_path: Path
) -> None:
    add(store, 4)
    (note,) = Checkpointer(store, KEY, "d").run_once().values()
    (tmp_path / "receipts").mkdir()
    (tmp_path / "receipts" / "hospital.txt").write_text(note, encoding="utf-8")
    assert verify_database(store_url, keys, tmp_path / "receipts").code == 0
    tamper(store_url, "DELETE FROM journal WHERE seq > 2", "DELETE FROM checkpoints")
    assert verify_database(store_url, keys).code == 0
    assert outcome(verify_database(store_url, keys, tmp_path / "receipts")) == (3, 3)


def test_a_proof_survives_json_and_holds_with_the_public_key_alone(store: Store, store_url: str) -> None:
    rows = add(store, 13)
    Checkpointer(store, KEY, "d").run_once()
    for row in rows:
        proof = json.loads(json.dumps(prove(store_url, row.writer, row.seq)))
        assert check_proof(proof, PUBLIC) == row


def test_a_bent_proof_is_refused(store: Store, store_url: str) -> None:
    row = add(store, 6)[2]
    Checkpointer(store, KEY, "d").run_once()
    proof = prove(store_url, row.writer, row.seq)
    relabelled = row._replace(reason="other")
    relabelled = relabelled._replace(hash=entry_hash(relabelled))
    other = prove(store_url, row.writer, 4)
    for bad in (
        {**proof, "format": "x"}, {**proof, "size": 5}, {**proof, "path": proof["path"][:-1]}, {**proof, "path": 5},
        {**proof, "entry": {**proof["entry"], "reason": "other"}}, {**proof, "path": other["path"]},
        {**proof, "entry": {**proof["entry"], "reason": "other", "hash": b64encode(relabelled.hash).decode()}},
        {**proof, "entry": {}}, {**proof, "checkpoint": "x"}, {},
    ):  # fmt: skip
        with pytest.raises(ProofError):
            check_proof(bad, PUBLIC)
    with pytest.raises(ProofError, match="known key"):
        check_proof(proof, Ed25519PrivateKey.generate().public_key())


def test_a_row_without_a_checkpoint_has_no_proof_yet(store: Store, store_url: str) -> None:
    row = add(store, 1)[0]
    with pytest.raises(ProofError, match="no checkpoint covers"):
        prove(store_url, row.writer, row.seq)


def test_the_verifiers_connection_cannot_write(store: Store, store_url: str) -> None:
    add(store, 3)
    with open_journal(store_url) as journal, pytest.raises(Exception, match=r"(?i)read-?\s?only"):
        connection: Any = journal._connection  # type: ignore[attr-defined]
        (connection.execute if store.dialect == "sqlite" else connection.exec_driver_sql)("DELETE FROM checkpoints")


@pytest.mark.parametrize("content", [b"", b"junk" * 500, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_unreadable_and_no_crash(tmp_path: Path, keys: Path, content: bytes) -> None:
    (tmp_path / "x.db").write_bytes(content)
    assert verify_database(f"sqlite:///{tmp_path / 'x.db'}", keys).code == 4


@pytest.mark.parametrize("url", ["sqlite:////no/such.db", "/no/such.db", "nonsense://x", "sqlite://", "://", "mysql://h/x",
                                 "postgresql+psycopg://nobody:CANARY@127.0.0.1:1/x"])  # fmt: skip
def test_a_place_that_cannot_be_opened_is_unreadable_and_no_crash(url: str, keys: Path) -> None:
    report = verify_database(url, keys)
    assert report.code == 4
    assert "CANARY" not in str(report)


def test_a_foreign_database_is_unreadable(tmp_path: Path, keys: Path) -> None:
    connection = sqlite3.connect(tmp_path / "x.db")
    connection.execute("CREATE TABLE journal (a)")
    connection.close()
    assert verify_database(str(tmp_path / "x.db"), keys).code == 4


def test_a_missing_public_key_or_receipts_folder_is_unreadable(sqlite_urls: tuple[str, str], keys: Path) -> None:
    assert verify_database(sqlite_urls[0], keys.with_name("absent.pem")).code == 4
    assert verify_database(sqlite_urls[0], keys, keys.with_name("absent")).code == 4


def test_text_that_is_not_utf8_is_found_at_its_row(
    sqlite_urls: tuple[str, str], keyring_dir: Path, keys: Path, clock: ManualClock
) -> None:
    opened = open_store(*sqlite_urls, keyring_dir, clock)
    add(opened, 5)
    opened.close()
    tamper(sqlite_urls[0], "UPDATE journal SET reason = CAST(x'ff' AS TEXT) WHERE seq = 3")
    assert outcome(verify_database(sqlite_urls[0], keys)) == (2, 3)


def test_damaged_pages_end_in_a_report(
    sqlite_urls: tuple[str, str], keyring_dir: Path, keys: Path, clock: ManualClock
) -> None:
    opened = open_store(*sqlite_urls, keyring_dir, clock)
    add(opened, 500)
    Checkpointer(opened, KEY, "d").run_once()
    opened.close()
    path = Path(sqlite_urls[0].removeprefix("sqlite:///"))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle:] = b"\xee" * (len(data) - middle)
    path.write_bytes(data)
    assert verify_database(sqlite_urls[0], keys).code in (2, 3, 4)
