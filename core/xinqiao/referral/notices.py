"""Notices of mental-health status (告知书): issued, served or refused before a witness, verified at a hospital's counter."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from xinqiao.api.common.v1.options_pb2 import PURPOSE_FAMILY_ACCESS, PURPOSE_RESCUE, ROLE_HOSPITAL, ROLE_POLICE
from xinqiao.api.common.v1.types_pb2 import Tier, Withheld
from xinqiao.api.referral.v1 import notice_pb2 as pb
from xinqiao.api.referral.v1 import notice_service_pb2 as rpc
from xinqiao.api.screening.v1.screening_pb2 import TRIAGE_STATE_CONFIRMED
from xinqiao.config.clocks import Deadline
from xinqiao.contract.clock import BEIJING, from_us, local_date, to_us
from xinqiao.contract.errors import Refusal
from xinqiao.contract.fields import present, redact
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.duties import open_duty
from xinqiao.disclosure.records import check_version, newest, own_row
from xinqiao.disclosure.registry import Reader
from xinqiao.documents.short_form import ShortForm, number, sign, verify
from xinqiao.documents.template import Catalogue
from xinqiao.journal.append import append
from xinqiao.referral.book import stored
from xinqiao.referral.guardians import addressee, by_name, conflict
from xinqiao.referral.printing import Printing, notice_content
from xinqiao.store import tables
from xinqiao.store.engine import Store
from xinqiao.store.errors import KeyGone, SealBroken
from xinqiao.store.holdings import drop, hold
from xinqiao.store.sql import RowMapping
from xinqiao.store.tx import Tx

_ISSUED, _SERVED, _REFUSED = pb.NOTICE_STATE_ISSUED, pb.NOTICE_STATE_SERVED, pb.NOTICE_STATE_REFUSED
_REPORTED, _PRESENTED, _REVOKED = pb.NOTICE_STATE_REPORTED, pb.NOTICE_STATE_PRESENTED, pb.NOTICE_STATE_REVOKED


class Step(NamedTuple):
    """From which states an event leads to which."""

    sources: tuple[int, ...]
    target: int


STEPS: Mapping[str, Step] = {
    # A guardian who refused may think better of it, also after the police were told.
    "serve": Step((_ISSUED, _REFUSED, _REPORTED), _SERVED),
    "refuse": Step((_ISSUED, _SERVED), _REFUSED),
    "report": Step((_REFUSED,), _REPORTED),
    "persuade": Step((_REFUSED,), _ISSUED),
    "present": Step((_ISSUED, _SERVED, _REFUSED, _REPORTED), _PRESENTED),
    "revoke": Step((_ISSUED, _SERVED, _REFUSED, _REPORTED, _PRESENTED), _REVOKED),
}
HOLDS: Mapping[int, str] = {_ISSUED: "serve", _SERVED: "present", _REFUSED: "decide", _REPORTED: "present"}
"""What the school must see to in each open state: a notice is done when a hospital has seen it, not when it is served."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What issuing needs: the forms, the key that signs, and how long a notice holds. None: not configured.

    ``retired`` are keys that signed before: a paper outlives the key that signed it.
    """

    forms: Catalogue | None
    key: Ed25519PrivateKey | None
    valid: timedelta
    retired: tuple[Ed25519PublicKey, ...] = ()
    ask_again_after: Callable[[], timedelta] = lambda: timedelta(days=180)

    @property
    def public_keys(self) -> list[Ed25519PublicKey]:
        """Every key whose signature counts."""
        return [*([self.key.public_key()] if self.key is not None else []), *self.retired]


class Notices:
    """The functions behind ``NoticeService``."""

    def __init__(self, store: Store, door: Door, deadline: Deadline, terms: Terms, reads: Reader) -> None:
        self.store = store
        self.door = door
        self.deadline = deadline
        self.terms = terms
        self._reads = reads
        self.printing = Printing(door, terms.forms, self._shown_to_printer, terms.ask_again_after)

    def issue_notice(self, request: rpc.IssueNoticeRequest, call: Call) -> rpc.IssueNoticeResponse:
        """Write, number and sign a notice to one guardian; the school holds it until it is served."""
        known = self.door.students.resolve(call.tx, call.caller, request.student)
        call.student = known.id
        tier = self._tier(call, known.id, request.triage)
        forms, key = self._means()
        for text in (request.observed_behaviour, request.advice):
            template = forms.templates.get(pb.DOCUMENT_KIND_NOTICE)
            if template is not None and template.names_a_disorder(text):
                raise Refusal(
                    "INVALID_ARGUMENT", "DIAGNOSIS_IN_NOTICE",
                    "a school does not diagnose: write what was seen and heard, not the name of a disorder",
                )  # fmt: skip
        student = self.door.students.load(call.tx, known.id, call.caller.agency)
        guardian = addressee(student, request.guardian)
        today = local_date(call.tx.now_us)
        form = ShortForm(secrets.token_hex(10), today, self.terms.valid.days)
        identifier = secrets.token_hex(16)
        notice = pb.Notice(
            number=number(form),
            state=_ISSUED,
            tier=Tier.ValueType(tier),
            observed_behaviour=request.observed_behaviour,
            advice=request.advice,
            hospitals=self._hospitals(list(request.hospitals)),
            issuer=call.caller.id,
            issue_time_us=call.tx.now_us,
            # Midnight after the last day: the code counts in days.
            expire_time_us=to_us(from_us(call.tx.now_us).astimezone(BEIJING).replace(
                hour=0, minute=0, second=0, microsecond=0) + timedelta(days=form.days + 1)) - 1,
            guardian=guardian.full_name,
            short_form=sign(form, key),
        )  # fmt: skip
        record = self._seal(identifier, known.id, notice)
        call.tx.insert(
            tables.notices, identifier, known.id, known.school, form.serial, int(notice.state), tier,
            notice.expire_time_us, call.tx.now_us, call.tx.now_us, 1, record,
        )  # fmt: skip
        notice.name, notice.etag = f"notices/{identifier}", "1"
        self._hold(call.tx, identifier, known.id, known.school, notice)
        response = rpc.IssueNoticeResponse(notice=self._view(call, notice, known.id))
        call.journal("notice.issued", resource=notice.name, student=known.id, payload=record)
        return response

    def serve_notice(self, request: rpc.ServeNoticeRequest, call: Call) -> rpc.ServeNoticeResponse:
        """A guardian took it: what the paper told the family is on record as a disclosure to it."""
        row, notice = self._find(call, request.name, request.etag)
        self._not_ahead(call, request.receipt.time_us, notice)
        student = self.door.students.load(call.tx, str(row["student"]), call.caller.agency)
        taker = addressee(student, request.guardian) if request.guardian else by_name(student, notice.guardian)
        for guardian in student.guardians:
            if guardian.in_conflict and guardian.full_name == request.receipt.signer:
                raise conflict()
        notice.guardian = taker.full_name
        notice.receipt.CopyFrom(request.receipt)
        self._advance(call.tx, row, notice, "serve")
        told = notice_content(notice, student, call.caller, {})
        forms, _ = self._means()
        redact(told, forms.masks.get(pb.DOCUMENT_KIND_NOTICE, 0))
        self._journal_told(call, row, notice, told)
        return rpc.ServeNoticeResponse(notice=self._done(call, row, notice, "notice.served"))

    def refuse_notice(self, request: rpc.RefuseNoticeRequest, call: Call) -> rpc.RefuseNoticeResponse:
        """The guardian would not sign, and a witness saw it: the school owes a decision."""
        row, notice = self._find(call, request.name, request.etag)
        self._not_ahead(call, request.refusal.time_us, notice)
        notice.refusal.CopyFrom(request.refusal)
        notice.refusal.reported, notice.refusal.grounds, notice.refusal.decide_time_us = False, "", 0
        self._advance(call.tx, row, notice, "refuse")
        return rpc.RefuseNoticeResponse(notice=self._done(call, row, notice, "notice.refused"))

    def decide_notice(self, request: rpc.DecideNoticeRequest, call: Call) -> rpc.DecideNoticeResponse:
        """Report to the police what the law lets them know, or go on persuading: both need grounds."""
        row, notice = self._find(call, request.name, request.etag)
        notice.refusal.reported = bool(request.police)
        notice.refusal.grounds, notice.refusal.decide_time_us = request.grounds, call.tx.now_us
        self._advance(call.tx, row, notice, "report" if request.police else "persuade")
        response = rpc.DecideNoticeResponse()
        if request.police:
            report, withheld = self._report(call, row, notice, request)
            response.report.CopyFrom(report)
            response.withheld.extend(withheld)
            response.duty = open_duty(
                call.tx, self.door, student=str(row["student"]), school=str(row["school"]), basis=request.basis,
                item=notice.name, holder=call.caller.id, tier=int(row["tier"]), actor=call.caller.id,
                recipient=request.police, purpose=PURPOSE_RESCUE, facts=request.crisis_facts,
            )  # fmt: skip
        response.notice.CopyFrom(self._done(call, row, notice, "notice.decided", basis=request.basis))
        return response

    def revoke_notice(self, request: rpc.RevokeNoticeRequest, call: Call) -> rpc.RevokeNoticeResponse:
        """Take it back; its code verifies as revoked from this commit."""
        row, notice = self._find(call, request.name, request.etag)
        notice.revoke_reason = request.reason
        self._advance(call.tx, row, notice, "revoke")
        return rpc.RevokeNoticeResponse(notice=self._done(call, row, notice, "notice.revoked"))

    def get_notice(self, request: rpc.GetNoticeRequest, call: Call) -> rpc.GetNoticeResponse:
        """A notice of the caller's schools."""
        row, notice = self._find(call, request.name, "")
        return rpc.GetNoticeResponse(notice=self._view(call, notice, str(row["student"])))

    def list_notices(self, request: rpc.ListNoticesRequest, call: Call) -> rpc.ListNoticesResponse:
        """The notices of the caller's schools, newest first."""
        rows, following = newest(call, tables.notices, request, tables.notices.c.school.in_(call.caller.schools))
        shown: list[pb.Notice] = []
        for row in rows:
            try:
                shown.append(self._view(call, self._load(row), str(row["student"])))
            except (KeyGone, SealBroken):  # one erased or broken record must not hide all the others
                shown.append(pb.Notice(name=f"notices/{row['id']}", state=row["state"], etag=str(row["version"])))
        return rpc.ListNoticesResponse(notices=shown, next_page_token=following)

    def verify_notice(self, request: rpc.VerifyNoticeRequest, call: Call) -> rpc.VerifyNoticeResponse:
        """Tell a hospital genuine, revoked or expired; an unknown and a forged code look the same.

        A read that leaves a mark: not replayed from an answer stored before a revocation.
        """
        form = verify(request.short_form, self.terms.public_keys)
        return self.store.run(lambda tx: self._verified(tx, call, form), crisis=True)

    def _verified(self, tx: Tx, call: Call, form: ShortForm | None) -> rpc.VerifyNoticeResponse:
        response = rpc.VerifyNoticeResponse(verdict=pb.NOTICE_VERDICT_NOT_GENUINE)
        rows: Sequence[RowMapping] = ()
        if form is not None:
            rows = tx.all(tables.notices.select().where(tables.notices.c.serial == form.serial))
        for row in rows:
            response.verdict = _verdict(row, tx.now_us)
            response.priority_due = response.verdict == pb.NOTICE_VERDICT_GENUINE
            response.issue_day = form.issued.isoformat() if form else ""
            if response.priority_due:
                self._present(tx, row, response)
        append(
            tx, kind="notice.verified", decision="permit", actor=call.caller.id, partner=call.caller.agency,
            purpose=call.method.purpose, student=str(rows[0]["student"]) if rows else None,
            resource=f"notices/{rows[0]['id']}" if rows else "notices/-",
            reason=pb.NoticeVerdict.Name(response.verdict).removeprefix("NOTICE_VERDICT_"),
            policy_version=self.door.policy.version,
        )  # fmt: skip
        return response

    def _present(self, tx: Tx, row: RowMapping, response: rpc.VerifyNoticeResponse) -> None:
        try:
            notice = self._load(row)
        except KeyGone:  # the student was erased: the paper outlived what it stood for
            response.verdict, response.priority_due = pb.NOTICE_VERDICT_REVOKED, False
            return
        except SealBroken:  # the code and the row still say that it is genuine; the school goes on holding it
            return
        if notice.state != _PRESENTED:
            notice.present_time_us = tx.now_us
            self._advance(tx, row, notice, "present")

    def render_document(self, request: rpc.RenderDocumentRequest, call: Call) -> rpc.RenderDocumentResponse:
        """Draw a form; see :class:`~xinqiao.referral.printing.Printing`."""
        return self.printing.render(request, call)

    def _tier(self, call: Call, student: str, triage: str) -> int:
        row = own_row(call, tables.triages, triage.removeprefix("triages/"), "TRIAGE", "")
        if row["student"] != student:
            raise Refusal("NOT_FOUND", "TRIAGE", "no such triage for this student")
        if row["state"] != TRIAGE_STATE_CONFIRMED:
            raise Refusal(
                "FAILED_PRECONDITION", "TIER_NOT_CONFIRMED", "a person must confirm the tier first (ConfirmTier)"
            )
        return int(row["confirmed"])

    def _means(self) -> tuple[Catalogue, Ed25519PrivateKey]:
        if self.terms.forms is None:
            raise Refusal(
                "FAILED_PRECONDITION", "FORMS", "name the folder of templates under `documents` in gateway.yaml"
            )
        if self.terms.key is None:
            raise Refusal(
                "FAILED_PRECONDITION", "DOCUMENT_KEY",
                "there is no key to sign with: name `document_key` in gateway.yaml and run `xinqiao keys init`",
            )  # fmt: skip
        return self.terms.forms, self.terms.key

    def _hospitals(self, wanted: list[str]) -> list[str]:
        known = [p.id for p in self.door.registry.with_role(ROLE_HOSPITAL) if p.id == p.agency]
        if not set(wanted) <= set(known):
            raise Refusal("NOT_FOUND", "RECIPIENT", "one of the hospitals is no partner that takes referrals")
        return (wanted or known)[:8]

    @staticmethod
    def _not_ahead(call: Call, time_us: int, notice: pb.Notice) -> None:
        # A day's grace before the issue: the paper may be dated by hand, never by a clock.
        if not notice.issue_time_us - 86_400_000_000 <= time_us <= call.tx.now_us + 60_000_000:
            raise Refusal("INVALID_ARGUMENT", "TIME", "the time is before the notice was issued, or has not come yet")

    def _report(
        self, call: Call, row: RowMapping, notice: pb.Notice, request: rpc.DecideNoticeRequest
    ) -> tuple[pb.PoliceReport, list[Withheld]]:
        police = self.door.registry.find(request.police)
        if police is None or ROLE_POLICE not in police.roles or police.agency != police.id:
            raise Refusal("NOT_FOUND", "RECIPIENT", "no such police partner")
        if not request.crisis_facts.strip():
            raise Refusal("INVALID_ARGUMENT", "FACTS_REQUIRED", "a report to the police needs crisis_facts")
        student = str(row["student"])
        found = self.door.bases.get(request.basis)
        report = pb.PoliceReport(
            notice=notice.name, crisis_facts=request.crisis_facts, location=request.location,
            citation=found.citation.get("zh", "") if found else "",
        )  # fmt: skip
        report.student.CopyFrom(self.door.students.leaving(call.tx, student, police.agency))
        declared = self._reads(police.agency, "police_report")
        released = self.door.release(
            call.tx, report, recipient=police, purpose=PURPOSE_RESCUE, student=student, relation="PARTY",
            kind="police_report", item=notice.name, actor=call.caller.id,
            key=f"{notice.name.replace('/', '.')}.v{notice.etag}", basis=request.basis,
            declared=-1 if declared is None else declared, lane="crisis", enqueue=declared is not None,
        )  # fmt: skip
        # What the school reads out or hands over is what was released, under the school's own name of the student.
        self.door.view(
            call.tx, report, caller=police, purpose=PURPOSE_RESCUE, student=student, relation="PARTY",
            basis=request.basis,
        )  # fmt: skip
        report.student.name = self.door.students.name(call.caller.agency, student)
        call.view(report, student=student)
        return report, released.withheld

    def _journal_told(self, call: Call, row: RowMapping, notice: pb.Notice, told: pb.DocumentContent) -> None:
        append(
            call.tx, kind="released", decision="permit", actor=call.caller.id, partner="family",
            purpose=PURPOSE_FAMILY_ACCESS, classes=present(told), student=str(row["student"]),
            resource=notice.name, reason="notice", policy_version=self.door.policy.version,
            payload=told.SerializeToString(deterministic=True), sealer=self.door.keys.sealer(str(row["student"])),
        )  # fmt: skip

    def _advance(self, tx: Tx, row: RowMapping, notice: pb.Notice, event: str) -> None:
        step = STEPS[event]
        if notice.state not in step.sources:
            name = pb.NoticeState.Name(notice.state).removeprefix("NOTICE_STATE_")
            raise Refusal("FAILED_PRECONDITION", "STATE", f"a notice that is {name} cannot be taken to this step")
        notice.state = pb.NoticeState.ValueType(step.target)
        identifier, student, version = str(row["id"]), str(row["student"]), int(row["version"]) + 1
        tx.update(
            tables.notices, (identifier,), state=int(notice.state), updated_us=tx.now_us, version=version,
            sealed=self._seal(identifier, student, notice),
        )  # fmt: skip
        notice.etag = str(version)
        self._hold(tx, identifier, student, str(row["school"]), notice)

    def _done(self, call: Call, row: RowMapping, notice: pb.Notice, kind: str, *, basis: str = "") -> pb.Notice:
        call.student, record = str(row["student"]), notice.SerializeToString()
        shown = self._view(call, notice, str(row["student"]))
        call.journal(kind, resource=shown.name, student=str(row["student"]), basis=basis, payload=record)
        return shown

    def _find(self, call: Call, name: str, etag: str) -> tuple[RowMapping, pb.Notice]:
        row = own_row(call, tables.notices, name.removeprefix("notices/"), "NOTICE", "")
        check_version(row, etag)
        return row, self._load(row)

    def _shown_to_printer(self, call: Call, name: str) -> tuple[str, pb.Notice]:
        row, notice = self._find(call, name, "")
        return str(row["student"]), notice

    def _view(self, call: Call, notice: pb.Notice, student: str) -> pb.Notice:
        notice.student = self.door.students.name(call.caller.agency, student)
        call.view(notice, student=student)
        return notice

    def _load(self, row: RowMapping) -> pb.Notice:
        notice = self.door.keys.record(pb.Notice, row, table="notices")
        notice.name, notice.etag = f"notices/{row['id']}", str(row["version"])
        return notice

    def _seal(self, identifier: str, student: str, notice: pb.Notice) -> bytes:
        return self.door.keys.sealer(student).seal(stored(notice), table="notices", key=identifier)

    def _hold(self, tx: Tx, identifier: str, student: str, school: str, notice: pb.Notice) -> None:
        step = HOLDS.get(notice.state)
        if step is None:
            drop(tx, f"notices/{identifier}")
            return
        hold(
            tx, f"notices/{identifier}", kind="notice", school=school, student=student, step=step,
            holder=self.door.registry.holder(school), tier=int(notice.tier),
            deadline_us=self.deadline(int(notice.tier), step, tx.now_us),
        )  # fmt: skip


def _verdict(row: RowMapping, now_us: int) -> pb.NoticeVerdict.ValueType:
    if row["state"] == _REVOKED:
        return pb.NOTICE_VERDICT_REVOKED
    return pb.NOTICE_VERDICT_EXPIRED if now_us > int(row["expires_us"]) else pb.NOTICE_VERDICT_GENUINE
