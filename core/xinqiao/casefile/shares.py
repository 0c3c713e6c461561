"""Shares as stored: given through the door, ended by hand, by their term or with their team; what they leave behind."""

import secrets
from typing import NamedTuple

from xinqiao.api.casefile.v1 import sharing_pb2 as pb
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.common.v1.types_pb2 import Withheld
from xinqiao.casefile.access import withheld_classes
from xinqiao.casefile.rules import CasefileRules
from xinqiao.casefile.tasks import Tasks
from xinqiao.contract.errors import Refusal
from xinqiao.contract.fields import NEVER, classes_of
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.registry import Partner
from xinqiao.disclosure.students import Known
from xinqiao.journal.append import append
from xinqiao.store import tables
from xinqiao.store.engine import Store
from xinqiao.store.sql import RowMapping
from xinqiao.store.tx import Tx

_CASE_REF = 1 << options.FIELD_CLASS_CASE_REF
_NEVER = NEVER | 1 << options.FIELD_CLASS_LETTER
_BATCH = 100


class Terms(NamedTuple):
    """What is given to whom: a mask of classes for a purpose until a time; with ``team`` as one of its members."""

    recipient: str
    purpose: int
    classes: int
    not_after_us: int
    reason: str
    team: str = ""
    role: int = 0


class Shares:
    """Gives and ends shares."""

    def __init__(self, door: Door, rules: CasefileRules, tasks: Tasks) -> None:
        self.door = door
        self.rules = rules
        self.tasks = tasks

    def give(self, call: Call, known: Known, terms: Terms) -> tuple[pb.Share, list[Withheld]]:
        """Store a share and let its recipient know of it, through the door; what it names and would not open now.

        Raises Refusal NOT_FOUND/RECIPIENT, INVALID_ARGUMENT/{TERM, CLASS_NEVER_SHARED}, and FAILED_PRECONDITION with
        the door's reason where the recipient may not even know that there is a case.
        """
        recipient = self._recipient(call, known, terms)
        if terms.classes & _NEVER:
            raise Refusal(
                "INVALID_ARGUMENT", "CLASS_NEVER_SHARED", "counselling notes and letters are never shared"
            )  # fmt: skip
        longest = self.rules.longest_us(recipient.roles)
        if not call.tx.now_us < terms.not_after_us <= call.tx.now_us + longest:
            days = longest // 86_400_000_000
            raise Refusal("INVALID_ARGUMENT", "TERM", f"a share with this recipient ends within {days} days from now")
        mask = terms.classes | _CASE_REF
        share = pb.Share(
            recipient=recipient.id, purpose=options.Purpose.ValueType(terms.purpose),
            classes=[options.FieldClass.ValueType(each) for each in classes_of(mask)], create_time_us=call.tx.now_us,
            not_after_us=terms.not_after_us, state=pb.SHARE_STATE_ACTIVE, reason=terms.reason, team=terms.team,
            role=pb.MemberRole.ValueType(terms.role),
        )  # fmt: skip
        identifier = secrets.token_hex(16)
        call.tx.insert(
            tables.shares, identifier, known.id, known.school, recipient.id, terms.purpose, mask, terms.team,
            int(share.state), terms.not_after_us, call.tx.now_us, call.tx.now_us, 1,
            self._seal(identifier, known.id, share),
        )  # fmt: skip
        share.name, share.etag = f"shares/{identifier}", "1"
        share.student = self.door.students.name(recipient.agency, known.id)
        self.door.release(
            call.tx, share, recipient=recipient, purpose=terms.purpose, student=known.id, relation="PARTY", kind="share",
            item=share.name, actor=call.caller.id, key=f"shares.{identifier}", basis=share.name, enqueue=False,
        )  # fmt: skip
        opened, denials = self.door.permitted(
            call.tx, recipient=recipient, purpose=terms.purpose, student=known.id, relation="PARTY", basis=share.name
        )
        reasons = {each: decision.reason for each, decision in denials.items()}
        share.student = self.door.students.name(call.caller.agency, known.id)
        return share, withheld_classes("case", mask, opened, reasons)

    def end(self, tx: Tx, row: RowMapping, state: int, reason: str) -> tuple[pb.Share, int]:
        """End a share; the open tasks of its holder go back to the school. Returns it, and how many those were."""
        identifier, student = str(row["id"]), str(row["student"])
        share = self.message(row)
        share.state, share.reason = pb.ShareState.ValueType(state), reason
        tx.update(
            tables.shares, (identifier,), state=state, updated_us=tx.now_us, version=int(row["version"]) + 1,
            sealed=self._seal(identifier, student, share),
        )  # fmt: skip
        share.etag = str(int(row["version"]) + 1)
        return share, self.tasks.give_back(tx, share.name)

    def end_due(self, store: Store) -> int:
        """End the shares whose term is over; how many. Nobody reads by them from that moment, also before this runs."""
        ended = 0
        while batch := store.run(self._end_due):
            ended += batch
        return ended

    def _end_due(self, tx: Tx) -> int:
        s = tables.shares.c
        over = (s.state == int(pb.SHARE_STATE_ACTIVE)) & (s.not_after_us <= tx.now_us)
        rows = tx.all(tables.shares.select().where(over).order_by(s.not_after_us).limit(_BATCH))
        for row in rows:
            self.end_by_clock(tx, row, "TERM_OVER")
        return len(rows)

    def end_by_clock(self, tx: Tx, row: RowMapping, reason: str, actor: str = "gateway") -> None:
        """End one with its own journal row: because its term or its team is over."""
        share, _ = self.end(tx, row, int(pb.SHARE_STATE_ENDED), reason)
        append(
            tx, kind="share.ended", decision="permit", actor=actor, partner=share.recipient, purpose=int(row["purpose"]),
            student=str(row["student"]), resource=share.name, reason=reason, policy_version=self.door.policy.version,
        )  # fmt: skip

    def message(self, row: RowMapping, agency: str = "") -> pb.Share:
        """The share of a row; of one that cannot be read any more, its plain columns. ``agency`` is who reads."""
        share = self.door.keys.readable(pb.Share, row, table="shares") or pb.Share(
            recipient=str(row["recipient"]), purpose=row["purpose"], create_time_us=int(row["created_us"]),
            not_after_us=int(row["not_after_us"]), team=str(row["team"]),
            classes=[options.FieldClass.ValueType(each) for each in classes_of(int(row["classes"]))],
        )  # fmt: skip
        share.name, share.etag, share.state = f"shares/{row['id']}", str(row["version"]), row["state"]
        if agency:
            share.student = self.door.students.name(agency, str(row["student"]))
        return share

    def _recipient(self, call: Call, known: Known, terms: Terms) -> Partner:
        found = self.door.registry.find(terms.recipient)
        if found is None or found.agency != found.id or found.agency == call.caller.agency:
            raise Refusal("NOT_FOUND", "RECIPIENT", "no such other agency among the partners")
        s = tables.shares.c
        same = (s.student == known.id) & (s.recipient == found.id) & (s.state == int(pb.SHARE_STATE_ACTIVE))
        same = same & (s.not_after_us > call.tx.now_us) & (s.team == terms.team)
        if not terms.team:
            same = same & (s.purpose == terms.purpose)
        if call.tx.all(tables.shares.select().where(same)):
            word = "MEMBER" if terms.team else "SHARE"
            raise Refusal("ALREADY_EXISTS", word, "the recipient has this access already: end that one first")
        return found

    def _seal(self, identifier: str, student: str, share: pb.Share) -> bytes:
        kept = pb.Share()
        kept.CopyFrom(share)
        kept.name = kept.etag = kept.student = ""
        return self.door.keys.sealer(student).seal(kept.SerializeToString(), table="shares", key=identifier)
