"""The joins of a roster, kept lean: ids, roles, class titles and birth dates, but no name of a person."""

from dataclasses import dataclass, field

from xinqiao.api.common.v1.types_pb2 import SEX_UNSPECIFIED, Sex


@dataclass(frozen=True, slots=True)
class Room:
    """A class as the school writes it; ``home`` is the administrative class (行政班)."""

    title: str
    grades: str
    org: str
    home: bool


@dataclass(frozen=True, slots=True)
class Enrolment:
    """That a user is in a class, as what."""

    room: str
    role: str
    primary: bool


@dataclass(slots=True)
class Index:
    """What the files beside users.csv say; the newest word counts.

    ``touched`` holds the users whom the package under way mentions in any of them.
    """

    touched: set[str] = field(default_factory=set[str])
    _orgs: dict[str, str] = field(default_factory=dict[str, str])
    _schools: dict[str, str] = field(default_factory=dict[str, str])
    _rooms: dict[str, Room] = field(default_factory=dict[str, Room])
    _students: set[str] = field(default_factory=set[str])
    _others: set[str] = field(default_factory=set[str])
    _left: set[str] = field(default_factory=set[str])
    _seats: dict[str, list[Enrolment]] = field(default_factory=dict[str, list[Enrolment]])
    _persons: dict[str, tuple[str, Sex.ValueType]] = field(default_factory=dict[str, tuple[str, Sex.ValueType]])
    _unmet: dict[str, tuple[str, int]] = field(default_factory=dict[str, tuple[str, int]])
    _touching: bool = False
    _whole: bool = False

    # -- filling ----------------------------------------------------------------------------------------------------

    def begin(self, *, touching: bool, whole: bool) -> None:
        """A package begins; ``whole`` says that it must not refer to what it does not hold."""
        self._touching, self._whole = touching, whole

    def forget(self, standard: str) -> None:
        """A bulk file replaces what was known of its kind."""
        if standard == "orgs":
            self._orgs, self._schools = {}, {}
        elif standard == "classes":
            self._rooms = {}
        elif standard == "roles":
            self._students, self._others, self._left = set(), set(), set()
        elif standard == "enrollments":
            self._seats = {}
        else:
            self._persons = {}

    def refer(self, user: str, place: tuple[str, int]) -> None:
        """A file other than users.csv mentions ``user`` at ``place`` (file, row)."""
        if self._touching:
            self.touched.add(user)
        if self._whole:
            self._unmet.setdefault(user, place)

    def meet(self, user: str) -> None:
        """users.csv has ``user``."""
        self._unmet.pop(user, None)

    def unmet(self) -> list[tuple[tuple[str, int], str]]:
        """Users mentioned that users.csv does not have, with the first place of each."""
        return sorted((place, user) for user, place in self._unmet.items())

    def add_org(self, org: str, title: str, kind: str) -> None:
        self._orgs[org] = title
        if kind == "school":
            self._schools[org] = title

    def add_class(self, key: str, title: str, grades: str, org: str, *, home: bool, deleted: bool) -> None:
        if deleted:
            # An enrolment in it is no orphan; only its title is out of date.
            self._rooms[key] = Room("", "", org, False)
        else:
            self._rooms[key] = Room(title, grades, org, home)

    def add_role(self, user: str, role: str, *, deleted: bool) -> None:
        if role != "student":
            self._others.add(user)
        elif deleted:
            self._left.add(user)
        else:
            self._students.add(user)
            self._left.discard(user)

    def add_enrolment(self, user: str, seat: Enrolment, *, deleted: bool) -> None:
        seats = [other for other in self._seats.get(user, []) if other.room != seat.room]
        self._seats[user] = seats if deleted else [*seats, seat]

    def add_person(self, user: str, birth_date: str, sex: Sex.ValueType) -> None:
        self._persons[user] = (birth_date, sex)

    # -- asking -----------------------------------------------------------------------------------------------------

    def knows_org(self, org: str) -> bool:
        return org in self._orgs or not self._whole or not self._orgs

    def knows_class(self, room: str) -> bool:
        return room in self._rooms or not self._whole

    def is_student(self, user: str, role: str) -> bool | None:
        """Whether ``user`` is a student by the roles file, by the 1.1 ``role`` column or by an enrolment; or unknown."""
        if user in self._students or user in self._left or role == "student":
            return True
        if user in self._others or role:
            return False
        roles = {seat.role for seat in self._seats.get(user, ())}
        return "student" in roles if roles else None

    def has_left(self, user: str) -> bool:
        """Whether the only word on the user's role as a student is that it ended."""
        return user in self._left and user not in self._students

    def class_of(self, user: str) -> Room | None:
        """The administrative class, else the primary one, else the first."""
        rooms = [
            (not room.home, not seat.primary, place, room)
            for place, seat in enumerate(self._seats.get(user, ()))
            if seat.role == "student" and (room := self._rooms.get(seat.room)) is not None and room.title
        ]
        return min(rooms, key=lambda found: found[:3])[3] if rooms else None

    def school_title(self, user: str) -> str:
        """The name of the school of the user's class, or of the only school there is."""
        room = self.class_of(user)
        if room is not None and room.org in self._orgs:
            return self._orgs[room.org]
        return next(iter(self._schools.values())) if len(self._schools) == 1 else ""

    def person(self, user: str) -> tuple[str, Sex.ValueType]:
        """Birth date (ISO 8601 or empty) and sex."""
        return self._persons.get(user, ("", SEX_UNSPECIFIED))
