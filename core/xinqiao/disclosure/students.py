"""Students under their many names: one random id inside, a pseudonym for each partner outside."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from xinqiao.api.common.v1.types_pb2 import Student, StudentRef
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.guardians import hide_conflicts
from xinqiao.disclosure.registry import Partner
from xinqiao.store import tables
from xinqiao.store.errors import KeyGone
from xinqiao.store.ids import new_ids
from xinqiao.store.keys import KeyStore
from xinqiao.store.sql import Select, bindparam, delete, func, select
from xinqiao.store.tx import ReadTx, Tx, end_to_end

_NEAR = 4  # bytes of a blind id that neighbours share
_APART = 2  # last characters in which neighbours differ
_STUDENT = select(tables.students.c.id, tables.students.c.school)
_LOCAL, _OTHER = tables.local_ids.c, tables.pseudonyms.c
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_LETTERS = 26  # of a pseudonym
_BITS = {letter: bits for bits, letter in enumerate(_ALPHABET)}
_BY_LOCAL_ID = _STUDENT.join(tables.local_ids, _LOCAL.student == tables.students.c.id).where(
    (_LOCAL.partner == bindparam("partner")) & (_LOCAL.blind == bindparam("key"))
)
_ASKED = 250  # local ids in one statement
_NAMES_ASKED = tuple(f"k{n}" for n in range(_ASKED))
_OURS = (_LOCAL.partner == bindparam("partner")) & _LOCAL.blind.in_([bindparam(name) for name in _NAMES_ASKED])
_BY_LOCAL_IDS = (
    select(_LOCAL.blind, tables.students.c.id, tables.students.c.school)
    .join(tables.local_ids, _LOCAL.student == tables.students.c.id)
    .where(_OURS)
)
_STORED = (
    select(_LOCAL.blind, tables.students.c.id, tables.students.c.version, tables.students.c.sealed)
    .join(tables.local_ids, _LOCAL.student == tables.students.c.id)
    .where(_OURS)
)
_THERE = (
    select(_LOCAL.blind, tables.students.c.id, tables.students.c.version, tables.students.c.left_us)
    .join(tables.local_ids, _LOCAL.student == tables.students.c.id)
    .where(_OURS)
)
_BY_ID = _STUDENT.where(tables.students.c.id == bindparam("key"))
_ANY = select(_LOCAL.blind).where(_LOCAL.partner == bindparam("partner")).limit(1)
_BY_PSEUDONYM = _STUDENT.join(tables.pseudonyms, _OTHER.student == tables.students.c.id).where(
    (_OTHER.partner == bindparam("partner")) & (_OTHER.pseudonym == bindparam("key"))
)


Read = Callable[[], AbstractContextManager[ReadTx]]
"""Gives a snapshot."""


class Known(NamedTuple):
    """A student as the store knows one: internal id and school code."""

    id: str
    school: str


Fresh = tuple[str, str, bool, bytes]
"""A student who is not stored yet, ready to be, the key durable and the record sealed: id, school, left, sealed record.
Plain, as a city has a million of them."""


class Changed(NamedTuple):
    """A student as stored under ``version``, with the record that is to replace it; None where it is the same."""

    version: int
    sealed: bytes | None


class Prepared(NamedTuple):
    """What registering needs and may be done before its transaction: the students' blind ids, who was new then, and
    what is to become of those who were not."""

    blinds: list[bytes]
    fresh: dict[bytes, Fresh]
    changed: dict[bytes, Changed]


class _Ciphers(threading.local):
    """A thread's own encryptor and decryptor by agency. Whole blocks of ECB leave nothing behind in them, so they serve
    again and again: making one costs more than ten names."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[CipherContext, CipherContext]] = {}


class Students:
    """Registers, finds and names students. Keys of the blind index and of pseudonyms are derived, per agency."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys
        self._derived: dict[str, HMAC] = {}
        self._ciphers = _Ciphers()
        self._skip: dict[str, int] = {}

    def prepare(self, read: Read, partner: Partner, students: Sequence[Student]) -> Prepared:
        """The work of :meth:`register_all` that needs no transaction: who is new gets an id, a durable key and a seal,
        whose record is another gets it sealed.

        The snapshot is given back before the long part: while one is held, SQLite's log only grows. Whoever is
        registered by another meanwhile leaves only a key behind that opens nothing.
        """
        local_ids = [student.local_id for student in students]
        with read() as reading:
            blinds = self._blinds(reading, partner.agency, local_ids)
            last = dict(zip(blinds, students, strict=True))
            stored = {bytes(blind): row for blind, *row in _asked(reading, _STORED, partner.agency, last)}
            now_us = reading.now_us
        new = {blind: student for blind, student in last.items() if blind not in stored} if stored else last
        return Prepared(blinds, self._fresh(new, now_us), self._changed(stored, last))

    def register_all(
        self, tx: Tx, partner: Partner, students: Iterable[Student], prepared: Prepared | None = None
    ) -> list[Known]:
        """Insert or update students of ``partner``, in the order given; one whose record is the same is left alone.

        Of a student given twice the last record counts. ``prepared`` is of the same students. Raises Refusal
        PERMISSION_DENIED/SCOPE for a school the partner does not serve.
        """
        listed = list(students)
        self.check_scope(partner, listed)
        blinds, fresh, changed = prepared or (
            self._blinds(tx, partner.agency, [student.local_id for student in listed]), dict[bytes, Fresh](),
            dict[bytes, Changed](),
        )  # fmt: skip
        last = dict(zip(blinds, listed, strict=True))
        there = _asked(tx, _THERE, partner.agency, last)
        stored = {bytes(blind): (str(of), int(at), int(left_us)) for blind, of, at, left_us in there}
        # Whom another has changed meanwhile, or registered, was not prepared as stored now.
        stale = [blind for blind, (_, at, _) in stored.items() if blind not in changed or changed[blind].version != at]
        if stale:
            rows = {bytes(blind): row for blind, *row in _asked(tx, _STORED, partner.agency, stale)}
            changed = changed | self._changed(rows, last)
        self._change(tx, [(*stored[blind], last[blind], changed[blind].sealed) for blind in stored])
        new = {blind: student for blind, student in last.items() if blind not in stored} if stored else last
        if unprepared := new.keys() - fresh.keys():
            missing = {blind: student for blind, student in new.items() if blind in unprepared}
            fresh = fresh | self._fresh(missing, tx.now_us)
        added = fresh if fresh.keys() == new.keys() else {blind: fresh[blind] for blind in new}
        self._add(tx, partner.agency, added)
        ids = {blind: identifier for blind, (identifier, _, _) in stored.items()}
        ids |= {blind: one[0] for blind, one in added.items()}
        return [Known(ids[blind], last[blind].school) for blind in blinds]

    def check_scope(self, partner: Partner, students: Sequence[Student]) -> None:
        """Raises Refusal PERMISSION_DENIED/SCOPE."""
        if not {student.school for student in students} <= partner.schools:
            raise Refusal("PERMISSION_DENIED", "SCOPE", "a school is not one of the caller's")

    def _changed(self, stored: "dict[bytes, list[Any]]", last: dict[bytes, Student]) -> dict[bytes, Changed]:
        """What is to become of stored students, (id, version, sealed) each. Raises KeyGone, SealBroken."""
        sealers = self._keys.sealers([identifier for identifier, _, _ in stored.values()])
        changed: dict[bytes, Changed] = {}
        for blind, (identifier, version, sealed) in stored.items():
            record, sealer = _plain(last[blind]), sealers.get(identifier)
            if sealer is None:
                raise KeyGone
            same = sealer.open(bytes(sealed), table="students", key=identifier) == record
            changed[blind] = Changed(version, None if same else sealer.seal(record, table="students", key=identifier))
        return changed

    def _change(self, tx: Tx, found: "list[tuple[str, int, int, Student, bytes | None]]") -> None:
        tx.update_many(
            tables.students, ("school", "state", "updated_us", "version", "left_us", "sealed"),
            [
                (
                    student.school, int(student.left), tx.now_us, version + 1,
                    (left_us or tx.now_us) if student.left else 0, sealed, identifier,
                )
                for identifier, version, left_us, student, sealed in found if sealed is not None
            ],
        )  # fmt: skip

    def _fresh(self, new: dict[bytes, Student], now_us: int) -> dict[bytes, Fresh]:
        """Ids (one after another in every index), keys and seals."""
        identifiers = new_ids(now_us, len(new))
        # One transaction of the key store for all of them: a key without a student is harmless, the reverse is not.
        records = [_plain(student) for student in new.values()]
        sealed = self._keys.seal_first("students", list(zip(identifiers, records, strict=True)))
        about = ([student.school for student in new.values()], [student.left for student in new.values()])
        return dict(zip(new, zip(identifiers, *about, sealed, strict=True), strict=True))

    def _add(self, tx: Tx, agency: str, fresh: dict[bytes, Fresh]) -> None:
        if not fresh:
            return
        now, count = [tx.now_us] * len(fresh), len(fresh)
        identifiers, schools, left, sealed = zip(*fresh.values(), strict=True)
        left_us = [tx.now_us if one else 0 for one in left]
        columns = (identifiers, schools, [""] * count, list(map(int, left)), now, now, [1] * count, sealed, left_us)
        tx.insert_values(tables.students, end_to_end(columns))
        blinds, found = zip(*sorted(zip(fresh, identifiers, strict=True)), strict=True)
        tx.insert_values(tables.local_ids, end_to_end(([agency] * count, blinds, found)))

    def resolve(self, tx: ReadTx, partner: Partner, ref: StudentRef) -> Known:
        """The student a caller means. Raises Refusal NOT_FOUND/STUDENT, for an absent and a foreign one alike."""
        if ref.WhichOneof("ref") == "local_id":
            agency = partner.agency
            rows = tx.find(
                _BY_LOCAL_ID, partner=agency, key=self.blind(agency, ref.local_id)[self._skipped(tx, agency) :]
            )
        else:
            pseudonym = ref.name.removeprefix("students/")
            rows = tx.find(_BY_ID, key=self.identified(partner.agency, pseudonym)) or tx.find(
                _BY_PSEUDONYM, partner=partner.agency, key=pseudonym
            )
        if not rows or (partner.schools and str(rows[0]["school"]) not in partner.schools):
            raise Refusal("NOT_FOUND", "STUDENT", "no such student for this caller")
        return Known(str(rows[0]["id"]), str(rows[0]["school"]))

    def resolve_all(self, tx: ReadTx, partner: Partner, local_ids: Sequence[str]) -> list[Known | None]:
        """The students of many local ids, None for one that :meth:`resolve` would refuse."""
        blinds = self._blinds(tx, partner.agency, local_ids)
        asked, schools = _asked(tx, _BY_LOCAL_IDS, partner.agency, set(blinds)), partner.schools
        found = {
            bytes(blind): Known(student, school)
            for blind, student, school in asked if not schools or school in schools
        }  # fmt: skip
        return list(map(found.get, blinds))

    def load(self, tx: ReadTx, student: str, agency: str) -> Student:
        """The whole record, named for ``agency``; only the door may let it out."""
        row = tx.get(tables.students, student)
        if row is None:
            raise Refusal("NOT_FOUND", "STUDENT", "no such student for this caller")
        record = self._keys.sealer(student).record(Student, bytes(row["sealed"]), table="students", key=student)
        record.name = self.name(agency, student)
        return record

    def leaving(self, tx: ReadTx, student: str, agency: str) -> Student:
        """The record as another agency may get it at all: without the school's own number, or a guardian in conflict."""
        record = self.load(tx, student, agency)
        record.local_id = ""
        hide_conflicts(record)
        return record

    def forget(self, tx: Tx, student: str) -> None:
        """Remove every name under which an agency knows the student; one who is registered again is somebody new."""
        tx.execute(delete(tables.local_ids).where(_LOCAL.student == student))
        tx.execute(delete(tables.pseudonyms).where(_OTHER.partner.in_(_agencies(tx)) & (_OTHER.student == student)))

    def name(self, agency: str, student: str) -> str:
        """`students/{pseudonym}`, as :meth:`names`."""
        return self.names(agency, [student])[0]

    def names(self, agency: str, students: Sequence[str]) -> list[str]:
        """The internal ids enciphered under a key of the agency: two agencies' names cannot be joined.

        Enciphered, not hashed: there is nothing to look up, so no index in random order that a city's roster would
        have to write all over.
        """
        plain = bytes.fromhex("".join(students))
        if len(plain) % 16:  # the rest would stay in the cipher, before the next id
            raise ValueError("an internal id has 32 hex digits")
        enciphered = self._cipher(agency)[0].update(plain)
        return ["students/" + _base32(enciphered[at : at + 16]) for at in range(0, len(enciphered), 16)]

    def blind(self, agency: str, local_id: str) -> bytes:
        """The keyed hash under which an agency's own id is looked up; never the id itself.

        Four bytes of the id without its last two characters, then sixteen of all of it: ids given one after another
        lie together in the index, and all that shows is that they were.
        """
        return self._keyed(f"near/{agency}", local_id[:-_APART])[:_NEAR] + self._keyed(f"blind/{agency}", local_id)

    def _blinds(self, tx: ReadTx, agency: str, local_ids: Sequence[str]) -> list[bytes]:
        """As :meth:`blind`, of many, as the agency's students are stored."""
        skip = self._skipped(tx, agency)
        near = dict.fromkeys([local_id[:-_APART] for local_id in local_ids], b"")
        for text in near if not skip else ():
            near[text] = self._keyed(f"near/{agency}", text)[:_NEAR]
        label, keyed = f"blind/{agency}", self._keyed
        return [near[local_id[:-_APART]] + keyed(label, local_id) for local_id in local_ids]

    def _skipped(self, tx: ReadTx, agency: str) -> int:
        """How many bytes an agency's blind ids lack: an index from before there were neighbours goes on without them."""
        skip = self._skip.get(agency)
        if skip is None:
            stored = tx.find(_ANY, partner=agency)
            skip = self._skip[agency] = _NEAR if stored and len(stored[0]["blind"]) == 16 else 0
        return skip

    def _cipher(self, agency: str) -> "tuple[CipherContext, CipherContext]":
        both = self._ciphers.known.get(agency)
        if both is None:
            # Each id is one block, and no two are the same: what ECB shows of repeats is not there to be shown.
            cipher = Cipher(AES(self._keys.derive(f"name/{agency}")), modes.ECB())  # noqa: S305
            both = self._ciphers.known[agency] = cipher.encryptor(), cipher.decryptor()
        return both

    def identified(self, agency: str, pseudonym: str) -> str:
        """The id that :meth:`name` gave this pseudonym; some other id, or none, where it gave none."""
        bits = 0
        for letter in pseudonym:
            bits = bits << 5 | _BITS.get(letter, 0)
        if len(pseudonym) != _LETTERS or bits & 3:
            return ""
        return self._cipher(agency)[1].update((bits >> 2).to_bytes(16, "big")).hex()

    def _keyed(self, label: str, text: str) -> bytes:
        """16 bytes of HMAC-SHA256 under the key of ``label``; the keyed state is made once and copied."""
        keyed = self._derived.get(label)
        if keyed is None:
            keyed = self._derived[label] = HMAC(self._keys.derive(label), SHA256())
        keyed = keyed.copy()
        keyed.update(text.encode())
        return keyed.finalize()[:16]


def _agencies(tx: Tx) -> list[str]:
    """Every agency that has a pseudonym, found by leaps in the primary key: there is no index by student alone."""
    found: list[str] = []
    while (
        agency := tx.scalar(select(func.min(_OTHER.partner)).where(_OTHER.partner > (found or [""])[-1]))
    ) is not None:
        found.append(str(agency))
    return found


def _plain(record: Student) -> bytes:
    """The record as it is sealed: under no partner's name."""
    if not record.name:
        return record.SerializeToString()
    stored = Student()
    stored.CopyFrom(record)
    stored.name = ""
    return stored.SerializeToString()


def _base32(digest: bytes) -> str:
    """RFC 4648 base32 of 16 bytes in lower case, without padding; ``base64`` takes five times as long."""
    bits = int.from_bytes(digest, "big") << 2
    return "".join([_PAIRS[bits >> shift & 1023] for shift in range(120, -1, -10)])


def _asked(
    tx: ReadTx, statement: "Select[*tuple[Any, ...]]", agency: str, blinds: Iterable[bytes]
) -> Iterator[Sequence[Any]]:
    """The rows of a kept statement over ``_OURS``; always the same one, so it is rendered once."""
    ordered = sorted(blinds)  # as they lie in the index: in random order they take three times as long to find
    for start in range(0, len(ordered), _ASKED):
        part = ordered[start : start + _ASKED]
        part += part[-1:] * (_ASKED - len(part))
        yield from tx.pick(statement, partner=agency, **dict(zip(_NAMES_ASKED, part, strict=True)))
