"""Rotation of the key-encryption key: nothing lost or mixed, under load, through kills, and old copies are worthless."""

import random
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from sqlalchemy import create_engine, delete, make_url, select, text

from xinqiao.contract.clock import ManualClock
from xinqiao.contract.errors import Refusal
from xinqiao.store.databases import make_engine
from xinqiao.store.errors import KeyGone
from xinqiao.store.keys import KeyStore
from xinqiao.store.migrate import script_config, upgrade
from xinqiao.store.providers import FileProvider
from xinqiao.store.sealing import Sealer
from xinqiao.store.tables import keks, key_metadata, student_keys

_PLACE = {"table": "signals", "key": "id1"}


@pytest.fixture
def keys(keys_url: str, keyring_dir: Path, clock: ManualClock) -> Iterator[KeyStore]:
    opened = KeyStore(keyring_dir, keys_url, clock)
    yield opened
    opened.close()


def finish(keys: KeyStore, limit: int = 100) -> int:
    done = 0
    for _ in range(2_000):
        if not keys.rewrapping:
            return done
        done += keys.rewrap(limit)
    raise AssertionError("the rotation does not end")


def under(keys_url: str) -> dict[str, int]:
    """Which key-encryption key each student's is under."""
    engine = create_engine(keys_url)
    with engine.connect() as connection:
        found = {row.student: int(row.kek) for row in connection.execute(select(student_keys))}
    engine.dispose()
    return found


def test_a_rotation_brings_every_key_over_and_changes_no_record(
    keys: KeyStore, keys_url: str, keyring_dir: Path
) -> None:
    students = [f"s{n:04}" for n in range(530)]
    keys.ensure(students)
    blobs = {s: keys.sealer(s).seal(s.encode(), **_PLACE) for s in students}
    derived, system = keys.derive("pseudonym/a"), keys.system_sealer().seal(b"x", **_PLACE)
    assert keys.rewrap() == 0
    assert keys.rotate() == 2
    keys.ensure(["new"])
    assert {kek for s, kek in under(keys_url).items() if s != "new"} == {1}
    assert under(keys_url)["new"] == 2
    assert keys.rewrap(100) == 100
    assert (keys.state().left, keys.state().total) == (430, 531)
    assert finish(keys) == 430
    state = keys.state()
    assert (state.current, state.retired, state.rewrapping, state.left) == (2, 1, False, 0)
    assert set(under(keys_url).values()) == {2}
    again = KeyStore(keyring_dir, keys_url, keys._clock)  # pyright: ignore[reportPrivateUsage]
    assert {s: again.sealer(s).open(blob, **_PLACE) for s, blob in blobs.items()} == {s: s.encode() for s in students}
    assert again.derive("pseudonym/a") == derived
    assert again.system_sealer().open(system, **_PLACE) == b"x"
    again.close()


def test_a_damaged_key_holds_up_no_rotation_and_harms_nobody_else(keys: KeyStore, keys_url: str) -> None:
    keys.ensure(["s1", "s2", "s3"])
    blob = keys.sealer("s3").seal(b"x", **_PLACE)
    engine = create_engine(keys_url)
    with engine.begin() as connection:
        connection.execute(student_keys.update().where(student_keys.c.student == "s2").values(wrapped=bytes(40)))
    engine.dispose()
    keys.rotate()
    finish(keys, 1)
    assert keys.state().current == 2
    assert not keys.state().rewrapping
    with keys._memory:  # pyright: ignore[reportPrivateUsage]
        keys._cache.clear()  # pyright: ignore[reportPrivateUsage]
    assert keys.sealer("s3").open(blob, **_PLACE) == b"x"
    with pytest.raises(Refusal) as refused:
        keys.sealer("s2")
    assert refused.value.reason == "KEY_FILE_MISMATCH"


def test_a_second_rotation_waits_for_the_first(keys: KeyStore) -> None:
    keys.ensure(["s1"])
    keys.rotate()
    with pytest.raises(Refusal) as refused:
        keys.rotate()
    assert refused.value.reason == "ROTATION_RUNNING"
    finish(keys)
    assert keys.rotate() == 3


def test_keys_are_made_read_and_destroyed_while_a_rotation_goes_on(keys: KeyStore, keys_url: str) -> None:
    before = [f"a{n:04}" for n in range(400)]
    keys.ensure(before)
    blobs = {s: keys.sealer(s).seal(b"x", **_PLACE) for s in before}
    gone, fresh, failures = set[str](), list[str](), list[BaseException]()
    done = threading.Event()

    def serve(seed: int) -> None:
        chance = random.Random(seed)
        try:
            for number in range(10_000):
                if done.is_set():
                    return
                student = chance.choice(before)
                if student not in gone:
                    try:
                        assert keys.sealer(student).open(blobs[student], **_PLACE) == b"x"
                    except KeyGone:
                        assert student in gone
                if number % 7 == 0:
                    keys.ensure([f"b{seed}-{number}"])
                    fresh.append(f"b{seed}-{number}")
                if number % 31 == 0:
                    gone.add(victim := chance.choice(before))
                    keys.shred(victim)
                with keys._memory:  # pyright: ignore[reportPrivateUsage]
                    keys._cache.clear()  # pyright: ignore[reportPrivateUsage]
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=serve, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        keys.rotate()
        finish(keys, 20)
        keys.destroy_retired()
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert fresh
    assert gone
    found = under(keys_url)
    assert set(found) == (set(before) - gone) | set(fresh)
    assert set(found.values()) == {4}
    assert keys.sealers(fresh).keys() == set(fresh)


def test_an_interrupted_rotation_knows_how_much_is_left(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock
) -> None:
    keys = KeyStore(keyring_dir, sqlite_urls[1], clock)
    keys.ensure([f"s{n}" for n in range(50)])
    keys.rotate()
    keys.rewrap(30)
    keys.close()
    keys = KeyStore(keyring_dir, sqlite_urls[1], clock)
    assert keys.state().rewrapping
    assert keys.rewrap(5) == 5
    assert (keys.state().left, keys.state().total) == (15, 50)
    keys.close()


def test_what_was_wrapped_before_leaves_the_files(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock, tmp_path: Path
) -> None:
    keys = KeyStore(keyring_dir, sqlite_urls[1], clock)
    keys.ensure([f"s{n}" for n in range(300)])
    engine = create_engine(sqlite_urls[1])
    with engine.connect() as connection:
        old = [bytes(w) for w in connection.execute(select(student_keys.c.wrapped)).scalars()]
        old += [bytes(w) for w in connection.execute(select(keks.c.wrapped)).scalars()]
    engine.dispose()

    def found() -> int:
        return sum(blob in data for data in [p.read_bytes() for p in tmp_path.glob("keys.db*")] for blob in old)

    assert found() >= len(old)
    keys.rotate()
    finish(keys)
    assert found() == 1  # the retired key-encryption key itself
    keys.destroy_retired()
    assert found() == 0
    keys.close()


def test_an_older_copy_of_the_key_database_is_worthless_once_the_old_key_is_destroyed(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock, tmp_path: Path
) -> None:
    keys = KeyStore(keyring_dir, sqlite_urls[1], clock)
    keys.ensure(["s1"])
    keys.close()
    copy = f"sqlite:///{tmp_path / 'copy.db'}"
    shutil.copyfile(tmp_path / "keys.db", tmp_path / "copy.db")
    keys = KeyStore(keyring_dir, sqlite_urls[1], clock)
    keys.shred("s1")
    keys.rotate()
    finish(keys)
    beside = KeyStore(keyring_dir, copy, clock)  # until then the copy still opens: that is what backups are for
    assert beside.sealer("s1")
    beside.close()
    assert keys.destroy_retired() == [1]
    assert keys.destroy_retired() == []
    with pytest.raises(Refusal) as refused:
        KeyStore(keyring_dir, copy, clock)
    assert refused.value.reason == "KEY_FILE_MISSING"
    assert [path.name for path in keyring_dir.iterdir()] == ["kek.2"]
    keys.close()


def test_rows_of_an_older_copy_have_no_effect(keys: KeyStore, keys_url: str) -> None:
    keys.ensure(["shredded", "kept"])
    engine = create_engine(keys_url)
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(select(student_keys)).mappings()]
    keys.shred("shredded")
    with engine.begin() as connection:
        connection.execute(student_keys.insert(), [row for row in rows if row["student"] == "shredded"])
    with pytest.raises(KeyGone):
        keys.sealer("shredded")
    with pytest.raises(KeyGone):
        keys.ensure(["shredded"])
    keys.rotate()
    finish(keys)
    with engine.begin() as connection:
        connection.execute(delete(student_keys))
        connection.execute(student_keys.insert(), rows)
    with keys._memory:  # pyright: ignore[reportPrivateUsage]
        keys._cache.clear()  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(Refusal) as refused:
        keys.sealer("kept")
    assert refused.value.reason == "KEY_VERSION"
    engine.dispose()


def test_a_version_is_not_retired_under_the_feet_of_another_gateway(
    postgres_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock
) -> None:
    here, there = (KeyStore(keyring_dir, postgres_urls[1], clock) for _ in range(2))
    here.ensure(["s1"])
    begun, go_on = threading.Event(), threading.Event()
    current = there._keks.current  # pyright: ignore[reportPrivateUsage]

    def slow(connection: object) -> int:
        version = current(connection)  # type: ignore[arg-type]
        begun.set()
        go_on.wait(10)
        return version

    there._keks.current = slow  # type: ignore[method-assign]  # pyright: ignore[reportPrivateUsage]
    late = threading.Thread(target=there.ensure, args=(["late"],))
    late.start()
    begun.wait(10)
    here.rotate()
    rewrapping = threading.Thread(target=finish, args=(here,))
    rewrapping.start()
    time.sleep(0.5)
    assert rewrapping.is_alive()
    go_on.set()
    late.join(10)
    rewrapping.join(10)
    assert under(postgres_urls[1]) == {"s1": 2, "late": 2}
    there._keks.current = current  # type: ignore[method-assign]  # pyright: ignore[reportPrivateUsage]
    there.ensure(["later"])
    assert under(postgres_urls[1])["later"] == 2
    while there.rewrapping:  # what it still held of the first version is dropped
        there.rewrap()
    assert there.state().current == 2
    here.close()
    there.close()


def test_a_database_of_the_first_schema_keeps_its_names_and_records(
    tmp_path: Path, keyring_dir: Path, clock: ManualClock
) -> None:
    from alembic import command

    url = f"sqlite:///{tmp_path / 'old.db'}"
    engine = make_engine(make_url(url), "migration")
    config = script_config("keys")
    kek = FileProvider(keyring_dir).unwrap(1, b"")
    data = bytes(range(32))
    with engine.begin() as connection:
        config.attributes.update(connection=connection, metadata=key_metadata, found=None)
        command.upgrade(config, "0001")
        row = {"wrapped": aes_key_wrap(kek, data)}
        connection.execute(text("INSERT INTO student_keys VALUES ('s1', 1, 1, :wrapped, 5)"), row)
    engine.dispose()
    upgrade(f"sqlite:///{tmp_path / 'records.db'}", url)
    beside = KeyStore(keyring_dir, url, clock, read_only=True)
    label = "pseudonym/hospital"
    before = HKDF(SHA256(), 32, salt=None, info=b"xinqiao/" + label.encode()).derive(kek)
    assert beside.derive(label) == before
    beside.close()
    keys = KeyStore(keyring_dir, url, clock)
    assert keys.derive(label) == before
    blob = Sealer("s1", {1: (1, data)}).seal(b"x", **_PLACE)
    assert keys.sealer("s1").open(blob, **_PLACE) == b"x"
    assert finish(keys) == 1  # the upgrade is a rotation: the file now only holds the key-encryption key
    assert under(url) == {"s1": 1}
    keys.destroy_retired()
    keys.close()
    keys = KeyStore(keyring_dir, url, clock)
    assert keys.derive(label) == before
    assert keys.sealer("s1").open(blob, **_PLACE) == b"x"
    assert kek not in (tmp_path / "old.db").read_bytes()
    keys.close()
