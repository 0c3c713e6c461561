"""The joins of a roster in a few bytes a person: roles, classes, birth dates under hashed ids, and no name of anybody."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import shake_256
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from xinqiao_school.wire import write_whole

UNKNOWN, SEATED, PUPIL, OTHER, RELATIVE, GUARDIAN, PARENT, LEFT, STUDENT = range(9)
"""What a person is, the more telling the higher. ``SEATED`` and ``PUPIL`` are only an enrolment's word for it."""

ROLES = {"student": STUDENT, "parent": PARENT, "guardian": GUARDIAN, "relative": RELATIVE}
NO_RANK = 9
MAX_ID = 128
MARK_BYTES = 8

Marks = NDArray[np.uint64]
_PERSON = np.dtype([("mark", "<u8"), ("born", "<i4"), ("room", "<i4"), ("kind", "u1"), ("rank", "u1"), ("sex", "u1")])
_FACTORS = np.frombuffer(shake_256(b"xinqiao-school").digest(MARK_BYTES * (MAX_ID + 1)), "<u8") | np.uint64(1)
_FOLD = 1 << 17
_MAGIC = b"roster 2"
_PIECE = 1 << 16
_SPELLINGS = 10_000


def marks(local_ids: Sequence[str]) -> Marks:
    """Short stand-ins for ids: the joins are made on them, and they remember a roster's ids without keeping them.

    The same in every run: each letter times a factor of its place, added up modulo 2^64 and mixed. Two of a city's two
    million ids fall together about once in ten million rosters. Ids have up to ``MAX_ID`` characters, none of them NUL.
    """
    if len(max(local_ids, key=len, default="")) > MAX_ID:
        local_ids = [one[: MAX_ID + 1] for one in local_ids]
    texts = np.array(local_ids, np.str_)
    width = texts.dtype.itemsize // 4
    if not len(texts) or not width:
        return np.zeros(len(texts), np.uint64)
    letters = texts.view(np.uint32).reshape(len(texts), width)
    mixed = letters.astype(np.uint64) @ _FACTORS[:width]
    mixed ^= mixed >> np.uint64(32)
    mixed *= _FACTORS[0]
    return cast("Marks", mixed ^ mixed >> np.uint64(29))


class Gathered:
    """Numbers that come block by block and are wanted all together.

    They are kept in few large pieces: small ones among the short-lived memory of each block would keep all of it.
    """

    def __init__(self, kind: str = "<u8") -> None:
        self._kind = kind
        self._full: list[NDArray[Any]] = []
        self._piece = np.zeros(0, kind)
        self._used = 0

    def add(self, values: Any) -> None:
        """Take one block's."""
        if self._used + len(values) > len(self._piece):
            self._full.append(self._piece[: self._used])
            self._piece, self._used = np.empty(max(_PIECE, len(values)), self._kind), 0
        self._piece[self._used : self._used + len(values)] = values
        self._used += len(values)

    def all(self) -> NDArray[Any]:
        """Those of all blocks, one after another."""
        if self._full:
            self._piece = np.concatenate((*self._full, self._piece[: self._used]))
            self._full, self._used = [], len(self._piece)
        return self._piece[: self._used]


class Words(dict[str, int]):
    """The code of each spelling, worked out once: a column of a million cells has a handful of them."""

    def __init__(self, code: Callable[[str], int]) -> None:
        super().__init__()
        self._code = code

    def __missing__(self, text: str) -> int:
        code = self._code(text.strip().lower())
        if len(self) < _SPELLINGS:
            self[text] = code
        return code

    def of(self, cells: Sequence[str]) -> NDArray[np.int64]:
        """The code of each cell."""
        return np.fromiter(map(self.__getitem__, cells), np.int64, len(cells))


class Room(NamedTuple):
    """A class as the school writes it; ``home`` is the administrative class (行政班)."""

    title: str
    grades: str
    org: str
    home: bool


class Columns:
    """What files say of people, block after block, and then folded to one word a person."""

    def __init__(self) -> None:
        self._waiting: list[NDArray[Any]] = []
        self._count = 0
        self._folded = np.zeros(0, _PERSON)

    def add(
        self,
        people: Marks,
        *,
        kind: NDArray[Any] | int = UNKNOWN,
        room: NDArray[Any] | int = -1,
        rank: NDArray[Any] | int = NO_RANK,
        born: NDArray[Any] | int = 0,
        sex: NDArray[Any] | int = 0,
    ) -> None:
        """Take what one block of rows says, a value a row or one for all."""
        rows = np.empty(len(people), _PERSON)
        rows["mark"], rows["kind"], rows["room"], rows["rank"] = people, kind, room, rank
        rows["born"], rows["sex"] = born, sex
        self._waiting.append(rows)
        self._count += len(rows)
        if self._count >= _FOLD:
            self._fold()

    def folded(self) -> NDArray[Any]:
        """One row a person, by mark: the most telling role, the best class, and the last birth date and sex."""
        self._fold()
        folded, self._folded = self._folded, np.zeros(0, _PERSON)
        return folded

    def _fold(self) -> None:
        if self._waiting:
            self._folded = merged(self._folded, np.concatenate(self._waiting))
            self._waiting, self._count = [], 0


def one_each(rows: NDArray[Any]) -> NDArray[Any]:
    """``rows`` by mark, one a person: the most telling role, the best class (of equals the first), the last of the rest."""
    if not len(rows):
        return rows
    rows = rows[np.argsort(rows["mark"], kind="stable")]
    starts = np.flatnonzero(np.concatenate(([True], rows["mark"][1:] != rows["mark"][:-1])))
    if len(starts) == len(rows):
        return rows
    found = rows[starts]
    found["kind"] = np.maximum.reduceat(rows["kind"], starts)
    found["rank"] = np.minimum.reduceat(rows["rank"], starts)
    lengths = np.diff(np.append(starts, len(rows)))
    best = rows["rank"] == np.repeat(found["rank"], lengths)
    place = np.where(best, np.arange(len(rows)), len(rows))
    found["room"] = rows["room"][np.minimum.reduceat(place, starts)]
    for name in ("born", "sex"):
        known = np.where(rows[name] != 0, np.arange(len(rows)), -1)
        last = np.maximum.reduceat(known, starts)
        found[name] = np.where(last >= 0, rows[name][last], 0)
    return found


def merged(known: NDArray[Any], more: NDArray[Any]) -> NDArray[Any]:
    """As ``one_each`` of both, for a large ``known`` (changed in place) and a smaller ``more`` that comes after it."""
    more = one_each(more)
    at = positions(known, np.ascontiguousarray(more["mark"]))
    hit = at >= 0
    there, new = known[at[hit]], more[hit]
    there["kind"] = np.maximum(there["kind"], new["kind"])
    better = new["rank"] < there["rank"]
    for name, wins in (("room", better), ("rank", better), ("born", new["born"] != 0), ("sex", new["sex"] != 0)):
        there[name] = np.where(wins, new[name], there[name])
    known[at[hit]] = there
    rest = more[~hit]
    if not len(rest):
        return known
    return np.insert(known, np.searchsorted(known["mark"], rest["mark"]), rest)


def positions(rows: NDArray[Any], wanted: Marks) -> NDArray[np.int64]:
    """Where each mark stands in ``rows``; -1 for one that is not there."""
    marks = np.ascontiguousarray(rows["mark"]) if rows.dtype.names else rows
    if not len(marks):
        return np.full(len(wanted), -1, np.int64)
    at = np.minimum(np.searchsorted(marks, wanted), len(marks) - 1)
    return np.where(marks[at] == wanted, at, -1)


@dataclass(slots=True)
class State:
    """What the packages so far say together: people by mark, who cares for whom, classes, organisations."""

    people: NDArray[Any] = field(default_factory=lambda: np.zeros(0, _PERSON))
    cares: NDArray[np.uint64] = field(default_factory=lambda: np.zeros((0, 2), np.uint64))
    room_ids: dict[str, int] = field(default_factory=dict[str, int])
    rooms: list[Room] = field(default_factory=list[Room])
    orgs: dict[str, tuple[str, str, str]] = field(default_factory=dict[str, tuple[str, str, str]])

    def set_room(self, key: str, room: Room) -> int:
        """Add or replace a class; its number."""
        number = self.room_ids.setdefault(key, len(self.rooms))
        if number == len(self.rooms):
            self.rooms.append(room)
        else:
            self.rooms[number] = room
        return number

    def school_title(self, org: str) -> str:
        """The name of ``org``, or of the only school there is."""
        if org in self.orgs:
            return self.orgs[org][0]
        schools = [title for title, kind, _ in self.orgs.values() if kind == "school"]
        return schools[0] if len(schools) == 1 else ""

    def save(self, path: Path) -> None:
        """Keep it; whole or not at all."""
        about = {"orgs": self.orgs, "rooms": [(key, *self.rooms[at]) for key, at in self.room_ids.items()]}
        text = json.dumps(about, ensure_ascii=False, separators=(",", ":")).encode()
        sizes = np.array([len(self.people), len(self.cares), len(text)], "<u8").tobytes()
        write_whole(path, _MAGIC, sizes, self.people.data, np.ascontiguousarray(self.cares).data, text)

    @classmethod
    def load(cls, path: Path) -> "State":
        """Raises FileNotFoundError, ValueError for a file that is none of ours."""
        whole = path.read_bytes()
        if len(whole) < len(_MAGIC) + 24 or not whole.startswith(_MAGIC):
            raise ValueError("not a roster's state")
        data = memoryview(whole)[len(_MAGIC) :]
        people, cares, text = (int(size) for size in np.frombuffer(data[:24], "<u8"))
        middle = 24 + people * _PERSON.itemsize
        end = middle + cares * 2 * MARK_BYTES
        if len(data) != end + text:
            raise ValueError("not a roster's state")
        about = cast("dict[str, Any]", json.loads(bytes(data[end:])))
        state = cls(np.frombuffer(data[24:middle], _PERSON), np.frombuffer(data[middle:end], "<u8").reshape(-1, 2))
        state.orgs = {key: cast("tuple[str, str, str]", tuple(org)) for key, org in about["orgs"].items()}
        for key, title, grades, org, home in about["rooms"]:
            state.set_room(key, Room(title, grades, org, home))
        return state

    def over(self, newer: "State") -> "State":
        """This state after ``newer``: what a delta says of a person or class replaces what was known."""
        result = State(newer.people, newer.cares, dict(self.room_ids), list(self.rooms), self.orgs | newer.orgs)
        moved = np.array(
            [result.set_room(key, newer.rooms[at]) for key, at in newer.room_ids.items()] or [-1], np.int32
        )
        people = newer.people.copy()
        people["room"] = np.where(people["room"] >= 0, moved[people["room"]], -1)
        kept = self.people[positions(people, np.ascontiguousarray(self.people["mark"])) < 0]
        result.people = np.insert(kept, np.searchsorted(kept["mark"], people["mark"]), people)
        stale = np.isin(self.cares[:, 0], newer.cares[:, 0])
        result.cares = np.concatenate((self.cares[~stale], newer.cares))
        return result
