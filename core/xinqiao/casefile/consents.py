"""Consents: who may give one on what evidence, who has said no, and what a withdrawal sets in motion."""

from collections.abc import Callable

from xinqiao.api.casefile.v1 import casefile_pb2 as pb
from xinqiao.api.casefile.v1 import casefile_service_pb2 as rpc
from xinqiao.api.casefile.v1 import consent_pb2 as evidence
from xinqiao.api.common.v1.options_pb2 import FIELD_CLASS_COUNSELLING_NOTE, PURPOSE_FAMILY_ACCESS, ROLE_FAMILY
from xinqiao.api.common.v1.types_pb2 import Student
from xinqiao.api.referral.v1.notice_pb2 import DOCUMENT_KIND_CONSENT
from xinqiao.casefile.ages import of_age, under_fourteen
from xinqiao.casefile.recalls import Recalls
from xinqiao.casefile.tasks import Tasks
from xinqiao.config.district import ConsentTerms
from xinqiao.contract.clock import local_date
from xinqiao.contract.errors import Refusal, Violation
from xinqiao.contract.fields import mask_of
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door
from xinqiao.disclosure.shares import active
from xinqiao.disclosure.students import Known
from xinqiao.documents.asking import check_asked_again
from xinqiao.documents.template import Catalogue
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState
from xinqiao.store.holdings import drop
from xinqiao.store.ids import new_id
from xinqiao.store.sql import RowMapping

_YEAR_US = 366 * 86_400_000_000
_NO = (pb.CONSENT_STATE_REFUSED, pb.CONSENT_STATE_DISPUTED)
_WORDS = (pb.CONSENT_STATE_GIVEN, *_NO)
_GUARDIANS, _STUDENTS = (pb.SIGNER_GUARDIAN, pb.SIGNER_BOTH), (pb.SIGNER_STUDENT, pb.SIGNER_BOTH)


class Consents:
    """Records consents and refusals, and takes consents back."""

    def __init__(
        self, door: Door, recalls: Recalls, forms: Catalogue | None, terms: Callable[[], ConsentTerms],
        undelivered: Callable[..., None], tasks: Tasks,
    ) -> None:  # fmt: skip
        """``forms`` are the district's templates; ``undelivered`` takes back a referral that a withdrawal cancels:
        (tx, item, reason, True)."""
        self.door = door
        self._recalls = recalls
        self._forms = forms
        self._terms = terms
        self._undelivered = undelivered
        self._tasks = tasks

    def record(self, request: rpc.RecordConsentRequest, call: Call) -> rpc.RecordConsentResponse:
        """Keep a consent, or a refusal, with its evidence; an earlier word of the same signers is superseded."""
        known = self.door.students.resolve(call.tx, call.caller, request.student)
        call.student = known.id
        consent = pb.Consent()
        consent.CopyFrom(request.consent)
        self._check(call, known, consent)
        if consent.state == pb.CONSENT_STATE_GIVEN and consent.evidence.assent == evidence.ASSENT_REFUSED:
            consent.state = pb.CONSENT_STATE_DISPUTED  # the child says no: Civil Code art. 35
        identifier = new_id(call.tx.now_us)
        consent.name = consent.student = consent.etag = ""
        consent.not_before_us = consent.not_before_us or call.tx.now_us
        consent.create_time_us = call.tx.now_us
        self._supersede(call, known, consent)
        record = consent.SerializeToString()
        call.tx.insert(
            tables.consents, identifier, known.id, consent.recipient, int(consent.purpose),
            mask_of(list(consent.classes)), int(consent.state), consent.not_before_us, consent.not_after_us,
            call.tx.now_us, call.tx.now_us, 1,
            self.door.keys.sealer(known.id).seal(record, table="consents", key=identifier),
        )  # fmt: skip
        consent.name, consent.etag = f"consents/{identifier}", "1"
        consent.student = self.door.students.name(call.caller.agency, known.id)
        response = rpc.RecordConsentResponse(consent=consent)
        call.view(response, student=known.id, purpose=PURPOSE_FAMILY_ACCESS)
        call.journal(
            "consent.recorded", resource=consent.name, student=known.id,
            reason=pb.ConsentState.Name(consent.state), payload=record,
        )  # fmt: skip
        return response

    def withdraw(self, request: rpc.WithdrawConsentRequest, call: Call) -> rpc.WithdrawConsentResponse:
        """Take a consent back: from this commit nothing starts under it, what is queued is cancelled, what its recipient
        has is recalled, and the tasks it held are the school's again. What a law demands goes on: its deliveries and
        duties cite a basis of their own."""
        row = self.own(call, request.name)
        if row["state"] != pb.CONSENT_STATE_GIVEN:
            raise Refusal("FAILED_PRECONDITION", "STATE", "the consent is not in force")
        student, identifier = str(row["student"]), str(row["id"])
        call.student = student
        call.tx.update(
            tables.consents, (identifier,), state=int(pb.CONSENT_STATE_WITHDRAWN), updated_us=call.tx.now_us,
            version=int(row["version"]) + 1,
        )  # fmt: skip
        cancelled = self._cancel_queued(call, row)
        school = str((call.tx.get(tables.students, student) or {"school": ""})["school"])
        given = self._recalls.given(call.tx, student, str(row["recipient"]), int(row["purpose"]))
        returned = self._take_tasks(call, row)
        response = rpc.WithdrawConsentResponse(cancelled_deliveries=cancelled, returned_tasks=returned)
        if given is not None:
            response.recalls.append(
                self._recalls.open(
                    call.tx, student=student, school=school, recipient=str(row["recipient"]), cause=request.name,
                    purpose=int(row["purpose"]), given=given, actor=call.caller.id,
                )
            )  # fmt: skip
        consent = self.door.keys.record(pb.Consent, row, table="consents")
        consent.name, consent.etag = request.name, str(int(row["version"]) + 1)
        consent.state = pb.CONSENT_STATE_WITHDRAWN
        consent.student = self.door.students.name(call.caller.agency, student)
        response.consent.CopyFrom(consent)
        call.view(response, student=student)
        call.journal(
            "consent.withdrawn", resource=request.name, student=student,
            reason=f"cancelled:{cancelled} recalled:{len(response.recalls)} tasks:{returned}",
        )  # fmt: skip
        return response

    def own(self, call: Call, name: str) -> RowMapping:
        """The row of a consent of the caller's schools. Raises Refusal NOT_FOUND/CONSENT, alike for foreign ones."""
        row = call.reading.get(tables.consents, name.removeprefix("consents/"))
        owner = call.reading.get(tables.students, str(row["student"])) if row is not None else None
        if row is None or owner is None or str(owner["school"]) not in call.caller.schools:
            raise Refusal("NOT_FOUND", "CONSENT", "no such consent for this caller")
        return row

    def _cancel_queued(self, call: Call, row: RowMapping) -> int:
        d = tables.deliveries
        queued = call.tx.all(
            d.select()
            .with_only_columns(d.c.id, d.c.kind, d.c.item)
            .where(
                (d.c.student == row["student"]) & (d.c.recipient == row["recipient"]) & (d.c.purpose == row["purpose"])
                & (d.c.basis == "") & d.c.state.in_([int(DeliveryState.PENDING), int(DeliveryState.DEAD)])
            )
        )  # fmt: skip
        for delivery in queued:
            call.tx.update(
                d, (delivery["id"],), state=int(DeliveryState.CANCELLED), last_reason="WITHDRAWN", payload=None,
                updated_us=call.tx.now_us,
            )  # fmt: skip
            drop(call.tx, f"deliveries/{delivery['id']}")
            if delivery["kind"] == "referral":
                self._undelivered(call.tx, str(delivery["item"]), "WITHDRAWN", True)
        return len(queued)

    def _take_tasks(self, call: Call, row: RowMapping) -> int:
        """Whoever may no longer see a task must not hold it until its deadline shows that nobody did it."""
        return sum(
            self._tasks.give_back(call.tx, f"shares/{share['id']}")
            for share in active(call.tx, str(row["student"]), str(row["recipient"]))
            if share["purpose"] == row["purpose"]
        )

    def _supersede(self, call: Call, known: Known, consent: pb.Consent) -> None:
        """A yes replaces any earlier yes that one of its signers gave. A no is lifted only by all who said it, and a
        dispute only by student and guardian together."""
        c = tables.consents.c
        rows = call.tx.all(
            tables.consents.select().where(
                (c.student == known.id) & (c.recipient == consent.recipient) & (c.purpose == int(consent.purpose))
                & c.state.in_(_WORDS)
            )
        )  # fmt: skip
        now = signers(consent)
        for row in rows:
            before = signers(self.door.keys.record(pb.Consent, row, table="consents"))
            if row["state"] == pb.CONSENT_STATE_GIVEN:
                over = bool(before & now)
            else:
                both = row["state"] == pb.CONSENT_STATE_REFUSED or consent.signer == pb.SIGNER_BOTH
                over = before <= now and both
            if over:
                call.tx.update(
                    tables.consents, (row["id"],), state=int(pb.CONSENT_STATE_SUPERSEDED), updated_us=call.tx.now_us,
                    version=int(row["version"]) + 1,
                )  # fmt: skip

    # -- what a consent must be -------------------------------------------------------------------------------------

    def _check(self, call: Call, known: Known, consent: pb.Consent) -> None:
        recipient = self.door.registry.find(consent.recipient)
        if recipient is None or recipient.agency != recipient.id:
            raise Refusal("NOT_FOUND", "RECIPIENT", "no such partner agency")
        if FIELD_CLASS_COUNSELLING_NOTE in consent.classes:
            raise Refusal("INVALID_ARGUMENT", "CLASS_NEVER_SHARED", "counselling notes are never shared")
        if consent.state not in _WORDS:
            raise Refusal("INVALID_ARGUMENT", "ENUM", "a consent is recorded as GIVEN, REFUSED or DISPUTED")
        start = consent.not_before_us or call.tx.now_us
        if not start < consent.not_after_us <= start + _YEAR_US or consent.not_after_us <= call.tx.now_us:
            raise Refusal("INVALID_ARGUMENT", "TERM", "a consent holds for at most 12 months and must not be over")
        student = self.door.students.load(call.tx, known.id, call.caller.agency)
        self._check_signers(call, student, consent)
        self._check_evidence(student, consent)
        if consent.state == pb.CONSENT_STATE_GIVEN and ROLE_FAMILY not in call.caller.roles:  # a no is always kept
            check_asked_again(
                call.tx, student=known.id, recipient=consent.recipient, purpose=int(consent.purpose),
                wait=self._terms().ask_again_after, at_family_request=consent.evidence.at_family_request,
            )  # fmt: skip

    def _check_signers(self, call: Call, student: Student, consent: pb.Consent) -> None:
        """Under 14 a guardian, from 14 on the student, and a guardian too where the district says so; of age the
        student alone. A guardian may refuse for any minor."""
        today, given = local_date(call.tx.now_us), consent.state == pb.CONSENT_STATE_GIVEN
        young, adult = (ask(student.birth_date, today) for ask in (under_fourteen, of_age))
        if young and consent.signer == pb.SIGNER_STUDENT:
            raise Refusal("FAILED_PRECONDITION", "GUARDIAN_REQUIRED", "under 14 a guardian must sign (PIPL art. 31)")
        if consent.signer == pb.SIGNER_GUARDIAN and (adult or (given and not young)):
            raise Refusal("FAILED_PRECONDITION", "STUDENT_REQUIRED", "from 14 on the student must sign")
        if given and consent.signer == pb.SIGNER_STUDENT and not adult and self._terms().guardian_co_consent:
            raise Refusal("FAILED_PRECONDITION", "GUARDIAN_REQUIRED", "in this district a guardian signs with a minor")
        if consent.signer in _GUARDIANS and given:
            named = [g for g in student.guardians if g.full_name == consent.evidence.guardian_name]
            if any(guardian.in_conflict for guardian in named):
                raise Refusal(
                    "FAILED_PRECONDITION", "GUARDIAN_IN_CONFLICT",
                    "this guardian is in conflict with the child and cannot consent for it; ask another",
                )  # fmt: skip
        if (
            given and young and consent.signer == pb.SIGNER_GUARDIAN
            and consent.evidence.assent == evidence.ASSENT_UNSPECIFIED
        ):  # fmt: skip
            raise _lacking("assent", "record what the child says")

    def _check_evidence(self, student: Student, consent: pb.Consent) -> None:
        proof = consent.evidence
        if not consent.HasField("evidence"):
            raise _lacking("", "send form, text, signer, channel and witness")
        if self._forms is None:
            raise Refusal(
                "FAILED_PRECONDITION", "FORMS", "name the folder of templates under `documents` in gateway.yaml"
            )
        if self._forms.versions.get((DOCUMENT_KIND_CONSENT, consent.form_version)) != proof.form_sha256:
            raise Refusal(
                "FAILED_PRECONDITION", "FORM_UNKNOWN",
                "no consent form of this version and content among the district's; send what RenderDocument answered",
            )  # fmt: skip
        if not proof.witness and (
            proof.channel == evidence.CONSENT_CHANNEL_PAPER or proof.assent == evidence.ASSENT_NOT_ABLE
        ):
            raise _lacking("witness", "name who saw it")
        if consent.signer not in _GUARDIANS:
            return
        if not proof.guardian_name or not proof.guardian_relation:
            raise _lacking("guardian_name", "name the guardian and the relation to the student")
        named = [g for g in student.guardians if g.full_name == proof.guardian_name]
        if student.guardians and not any(g.relation in ("", proof.guardian_relation) for g in named):
            where = "consent.evidence.guardian_name"
            raise Refusal(
                "INVALID_ARGUMENT", "SIGNER", "the signer is not among the guardians of the student's record",
                violations=(Violation(where, "SIGNER", "mend the name and relation, or the record first"),),
            )  # fmt: skip


def signers(consent: pb.Consent) -> frozenset[str]:
    """Who has spoken; a guardian without a name, of a record before evidence was kept, is one and the same."""
    found: set[str] = set()
    if consent.signer in _STUDENTS:
        found.add("student")
    if consent.signer in _GUARDIANS:
        found.add(f"guardian {consent.evidence.guardian_name}")
    return frozenset(found)


def state_now(row: RowMapping, now_us: int) -> "pb.ConsentState.ValueType":
    """The state to show: a consent whose time is over is EXPIRED, although nothing was recorded."""
    if row["state"] == pb.CONSENT_STATE_GIVEN and now_us >= row["not_after_us"]:
        return pb.CONSENT_STATE_EXPIRED
    return pb.ConsentState.ValueType(row["state"])


def _lacking(field: str, how: str) -> Refusal:
    where = "consent.evidence" + (f".{field}" if field else "")
    return Refusal(
        "INVALID_ARGUMENT", "EVIDENCE", f"{where} is missing", violations=(Violation(where, "EVIDENCE", how),)
    )
