"""Erasing a student: afterwards no file of the gateway and no older copy yields anything, and everybody else stays whole.

The adversary here has every file, the key file and the current keys: it carves wrapped keys out of the raw bytes of the
key database (free pages and log included), derives every key of the deployment, and tries all of them on every blob.
"""

import shutil
import sqlite3
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case
from xinqiao.api.gateway.v1 import retention_service_pb2 as keep
from xinqiao.api.referral.v1.referral_pb2 import Referral, ReferralPackage
from xinqiao.api.screening.v1 import screening_service_pb2 as scr
from xinqiao.journal.signing import load_signing_key, public_key_pem
from xinqiao.journal.verify import verify_database
from xinqiao.store import tables
from xinqiao.store.errors import KeyGone, SealBroken
from xinqiao.store.history import History
from xinqiao.store.holdings import drop
from xinqiao.store.keys import KeyStore
from xinqiao.store.sealing import Sealer

_KEPT = [table for table in tables.metadata.sorted_tables if "sealed" in table.c]


@pytest.fixture
def town(make_town, database):
    with make_town(database) as opened:
        yield opened


def shred(local, **words):
    request = case.ShredStudentRequest(reason="GUARDIAN_ASKED:letter-118", confirm=local, **words)
    request.student.local_id = local
    return request


def live(town, local):
    """Records of every kind that leave nothing open."""
    town.student(local_id=local, family_name="龘靐麤", national_id=f"QZX-{local}")
    town.submit(local, bytes([0] * 9))
    town.consent(local)
    student = town.inside_id(local)
    door, record = town.gate.gateway.door, ReferralPackage(referral=Referral(name="referrals/x", reason="QZX-REASON"))
    town.gate.gateway.store.run(
        lambda tx: door.release(
            tx, record, recipient=door.registry.find(town.HOSPITAL), purpose=2, student=student, relation="PARTY",
            kind="referral", item=f"referrals/{local}", actor="test", key=f"key-{local}",
        )
    )  # fmt: skip
    return student


def blobs(tx):
    """Every sealed value of the records: (student, table, key, blob)."""
    for table in _KEPT:
        for row in tx.all(table.select()):
            yield str(row.get("student", row["id"])), table.name, str(row["id"]), bytes(row["sealed"])
    for row in tx.all(tables.deliveries.select()):
        if row["payload"] is not None:
            yield str(row["student"]), "deliveries", str(row["id"]), bytes(row["payload"])
    for row in tx.all(tables.requests.select()):
        yield str(row["student"] or ""), "requests", f"{row['partner']}/{row['request_id']}", bytes(row["response"])


def carved(keys, files):
    """Every 32-byte key that some 40 bytes of these files wrap under a key-encryption key."""
    keks = keys._keks._keys.values()
    found = set()
    for path in files:
        data = path.read_bytes()
        for kek in keks:
            for at in range(len(data) - 39):
                if data[at : at + 8] == bytes(8):
                    continue
                try:
                    found.add(aes_key_unwrap(kek, data[at : at + 40]))
                except InvalidUnwrap:
                    continue
    return found


def opened(secrets, some):
    """Whose blobs any of the secrets opens."""
    whose = set()
    for student, table, key, blob in some:
        for secret in secrets:
            for named in (student, ""):
                try:
                    Sealer(named, {blob[3]: (blob[1], secret)}).open(blob, table=table, key=key)
                except (SealBroken, KeyError):
                    continue
                whose.add(student)
    return whose


def backup(town, name):
    """An online copy of the records, as a backup takes it."""
    target = town.gate.folder / name
    source, copy = sqlite3.connect(town.gate.folder / "records.db"), sqlite3.connect(target)
    source.backup(copy)
    source.close()
    copy.close()
    return target


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_no_file_and_no_older_copy_yields_a_shredded_student_and_all_others_stay(town):
    folder, keys = town.gate.folder, town.gate.gateway.store.keys
    ids = {local: live(town, local) for local in (f"e{n}" for n in range(6))}
    copies = [backup(town, "backup-1.db")]
    town.consent("e0")
    copies.append(backup(town, "backup-2.db"))
    with town.gate.gateway.store.read() as reading:
        before = list(blobs(reading))
    system = [keys.derive(label) for label in ("system", "spool/kunshan-mental-health")]

    def secrets():
        return carved(keys, folder.glob("keys.db*")) | set(system)

    assert opened(secrets(), before) >= set(ids.values())
    gone = {ids[local] for local in ("e0", "e3")}
    for local in ("e0", "e3"):
        answer = town.gate.call(town.PSYCH, shred(local, request_id=town.key()))
        assert answer.cancelled_deliveries == 1
        assert list(answer.recipients) == [town.HOSPITAL]
    known = secrets()
    assert opened(known, before) == (set(ids.values()) - gone) | {""}
    for copy in copies:
        beside = History(f"sqlite:///{copy}", f"sqlite:///{folder / 'keys.db'}", folder / "keyring", town.clock)
        with beside.read() as reading:
            old = list(blobs(reading))
        beside.close()
        assert gone <= {student for student, *_ in old}
        assert opened(known, old) == (set(ids.values()) - gone) | {""}
    # Names and search index of the running records, and whatever bytes are left of them in file and log.
    blinds = [town.gate.gateway.door.students.blind(town.SCHOOL, local) for local in ("e0", "e3")]
    names = [town.gate.gateway.door.students.name(town.HOSPITAL, each).encode()[9:] for each in gone]
    town.gate.stop()
    for path in (path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        assert not [word for word in ("龘靐麤", "QZX-") if word.encode() in data], path
        if not path.name.startswith("backup"):
            assert not [each for each in (*blinds, *names) if each in data], path
    public = folder / "journal.pub"
    public.write_bytes(public_key_pem(load_signing_key(folder / "pki" / "journal.key")))
    assert verify_database(f"sqlite:///{folder / 'records.db'}", public, None, None).code == 0


def test_everybody_else_is_served_as_before_and_the_student_is_unknown(town):
    for local in ("f1", "f2"):
        live(town, local)
    student, name = town.inside_id("f1"), town.gate.gateway.door.students.name(town.HOSPITAL, town.inside_id("f1"))
    town.call(town.PSYCH, shred("f1"))
    refused = {
        town.refusal(who, case.GetCaseRequest(student=ref))
        for who, ref in (
            (town.PSYCH, {"local_id": "f1"}),
            (town.HOSPITAL, {"name": name}),
            (town.PSYCH, {"name": name}),
        )
    }
    assert refused == {"NOT_FOUND/STUDENT"}
    assert town.call(town.PSYCH, case.GetCaseRequest(student={"local_id": "f2"})).case.student.family_name == "龘靐麤"
    rows = town.journal(kind="student.shredded")
    assert [(row["student"], row["actor"], row["reason"]) for row in rows] == [
        (student, town.PSYCH, "GUARDIAN_ASKED:letter-118")
    ]
    deliveries = {row["student"] == student: row for row in town.rows(tables.deliveries)}
    assert (deliveries[True]["last_reason"], deliveries[True]["payload"]) == ("SHREDDED", None)
    assert deliveries[False]["payload"] is not None
    assert town.deliver_all() == 1
    assert [agency for agency, _ in town.recorder.seen] == [town.HOSPITAL]


def test_a_student_who_comes_again_is_somebody_new(town):
    before = live(town, "g1")
    town.call(town.PSYCH, shred("g1"))
    town.student(local_id="g1")
    assert town.inside_id("g1") != before
    assert not town.call(town.PSYCH, case.GetCaseRequest(student={"local_id": "g1"})).case.consents


def test_who_may_not_erase_and_what_must_be_said(town):
    live(town, "h1")
    wrong = shred("h1")
    wrong.confirm = "h2"
    assert town.refusal(town.PSYCH, wrong) == "INVALID_ARGUMENT/CONFIRM"
    assert town.refusal("psych-li", shred("h1")) == "NOT_FOUND/STUDENT"
    assert town.refusal(town.OPERATOR, shred("h1")) == "NOT_FOUND/STUDENT"
    assert town.refusal("psych-li", shred("h1", agency=town.SCHOOL)) == "NOT_FOUND/STUDENT"
    assert town.refusal(town.HOSPITAL, shred("h1")) == "PERMISSION_DENIED/ROLE"
    assert town.refusal(town.SCHOOL, shred("h1")) == "PERMISSION_DENIED/ROLE"
    nothing = shred("h1")
    nothing.reason = ""
    assert town.refusal(town.PSYCH, nothing).startswith("INVALID_ARGUMENT/")
    assert not town.journal(kind="student.shredded")
    assert town.call(town.OPERATOR, shred("h1", agency=town.SCHOOL)).shredded_us
    assert [row["actor"] for row in town.journal(kind="student.shredded")] == [town.OPERATOR]


def test_a_legal_hold_and_an_open_item_beat_an_erasure(town):
    student = live(town, "i1")
    placed = keep.PlaceLegalHoldRequest(student={"local_id": "i1"}, reason="INQUIRY")
    name = town.call(town.PSYCH, placed).name
    assert town.refusal(town.PSYCH, shred("i1")) == "FAILED_PRECONDITION/LEGAL_HOLD"
    assert [row["reason"] for row in town.journal(kind="refused", student=student)] == ["LEGAL_HOLD"]
    town.call(town.PSYCH, keep.ReleaseLegalHoldRequest(name=name, reason="INQUIRY_CLOSED"))
    town.submit("i1")  # red: somebody must act on it
    assert town.refusal(town.PSYCH, shred("i1")) == "FAILED_PRECONDITION/OPEN_ITEMS"
    assert town.gate.gateway.store.keys.sealer(student)
    for row in town.rows(tables.holdings, student=student):
        town.gate.gateway.store.run(lambda tx, item=row["item"]: drop(tx, item))
    assert town.call(town.PSYCH, shred("i1")).shredded_us


def test_a_repeat_goes_on_with_what_was_broken_off(town, monkeypatch):
    student, keys = live(town, "j1"), town.gate.gateway.store.keys
    request = shred("j1", request_id="erasure-0001")

    def broken(_student):
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(keys, "shred", broken)
        with pytest.raises(OSError):
            town.call(town.PSYCH, request)
    assert keys.sealer(student)
    first = town.call(town.PSYCH, request)
    assert first.cancelled_deliveries == 1
    assert town.call(town.PSYCH, request) == first
    with pytest.raises(KeyGone):
        keys.sealer(student)
    assert len(town.journal(kind="student.shredded")) == 1


def test_a_tick_finishes_what_a_crash_broke_off(town, monkeypatch):
    student, gateway = live(town, "k1"), town.gate.gateway
    with monkeypatch.context() as patch:
        patch.setattr(gateway.store.keys, "shred", lambda _student: (_ for _ in ()).throw(OSError))
        with pytest.raises(OSError):
            town.call(town.PSYCH, shred("k1"))
    assert [row["done"] for row in town.rows(tables.erasures)] == [False]
    gateway.erasure.finish()
    assert [row["done"] for row in town.rows(tables.erasures)] == [True]
    with pytest.raises(KeyGone):
        gateway.store.keys.sealer(student)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_older_copy_of_the_records_does_not_bring_the_names_back(town):
    folder = town.gate.folder
    for local in ("l1", "l2"):
        live(town, local)
    copy = backup(town, "older.db")
    town.call(town.PSYCH, shred("l1"))

    def restore():
        remove(folder, "records.db")
        shutil.copyfile(copy, folder / "records.db")
        remove(folder / "pki", "journal.heads")  # whoever restores on purpose tells the signer to forget

    restart(town, restore)
    assert town.refusal(town.PSYCH, case.GetCaseRequest(student={"local_id": "l1"})) == "NOT_FOUND/STUDENT"
    assert town.call(town.PSYCH, case.GetCaseRequest(student={"local_id": "l2"})).case.student.family_name
    assert [row["reason"] for row in town.journal(kind="student.shredded")] == ["RESTORED"]
    restart(town, lambda: None)
    assert len(town.journal(kind="student.shredded")) == 1


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_an_older_copy_of_the_keys_does_not_bring_the_records_back(town):
    folder = town.gate.folder
    ids = [live(town, local) for local in ("m1", "m2")]
    restart(town, lambda: shutil.copyfile(folder / "keys.db", folder / "older-keys.db"))
    town.call(town.PSYCH, shred("m1"))
    restart(town, lambda: (remove(folder, "keys.db"), shutil.copyfile(folder / "older-keys.db", folder / "keys.db")))
    with pytest.raises(KeyGone):
        town.gate.gateway.store.keys.sealer(ids[0])
    assert town.gate.gateway.store.keys.sealer(ids[1])


def restart(town, between):
    town.gate.stop()
    between()
    town.gate.start(listen=False, work=False)


def remove(folder, name):
    for path in folder.glob(f"{name}*"):
        if path.suffix != ".lock":
            path.unlink()


def test_a_process_beside_the_gateway_forgets_the_key_within_seconds(sqlite_urls, keyring_dir, clock):
    keys = KeyStore(keyring_dir, sqlite_urls[1], clock)
    keys.ensure(["s1"])
    beside = KeyStore(keyring_dir, sqlite_urls[1], clock, read_only=True)
    beside.sealer("s1")
    keys.shred("s1")
    clock.advance(timedelta(seconds=6))
    with pytest.raises(KeyGone):
        beside.sealer("s1")
    beside.close()
    keys.close()


def test_a_reader_that_holds_the_log_only_delays_the_overwriting(sqlite_urls, keyring_dir, clock, tmp_path):
    keys = KeyStore(keyring_dir, sqlite_urls[1], clock)
    keys.ensure(["s1"])
    with keys._engine.begin() as connection:
        wrapped = bytes(connection.exec_driver_sql("SELECT wrapped FROM student_keys").scalar_one())
    reader = sqlite3.connect(tmp_path / "keys.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM student_keys").fetchall()
    keys.shred("s1")
    assert not keys.overwrite_log()
    assert any(wrapped in path.read_bytes() for path in tmp_path.glob("keys.db*"))
    reader.close()
    assert keys.overwrite_log()
    assert not any(wrapped in path.read_bytes() for path in tmp_path.glob("keys.db*"))
    keys.close()


def test_the_digest_of_a_request_is_not_in_the_clear(town):
    live(town, "n1")
    assert {bytes(row["digest"]) for row in town.rows(tables.requests)} == {b""}
    request = scr.SubmitAssessmentRequest(request_id="same-key-1", instrument="PHQ-9", taken_on="2026-10-01")
    request.student.local_id, request.answers = "n1", bytes(9)
    first = town.call(town.SCHOOL, request)
    assert town.call(town.SCHOOL, request) == first
    request.answers = bytes([1] * 9)
    assert town.refusal(town.SCHOOL, request) == "ALREADY_EXISTS/KEY_REUSED"
