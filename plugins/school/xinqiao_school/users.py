"""The rows of users.csv as students and guardians, with what the other files say of them."""

import re
from datetime import date

from google.protobuf.internal.containers import RepeatedCompositeFieldContainer

from xinqiao.adapters.errors import RecordRejected
from xinqiao.api.common.v1.types_pb2 import Guardian, Sex, Student
from xinqiao_school.index import GUARDIAN, PARENT, RELATIVE
from xinqiao_school.joins import Joins
from xinqiao_school.notes import Notes
from xinqiao_school.package import Package
from xinqiao_school.settings import SchoolSettings

RELATIONS = {PARENT: "parent", GUARDIAN: "guardian", RELATIVE: "relative"}

Known = tuple[int, int, int, int]
"""What the other files say of a person: kind, class, birth date, sex."""

_BETWEEN = re.compile(r"[ ()-]")
_PHONE = re.compile(r"\+?[0-9]{5,15}")


class Users:
    """Makes the messages; row 0 stands for a row of an earlier package."""

    def __init__(self, package: Package, joins: Joins, settings: SchoolSettings, notes: Notes) -> None:
        self._package = package
        self._joins = joins
        self._settings = settings
        self._notes = notes
        self._schools: dict[str, tuple[str, str]] = {}
        self._days: dict[int, str] = {}

    def add_student(
        self,
        students: RepeatedCompositeFieldContainer[Student],
        number: int,
        cells: tuple[str, ...],
        known: Known,
        left: bool,
    ) -> None:
        """Raises RecordRejected."""
        user, _, _, given, family, grades, phone, sms, _, org, orgs = cells
        given, family, grades = given.strip(), family.strip(), grades.strip()
        if len(given) > 60 or len(family) > 60:
            column = "givenName" if len(given) > 60 else "familyName"
            raise self.bad(number, column, "DATA/CELL_TOO_LONG", "is longer than 60 characters")
        _, room_number, born, sex = known
        room = self._joins.state.rooms[room_number] if room_number >= 0 else None
        where = room.org if room is not None and room.org else org.strip() or orgs.partition(",")[0].strip()
        code, title = self._school(where)
        day = self._days.get(born)
        if day is None:
            day = self._days[born] = date.fromordinal(born).isoformat() if born else ""
        students.add(
            local_id=user,
            family_name=family,
            given_name=given,
            birth_date=day,
            sex=Sex.ValueType(sex),
            phone=self._phone(number, phone, sms) if phone or sms else "",
            school=code,
            school_title=title,
            grade=(grades or (room.grades if room is not None else ""))[:40],
            class_title=room.title if room is not None else "",
            left=left,
        )

    def _school(self, org: str) -> tuple[str, str]:
        """Code and title of the school that ``org`` is."""
        found = self._schools.get(org)
        if found is None:
            identifier = self._joins.state.orgs.get(org, ("", "", ""))[2]
            codes = self._settings.schools
            code = codes.get(org) or codes.get(identifier) or self._settings.school
            title = self._settings.school_title or self._joins.state.school_title(org)[:120]
            found = self._schools[org] = (code, title)
        return found

    def guardian(self, number: int, cells: tuple[str, ...], kind: int) -> Guardian | None:
        """None for one without a name. Raises RecordRejected."""
        _, _, _, given, family, _, phone, sms, _, _, _ = cells
        given, family = given.strip(), family.strip()
        name = family + given if not (family + given).isascii() else f"{given} {family}".strip()
        if len(name) > 120:
            raise self.bad(number, "familyName", "DATA/CELL_TOO_LONG", "the name is longer than 120 characters")
        telephone = self._phone(number, phone, sms) if phone or sms else ""
        return Guardian(full_name=name, relation=RELATIONS[kind], phone=telephone) if name else None

    def judge_status(self, number: int, status: str) -> None:
        """Name a status that is not what the specification has."""
        if status == "" and self._package.modes.get("users") == "delta":
            self.note(number, "status", "DATA/STATUS", "is blank in a delta; read as active")
        elif status not in ("", "tobedeleted"):
            self.note(number, "status", "DATA/STATUS", "is neither active nor tobedeleted; read as active")

    def _phone(self, number: int, phone: str, sms: str) -> str:
        text = phone.strip() or sms.strip()
        found = _BETWEEN.sub("", text)
        if not found or _PHONE.fullmatch(found):
            return found
        self.note(number, "phone", "DATA/PHONE", "is not 5 to 15 digits; left out")
        return ""

    def note(self, number: int, column: str, reason: str, message: str) -> None:
        """Name a defect that is read past."""
        self._notes.add(self._package.place("users", number or None, column), reason, message)

    def bad(self, number: int, column: str, reason: str, message: str) -> RecordRejected:
        """The error for a row that is not taken."""
        return RecordRejected(reason, message, self._package.place("users", number, column))
