"""The files of a package beside users.csv: read once, checked against one another, folded into a ``State``."""

import re
from collections.abc import Callable, Iterator
from datetime import date

from xinqiao.adapters.files.places import Findings
from xinqiao.api.common.v1.types_pb2 import SEX_FEMALE, SEX_MALE, SEX_UNSPECIFIED
from xinqiao_school.index import LEFT, NO_RANK, OTHER, PUPIL, ROLES, SEATED, Columns, Room, State, mark
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
_OFTEN = 50_000
_SMALL = ("orgs", "academicSessions", "courses")

_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Joins:
    """Reads what the small and the joined files of ``package`` say over ``base``; defects go to ``notes``.

    ``emptied`` holds who lost which class by a deleted enrolment, ``rooms`` the classes that this package names.
    """

    def __init__(self, package: Package, base: State, notes: Notes) -> None:
        self.columns = Columns()
        self.state = State(room_ids=dict(base.room_ids), rooms=list(base.rooms), orgs=dict(base.orgs))
        self.emptied: set[tuple[bytes, int]] = set()
        self.rooms: set[int] = set()
        self._package = package
        self._notes = notes
        self._whole = not package.is_delta
        self._ids: dict[str, set[str]] = {}
        self._untold: set[tuple[str, str]] = set()
        self._days: dict[str, int] = {"": 0}

    def read(self) -> Iterator[None]:
        """All of them, in the order in which they refer to one another; yields now and then. Raises FileRefused."""
        for standard in _SMALL:
            self._ids[standard] = set()
            yield from self._each(standard, self._small)
        self._parents()
        yield from self._each("classes", self._class)
        yield from self._each("roles", self._role)
        yield from self._each("enrollments", self._enrolment)
        yield from self._each("demographics", self._person)

    def check_reference(self, standard: str, number: int, column: str, value: str) -> None:
        """Name a reference to what the package does not hold; a delta may refer to what came before it."""
        target = _TARGETS[column] or standard
        if not self._whole or not value or value in self._ids[target]:
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

    def _each(self, standard: str, take: Callable[[int, tuple[str, ...]], None]) -> Iterator[None]:
        findings = Findings(accept_valid_rows=True)
        name = COLUMNS[standard][0]
        for number, cells in self._package.cells(standard, findings):
            key = cells[0]
            if not key or len(key) > 128 or key[0].isspace() or key[-1].isspace():
                key = key.strip()
                if not key or len(key) > 128:
                    reason = "DATA/CELL_TOO_LONG" if key else "DATA/MISSING"
                    message = "is longer than 128 characters" if key else "must not be blank"
                    place = self._package.place(standard, number, name)
                    self._notes.add(place, reason, message, refused=True)
                    continue
                cells = (key, *cells[1:])
            take(number, cells)
            if not number % _OFTEN:
                yield
        self._notes.add_findings(findings, proven=True)

    def _say(self, standard: str, number: int, column: str, message: str, *, refused: bool = False) -> None:
        self._notes.add(self._package.place(standard, number, column), "DATA/REFERENCE", message, refused=refused)

    # -- small files ------------------------------------------------------------------------------------------------

    def _small(self, number: int, cells: tuple[str, ...]) -> None:
        del number
        if len(cells) == len(COLUMNS["orgs"]):
            self._ids["orgs"].add(cells[0])
            self.state.orgs[cells[0]] = (cells[2].strip(), cells[3].strip().lower(), cells[4].strip())
        elif len(cells) == len(COLUMNS["courses"]):
            self._ids["courses"].add(cells[0])
        else:
            self._ids["academicSessions"].add(cells[0])

    def _parents(self) -> None:
        """References among the small files, whose targets may come later in the same file."""
        for standard in _SMALL:
            columns = COLUMNS[standard]
            wanted = [(at, column) for at, column in enumerate(columns) if column in _TARGETS]
            for number, cells in self._package.cells(standard, Findings(accept_valid_rows=True)):
                for at, column in wanted:
                    self.check_reference(standard, number, column, cells[at].strip())

    # -- large files ------------------------------------------------------------------------------------------------

    def _class(self, number: int, cells: tuple[str, ...]) -> None:
        key, status, title, grades, kind, org, course, terms = cells
        org = org.strip()
        if len(title.strip()) > 120:
            place = self._package.place("classes", number, "title")
            self._notes.add(place, "DATA/CELL_TOO_LONG", "is longer than 120 characters", refused=True)
            return
        # An enrolment in a deleted class is no orphan; only its title is out of date.
        gone = status.strip().lower() == "tobedeleted"
        home = kind.strip().lower() == "homeroom" and not gone
        room = Room("" if gone else title.strip(), "" if gone else grades.strip(), org, home)
        self.rooms.add(self.state.set_room(key, room))
        self.check_reference("classes", number, "schoolSourcedId", org)
        self.check_reference("classes", number, "courseSourcedId", course.strip())
        self.check_reference("classes", number, "termSourcedIds", terms.strip())

    def _role(self, number: int, cells: tuple[str, ...]) -> None:
        user, status, role, org = cells
        kind = ROLES.get(role.strip().lower(), OTHER)
        if status.strip().lower() == "tobedeleted" and kind != OTHER:
            kind = LEFT if kind == ROLES["student"] else OTHER
        self.columns.role(mark(user), kind)
        self.check_reference("roles", number, "orgSourcedId", org.strip())

    def _enrolment(self, number: int, cells: tuple[str, ...]) -> None:
        user, room_id, status, role, primary, school = cells
        room_id, digest = room_id.strip(), mark(user)
        if not room_id:
            place = self._package.place("enrollments", number, "classSourcedId")
            self._notes.add(place, "DATA/MISSING", "must not be blank", refused=True)
            return
        room = self.state.room_ids.get(room_id)
        if room is None and self._whole:
            message = "names a class that classes.csv does not have"
            self._say("enrollments", number, "classSourcedId", message, refused=True)
            return
        pupil = role.strip().lower() == "student"
        if status.strip().lower() == "tobedeleted":
            if room is not None:
                self.emptied.add((digest, room))
            self.columns.seat(digest, 0, -1, NO_RANK)
        elif room is None or not pupil or not self.state.rooms[room].title:
            self.columns.seat(digest, PUPIL if pupil else SEATED, -1, NO_RANK)
        else:
            rank = 2 * (not self.state.rooms[room].home) + (primary.strip().lower() != "true")
            self.columns.seat(digest, PUPIL, room, rank)
        self.check_reference("enrollments", number, "schoolSourcedId", school.strip())

    def _person(self, number: int, cells: tuple[str, ...]) -> None:
        """A date that cannot be read is named and left out; the sex beside it still counts."""
        user, status, born, sex = cells
        del status
        day = self._days.get(born)
        if day is None:
            day = self._day(number, born.strip())
        self.columns.person(mark(user), day, _SEX.get(sex.strip().lower(), int(SEX_UNSPECIFIED)))

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
        self._days[text] = found
        return found


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
