"""Students from OneRoster 1.2 and 1.1 CSV packages, bulk and delta, in one pass over each file and flat memory."""

import struct
import tempfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files.places import Findings, Place
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse
from xinqiao.api.common.v1.types_pb2 import Student
from xinqiao_school.carers import Carers
from xinqiao_school.index import (
    LEFT,
    MAX_ID,
    NO_RANK,
    OTHER,
    PUPIL,
    ROLES,
    STUDENT,
    UNKNOWN,
    Gathered,
    Marks,
    State,
    Words,
    marks,
    merged,
    positions,
)
from xinqiao_school.joins import Cells, Joins, picked
from xinqiao_school.notes import Notes
from xinqiao_school.package import Package
from xinqiao_school.settings import SchoolSettings
from xinqiao_school.users import RELATIONS, Users

_PUPILS = frozenset((PUPIL, STUDENT, LEFT))
_HEAD = struct.Struct("<II")


class Roster:
    """The students a package brings. ``bases`` are the earlier packages a delta builds upon, ``before`` what they said.

    Names pass through two unnamed temporary files in ``folder``, so that nothing is brought of a package whose last
    row spoils it, and guardians may stand behind their students.
    """

    def __init__(
        self,
        package: Package,
        bases: Sequence[Package],
        before: State,
        settings: SchoolSettings,
        notes: Notes,
        folder: Path | None = None,
    ) -> None:
        self._package = package
        self._bases = bases
        self._earlier = before
        self._before = before if package.is_delta else State()
        self._settings = settings
        self._notes = notes
        self._joins = Joins(package, self._before, notes)
        self._users = Users(package, self._joins, settings, notes)
        self._people: NDArray[Any] = self._before.people
        self._spool: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by close
        self._carers: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._ids, self._rows = Gathered(), Gathered("<u4")
        self._met = np.zeros(0, np.bool_)
        self._marks: Marks = np.zeros(0, np.uint64)
        self._strangers = Gathered()
        self._carer_ids, self._carer_places = Gathered(), Gathered()
        self._cares = Gathered()
        self._pairs = np.zeros((0, 2), np.uint64)
        self._skipped: set[int] = set()
        self._touched_marks: Marks = np.zeros(0, np.uint64)
        self._carers_size = 0
        self._roles = Words(lambda text: ROLES.get(text, OTHER) if text else UNKNOWN)
        self._deleted = Words(lambda text: text == "tobedeleted")

    def close(self) -> None:
        """Give the temporary files back."""
        self._spool.close()
        self._carers.close()

    def check(self) -> State:
        """Read and judge everything; what is now known for the next delta. Raises FileRefused."""
        judging = self.judging()
        while True:
            try:
                next(judging)
            except StopIteration as end:
                return cast("State", end.value)

    def judging(self) -> Generator[None, None, State]:
        """``check`` in steps: it yields every few seconds of work, so that the gateway sees that it goes on."""
        self._package.verify_unread()
        yield from self._joins.read()
        told = self._joins.columns.folded()
        self._people = self._changed(told) if self._package.is_delta else told
        self._marks = np.ascontiguousarray(self._people["mark"])
        self._met = np.zeros(len(self._people), np.bool_)
        self._touched_marks = np.ascontiguousarray(told["mark"]) if self._package.is_delta else self._touched_marks
        del told
        findings = Findings(accept_valid_rows=self._settings.accept_valid_rows)
        for numbers, columns in self._package.columns("users", findings):
            with self._notes.by_row():
                self._block(numbers, columns, findings)
            yield
        if self._package.is_delta:
            self._touched()
        else:
            self._absent()
        self._find_repeats(findings)
        self._name_unmet()
        self._pairs = self._paired()
        self._notes.add_findings(findings, proven=True)
        findings.settle()
        state = self._state()
        # What follows takes as long as the gateway takes to store it: keep only what it needs.
        self._people, self._marks = self._before.people, self._before.people["mark"][:0]
        return state

    @property
    def count(self) -> int:
        """Students, after ``check``."""
        return len(self._rows.all()) - len(self._skipped)

    def students(self) -> Iterator[Student]:
        """The students of a package that ``check`` has passed."""
        for _, student in self.placed():
            yield student

    def placed(self) -> Iterator[tuple[Place, Student]]:
        """As ``students``, each with the row that named it."""
        for rows, response in self._kept():
            for row, student in zip(rows, response.students.students, strict=True):
                yield self._package.place("users", row or None), student

    def batches(self) -> Iterator[ReadResponse]:
        """As ``students``, a thousand at once."""
        for rows, response in self._kept():
            response.origin.places.extend([f"users.csv, row {row}" for row in rows])
            yield response

    def _kept(self) -> Iterator[tuple[Sequence[int], ReadResponse]]:
        carers = Carers(self._carers, self._carer_ids.all(), self._carer_places.all(), self._pairs)
        everybody, numbers, start = self._ids.all(), self._rows.all(), 0
        self._spool.seek(0)
        while head := self._spool.read(_HEAD.size):
            count, length = _HEAD.unpack(head)
            response = ReadResponse.FromString(self._spool.read(length))
            students = response.students.students
            if len(self._pairs):
                for student, guardians in zip(students, carers.of(everybody[start : start + count]), strict=True):
                    student.guardians.extend(guardians)
            rows = numbers[start : start + count].tolist()
            for index in reversed([at for at in range(count) if start + at in self._skipped] if self._skipped else []):
                del students[index], rows[index]
            start += count
            if rows:
                yield rows, response

    # -- users.csv --------------------------------------------------------------------------------------------------

    def _block(self, numbers: Sequence[int], columns: list[Cells], findings: Findings) -> None:
        ids = list(map(str.strip, columns[0]))
        fits = [0 < len(user) <= MAX_ID for user in ids]
        people = marks(ids)
        at = positions(self._marks, people)
        self._met[at[at >= 0]] = True
        self._strangers.add(people[at < 0])
        statuses, orgs, more = columns[1], columns[9], columns[10]
        if not all(fits):
            statuses, orgs, more = (
                [cell if fit else blank for cell, fit in zip(column, fits, strict=True)]
                for column, blank in ((statuses, "active"), (orgs, ""), (more, ""))
            )
        if set(statuses) != {"active"}:
            for number, status in zip(numbers, statuses, strict=True):
                if status != "active" and (told := status.strip().lower()) != "active":
                    self._users.judge_status(number, told)
        self._joins.check_references("users", numbers, "primaryOrgSourcedId", orgs)
        self._joins.check_references("users", numbers, "orgSourcedIds", more)
        self._take(numbers, [ids, *columns[1:]], people, _told(self._people, at), findings)

    def _take(
        self, numbers: Sequence[int], columns: list[Cells], people: Marks, told: NDArray[Any], findings: Findings
    ) -> None:
        """Students and guardians of a block, with their ids and what the other files say of each."""
        said = self._roles.of(columns[2])
        kinds = np.where((said != UNKNOWN) & (told["kind"] < OTHER), said, told["kind"])
        gone = self._deleted.of(columns[1]) == 1
        fits = np.array([0 < len(user) <= MAX_ID for user in columns[0]])
        known = zip(kinds.tolist(), told["room"].tolist(), told["born"].tolist(), told["sex"].tolist(), strict=True)
        left = gone | (kinds == LEFT)
        batch, taken, carers, cared = ReadResponse(), list[int](), list[int](), _Pairs()
        students = batch.students.students
        each = zip(numbers, zip(*columns, strict=True), known, fits.tolist(), left.tolist(), strict=True)
        for index, (number, cells, about, fit, is_left) in enumerate(each):
            kind = about[0]
            if kind == OTHER and fit:
                continue
            try:
                if kind in _PUPILS and fit:
                    self._users.add_student(students, number, cells, about, is_left)
                    taken.append(index)
                    if cells[8]:
                        cared.note(index, cells[8])
                elif kind in RELATIONS and fit:
                    if self._carer(number, cells, kind, gone=is_left):
                        carers.append(index)
                        cared.note(index, cells[8], turned=True)
                elif fit:
                    message = "no file says this user's role, so it was not read"
                    self._users.note(number, "sourcedId", "DATA/REFERENCE", message)
                else:
                    reason = "DATA/CELL_TOO_LONG" if cells[0] else "DATA/MISSING"
                    message = "is longer than 128 characters" if cells[0] else "must not be blank"
                    raise self._users.bad(number, "sourcedId", reason, message)
            except RecordRejected as error:
                findings.reject(error)
        if carers:
            self._carer_ids.add(people[carers])
        if cared:
            self._cares.add(cared.marks(people))
        if taken:
            self._ids.add(people[taken])
            self._rows.add([numbers[index] for index in taken])
            data = batch.SerializeToString()
            self._spool.write(_HEAD.pack(len(taken), len(data)) + data)

    def _carer(self, number: int, cells: tuple[str, ...], kind: int, *, gone: bool) -> bool:
        """Keep a guardian's name and phone aside; whether there is anything to keep."""
        guardian = self._users.guardian(number, cells, kind)
        if guardian is None or gone:
            return False
        data = guardian.SerializeToString(deterministic=True)
        self._carer_places.add([self._carers_size << 16 | len(data)])
        self._carers_size += len(data)
        self._carers.write(data)
        return True

    def _from_before(self, wanted: Marks, people: NDArray[Any], *, left: bool = False) -> Marks:
        """Take users from the earlier packages, the newest word on each; the ids that none of them names."""
        for base in reversed(self._bases):
            if not len(wanted):
                break
            for _, columns in base.columns("users", _unheard()):
                ids = list(map(str.strip, columns[0]))
                theirs, first = np.unique(marks(ids), return_index=True)
                keep = np.zeros(len(ids), np.bool_)
                keep[first[np.isin(theirs, wanted)]] = True
                if not keep.any():
                    continue
                numbers, columns = picked([0] * len(ids), [ids, *columns[1:]], keep)
                found = marks(columns[0])
                wanted = np.setdiff1d(wanted, found)
                told = _told(people, positions(people, found))
                if left:
                    told["kind"], told["room"] = LEFT, -1
                self._take(numbers, columns, found, told, _unheard())
        return wanted

    # -- after the last row -----------------------------------------------------------------------------------------

    def _find_repeats(self, findings: Findings) -> None:
        """A student named twice: the same is merged, a contradiction is rejected with both rows."""
        mine, numbers = self._ids.all(), self._rows.all()
        ordered = np.sort(mine)
        again = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        del ordered
        if not len(again):
            return
        repeats = np.flatnonzero(np.isin(mine, again)).tolist()
        rows = set(numbers[repeats].tolist())
        content = {row: hash(cells) for row, cells in self._package.cells("users", _unheard()) if row in rows}
        first: dict[int, int] = {}
        for index in repeats:
            earlier = first.setdefault(int(mine[index]), index)
            if earlier == index:
                continue
            self._skipped.add(index)
            row, other = int(numbers[index]), int(numbers[earlier])
            if content[other] != content[row]:
                message = f"contradicts row {other}, which has the same key"
                place = self._package.place("users", row)
                findings.reject(RecordRejected("DATA/DUPLICATE", message, place))

    def _name_unmet(self) -> None:
        """Users that other files mention and a bulk users.csv does not have; their rows are looked up only then."""
        if self._package.is_delta:
            return
        unmet = self._people["mark"][~self._met]
        for standard in ("roles", "enrollments", "demographics") if len(unmet) else ():
            column = "sourcedId" if standard == "demographics" else "userSourcedId"
            for numbers, columns in self._package.columns(standard, _unheard()):
                named = np.isin(marks(list(map(str.strip, columns[0]))), unmet)
                for at in np.flatnonzero(named).tolist():
                    place = self._package.place(standard, numbers[at], column)
                    message = "names a user that users.csv does not have"
                    self._notes.add(place, "DATA/REFERENCE", message, refused=True)
        agents = np.unique(self._cares.all().reshape(-1, 2)[:, 1])
        places = positions(self._marks, agents)
        orphans = agents[(places < 0) | ~self._met[places]] if len(self._marks) else agents
        orphans = orphans[~np.isin(orphans, self._strangers.all())] if len(orphans) else orphans
        if len(orphans):
            message = f"{len(orphans)} of the agents that students name are not in users.csv"
            self._notes.add(self._package.place("users", None, "agentSourcedIds"), "DATA/REFERENCE", message)

    # -- deltas -----------------------------------------------------------------------------------------------------

    def _changed(self, told: NDArray[Any]) -> NDArray[Any]:
        """The people of before, with what this delta's other files say; ``told`` is one row a person."""
        people = self._before.people.copy()
        gone = list(self._joins.emptied)
        at = positions(people, np.array([person for person, _ in gone], np.uint64))
        for place, (_, room) in zip(at.tolist(), gone, strict=True):
            if place >= 0 and people["room"][place] == room:
                people["room"][place], people["rank"][place] = -1, NO_RANK
        # The newer word counts: of equal classes the one told now, and a student who is told to have left has left.
        at = positions(people, np.ascontiguousarray(told["mark"]))
        hit = at >= 0
        equal = told["rank"][hit] == people["rank"][at[hit]]
        moved = equal & (told["room"][hit] >= 0)
        people["room"][at[hit][moved]] = told["room"][hit][moved]
        result = merged(people, told)
        back = positions(result, np.ascontiguousarray(told["mark"]))
        settled = np.isin(told["kind"], (LEFT, STUDENT))
        result["kind"][back[settled]] = told["kind"][settled]
        return result

    def _touched(self) -> None:
        """Students whom this delta changes without a row in its users.csv: their names are in an earlier package."""
        told, before = self._people, self._before
        mine = self._ids.all()
        changed = [self._touched_marks]
        if self._joins.rooms:
            changed.append(told["mark"][np.isin(told["room"], list(self._joins.rooms))])
        carers = self._carer_ids.all()
        changed.append(before.cares[np.isin(before.cares[:, 1], carers), 0])
        every = np.unique(np.concatenate(changed))
        at = positions(told, every)
        pupils = np.isin(told["kind"][at], (PUPIL, STUDENT, LEFT)) & (at >= 0) if len(told) else at >= 0
        wanted = np.setdiff1d(every[pupils], mine)
        # With them the guardians of all students this delta brings, unless it brings those too.
        brought = np.concatenate((wanted, mine))
        known = before.cares[np.isin(before.cares[:, 0], brought), 1]
        named = self._cares.all().reshape(-1, 2)[:, 1].copy()
        also = np.setdiff1d(np.concatenate((known, named)), np.concatenate((carers, mine)))
        missing = np.intersect1d(self._from_before(np.union1d(wanted, also), told), wanted)
        if len(missing):
            message = f"{len(missing)} student(s) are changed whom no package in the inbox names; send a bulk package"
            self._notes.add(Place(self._package.label), "DATA/REFERENCE", message, refused=True)

    # -- bulk packages after others ---------------------------------------------------------------------------------

    def _absent(self) -> None:
        """Students of before whom this whole roster does not name: told, and marked as left only if the settings say so.

        A package of one school among several, or one cut short, looks the same; ``tobedeleted`` is the safe word.
        """
        people = self._earlier.people
        pupils = people["mark"][np.isin(people["kind"], (PUPIL, STUDENT))]
        absent = pupils[positions(np.sort(self._ids.all()), pupils) < 0] if len(pupils) else pupils
        if not len(absent):
            return
        place = self._package.place("users")
        if not self._settings.absent_means_left:
            message = f"{len(absent)} student(s) of earlier packages are not in it; kept, as none is told to have left"
            self._notes.add(place, "DATA/ABSENT", message)
            return
        left = self._from_before(absent, people, left=True)
        message = f"{len(absent) - len(left)} student(s) of earlier packages are not in it and were read as left"
        self._notes.add(place, "DATA/ABSENT", message)
        if len(left):
            message = f"{len(left)} more are not in it, and no package in the inbox names them; they were kept"
            self._notes.add(place, "DATA/ABSENT", message)

    # -- what stays known -------------------------------------------------------------------------------------------

    def _paired(self) -> NDArray[np.uint64]:
        """Student and guardian, by student. A student whose row names no agent keeps those of before."""
        pairs = self._cares.all().reshape(-1, 2)
        if self._package.is_delta:
            cares = self._before.cares
            silent = np.setdiff1d(self._ids.all(), pairs[:, 0])
            pairs = np.concatenate((pairs, cares[np.isin(cares[:, 0], silent)]))
        return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]

    def _state(self) -> State:
        joined = self._joins.state
        mine = self._ids.all()
        strangers = self._strangers.all()
        unknown = np.unique(strangers[positions(np.sort(mine), strangers) >= 0] if len(strangers) else strangers)
        pupils = np.zeros(len(unknown), self._people.dtype)
        pupils["mark"], pupils["kind"], pupils["room"], pupils["rank"] = unknown, PUPIL, -1, NO_RANK
        cares = self._pairs[np.isin(self._pairs[:, 1], self._carer_ids.all())]
        if not self._package.is_delta:
            people = self._people if self._met.all() else self._people[self._met]
            return State(merged(people, pupils), cares, joined.room_ids, joined.rooms, joined.orgs)
        everybody = merged(self._people.copy(), pupils)
        touched = np.union1d(self._touched_marks, mine)
        at = positions(everybody, touched)
        people = everybody[at[at >= 0]]
        wanted = self._joins.rooms | set(people["room"][people["room"] >= 0].tolist())
        state = State(people.copy(), cares, orgs=joined.orgs)
        moved = {
            number: state.set_room(key, joined.rooms[number])
            for key, number in joined.room_ids.items() if number in wanted
        }  # fmt: skip
        state.people["room"] = [moved.get(number, -1) for number in people["room"].tolist()]
        return state


class _Pairs:
    """Who names whom in one block: places in the block, and ids not looked at yet."""

    def __init__(self) -> None:
        self._sides: tuple[tuple[list[int], list[str]], ...] = (([], []), ([], []))

    def note(self, index: int, named: str, *, turned: bool = False) -> None:
        """The ids in ``named`` are guardians of the student at ``index``, or ``turned`` the guardian's students."""
        places, ids = self._sides[turned]
        for one in map(str.strip, named.split(",")) if named else ():
            if one:
                places.append(index)
                ids.append(one)

    def __bool__(self) -> bool:
        return any(places for places, _ in self._sides)

    def marks(self, people: Marks) -> Marks:
        """Student and guardian by mark, pair after pair; ``people`` are those of the block."""
        (students, guardians), (carers, children) = self._sides
        forth = np.column_stack((people[students], marks(guardians)))
        back = np.column_stack((marks(children), people[carers]))
        return np.concatenate((forth, back)).ravel()


def _told(people: NDArray[Any], at: NDArray[np.int64]) -> NDArray[Any]:
    """What is known of those at these positions of ``people``; of the others a kind that is unknown, and no class."""
    told = np.zeros(len(at), people.dtype)
    told["room"] = -1
    told[at >= 0] = people[at[at >= 0]]
    return told


def _unheard() -> Findings:
    """For reading a file a second time: its bad rows are on record already."""
    return Findings(accept_valid_rows=True)
