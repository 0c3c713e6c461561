"""Students under their many names: one random id inside, a pseudonym for each partner outside."""

import secrets
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from xinqiao.api.common.v1.types_pb2 import Student, StudentRef
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.registry import Partner
from xinqiao.store import tables
from xinqiao.store.errors import KeyGone
from xinqiao.store.keys import KeyStore
from xinqiao.store.sql import RowMapping, bindparam, select
from xinqiao.store.tx import ReadTx, Tx

_NAMES = 20_000  # pseudonyms kept in memory
_STUDENT = select(tables.students.c.id, tables.students.c.school)
_LOCAL, _OTHER = tables.local_ids.c, tables.pseudonyms.c
_STORED = select(
    _LOCAL.blind, tables.students.c.id, tables.students.c.version, tables.students.c.sealed
).join(tables.local_ids, _LOCAL.student == tables.students.c.id)  # fmt: skip
_CHUNK = 500
_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS = [first + second for first in _ALPHABET for second in _ALPHABET]
_BY_LOCAL_ID = _STUDENT.join(tables.local_ids, _LOCAL.student == tables.students.c.id).where(
    (_LOCAL.partner == bindparam("partner")) & (_LOCAL.blind == bindparam("key"))
)
_ASKED = 250  # local ids in one statement
_BY_LOCAL_IDS = (
    select(_LOCAL.blind, tables.students.c.id, tables.students.c.school)
    .join(tables.local_ids, _LOCAL.student == tables.students.c.id)
    .where((_LOCAL.partner == bindparam("partner")) & _LOCAL.blind.in_([bindparam(f"k{n}") for n in range(_ASKED)]))
)
_NAMES_ASKED = tuple(f"k{n}" for n in range(_ASKED))
_BY_PSEUDONYM = _STUDENT.join(tables.pseudonyms, _OTHER.student == tables.students.c.id).where(
    (_OTHER.partner == bindparam("partner")) & (_OTHER.pseudonym == bindparam("key"))
)


class Known(NamedTuple):
    """A student as the store knows one: internal id and school code."""

    id: str
    school: str


class Students:
    """Registers, finds and names students. Keys of the blind index and of pseudonyms are derived, per agency."""

    def __init__(self, keys: KeyStore) -> None:
        self._keys = keys
        self._derived: dict[str, HMAC] = {}
        self._names: dict[tuple[str, str], str] = {}

    def register_all(self, tx: Tx, partner: Partner, students: Iterable[Student]) -> list[Known]:
        """Insert or update students of ``partner``, in the order given; one whose record is the same is left alone.

        Of a student given twice the last record counts. Raises Refusal PERMISSION_DENIED/SCOPE for a school the
        partner does not serve.
        """
        listed = list(students)
        if any(student.school not in partner.schools for student in listed):
            raise Refusal("PERMISSION_DENIED", "SCOPE", "a school is not one of the caller's")
        blinds = [self.blind(partner.agency, student.local_id) for student in listed]
        last = dict(zip(blinds, listed, strict=True))
        stored = self._stored(tx, partner, list(last))
        known = {blind: Known(str(row["id"]), last[blind].school) for blind, row in stored.items()}
        self._change(tx, [(row, last[blind]) for blind, row in stored.items()])
        new = {blind: student for blind, student in last.items() if blind not in stored}
        fresh = dict(zip(new, _fresh_ids(len(new), tx.now_us), strict=True))
        self._add(tx, partner, [(fresh[blind], blind, student) for blind, student in new.items()])
        known |= {blind: Known(student, new[blind].school) for blind, student in fresh.items()}
        return [known[blind] for blind in blinds]

    def _stored(self, tx: ReadTx, partner: Partner, blinds: list[bytes]) -> dict[bytes, RowMapping]:
        """What is stored of them, by blind id."""
        found: dict[bytes, RowMapping] = {}
        for start in range(0, len(blinds), _CHUNK):
            wanted = _LOCAL.blind.in_(blinds[start : start + _CHUNK])
            for row in tx.all(_STORED.where((_LOCAL.partner == partner.agency) & wanted)):
                found[bytes(row["blind"])] = row
        return found

    def _change(self, tx: Tx, pairs: "list[tuple[RowMapping, Student]]") -> None:
        sealers = self._keys.sealers([str(row["id"]) for row, _ in pairs])
        for row, student in pairs:
            identifier, record = str(row["id"]), _plain(student)
            sealer = sealers.get(identifier)
            if sealer is None:
                raise KeyGone
            if sealer.open(bytes(row["sealed"]), table="students", key=identifier) == record:
                continue
            tx.update(
                tables.students, (identifier,), school=student.school, state=int(student.left), updated_us=tx.now_us,
                version=int(row["version"]) + 1, sealed=sealer.seal(record, table="students", key=identifier),
            )  # fmt: skip

    def _add(self, tx: Tx, partner: Partner, triples: "list[tuple[str, bytes, Student]]") -> None:
        # One transaction of the key store for all of them: a key without a student is harmless, the reverse is not.
        sealers = self._keys.create_all([identifier for identifier, _, _ in triples])
        tx.insert_many(
            tables.students,
            [
                (identifier, student.school, "", int(student.left), tx.now_us, tx.now_us, 1,
                 sealers[identifier].seal(_plain(student), table="students", key=identifier))
                for identifier, _, student in triples
            ],
        )  # fmt: skip
        tx.insert_many(
            tables.local_ids, sorted((partner.agency, blind, identifier) for identifier, blind, _ in triples)
        )
        names = ((self.name(partner.agency, identifier), identifier) for identifier, _, _ in triples)
        tx.insert_many(
            tables.pseudonyms,
            sorted((partner.agency, name.removeprefix("students/"), identifier) for name, identifier in names),
        )

    def resolve(self, tx: ReadTx, partner: Partner, ref: StudentRef) -> Known:
        """The student a caller means. Raises Refusal NOT_FOUND/STUDENT, for an absent and a foreign one alike."""
        if ref.WhichOneof("ref") == "local_id":
            rows = tx.find(_BY_LOCAL_ID, partner=partner.agency, key=self.blind(partner.agency, ref.local_id))
        else:
            rows = tx.find(_BY_PSEUDONYM, partner=partner.agency, key=ref.name.removeprefix("students/"))
        if not rows or (partner.schools and str(rows[0]["school"]) not in partner.schools):
            raise Refusal("NOT_FOUND", "STUDENT", "no such student for this caller")
        return Known(str(rows[0]["id"]), str(rows[0]["school"]))

    def resolve_all(self, tx: ReadTx, partner: Partner, local_ids: Sequence[str]) -> list[Known | None]:
        """The students of many local ids, None for one that :meth:`resolve` would refuse."""
        blinds = [self.blind(partner.agency, local_id) for local_id in local_ids]
        wanted = list(dict.fromkeys(blinds))
        found: dict[bytes, Known] = {}
        for start in range(0, len(wanted), _ASKED):
            part = wanted[start : start + _ASKED]
            part += part[-1:] * (_ASKED - len(part))  # always the same statement, so it is rendered once
            keys = dict(zip(_NAMES_ASKED, part, strict=True))
            for blind, student, school in tx.pick(_BY_LOCAL_IDS, partner=partner.agency, **keys):
                if not partner.schools or school in partner.schools:
                    found[bytes(blind)] = Known(student, school)
        return [found.get(blind) for blind in blinds]

    def load(self, tx: ReadTx, student: str, agency: str) -> Student:
        """The whole record, named for ``agency``; only the door may let it out."""
        row = tx.get(tables.students, student)
        if row is None:
            raise Refusal("NOT_FOUND", "STUDENT", "no such student for this caller")
        record = Student.FromString(
            self._keys.sealer(student).open(bytes(row["sealed"]), table="students", key=student)
        )
        record.name = self.name(agency, student)
        return record

    def publish(self, tx: Tx, agency: str, student: str) -> str:
        """Make sure ``agency`` can name the student from now on; its ``students/{pseudonym}``."""
        name = self.name(agency, student)
        tx.insert_if_absent(tables.pseudonyms, agency, name.removeprefix("students/"), student)
        return name

    def name(self, agency: str, student: str) -> str:
        """`students/{pseudonym}`: a keyed hash, so two agencies' tables cannot be joined."""
        name = self._names.get((agency, student))
        if name is None:
            name = "students/" + _base32(self._keyed(f"pseudonym/{agency}", student))
            if len(self._names) >= _NAMES:
                self._names.clear()
            self._names[(agency, student)] = name
        return name

    def blind(self, agency: str, local_id: str) -> bytes:
        """The keyed hash under which an agency's own id is looked up; never the id itself."""
        return self._keyed(f"blind/{agency}", local_id)

    def _keyed(self, label: str, text: str) -> bytes:
        """16 bytes of HMAC-SHA256 under the key of ``label``; the keyed state is made once and copied."""
        keyed = self._derived.get(label)
        if keyed is None:
            keyed = self._derived[label] = HMAC(self._keys.derive(label), SHA256())
        keyed = keyed.copy()
        keyed.update(text.encode())
        return keyed.finalize()[:16]


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


def _fresh_ids(count: int, now_us: int) -> list[str]:
    """Random ids that begin with the time: those of one load lie side by side in every index."""
    begin, chance = f"{now_us // 1000:012x}", secrets.token_hex(10 * count)
    return [begin + chance[at : at + 20] for at in range(0, 20 * count, 20)]
