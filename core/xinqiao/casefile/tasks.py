"""Tasks of care teams as stored: each open one with exactly one holder and one deadline, as every open item."""

import secrets

from xinqiao.api.casefile.v1 import team_pb2 as pb
from xinqiao.api.common.v1.options_pb2 import PURPOSE_CARE
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.registry import Reader
from xinqiao.journal.append import append
from xinqiao.store import tables
from xinqiao.store.holdings import drop, hold
from xinqiao.store.sql import RowMapping
from xinqiao.store.tx import ReadTx, Tx

OPEN = int(pb.TASK_STATE_OPEN)
_DAY_US = 86_400_000_000


class Tasks:
    """Reads and writes tasks; every write leaves one holding on an open one and none on any other."""

    def __init__(self, door: Door, reads: Reader) -> None:
        self.door = door
        self._reads = reads

    def insert(self, tx: Tx, team: RowMapping, task: pb.CareTask, share: str, actor: str) -> None:
        """Store a new task; ``share`` is its holder's membership, empty for the school itself."""
        identifier = secrets.token_hex(16)
        student = str(team["student"])
        tx.insert(
            tables.tasks, identifier, str(team["id"]), student, str(team["school"]), share, int(task.state), task.due_us,
            tx.now_us, tx.now_us, 1, self._seal(identifier, student, task),
        )  # fmt: skip
        task.name, task.etag = f"tasks/{identifier}", "1"
        self._hold(tx, task, student, str(team["school"]))
        self._tell(tx, task, student, share, actor)

    def store(self, tx: Tx, row: RowMapping, task: pb.CareTask, share: str, actor: str) -> None:
        """Store a change; a new holder or deadline begins with a clock of its own. Whoever must know is told."""
        identifier, student, version = str(row["id"]), str(row["student"]), int(row["version"]) + 1
        tx.update(
            tables.tasks, (identifier,), share=share, state=int(task.state), due_us=task.due_us, updated_us=tx.now_us,
            version=version, sealed=self._seal(identifier, student, task),
        )  # fmt: skip
        task.etag = str(version)
        drop(tx, task.name)
        if task.state == OPEN:
            self._hold(tx, task, student, str(row["school"]))
        if task.state != pb.TASK_STATE_DONE:
            self._tell(tx, task, student, share, actor)
        if share != row["share"]:
            gone = pb.CareTask(name=task.name, state=pb.TASK_STATE_CANCELLED, etag=task.etag)
            self._tell(tx, gone, student, str(row["share"]), actor)

    def give_back(self, tx: Tx, share: str) -> int:
        """Give the open tasks held by a membership that ended back to the school, with at least a day; how many."""
        t = tables.tasks.c
        rows = tx.all(tables.tasks.select().where((t.share == share) & (t.state == OPEN)))
        for row in rows:
            task = self.load(row)
            task.holder = self.door.registry.holder(str(row["school"]))
            task.due_us = max(task.due_us, tx.now_us + _DAY_US)
            self.store(tx, row, task, "", "gateway")
        return len(rows)

    def of_team(self, tx: ReadTx, team: str) -> list[pb.CareTask]:
        """The tasks of a team, the next due first."""
        t = tables.tasks.c
        return [
            self.load(row) for row in tx.all(tables.tasks.select().where(t.team == team).order_by(t.due_us, t.id))
        ]  # fmt: skip

    def load(self, row: RowMapping) -> pb.CareTask:
        """The task of a row; of one that cannot be read any more, its plain columns."""
        task = self.door.keys.readable(pb.CareTask, row, table="tasks") or pb.CareTask(
            holder=self.door.registry.holder(str(row["school"]))
        )
        task.name, task.etag, task.team = f"tasks/{row['id']}", str(row["version"]), f"teams/{row['team']}"
        task.state, task.due_us = row["state"], int(row["due_us"])
        return task

    def _tell(self, tx: Tx, task: pb.CareTask, student: str, share: str, actor: str) -> None:
        """Send a task to the adapter of a holder outside the school, if it takes tasks; others ask for theirs."""
        member = tx.get(tables.shares, share.removeprefix("shares/")) if share else None
        holder = self.door.registry.find(str(member["recipient"])) if member is not None else None
        declared = self._reads(holder.agency, "task") if holder is not None else None
        if holder is None or declared is None:
            return
        package = pb.TaskPackage(task=task, student=self.door.students.leaving(tx, student, holder.agency))
        try:
            self.door.release(
                tx, package, recipient=holder, purpose=PURPOSE_CARE, student=student, relation="PARTY", kind="task",
                item=task.name, actor=actor, key=f"{task.name.replace('/', '.')}.v{task.etag}", basis=share,
                declared=declared,
            )  # fmt: skip
        except Refusal as refusal:
            # The task stands although its holder may not be sent it; that it was not is on record, and its clock runs.
            append(
                tx, kind="refused", decision="deny", actor=actor, partner=holder.agency, purpose=PURPOSE_CARE,
                student=student, resource=task.name, reason=refusal.reason, basis=share,
                policy_version=self.door.policy.version,
            )  # fmt: skip

    def _hold(self, tx: Tx, task: pb.CareTask, student: str, school: str) -> None:
        hold(
            tx, task.name, kind="task", school=school, student=student, step="do_task", holder=task.holder,
            deadline_us=task.due_us,
        )  # fmt: skip

    def _seal(self, identifier: str, student: str, task: pb.CareTask) -> bytes:
        kept = pb.CareTask()
        kept.CopyFrom(task)
        kept.name = kept.etag = kept.team = ""
        return self.door.keys.sealer(student).seal(kept.SerializeToString(), table="tasks", key=identifier)
