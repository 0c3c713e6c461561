"""Students' keys: one 256-bit data key each, wrapped by the key-encryption key, in a database of their own.

Destroying a student's keys makes every sealed record of the student unreadable, in backups of the records too.
"""

import base64
import binascii
import math
import os
import stat
import threading
from array import array
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from sqlalchemy import Connection, RowMapping, delete, select

from xinqiao.contract.clock import Clock
from xinqiao.contract.errors import Refusal
from xinqiao.store.databases import make_engine, parse_url
from xinqiao.store.errors import KeyGone, SealBroken
from xinqiao.store.sealing import AES_256_GCM, SUITES, M, Sealer, seal_first
from xinqiao.store.statements import Statements, sizes
from xinqiao.store.tables import student_keys, tombstones

_KEY_BYTES = 32
_CHUNK = 500
_FIRST_VERSION = 1
# Another gateway, or the one beside a read-only store, may shred a student: a key is trusted from memory no longer than this.
_SHARED_TRUST_S = 5.0


class KeyStore:
    """Creates, caches and destroys keys. Safe to use from any thread."""

    def __init__(
        self,
        keyring_dir: Path,
        keys_url: str,
        clock: Clock,
        *,
        suite: int = AES_256_GCM,
        capacity: int = 20_000,
        read_only: bool = False,
    ) -> None:
        """Open the keys at ``keys_url`` (its schema must exist) with the key file in ``keyring_dir``.

        A ``read_only`` one stands beside the gateway that owns the keys. ``suite`` is given to new keys, ``capacity``
        bounds the unwrapped keys in memory. Raises Refusals ``KEY_FILE_MISSING``, ``KEY_FILE_MODE``,
        ``KEY_FILE_BROKEN`` and, when the file is not the one that wrapped these keys, ``KEY_FILE_MISMATCH``.
        """
        if suite not in SUITES:
            raise Refusal("INVALID_ARGUMENT", "SUITE", f"the sealing suite must be one of {SUITES}")
        self._kek = _read_key_file(keyring_dir / "kek")
        self._clock = clock
        self._suite = suite
        self._capacity = capacity
        self._engine = make_engine(parse_url(keys_url, "key"), "reader" if read_only else "keys", readers=1)
        self._statements = Statements(self._engine.dialect)
        alone = self._engine.dialect.name == "sqlite" and not read_only
        self._trust_s = math.inf if alone else _SHARED_TRUST_S
        self._database = threading.Lock()
        self._beside = ThreadPoolExecutor(1, "keys")
        self._memory = threading.Lock()
        self._cache: OrderedDict[str, tuple[Sealer, float]] = OrderedDict()
        self._derived: dict[str, bytes] = {}
        self._system = Sealer("", {_FIRST_VERSION: (suite, self.derive("system"))})
        try:
            self._check_match()
        except BaseException:
            self._engine.dispose()
            raise

    @staticmethod
    def create(keyring_dir: Path) -> Path:
        """Make the key file (32 random bytes, base64, mode 0600). Raises ``KEY_FILE_EXISTS``: never replaces one."""
        keyring_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = keyring_dir / "kek"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as error:
            raise Refusal(
                "FAILED_PRECONDITION", "KEY_FILE_EXISTS", f"{path} exists; replacing it would lose every record"
            ) from error
        with os.fdopen(descriptor, "wb") as file:
            file.write(base64.b64encode(os.urandom(_KEY_BYTES)) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(keyring_dir)
        return path

    def derive(self, label: str) -> bytes:
        """A 32-byte key of this deployment for one use, from the key-encryption key by HKDF-SHA256."""
        key = self._derived.get(label)
        if key is None:
            key = HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"xinqiao/" + label.encode()).derive(self._kek)
            self._derived[label] = key
        return key

    def system_sealer(self) -> Sealer:
        """Seals records that belong to no student; it cannot be shredded."""
        return self._system

    def sealer_for(self, use: str) -> Sealer:
        """Seals what lies outside of the store, with a key for this use alone; it cannot be shredded."""
        return Sealer("", {_FIRST_VERSION: (self._suite, self.derive(use))})

    def ensure(self, students: Sequence[str]) -> None:
        """Create the missing keys, durably, in one transaction. Raises :class:`KeyGone` for a shredded student."""
        with self._memory:
            wanted = [student for student in dict.fromkeys(students) if student not in self._cache]
        if not wanted:
            return
        with self._database, self._engine.begin() as connection:
            missing = set(wanted) - self._load(connection, wanted).keys()
            self._refuse_shredded(connection, wanted)
            sql = self._statements.insert_if_absent(student_keys)
            now = self._clock.now_us()
            for student in wanted:
                if student in missing:
                    wrapped = aes_key_wrap(self._kek, os.urandom(_KEY_BYTES))
                    connection.exec_driver_sql(sql, (student, _FIRST_VERSION, self._suite, wrapped, now))

    def seal_first(self, table: str, records: Sequence[tuple[str, bytes]]) -> list[bytes]:
        """The first records of students who surely have no key yet, (student, plaintext) each, sealed in ``table``
        under the students' own ids with keys that are durable by then, made in one transaction, and not kept in memory.

        For a whole load: the ids must be freshly drawn and ascending, so that no key and no tombstone can be there.
        """
        if not records:
            return []
        secret = os.urandom(_KEY_BYTES * len(records))
        keys = [secret[at : at + _KEY_BYTES] for at in range(0, len(secret), _KEY_BYTES)]
        now, suite = self._clock.now_us(), self._suite
        rows = [
            (student, _FIRST_VERSION, suite, wrapped, now)
            for (student, _), wrapped in zip(records, wrap_all(self._kek, secret), strict=True)
        ]
        # The database takes the keys while the records are sealed, and both are done before anything is given away.
        stored = self._beside.submit(self._insert, rows)
        sealed = seal_first(records, _FIRST_VERSION, suite, keys, table=table)
        stored.result()
        return sealed

    def _insert(self, rows: "list[tuple[str, int, int, bytes, int]]") -> None:
        with self._database, self._engine.begin() as connection:
            start = 0
            for size in sizes(len(rows)):
                values = tuple(chain.from_iterable(rows[start : start + size]))
                connection.exec_driver_sql(self._statements.insert_rows(student_keys, size), values)
                start += size

    def sealer(self, student: str) -> Sealer:
        """The sealer of ``student``. Raises :class:`KeyGone` when there is no key (any more)."""
        sealer = self._cached(student)
        if sealer is None:
            sealer = self.sealers([student]).get(student)
        if sealer is None:
            raise KeyGone
        return sealer

    def sealers(self, students: Sequence[str]) -> dict[str, Sealer]:
        """The sealers of many students; a student without a key is left out."""
        found: dict[str, Sealer] = {}
        wanted: list[str] = []
        for student in dict.fromkeys(students):
            sealer = self._cached(student)
            if sealer is None:
                wanted.append(student)
            else:
                found[student] = sealer
        if wanted:
            # The lock is held until the cache is filled, so that a shred cannot slip in between.
            with self._database, self._engine.begin() as connection:
                loaded = self._load(connection, wanted)
                self._keep(loaded)
            found.update(loaded)
        return found

    def record(self, kind: type[M], row: RowMapping, *, table: str) -> M:
        """What a row of ``table`` seals for its student. Raises KeyGone or SealBroken."""
        return self.sealer(str(row["student"])).record(kind, bytes(row["sealed"]), table=table, key=str(row["id"]))

    def readable(self, kind: type[M], row: RowMapping, *, table: str) -> M | None:
        """As :meth:`record`; None where it is erased or broken, for one such record must not hide or block the others."""
        try:
            return self.record(kind, row, table=table)
        except (KeyGone, SealBroken):
            return None

    def shred(self, student: str) -> None:
        """Destroy the student's keys for ever; harmless when repeated."""
        with self._database:
            with self._engine.begin() as connection:
                connection.execute(delete(student_keys).where(student_keys.c.student == student))
                sql = self._statements.insert_if_absent(tombstones)
                connection.exec_driver_sql(sql, (student, self._clock.now_us()))
            with self._memory:
                self._cache.pop(student, None)
            if self._engine.dialect.name == "sqlite":
                self._overwrite_log()

    def close(self) -> None:
        """Forget the unwrapped keys and disconnect."""
        with self._memory:
            self._cache.clear()
        self._beside.shutdown()
        self._engine.dispose()

    def _cached(self, student: str) -> Sealer | None:
        with self._memory:
            entry = self._cache.get(student)
            if entry is None:
                return None
            sealer, until = entry
            if until is not math.inf and self._clock.monotonic() > until:
                del self._cache[student]
                return None
            self._cache.move_to_end(student)
            return sealer

    def _keep(self, loaded: dict[str, Sealer]) -> None:
        until = math.inf if self._trust_s is math.inf else self._clock.monotonic() + self._trust_s
        with self._memory:
            for student, sealer in loaded.items():
                self._cache[student] = (sealer, until)
            while len(self._cache) > self._capacity:
                self._cache.popitem(last=False)

    def _load(self, connection: Connection, students: Sequence[str]) -> dict[str, Sealer]:
        keys: dict[str, dict[int, tuple[int, bytes]]] = defaultdict(dict)
        columns = student_keys.c
        for chunk in _chunks(students):
            query = select(columns.student, columns.version, columns.suite, columns.wrapped)
            for student, version, suite, wrapped in connection.execute(query.where(columns.student.in_(chunk))):
                keys[student][version] = (suite, self._unwrap(wrapped))
        return {student: Sealer(student, versions) for student, versions in keys.items()}

    def _unwrap(self, wrapped: bytes) -> bytes:
        try:
            return aes_key_unwrap(self._kek, wrapped)
        except InvalidUnwrap as error:
            raise Refusal(
                "FAILED_PRECONDITION",
                "KEY_FILE_MISMATCH",
                "the key file did not wrap the keys in the key database; bring back the key file that belongs to it",
            ) from error

    def _refuse_shredded(self, connection: Connection, students: Sequence[str]) -> None:
        for chunk in _chunks(students):
            query = select(tombstones.c.student).where(tombstones.c.student.in_(chunk)).limit(1)
            if connection.execute(query).first() is not None:
                raise KeyGone

    def _check_match(self) -> None:
        with self._engine.begin() as connection:
            wrapped = connection.execute(select(student_keys.c.wrapped).limit(1)).scalar()
        if wrapped is not None:
            self._unwrap(wrapped)

    def _overwrite_log(self) -> None:
        """Move the deletion from SQLite's log into the file, where secure_delete zeroes the key, and cut the log."""
        raw = self._engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            raw.close()


def wrap_all(kek: bytes, keys: bytes) -> list[bytes]:
    """AES Key Wrap (RFC 3394) of many 256-bit keys laid end to end, all in one pass: a quarter of the time."""
    count = len(keys) // _KEY_BYTES
    words = array("Q", keys)
    first, rest = array("Q", b"\xa6" * 8 * count), [words[at::4] for at in range(4)]
    blocks = array("Q", bytes(16 * count))
    cipher = Cipher(AES(kek), modes.ECB()).encryptor()  # noqa: S305 - RFC 3394 is made of single blocks
    for step in range(24):
        blocks[0::2], blocks[1::2] = first, rest[step % 4]
        enciphered = array("Q", cipher.update(blocks.tobytes()))
        counted = int.from_bytes((step + 1).to_bytes(8, "big") * count, "big")
        first = array("Q", (int.from_bytes(enciphered[0::2].tobytes(), "big") ^ counted).to_bytes(8 * count, "big"))
        rest[step % 4] = enciphered[1::2]
    whole = array("Q", bytes(40 * count))
    for at, column in enumerate((first, *rest)):
        whole[at::5] = column
    wrapped = whole.tobytes()
    return [wrapped[at : at + 40] for at in range(0, len(wrapped), 40)]


def _chunks(students: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(students), _CHUNK):
        yield students[start : start + _CHUNK]


def _read_key_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(1024)
    except FileNotFoundError as error:
        raise Refusal(
            "FAILED_PRECONDITION", "KEY_FILE_MISSING", f"{path} is missing; bring it back, or create a new keyring"
        ) from error
    if mode & 0o077:
        raise Refusal(
            "FAILED_PRECONDITION",
            "KEY_FILE_MODE",
            f"{path} has mode {mode:04o}: others on this machine can use it. Run: chmod 600 {path}",
        )
    try:
        key = base64.b64decode(content.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != _KEY_BYTES:
        raise Refusal("FAILED_PRECONDITION", "KEY_FILE_BROKEN", f"{path} must hold {_KEY_BYTES} bytes in base64")
    return key


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
