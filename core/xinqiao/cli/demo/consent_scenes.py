"""Scenes about consent: taken back and recalled, an emergency access two persons answer for, and who saw what in all."""

import time
from functools import partial

from xinqiao.api.casefile.v1 import casefile_pb2, casefile_service_pb2, consent_pb2, consent_service_pb2
from xinqiao.api.casefile.v1.consent_service_pb2_grpc import ConsentServiceStub
from xinqiao.api.common.v1.types_pb2 import StudentRef
from xinqiao.cli.demo import tables as show
from xinqiao.cli.demo.clients import everything
from xinqiao.cli.demo.deployment import HOSPITAL, SCHOOL
from xinqiao.cli.demo.stage import DEADLINE_S, Stage, key
from xinqiao.contract.recall import open_receipt
from xinqiao.disclosure.door import words
from xinqiao.journal.signing import load_public_keys
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
    name = next(each.name for each in case.consents if each.state in mine and each.recipient == HOSPITAL)
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
            for recall in found.recalls:
                _receipt(stage, recall)
            return
        stage.deployment.hospital.answer_recalls()
        stage.gateway.read_all()
        time.sleep(0.1)
    raise RuntimeError("a recall was not answered")


def _receipt(stage: Stage, recall: consent_pb2.Recall) -> None:
    """What the recipient signed, judged by its public key as anybody else could. Raises cryptography's InvalidSignature."""
    public, *_ = load_public_keys(stage.deployment.folder / "pki" / f"{recall.recipient}.receipt.pub")
    signed = open_receipt(recall.receipt, public)
    if signed.recall != recall.name:
        raise RuntimeError("the receipt is for another recall")
    what = stage.texts(f"action.{consent_pb2.RecallAction.Name(signed.action).removeprefix('RECALL_ACTION_').lower()}")
    stage.tell(
        f"回执 {recall.recipient}：{what}，签名经其公钥验证无误",
        f"receipt of {recall.recipient}: {what}; its key says that the signature is good",
    )


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
    decided = stage.clients.consents.DecideOverride(
        consent_service_pb2.DecideOverrideRequest(
            request_id=key("decide", seen.override), name=seen.override, approve=True, note="情况属实"
        ),
        timeout=DEADLINE_S,
    ).override
    kept = words(list(seen.withheld)) or "-"
    stage.tell(
        f"医院依法查看必要信息 ({decided.citation_zh}); 未给出: {kept}",
        f"the hospital saw the least it needed under the law ({decided.citation_en}); kept back: {kept}",
    )
    stage.tell(
        f"另一人 ({decided.decided_by}) 已审批; 监护人待告知",
        f"a second person ({decided.decided_by}) approved; the guardians are to be told",
    )


def statement(stage: Stage) -> None:
    """What the family of the student in crisis may ask for: who saw which fields, when and why; complete, from the journal."""
    triage = stage.red(2)
    if triage is None:
        return
    asked = partial(casefile_service_pb2.ListDisclosuresRequest, student=StudentRef(name=triage.student))
    found = everything(stage.clients.cases.ListDisclosures, asked, "disclosures")
    stage.console.print(show.statement(found, SCHOOL, stage.texts))
    stage.tell(
        f"共 {len(found)} 次披露，每一次都有日志记录，可用 `xinqiao journal prove` 证明",
        f"{len(found)} disclosures in all; each has its row, which `xinqiao journal prove` proves",
    )
