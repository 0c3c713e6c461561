"""The referrals as stored: sealed records, the chain of redirects, and the one holder and deadline of each open one."""

from typing import Any

from google.protobuf.message import Message

from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.referral.v1 import referral_pb2 as pb
from xinqiao.config.clocks import Deadline
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.students import Known
from xinqiao.journal.append import append
from xinqiao.referral.states import FINAL, HOLDS
from xinqiao.store import tables
from xinqiao.store.errors import KeyGone, SealBroken
from xinqiao.store.holdings import drop, hold
from xinqiao.store.ids import new_id
from xinqiao.store.sql import RowMapping
from xinqiao.store.tx import ReadTx, Tx

CRISIS = 2
"""``referrals.lane`` of an emergency."""


class Book:
    """Reads and writes referrals; every write leaves exactly one holding on an open one and none on a final one."""

    def __init__(self, door: Door, deadline: Deadline) -> None:
        self.door = door
        self.deadline = deadline

    def load(self, row: RowMapping) -> pb.Referral:
        """The record of a row, without the student's name, which depends on who reads. Raises KeyGone or SealBroken."""
        referral = self.door.keys.record(pb.Referral, row, table="referrals")
        referral.name, referral.etag = f"referrals/{row['id']}", str(row["version"])
        return referral

    def row(self, tx: ReadTx, name: str) -> RowMapping | None:
        """The row behind ``referrals/{id}``."""
        return tx.get(tables.referrals, name.removeprefix("referrals/"))

    def insert(self, tx: Tx, known: Known, referral: pb.Referral) -> bytes:
        """Store a new referral and hold it; the sealed record. A draft has no recipient yet: nobody else can find it."""
        identifier = new_id(tx.now_us)
        record = self._seal(identifier, known.id, referral)
        draft = referral.state == pb.REFERRAL_STATE_DRAFT
        tx.insert(
            tables.referrals, identifier, known.id, known.school, referral.sender, "" if draft else referral.recipient,
            int(referral.state), int(referral.tier), lane(referral), tx.now_us, tx.now_us, 1, record,
        )  # fmt: skip
        referral.name, referral.etag = f"referrals/{identifier}", "1"
        self.hold(tx, known, referral)
        return record

    def store(self, tx: Tx, row: RowMapping, referral: pb.Referral) -> None:
        """Store a change and hand the referral to its next holder."""
        identifier, student, version = str(row["id"]), str(row["student"]), int(row["version"]) + 1
        draft = referral.state == pb.REFERRAL_STATE_DRAFT or (not row["recipient"] and referral.state in FINAL)
        tx.update(
            tables.referrals, (identifier,), state=int(referral.state), updated_us=tx.now_us, version=version,
            recipient="" if draft else referral.recipient, sealed=self._seal(identifier, student, referral),
        )  # fmt: skip
        referral.etag = str(version)
        self.hold(tx, known_of(row), referral)

    def move(
        self, tx: Tx, row: RowMapping, event: int, state: int, actor: str, reason: str
    ) -> pb.Referral | None:  # fmt: skip
        """Put a referral in its next state without asking whether it may: what the gateway itself decides.

        What nobody can read any more moves in its plain columns, lest it block its lane; None for such a one.
        """
        try:
            referral = self.load(row)
        except (KeyGone, SealBroken):
            self._move_unread(tx, row, state)
            return None
        change(referral, event, state, actor, tx.now_us, reason)
        self.store(tx, row, referral)
        return referral

    def _move_unread(self, tx: Tx, row: RowMapping, state: int) -> None:
        tx.update(tables.referrals, (row["id"],), state=state, updated_us=tx.now_us, version=int(row["version"]) + 1)
        known = pb.Referral(
            name=f"referrals/{row['id']}", state=pb.ReferralState.ValueType(state), recipient=str(row["recipient"]),
            tier=types.Tier.ValueType(int(row["tier"])),
        )  # fmt: skip
        self.hold(tx, known_of(row), known)

    def hold(self, tx: Tx, known: Known, referral: pb.Referral) -> None:
        """Exactly one holder and deadline while the referral is open, none once it is final."""
        tier = int(referral.tier)
        if referral.triage and referral.state not in (pb.REFERRAL_STATE_DRAFT, pb.REFERRAL_STATE_CANCELLED):
            # On its way: nobody owes a referral any more, also where the tier was confirmed only after an emergency left.
            owed = tx.get(tables.holdings, referral.triage)
            if owed is not None and owed["step"] == "refer":
                drop(tx, referral.triage)
        if referral.state in FINAL:
            drop(tx, referral.name)
            if referral.state == pb.REFERRAL_STATE_CANCELLED and tier >= types.TIER_ORANGE:
                # Withdrawn without an outcome: the case is as serious as before, so somebody still holds it.
                hold(
                    tx, referral.triage, kind="triage", school=known.school, student=known.id, step="refer",
                    holder=self.door.registry.holder(known.school), tier=tier,
                    deadline_us=self.deadline(tier, "refer", tx.now_us),
                )  # fmt: skip
            return
        side, step = HOLDS[referral.state]
        if referral.state == pb.REFERRAL_STATE_SENT and lane(referral) == CRISIS:
            step = "receive"  # an emergency that nobody has confirmed yet runs on the crisis lane's own clock
        hold(
            tx, referral.name, kind="referral", school=known.school, student=known.id, step=step,
            holder=referral.recipient if side == "recipient" else self.door.registry.holder(known.school),
            deadline_us=self.deadline(tier, step, tx.now_us), tier=tier,
        )  # fmt: skip

    def chain(self, tx: ReadTx, row: RowMapping) -> list[RowMapping]:
        """The referral and those it was passed on from, newest first."""
        found = [row]
        while len(found) <= 100:
            try:
                origin = self.load(found[-1]).redirected_from
            except (KeyGone, SealBroken):  # what came before is lost; this one must go on all the same
                break
            before = self.row(tx, origin) if origin else None
            if before is None:
                break
            found.append(before)
        return found

    def journal(self, tx: Tx, row: RowMapping, event: int, reason: str) -> None:
        """The journal row of what the gateway itself does to a referral."""
        word = pb.ReferralEvent.Name(pb.ReferralEvent.ValueType(event))
        partner = self.door.registry.find(str(row["recipient"]))
        append(
            tx, kind="referral.advanced", decision="permit", actor="gateway", partner=str(row["recipient"]),
            purpose=self.door.policy.referral_purpose(partner.roles) if partner is not None else 0,
            student=str(row["student"]), resource=f"referrals/{row['id']}",
            reason=f"{word}:{reason}" if reason else word, policy_version=self.door.policy.version,
        )  # fmt: skip

    def _seal(self, identifier: str, student: str, referral: pb.Referral) -> bytes:
        return self.door.keys.sealer(student).seal(stored(referral), table="referrals", key=identifier)


def stored(record: Message) -> bytes:
    """A record as it is sealed: without the name, version and student, which stand in its row."""
    kept: Any = type(record)()
    kept.MergeFrom(record)
    kept.name = kept.etag = kept.student = ""
    sealed: bytes = kept.SerializeToString()
    return sealed


def known_of(row: RowMapping) -> Known:
    """The student of a row."""
    return Known(str(row["student"]), str(row["school"]))


def lane(referral: pb.Referral) -> int:
    """The lane a referral travels on."""
    return CRISIS if referral.urgency == pb.URGENCY_EMERGENCY else 1


def change(referral: pb.Referral, event: int, state: int, actor: str, now_us: int, reason: str = "") -> None:
    """Put a referral in its next state and say so in its history."""
    referral.state = pb.ReferralState.ValueType(state)
    referral.state_reason = reason
    referral.history.add(
        event=pb.ReferralEvent.ValueType(event), state=referral.state, actor=actor, time_us=now_us, reason=reason
    )


def before_hold(referral: pb.Referral) -> int:
    """The state a pause interrupted: going on wins nothing and forges nothing."""
    states = [each.state for each in referral.history]
    paused = len(states) - 1 - states[::-1].index(pb.REFERRAL_STATE_ON_HOLD)
    return states[paused - 1]
