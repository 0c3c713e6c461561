"""When nobody confirms an emergency: the next hospital of the district's list, and at last a person at the telephone."""

from dataclasses import dataclass

from xinqiao.api.referral.v1 import referral_pb2 as pb
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.duties import open_duty
from xinqiao.journal.append import append
from xinqiao.referral.book import Book, change, known_of
from xinqiao.referral.post import Post
from xinqiao.store import tables
from xinqiao.store.sql import RowMapping
from xinqiao.store.tx import ReadTx, Tx


@dataclass(frozen=True, slots=True)
class Plan:
    """The district's crisis lane: basis, hospitals in order, and how long until a person telephones."""

    basis: str = "life-safety"
    channels: tuple[str, ...] = ()
    phone_after_us: int = 60_000_000


class Fallback:
    """Moves an emergency that nobody has confirmed on to the next channel."""

    def __init__(self, book: Book, post: Post, plan: Plan) -> None:
        self._book = book
        self._post = post
        self.plan = plan

    def cite(self, tx: ReadTx, student: str, referral: pb.Referral, recipient: str) -> None:
        """Before each sending: cite the district's law for an emergency that nobody was asked about.

        Privacy fails closed, the crisis lane does not. What the gateway cited it takes back where somebody has said no
        (or yes) to this recipient since; what a person cited stands.
        """
        if referral.basis and not referral.basis_by_gateway:
            return
        emergency, known = referral.urgency == pb.URGENCY_EMERGENCY, self.plan.basis in self._book.door.bases
        referral.basis_by_gateway = emergency and known and self._post.unasked(tx, student, recipient)
        referral.basis = self.plan.basis if referral.basis_by_gateway else ""

    def unconfirmed(self, tx: Tx, item: str) -> bool:
        """The clock of step ``receive`` ran out, or the hospital's system refused: go on, in this transaction.

        The next channel if there is one; else wait until ``phone_after``; else the telephone, whose numbers every list
        of holdings shows. What was sent stays on its way: in a crisis two hospitals are better than none. False where
        there is nothing to confirm any more.
        """
        row = self._book.row(tx, item)
        if row is None or row["state"] not in (pb.REFERRAL_STATE_SENT, pb.REFERRAL_STATE_TIMED_OUT):
            return False
        chain = self._book.chain(tx, row)
        tried = {str(each["recipient"]) for each in chain}
        for channel in self.plan.channels:
            if channel not in tried and self._redirect(tx, row, channel):
                return True
        phone_us = int(chain[-1]["created_us"]) + self.plan.phone_after_us
        if row["state"] == pb.REFERRAL_STATE_SENT and tx.now_us < phone_us:
            tx.update(tables.holdings, (item,), deadline_us=phone_us)
            return True
        self.telephone(tx, row)
        return True

    def _redirect(self, tx: Tx, row: RowMapping, channel: str) -> bool:
        referral = self._book.load(row)
        self.cite(tx, str(row["student"]), referral, channel)
        try:
            with tx.savepoint():
                passed_on = pass_on(tx, self._book, self._post, row, referral, channel, "gateway", "NOT_CONFIRMED")
        except Refusal as refusal:
            # This channel may not be told; that it was not, and why, is on record, and the next one is tried.
            self._record(tx, row, "refused", "deny", channel, refusal.reason)
            return False
        if passed_on.basis:  # each disclosure without consent owes its own notice
            open_duty(
                tx, self._book.door, student=str(row["student"]), school=str(row["school"]), basis=passed_on.basis,
                item=passed_on.name, holder=self._book.door.registry.holder(str(row["school"])), tier=int(row["tier"]),
                actor="gateway", recipient=channel, purpose=self._post.purpose(channel), facts=passed_on.crisis_facts,
            )  # fmt: skip
        self._book.journal(tx, row, pb.REFERRAL_EVENT_REDIRECT, "NOT_CONFIRMED")
        self._record(tx, row, "crisis.channel", "permit", channel, passed_on.name)
        return True

    def telephone(self, tx: Tx, row: RowMapping) -> None:
        """No system has confirmed it: a person must telephone."""
        item = f"referrals/{row['id']}"
        holder = self._book.door.registry.holder(str(row["school"]))
        tx.update(
            tables.holdings, (item,), step="phone", holder=holder, escalations=0,
            deadline_us=self._book.deadline(int(row["tier"]), "phone", tx.now_us),
        )  # fmt: skip
        self._record(tx, row, "crisis.phone", "permit", holder, "NOT_CONFIRMED")

    def _record(self, tx: Tx, row: RowMapping, kind: str, decision: str, partner: str, reason: str) -> None:
        append(
            tx, kind=kind, decision=decision, actor="gateway", partner=partner, student=str(row["student"]),
            resource=f"referrals/{row['id']}", reason=reason, policy_version=self._book.door.policy.version,
        )  # fmt: skip


def pass_on(
    tx: Tx, book: Book, post: Post, row: RowMapping, before: pb.Referral, recipient: str, actor: str, reason: str
) -> pb.Referral:
    """Close one referral as redirected and open its successor at ``recipient``, under a disclosure decision of its own.

    ``before`` is the record of ``row``. Raises what the door raises; then nothing has changed.
    """
    known = known_of(row)
    fresh = pb.Referral(
        sender=before.sender, recipient=recipient, state=pb.REFERRAL_STATE_SENT, tier=before.tier,
        urgency=before.urgency, reason=before.reason, crisis_facts=before.crisis_facts, location=before.location,
        triage=before.triage, support=before.support, basis=before.basis, basis_by_gateway=before.basis_by_gateway,
        create_time_us=tx.now_us, note=before.note,
        redirected_from=f"referrals/{row['id']}", recipients=[each for each in before.recipients if each != recipient],
    )  # fmt: skip
    change(fresh, pb.REFERRAL_EVENT_SEND, pb.REFERRAL_STATE_SENT, actor, tx.now_us, reason)
    fresh.state_reason = ""
    record = book.insert(tx, known, fresh)
    post.send(tx, known, fresh, actor)
    ended = book.load(row)
    change(ended, pb.REFERRAL_EVENT_REDIRECT, pb.REFERRAL_STATE_REDIRECTED, actor, tx.now_us, reason)
    ended.redirected_to = fresh.name
    book.store(tx, row, ended)
    post.tell_other_side(tx, row, "sender", ended, actor)
    append(
        tx, kind="referral.created", decision="permit", actor=actor, partner=recipient, student=known.id,
        resource=fresh.name, reason="REDIRECT", basis=fresh.basis, policy_version=book.door.policy.version,
        payload=record, sealer=book.door.keys.sealer(known.id),
    )  # fmt: skip
    before.CopyFrom(ended)
    return fresh
