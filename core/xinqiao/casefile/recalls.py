"""Recalls: whoever was given something is asked to delete it, and says what it did over its own signature."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import NamedTuple, TypeVar

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from google.protobuf.message import DecodeError

from xinqiao.api.casefile.v1 import consent_pb2 as pb
from xinqiao.api.casefile.v1 import consent_service_pb2 as rpc
from xinqiao.api.common.v1.options_pb2 import (
    FIELD_CLASS_AGGREGATE,
    FIELD_CLASS_CASE_REF,
    PURPOSE_FAMILY_ACCESS,
    FieldClass,
    Purpose,
)
from xinqiao.contract.errors import Refusal
from xinqiao.contract.fields import classes_of
from xinqiao.contract.recall import open_receipt
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.records import newest
from xinqiao.disclosure.shares import PREFIX
from xinqiao.journal.append import append
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState
from xinqiao.store.holdings import drop, hold
from xinqiao.store.ids import new_id
from xinqiao.store.sql import RowMapping
from xinqiao.store.tx import ReadTx, Tx

CONTRACT = "recall"
"""Name of the contract in a plugin's manifest and of the body of a DeliverRequest."""
_DISCLOSED = ("released", "read", "replayed")
_MEANS_NOTHING = 1 << FIELD_CLASS_AGGREGATE | 1 << FIELD_CLASS_CASE_REF
_OPEN = (pb.RECALL_STATE_OPEN, pb.RECALL_STATE_DELIVERED)
_US = timedelta(microseconds=1)
A = TypeVar("A", rpc.ConfirmRecallResponse, rpc.CloseRecallResponse)


class Given(NamedTuple):
    """What a recipient may hold: classes, and the records that have a name."""

    classes: int
    items: list[str]


class Recalls:
    """Opens recalls, carries them to their recipients, and takes the answers."""

    def __init__(
        self, door: Door, reads: Callable[[str, str], int | None], keys: Mapping[str, bytes],
        within: Callable[[], timedelta],
    ) -> None:  # fmt: skip
        """``reads`` says which classes an agency's adapter declares of a contract, None where it has none; ``keys``
        are the agencies' public keys (PEM); ``within`` is how long a recipient has to answer."""
        self.door = door
        self._reads = reads
        self._keys = keys
        self._within = within

    def given(self, tx: ReadTx, student: str, recipient: str, purpose: int) -> Given | None:
        """What was disclosed to ``recipient`` under any consent for ``purpose``, by the journal; None for nothing.

        What never left does not count: a delivery that was cancelled before anybody tried it. One that was tried may
        have arrived. Nor does what went under a law, or what no consent ever named.
        """
        j, d, c = tables.journal.c, tables.deliveries.c, tables.consents.c
        consented = 0
        for row in tx.all(
            tables.consents.select()
            .with_only_columns(c.classes)
            .where((c.student == student) & (c.recipient == recipient) & (c.purpose == purpose))
        ):
            consented |= int(row["classes"])
        rows = tx.all(
            tables.journal.select()
            .with_only_columns(j.resource, j.classes)
            .where(
                (j.student == student) & (j.partner == recipient) & (j.purpose == purpose)
                # A share opens nothing by itself: what was read by one was read under the consent.
                & ((j.basis == "") | j.basis.startswith(PREFIX)) & (j.decision == "permit") & j.kind.in_(_DISCLOSED)
            )
        )  # fmt: skip
        sent = {
            f"deliveries/{row['id']}": row
            for row in tx.all(
                tables.deliveries.select()
                .with_only_columns(d.id, d.item, d.state, d.attempt)
                .where((d.student == student) & (d.recipient == recipient))
            )
        }
        classes, items = 0, dict[str, None]()
        for row in rows:
            delivery = sent.get(str(row["resource"]))
            if delivery is not None:
                if delivery["state"] == DeliveryState.CANCELLED and delivery["attempt"] == 0:
                    continue
                items[str(delivery["item"])] = None
            classes |= int(row["classes"])
        classes &= consented
        return Given(classes, list(items)) if classes & ~_MEANS_NOTHING else None

    def open(
        self, tx: Tx, *, student: str, school: str, recipient: str, cause: str, purpose: int, given: Given, actor: str
    ) -> str:  # fmt: skip
        """Open a recall with holder and deadline, and send it on its way; `recalls/{id}`.

        The recipient holds it where its system can be told. Where it cannot, or no longer may be (no agreement in
        force), somebody at the school holds it: a person asks, and closes it on what the recipient writes.
        """
        identifier = new_id(tx.now_us)
        recall = pb.Recall(
            recipient=recipient, cause=cause, items=given.items, state=pb.RECALL_STATE_OPEN,
            classes=[FieldClass.ValueType(each) for each in classes_of(given.classes)],
            purpose=Purpose.ValueType(purpose), due_us=tx.now_us + self._within() // _US, create_time_us=tx.now_us,
        )  # fmt: skip
        record = recall.SerializeToString()
        sealer = self.door.keys.sealer(student)
        tx.insert(
            tables.recalls, identifier, student, school, recipient, cause, int(recall.state), tx.now_us, tx.now_us, 1,
            sealer.seal(record, table="recalls", key=identifier),
        )  # fmt: skip
        recall.name = f"recalls/{identifier}"
        holder = recipient if self._send(tx, student, recall, actor) else self.door.registry.holder(school)
        hold(
            tx, recall.name, kind="recall", school=school, holder=holder, deadline_us=recall.due_us, step="recall",
            student=student,
        )  # fmt: skip
        append(
            tx, kind="recall.opened", decision="permit", actor=actor, partner=recipient, student=student,
            purpose=PURPOSE_FAMILY_ACCESS, resource=recall.name, reason=cause, payload=record, sealer=sealer,
            policy_version=self.door.policy.version,
        )  # fmt: skip
        return recall.name

    def _send(self, tx: Tx, student: str, recall: pb.Recall, actor: str) -> bool:
        partner, declared = self.door.registry.find(recall.recipient), self._reads(recall.recipient, CONTRACT)
        if partner is None or declared is None:
            return False
        message = pb.Recall()
        message.CopyFrom(recall)
        message.student = self.door.students.name(partner.agency, student)
        try:
            with tx.savepoint():
                self.door.release(
                    tx, message, recipient=partner, purpose=PURPOSE_FAMILY_ACCESS, student=student, relation="PARTY",
                    kind=CONTRACT, item=recall.name, actor=actor, key=recall.name.replace("/", "."), declared=declared,
                )  # fmt: skip
        except Refusal as refusal:
            append(
                tx, kind="refused", decision="deny", actor=actor, partner=recall.recipient, student=student,
                purpose=PURPOSE_FAMILY_ACCESS, resource=recall.name, reason=refusal.reason,
                policy_version=self.door.policy.version,
            )  # fmt: skip
            return False
        return True

    def delivered(self, tx: Tx, delivery: RowMapping, receipt: str) -> None:
        """The recipient's system has it: the recall stays open until the signed answer."""
        del receipt
        row = tx.get(tables.recalls, str(delivery["item"]).removeprefix("recalls/"))
        if row is not None and row["state"] == pb.RECALL_STATE_OPEN:
            self._store(tx, row, pb.Recall(state=pb.RECALL_STATE_DELIVERED))

    # -- RPCs -------------------------------------------------------------------------------------------------------

    def list_recalls(self, request: rpc.ListRecallsRequest, call: Call) -> rpc.ListRecallsResponse:
        """The recalls the caller's agency must answer."""
        rows, token = newest(call, tables.recalls, request, tables.recalls.c.recipient == call.caller.agency)
        response = rpc.ListRecallsResponse(next_page_token=token)
        for row in rows:
            recall = self.load(row, call.caller.agency)
            call.view(recall, student=str(row["student"]), relation="PARTY")
            response.recalls.append(recall)
        return response

    def confirm_recall(self, request: rpc.ConfirmRecallRequest, call: Call) -> rpc.ConfirmRecallResponse:
        """Take the recipient's signed receipt; the same one again changes nothing."""
        row = self._row(call, request.name, call.caller.agency)
        receipt = self._checked(call.caller.agency, request.name, request.receipt)
        if row["state"] == pb.RECALL_STATE_CONFIRMED and self.load(row, "").receipt == request.receipt:
            return self._answered(call, row, rpc.ConfirmRecallResponse(), "recall.repeated")
        change = pb.Recall(
            state=pb.RECALL_STATE_CONFIRMED, action=receipt.action, citation=receipt.citation, receipt=request.receipt
        )
        return self._answered(call, self._end(call, row, change), rpc.ConfirmRecallResponse(), "recall.confirmed")

    def close_recall(self, request: rpc.CloseRecallRequest, call: Call) -> rpc.CloseRecallResponse:
        """A person closes it on other evidence."""
        row = call.tx.get(tables.recalls, request.name.removeprefix("recalls/"))
        if row is None or str(row["school"]) not in call.caller.schools:
            raise Refusal("NOT_FOUND", "RECALL", "no such recall for this caller")
        change = pb.Recall(
            state=pb.RECALL_STATE_CLOSED, action=request.action, citation=request.citation, how=request.how
        )
        return self._answered(call, self._end(call, row, change), rpc.CloseRecallResponse(), "recall.closed")

    def of(self, tx: ReadTx, cause: str, agency: str) -> list[pb.Recall]:
        """Every recall that follows from ``cause``, named for ``agency``; oldest first."""
        c = tables.recalls.c
        rows = tx.all(tables.recalls.select().where(c.cause == cause).order_by(c.created_us, c.id))
        return [self.load(row, agency) for row in rows]

    def load(self, row: RowMapping, agency: str) -> pb.Recall:
        """The whole record, named for ``agency``; only the door may let it out."""
        recall = self.door.keys.record(pb.Recall, row, table="recalls")
        recall.name = f"recalls/{row['id']}"
        if agency:
            recall.student = self.door.students.name(agency, str(row["student"]))
        return recall

    def _row(self, call: Call, name: str, agency: str) -> RowMapping:
        row = call.tx.get(tables.recalls, name.removeprefix("recalls/"))
        if row is None or row["recipient"] != agency:
            raise Refusal("NOT_FOUND", "RECALL", "no such recall for this caller")
        return row

    def _end(self, call: Call, row: RowMapping, change: pb.Recall) -> RowMapping:
        if row["state"] not in _OPEN:
            raise Refusal("FAILED_PRECONDITION", "STATE", "the recall is answered already")
        if change.action == pb.RECALL_ACTION_KEPT_BY_LAW and not change.citation:
            raise Refusal("FAILED_PRECONDITION", "CITATION_REQUIRED", "say which law makes the recipient keep it")
        change.end_time_us = call.tx.now_us
        drop(call.tx, f"recalls/{row['id']}")
        return self._store(call.tx, row, change)

    def _store(self, tx: Tx, row: RowMapping, change: pb.Recall) -> RowMapping:
        recall = self.door.keys.record(pb.Recall, row, table="recalls")
        recall.MergeFrom(change)
        sealer, identifier = self.door.keys.sealer(str(row["student"])), str(row["id"])
        tx.update(
            tables.recalls, (identifier,), state=int(recall.state), updated_us=tx.now_us, version=int(row["version"]) + 1,
            sealed=sealer.seal(recall.SerializeToString(), table="recalls", key=identifier),
        )  # fmt: skip
        found = tx.get(tables.recalls, identifier)
        assert found is not None
        return found

    def _answered(self, call: Call, row: RowMapping, response: A, kind: str) -> A:
        student = str(row["student"])
        call.student = student
        recall = self.load(row, call.caller.agency)
        response.recall.CopyFrom(recall)
        own = str(row["school"]) in call.caller.schools
        call.view(response, student=student, relation="OWN" if own else "PARTY")
        call.journal(
            kind, resource=recall.name, student=student, reason=pb.RecallAction.Name(recall.action),
            payload=recall.receipt.receipt or recall.SerializeToString(),
        )  # fmt: skip
        return response

    def _checked(self, agency: str, name: str, signed: pb.SignedRecallReceipt) -> pb.RecallReceipt:
        """What the recipient signed about this recall. Raises Refusal FAILED_PRECONDITION/RECEIPT_*."""
        try:
            key = load_pem_public_key(self._keys.get(agency, b""))
        except (ValueError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PublicKey):
            raise _refuse("KEY", "the configuration has no Ed25519 `receipt_key` of this partner")
        try:
            receipt = open_receipt(signed, key)
        except InvalidSignature:
            raise _refuse("SIGNATURE", "the receipt is not signed with the partner's pinned key") from None
        except DecodeError:
            raise _refuse("MALFORMED", "what the partner signed is no RecallReceipt") from None
        if receipt.recall != name:
            raise _refuse("RECALL", "the receipt is for another recall")
        if receipt.action not in pb.RecallAction.values() or not receipt.action or len(receipt.citation) > 300:
            raise _refuse("MALFORMED", "the receipt must say what was done, and a citation has at most 300 characters")
        return receipt


def _refuse(word: str, message: str) -> Refusal:
    return Refusal("FAILED_PRECONDITION", f"RECEIPT_{word}", message)
