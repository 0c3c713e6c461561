"""Keys: created once, kept apart from the records, destroyed for good."""

import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from hypothesis import given
from hypothesis import strategies as st

from xinqiao.contract.clock import ManualClock
from xinqiao.contract.errors import Refusal
from xinqiao.store.engine import Store, open_store
from xinqiao.store.errors import KeyGone, SealBroken
from xinqiao.store.keks import wrap_all
from xinqiao.store.keys import KeyStore
from xinqiao.store.sealing import AES_256_GCM, SM4_GCM

_PLACE = {"table": "signals", "key": "id1"}


def test_a_record_opens_after_a_restart(store_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock) -> None:
    first = open_store(*store_urls, keyring_dir, clock)
    first.keys.ensure(["s1"])
    blob = first.keys.sealer("s1").seal(b"x", **_PLACE)
    first.close()
    second = open_store(*store_urls, keyring_dir, clock)
    second.keys.ensure(["s1"])  # must not replace the key
    assert second.keys.sealer("s1").open(blob, **_PLACE) == b"x"
    second.close()


def test_a_shredded_student_is_unreadable_while_others_stay(store: Store) -> None:
    store.keys.ensure(["s1", "s2"])
    kept = store.keys.sealer("s2").seal(b"x", **_PLACE)
    assert store.keys.sealer("s1")  # in memory by now
    store.keys.shred("s1")
    store.keys.shred("s1")
    with pytest.raises(KeyGone):
        store.keys.sealer("s1")
    assert store.keys.sealer("s2").open(kept, **_PLACE) == b"x"
    assert store.keys.sealers(["s1", "s2"]).keys() == {"s2"}


def test_a_shredded_student_never_gets_a_new_key(store: Store) -> None:
    store.keys.ensure(["s1"])
    store.keys.shred("s1")
    with pytest.raises(KeyGone):
        store.keys.ensure(["s2", "s1"])
    with pytest.raises(KeyGone):
        store.keys.sealer("s2")  # all or nothing


def test_the_wrapped_key_leaves_the_files_when_shredded(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock, tmp_path: Path
) -> None:
    store = open_store(*sqlite_urls, keyring_dir, clock)
    store.keys.ensure(["student-to-forget", "other"])
    with store.keys._engine.begin() as connection:  # pyright: ignore[reportPrivateUsage]
        query = "SELECT wrapped FROM student_keys WHERE student = 'student-to-forget'"
        wrapped: bytes = connection.exec_driver_sql(query).scalar_one()

    def found() -> bool:
        return any(wrapped in path.read_bytes() for path in tmp_path.glob("keys.db*"))

    assert found()
    store.keys.shred("student-to-forget")
    assert not found()
    store.close()


def test_an_unknown_student_has_no_sealer(store: Store) -> None:
    with pytest.raises(KeyGone):
        store.keys.sealer("nobody")


def test_many_keys_are_created_and_found_in_chunks(store: Store) -> None:
    students = [f"s{n}" for n in range(1203)]
    store.keys.ensure(students)
    assert store.keys.sealers(students).keys() == set(students)


def test_two_students_have_different_keys(store: Store) -> None:
    store.keys.ensure(["s1", "s2"])
    one, two = store.keys.sealer("s1"), store.keys.sealer("s2")
    assert one.commit("w", 1, b"x") != two.commit("w", 1, b"x")


def test_a_pass_over_many_pushes_nobody_out_whom_the_day_needs(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock
) -> None:
    keys = KeyStore(keyring_dir, sqlite_urls[1], clock, capacity=3)
    students = [f"s{number}" for number in range(10)]
    keys.ensure(students)
    today = [keys.sealer(each) for each in students[:3]]
    passed = keys.sealers(students[3:], keep=False)
    assert sorted(passed) == students[3:]
    assert all(keys.sealer(each) is sealer for each, sealer in zip(students[:3], today, strict=True))
    keys.close()


def test_memory_holds_no_more_keys_than_allowed(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock
) -> None:
    keys = KeyStore(keyring_dir, sqlite_urls[1], clock, capacity=3)
    students = [f"s{n}" for n in range(10)]
    keys.ensure(students)
    for student in students:
        keys.sealer(student)
    assert list(keys._cache) == ["s7", "s8", "s9"]  # pyright: ignore[reportPrivateUsage]
    assert keys.sealer("s0").seal(b"x", **_PLACE)
    keys.close()


def test_a_key_shredded_by_another_gateway_is_forgotten_within_seconds(
    postgres_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock
) -> None:
    here, there = (KeyStore(keyring_dir, postgres_urls[1], clock) for _ in range(2))
    here.ensure(["s1"])
    here.sealer("s1")
    there.shred("s1")
    clock.advance(timedelta(seconds=6))
    with pytest.raises(KeyGone):
        here.sealer("s1")
    here.close()
    there.close()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_file_that_others_can_use_is_refused(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock, mode: int
) -> None:
    (keyring_dir / "kek").chmod(mode)
    with pytest.raises(Refusal, match="chmod 600") as refusal:
        open_store(*sqlite_urls, keyring_dir, clock)
    assert (refusal.value.status, refusal.value.reason) == ("FAILED_PRECONDITION", "KEY_FILE_MODE")
    (keyring_dir / "kek").chmod(0o600)
    open_store(*sqlite_urls, keyring_dir, clock).close()  # the failed start gave its locks back


def test_a_new_key_file_is_private_and_never_replaces_another(tmp_path: Path) -> None:
    path = KeyStore.create(tmp_path / "ring")
    before = path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Refusal, match="exists"):
        KeyStore.create(tmp_path / "ring")
    assert path.read_bytes() == before


@pytest.mark.parametrize(("content", "reason"), [(None, "KEY_FILE_MISSING"), (b"c2hvcnQ=", "KEY_FILE_BROKEN")])
def test_a_missing_or_broken_key_file_is_refused(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock, content: bytes | None, reason: str
) -> None:
    (keyring_dir / "kek").unlink()
    if content is not None:
        (keyring_dir / "kek").touch(mode=0o600)
        (keyring_dir / "kek").write_bytes(content)
    with pytest.raises(Refusal) as refusal:
        open_store(*sqlite_urls, keyring_dir, clock)
    assert refusal.value.reason == reason


def test_the_key_file_of_another_deployment_is_refused(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock, tmp_path: Path
) -> None:
    store = open_store(*sqlite_urls, keyring_dir, clock)
    store.keys.ensure(["s1"])
    store.close()
    with pytest.raises(Refusal) as refusal:
        open_store(*sqlite_urls, KeyStore.create(tmp_path / "other").parent, clock)
    assert refusal.value.reason == "KEY_FILE_MISMATCH"


def test_the_records_without_the_key_database_are_worthless(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock, tmp_path: Path
) -> None:
    store = open_store(*sqlite_urls, keyring_dir, clock)
    store.keys.ensure(["s1"])
    blob = store.keys.sealer("s1").seal(b"x", **_PLACE)
    store.close()
    os.unlink(tmp_path / "keys.db")
    again = open_store(*sqlite_urls, keyring_dir, clock, migrate=True)
    again.keys.ensure(["s1"])
    with pytest.raises(SealBroken):
        again.keys.sealer("s1").open(blob, **_PLACE)
    again.close()


def test_derived_keys_differ_by_label_and_stay_over_restarts(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock
) -> None:
    one, two = (KeyStore(keyring_dir, sqlite_urls[1], clock) for _ in range(2))
    assert one.derive("blind") == two.derive("blind")
    assert len({one.derive("blind"), one.derive("pseudonym"), one.derive("system")}) == 3
    assert len(one.derive("blind")) == 32
    blob = one.system_sealer().seal(b"x", **_PLACE)
    assert two.system_sealer().open(blob, **_PLACE) == b"x"
    one.close()
    two.close()


@pytest.mark.parametrize(("first", "then"), [(AES_256_GCM, SM4_GCM), (SM4_GCM, AES_256_GCM)])
def test_a_deployment_may_change_its_suite_and_reads_what_it_sealed_before(
    store_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock, first: int, then: int
) -> None:
    blobs: dict[str, bytes] = {}
    for student, suite in (("s1", first), ("s2", then), ("s3", first)):
        store = open_store(*store_urls, keyring_dir, clock, suite=suite)
        store.keys.ensure([student])
        for sealer, name in ((store.keys.sealer(student), student), (store.keys.system_sealer(), f"system {student}")):
            blobs[name] = sealer.seal(name.encode(), **_PLACE)
            assert blobs[name][1] == suite
        (kept,) = store.keys.seal_first("students", [(f"first {student}", b"x")])
        assert kept[1] == suite
        for name, blob in blobs.items():
            opener = store.keys.system_sealer() if name.startswith("system") else store.keys.sealer(name)
            assert opener.open(blob, **_PLACE) == name.encode()
        store.close()


@pytest.mark.parametrize("suite", [AES_256_GCM, SM4_GCM])
def test_a_stored_record_whose_suite_was_altered_is_refused(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock, suite: int
) -> None:
    store = open_store(*sqlite_urls, keyring_dir, clock, suite=suite)
    (sealed,) = store.keys.seal_first("students", [("s1", b"x")])
    for altered in range(256):
        blob = sealed[:1] + bytes([altered]) + sealed[2:]
        if altered == suite:
            assert store.keys.sealer("s1").open(blob, table="students", key="s1") == b"x"
            continue
        with pytest.raises(SealBroken, match="suite"):
            store.keys.sealer("s1").open(blob, table="students", key="s1")
    # Nor does it help to tell the key database the other suite: that is another key.
    with store.keys._engine.begin() as connection:  # pyright: ignore[reportPrivateUsage]
        connection.exec_driver_sql("UPDATE student_keys SET suite = ?", (3 - suite,))
    again = KeyStore(keyring_dir, sqlite_urls[1], clock, read_only=True)
    with pytest.raises(SealBroken):
        again.sealer("s1").open(sealed[:1] + bytes([3 - suite]) + sealed[2:], table="students", key="s1")
    again.close()
    store.close()


def test_keys_and_records_may_not_share_a_database(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock
) -> None:
    with pytest.raises(Refusal, match="of their own"):
        open_store(sqlite_urls[0], sqlite_urls[0], keyring_dir, clock)


def test_a_copied_key_database_can_be_opened_beside_the_first(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock, tmp_path: Path
) -> None:
    first = KeyStore(keyring_dir, sqlite_urls[1], clock)
    first.ensure(["s1"])
    commitment = first.sealer("s1").commit("w", 1, b"x")
    first.close()
    shutil.copyfile(tmp_path / "keys.db", tmp_path / "backup.db")
    restored = KeyStore(keyring_dir, f"sqlite:///{tmp_path / 'backup.db'}", clock)
    assert restored.sealer("s1").commit("w", 1, b"x") == commitment
    restored.close()


@given(st.integers(1, 5))
def test_many_keys_are_wrapped_as_rfc_3394_wraps_each(count: int) -> None:
    kek, keys = os.urandom(32), os.urandom(32 * count)
    expected = [aes_key_wrap(kek, keys[at : at + 32]) for at in range(0, len(keys), 32)]
    assert wrap_all(kek, keys) == expected
