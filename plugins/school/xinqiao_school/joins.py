"""The files of a package beside users.csv: read once, checked against one another, folded into a ``State``."""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from functools import partial
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from xinqiao.adapters.files.places import Findings
from xinqiao.api.common.v1.types_pb2 import SEX_FEMALE, SEX_MALE, SEX_UNSPECIFIED
from xinqiao_school.index import (
    LEFT,
    MAX_ID,
    NO_RANK,
    OTHER,
    PUPIL,
    ROLES,
    SEATED,
    STUDENT,
    UNKNOWN,
    Columns,
    Room,
    State,
    Words,
    marks,
)
from xinqiao_school.notes import Notes
from xinqiao_school.package import COLUMNS, Package

_SEX: dict[str, int] = {
    **dict.fromkeys(("male", "m", "男", "1"), int(SEX_MALE)),
    **dict.fromkeys(("female", "f", "女", "2"), int(SEX_FEMALE)),
}
_EARLIEST = date(1990, 1, 1).toordinal()
_TARGETS = {"schoolSourcedId": "orgs", "orgSourcedId": "orgs", "parentSourcedId": "", "courseSourcedId": "courses",
            "schoolYearSourcedId": "academicSessions", "termSourcedIds": "academicSessions",
            "primaryOrgSourcedId": "orgs", "orgSourcedIds": "orgs"}  # fmt: skip
_PASSED = 10_000
_SMALL = ("orgs", "academicSessions", "courses")

Cells = list[str]
Take = Callable[[Sequence[int], list[Cells]], None]
"""Takes a block of rows: their numbers, and the cells of each column."""

_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Joins:
    """Reads what the small and the joined files of ``package`` say over ``base``; defects go to ``notes``.

    ``emptied`` holds who lost which class by a deleted enrolment, ``rooms`` the classes that this package names.
    """

    def __init__(self, package: Package, base: State, notes: Notes) -> None:
        self.columns = Columns()
        self.state = State(room_ids=dict(base.room_ids), rooms=list(base.rooms), orgs=dict(base.orgs))
        self.emptied: set[tuple[int, int]] = set()
        self.rooms: set[int] = set()
        self._package = package
        self._notes = notes
        self._whole = not package.is_delta
        self._ids: dict[str, set[str]] = {}
        self._passed: set[tuple[str, str]] = set()
        self._untold: set[tuple[str, str]] = set()
        self._days: dict[str, int] = {"": 0}
        self._deleted = Words(lambda text: text == "tobedeleted")
        self._kinds = Words(lambda text: ROLES.get(text, OTHER))
        self._primary = Words(lambda text: text == "true")
        self._sexes = Words(lambda text: _SEX.get(text, int(SEX_UNSPECIFIED)))
        self._titled = self._home = np.zeros(1, np.bool_)

    def read(self) -> Iterator[None]:
        """All of them, in the order in which they refer to one another; yields now and then. Raises FileRefused."""
        for standard in _SMALL:
            self._ids[standard] = set()
            yield from self._each(standard, partial(self._small, standard))
        self._parents()
        yield from self._each("classes", self._classes)
        # One more at the end, for -1: in no class.
        self._titled = np.array([*(bool(room.title) for room in self.state.rooms), False])
        self._home = np.array([*(room.home for room in self.state.rooms), False])
        yield from self._each("roles", self._roles)
        yield from self._each("enrollments", self._enrolments)
        yield from self._each("demographics", self._persons)

    def check_references(self, standard: str, numbers: Sequence[int], column: str, values: Cells) -> None:
        """Name each reference to what the package does not hold; a delta may refer to what came before it."""
        if not self._whole:
            return
        strange = set(values) - self._ids[_TARGETS[column] or standard]
        for number, value in zip(numbers, values, strict=True) if strange - {""} else ():
            if value in strange and (column, value) not in self._passed:
                self._check_reference(standard, number, column, value.strip())

    def _check_reference(self, standard: str, number: int, column: str, value: str) -> None:
        target = _TARGETS[column] or standard
        if not value or value in self._ids[target]:
            return
        if not self._package.has(target):
            if (standard, column) not in self._untold:
                self._untold.add((standard, column))
                self._say(standard, number, column, f"and others: the package has no {target}.csv to name it in")
            return
        for one in map(str.strip, value.split(",")):
            if one and one not in self._ids[target]:
                what = "an organisation" if target == "orgs" else "something"
                self._say(standard, number, column, f"names {what} that {target}.csv does not have")
                return
        if len(self._passed) < _PASSED:
            self._passed.add((column, value))

    def _each(self, standard: str, take: Take) -> Iterator[None]:
        findings = Findings(accept_valid_rows=True)
        for numbers, columns in self._package.columns(standard, findings):
            with self._notes.by_row():
                take(*self._keyed(standard, numbers, columns))
            yield
        self._notes.add_findings(findings, proven=True)

    def _keyed(self, standard: str, numbers: Sequence[int], columns: list[Cells]) -> tuple[Sequence[int], list[Cells]]:
        """The rows whose first cell can be an id; it is given without blanks around it."""
        keys = list(map(str.strip, columns[0]))
        columns = [keys, *columns[1:]]
        if all(keys) and len(max(keys, key=len)) <= MAX_ID:
            return numbers, columns
        for number, key in zip(numbers, keys, strict=True):
            if not 0 < len(key) <= MAX_ID:
                reason = "DATA/CELL_TOO_LONG" if key else "DATA/MISSING"
                message = "is longer than 128 characters" if key else "must not be blank"
                place = self._package.place(standard, number, COLUMNS[standard][0])
                self._notes.add(place, reason, message, refused=True)
        return picked(numbers, columns, np.array([0 < len(key) <= MAX_ID for key in keys]))

    def _say(self, standard: str, number: int, column: str, message: str, *, refused: bool = False) -> None:
        self._notes.add(self._package.place(standard, number, column), "DATA/REFERENCE", message, refused=refused)

    # -- small files ------------------------------------------------------------------------------------------------

    def _small(self, standard: str, numbers: Sequence[int], columns: list[Cells]) -> None:
        del numbers
        self._ids[standard].update(columns[0])
        if standard != "orgs":
            return
        for key, _, name, kind, identifier, _ in zip(*columns, strict=True):
            self.state.orgs[key] = (name.strip(), kind.strip().lower(), identifier.strip())

    def _parents(self) -> None:
        """References among the small files, whose targets may come later in the same file."""
        for standard in _SMALL:
            wanted = [(at, column) for at, column in enumerate(COLUMNS[standard]) if column in _TARGETS]
            for numbers, columns in self._package.columns(standard, Findings(accept_valid_rows=True)):
                with self._notes.by_row():
                    for at, column in wanted:
                        self.check_references(standard, numbers, column, columns[at])

    # -- large files ------------------------------------------------------------------------------------------------

    def _classes(self, numbers: Sequence[int], columns: list[Cells]) -> None:
        fits = np.array([len(title.strip()) <= 120 for title in columns[2]], np.bool_)
        for at in np.flatnonzero(~fits).tolist():
            place = self._package.place("classes", numbers[at], "title")
            self._notes.add(place, "DATA/CELL_TOO_LONG", "is longer than 120 characters", refused=True)
        numbers, columns = picked(numbers, columns, fits)
        for key, status, title, grades, kind, org, _, _ in zip(*columns, strict=True):
            # An enrolment in a deleted class is no orphan; only its title is out of date.
            gone = status.strip().lower() == "tobedeleted"
            home = kind.strip().lower() == "homeroom" and not gone
            room = Room("" if gone else title.strip(), "" if gone else grades.strip(), org.strip(), home)
            self.rooms.add(self.state.set_room(key, room))
        for at, column in ((5, "schoolSourcedId"), (6, "courseSourcedId"), (7, "termSourcedIds")):
            self.check_references("classes", numbers, column, columns[at])

    def _roles(self, numbers: Sequence[int], columns: list[Cells]) -> None:
        users, statuses, roles, orgs = columns
        kind = self._kinds.of(roles)
        gone = np.where(kind == STUDENT, LEFT, OTHER)
        self.columns.add(marks(users), kind=np.where(self._deleted.of(statuses), gone, kind))
        self.check_references("roles", numbers, "orgSourcedId", orgs)

    def _enrolments(self, numbers: Sequence[int], columns: list[Cells]) -> None:
        numbers, columns, room = self._seated(numbers, columns)
        users, _, statuses, roles, primaries, schools = columns
        people, gone, pupil = marks(users), self._deleted.of(statuses) == 1, self._kinds.of(roles) == STUDENT
        emptied = gone & (room >= 0)
        self.emptied.update(zip(people[emptied].tolist(), room[emptied].tolist(), strict=True))
        seat = pupil & ~gone & self._titled[room]
        rank = np.where(self._home[room], 0, 2) + (self._primary.of(primaries) == 0)
        self.columns.add(
            people, kind=np.where(gone, UNKNOWN, np.where(pupil, PUPIL, SEATED)), room=np.where(seat, room, -1),
            rank=np.where(seat, rank, NO_RANK),
        )  # fmt: skip
        self.check_references("enrollments", numbers, "schoolSourcedId", schools)

    def _seated(
        self, numbers: Sequence[int], columns: list[Cells]
    ) -> tuple[Sequence[int], list[Cells], NDArray[np.int64]]:
        """The enrolments whose class can be known, with its number; -1 for one that only an earlier package has."""
        find = self.state.room_ids.get
        room = np.fromiter([find(key, -1) for key in columns[1]], np.int64, len(numbers))
        keep = np.ones(len(numbers), np.bool_)
        for at in np.flatnonzero(room < 0).tolist():
            key = columns[1][at].strip()
            room[at] = find(key, -1)
            if not key:
                keep[at] = False
                place = self._package.place("enrollments", numbers[at], "classSourcedId")
                self._notes.add(place, "DATA/MISSING", "must not be blank", refused=True)
            elif room[at] < 0 and self._whole:
                keep[at] = False
                message = "names a class that classes.csv does not have"
                self._say("enrollments", numbers[at], "classSourcedId", message, refused=True)
        numbers, columns = picked(numbers, columns, keep)
        return numbers, columns, room[keep]

    def _persons(self, numbers: Sequence[int], columns: list[Cells]) -> None:
        """A date that cannot be read is named and left out; the sex beside it still counts."""
        users, _, births, sexes = columns
        find = self._days.get
        days = [find(text) for text in births]
        if None in days:
            days = [
                self._day(number, text.strip()) if day is None else day
                for number, text, day in zip(numbers, births, days, strict=True)
            ]
        self.columns.add(marks(users), born=np.array(days, np.int64), sex=self._sexes.of(sexes))

    def _day(self, number: int, text: str) -> int:
        place = self._package.place("demographics", number, "birthDate")
        try:
            found = _ordinal(text)
        except ValueError as error:
            self._notes.add(place, "DATA/DATE", f"{error}; left out")
            return 0
        if found and found < _EARLIEST:
            self._notes.add(place, "DATA/DATE_RANGE", "is before 1990; left out")
            return 0
        if len(self._days) < _PASSED:
            self._days[text] = found
        return found


def picked(numbers: Sequence[int], columns: list[Cells], keep: NDArray[np.bool_]) -> tuple[Sequence[int], list[Cells]]:
    """The rows of a block that ``keep`` marks."""
    if keep.all():
        return numbers, columns
    chosen = keep.tolist()
    return list(compress(numbers, chosen)), [list(compress(column, chosen)) for column in columns]


def _ordinal(text: str) -> int:
    """The day as a number, 0 for none. Raises ValueError with what is wrong, never with the text."""
    if not text:
        return 0
    if not _ISO.fullmatch(text):
        raise ValueError("must be a day written YYYY-MM-DD")
    try:
        return date.fromisoformat(text).toordinal()
    except ValueError:
        raise ValueError("is not a day of the calendar") from None
