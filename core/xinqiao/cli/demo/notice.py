"""One call for the story: a notice issued, printed, served, and shown at the hospital's counter, all over the wire."""

import uuid
from dataclasses import dataclass
from pathlib import Path

import grpc

from xinqiao.api.referral.v1 import notice_pb2 as pb
from xinqiao.api.referral.v1 import notice_service_pb2 as rpc
from xinqiao.api.referral.v1.notice_service_pb2_grpc import NoticeServiceStub

_DEADLINE_S = 20


@dataclass(frozen=True, slots=True)
class Told:
    """What happened: the notice as it stands, the paper, and what the hospital learnt from its code."""

    notice: pb.Notice
    file: Path
    verdict: str
    priority_due: bool


def tell_guardian(
    psychologist: grpc.Channel, hospital: grpc.Channel, *, student: str, triage: str, observed_behaviour: str,
    advice: str, file: Path, key: str = "", language: pb.DocumentLanguage.ValueType = pb.DOCUMENT_LANGUAGE_ZH,
) -> Told:  # fmt: skip
    """Tell the first guardian of ``student`` (`students/{pseudonym}`); write the PDF to ``file``, and its code beside it.

    The hospital reads the code. The same ``key`` again issues and serves nothing twice.
    Raises grpc.RpcError: FAILED_PRECONDITION/NO_GUARDIAN where the roster brought no guardian.
    """
    key = key or f"demo.{uuid.uuid4().hex}"
    school = NoticeServiceStub(psychologist)
    request = rpc.IssueNoticeRequest(
        request_id=key, triage=triage, observed_behaviour=observed_behaviour, advice=advice
    )
    request.student.name = student
    notice = school.IssueNotice(request, timeout=_DEADLINE_S).notice
    asked = rpc.RenderDocumentRequest(kind=pb.DOCUMENT_KIND_NOTICE, subject=notice.name, language=language)
    file.write_bytes(school.RenderDocument(asked, timeout=_DEADLINE_S).pdf)
    file.with_suffix(".code").write_text(notice.short_form)
    receipt = pb.NoticeReceipt(
        channel=pb.SERVICE_CHANNEL_IN_PERSON, signer=notice.guardian, time_us=notice.issue_time_us
    )
    served = rpc.ServeNoticeRequest(request_id=f"{key}.served", name=notice.name, receipt=receipt)
    school.ServeNotice(served, timeout=_DEADLINE_S)
    scanned = rpc.VerifyNoticeRequest(short_form=notice.short_form)
    answer = NoticeServiceStub(hospital).VerifyNotice(scanned, timeout=_DEADLINE_S)
    shown = school.GetNotice(rpc.GetNoticeRequest(name=notice.name), timeout=_DEADLINE_S).notice
    verdict = pb.NoticeVerdict.Name(answer.verdict).removeprefix("NOTICE_VERDICT_")
    return Told(shown, file, verdict, answer.priority_due)
