"""The visits a station has to make: sealed in the agency's folder, allotted to grids, and written out for the station."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xinqiao.adapters import durable
from xinqiao.adapters.spool import Seal
from xinqiao.api.casefile.v1.team_pb2 import TASK_STATE_OPEN, TaskPackage
from xinqiao.contract.clock import local_date
from xinqiao.contract.errors import Refusal

_TABLE = "grid-tasks"


@dataclass(frozen=True, slots=True)
class Allotted:
    """An open task and the grid that does it; empty while nobody has said."""

    package: TaskPackage
    grid: str


class Tasks:
    """Open tasks, one sealed file each. ``only`` is the grid of a station that has one."""

    def __init__(self, folder: Path, seal: Seal | None, only: str) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._seal = seal
        self._only = only

    def take(self, package: TaskPackage) -> None:
        """Keep an open task, forget one that is not open any more. Raises OSError."""
        path = self._path(package.task.name, "task")
        if package.task.state != TASK_STATE_OPEN:
            self.done(package.task.name)
            return
        data = package.SerializeToString(deterministic=True)
        durable.replace(path, data if self._seal is None else self._seal.seal(data, table=_TABLE, key=path.name))

    def allot(self, task: str, grid: str) -> None:
        """Say which grid does ``task``; the last word counts. Raises OSError."""
        durable.replace(self._path(task, "grid"), grid.encode("ascii"))

    def done(self, task: str) -> None:
        """Nobody has to make this visit any more."""
        for suffix in ("task", "grid"):
            self._path(task, suffix).unlink(missing_ok=True)

    def forget(self, student: str) -> None:
        """Drop every task about ``student``: it was recalled."""
        for each in self.open():
            if each.package.student.name == student:
                self.done(each.package.task.name)

    def open(self) -> Iterator[Allotted]:
        """The open tasks, the next due first; one whose key is lost is left out, the gateway still holds it."""
        found: list[Allotted] = []
        for path in sorted(self._folder.glob("*.task")):
            try:
                blob = path.read_bytes()
                data = blob if self._seal is None else self._seal.open(blob, table=_TABLE, key=path.name)
            except (Refusal, FileNotFoundError):
                continue
            package = TaskPackage.FromString(data)
            found.append(Allotted(package, self.grid_of(package.task.name)))
        yield from sorted(found, key=lambda each: (each.package.task.due_us, each.package.task.name))

    def grid_of(self, task: str) -> str:
        """The grid that was said, else the only one, else empty."""
        try:
            return self._path(task, "grid").read_text("ascii")
        except FileNotFoundError:
            return self._only

    def _path(self, task: str, suffix: str) -> Path:
        return self._folder / f"{hashlib.sha256(task.encode()).hexdigest()[:32]}.{suffix}"


def sheet_row(package: TaskPackage, grid: str) -> list[str]:
    """The task as a row of the station's sheet; what was withheld is blank."""
    student, task = package.student, package.task
    guardian = student.guardians[0] if student.guardians else None
    phone = (guardian.phone if guardian is not None else "") or student.phone
    state = "待办" if task.state == TASK_STATE_OPEN else "撤销"
    return [
        task.name, grid, student.name, student.family_name + student.given_name,
        guardian.full_name if guardian is not None else "", phone, _what(package), _due(package),
        f"{state}（演练 DRILL）" if package.drill else state,
    ]  # fmt: skip


def body(package: TaskPackage, grid: str) -> dict[str, Any]:
    """The task as JSON for a station with a system; what was withheld is absent."""
    keys = ("task", "grid", "student", "name", "guardian", "phone", "what", "due", "state")
    row = dict(zip(keys, sheet_row(package, grid), strict=True))
    row["state"] = "open" if package.task.state == TASK_STATE_OPEN else "cancelled"
    found: dict[str, Any] = {key: value for key, value in row.items() if value}
    return found | {"drill": True} if package.drill else found


def form_task(package: TaskPackage) -> dict[str, str]:
    """As much of a task as a phone may hold that can be lost: the family name, what to do, until when."""
    return {
        "task": package.task.name, "student": package.student.name, "family": package.student.family_name,
        "what": _what(package), "due": _due(package),
    }  # fmt: skip


def digest(value: object) -> str:
    """A stable digest of JSON data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _what(package: TaskPackage) -> str:
    return f"【演练 DRILL】{package.task.what}" if package.drill and package.task.what else package.task.what


def _due(package: TaskPackage) -> str:
    return local_date(package.task.due_us).isoformat() if package.task.due_us else ""
