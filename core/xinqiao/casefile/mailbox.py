"""The social worker's mailbox: letters under a name that leads nowhere, until a red rule and two persons say otherwise.

A mailbox is a subject of its own, with its own key and its own rows in the journal: neither a letter, nor its seal, nor
who read it leads to the student. The one place that does is a column of ``mailboxes``.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable

from xinqiao.api.casefile.v1 import mailbox_pb2 as pb
from xinqiao.api.casefile.v1 import mailbox_service_pb2 as rpc
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.common.v1.types_pb2 import TIER_RED, StudentRef
from xinqiao.api.screening.v1 import screening_pb2 as screening
from xinqiao.api.screening.v1.screening_service_pb2 import ReportSignalRequest, ReportSignalResponse
from xinqiao.casefile.access import own_student
from xinqiao.casefile.rules import CasefileRules
from xinqiao.contract.errors import Refusal
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.records import check_version, newest
from xinqiao.disclosure.registry import owns
from xinqiao.journal.append import append
from xinqiao.store import tables
from xinqiao.store.holdings import drop, hold
from xinqiao.store.ids import new_id
from xinqiao.store.sql import RowMapping
from xinqiao.store.tx import Tx

_SHOWN = 100  # letters that a writer reads at once
_KEY_BYTES = 32

Report = Callable[[ReportSignalRequest, Call], ReportSignalResponse]
"""Raises a signal."""


class Mailboxes:
    """The functions behind ``MailboxService``."""

    def __init__(
        self, door: Door, rules: CasefileRules, deadline: Callable[[int, str, int], int], report: Report
    ) -> None:  # fmt: skip
        """``deadline`` has the district's clocks, (tier, step, now_us) -> deadline_us."""
        self.door = door
        self.rules = rules
        self._deadline = deadline
        self._report = report

    # -- the writer ---------------------------------------------------------------------------------------------------

    def write_letter(self, request: rpc.WriteLetterRequest, call: Call) -> rpc.WriteLetterResponse:
        """Take a letter; the first one opens a mailbox, whose key only its writer has."""
        key = b""
        if request.mailbox:
            row = self._opened(call, request.mailbox, request.key)
            mailbox, worker, school = str(row["id"]), str(row["worker"]), str(row["school"])
        else:
            mailbox, worker, school, key = self._open(call, request)
        call.student = mailbox
        red = self.rules.red(request.text)
        letter = pb.Letter(text=request.text, red_rule=red.id if red else "", from_student=True)
        self._insert(call, mailbox, worker, letter)
        self._hold(call.tx, letter, mailbox, worker, school)
        response = rpc.WriteLetterResponse(letter=letter, key=key)
        record = letter.SerializeToString()
        response.letter.red_rule = ""  # what the machine makes of it is the worker's to know
        call.view(response, student=mailbox, relation="PARTY")
        call.journal("letter.written", resource=letter.name, student=mailbox, payload=record)
        return response

    def read_mailbox(self, request: rpc.ReadMailboxRequest, call: Call) -> rpc.ReadMailboxResponse:
        """The newest letters and answers, to who shows the key."""
        row = self._opened(call, request.mailbox, request.key)
        m = tables.letters.c
        newest_first = tables.letters.select().where(m.student == row["id"]).order_by(m.created_us.desc(), m.id.desc())
        response = rpc.ReadMailboxResponse()
        for each in call.reading.all(newest_first.limit(_SHOWN)):
            letter = self._letter(each)
            letter.red_rule = ""
            response.letters.append(letter)
        call.view(response, student=str(row["id"]), relation="PARTY")
        return response

    # -- the worker ---------------------------------------------------------------------------------------------------

    def list_letters(self, request: rpc.ListLettersRequest, call: Call) -> rpc.ListLettersResponse:
        """Letters to the caller's agency."""
        m = tables.letters.c
        wanted = m.worker == call.caller.agency
        if request.mailbox:
            wanted = wanted & (m.student == request.mailbox.removeprefix("mailboxes/"))
        if request.open_only:
            wanted = wanted & m.from_student.is_(True) & m.answered.is_(False)
        rows, following = newest(call, tables.letters, request, wanted)
        response = rpc.ListLettersResponse(next_page_token=following)
        for row in rows:
            letter = self._letter(row)
            call.view(letter, student=str(row["student"]), relation="PARTY")
            response.letters.append(letter)
        return response

    def answer_letter(self, request: rpc.AnswerLetterRequest, call: Call) -> rpc.AnswerLetterResponse:
        """Answer a letter; nobody holds it any more."""
        row = call.tx.get(tables.letters, request.name.removeprefix("letters/"))
        if row is None or row["worker"] != call.caller.agency or not row["from_student"]:
            raise Refusal("NOT_FOUND", "LETTER", "no such letter for this caller")
        mailbox = call.student = str(row["student"])
        call.tx.update(tables.letters, (row["id"],), answered=True)
        drop(call.tx, request.name)
        letter = pb.Letter(text=request.text)
        self._insert(call, mailbox, call.caller.agency, letter)
        record = letter.SerializeToString()
        response = rpc.AnswerLetterResponse(letter=letter)
        call.view(response, student=mailbox, relation="PARTY")
        call.journal("letter.answered", resource=request.name, student=mailbox, payload=record)
        return response

    # -- two persons --------------------------------------------------------------------------------------------------

    def ask_unmask(self, request: rpc.AskUnmaskRequest, call: Call) -> rpc.AskUnmaskResponse:
        """The first person's word: under which red rule, on which facts. The psychologist of the school is asked at once."""
        row = self._of_worker(call, request.mailbox)
        if self.rules.rule(request.red_rule) is None:
            raise Refusal("INVALID_ARGUMENT", "RED_RULE", "no such red rule: `casefile.yaml` has those there are")
        if row["state"] != pb.MAILBOX_STATE_OPEN:
            raise Refusal("FAILED_PRECONDITION", "STATE", "unmasking was asked for already")
        box = pb.Mailbox(red_rule=request.red_rule, facts=request.facts, asked_by=call.caller.id)
        school = str(row["school"])
        mailbox = call.student = str(row["id"])
        record = self._store(call.tx, row, box, int(pb.MAILBOX_STATE_UNMASK_ASKED))
        hold(
            call.tx, request.mailbox, kind="mailbox", school=school, student=mailbox, step="decide_unmask",
            holder=self.door.registry.holder(school), deadline_us=self._deadline(TIER_RED, "acknowledge", call.tx.now_us),
            tier=int(TIER_RED),
        )  # fmt: skip
        response = rpc.AskUnmaskResponse(mailbox=box)
        call.view(response, student=mailbox, relation="PARTY")
        call.journal(
            "mailbox.unmask_asked", resource=request.mailbox, student=mailbox, reason=request.red_rule, payload=record
        )
        return response

    def list_mailboxes(self, request: rpc.ListMailboxesRequest, call: Call) -> rpc.ListMailboxesResponse:
        """Mailboxes of the caller's schools that wait for a second person: rule and facts, never a letter or a name."""
        c = tables.mailboxes.c
        waiting = c.school.in_(call.caller.schools) & (c.state == int(pb.MAILBOX_STATE_UNMASK_ASKED))
        rows, following = newest(call, tables.mailboxes, request, waiting)
        response = rpc.ListMailboxesResponse(next_page_token=following)
        for row in rows:
            box = self._box(row)
            call.view(box, student=str(row["id"]))
            response.mailboxes.append(box)
        return response

    def decide_unmask(self, request: rpc.DecideUnmaskRequest, call: Call) -> rpc.DecideUnmaskResponse:
        """The second person's word. With it the writer is named to the school, and a red signal is raised."""
        row = call.tx.get(tables.mailboxes, request.mailbox.removeprefix("mailboxes/"))
        if row is None or not owns(call.caller, str(row["school"])):
            raise Refusal("NOT_FOUND", "MAILBOX", "no such mailbox for this caller")
        check_version(row, request.etag)
        if row["state"] != pb.MAILBOX_STATE_UNMASK_ASKED:
            raise Refusal("FAILED_PRECONDITION", "STATE", "nobody has asked to unmask this writer")
        box = self._box(row)
        first = self.door.registry.find(box.asked_by)
        if first is None or call.caller.id == first.id or call.caller.agency == first.agency:
            raise Refusal("FAILED_PRECONDITION", "SECOND_PERSON", "a second person, of another agency, must decide")
        drop(call.tx, request.mailbox)
        mailbox = str(row["id"])
        target = pb.MAILBOX_STATE_UNMASKED if request.approve else pb.MAILBOX_STATE_OPEN
        kept = box if request.approve else pb.Mailbox()
        self._store(call.tx, row, kept, int(target))
        response = rpc.DecideUnmaskResponse(mailbox=kept)
        word = "APPROVED" if request.approve else "REFUSED"
        self._on_record(call, mailbox, request.mailbox, f"{word}:{request.reason}")
        if not request.approve:
            call.student = mailbox
            call.view(response, student=mailbox)
            return response
        return self._unmask(call, str(row["student"]), box, request, response)

    def _unmask(
        self,
        call: Call,
        student: str,
        box: pb.Mailbox,
        request: rpc.DecideUnmaskRequest,
        response: rpc.DecideUnmaskResponse,
    ) -> rpc.DecideUnmaskResponse:
        call.student = student
        rule = self.rules.rule(box.red_rule)
        response.student.CopyFrom(self.door.students.load(call.tx, student, call.caller.agency))
        # Through the one door by which every signal comes: its triage, its holder, its duties to report.
        raised = self._report(
            ReportSignalRequest(
                student=StudentRef(name=self.door.students.name(call.caller.agency, student)),
                source=screening.SIGNAL_SOURCE_MAILBOX,
                kind=screening.SignalKind.ValueType(rule.kind) if rule else screening.SIGNAL_KIND_OTHER, facts=box.facts,
            ),
            call,
        )  # fmt: skip
        response.signal = raised.signal.name
        call.view(response, student=student, relation="OWN")
        call.journal(
            "mailbox.unmasked", resource=request.mailbox, student=student, reason=f"{box.red_rule}:{box.asked_by}",
            payload=box.SerializeToString(),
        )  # fmt: skip
        return response

    def _on_record(self, call: Call, mailbox: str, resource: str, reason: str) -> None:
        append(
            call.tx, kind="mailbox.unmask_decided", decision="permit", actor=call.caller.id, partner=call.caller.agency,
            purpose=int(options.PURPOSE_RESCUE), student=mailbox, resource=resource, reason=reason,
            policy_version=self.door.policy.version,
        )  # fmt: skip
        call.rows += 1

    # -- stored -------------------------------------------------------------------------------------------------------

    def _open(self, call: Call, request: rpc.WriteLetterRequest) -> tuple[str, str, str, bytes]:
        """A new mailbox: its id, worker, school and key."""
        known = own_student(call, request.student)
        workers = [
            each for each in self.door.registry.with_role(options.ROLE_SOCIAL_WORK)
            if (request.worker == each.id if request.worker else known.school in each.schools)
        ]  # fmt: skip
        if not workers:
            raise Refusal("NOT_FOUND", "WORKER", "no such social worker; the school has none of its own")
        mailbox, key = secrets.token_hex(16), secrets.token_bytes(_KEY_BYTES)
        self.door.keys.ensure([mailbox])
        worker = workers[0].agency
        call.tx.insert(
            tables.mailboxes, mailbox, known.id, known.school, worker, hashlib.sha256(key).digest(),
            int(pb.MAILBOX_STATE_OPEN), call.tx.now_us, call.tx.now_us, 1, self._seal("mailboxes", mailbox, mailbox, b""),
        )  # fmt: skip
        return mailbox, worker, known.school, key

    def _opened(self, call: Call, name: str, key: bytes) -> RowMapping:
        """The mailbox of who shows its key. Raises Refusal NOT_FOUND/MAILBOX, alike for an absent one and a wrong key."""
        row = call.reading.get(tables.mailboxes, name.removeprefix("mailboxes/"))
        kept = bytes(row["key_hash"]) if row is not None else b""
        fits = hmac.compare_digest(kept, hashlib.sha256(key).digest())
        if row is None or not fits or not owns(call.caller, str(row["school"])):
            raise Refusal("NOT_FOUND", "MAILBOX", "no such mailbox for this caller and key")
        return row

    def _of_worker(self, call: Call, name: str) -> RowMapping:
        row = call.tx.get(tables.mailboxes, name.removeprefix("mailboxes/"))
        if row is None or row["worker"] != call.caller.agency:
            raise Refusal("NOT_FOUND", "MAILBOX", "no such mailbox for this caller")
        return row

    def _insert(self, call: Call, mailbox: str, worker: str, letter: pb.Letter) -> None:
        identifier = new_id(call.tx.now_us)
        sealed = self._seal("letters", identifier, mailbox, letter.SerializeToString())
        call.tx.insert(
            tables.letters, identifier, mailbox, worker, letter.from_student, False, call.tx.now_us, sealed
        )  # fmt: skip
        letter.name, letter.mailbox, letter.create_time_us = (
            f"letters/{identifier}", f"mailboxes/{mailbox}", call.tx.now_us,
        )  # fmt: skip

    def _hold(self, tx: Tx, letter: pb.Letter, mailbox: str, worker: str, school: str) -> None:
        """A letter runs on its own clock; a red one on the district's red clock, so the school hears of it if nobody does."""
        red = bool(letter.red_rule)
        on_duty = self.door.registry.find(self.door.registry.holder(school))
        hold(
            tx, letter.name, kind="letter", school=school, student=mailbox, step="answer_red" if red else "answer",
            holder=on_duty.id if on_duty is not None and on_duty.agency == worker else worker,
            deadline_us=self._deadline(TIER_RED, "acknowledge", tx.now_us) if red else tx.now_us + self.rules.reply_us,
            tier=int(TIER_RED) if red else 0,
        )  # fmt: skip

    def _letter(self, row: RowMapping) -> pb.Letter:
        letter = self.door.keys.readable(pb.Letter, row, table="letters") or pb.Letter(from_student=row["from_student"])
        letter.name, letter.mailbox = f"letters/{row['id']}", f"mailboxes/{row['student']}"
        letter.create_time_us, letter.answered = int(row["created_us"]), bool(row["answered"])
        return letter

    def _box(self, row: RowMapping) -> pb.Mailbox:
        mailbox = str(row["id"])
        sealer = self.door.keys.sealer(mailbox)
        box = sealer.record(pb.Mailbox, bytes(row["sealed"]), table="mailboxes", key=mailbox)
        self._name(box, row, int(row["state"]), int(row["version"]))
        return box

    def _store(self, tx: Tx, row: RowMapping, box: pb.Mailbox, state: int) -> bytes:
        mailbox, version = str(row["id"]), int(row["version"]) + 1
        record = pb.Mailbox(red_rule=box.red_rule, facts=box.facts, asked_by=box.asked_by).SerializeToString()
        tx.update(
            tables.mailboxes, (mailbox,), state=state, updated_us=tx.now_us, version=version,
            sealed=self._seal("mailboxes", mailbox, mailbox, record),
        )  # fmt: skip
        self._name(box, row, state, version)
        return record

    @staticmethod
    def _name(box: pb.Mailbox, row: RowMapping, state: int, version: int) -> None:
        box.name, box.worker, box.etag = f"mailboxes/{row['id']}", str(row["worker"]), str(version)
        box.state = pb.MailboxState.ValueType(state)

    def _seal(self, table: str, identifier: str, subject: str, record: bytes) -> bytes:
        return self.door.keys.sealer(subject).seal(record, table=table, key=identifier)
