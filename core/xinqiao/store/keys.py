"""Students' keys: one 256-bit data key each, wrapped by a key-encryption key, in a database of their own.

Destroying a student's keys makes every sealed record of the student unreadable, in backups of the records too. The
hierarchy: a provider's master key wraps the key-encryption keys (``keks``), the newest of those wraps the students' keys
and the deployment's root key, from which every key is derived that must outlive a rotation.
"""

import math
import os
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand
from sqlalchemy import Connection, Engine, RowMapping, bindparam, delete, exists, func, not_, select, update

from xinqiao.contract.clock import Clock
from xinqiao.contract.errors import Refusal
from xinqiao.store.databases import BUSY_MS, make_engine, parse_url
from xinqiao.store.errors import KeyGone, SealBroken
from xinqiao.store.keks import LEGACY, Keks
from xinqiao.store.providers import KEY_BYTES, FileProvider, KeyProvider, create_key_file
from xinqiao.store.sealing import AES_256_GCM, SUITES, M, Sealer, seal_first
from xinqiao.store.statements import Statements, sizes
from xinqiao.store.tables import deployment_keys, keks, student_keys, tombstones

_CHUNK = 500
_LOG_MS = 100
_FIRST_VERSION = 1
_ROOT = "root"
# Another gateway, or the one beside a read-only store, may shred a student: a key is trusted from memory no longer than this.
_SHARED_TRUST_S = 5.0
_K = student_keys.c
_STUDENTS_KEYS = select(_K.student, _K.version, _K.suite, _K.kek, _K.wrapped).where(
    # A key that an older copy of this database brought back stays without effect.
    not_(exists().where(tombstones.c.student == _K.student))
)
_OF_THESE = _STUDENTS_KEYS.where(_K.student.in_(bindparam("students", expanding=True)))
_TO_REWRAP = (
    select(_K.student, _K.version, _K.kek, _K.wrapped)
    .where((_K.student >= bindparam("after")) & _K.kek.in_(bindparam("older", expanding=True)))
    .order_by(_K.student, _K.version)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)


@dataclass(frozen=True, slots=True)
class KeysState:
    """How the keys stand: the version that wraps, who holds it, how many versions are retired and not yet destroyed, and
    in a rotation under way how many of ``total`` keys are ``left`` to rewrap (both 0 until they were counted)."""

    current: int
    provider: str
    retired: int
    rewrapping: bool
    left: int
    total: int


class KeyStore:
    """Creates, caches, rewraps and destroys keys. Safe to use from any thread."""

    def __init__(
        self,
        keyring_dir: Path,
        keys_url: str,
        clock: Clock,
        *,
        suite: int = AES_256_GCM,
        capacity: int = 20_000,
        read_only: bool = False,
        provider: KeyProvider | None = None,
    ) -> None:
        """Open the keys at ``keys_url`` (its schema must exist); ``provider`` holds the master key, by default the
        files in ``keyring_dir``.

        A ``read_only`` one stands beside the gateway that owns the keys. ``suite`` is given to new keys, ``capacity``
        bounds the unwrapped keys in memory. Raises Refusals ``KEY_FILE_MISSING``, ``KEY_FILE_MODE``,
        ``KEY_FILE_BROKEN`` and, when the master key is not the one that wrapped these keys, ``KEY_FILE_MISMATCH``;
        of other providers what :class:`~xinqiao.store.providers.KeyProvider` lists.
        """
        if suite not in SUITES:
            raise Refusal("INVALID_ARGUMENT", "SUITE", f"the sealing suite must be one of {SUITES}")
        file = FileProvider(keyring_dir)
        self._keks = Keks(provider or file, [file])
        self._clock = clock
        self._suite = suite
        self._capacity = capacity
        self._engine = make_engine(parse_url(keys_url, "key"), "reader" if read_only else "keys", readers=1)
        self._counting: Engine | None = None
        self._keys_url = keys_url
        self._statements = Statements(self._engine.dialect)
        alone = self._engine.dialect.name == "sqlite" and not read_only
        self._trust_s = math.inf if alone else _SHARED_TRUST_S
        self._database = threading.Lock()
        self._beside = ThreadPoolExecutor(1, "keys")
        self._memory = threading.Lock()
        self._cache: OrderedDict[str, tuple[Sealer, float]] = OrderedDict()
        self._derived: dict[str, bytes] = {}
        self._system: Sealer | None = None
        self._log_owed = False
        self._passed = ""  # rewrapped up to this student
        self._left = self._total = 0
        try:
            with self._engine.begin() as connection:
                self._root = self._open(connection, create=not read_only)
        except BaseException:
            self._engine.dispose()
            raise

    @staticmethod
    def create(keyring_dir: Path) -> Path:
        """Make the key file (32 random bytes, base64, mode 0600). Raises ``KEY_FILE_EXISTS``: never replaces one."""
        create_key_file(keyring_dir / "kek")
        return keyring_dir / "kek"

    def derive(self, label: str) -> bytes:
        """A 32-byte key of this deployment for one use, from its root key by HKDF-SHA256 (RFC 5869, expand)."""
        key = self._derived.get(label)
        if key is None:
            if self._root is None:
                raise Refusal("FAILED_PRECONDITION", "KEYS_EMPTY", "the key database is empty: start the gateway first")
            key = HKDFExpand(SHA256(), KEY_BYTES, info=b"xinqiao/" + label.encode()).derive(self._root)
            self._derived[label] = key
        return key

    def system_sealer(self) -> Sealer:
        """Seals records that belong to no student; it cannot be shredded."""
        if self._system is None:
            self._system = self.sealer_for("system")
        return self._system

    def sealer_for(self, use: str) -> Sealer:
        """Seals what lies outside of the store, with a key for this use alone; it cannot be shredded."""
        key = self.derive(use)
        # A version a suite: what was sealed before the deployment changed its suite still opens.
        return Sealer("", {suite: (suite, key) for suite in SUITES}, seals=self._suite)

    def ensure(self, students: Sequence[str]) -> None:
        """Create the missing keys, durably, in one transaction. Raises :class:`KeyGone` for a shredded student."""
        with self._memory:
            wanted = [student for student in dict.fromkeys(students) if student not in self._cache]
        if not wanted:
            return
        with self._database, self._engine.begin() as connection:
            missing = set(wanted) - self._load(connection, wanted).keys()
            self._refuse_shredded(connection, wanted)
            if not missing:
                return
            sql = self._statements.insert_if_absent(student_keys)
            now, kek = self._clock.now_us(), self._keks.current(connection)
            for student in wanted:
                if student in missing:
                    wrapped = self._keks.wrap(kek, os.urandom(KEY_BYTES))
                    connection.exec_driver_sql(sql, (student, _FIRST_VERSION, self._suite, wrapped, now, kek))

    def seal_first(self, table: str, records: Sequence[tuple[str, bytes]]) -> list[bytes]:
        """The first records of students who surely have no key yet, (student, plaintext) each, sealed in ``table``
        under the students' own ids with keys that are durable by then, made in one transaction, and not kept in memory.

        For a whole load: the ids must be freshly drawn and ascending, so that no key and no tombstone can be there.
        """
        if not records:
            return []
        secret = os.urandom(KEY_BYTES * len(records))
        keys = [secret[at : at + KEY_BYTES] for at in range(0, len(secret), KEY_BYTES)]
        # The database takes the keys while the records are sealed, and both are done before anything is given away.
        stored = self._beside.submit(self._insert, [student for student, _ in records], secret)
        sealed = seal_first(records, _FIRST_VERSION, self._suite, keys, table=table)
        stored.result()
        return sealed

    def _insert(self, students: Sequence[str], secret: bytes) -> None:
        now, suite = self._clock.now_us(), self._suite
        with self._database, self._engine.begin() as connection:
            kek = self._keks.current(connection)
            wrapped = self._keks.wrap_all(kek, secret)
            rows = [
                (student, _FIRST_VERSION, suite, one, now, kek) for student, one in zip(students, wrapped, strict=True)
            ]
            start = 0
            for size in sizes(len(rows)):
                values = tuple(chain.from_iterable(rows[start : start + size]))
                connection.exec_driver_sql(self._statements.insert_rows(student_keys, size), values)
                start += size

    def sealer(self, student: str) -> Sealer:
        """The sealer of ``student``. Raises :class:`KeyGone` when there is no key (any more)."""
        with self._memory:
            sealer = self._recalled(student)
        if sealer is None:
            sealer = self.sealers([student]).get(student)
        if sealer is None:
            raise KeyGone
        return sealer

    def sealers(self, students: Sequence[str], *, keep: bool = True) -> dict[str, Sealer]:
        """The sealers of many students; a student without a key is left out.

        Without ``keep`` for a pass over many, each seen once: it must not push out those whom the day's work asks for.
        """
        with self._memory:
            known = {student: self._recalled(student) for student in dict.fromkeys(students)}
        found = {student: sealer for student, sealer in known.items() if sealer is not None}
        wanted = [student for student in known if student not in found] if len(found) < len(known) else []
        if wanted:
            # The lock is held until the cache is filled, so that a shred cannot slip in between.
            with self._database, self._engine.begin() as connection:
                loaded = self._load(connection, wanted)
                if keep:
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
                connection.execute(delete(student_keys).where(_K.student == student))
                sql = self._statements.insert_if_absent(tombstones)
                connection.exec_driver_sql(sql, (student, self._clock.now_us()))
            with self._memory:
                self._cache.pop(student, None)
            self._log_owed = True
            self._overwrite_log()

    def shredded(self) -> list[str]:
        """Every student whose keys were destroyed."""
        with self._database, self._engine.begin() as connection:
            return list(connection.execute(select(tombstones.c.student)).scalars())

    def erased(self) -> int:
        """How many students' keys were destroyed. While this stays the same, what opened before opens still."""
        with self._database, self._engine.begin() as connection:
            return connection.execute(select(func.count()).select_from(tombstones)).scalar_one()

    def rotate(self) -> int:
        """Make a new key-encryption key under a new version of the master key, and return its version: it wraps what is
        new from now on, :meth:`rewrap` brings the rest over.

        Raises Refusal ``FAILED_PRECONDITION/ROTATION_RUNNING`` while the last rotation is not finished.
        """
        with self._database, self._engine.begin() as connection:
            self._keks.load(connection)
            if self.rewrapping:
                raise Refusal(
                    "FAILED_PRECONDITION", "ROTATION_RUNNING",
                    "keys are still being brought over from the last rotation; it goes on by itself",
                )  # fmt: skip
        new = self._keks.make(self._keks.provider.rotate())  # a provider may take its time: nobody waits for it
        with self._database:
            with self._engine.begin() as connection:
                version = self._keks.store(connection, self._statements, new, self._clock.now_us())
            with self._engine.begin() as connection:
                self._keks.load(connection)
        return version

    def rewrap(self, limit: int = 200) -> int:
        """Bring up to ``limit`` keys under the newest key-encryption key and say how many; at the end retire the older
        ones. 0 when there is nothing to do.

        Each call is one transaction, so a process that dies loses at most one call's work and the next one goes on.
        """
        if not self.rewrapping:
            return 0
        if not self._total:
            self._count()
        with self._database, self._engine.begin() as connection:
            newest = self._keks.current(connection)
            asked = {"after": self._passed, "older": self._keks.versions[:-1], "limit": limit}
            rows = connection.execute(_TO_REWRAP, asked).all()
            if rows:
                rewrap = self._keks.rewrap
                anew = [
                    (student, version, newest, rewrap(kek, newest, bytes(wrapped)))
                    for student, version, kek, wrapped in rows
                ]
                start = 0
                for size in sizes(len(anew)):
                    sql = self._statements.update_rows(student_keys, ("kek", "wrapped"), size)
                    connection.exec_driver_sql(sql, tuple(chain.from_iterable(anew[start : start + size])))
                    start += size
                self._passed, self._left = rows[-1].student, max(0, self._left - len(rows))
                return len(rows)
            self._finish(connection, newest)
        self._log_owed = True
        self.overwrite_log()
        return 0

    def destroy_retired(self) -> list[int]:
        """Destroy the retired key-encryption keys, and the versions of the master key that only they needed.

        From then on no older copy of the key database can be read by anyone. Returns their versions.
        """
        with self._database:
            with self._engine.begin() as connection:
                gone = list(connection.execute(select(keks.c.version).where(keks.c.retired_us > 0)).scalars())
                connection.execute(delete(keks).where(keks.c.retired_us > 0))
                held = select(keks.c.provider, func.min(keks.c.provider_version)).group_by(keks.c.provider)
                least = {name: int(version) for name, version in connection.execute(held)}
            # Only after the commit: a key-encryption key that cannot be opened any more would stop the next start.
            for provider in self._keks.providers:
                if provider.name in least and least[provider.name] > 1:
                    provider.destroy(least[provider.name] - 1)
            self._log_owed = True
            self._overwrite_log()
        return gone

    def state(self) -> KeysState:
        """How the keys stand; never asks the provider."""
        with self._database, self._engine.begin() as connection:
            retired = connection.execute(select(func.count()).where(keks.c.retired_us > 0)).scalar_one()
            current = self._keks.versions[-1]
            held = connection.execute(select(keks.c.provider).where(keks.c.version == current)).scalar_one()
        return KeysState(current, str(held), retired, self.rewrapping, self._left, self._total)

    @property
    def rewrapping(self) -> bool:
        """Whether :meth:`rewrap` has something to do."""
        return len(self._keks.versions) > 1

    def overwrite_log(self) -> bool:
        """Get what was destroyed out of SQLite's log too; False while a reader holds the log, then call again."""
        with self._database:
            return self._overwrite_log()

    def close(self) -> None:
        """Forget the unwrapped keys and disconnect."""
        with self._memory:
            self._cache.clear()
        self._beside.shutdown()
        self._engine.dispose()
        if self._counting is not None:
            self._counting.dispose()

    def _open(self, connection: Connection, *, create: bool) -> bytes | None:
        """Open the key-encryption keys and the root key, and make those that are missing; the root key."""
        self._keks.load(connection)
        if create and self._keks.versions in ([], [LEGACY]):
            new = self._keks.make(self._keks.provider.health()[-1])
            self._keks.store(connection, self._statements, new, self._clock.now_us())
            self._keks.load(connection)
        found = select(deployment_keys.c.kek, deployment_keys.c.wrapped).where(deployment_keys.c.name == _ROOT)
        row = connection.execute(found).first()
        if row is None:
            # What the key file derived directly must stay as it is: partners know students by it.
            legacy = self._keks.legacy
            root = os.urandom(KEY_BYTES) if legacy is None else HKDF.extract(SHA256(), None, legacy)
            if not create:
                return None if legacy is None else root
            kek = self._keks.current(connection)
            sql = self._statements.insert_if_absent(deployment_keys)
            connection.exec_driver_sql(sql, (_ROOT, kek, self._keks.wrap(kek, root)))
            row = connection.execute(found).one()
        return self._keks.unwrap(connection, row.kek, bytes(row.wrapped))

    def _count(self) -> None:
        """How many keys there are and how many wait. Apart from the connection that serves: a city takes a moment."""
        if self._counting is None:
            self._counting = make_engine(parse_url(self._keys_url, "key"), "reader", readers=1)
        waiting = func.count().filter(_K.kek.in_(self._keks.versions[:-1]))
        with self._counting.begin() as reading:
            self._total, self._left = reading.execute(select(func.count(), waiting).select_from(student_keys)).one()

    def _finish(self, connection: Connection, newest: int) -> None:
        """The end of a pass: the deployment's own keys, then the older versions are retired if nothing needs them."""
        for name, kek, wrapped in connection.execute(select(deployment_keys)).all():
            if kek < newest:
                anew = self._keks.rewrap(kek, newest, bytes(wrapped))
                own = deployment_keys.c.name == name
                connection.execute(update(deployment_keys).where(own).values(kek=newest, wrapped=anew))
        if self._engine.dialect.name != "sqlite":
            # Whoever was about to wrap under an older version holds it; after that another pass is due.
            connection.execute(select(keks.c.version).where(keks.c.version < newest).with_for_update())
            left = select(_K.student).where(_K.kek.in_(self._keks.versions[:-1])).limit(1)
            if connection.execute(left).first() is not None:
                self._passed = ""
                return
        self._keks.retire(connection, newest, self._clock.now_us())
        self._keks.load(connection)
        self._passed, self._left, self._total = "", 0, 0

    def _recalled(self, student: str) -> Sealer | None:
        """From memory, for who holds its lock."""
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
        unwrap = self._keks.unwrap
        for chunk in _chunks(students):
            found = connection.execute(_OF_THESE, {"students": chunk}).all()
            for student, version, suite, kek, wrapped in found:
                keys[student][version] = (suite, unwrap(connection, kek, bytes(wrapped)))
        return {student: Sealer(student, versions) for student, versions in keys.items()}

    def _refuse_shredded(self, connection: Connection, students: Sequence[str]) -> None:
        for chunk in _chunks(students):
            query = select(tombstones.c.student).where(tombstones.c.student.in_(chunk)).limit(1)
            if connection.execute(query).first() is not None:
                raise KeyGone

    def _overwrite_log(self) -> bool:
        """Move the deletion from SQLite's log into the file, where secure_delete zeroes the key, and cut the log."""
        if self._log_owed and self._engine.dialect.name == "sqlite":
            raw = self._engine.raw_connection()
            try:
                cursor = raw.cursor()
                cursor.execute(f"PRAGMA busy_timeout={_LOG_MS}")  # whoever needs a key waits meanwhile
                busy, _, _ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
                cursor.execute(f"PRAGMA busy_timeout={BUSY_MS}")
            finally:
                raw.close()
            self._log_owed = bool(busy)
        return not self._log_owed


def _chunks(students: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(students), _CHUNK):
        yield students[start : start + _CHUNK]
