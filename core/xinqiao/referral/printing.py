"""The printed forms: for each kind, what goes on the paper, cut first to what its reader and its printer may see."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from xinqiao.api.common.v1.options_pb2 import (
    FIELD_CLASS_COUNSELLING_NOTE,
    FIELD_CLASS_IDENTITY,
    PURPOSE_EDUCATION,
    FieldClass,
)
from xinqiao.api.common.v1.types_pb2 import Student, StudentRef, Withheld
from xinqiao.api.referral.v1 import notice_pb2 as pb
from xinqiao.api.referral.v1 import notice_service_pb2 as rpc
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.contract.clock import local_date
from xinqiao.contract.errors import Refusal
from xinqiao.contract.fields import Kept, redact
from xinqiao.disclosure.call import Call
from xinqiao.disclosure.door import Door, denial
from xinqiao.disclosure.records import own_row
from xinqiao.disclosure.registry import Partner
from xinqiao.documents.asking import check_asked_again
from xinqiao.documents.press import print_form
from xinqiao.documents.template import Catalogue
from xinqiao.referral.guardians import by_name
from xinqiao.store import tables

_KINDS: Mapping[int, str] = {
    pb.DOCUMENT_KIND_NOTICE: "notices/",
    pb.DOCUMENT_KIND_REFERRAL: "referrals/",
    pb.DOCUMENT_KIND_FEEDBACK: "referrals/",
    pb.DOCUMENT_KIND_CONSENT: "students/",
}
Found = tuple[str, pb.DocumentContent, list[Withheld]]
"""Internal id of the student, the content, and what was cut from it before the common cut."""


class Printing:
    """Draws forms for a school. Every value on paper has passed the policy twice: for its reader and for its printer."""

    def __init__(
        self,
        door: Door,
        forms: Catalogue | None,
        notice: Callable[[Call, str], tuple[str, pb.Notice]],
        ask_again_after: Callable[[], timedelta],
    ) -> None:
        """``notice`` finds a notice of the caller by name: (student, notice); after a refusal of consent no form is
        printed for ``ask_again_after``."""
        self._ask_again_after = ask_again_after
        self.door = door
        self.forms = forms
        self._notice = notice

    def render(self, request: rpc.RenderDocumentRequest, call: Call) -> rpc.RenderDocumentResponse:
        """Find, cut, journal (the edge does, from ``call.view``), draw."""
        if self.forms is None:
            raise Refusal(
                "FAILED_PRECONDITION", "FORMS", "name the folder of templates under `documents` in gateway.yaml"
            )
        if not request.subject.startswith(_KINDS[request.kind]):
            raise Refusal(
                "INVALID_ARGUMENT", "SUBJECT", f"the subject of this kind of form is {_KINDS[request.kind]}{{id}}"
            )
        if request.kind == pb.DOCUMENT_KIND_NOTICE:
            student, content, withheld = self._of_notice(request, call)
        elif request.kind == pb.DOCUMENT_KIND_CONSENT:
            student, content, withheld = self._of_consent(request, call)
        else:
            student, content, withheld = self._of_referral(request, call)
        outcome = ref.Outcome()
        outcome.CopyFrom(content.referral.outcome)  # cut already, for a purpose of its own
        if content.referral.HasField("outcome"):
            content.referral.ClearField("outcome")
        content.day = local_date(call.reading.now_us).isoformat()
        withheld += _told(redact(content, self.forms.masks.get(request.kind, 0)), "NOT_IN_POLICY")
        withheld += call.view(content, student=student)
        if outcome.ByteSize():
            redact(outcome, self.forms.masks.get(request.kind, 0))
            content.referral.outcome.CopyFrom(outcome)
        printed = print_form(self.forms, request.kind, content, _language(request), withheld, call.reading.now_us)
        response = rpc.RenderDocumentResponse(
            pdf=printed.pdf, form_version=printed.form_version, text_sha256=printed.text_sha256,
            missing_glyphs=printed.missing, withheld=withheld, form_sha256=printed.form_sha256,
        )  # fmt: skip
        call.view(response, student=student)
        return response

    def _of_notice(self, request: rpc.RenderDocumentRequest, call: Call) -> Found:
        student, notice = self._notice(call, request.subject)
        if notice.state == pb.NOTICE_STATE_REVOKED:
            raise Refusal("FAILED_PRECONDITION", "STATE", "the notice is revoked: issue a new one")
        record = self.door.students.load(call.reading, student, call.caller.agency)
        by_name(record, notice.guardian)  # flagged since it was issued: it must not be printed for that guardian
        return student, notice_content(notice, record, call.caller, self._titles(request)), []

    def _of_consent(self, request: rpc.RenderDocumentRequest, call: Call) -> Found:
        recipient = self.door.registry.find(request.consent.recipient)
        if recipient is None or recipient.agency != recipient.id:
            raise Refusal("NOT_FOUND", "RECIPIENT", "no such partner agency")
        if not request.consent.classes:
            raise Refusal("INVALID_ARGUMENT", "CONSENT", "say in `consent` what is asked for, of whom, and until when")
        if FIELD_CLASS_COUNSELLING_NOTE in request.consent.classes:
            raise Refusal("INVALID_ARGUMENT", "CLASS_NEVER_SHARED", "counselling notes are never shared")
        known = self.door.students.resolve(call.reading, call.caller, StudentRef(name=request.subject))
        check_asked_again(
            call.reading, student=known.id, recipient=recipient.id, purpose=request.consent.purpose,
            wait=self._ask_again_after(), at_family_request=request.consent.at_family_request,
        )  # fmt: skip
        content = pb.DocumentContent(
            student=self.door.students.load(call.reading, known.id, call.caller.agency), consent=request.consent,
            issuer_title=self._title(call.caller, request), recipient_title=recipient.names.get(_language(request), ""),
        )  # fmt: skip
        return known.id, content, []

    def _of_referral(self, request: rpc.RenderDocumentRequest, call: Call) -> Found:
        row = own_row(call, tables.referrals, request.subject.removeprefix("referrals/"), "REFERRAL", "")
        if row["sender"] != call.caller.agency:
            raise Refusal("NOT_FOUND", "REFERRAL", "no such referral for this caller")
        student, recipient = str(row["student"]), self.door.registry.find(str(row["recipient"]))
        if recipient is None:
            raise Refusal("NOT_FOUND", "RECIPIENT", "the recipient is no longer a partner")
        referral = self.door.keys.record(ref.Referral, row, table="referrals")
        referral.name = request.subject
        del referral.earlier_outcomes[:]
        content = pb.DocumentContent(
            student=self.door.students.load(call.reading, student, call.caller.agency), referral=referral,
            issuer_title=self._title(call.caller, request), recipient_title=recipient.names.get(_language(request), ""),
        )  # fmt: skip
        if request.kind == pb.DOCUMENT_KIND_FEEDBACK:
            if not referral.HasField("outcome"):
                raise Refusal("FAILED_PRECONDITION", "STATE", "the hospital has not reported an outcome yet")
            # What a hospital found is the hospital's: the school prints of it what EDUCATION allows.
            lost = call.view(content.referral.outcome, student=student, purpose=PURPOSE_EDUCATION)
            return student, content, [_below(item, "referral.outcome.") for item in lost]
        content.referral.ClearField("outcome")
        purpose = self.door.policy.referral_purpose(recipient.roles)
        mask, denials = self.door.permitted(
            call.reading, recipient=recipient, purpose=purpose, student=student, relation="PARTY",
            basis=referral.basis,
        )  # fmt: skip
        if not mask >> FIELD_CLASS_IDENTITY & 1:  # a slip that does not say whom it is about helps nobody
            raise denial(denials[FIELD_CLASS_IDENTITY].reason, recipient, purpose, student, referral.basis)
        lost, _ = self.door.view(
            call.reading, content, caller=recipient, purpose=purpose, student=student, relation="PARTY",
            basis=referral.basis,
        )  # fmt: skip
        found = self.door.bases.get(referral.basis)
        if found is not None:  # people read an article, not the id of a registry
            content.referral.basis = found.citation.get(_language(request), referral.basis)
        return student, content, lost

    def _title(self, caller: Partner, request: rpc.RenderDocumentRequest) -> str:
        agency = self.door.registry.find(caller.agency)
        return (agency or caller).names.get(_language(request), "")

    def _titles(self, request: rpc.RenderDocumentRequest) -> dict[str, str]:
        return {partner.id: partner.names.get(_language(request), "") for partner in self.door.registry.all()}


def notice_content(
    notice: pb.Notice, student: Student, caller: Partner, titles: Mapping[str, str]
) -> pb.DocumentContent:
    """What a 告知书 says: the student by name, school and class, not by number; one guardian, not all."""
    content = pb.DocumentContent(
        notice=notice, student=student, issuer_title=titles.get(caller.agency) or student.school_title
    )
    content.notice.hospitals[:] = [titles.get(hospital, hospital) for hospital in notice.hospitals]
    content.student.ClearField("guardians")
    content.student.ClearField("national_id")
    content.student.ClearField("local_id")
    return content


def _language(request: rpc.RenderDocumentRequest) -> str:
    return "en" if request.language == pb.DOCUMENT_LANGUAGE_EN else "zh"


def _told(kept: list[Kept], reason: str) -> list[Withheld]:
    return [
        Withheld(field=item.path, field_class=FieldClass.ValueType(item.field_class), reason=reason) for item in kept
    ]


def _below(item: Withheld, path: str) -> Withheld:
    return Withheld(field=path + item.field, field_class=item.field_class, reason=item.reason)
