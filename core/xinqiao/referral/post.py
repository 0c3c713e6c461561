"""What leaves of a referral: the package for its recipient, and updates for the other side; all through the door."""

from xinqiao.api.common.v1.options_pb2 import (
    FIELD_CLASS_SCORES,
    PURPOSE_EDUCATION,
    PURPOSE_TREATMENT,
)
from xinqiao.api.referral.v1 import referral_pb2 as pb
from xinqiao.api.screening.v1.screening_pb2 import Assessment
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.door import Door, Released, consented
from xinqiao.disclosure.records import hide_chain
from xinqiao.disclosure.registry import Partner, Reader
from xinqiao.disclosure.students import Known
from xinqiao.journal.append import append
from xinqiao.referral.book import CRISIS, lane
from xinqiao.referral.states import Side
from xinqiao.store import tables
from xinqiao.store.claims import never_left
from xinqiao.store.sql import RowMapping
from xinqiao.store.tx import ReadTx, Tx

_TAKEN_BACK = (pb.REFERRAL_STATE_CANCELLED, pb.REFERRAL_STATE_REDIRECTED)
_FORMS = 10  # the newest forms travel with a referral; a clinician wants the course, not the archive


class Post:
    """Sends referrals and their changes."""

    def __init__(self, door: Door, reads: Reader) -> None:
        self.door = door
        self.reads = reads

    def recipient(self, name: str) -> Partner:
        """The agency of this name, if it takes referrals. Raises Refusal NOT_FOUND/RECIPIENT."""
        found = self.door.registry.find(name)
        if found is None or found.agency != found.id or not self.door.policy.referral_purpose(found.roles):
            raise Refusal("NOT_FOUND", "RECIPIENT", "no such partner takes referrals")
        return found

    def purpose(self, name: str) -> int:
        """For what a referral goes to this agency; 0 where it takes none."""
        found = self.door.registry.find(name)
        return self.door.policy.referral_purpose(found.roles) if found is not None else 0

    def unasked(self, tx: ReadTx, student: str, recipient: str) -> bool:
        """Whether nobody has said yes or no to a referral to ``recipient``.

        Only then may the gateway itself cite the law of an emergency: over a refusal a person must name the basis.
        """
        return consented(tx, student, recipient, self.purpose(recipient)).word in ("NONE", "EXPIRED")

    def send(self, tx: Tx, known: Known, referral: pb.Referral, actor: str) -> Released:
        """Release the whole package to the referral's recipient. Raises what the door and ``recipient`` raise."""
        door, recipient = self.door, self.recipient(referral.recipient)
        purpose = self.purpose(recipient.id)
        package = pb.ReferralPackage(referral=referral)
        sender = door.registry.find(actor) or door.registry.find(referral.sender)
        package.sender_title = sender.names.get("zh", "") if sender is not None else ""
        hide_chain(package.referral)
        package.referral.student = door.students.name(recipient.agency, known.id)
        package.student.CopyFrom(door.students.leaving(tx, known.id, recipient.agency))
        basis = door.bases.get(referral.basis)
        if purpose == PURPOSE_TREATMENT and (basis is None or basis.classes >> FIELD_CLASS_SCORES & 1):
            # Under a basis without scores not even their empty shells go: how many forms there are is a fact too.
            package.assessments.extend(self._forms(tx, known.id, recipient.agency))
        consent = consented(tx, known.id, recipient.agency, purpose)
        if referral.basis:
            if basis is not None:
                package.basis.id, package.basis.version = basis.id, basis.version
                package.basis.citation = basis.citation.get("zh", "")
        elif consent.consent:
            row = tx.get(tables.consents, consent.consent)
            if row is not None:
                package.consent.consent = f"consents/{consent.consent}"
                package.consent.given_us, package.consent.expires_us = row["created_us"], row["not_after_us"]
        declared = self.reads(recipient.agency, "referral")
        return door.release(
            tx, package, recipient=recipient, purpose=purpose, student=known.id, relation="PARTY",
            kind="referral", item=referral.name, actor=actor, key=_key(referral),
            basis=referral.basis, declared=-1 if declared is None else declared,
            lane="crisis" if lane(referral) == CRISIS else "routine", enqueue=declared is not None,
        )  # fmt: skip

    def tell_other_side(self, tx: Tx, row: RowMapping, side: Side, referral: pb.Referral, actor: str) -> None:
        """Release a change to whoever did not make it."""
        other = self.door.registry.find(referral.recipient if side != "recipient" else referral.sender)
        declared = self.reads(other.agency, "referral_update") if other else None
        if other is None or declared is None or not row["recipient"]:
            return
        if referral.state in _TAKEN_BACK and never_left(tx, referral.name, other.agency):
            return
        update = pb.Referral()
        update.CopyFrom(referral)
        hide_chain(update)
        del update.earlier_outcomes[:]
        update.student = self.door.students.name(other.agency, str(row["student"]))
        purpose = self.purpose(referral.recipient)
        try:
            self.door.release(
                tx, update, recipient=other,
                purpose=purpose if side != "recipient" else PURPOSE_EDUCATION,
                student=str(row["student"]), relation="PARTY" if side != "recipient" else "OWN", kind="referral_update",
                item=referral.name, actor=actor, key=_key(referral),
                basis=referral.basis if side != "recipient" else "", declared=declared,
                lane="crisis" if row["lane"] == CRISIS else "routine",
            )  # fmt: skip
        except Refusal as refusal:
            # The event stands although the other side may not be told; that it was not told is on record.
            append(
                tx, kind="refused", decision="deny", actor=actor, partner=other.agency,
                purpose=purpose, student=str(row["student"]), resource=referral.name,
                reason=refusal.reason, policy_version=self.door.policy.version,
            )  # fmt: skip

    def _forms(self, tx: ReadTx, student: str, agency: str) -> list[Assessment]:
        c = tables.assessments.c
        rows = tx.all(
            tables.assessments.select().where(c.student == student).order_by(c.created_us.desc(), c.id).limit(_FORMS)
        )
        forms: list[Assessment] = []
        for row in rows:
            form = self.door.keys.readable(Assessment, row, table="assessments")
            if form is None:  # one broken form must not keep a child from the hospital
                continue
            form.name, form.student = f"assessments/{row['id']}", self.door.students.name(agency, student)
            forms.append(form)
        return forms


def _key(referral: pb.Referral) -> str:
    return f"{referral.name.replace('/', '.')}.v{referral.etag}"
