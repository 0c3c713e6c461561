"""One OneRoster CSV package: its members whatever their case, their columns whatever their spelling, read as streams."""

import difflib
import unicodedata
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from xinqiao.adapters.files.archive import Archive, open_archive
from xinqiao.adapters.files.delimited import read_columns
from xinqiao.adapters.files.places import FileRefused, Findings, Place
from xinqiao.adapters.files.rows import Column, TableLimits
from xinqiao.adapters.files.zipdirectory import ArchiveLimits
from xinqiao_school.notes import Notes, header_cells

GIB = 1024**3
_ARCHIVE = ArchiveLimits(archive_bytes=GIB, entry_bytes=2 * GIB, total_bytes=6 * GIB)
_TABLE = TableLimits(rows=20_000_000)

# The columns read of each file, the first one required. Passwords are not among them, so no value ever has one.
COLUMNS: dict[str, tuple[str, ...]] = {
    "manifest": ("propertyName", "value"),
    "orgs": ("sourcedId", "status", "name", "type", "identifier", "parentSourcedId"),
    "academicSessions": ("sourcedId", "status", "parentSourcedId"),
    "courses": ("sourcedId", "status", "orgSourcedId", "schoolYearSourcedId"),
    "classes": (
        "sourcedId", "status", "title", "grades", "classType", "schoolSourcedId", "courseSourcedId", "termSourcedIds",
    ),
    "roles": ("userSourcedId", "status", "role", "orgSourcedId"),
    "enrollments": ("userSourcedId", "classSourcedId", "status", "role", "primary", "schoolSourcedId"),
    "demographics": ("sourcedId", "status", "birthDate", "sex"),
    "users": (
        "sourcedId", "status", "role", "givenName", "familyName", "grades", "phone", "sms", "agentSourcedIds",
        "primaryOrgSourcedId", "orgSourcedIds",
    ),
}  # fmt: skip

# What else the specification (1.1, 1.2) has in each file: known, and not read. Any other header is named.
_UNREAD: dict[str, str] = {
    "manifest": "",
    "orgs": "dateLastModified",
    "academicSessions": "dateLastModified title type startDate endDate schoolYear",
    "courses": "dateLastModified title courseCode grades subjects subjectCodes",
    "classes": "dateLastModified classCode location subjects subjectCodes periods",
    "roles": "sourcedId dateLastModified roleType beginDate endDate userProfileSourcedId",
    "enrollments": "sourcedId dateLastModified beginDate endDate",
    "demographics": "dateLastModified americanIndianOrAlaskaNative asian blackOrAfricanAmerican "
    "nativeHawaiianOrOtherPacificIslander white demographicRaceTwoOrMoreRaces hispanicOrLatinoEthnicity "
    "countryOfBirthCode stateOfBirthAbbreviation cityOfBirth publicSchoolResidenceStatus",
    "users": "dateLastModified enabledUser username userIds middleName identifier email password userMasterIdentifier "
    "preferredGivenName preferredMiddleName preferredFamilyName pronouns",
}
_STANDARDS = {name.lower(): name for name in COLUMNS}
_LIKE = 0.85


class Package:
    """One package, judged by its directory and manifest; defects of its headers go to ``notes`` as they are met."""

    def __init__(self, stream: BinaryIO, label: str, notes: Notes) -> None:
        self.label = label
        self._notes = notes
        self._archive: Archive = open_archive(stream, _ARCHIVE, name=label)
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

    def place(self, standard: str, row: int | None = None, column: str | None = None) -> Place:
        return Place(f"{self.label}/{standard}.csv", None, row, column)

    def columns(self, standard: str, findings: Findings) -> Iterator[tuple[list[int], list[list[str]]]]:
        """A thousand rows at once: their numbers, and the cells of each of ``COLUMNS``; bad rows go to ``findings``.

        None if the package lacks the file.
        """
        name = self._members.get(standard)
        if name is None:
            return
        with self._archive.open(name) as stream:
            columns = self._columns(standard, header_cells(stream, "utf-8"))
        with self._archive.open(name) as stream:
            yield from read_columns(
                stream, encoding="utf-8", columns=columns, name=f"{self.label}/{standard}.csv", extra="ignore",
                limits=_TABLE, findings=findings,
            )  # fmt: skip

    def cells(self, standard: str, findings: Findings) -> Iterator[tuple[int, tuple[str, ...]]]:
        """As ``columns``, row by row."""
        for numbers, columns in self.columns(standard, findings):
            yield from zip(numbers, zip(*columns, strict=True), strict=True)

    def verify_unread(self) -> None:
        """Prove the checksums of the files that are not read to their end anyway. Raises FileRefused."""
        for name in self._archive.names():
            if name not in self._members.values():
                self._archive.digest(name)

    def _find_members(self) -> dict[str, str]:
        members: dict[str, str] = {}
        for name in self._archive.names():
            base = name.rpartition("/")[2]
            standard = _STANDARDS.get(base[:-4].lower()) if base.lower().endswith(".csv") else None
            if standard is None:
                continue
            if standard in members:
                message = f"{standard}.csv is there twice, in two folders or spellings; keep one"
                raise FileRefused("DATA/ZIP_NAME", message, Place(self.label))
            members[standard] = name
            if name != f"{standard}.csv":
                message = f"is not named {standard}.csv at the top of the package; read as it"
                self._notes.add(self.place(standard), "DATA/ZIP_NAME", message)
        return members

    def _read_manifest(self) -> dict[str, str]:
        if "manifest" not in self._members:
            message = "the package has no manifest.csv; read as a bulk package"
            self._notes.add(Place(self.label), "DATA/MANIFEST", message)
            return {}
        modes: dict[str, str] = {}
        for number, (key, value) in self.cells("manifest", Findings()):
            name, mode = key.strip().removeprefix("file."), value.strip().lower()
            if name == key.strip():
                continue
            modes[_STANDARDS.get(name.lower(), name)] = mode
            if mode not in ("bulk", "delta", "absent"):
                message = "is neither bulk, delta nor absent; read as bulk"
                self._notes.add(self.place("manifest", number, "value"), "DATA/MANIFEST", message)
        for standard in COLUMNS:
            if modes.get(standard) in ("bulk", "delta") and standard not in self._members:
                message = f"declares {standard}.csv, which is not there"
                self._notes.add(self.place("manifest"), "DATA/MANIFEST", message)
            elif modes.get(standard) == "absent" and standard in self._members:
                message = f"declares {standard}.csv absent, but it is there; it was read"
                self._notes.add(self.place("manifest"), "DATA/MANIFEST", message)
        return modes

    def _columns(self, standard: str, cells: Sequence[str]) -> list[Column]:
        """The columns to read, with the misspelt headers of this very file among their spellings."""
        wanted = COLUMNS[standard]
        passed = {*wanted, *_UNREAD[standard].split()}
        unknown = {at: text for at, text in enumerate(cells) if text not in passed and text.strip()}
        first_time = standard not in self._told
        self._told.add(standard)
        aliases: dict[str, str] = {}
        for name in wanted:
            position = None if name in cells else _resembling(name, unknown)
            if position is not None:
                aliases[name] = unknown.pop(position)
                if first_time:
                    message = f"column {position + 1} is misspelt and was read as {name}; rename it"
                    self._notes.add(self.place(standard, 1, name), "DATA/HEADER", message)
        if first_time:
            self._name_odd(standard, cells, unknown)
        return [
            Column(name, (aliases[name],) if name in aliases else (), required=name == wanted[0]) for name in wanted
        ]

    def _name_odd(self, standard: str, cells: Sequence[str], unknown: dict[int, str]) -> None:
        """Odd headers by position only: in a file without a header they are a person's data."""
        for position, text in unknown.items():
            if not text.startswith("metadata."):
                message = f"column {position + 1} is no column of OneRoster's {standard}.csv and was not read"
                self._notes.add(self.place(standard, 1, str(position + 1)), "DATA/HEADER", message)
        blank = sum(not text.strip() for text in cells)
        if blank:
            message = f"{blank} column(s) without a name were not read; remove them"
            self._notes.add(self.place(standard, 1), "DATA/HEADER", message)


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
