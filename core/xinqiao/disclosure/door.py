"""The door: decides, removes what may not go, writes the journal, and only then hands a record on."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from google.protobuf.message import Message

from xinqiao.api.casefile.v1.casefile_pb2 import (
    CONSENT_STATE_DISPUTED,
    CONSENT_STATE_GIVEN,
    CONSENT_STATE_REFUSED,
    CONSENT_STATE_WITHDRAWN,
)
from xinqiao.api.common.v1.options_pb2 import LANE_CRISIS, LANE_ROUTINE, FieldClass
from xinqiao.api.common.v1.types_pb2 import Withheld
from xinqiao.contract.errors import Refusal
from xinqiao.contract.fields import ALL_CLASSES, Kept, class_name, classes_of, present, redact
from xinqiao.disclosure.bases import Basis
from xinqiao.disclosure.policy import ConsentWord, Decision, Policy, Question, Relation, permitted
from xinqiao.disclosure.registry import Partner, Registry
from xinqiao.disclosure.shares import is_share, scope
from xinqiao.disclosure.students import Students
from xinqiao.journal.append import append
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState
from xinqiao.store.drills import is_drill
from xinqiao.store.ids import new_id
from xinqiao.store.keys import KeyStore
from xinqiao.store.sql import bindparam
from xinqiao.store.tx import ReadTx, Tx

_COMMON = {"NOT_IN_POLICY": 1, "CLASS_NEVER_SHARED": 2}  # true of some class in almost every answer
_NO = ("REFUSED", "WITHDRAWN", "DISPUTED")
_NOT_SHARED = Decision(False, "core/share", "NOT_SHARED")
_SHARE_ENDED = dict.fromkeys(ALL_CLASSES, Decision(False, "core/share", "SHARE_ENDED"))
_C = tables.consents.c
_CONSENTS = (
    tables.consents.select()
    .with_only_columns(_C.id, _C.classes, _C.state, _C.not_before_us, _C.not_after_us, _C.created_us, _C.updated_us)
    .where(
        (_C.student == bindparam("student"))
        & (_C.recipient == bindparam("recipient"))
        & (_C.purpose == bindparam("purpose"))
    )
    .order_by(_C.created_us.desc())
)


@dataclass(frozen=True, slots=True)
class Consented:
    """What the consents on record say for one recipient and purpose: a word, and the classes named while GIVEN."""

    word: ConsentWord
    classes: int
    consent: str = ""


@dataclass(frozen=True, slots=True)
class Released:
    """A record that may leave: the projected message's delivery id, and what was kept back."""

    delivery: str
    withheld: list[Withheld]
    classes: int


class Door:
    """`disclosure.release` of the design, with the rules and keys it needs."""

    def __init__(
        self,
        policy: Policy,
        bases: Mapping[str, Basis],
        registry: Registry,
        students: Students,
        keys: KeyStore,
    ) -> None:
        self.policy = policy
        self.bases = bases
        self.registry = registry
        self.students = students
        self.keys = keys
        self.enqueued: Callable[[int], None] = _nobody
        """Called with the lane once a delivery is committed; whoever delivers may set it."""

    def question(
        self,
        tx: ReadTx,
        *,
        recipient: Partner,
        purpose: int,
        student: str | None,
        relation: Relation,
        basis: str = "",
        policy: Policy | None = None,
    ) -> Question:
        """Collect what a decision about this recipient, purpose and student depends on, as of now.

        ``policy`` is the one that will be asked, if not the one in force.
        """
        asks = student is not None and (policy or self.policy).asks_consent(recipient.roles, purpose, relation)
        consent = consented(tx, student, recipient.agency, purpose) if student and asks else Consented("NONE", 0)
        found = self.bases.get(basis) if basis else None
        state = "" if not basis else "UNKNOWN" if found is None else found.state(purpose, recipient.roles, tx.now_us)
        return Question(
            0, purpose, 0, relation, consent.word, consent.classes, basis, state,
            found.classes if found is not None and state == "VALID" else 0,
            recipient.agreement_holds(tx.now_us),
        )  # fmt: skip

    def permitted(
        self, tx: ReadTx, *, recipient: Partner, purpose: int, student: str | None, relation: Relation, basis: str = ""
    ) -> tuple[int, Mapping[int, Decision]]:
        """The classes that may go now, and for each other class the decision against it.

        ``basis`` is a legal basis or a `shares/{id}`. A share opens nothing by itself: it narrows what policy and
        consent open to the classes it names, and to none once it is over.
        """
        if not is_share(basis):
            asked = self.question(
                tx, recipient=recipient, purpose=purpose, student=student, relation=relation, basis=basis
            )
            return permitted(self.policy, recipient.roles, asked)
        shared = scope(tx, basis, recipient=recipient, purpose=purpose, student=student)
        if not shared:
            return 0, _SHARE_ENDED
        asked = self.question(tx, recipient=recipient, purpose=purpose, student=student, relation=relation)
        mask, denials = permitted(self.policy, recipient.roles, asked)
        return mask & shared, {**denials, **dict.fromkeys(classes_of(mask & ~shared), _NOT_SHARED)}

    def view(
        self,
        tx: ReadTx,
        message: Message,
        *,
        caller: Partner,
        purpose: int,
        student: str | None,
        relation: Relation,
        basis: str = "",
    ) -> tuple[list[Withheld], int]:
        """Cut an answer down, in place, to what its caller may see; what was kept back, and the classes that go."""
        mask, denials = self.permitted(
            tx, recipient=caller, purpose=purpose, student=student, relation=relation, basis=basis
        )
        kept = redact(message, mask)
        if student is not None and is_drill(tx, student):
            mark_drill(message)
        return kept_back(kept, denials), present(message, mask)

    def release(
        self,
        tx: Tx,
        message: Message,
        *,
        recipient: Partner,
        purpose: int,
        student: str,
        relation: Relation,
        kind: str,
        item: str,
        actor: str,
        key: str,
        basis: str = "",
        declared: int = -1,
        lane: Literal["routine", "crisis"] = "routine",
        enqueue: bool = True,
    ) -> Released:
        """Let a record go to a recipient: decide, project, journal, and put it in the recipient's lane.

        ``declared`` is the mask of classes the recipient's adapter declares that it reads; nothing else reaches it.
        ``key`` is the idempotency key every try carries. ``enqueue`` False is for a recipient that calls us and has
        no adapter: decided and journalled all the same. One transaction does all of it: no row, no bytes.
        Raises Refusal FAILED_PRECONDITION with the deciding reason when a field the message cannot do without may
        not go; the caller's edge journals the refusal.
        """
        mask, denials = self.permitted(
            tx, recipient=recipient, purpose=purpose, student=student, relation=relation, basis=basis
        )
        mask &= declared
        projected = type(message)()
        projected.CopyFrom(message)
        kept = redact(projected, mask)
        for lost in kept:
            if lost.required:
                decision = denials.get(lost.field_class)
                reason = decision.reason if decision else "NOT_DECLARED"
                raise denial(reason, recipient, purpose, student, basis)
        if is_drill(tx, student) and not mark_drill(projected):
            raise Refusal("FAILED_PRECONDITION", "DRILL_UNMARKED", "this record cannot say that it is a drill")
        sealer = self.keys.sealer(student)
        payload = projected.SerializeToString(deterministic=True)
        delivery = new_id(tx.now_us)
        classes = present(projected, mask)
        append(
            tx,
            kind="released",
            decision="permit",
            actor=actor,
            partner=recipient.agency,
            purpose=purpose,
            classes=classes,
            student=student,
            resource=f"deliveries/{delivery}",
            reason=kind,
            basis=basis,
            policy_version=self.policy.version,
            payload=payload,
            sealer=sealer,
        )
        if not enqueue:
            return Released("", kept_back(kept, denials), classes)
        number = int(LANE_CRISIS if lane == "crisis" else LANE_ROUTINE)
        tx.after_commit(lambda: self.enqueued(number))
        tx.insert(
            tables.deliveries, delivery, recipient.agency, number, kind, student, item, int(DeliveryState.PENDING), 0,
            tx.now_us, 0, "", key, "", "", tx.now_us, tx.now_us, purpose, basis,
            sealer.seal(payload, table="deliveries", key=delivery),
        )  # fmt: skip
        return Released(delivery, kept_back(kept, denials), classes)


def mark_drill(message: Message) -> bool:
    """Say in a record, and in every record within it, that it is a drill; whether it can say so itself.

    Set here, in the one door, so that no room can forget it: nobody may take a drill for a child in danger.
    """
    marked = False
    for field in message.DESCRIPTOR.fields:
        if field.name == "drill":
            setattr(message, field.name, True)
            marked = True
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            value = getattr(message, field.name)
            for part in value if field.is_repeated else [value] if message.HasField(field.name) else []:
                mark_drill(part)
    return marked


def denial(reason: str, recipient: Partner, purpose: int, student: str | None, basis: str = "") -> Refusal:
    """The refusal of a disclosure; the edge leaves a journal row for it."""
    refusal = Refusal(
        "FAILED_PRECONDITION" if reason not in ("CLASS_NEVER_SHARED", "AGREEMENT_EXPIRED") else "PERMISSION_DENIED",
        reason,
        f"the door refuses: {reason.lower().replace('_', ' ')} for this recipient and purpose",
        metadata={"recipient": recipient.agency, "purpose": str(purpose)} | ({"basis": basis} if basis else {}),
    )
    refusal.subject = student
    return refusal


def deciding(reasons: Iterable[str]) -> str:
    """Of several reasons the one that somebody could do something about; empty where there is none."""
    found = sorted(set(reasons) - {""}, key=lambda reason: (_COMMON.get(reason, 0), reason))
    return found[0] if found else ""


def consented(tx: ReadTx, student: str, recipient: str, purpose: int) -> Consented:
    """What the consents say now; any dispute, standing refusal or later withdrawal beats any permission.

    One signer's no beside another's yes is a dispute: a no all the same (deny overrides).
    """
    rows = tx.find(_CONSENTS, student=student, recipient=recipient, purpose=purpose)
    states = {int(row["state"]) for row in rows}
    withdrawn_us = max((int(r["updated_us"]) for r in rows if r["state"] == CONSENT_STATE_WITHDRAWN), default=-1)
    given = [r for r in rows if r["state"] == CONSENT_STATE_GIVEN and r["created_us"] > withdrawn_us]
    force = [r for r in given if r["not_before_us"] <= tx.now_us < r["not_after_us"]]
    if CONSENT_STATE_DISPUTED in states or (force and CONSENT_STATE_REFUSED in states):
        return Consented("DISPUTED", 0)
    if CONSENT_STATE_REFUSED in states:
        return Consented("REFUSED", 0)
    if force:
        classes = 0
        for row in force:
            classes |= int(row["classes"])
        return Consented("GIVEN", classes, str(force[0]["id"]))
    if given:
        return Consented("EXPIRED", 0)
    return Consented("WITHDRAWN" if withdrawn_us >= 0 else "NONE", 0)


def said_no(tx: ReadTx, student: str, recipient: str, purpose: int) -> str:
    """The word of somebody who has refused, withdrawn or disputed; empty where nobody has."""
    word = consented(tx, student, recipient, purpose).word
    return word if word in _NO else ""


def _nobody(_lane: int) -> None:
    """Nobody waits for deliveries."""


def kept_back(kept: Iterable[Kept], denials: Mapping[int, Decision]) -> list[Withheld]:
    """What was removed of a message, each with the reason that decided it."""
    return [
        Withheld(
            field=lost.path,
            field_class=FieldClass.ValueType(lost.field_class),
            reason=denials[lost.field_class].reason if lost.field_class in denials else "NOT_DECLARED",
        )
        for lost in kept
    ]


def words(withheld: list[Withheld]) -> str:
    """`DIAGNOSIS, TREATMENT` for people: the classes kept back, once each."""
    return ", ".join(dict.fromkeys(class_name(w.field_class) for w in withheld))
