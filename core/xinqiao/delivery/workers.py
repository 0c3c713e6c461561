"""The workers that carry released records to their recipients; crisis has its own, so red never waits for routine."""

import logging
import random
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from google.protobuf.message import DecodeError, Message

from xinqiao.adapters.agency import AgencyHandle
from xinqiao.adapters.errors import AdapterError, PartnerUnavailable
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.common.v1.options_pb2 import LANE_CRISIS, LANE_ROUTINE, Lane
from xinqiao.api.referral.v1.referral_pb2 import Referral, ReferralPackage
from xinqiao.contract.errors import Refusal
from xinqiao.contract.fields import redact
from xinqiao.disclosure.door import Door, deciding, said_no
from xinqiao.disclosure.policy import Relation
from xinqiao.journal import witness
from xinqiao.journal.append import append
from xinqiao.journal.checkpoint import routine_stopped
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState, claim, finish, waiting
from xinqiao.store.engine import Store
from xinqiao.store.errors import CommitFailed, KeyGone, SealBroken, StoreClosed, StoreContended
from xinqiao.store.holdings import drop, hold
from xinqiao.store.sql import RowMapping
from xinqiao.store.tx import Tx

_log = logging.getLogger("xinqiao.delivery")
Delivered = Callable[[Tx, RowMapping, str], None]
Undelivered = Callable[[Tx, str, str, bool], None]
"""(transaction, item, reason, whether the door stopped it: only then is the reason the gateway's own word)"""
_SECOND_US = 1_000_000
_PERSON_AFTER = 3  # tries of a red delivery until a person is told


@dataclass(frozen=True, slots=True)
class Pace:
    """How many workers, how long between tries (seconds), how many tries, how long a lease (seconds)."""

    routine_workers: int = 4
    crisis_workers: int = 2
    backoff_s: Sequence[int] = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)
    max_attempts: int = 10
    lease_s: int = 60
    poll_s: float = 0.2


class _Bell:
    """Wakes an idle worker of a lane the moment a delivery is committed; the poll is for what falls due by time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._rung = 0

    def ring(self) -> None:
        with self._changed:
            self._rung += 1
            self._changed.notify()

    def wait(self, seconds: float) -> None:
        with self._changed:
            if not self._rung:
                self._changed.wait(seconds)
            self._rung = max(0, self._rung - 1)


class Delivery:
    """Claims, sends and settles deliveries until stopped."""

    def __init__(
        self,
        store: Store,
        door: Door,
        agencies: Mapping[str, AgencyHandle],
        pace: Pace,
        delivered: Mapping[str, Delivered],
        undelivered: Undelivered,
        operator: str,
        notes: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        """``delivered`` maps a kind of delivery to what a receipt does to its record, in the settling transaction;
        ``undelivered`` takes back the record of a delivery that will not arrive. ``notes`` are the journal's newest
        checkpoints, to ride along."""
        self._store = store
        self._door = door
        self._agencies = agencies
        self._pace = pace
        self._delivered = delivered
        self._undelivered = undelivered
        self._operator = operator
        self._notes = notes
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._workers = {int(LANE_CRISIS): pace.crisis_workers, int(LANE_ROUTINE): pace.routine_workers}
        self._bells = {lane: _Bell() for lane in self._workers}
        door.enqueued = lambda lane: self._bells[lane].ring()

    def start(self) -> None:
        """Start the workers of both lanes."""
        for lane, count in self._workers.items():
            for number in range(count):
                owner = f"{self._store.node}/{Lane.Name(Lane.ValueType(lane))}/{number}/{secrets.token_hex(4)}"
                thread = threading.Thread(target=self._work, args=(lane, owner), name=owner, daemon=True)
                self._threads.append(thread)
                thread.start()

    def stop(self) -> None:
        """Let every worker finish the delivery in its hands."""
        self._stopping.set()
        for lane, count in self._workers.items():
            for _ in range(count):
                self._bells[lane].ring()
        for thread in self._threads:
            thread.join(timeout=30)

    def _work(self, lane: int, owner: str) -> None:
        while not self._stopping.is_set():
            try:
                if not (self._waiting(lane) and self.deliver_one(lane, owner)):
                    # The workers of a lane take turns: together they look once in poll_s.
                    self._bells[lane].wait(self._pace.poll_s * self._workers[lane])
            except StoreClosed:
                return
            except Exception as error:  # a worker must outlive whatever one delivery does
                _log.error("a worker met %s and goes on", type(error).__name__)
                self._stopping.wait(1.0)

    def _waiting(self, lane: int) -> bool:
        """A cheap look that takes no write transaction, for an idle gateway must not write."""
        with self._store.read() as reading:
            return waiting(reading, lane)

    def _stopped(self) -> bool:
        """Whether routine records stay: a journal that got no signature for hours would prove nothing about them."""
        with self._store.read() as reading:
            return routine_stopped(reading)

    def deliver_one(self, lane: int, owner: str) -> bool:
        """Claim, send and settle one delivery; False when nothing was due or nothing may go."""
        crisis = lane == LANE_CRISIS
        if not crisis and self._stopped():
            return False
        lease_us = self._pace.lease_s * _SECOND_US
        claimed = ""

        def take(tx: Tx) -> tuple[RowMapping, DeliverRequest | None] | None:
            nonlocal claimed
            rows = claim(tx, lanes=[lane], recipients=None, owner=owner, limit=1, lease_us=lease_us)
            claimed = str(rows[0]["id"]) if rows else ""
            return (rows[0], self._open(tx, rows[0], owner)) if rows else None

        try:
            taken = self._store.run(take, crisis=crisis)
        except (StoreClosed, CommitFailed, StoreContended):
            raise
        except Exception as error:  # it would be claimed first again and again, and nothing behind it would ever go
            if not claimed:
                raise
            _log.error("a delivery met %s before it left and is set aside", type(error).__name__)
            return self._store.run(lambda tx: self._set_aside(tx, claimed, lane, owner, lease_us), crisis=crisis)
        if taken is None:
            return False
        row, request = taken
        if request is None:
            return True
        handle = self._agencies.get(str(row["recipient"]))
        try:
            if handle is None:
                raise PartnerUnavailable("no adapter is configured for this agency")
            request.checkpoints.extend(self._notes())
            answer = handle.deliver(request)
        except AdapterError as error:
            failure = error
            self._store.run(lambda tx: self._failed(tx, row, owner, failure), crisis=crisis)
        else:
            # What was not sent is nobody's witness, whatever a partner gives back.
            echoed = [note for note in request.checkpoints if note in answer.checkpoints]
            self._store.run(lambda tx: self._done(tx, row, owner, answer.receipt, echoed), crisis=crisis)
        return True

    def _open(self, tx: Tx, row: RowMapping, owner: str) -> DeliverRequest | None:
        """Decide again at the last moment, in the transaction that claims; what may no longer go is cancelled."""
        recipient = self._door.registry.find(str(row["recipient"]))
        student, key = str(row["student"]), str(row["id"])
        try:
            payload = self._door.keys.sealer(student).open(bytes(row["payload"]), table="deliveries", key=key)
        except KeyGone:
            self._cancel(tx, row, owner, "SHREDDED")
            return None
        except SealBroken:  # one unreadable record must not stop the lane for everybody
            self._bury(tx, row, owner, "SEAL_BROKEN")
            return None
        request = DeliverRequest(
            request_id=str(row["idempotency_key"]), lane=Lane.ValueType(int(row["lane"])), attempt=int(row["attempt"])
        )
        body = cast(Message, getattr(request, str(row["kind"]), None))
        try:
            body.ParseFromString(payload)
        except (AttributeError, DecodeError):  # written by another version of this program
            self._bury(tx, row, owner, "UNREADABLE")
            return None
        request.drill = bool(cast("Any", body).drill)
        if recipient is None:
            self._cancel(tx, row, owner, "NO_PARTNER")
            return None
        relation: Relation = "OWN" if row["kind"] == "referral_update" and recipient.schools else "PARTY"
        purpose, basis = int(row["purpose"]), str(row["basis"])
        if basis and _cited_by_gateway(body) and said_no(tx, student, recipient.agency, purpose):
            basis = ""  # the gateway cited it only because nobody had said no: somebody has since
        mask, denials = self._door.permitted(
            tx, recipient=recipient, purpose=purpose, student=student, relation=relation, basis=basis
        )
        if redact(body, mask):
            self._cancel(tx, row, owner, deciding(decision.reason for decision in denials.values()))
            return None
        return request

    def _cancel(self, tx: Tx, row: RowMapping, owner: str, reason: str) -> None:
        self._settle(tx, row, owner, state=int(DeliveryState.CANCELLED), last_reason=reason, payload=None)
        drop(tx, f"deliveries/{row['id']}")  # a person may have been told of it already
        self._record(tx, row, "delivery.cancelled", "deny", reason)
        self._take_back(tx, row, reason, stopped=True)

    def _done(self, tx: Tx, row: RowMapping, owner: str, receipt: str, echoed: Sequence[str]) -> None:
        witness.keep(tx, str(row["recipient"]), echoed)
        if not self._settle(
            tx, row, owner, state=int(DeliveryState.DELIVERED), receipt=receipt, last_reason="", payload=None
        ):
            return
        drop(tx, f"deliveries/{row['id']}")
        self._record(tx, row, "delivery.delivered", "permit", "")
        if follow := self._delivered.get(str(row["kind"])):
            follow(tx, row, receipt)

    def _failed(self, tx: Tx, row: RowMapping, owner: str, error: AdapterError) -> None:
        attempt = int(row["attempt"])
        reason = getattr(error, "reason", "") or "PARTNER_UNAVAILABLE"
        crisis = row["lane"] == LANE_CRISIS
        if not isinstance(error, PartnerUnavailable) or (attempt >= self._pace.max_attempts and not crisis):
            self._bury(tx, row, owner, reason)
            return
        step = self._pace.backoff_s[min(attempt, len(self._pace.backoff_s)) - 1]
        wait_s = max(step * random.uniform(0.5, 1.0), error.retry_after_s or 0.0)
        if crisis:
            wait_s = min(wait_s, 60.0)  # red is tried every minute for as long as it takes, whatever the schedule
        if not self._settle(
            tx, row, owner, state=int(DeliveryState.PENDING), last_reason=reason,
            not_before_us=tx.now_us + int(wait_s * _SECOND_US),
        ):  # fmt: skip
            return  # the lease went to another worker: what happens next is its word
        if attempt == 1:
            self._record(tx, row, "delivery.retrying", "permit", reason)
        if crisis and attempt == _PERSON_AFTER:
            self._hold(tx, row, 1800)  # the machine goes on trying; a person is told as well
            self._record(tx, row, "delivery.stuck", "permit", reason)

    def _set_aside(self, tx: Tx, delivery: str, lane: int, owner: str, lease_us: int) -> bool:
        """What cannot even be opened waits a minute while the others go, and a person is told."""
        rows = claim(tx, lanes=[lane], recipients=None, owner=owner, limit=1, lease_us=lease_us, delivery=delivery)
        for row in rows:
            self._settle(
                tx, row, owner, state=int(DeliveryState.PENDING), last_reason="BROKEN",
                not_before_us=tx.now_us + 60 * _SECOND_US,
            )  # fmt: skip
            self._hold(tx, row, 1800)
            if row["attempt"] == 1:
                self._record(tx, row, "delivery.stuck", "permit", "BROKEN")
        return True

    def _bury(self, tx: Tx, row: RowMapping, owner: str, reason: str) -> None:
        """Give up: a dead letter held by the operator, its record back with its sender."""
        if self._settle(tx, row, owner, state=int(DeliveryState.DEAD), last_reason=reason):
            self._hold(tx, row, 1800 if row["lane"] == LANE_CRISIS else 86_400)
            self._take_back(tx, row, reason, stopped=False)
            self._record(tx, row, "delivery.dead", "permit", reason)

    def _take_back(self, tx: Tx, row: RowMapping, reason: str, *, stopped: bool) -> None:
        """Only the referral itself: an update that is lost says nothing about whether the referral arrived."""
        if row["kind"] == "referral":
            self._undelivered(tx, str(row["item"]), reason, stopped)

    def _hold(self, tx: Tx, row: RowMapping, wait_s: int) -> None:
        item = tx.get(tables.holdings, str(row["item"]))
        hold(
            tx, f"deliveries/{row['id']}", kind="delivery", school=str(item["school"]) if item is not None else "",
            student=row["student"], holder=self._operator, deadline_us=tx.now_us + wait_s * _SECOND_US,
            step="deliver", tier=4 if row["lane"] == LANE_CRISIS else 0,
        )  # fmt: skip

    def _settle(self, tx: Tx, row: RowMapping, owner: str, **values: object) -> bool:
        return finish(tx, str(row["id"]), owner, int(row["attempt"]), **values)

    def _record(self, tx: Tx, row: RowMapping, kind: str, decision: str, reason: str) -> None:
        append(
            tx, kind=kind, decision=decision, actor="gateway", partner=str(row["recipient"]),
            purpose=int(row["purpose"]), student=row["student"], resource=f"deliveries/{row['id']}", reason=reason,
            basis=str(row["basis"]), policy_version=self._door.policy.version,
        )  # fmt: skip


def _cited_by_gateway(body: Message) -> bool:
    referral: Any = body.referral if isinstance(body, ReferralPackage) else body
    return isinstance(referral, Referral) and referral.basis_by_gateway


def _check_dead(tx: Tx, delivery: str) -> None:
    row = tx.get(tables.deliveries, delivery)
    if row is None:
        raise Refusal("NOT_FOUND", "DELIVERY", "no such delivery")
    if row["state"] != int(DeliveryState.DEAD):
        raise Refusal("FAILED_PRECONDITION", "STATE", "only a dead delivery can be put back or closed")


def close_dead(tx: Tx, delivery: str) -> None:
    """Take a dead delivery off the books, content and all. Raises Refusal NOT_FOUND/DELIVERY or STATE."""
    _check_dead(tx, delivery)
    tx.update(
        tables.deliveries, (delivery,), state=int(DeliveryState.CANCELLED), payload=None, updated_us=tx.now_us
    )  # fmt: skip


def retry_dead(tx: Tx, delivery: str) -> RowMapping:
    """Put a dead delivery back in its lane under its old key. Raises Refusal NOT_FOUND/DELIVERY, STATE or ERASED."""
    _check_dead(tx, delivery)
    row = tx.get(tables.deliveries, delivery)
    if row is not None and row["payload"] is None:
        raise Refusal("FAILED_PRECONDITION", "ERASED", "its content is past its time and erased: send the record anew")
    tx.update(
        tables.deliveries, (delivery,), state=int(DeliveryState.PENDING), attempt=0, not_before_us=tx.now_us,
        updated_us=tx.now_us,
    )  # fmt: skip
    found = tx.get(tables.deliveries, delivery)
    assert found is not None
    return found
