"""Students from OneRoster 1.2 and 1.1 CSV packages, bulk and delta, in one pass over each file and flat memory."""

import struct
import tempfile
from array import array
from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files.places import Findings, Place
from xinqiao.api.common.v1.types_pb2 import Student
from xinqiao_school.carers import Carers, pairs_of
from xinqiao_school.index import (
    LEFT,
    NO_RANK,
    OTHER,
    PUPIL,
    ROLES,
    STUDENT,
    UNKNOWN,
    State,
    mark,
    marks_of,
    merged,
    positions,
)
from xinqiao_school.joins import Joins
from xinqiao_school.notes import Notes
from xinqiao_school.package import Package
from xinqiao_school.settings import SchoolSettings
from xinqiao_school.users import RELATIONS, Known, Users

_BLOCK = 4096
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
        self._ids, self._contents, self._rows = bytearray(), array("q"), array("I")
        self._met = np.zeros(0, np.bool_)
        self._strangers = bytearray()
        self._carer_ids, self._carer_places = bytearray(), array("Q")
        self._cares = bytearray()
        self._pairs = np.zeros((0, 2), np.uint64)
        self._skipped: set[int] = set()
        self._touched_marks = set[int]()
        self._carers_size = 0

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
        self._met = np.zeros(len(self._people), np.bool_)
        self._touched_marks = set(told["mark"].tolist()) if self._package.is_delta else set[int]()
        findings = Findings(accept_valid_rows=self._settings.accept_valid_rows)
        rows = self._package.cells("users", findings)
        while block := list(islice(rows, _BLOCK)):
            self._block(block, findings)
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
        self._people, self._contents = self._before.people, array("q")
        return state

    @property
    def count(self) -> int:
        """Students, after ``check``."""
        return len(self._rows) - len(self._skipped)

    def students(self) -> Iterator[Student]:
        """The students of a package that ``check`` has passed."""
        for _, student in self.placed():
            yield student

    def placed(self) -> Iterator[tuple[Place, Student]]:
        """As ``students``, each with the row that named it."""
        carers = Carers(self._carers, marks_of(self._carer_ids), self._carer_places, self._pairs)
        marks = marks_of(self._ids)
        self._spool.seek(0)
        for start in range(0, len(marks), _BLOCK):
            known = carers.of(marks[start : start + _BLOCK])
            for index, guardians in enumerate(known, start):
                row, length = _HEAD.unpack(self._spool.read(_HEAD.size))
                data = self._spool.read(length)
                if index in self._skipped:
                    continue
                student = Student.FromString(data)
                for guardian in guardians:
                    student.guardians.append(guardian)
                yield self._package.place("users", row or None), student

    # -- users.csv --------------------------------------------------------------------------------------------------

    def _block(self, block: Sequence[tuple[int, tuple[str, ...]]], findings: Findings) -> None:
        digests = [mark(cells[0].strip()) for _, cells in block]
        marks = marks_of(b"".join(digests))
        at = positions(self._people, marks)
        self._met[at[at >= 0]] = True
        self._strangers += marks[at < 0].tobytes()
        told = _told(self._people, at)
        for (number, cells), digest, known in zip(block, digests, told, strict=True):
            try:
                self._user(number, cells, digest, known)
            except RecordRejected as error:
                findings.reject(error)

    def _user(self, number: int, cells: tuple[str, ...], digest: bytes, known: Known) -> None:
        user, status, role, _given, _family, _grades, _phone, _sms, agents, org, orgs = cells
        user, role, status = user.strip(), role.strip().lower(), status.strip().lower()
        if not user or len(user) > 128:
            reason = "DATA/CELL_TOO_LONG" if user else "DATA/MISSING"
            message = "is longer than 128 characters" if user else "must not be blank"
            raise self._users.bad(number, "sourcedId", reason, message)
        if status != "active":
            self._users.judge_status(number, status)
        kind = known[0]
        if role and kind < OTHER:
            kind = ROLES.get(role, OTHER)
        if org:
            self._joins.check_reference("users", number, "primaryOrgSourcedId", org.strip())
        if orgs:
            self._joins.check_reference("users", number, "orgSourcedIds", orgs.strip())
        if kind in (PUPIL, STUDENT, LEFT):
            left = status == "tobedeleted" or kind == LEFT
            student = self._users.student(number, cells, user, known, left)
            if agents:
                self._cares += b"".join(digest + mark(one) for one in map(str.strip, agents.split(",")) if one)
            self._ids += digest
            self._contents.append(hash(cells))
            self._rows.append(number)
            data = student.SerializeToString(deterministic=True)
            self._spool.write(_HEAD.pack(number, len(data)) + data)
            return
        if kind in RELATIONS:
            self._carer(number, cells, digest, kind, status)
        elif kind == UNKNOWN:
            message = "no file says this user's role, so it was not read"
            self._users.note(number, "sourcedId", "DATA/REFERENCE", message)

    def _carer(self, number: int, cells: tuple[str, ...], digest: bytes, kind: int, status: str) -> None:
        """Keep a guardian's name and phone aside; guardians' own ``agentSourcedIds`` may name the child instead."""
        guardian = self._users.guardian(number, cells, kind)
        if guardian is None or status == "tobedeleted":
            return
        agents = cells[8]
        if agents:
            self._cares += b"".join(mark(one) + digest for one in map(str.strip, agents.split(",")) if one)
        data = guardian.SerializeToString(deterministic=True)
        self._carer_ids += digest
        self._carer_places.append(self._carers_size << 16 | len(data))
        self._carers_size += len(data)
        self._carers.write(data)

    # -- after the last row -----------------------------------------------------------------------------------------

    def _find_repeats(self, findings: Findings) -> None:
        """A student named twice: the same is merged, a contradiction is rejected with both rows."""
        marks = marks_of(self._ids)
        ordered = np.sort(marks)
        again = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
        del ordered
        first: dict[int, int] = {}
        for index in np.flatnonzero(np.isin(marks, again)).tolist() if len(again) else ():
            earlier = first.setdefault(int(marks[index]), index)
            if earlier == index:
                continue
            self._skipped.add(index)
            if self._contents[earlier] != self._contents[index]:
                message = f"contradicts row {self._rows[earlier]}, which has the same key"
                place = self._package.place("users", self._rows[index])
                findings.reject(RecordRejected("DATA/DUPLICATE", message, place))

    def _name_unmet(self) -> None:
        """Users that other files mention and a bulk users.csv does not have; their rows are looked up only then."""
        if self._package.is_delta:
            return
        unmet = set(self._people["mark"][~self._met].tolist())
        for standard in ("roles", "enrollments", "demographics") if unmet else ():
            column = "sourcedId" if standard == "demographics" else "userSourcedId"
            for number, cells in self._package.cells(standard, Findings(accept_valid_rows=True)):
                if int.from_bytes(mark(cells[0].strip()), "little") in unmet:
                    place = self._package.place(standard, number, column)
                    message = "names a user that users.csv does not have"
                    self._notes.add(place, "DATA/REFERENCE", message, refused=True)
        named = np.unique(pairs_of(self._cares)[:, 1])
        at = positions(self._people, named)
        orphans = named[(at < 0) | ~self._met[at]] if len(self._people) else named
        orphans = orphans[~np.isin(orphans, marks_of(self._strangers))]
        if len(orphans):
            message = f"{len(orphans)} of the agents that students name are not in users.csv"
            self._notes.add(self._package.place("users", None, "agentSourcedIds"), "DATA/REFERENCE", message)

    # -- deltas -----------------------------------------------------------------------------------------------------

    def _changed(self, told: NDArray[Any]) -> NDArray[Any]:
        """The people of before, with what this delta's other files say; ``told`` is one row a person."""
        people = self._before.people.copy()
        gone = list(self._joins.emptied)
        at = positions(people, marks_of(b"".join(digest for digest, _ in gone)))
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
        mine = marks_of(bytes(self._ids))
        changed = [np.array(sorted(self._touched_marks), np.uint64)]
        if self._joins.rooms:
            changed.append(told["mark"][np.isin(told["room"], list(self._joins.rooms))])
        carers = marks_of(bytes(self._carer_ids))
        changed.append(before.cares[np.isin(before.cares[:, 1], carers), 0])
        every = np.unique(np.concatenate(changed))
        at = positions(told, every)
        pupils = np.isin(told["kind"][at], (PUPIL, STUDENT, LEFT)) & (at >= 0) if len(told) else at >= 0
        wanted = np.setdiff1d(every[pupils], mine)
        # With them the guardians of all students this delta brings, unless it brings those too.
        brought = np.concatenate((wanted, mine))
        known = before.cares[np.isin(before.cares[:, 0], brought), 1]
        named = pairs_of(self._cares)[:, 1].copy()
        also = np.setdiff1d(np.concatenate((known, named)), np.concatenate((carers, mine)))
        left = {one.tobytes() for one in np.union1d(wanted, also)}
        for base in reversed(self._bases):
            if not left:
                break
            for cells in base.users(left):
                digest = mark(cells[0].strip())
                left.discard(digest)
                try:
                    self._user(0, cells, digest, _told(self._people, positions(self._people, marks_of(digest)))[0])
                except RecordRejected:
                    continue
        missing = left & {one.tobytes() for one in wanted}
        if missing:
            message = f"{len(missing)} student(s) are changed whom no package in the inbox names; send a bulk package"
            self._notes.add(Place(self._package.label), "DATA/REFERENCE", message, refused=True)

    # -- bulk packages after others ---------------------------------------------------------------------------------

    def _absent(self) -> None:
        """Students of before whom this whole roster does not name: told, and marked as left only if the settings say so.

        A package of one school among several, or one cut short, looks the same; ``tobedeleted`` is the safe word.
        """
        people = self._earlier.people
        pupils = people["mark"][np.isin(people["kind"], (PUPIL, STUDENT))]
        absent = pupils[~np.isin(pupils, marks_of(bytes(self._ids)))]
        if not len(absent):
            return
        place = self._package.place("users")
        if not self._settings.absent_means_left:
            message = f"{len(absent)} student(s) of earlier packages are not in it; kept, as none is told to have left"
            self._notes.add(place, "DATA/ABSENT", message)
            return
        left = {one.tobytes() for one in absent}
        for base in reversed(self._bases):
            for cells in base.users(left) if left else ():
                digest = mark(cells[0].strip())
                left.discard(digest)
                _, _, born, sex = _told(people, positions(people, marks_of(digest)))[0]
                try:
                    self._user(0, cells, digest, (LEFT, -1, born, sex))
                except RecordRejected:
                    continue
        message = f"{len(absent) - len(left)} student(s) of earlier packages are not in it and were read as left"
        self._notes.add(place, "DATA/ABSENT", message)
        if left:
            message = f"{len(left)} more are not in it, and no package in the inbox names them; they were kept"
            self._notes.add(place, "DATA/ABSENT", message)

    # -- what stays known -------------------------------------------------------------------------------------------

    def _paired(self) -> NDArray[np.uint64]:
        """Student and guardian, by student. A student whose row names no agent keeps those of before."""
        pairs = pairs_of(self._cares)
        if self._package.is_delta:
            cares = self._before.cares
            silent = np.setdiff1d(marks_of(self._ids), pairs[:, 0])
            pairs = np.concatenate((pairs, cares[np.isin(cares[:, 0], silent)]))
        return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]

    def _state(self) -> State:
        joined = self._joins.state
        marks = marks_of(self._ids)
        unknown = np.intersect1d(marks_of(self._strangers), marks) if self._strangers else marks[:0]
        pupils = np.zeros(len(unknown), self._people.dtype)
        pupils["mark"], pupils["kind"], pupils["room"], pupils["rank"] = unknown, PUPIL, -1, NO_RANK
        cares = self._pairs[np.isin(self._pairs[:, 1], marks_of(self._carer_ids))]
        if not self._package.is_delta:
            people = self._people if self._met.all() else self._people[self._met]
            return State(merged(people, pupils), cares, joined.room_ids, joined.rooms, joined.orgs)
        everybody = merged(self._people.copy(), pupils)
        touched = np.union1d(np.array(sorted(self._touched_marks), np.uint64), marks)
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


def _told(people: NDArray[Any], at: NDArray[np.int64]) -> list[Known]:
    """Kind, class, birth date and sex of those at these positions; zeros and no class for who is not known."""
    if not len(people):
        return [(UNKNOWN, -1, 0, 0)] * len(at)
    rows, here = people[at], at >= 0
    return list(
        zip(
            np.where(here, rows["kind"], UNKNOWN).tolist(), np.where(here, rows["room"], -1).tolist(),
            np.where(here, rows["born"], 0).tolist(), np.where(here, rows["sex"], 0).tolist(), strict=True,
        )
    )  # fmt: skip
