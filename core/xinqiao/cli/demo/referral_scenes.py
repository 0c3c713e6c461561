"""Scenes between school and hospital: with consent, without, in a crisis, and what comes back."""

import hashlib
import time
from datetime import timedelta
from typing import Any, Final

import grpc

from xinqiao.api.casefile.v1 import casefile_pb2, casefile_service_pb2, consent_pb2
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.referral.v1 import (
    notice_pb2,
    notice_service_pb2,
    referral_pb2,
    referral_service_pb2,
    return_pb2,
    return_service_pb2,
)
from xinqiao.api.screening.v1 import screening_pb2
from xinqiao.cli.demo.clients import everything, reason_of
from xinqiao.cli.demo.deployment import HOSPITAL
from xinqiao.cli.demo.stage import BEGIN, DEADLINE_S, Stage, key
from xinqiao.contract.clock import BEIJING, from_us, local_date, to_us
from xinqiao.disclosure.door import words

OUTCOME: Final = BEGIN + timedelta(days=7, hours=6)
_DAY_US: Final = 86_400_000_000
_REPORTED: Final = (referral_pb2.REFERRAL_STATE_OUTCOME_REPORTED, referral_pb2.REFERRAL_STATE_CLOSED)
_SHARED: Final = [
    options.FIELD_CLASS_CASE_REF,
    options.FIELD_CLASS_IDENTITY,
    options.FIELD_CLASS_CONTACT,
    options.FIELD_CLASS_SCHOOL,
    options.FIELD_CLASS_TIER,
    options.FIELD_CLASS_SCORES,
    options.FIELD_CLASS_REFERRAL_REASON,
    options.FIELD_CLASS_CONSENT_EVIDENCE,
]


def give_consent(stage: Stage, request: casefile_service_pb2.RecordConsentRequest) -> None:
    """Print the form, have it signed and witnessed, and cite exactly what was printed; once, also when played again."""
    case = stage.clients.cases.GetCase(casefile_service_pb2.GetCaseRequest(student=request.student), timeout=DEADLINE_S)
    if any(each.recipient == request.consent.recipient for each in case.case.consents):
        return
    consent = request.consent
    asked = notice_pb2.ConsentAsked(
        recipient=consent.recipient, purpose=consent.purpose, classes=consent.classes,
        last_day=local_date(consent.not_after_us).isoformat(),
    )  # fmt: skip
    form = stage.clients.notices.RenderDocument(
        notice_service_pb2.RenderDocumentRequest(
            kind=notice_pb2.DOCUMENT_KIND_CONSENT, subject=request.student.name, consent=asked
        ),
        timeout=DEADLINE_S,
    )
    signing = next((g for g in case.case.student.guardians if not g.in_conflict), None)
    consent.form_version = form.form_version
    consent.evidence_sha256 = hashlib.sha256(form.pdf).digest()
    consent.evidence.form_sha256, consent.evidence.text_sha256 = form.form_sha256, form.text_sha256
    consent.evidence.channel, consent.evidence.witness = consent_pb2.CONSENT_CHANNEL_PAPER, "陈老师 Ms Chen"
    consent.evidence.guardian_name = signing.full_name if signing else "监护人 guardian"
    consent.evidence.guardian_relation = (signing.relation if signing else "") or "监护人 guardian"
    stage.clients.cases.RecordConsent(request, timeout=DEADLINE_S)


def refer(stage: Stage) -> None:
    """A consent names recipient, purpose and classes; the hospital gets exactly those."""
    triage = stage.red(0)
    if triage is None:
        return
    consent = casefile_service_pb2.RecordConsentRequest(request_id=key("consent", triage.name))
    consent.student.name = triage.student
    consent.consent.recipient = HOSPITAL
    consent.consent.purpose = options.PURPOSE_TREATMENT
    consent.consent.classes.extend(_SHARED)
    consent.consent.not_after_us = to_us(BEGIN) + 180 * _DAY_US
    consent.consent.signer = casefile_pb2.SIGNER_BOTH
    consent.consent.state = casefile_pb2.CONSENT_STATE_GIVEN
    give_consent(stage, consent)
    created = stage.clients.referrals.CreateReferral(
        _referral(stage, triage, referral_pb2.URGENCY_URGENT, "情绪持续低落，量表提示需专业评估"), timeout=DEADLINE_S
    )
    stage.wait(created.referral.name, referral_pb2.REFERRAL_STATE_RECEIVED)
    stage.deployment.hospital.accept_all()
    stage.gateway.read_all()
    stage.wait(created.referral.name, referral_pb2.REFERRAL_STATE_ACCEPTED)
    kept = words(list(created.withheld)) or "-"
    stage.tell(
        f"转介送达并被医院接受 (FHIR R4); 未给出: {kept}",
        f"referral delivered and accepted by the hospital (FHIR R4); kept back: {kept}",
    )


def refuse(stage: Stage) -> None:
    """The same request for another student, whose family was not asked."""
    triage = stage.red(1)
    if triage is None:
        return
    request = _referral(stage, triage, referral_pb2.URGENCY_URGENT, "情绪持续低落")
    try:
        stage.clients.referrals.CreateReferral(request, timeout=DEADLINE_S)
    except grpc.RpcError as error:
        stage.tell(
            f"拒绝: {reason_of(error)}; 已记入存证日志",
            f"refused: {reason_of(error)}; the journal has a row for it",
        )
        return
    raise RuntimeError("a referral without consent went out")


def crisis(stage: Stage) -> None:
    """Life safety needs no consent, but facts, a citation, and the family told within 24 hours."""
    triage = stage.red(2)
    if triage is None:
        return
    request = _referral(stage, triage, referral_pb2.URGENCY_EMERGENCY, "危机")
    request.crisis_facts = "班主任发现告别留言，学生已由两名老师陪护"
    request.basis = "life-safety"
    begin = time.monotonic()
    created = stage.clients.referrals.CreateReferral(request, timeout=DEADLINE_S)
    stage.wait(created.referral.name, referral_pb2.REFERRAL_STATE_RECEIVED)
    took = time.monotonic() - begin
    citation = stage.gateway.door.bases["life-safety"].citation["zh" if stage.zh else "en"]
    kept = words(list(created.withheld)) or "-"
    stage.tell(
        f"危机通道 {took:.2f} 秒送达医院; 依据: {citation}; 未给出: {kept}",
        f"at the hospital in {took:.2f} s by the crisis lane; basis: {citation}; kept back: {kept}",
    )
    stage.clients.cases.DischargeDuty(
        casefile_service_pb2.DischargeDutyRequest(
            request_id=key("duty", created.duty), name=created.duty, how="电话告知监护人，已确认"
        ),
        timeout=DEADLINE_S,
    )
    stage.tell("24 小时内告知监护人的义务: 已办结", "the duty to tell the family within 24 h: discharged")
    stage.deployment.hospital.accept_all()
    stage.gateway.read_all()


def outcome(stage: Stage) -> None:
    """Five days later the hospital reports; the school is told what class needs."""
    hospital = stage.deployment.hospital
    hospital.schedule_all()
    hospital.attend_all()
    hospital.report_outcomes()
    deadline = time.monotonic() + DEADLINE_S
    mine: list[referral_pb2.Referral] = []
    while time.monotonic() < deadline:
        stage.gateway.read_all()
        sent = everything(stage.clients.referrals.ListReferrals, referral_service_pb2.ListReferralsRequest, "referrals")
        mine = [each for each in sent if each.recipient == HOSPITAL]
        if all(r.state in _REPORTED for r in mine) and stage.deployment.school.received():
            break
        time.sleep(0.2)
    else:
        raise RuntimeError(f"not every outcome was reported and told to the school within {DEADLINE_S:.0f} s")
    done = [r for r in mine if r.state == referral_pb2.REFERRAL_STATE_OUTCOME_REPORTED]
    for referral in done:
        stage.clients.referrals.AdvanceReferral(
            referral_service_pb2.AdvanceReferralRequest(
                request_id=key("close", referral.name), name=referral.name,
                event=referral_pb2.REFERRAL_EVENT_CLOSE,
            ),
            timeout=DEADLINE_S,
        )  # fmt: skip
    if mine:
        seen = mine[-1].outcome
        stage.tell(
            f"学校得到建议「{seen.school_advice}」, 诊断{'已给出' if seen.diagnosis else '未给出'}; "
            f"平台收到 {len(stage.deployment.school.received())} 条进展与反馈",
            f"the school is told: “{seen.school_advice}”; diagnosis {'shown' if seen.diagnosis else 'not shown'}; "
            f"its platform got {len(stage.deployment.school.received())} updates",
        )


def _referral(
    stage: Stage, triage: screening_pb2.Triage, urgency: referral_pb2.Urgency.ValueType, reason: str
) -> referral_service_pb2.CreateReferralRequest:
    request = referral_service_pb2.CreateReferralRequest(
        request_id=key("refer", triage.name), recipient=HOSPITAL, triage=triage.name, urgency=urgency,
        reason=reason, note="只留在学校的记录",
    )  # fmt: skip
    request.student.name = triage.student
    return request


def leave(stage: Stage) -> None:
    """The student of the crisis goes on leave, on the hospital's word; the way back is held from that day on."""
    triage = stage.red(2)
    if triage is None:
        return
    service = stage.clients.returns
    request = return_service_pb2.OpenReturnRequest(
        request_id=key("return", triage.name), triage=triage.name, found="医院建议暂停到校，家长希望休学一个月"
    )
    request.student.name = triage.student
    plan = service.OpenReturn(request, timeout=DEADLINE_S).plan
    day = local_date(to_us(OUTCOME))
    opinion = return_pb2.ProfessionalOpinion(
        institution="昆山示范精神卫生中心", doctor="王医生", day=day.isoformat(), grade=return_pb2.OPINION_GRADE_LEAVE
    )
    dates = return_pb2.LeaveDates(first_day=day.isoformat(), last_day=(day + timedelta(days=30)).isoformat())
    steps: list[tuple[return_pb2.ReturnEvent.ValueType, dict[str, Any]]] = [
        (return_pb2.RETURN_EVENT_ASSESS_LEAVE, {"opinion": opinion}),
        (return_pb2.RETURN_EVENT_TALK, {"reason": "与家长商定：休学一个月，每周一次家访，提前半月申请复学"}),
        (return_pb2.RETURN_EVENT_APPLY_LEAVE, {"leave": dates}),
        (return_pb2.RETURN_EVENT_START_LEAVE, {}),
    ]
    for event, given in steps:
        advance = return_service_pb2.AdvanceReturnRequest(
            request_id=key(f"return.{event}", plan.name), name=plan.name, event=event, **given
        )
        plan = service.AdvanceReturn(advance, timeout=DEADLINE_S).plan
    held = next(h for h in stage.holdings() if h.item == plan.name)
    until = from_us(held.deadline_us).astimezone(BEIJING)
    stage.tell(
        f"休学四步走完，休到 {dates.last_day}; 复学由 {held.holder} 盯到 {until:%m-%d %H:%M}: 提交复学材料",
        f"the four steps of a leave are done, it lasts until {dates.last_day}; {held.holder} holds the return:"
        f" materials by {until:%m-%d %H:%M}",
    )
