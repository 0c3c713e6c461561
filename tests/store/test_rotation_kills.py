"""A rotation that is killed at any time, while keys are made: every key acknowledged opens its own record, no other's."""

import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from sqlalchemy import create_engine, select

from xinqiao.contract.clock import ManualClock
from xinqiao.contract.errors import Refusal
from xinqiao.store.errors import SealBroken
from xinqiao.store.keys import KeyStore
from xinqiao.store.providers import FileProvider
from xinqiao.store.tables import student_keys

_SEED = 20261126
_SAMPLE = 300
_ALL_EVERY = 25


@pytest.mark.parametrize(
    ("students", "kills", "batches"),
    [(120, 12, (7,)), pytest.param(100_000, 200, (200, 1_000, 5_000), marks=pytest.mark.soak)],
)
def test_kills_at_any_time_lose_nothing_and_the_rotation_goes_on(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock, tmp_path: Path, students: int, kills: int,
    batches: tuple[int, ...],
) -> None:  # fmt: skip
    url, said = sqlite_urls[1], tmp_path / "said"
    blobs = _fill(KeyStore(keyring_dir, url, clock), students)
    shutil.copyfile(tmp_path / "keys.db", tmp_path / "older.db")
    chance, steps, last = random.Random(_SEED), Counter[str](), Counter[str]()
    for number in range(1, kills + 1):
        lines = _until_killed(keyring_dir, url, chance.choice(batches), said, chance.random() * 0.5)
        steps.update(line[0] for line in lines)
        last[lines[-1][0]] += 1
        fresh = {student: bytes.fromhex(blob) for _, student, blob in (line for line in lines if line[0] == "made")}
        blobs |= fresh
        asked = blobs if number % _ALL_EVERY == 0 else {*fresh, *chance.sample(sorted(blobs), min(_SAMPLE, len(blobs)))}
        _opened(keyring_dir, url, clock, {student: blobs[student] for student in asked})
    print(f"{kills} kills: {dict(steps)}; just before the kill: {dict(last)}")
    assert steps["rotated"] >= 3
    assert steps["over"] >= 2
    assert len(blobs) > students
    keys = KeyStore(keyring_dir, url, clock)
    while keys.rewrapping:
        keys.rewrap(5_000)
    current = keys.state().current
    keys.destroy_retired()
    keys.close()
    _opened(keyring_dir, url, clock, blobs)
    _not_each_others(keyring_dir, url, clock, blobs, chance)
    engine = create_engine(url)
    with engine.connect() as connection:
        under = {row.student: row.kek for row in connection.execute(select(student_keys))}
    engine.dispose()
    # A key whose line a kill cut off may be there as well: made, and never acknowledged.
    assert under.keys() >= blobs.keys()
    assert len(under) <= len(blobs) + kills
    assert set(under.values()) == {current}
    assert len(FileProvider(keyring_dir).health()) == 1
    with pytest.raises(Refusal) as refused:
        KeyStore(keyring_dir, f"sqlite:///{tmp_path / 'older.db'}", clock)
    assert refused.value.reason == "KEY_FILE_MISSING"


def _fill(keys: KeyStore, students: int) -> dict[str, bytes]:
    names = [f"{number:026}" for number in range(students)]
    blobs: dict[str, bytes] = {}
    for start in range(0, students, 2_000):
        some = names[start : start + 2_000]
        sealed = keys.seal_first("signals", [(name, name.encode()) for name in some])
        blobs.update(zip(some, sealed, strict=True))
    keys.close()
    return blobs


def _until_killed(keyring: Path, url: str, batch: int, said: Path, after_s: float) -> list[list[str]]:
    """What the process said until it was killed, so many seconds after its first word; a cut line is not said."""
    program = str(Path(__file__).with_name("rotating.py"))
    with said.open("wb") as output:
        process = subprocess.Popen([sys.executable, program, str(keyring), url, str(batch)], stdout=output)
    while not said.stat().st_size:
        assert process.poll() is None
        time.sleep(0.005)
    time.sleep(after_s)
    assert process.poll() is None, "it ended by itself"
    process.kill()
    process.wait()
    return [line.split() for line in said.read_text().splitlines(keepends=True) if line.endswith("\n")]


def _opened(keyring: Path, url: str, clock: ManualClock, blobs: dict[str, bytes]) -> None:
    """All of them, by a store that has nothing in memory."""
    keys = KeyStore(keyring, url, clock)
    sealers = keys.sealers(list(blobs))
    keys.close()
    assert sealers.keys() == blobs.keys()
    wrong = [s for s, blob in blobs.items() if sealers[s].open(blob, table="signals", key=s) != s.encode()]
    assert not wrong


def _not_each_others(
    keyring: Path, url: str, clock: ManualClock, blobs: dict[str, bytes], chance: random.Random
) -> None:
    keys = KeyStore(keyring, url, clock)
    names = chance.sample(sorted(blobs), min(1_000, len(blobs)))
    sealers = keys.sealers(names)
    keys.close()
    for mine, other in pairwise(names):
        with pytest.raises(SealBroken):
            sealers[mine].open(blobs[other], table="signals", key=other)
