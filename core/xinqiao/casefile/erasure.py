"""Erasing a student: the keys are destroyed, the names removed, and no older copy of a database brings either back.

What can be read of a student lies under the student's key, so its destruction reaches every copy. What is left in the
records hangs on a random id that nothing ties to a person any more: tiers, dates and states for the district's books, and
the journal. What the gateway cannot reach is said in `config/README.md`.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from xinqiao.api.casefile.v1 import casefile_service_pb2 as rpc
from xinqiao.api.common.v1.options_pb2 import PURPOSE_OPERATION, ROLE_OPERATOR
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.registry import Partner
from xinqiao.journal.append import append
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState
from xinqiao.store.engine import Store
from xinqiao.store.retention import HOLD
from xinqiao.store.sql import RowMapping, select, update
from xinqiao.store.tx import ReadTx, Tx

_CHUNK = 500
_WAITING = (int(DeliveryState.PENDING), int(DeliveryState.DEAD))


class Erasure:
    """Erases students, and finishes what was broken off."""

    def __init__(self, store: Store, door: Door) -> None:
        self._store = store
        self._door = door

    def shred(self, request: rpc.ShredStudentRequest, call: Call) -> rpc.ShredStudentResponse:
        """Erase one student. First the journal's row and the names, then the keys: until both are done, `finish` goes on.

        Raises Refusal CONFIRM, NOT_FOUND/STUDENT, LEGAL_HOLD or OPEN_ITEMS.
        """
        if request.confirm != (request.student.local_id or request.student.name):
            raise Refusal("INVALID_ARGUMENT", "CONFIRM", "confirm must repeat the student's local_id or name")
        named = f"{call.caller.id}/{request.request_id}"
        self._store.run(lambda tx: self._begin(tx, request, call.caller, named))
        row = self._erasure_of(named)
        self._finish(row)
        recipients = [each for each in str(row["recipients"]).split(",") if each]
        return rpc.ShredStudentResponse(
            shredded_us=row["at_us"], cancelled_deliveries=row["cancelled"], recipients=recipients
        )

    def shred_leaver(self, student: str, still: Callable[[Tx], bool], reason: str) -> bool:
        """Erase a student whose time after leaving is over, if ``still`` says so in the transaction; whether it did."""
        named = f"retention/{student}"

        def begin(tx: Tx) -> bool:
            if not still(tx):
                return False
            self._take(tx, student, named, "gateway", "", reason, _recipients(tx, student, set()))
            return True

        if self._store.run(begin):
            self._finish(self._erasure_of(named))
            return True
        return False

    def finish(self) -> None:
        """Go on with erasures that a crash broke off."""
        with self._store.read() as reading:
            left = reading.all(select(tables.erasures).where(tables.erasures.c.done.is_(False)))
        for row in left:
            self._finish(row)

    def reconcile(self) -> None:
        """Once at the start: an older copy of either database is brought up to what the other knows of erasures."""
        keys = self._door.keys
        gone = keys.shredded()
        with self._store.read() as reading:
            known = {str(row["student"]) for row in reading.all(select(tables.erasures.c.student))}
            back = [student for chunk in _chunks(gone) for student in _present(reading, chunk)]
        for student in known.difference(gone):
            keys.shred(student)
        for student in back:
            self._store.run(partial(self._again, student))

    def _begin(self, tx: Tx, request: rpc.ShredStudentRequest, caller: Partner, named: str) -> None:
        if tx.one(select(tables.erasures.c.student).where(tables.erasures.c.request == named)) is not None:
            return  # a repeat
        knower = self._knower(request, caller)
        known = self._door.students.resolve(tx, knower, request.student)
        h = tables.holdings.c
        kinds = [str(row["kind"]) for row in tx.all(select(h.kind).where(h.student == known.id))]
        if HOLD in kinds:
            raise _refused("LEGAL_HOLD", "the student's records are under a legal hold: lift it first", known.id)
        if kinds:
            text = f"{len(kinds)} items of this student are open (xinqiao holdings): whoever holds them must close them first"
            raise _refused("OPEN_ITEMS", text, known.id)
        recipients = _recipients(tx, known.id, {knower.agency, caller.agency})
        self._take(tx, known.id, named, caller.id, caller.agency, request.reason, recipients)

    def _take(
        self, tx: Tx, student: str, named: str, actor: str, partner: str, reason: str, recipients: Sequence[str]
    ) -> None:  # fmt: skip
        """Remove the names and put the erasure on record; its keys go next, and `finish` sees to it that they do."""
        cancelled = self._scrub(tx, student)
        tx.insert(tables.erasures, student, named, tx.now_us, False, cancelled, ",".join(recipients))
        self._record(tx, student, actor, partner, reason)

    def _erasure_of(self, named: str) -> RowMapping:
        with self._store.read() as reading:
            row = reading.one(select(tables.erasures).where(tables.erasures.c.request == named))
        assert row is not None
        return row

    def _knower(self, request: rpc.ShredStudentRequest, caller: Partner) -> Partner:
        """The partner under whose names the student is meant."""
        if not request.agency or request.agency == caller.agency:
            return caller
        found = self._door.registry.find(request.agency)
        if ROLE_OPERATOR not in caller.roles or found is None:
            raise Refusal("NOT_FOUND", "STUDENT", "no such student for this caller")
        return found

    def _scrub(self, tx: Tx, student: str) -> int:
        """Remove the names and what partners called the student's deliveries; how many deliveries will not go."""
        d = tables.deliveries
        mine = d.c.student == student
        cancelled = tx.execute(
            update(d)
            .where(mine & d.c.state.in_(_WAITING))
            .values(state=int(DeliveryState.CANCELLED), last_reason="SHREDDED", updated_us=tx.now_us)
        )
        # One that is on its way cannot be called back; its payload goes when its worker reports.
        tx.execute(update(d).where(mine & (d.c.state != int(DeliveryState.RUNNING))).values(payload=None, receipt=""))
        self._door.students.forget(tx, student)
        tx.delete(tables.students, student)
        return cancelled

    def _again(self, student: str, tx: Tx) -> None:
        """The names came back with an older copy of the records."""
        cancelled = self._scrub(tx, student)
        tx.insert_if_absent(tables.erasures, student, f"restored/{student}", tx.now_us, True, cancelled, "")
        self._record(tx, student, "gateway", "", "RESTORED")

    def _finish(self, row: RowMapping) -> None:
        m = tables.mailboxes.c
        with self._store.read() as reading:  # letters lie under the key of their mailbox
            boxes = [str(box["id"]) for box in reading.all(select(m.id).where(m.student == row["student"]))]
        for subject in (str(row["student"]), *boxes):
            self._door.keys.shred(subject)
        if not row["done"]:
            self._store.run(lambda tx: tx.update(tables.erasures, (row["student"],), done=True))

    def _record(self, tx: Tx, student: str, actor: str, partner: str, reason: str) -> None:
        append(
            tx, kind="student.shredded", decision="permit", actor=actor, partner=partner, purpose=PURPOSE_OPERATION,
            student=student, resource="students", reason=reason, policy_version=self._door.policy.version,
        )  # fmt: skip


def _recipients(tx: Tx, student: str, own: set[str]) -> list[str]:
    """Agencies that had been given something, by the journal."""
    j = tables.journal.c
    shown = (j.student == student) & j.kind.in_(("released", "read", "replayed")) & (j.decision == "permit")
    found = tx.all(select(j.partner).where(shown & (j.classes != 0)).distinct())
    return sorted({str(row["partner"]) for row in found} - own - {""})


def _present(tx: ReadTx, students: Sequence[str]) -> list[str]:
    return [str(row["id"]) for row in tx.all(select(tables.students.c.id).where(tables.students.c.id.in_(students)))]


def _chunks(students: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(students), _CHUNK):
        yield students[start : start + _CHUNK]


def _refused(reason: str, text: str, student: str) -> Refusal:
    refusal = Refusal("FAILED_PRECONDITION", reason, text)
    refusal.subject = student
    return refusal
