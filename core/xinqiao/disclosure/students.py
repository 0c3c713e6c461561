"""Students under their many names: one random id inside, a pseudonym for each partner outside."""

import base64
import secrets
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from xinqiao.api.common.v1.types_pb2 import Student, StudentRef
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.registry import Partner
from xinqiao.store import tables
from xinqiao.store.keys import KeyStore
from xinqiao.store.sql import bindparam, select
from xinqiao.store.tx import ReadTx, Tx

_NAMES = 20_000  # pseudonyms kept in memory
_STUDENT = select(tables.students.c.id, tables.students.c.school)
_LOCAL, _OTHER = tables.local_ids.c, tables.pseudonyms.c
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
        """Insert or update students of ``partner``, in the order given.

        Raises Refusal PERMISSION_DENIED/SCOPE for a school the partner does not serve.
        """
        listed = list(students)
        if any(student.school not in partner.schools for student in listed):
            raise Refusal("PERMISSION_DENIED", "SCOPE", "a school is not one of the caller's")
        # One transaction of the key store for all of them: a key without a student is harmless, the reverse is not.
        fresh = [secrets.token_hex(16) for _ in listed]
        blinds = [self.blind(partner.agency, student.local_id) for student in listed]
        rows = [tx.get(tables.local_ids, partner.agency, blind) for blind in blinds]
        self._keys.ensure([new for new, row in zip(fresh, rows, strict=True) if row is None])
        return [
            self._register(tx, partner, student, blind, new)
            for student, blind, new in zip(listed, blinds, fresh, strict=True)
        ]

    def _register(self, tx: Tx, partner: Partner, student: Student, blind: bytes, fresh: str) -> Known:
        row = tx.get(tables.local_ids, partner.agency, blind)
        if row is None:
            known = Known(fresh, student.school)
            tx.insert(
                tables.students, known.id, student.school, "", int(student.left), tx.now_us, tx.now_us, 1,
                self._seal(known.id, student),
            )  # fmt: skip
            tx.insert(tables.local_ids, partner.agency, blind, known.id)
            self.publish(tx, partner.agency, known.id)
            return known
        known = Known(str(row["student"]), student.school)
        stored = tx.get(tables.students, known.id)
        version = int(stored["version"]) + 1 if stored is not None else 1
        tx.update(
            tables.students, (known.id,), school=student.school, state=int(student.left),
            updated_us=tx.now_us, version=version, sealed=self._seal(known.id, student),
        )  # fmt: skip
        return known

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
            digest = self._keyed(f"pseudonym/{agency}", student)
            name = "students/" + base64.b32encode(digest).decode().rstrip("=").lower()
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

    def _seal(self, student: str, record: Student) -> bytes:
        stored = Student()
        stored.CopyFrom(record)
        stored.name = ""
        return self._keys.sealer(student).seal(stored.SerializeToString(), table="students", key=student)
