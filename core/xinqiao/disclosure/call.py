"""One call as a room's function sees it: who calls, in which transaction, and what the answer has shown of whom."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import Message

from xinqiao.api.common.v1.options_pb2 import PURPOSE_OPERATION
from xinqiao.api.common.v1.types_pb2 import Withheld
from xinqiao.contract.methods import Method
from xinqiao.disclosure.door import Door, deciding
from xinqiao.disclosure.policy import Relation
from xinqiao.disclosure.registry import Partner
from xinqiao.journal.append import append
from xinqiao.store.tx import ReadTx, Tx

_WATCH = int(PURPOSE_OPERATION)
"""An operator must see what is stuck all the more."""

F = TypeVar("F", bound=Callable[..., Any])


def outside_transaction(function: F) -> F:
    """Mark a room's function that waits for partners: it gets a read snapshot, and writes in transactions of its own.

    The edge calls it on a worker thread and looks for the attribute ``outside_transaction``.
    """
    function.__dict__["outside_transaction"] = True
    return function


def asks_partners(question: str) -> Callable[[F], F]:
    """Mark a mutation that asks partners something first: before its transaction the pipeline calls the room's function
    named ``question`` with (request, caller), and, if that returns something to call, calls it on a worker thread.
    What comes back is ``Call.answers``: a write transaction never waits for a partner.
    """

    def mark(function: F) -> F:
        function.__dict__["beforehand"] = question
        return function

    return mark


def prepares(work: str) -> Callable[[F], F]:
    """As :func:`asks_partners`, for a mutation with work that needs no transaction: sealing thousands of records would
    hold up every other command. It has the threads of bulk work, so that no question of a red case waits behind it.
    The function must do without, should ``Call.answers`` be None.
    """

    def mark(function: F) -> F:
        function.__dict__["beforehand_is_bulk"] = True
        return asks_partners(work)(function)

    return mark


View = tuple[str, str, int, str, int]
"""What a part of an answer was shown under: (student, relation, purpose, basis, classes)."""


@dataclass(slots=True)
class Call:
    """A call with its caller and transaction.

    ``student`` is set by the room when the call is about one student: it seals the stored answer. ``disclosed``
    collects, per student, the classes an answer holds; the edge journals them before the bytes go. ``rows`` counts the
    journal rows a mutation wrote: an answer without any is not sent. ``purposes`` are the ones it was viewed under.
    ``kept`` has, per student, the reason why something was kept back; ``grounds`` the purpose and the basis or share
    under which something was shown, where there was one.
    ``answers`` is what partners answered (``asks_partners``) or was prepared (``prepares``) before the transaction.
    """

    caller: Partner
    method: Method
    reading: ReadTx
    door: Door
    request_id: str = ""
    student: str | None = None
    disclosed: dict[str, int] = field(init=False)
    kept: dict[str, str] = field(init=False)
    grounds: dict[str, tuple[int, str]] = field(init=False)
    rows: int = 0
    purposes: set[int] = field(init=False)
    views: list[View] = field(init=False)
    answers: object = None

    def __post_init__(self) -> None:
        # No factories of fields: one is made for every call, and `dict[str, int]()` takes eight times as long as `{}`.
        self.disclosed, self.kept, self.grounds, self.purposes, self.views = {}, {}, {}, set(), []

    @property
    def tx(self) -> Tx:
        """The transaction of a mutation; a read has none."""
        if not isinstance(self.reading, Tx):
            raise TypeError(f"{self.method.name} is a read: it must not write")
        return self.reading

    @property
    def leaves(self) -> bool:
        """Whether the answer shows an agency something of a student of others: a disclosure, and no look at one's own."""
        return any(
            classes and relation != "OWN" for _, relation, purpose, _, classes in self.views if purpose != _WATCH
        )

    def view(
        self,
        message: Message,
        *,
        student: str | None,
        relation: Relation = "OWN",
        purpose: int | None = None,
        basis: str = "",
    ) -> list[Withheld]:
        """Cut a record of an answer down to what the caller may see, and remember what it shows of whom; of a record
        about no student there is nothing to remember."""
        purpose = self.method.purpose if purpose is None else purpose
        self.purposes.add(purpose)
        withheld, classes = self.door.view(
            self.reading,
            message,
            caller=self.caller,
            purpose=purpose,
            student=student,
            relation=relation,
            basis=basis,
        )
        if student is None:
            return withheld
        self.disclosed[student] = self.disclosed.get(student, 0) | classes
        if withheld:
            self.kept[student] = deciding([self.kept.get(student, ""), *(lost.reason for lost in withheld)])
        if basis:
            self.grounds[student] = (purpose, basis)
        self.views.append((student, relation, purpose, basis, classes))
        return withheld

    def journal_read(self, tx: Tx, student: str | None, classes: int) -> None:
        """Append what the answer shows of ``student``; of whom everything was kept back, that is a denial."""
        reason = self.kept.get(student or "", "") if not classes else ""
        purpose, basis = self.grounds.get(student or "", (self.method.purpose, ""))
        append(
            tx, kind="read", decision="deny" if reason else "permit", actor=self.caller.id,
            partner=self.caller.agency, purpose=purpose, classes=classes, student=student,
            resource=self.method.name, reason=reason, basis=basis, policy_version=self.door.policy.version,
        )  # fmt: skip

    def journal_batch(self, kind: str, *, resource: str, reason: str, payload: bytes) -> None:
        """Append the one row of a batch over many students, committing to the sealed records themselves."""
        append(
            self.tx, kind=kind, decision="permit", actor=self.caller.id, partner=self.caller.agency,
            purpose=self.method.purpose, resource=resource, reason=reason,
            policy_version=self.door.policy.version, payload=payload, sealer=self.door.keys.system_sealer(),
        )  # fmt: skip
        self.rows += 1

    def journal(
        self,
        kind: str,
        *,
        resource: str,
        student: str | None = None,
        reason: str = "",
        basis: str = "",
        payload: bytes | None = None,
    ) -> None:
        """Append the journal row of this call's effect; what the answer shows of ``student`` rides in it."""
        purpose, ground = self.grounds.get(student or "", (self.method.purpose, ""))
        append(
            self.tx,
            kind=kind,
            decision="permit",
            actor=self.caller.id,
            partner=self.caller.agency,
            purpose=purpose,
            classes=self.disclosed.pop(student, 0) if student else 0,
            student=student,
            resource=resource,
            reason=reason,
            basis=basis or ground,
            policy_version=self.door.policy.version,
            payload=payload,
            sealer=self.door.keys.sealer(student) if student and payload is not None else None,
        )
        self.rows += 1
