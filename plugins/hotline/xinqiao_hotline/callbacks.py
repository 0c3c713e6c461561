"""Call-backs a centre has to make: how each is written out, and which were not closed in time."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xinqiao.adapters import durable
from xinqiao.api.casefile.v1.team_pb2 import TASK_STATE_OPEN, TaskPackage
from xinqiao.contract.clock import local_date

_DAY_US = 86_400_000_000


class Callbacks:
    """Open call-backs by the gateway's own code of each, with the moment they were handed over; no person in it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    def opened(self, task: str, now_us: int) -> None:
        """Handed over; a repeat does not begin its time again. Raises OSError."""
        path = self._path(task)
        if not path.exists():
            durable.replace(path, f"{task} {now_us}".encode("ascii"))

    def closed(self, task: str) -> None:
        """Closed, or no longer theirs."""
        self._path(task).unlink(missing_ok=True)

    def overdue(self, now_us: int, days: int) -> Iterator[tuple[str, int]]:
        """The call-backs that were not closed within ``days``, with the moment they were handed over."""
        for path in sorted(self._folder.glob("*.open")):
            task, _, since = path.read_text("ascii").partition(" ")
            if since.isdigit() and now_us - int(since) > days * _DAY_US:
                yield task, int(since)

    def _path(self, task: str) -> Path:
        return self._folder / f"{hashlib.sha256(task.encode()).hexdigest()[:32]}.open"


def sheet_row(package: TaskPackage) -> list[str]:
    """The call-back as a row of the centre's sheet; what was withheld is blank."""
    student, task = package.student, package.task
    guardian = student.guardians[0] if student.guardians else None
    phone = (guardian.phone if guardian is not None else "") or student.phone
    what = f"【演练 DRILL】{task.what}" if package.drill and task.what else task.what
    state = "待办" if task.state == TASK_STATE_OPEN else "撤销"
    return [
        task.name, student.name, student.family_name + student.given_name,
        guardian.full_name if guardian is not None else "", phone, what,
        local_date(task.due_us).isoformat() if task.due_us else "", f"{state}（演练 DRILL）" if package.drill else state,
    ]  # fmt: skip


def body(package: TaskPackage) -> dict[str, Any]:
    """The call-back as JSON for a centre with a system; what was withheld is absent."""
    keys = ("task", "student", "name", "guardian", "phone", "what", "due", "state")
    row = dict(zip(keys, sheet_row(package), strict=True))
    row["state"] = "open" if package.task.state == TASK_STATE_OPEN else "cancelled"
    found: dict[str, Any] = {key: value for key, value in row.items() if value}
    return found | {"drill": True} if package.drill else found
