"""Drills (演练): a red case that is none goes the real way, is marked at every step, is timed, and leaves nothing behind."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from google.protobuf.message import Message

from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.common.v1.types_pb2 import TIER_RED, Student
from xinqiao.api.referral.v1 import referral_pb2 as pb
from xinqiao.api.referral.v1 import referral_service_pb2 as rpc
from xinqiao.api.screening.v1 import screening_service_pb2 as screening
from xinqiao.api.screening.v1.screening_pb2 import SIGNAL_KIND_SUICIDAL, SIGNAL_SOURCE_SCHOOL_CENTRE
from xinqiao.contract.errors import Refusal
from xinqiao.contract.methods import methods
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.records import newest
from xinqiao.disclosure.registry import Partner
from xinqiao.journal.append import append
from xinqiao.referral.book import Book
from xinqiao.referral.crisis import Plan
from xinqiao.referral.post import Post
from xinqiao.referral.states import FINAL
from xinqiao.store import tables
from xinqiao.store.engine import Store
from xinqiao.store.sql import RowMapping, delete
from xinqiao.store.tx import ReadTx, Tx

_log = logging.getLogger("xinqiao.drills")

MARK: Final = "【演练 DRILL 演练】"
"""In front of every text a person may read: also a partner's system that knows no flag shows it."""

ACTOR: Final = "drill"
"""Who plays the school's part: no person's name stands in the journal for what a machine did."""

_PATHS: Final = {method.request: method.path for method in methods().values()}
_STEPS: Final = (  # step, kind of its journal row, reason of that row where the kind says too little
    ("signal", "signal.reported", ""),
    ("acknowledge", "signal.acknowledged", ""),
    ("refer", "referral.created", ""),
    ("release", "released", "referral"),
    ("deliver", "delivery.delivered", ""),
    ("receive", "referral.advanced", "REFERRAL_EVENT_RECEIVE"),
)
_CLEARED: Final = (tables.signals, tables.triages, tables.duties, tables.assessments, tables.local_ids)

PipelineCall = Callable[[str, Message, Partner], Message]


class Drills:
    """Starts, times and ends drills. Each stands in the table ``drills``, so one that a crash left under way is ended."""

    def __init__(
        self, store: Store, door: Door, call: PipelineCall, book: Book, post: Post, plan: Plan, longest_us: int
    ) -> None:  # fmt: skip
        self._store = store
        self._door = door
        self._call = call
        self._book = book
        self._post = post
        self.plan = plan
        self.longest_us = longest_us

    # -- the RPCs ---------------------------------------------------------------------------------------------------

    def start(self, request: rpc.StartDrillRequest, call: Call) -> rpc.StartDrillResponse:
        """Invent a student, raise the signal as the school would, and unless people practise, play the school's steps.

        A repeat under the same request_id goes on where the first try stopped: every step has an id of its own.
        """
        school, recipient = self._school(request.school), self._recipient(request.recipient)
        identifier = hashlib.sha256(f"{call.caller.id}/{request.request_id}".encode()).hexdigest()[:32]
        self._store.run(lambda tx: self._open(tx, identifier, school, recipient, request.people, call.caller.id))
        player = self._player(school)
        try:
            self._play(identifier, player, recipient, people=request.people)
        except Refusal:
            self._store.run(lambda tx: self._end(tx, identifier))
            raise
        with self._store.read() as reading:
            row = reading.get(tables.drills, identifier)
            assert row is not None
            return rpc.StartDrillResponse(drill=self._drill(reading, row))

    def finish(self, request: rpc.FinishDrillRequest, call: Call) -> rpc.FinishDrillResponse:
        """End a drill now."""
        row = self._row(call.tx, request.name)
        if row["state"] != rpc.DRILL_STATE_RUNNING:
            raise Refusal("FAILED_PRECONDITION", "STATE", "the drill is over already")
        drill = self._end(call.tx, str(row["id"]))
        call.journal("drill.ended", resource=request.name, reason="BY_OPERATOR")
        return rpc.FinishDrillResponse(drill=drill)

    def get(self, request: rpc.GetDrillRequest, call: Call) -> rpc.GetDrillResponse:
        """A drill and the times of its steps, as the journal tells them."""
        return rpc.GetDrillResponse(drill=self._drill(call.reading, self._row(call.reading, request.name)))

    def page(self, request: rpc.ListDrillsRequest, call: Call) -> rpc.ListDrillsResponse:
        """Drills, newest first."""
        rows, following = newest(call, tables.drills, request, tables.drills.c.state > 0)
        found = [self._drill(call.reading, row) for row in rows]
        return rpc.ListDrillsResponse(drills=found, next_page_token=following)

    # -- the clock --------------------------------------------------------------------------------------------------

    def end_due(self) -> int:
        """End every drill that has reached a hospital or has run for long enough; how many."""
        with self._store.read() as reading:
            rows = reading.all(tables.drills.select().where(tables.drills.c.state == rpc.DRILL_STATE_RUNNING))
            due = [str(row["id"]) for row in rows if self._is_due(reading, row)]
        for identifier in due:
            self._store.run(partial(self._end, identifier=identifier))
        return len(due)

    def _is_due(self, tx: ReadTx, row: RowMapping) -> bool:
        received = next(step for step in self._drill(tx, row).steps if step.step == "receive")
        last_us = received.due_us if row["people"] else int(row["created_us"]) + self.longest_us
        return bool(received.time_us) or tx.now_us >= last_us

    # -- the play ---------------------------------------------------------------------------------------------------

    def _school(self, asked: str) -> str:
        served = [
            school for p in self._door.registry.with_role(options.ROLE_SCHOOL_PSYCHOLOGIST) for school in p.schools
        ]
        school = asked or min(served, default="")
        if school not in served:
            raise Refusal("INVALID_ARGUMENT", "SCHOOL", "no psychologist serves a school of this code")
        return school

    def _recipient(self, asked: str) -> str:
        hospitals = [p.id for p in self._door.registry.with_role(options.ROLE_HOSPITAL)]
        name = asked or next(iter(self.plan.channels or hospitals), "")
        return self._post.recipient(name).id

    def _player(self, school: str) -> Partner:
        owner = self._door.registry.with_role(options.ROLE_SCHOOL_PSYCHOLOGIST, school)[0]
        return Partner(
            ACTOR, "drill", owner.agency, frozenset({options.ROLE_SCHOOL_PSYCHOLOGIST}), frozenset({school}), "",
            owner.agreement_from_us, owner.agreement_to_us, {"zh": f"{MARK}演练程序", "en": f"{MARK} drill"},
        )  # fmt: skip

    def _open(self, tx: Tx, identifier: str, school: str, recipient: str, people: bool, started_by: str) -> None:
        if tx.get(tables.drills, identifier) is not None:
            return
        c = tables.drills.c
        running = tables.drills.select().where((c.school == school) & (c.state == rpc.DRILL_STATE_RUNNING))
        if tx.one(running) is not None:
            raise Refusal("FAILED_PRECONDITION", "DRILL_RUNNING", "this school is in a drill; let it end first")
        invented = Student(
            local_id=_local_id(identifier), family_name="演练", given_name=f"非真实学生 DRILL {identifier[:4]}",
            birth_date="2011-01-01", school=school, school_title=MARK, grade=MARK, class_title=MARK,
        )  # fmt: skip
        known = self._door.students.register_all(tx, self._player(school), [invented])[0]
        tx.insert(
            tables.drills, identifier, school, recipient, known.id, started_by, people, int(rpc.DRILL_STATE_RUNNING),
            tx.now_us, 0, None,
        )  # fmt: skip
        self._record(tx, "drill.started", identifier, known.id, started_by)

    def _play(self, identifier: str, player: Partner, recipient: str, *, people: bool) -> None:
        words: Any = {"local_id": _local_id(identifier)}
        raised: Any = self._ask(
            player,
            screening.ReportSignalRequest(
                request_id=f"{identifier}.signal", source=SIGNAL_SOURCE_SCHOOL_CENTRE, kind=SIGNAL_KIND_SUICIDAL,
                facts=f"{MARK} 危机演练，并无学生处于危险之中。A drill: nobody is in danger.", student=words,
            ),
        )  # fmt: skip
        if people:
            return
        self._ask(
            player,
            screening.AcknowledgeSignalRequest(request_id=f"{identifier}.acknowledge", name=raised.signal.name),
        )
        self._ask(
            player,
            rpc.CreateReferralRequest(
                request_id=f"{identifier}.refer", recipient=recipient, triage=raised.triage.name,
                urgency=pb.URGENCY_EMERGENCY, reason=f"{MARK} 演练 drill", location=MARK, student=words,
                crisis_facts=f"{MARK} 危机演练，请按流程确认收到，无需派人。A drill: confirm receipt, send nobody.",
            ),
        )  # fmt: skip

    def _ask(self, player: Partner, request: Message) -> Message:
        return self._call(_PATHS[type(request)], request, player)

    # -- the end ----------------------------------------------------------------------------------------------------

    def _end(self, tx: Tx, identifier: str) -> rpc.Drill:
        """Judge the drill, keep its report, and close everything it opened, here and at the hospital."""
        row = tx.get(tables.drills, identifier)
        assert row is not None
        if row["state"] != rpc.DRILL_STATE_RUNNING:
            return self._drill(tx, row)
        drill, student = self._drill(tx, row), str(row["student"])
        drill.end_time_us = tx.now_us
        met = all(step.met for step in drill.steps)
        drill.state = rpc.DRILL_STATE_PASSED if met else rpc.DRILL_STATE_MISSED
        for each in tx.all(tables.referrals.select().where(tables.referrals.c.student == student)):
            if each["state"] in FINAL:
                continue
            cancel, cancelled = pb.REFERRAL_EVENT_CANCEL, pb.REFERRAL_STATE_CANCELLED
            referral = self._book.move(tx, each, cancel, cancelled, ACTOR, f"{MARK} 结束 over")
            if referral is not None:
                self._post.tell_other_side(tx, each, "sender", referral, ACTOR)
            self._book.journal(tx, each, pb.REFERRAL_EVENT_CANCEL, "DRILL_OVER")
        # The referrals stay, cancelled, for what the hospital may still say of them; of the rest nothing is left.
        tx.execute(delete(tables.holdings).where(tables.holdings.c.student == student))
        for table in _CLEARED:
            tx.execute(delete(table).where(table.c.student == student))
        tx.delete(tables.students, student)
        tx.update(
            tables.drills, (identifier,), state=int(drill.state), finished_us=tx.now_us,
            report=drill.SerializeToString(deterministic=True),
        )  # fmt: skip
        self._record(tx, "drill.finished", identifier, student, rpc.DrillState.Name(drill.state))
        return drill

    def _drill(self, tx: ReadTx, row: RowMapping) -> rpc.Drill:
        """The report: as it was judged, or, under way, as the journal tells it now."""
        if row["report"] is not None:
            return rpc.Drill.FromString(bytes(row["report"]))
        drill = rpc.Drill(
            name=f"drills/{row['id']}", school=row["school"], recipient=row["recipient"], state=row["state"],
            start_time_us=row["created_us"], started_by=row["started_by"], people=row["people"],
        )  # fmt: skip
        j = tables.journal.c
        told = tx.all(tables.journal.select().where(j.student == row["student"]).order_by(j.at_us, j.seq))
        happened = {step: _first(told, kind, reason) for step, kind, reason in _STEPS}
        due = self._due_times(int(row["created_us"]), happened["release"])
        for step, found in happened.items():
            at_us = int(found["at_us"]) if found is not None else 0
            drill.steps.add(
                step=step, time_us=at_us, due_us=due[step], met=0 < at_us <= due[step],
                actor=str(found["actor"]) if found is not None else "",
            )  # fmt: skip
        sent = [e for e in told if e["kind"] == "released" and e["reason"] == "referral"]
        drill.recipients.extend(dict.fromkeys(str(e["partner"]) for e in sent))
        drill.referral = next((str(e["resource"]) for e in told if e["kind"] == "referral.created"), "")
        return drill

    def _due_times(self, start_us: int, released: RowMapping | None) -> dict[str, int]:
        """By when each step is due: the school's by the clocks of red, the machine's by the crisis lane's own."""
        acknowledge = self._book.deadline(TIER_RED, "acknowledge", start_us)
        refer = self._book.deadline(TIER_RED, "send", acknowledge)
        receive = (int(released["at_us"]) if released is not None else refer) + self.plan.phone_after_us
        return {
            "signal": start_us + self.plan.phone_after_us, "acknowledge": acknowledge, "refer": refer,
            "release": refer, "deliver": receive, "receive": receive,
        }  # fmt: skip

    def _row(self, tx: ReadTx, name: str) -> RowMapping:
        row = tx.get(tables.drills, name.removeprefix("drills/"))
        if row is None:
            raise Refusal("NOT_FOUND", "DRILL", "no such drill")
        return row

    def _record(self, tx: Tx, kind: str, identifier: str, student: str, reason: str) -> None:
        append(
            tx, kind=kind, decision="permit", actor=ACTOR, student=student, resource=f"drills/{identifier}",
            reason=reason, policy_version=self._door.policy.version,
        )  # fmt: skip


def _first(told: Sequence[RowMapping], kind: str, reason: str) -> RowMapping | None:
    """The first journal row of this kind, and of this reason where it matters."""
    return next((each for each in told if each["kind"] == kind and (not reason or each["reason"] == reason)), None)


def _local_id(identifier: str) -> str:
    return f"DRILL-{identifier}"
