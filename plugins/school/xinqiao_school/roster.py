"""OneRoster 1.2 and 1.1 CSV packages, bulk and delta: students, with the joins that say where they learn."""

import difflib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import BinaryIO

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files.archive import Archive, open_archive
from xinqiao.adapters.files.delimited import read_table
from xinqiao.adapters.files.places import FileRefused, Findings, Place
from xinqiao.adapters.files.rows import Column, Duplicates, Row
from xinqiao.api.common.v1.types_pb2 import SEX_FEMALE, SEX_MALE, SEX_UNSPECIFIED, Sex, Student
from xinqiao_school.index import Enrolment, Index
from xinqiao_school.notes import Notes, header_cells
from xinqiao_school.settings import SchoolSettings

# The columns read of each file, the first one required. Passwords are not among them, so no value ever has one.
_COLUMNS: dict[str, tuple[str, ...]] = {
    "manifest": ("propertyName", "value"),
    "orgs": ("sourcedId", "status", "name", "type"),
    "classes": ("sourcedId", "status", "title", "grades", "classType", "schoolSourcedId"),
    "roles": ("userSourcedId", "status", "role"),
    "enrollments": ("userSourcedId", "classSourcedId", "status", "role", "primary"),
    "demographics": ("sourcedId", "status", "birthDate", "sex"),
    "users": ("sourcedId", "status", "role", "givenName", "familyName", "grades", "phone", "sms"),
}
_JOINED = ("orgs", "classes", "roles", "enrollments", "demographics")
_SEX: dict[str, Sex.ValueType] = {
    **dict.fromkeys(("male", "m", "男", "1"), SEX_MALE),
    **dict.fromkeys(("female", "f", "女", "2"), SEX_FEMALE),
}
_PHONE = re.compile(r"\+?[0-9]{5,15}")
_LIKE = 0.85


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a package under its standard name."""

    standard: str
    name: str


class Package:
    """One OneRoster package: its members whatever their case, and what its manifest declares."""

    def __init__(self, stream: BinaryIO, label: str, notes: Notes) -> None:
        self.label = label
        self._notes = notes
        self._archive: Archive = open_archive(stream, name=label)
        self._members = self._find_members()
        self._told: set[str] = set()
        if not self._members.keys() & {"manifest", "users"}:
            raise FileRefused("DATA/FILE_TYPE", "is not a OneRoster package: it has no manifest.csv", Place(label))
        self.modes = self._read_manifest()
        if not self.is_delta and "users" not in self._members:
            raise FileRefused("DATA/ROSTER", "a bulk package without users.csv", Place(label))

    @property
    def is_delta(self) -> bool:
        """Whether it brings changes only."""
        return "delta" in self.modes.values()

    def has(self, standard: str) -> bool:
        return standard in self._members

    def rows(self, standard: str, findings: Findings) -> Iterator[Row]:
        """Rows of a member, bad ones going to ``findings``; none if the package lacks the member."""
        member = self._members.get(standard)
        if member is None:
            return
        with self._archive.open(member.name) as stream:
            columns = self._columns(standard, header_cells(stream, "utf-8"))
        with self._archive.open(member.name) as stream:
            yield from read_table(
                stream, encoding="utf-8", columns=columns, name=self._file(standard), extra="ignore", findings=findings
            )

    def verify(self) -> None:
        """Prove every checksum. Raises FileRefused."""
        self._archive.verify()

    def _file(self, standard: str) -> str:
        return f"{self.label}/{standard}.csv"

    def _find_members(self) -> dict[str, Member]:
        members: dict[str, Member] = {}
        for name in self._archive.names():
            base = name.rpartition("/")[2]
            standard = base[:-4].lower() if base.lower().endswith(".csv") else ""
            if standard not in _COLUMNS:
                continue
            if standard in members:
                message = f"{standard}.csv is there twice, in two folders or spellings; keep one"
                raise FileRefused("DATA/ZIP_NAME", message, Place(self.label))
            members[standard] = Member(standard, name)
            if name != f"{standard}.csv":
                message = f"is not named {standard}.csv at the top of the package; read as it"
                self._notes.add(Place(self._file(standard)), "DATA/ZIP_NAME", message)
        return members

    def _read_manifest(self) -> dict[str, str]:
        if "manifest" not in self._members:
            message = "the package has no manifest.csv; read as a bulk package"
            self._notes.add(Place(self.label), "DATA/MANIFEST", message)
            return {}
        modes: dict[str, str] = {}
        for row in self.rows("manifest", Findings()):
            key = row.text("propertyName", optional=True).strip()
            if key.startswith("file."):
                modes[key[5:].lower()] = row.text("value", optional=True).strip().lower()
        for standard in _COLUMNS:
            if modes.get(standard) in ("bulk", "delta") and standard not in self._members:
                message = f"declares {standard}.csv, which is not there"
                self._notes.add(Place(self._file("manifest")), "DATA/MANIFEST", message)
        return modes

    def _columns(self, standard: str, cells: Sequence[str]) -> list[Column]:
        """The columns to read, with the misspelt headers of this very file among their spellings."""
        wanted = _COLUMNS[standard]
        unknown = {position: text for position, text in enumerate(cells) if text not in wanted and text.strip()}
        aliases: dict[str, str] = {}
        first_time = standard not in self._told
        self._told.add(standard)
        for name in wanted:
            if name in cells:
                continue
            position = _resembling(name, unknown)
            if position is None:
                continue
            aliases[name] = unknown.pop(position)
            if first_time:
                message = f"column {position + 1} is misspelt and was read as {name}; rename it"
                self._notes.add(Place(self._file(standard), None, 1, name), "DATA/HEADER", message)
        blank = sum(not text.strip() for text in cells)
        if blank and first_time:
            message = f"{blank} column(s) without a name were not read; remove them"
            self._notes.add(Place(self._file(standard), None, 1), "DATA/HEADER", message)
        return [
            Column(name, (aliases[name],) if name in aliases else (), required=name == wanted[0]) for name in wanted
        ]


class Roster:
    """The students a package brings, read as streams; ``bases`` are the earlier packages a delta builds upon."""

    def __init__(self, package: Package, bases: Sequence[Package], settings: SchoolSettings, notes: Notes) -> None:
        self._package = package
        self._bases = bases if package.is_delta else ()
        self._settings = settings
        self._notes = notes
        self._quiet = False
        self._index = Index()

    def check(self) -> set[bytes]:
        """Read everything once, so that nothing of a broken package is imported.

        Returns the students' ids as ``mark`` gives them. Raises FileRefused.
        """
        self._package.verify()
        for package in (*self._bases, self._package):
            self._join(package)
        marks = {mark(student.local_id) for _, student in self._walk()}
        for (standard, row), _user in self._index.unmet():
            place = Place(f"{self._package.label}/{standard}.csv", None, row, "userSourcedId")
            message = "names a user that users.csv does not have"
            self._notes.add(place, "DATA/REFERENCE", message, refused=True)
        return marks

    def students(self) -> Iterator[Student]:
        """The students of a package that ``check`` has passed; its defects are not noted again."""
        for _, student in self.placed():
            yield student

    def placed(self) -> Iterator[tuple[Place, Student]]:
        """As ``students``, each with the row that named it."""
        self._quiet = True
        yield from self._walk()

    def _walk(self) -> Iterator[tuple[Place, Student]]:
        findings = Findings(accept_valid_rows=self._settings.accept_valid_rows)
        seen: set[str] = set()
        repeats = Duplicates()
        for row in self._package.rows("users", findings):
            try:
                student = self._student(row, repeats, seen)
            except RecordRejected as error:
                findings.reject(error)
                continue
            if student is not None:
                yield row.place(), student
        if not self._quiet:
            self._notes.add_findings(findings, proven=True)
        findings.settle()
        yield from self._touched(seen)

    def _touched(self, seen: set[str]) -> Iterator[tuple[Place, Student]]:
        """Students whom a delta changes through another file than users.csv."""
        wanted = self._index.touched - seen
        for base in reversed(self._bases):
            if not wanted:
                return
            for row in base.rows("users", Findings(accept_valid_rows=True)):
                user = row.text("sourcedId", optional=True)
                if user in wanted:
                    wanted.discard(user)
                    try:
                        student = self._student(row, Duplicates(), set())
                    except RecordRejected:
                        continue
                    if student is not None:
                        yield row.place(), student

    def _student(self, row: Row, repeats: Duplicates, seen: set[str]) -> Student | None:
        user = _short(row, "sourcedId", 128)
        if not user:
            raise row.reject("sourcedId", "DATA/MISSING", "must not be blank")
        seen.add(user)
        self._index.meet(user)
        status = self._status(row)
        role = row.text("role", optional=True).strip().lower()
        is_student = self._index.is_student(user, role)
        if is_student is None:
            self._note(row, "sourcedId", "DATA/REFERENCE", "no file says this user's role, so it was not read")
        if not is_student:
            return None
        student = Student(
            local_id=user,
            family_name=_short(row, "familyName", 60),
            given_name=_short(row, "givenName", 60),
            phone=self._phone(row),
            school=self._settings.school,
            school_title=self._settings.school_title or self._index.school_title(user)[:120],
            left=status == "tobedeleted" or self._index.has_left(user),
        )
        room = self._index.class_of(user)
        student.grade = (row.text("grades", optional=True).strip() or (room.grades if room else ""))[:40]
        student.class_title = room.title if room else ""
        born, sex = self._index.person(user)
        student.birth_date, student.sex = born, sex
        content = blake2b(student.SerializeToString(deterministic=True), digest_size=16).digest()
        return None if repeats.is_repeat(row, mark(user), content) else student

    def _status(self, row: Row) -> str:
        status = row.text("status", optional=True).strip().lower()
        if status == "" and self._package.modes.get("users") == "delta":
            self._note(row, "status", "DATA/STATUS", "is blank in a delta; read as active")
        elif status not in ("", "active", "tobedeleted"):
            self._note(row, "status", "DATA/STATUS", "is neither active nor tobedeleted; read as active")
        return status

    def _phone(self, row: Row) -> str:
        text = row.text("phone", optional=True).strip() or row.text("sms", optional=True).strip()
        phone = re.sub(r"[ ()-]", "", text)
        if not phone or _PHONE.fullmatch(phone):
            return phone
        self._note(row, "phone", "DATA/PHONE", "is not 5 to 15 digits; left out")
        return ""

    def _note(self, row: Row, column: str, reason: str, message: str) -> None:
        if not self._quiet:
            self._notes.add(row.place(column), reason, message)

    # -- joins ------------------------------------------------------------------------------------------------------

    def _join(self, package: Package) -> None:
        """Take over what the package's other files say; only the newest package's defects are noted."""
        mine = package is self._package
        self._index.begin(touching=mine and package.is_delta, whole=mine and not package.is_delta)
        for standard in _JOINED:
            if package.has(standard) and package.modes.get(standard) != "delta":
                self._index.forget(standard)
            findings = Findings(accept_valid_rows=True)
            for row in package.rows(standard, findings):
                try:
                    self._join_row(standard, row)
                except RecordRejected as error:
                    findings.reject(error)
            if mine:
                self._notes.add_findings(findings, proven=True)

    def _join_row(self, standard: str, row: Row) -> None:
        deleted = row.text("status", optional=True).strip().lower() == "tobedeleted"
        key = _short(row, _COLUMNS[standard][0], 128)
        if not key:
            raise row.reject(_COLUMNS[standard][0], "DATA/MISSING", "must not be blank")
        if standard == "orgs":
            self._index.add_org(key, row.text("name", optional=True), row.text("type", optional=True).strip().lower())
        elif standard == "classes":
            self._join_class(key, row, deleted)
        elif standard == "roles":
            self._index.refer(key, (standard, row.number))
            self._index.add_role(key, row.text("role", optional=True).strip().lower(), deleted=deleted)
        elif standard == "enrollments":
            self._join_enrolment(key, row, deleted)
        else:
            self._index.refer(key, (standard, row.number))
            self._join_person(key, row)

    def _join_class(self, key: str, row: Row, deleted: bool) -> None:
        org = row.text("schoolSourcedId", optional=True).strip()
        title, grades = _short(row, "title", 120), row.text("grades", optional=True).strip()
        home = row.text("classType", optional=True).strip().lower() == "homeroom"
        self._index.add_class(key, title, grades, org, home=home, deleted=deleted)
        if org and not self._index.knows_org(org):
            raise row.reject("schoolSourcedId", "DATA/REFERENCE", "names an organisation that orgs.csv does not have")

    def _join_enrolment(self, key: str, row: Row, deleted: bool) -> None:
        self._index.refer(key, ("enrollments", row.number))
        room = row.text("classSourcedId").strip()
        role = row.text("role", optional=True).strip().lower()
        primary = row.text("primary", optional=True).strip().lower() == "true"
        if not self._index.knows_class(room):
            raise row.reject("classSourcedId", "DATA/REFERENCE", "names a class that classes.csv does not have")
        self._index.add_enrolment(key, Enrolment(room, role, primary), deleted=deleted)

    def _join_person(self, key: str, row: Row) -> None:
        """A date that cannot be read is named and left out; the sex beside it still counts."""
        sex = _SEX.get(row.text("sex", optional=True).strip().lower(), SEX_UNSPECIFIED)
        self._index.add_person(key, "", sex)
        self._index.add_person(key, _birth_date(row), sex)


def mark(local_id: str) -> bytes:
    """A short stand-in for an id, to remember which ids a roster had without keeping them."""
    return blake2b(local_id.encode(), digest_size=12, person=b"xinqiao-school").digest()


def _short(row: Row, column: str, limit: int) -> str:
    text = row.text(column, optional=True).strip()
    if len(text) > limit:
        raise row.reject(column, "DATA/CELL_TOO_LONG", f"is longer than {limit} characters")
    return text


def _birth_date(row: Row) -> str:
    day = row.date("birthDate", optional=True)
    if day is not None and day.year < 1990:
        raise row.reject("birthDate", "DATA/DATE_RANGE", "is before 1990; left out")
    return "" if day is None else day.isoformat()


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text).strip().casefold().replace(" ", "").replace("_", "").replace("-", "")


def _resembling(name: str, unknown: dict[int, str]) -> int | None:
    """The position of the one header that can only be meant for ``name``."""
    close = [
        position
        for position, text in unknown.items()
        if difflib.SequenceMatcher(None, _plain(text)[:64], _plain(name)).ratio() >= _LIKE
    ]
    return close[0] if len(close) == 1 else None
