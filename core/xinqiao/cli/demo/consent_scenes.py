"""Scenes about consent: taken back, recalled from the hospital, and an emergency access that two persons answer for."""

import time

from xinqiao.api.casefile.v1 import casefile_pb2, casefile_service_pb2, consent_service_pb2
from xinqiao.api.casefile.v1.consent_service_pb2_grpc import ConsentServiceStub
from xinqiao.cli.demo.deployment import HOSPITAL
from xinqiao.cli.demo.stage import DEADLINE_S, Stage, key
from xinqiao.store import tables


def withdraw(stage: Stage) -> None:
    """The family of the first referral takes its consent back; the hospital deletes, and signs that it has."""
    triage = stage.red(0)
    if triage is None:
        return
    asked = casefile_service_pb2.GetCaseRequest()
    asked.student.name = triage.student
    case = stage.clients.cases.GetCase(asked, timeout=DEADLINE_S).case
    mine = (casefile_pb2.CONSENT_STATE_GIVEN, casefile_pb2.CONSENT_STATE_WITHDRAWN)  # withdrawn: played before
    name = next(consent.name for consent in case.consents if consent.state in mine)
    stage.clients.cases.WithdrawConsent(
        casefile_service_pb2.WithdrawConsentRequest(request_id=key("withdraw", name), name=name), timeout=DEADLINE_S
    )
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found = stage.clients.consents.GetWithdrawal(
            consent_service_pb2.GetWithdrawalRequest(name=name), timeout=DEADLINE_S
        )
        if found.done:
            stage.tell(
                f"撤回即刻生效；{len(found.recalls)} 个接收方已删除并签名回执",
                f"effective at once; {len(found.recalls)} recipient has deleted what it had, and signed for it",
            )
            return
        stage.deployment.hospital.answer_recalls()
        stage.gateway.read_all()
        time.sleep(0.1)
    raise RuntimeError("a recall was not answered")


def break_glass(stage: Stage) -> None:
    """The hospital needs to reach the family of the student in crisis, at night; the psychologist decides on it."""
    triage = stage.red(2)
    if triage is None:
        return
    with stage.gateway.store.read() as reading:
        row = reading.get(tables.triages, triage.name.removeprefix("triages/"))
    assert row is not None
    request = consent_service_pb2.BreakGlassRequest(
        request_id=key("override", triage.name), basis="life-safety", facts="学生夜间来院，情绪失控，需立即联系家人"
    )
    request.student.name = stage.gateway.door.students.name(HOSPITAL, str(row["student"]))
    seen = ConsentServiceStub(stage.clients.hospital).BreakGlass(request, timeout=DEADLINE_S)
    stage.clients.consents.DecideOverride(
        consent_service_pb2.DecideOverrideRequest(
            request_id=key("decide", seen.override), name=seen.override, approve=True, note="情况属实"
        ),
        timeout=DEADLINE_S,
    )
    stage.tell(
        "医院依法查看必要信息；另一人已审批；监护人待告知",
        "the hospital saw the least it needed under the law; a second person approved; the guardians are to be told",
    )
