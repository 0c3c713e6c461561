"""Scenes at the school: what comes in, who reports, who confirms, and how the family is told."""

import time
from collections import Counter
from pathlib import Path

import grpc

from xinqiao.api.casefile.v1 import casefile_service_pb2
from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.referral.v1 import notice_pb2, referral_service_pb2
from xinqiao.api.screening.v1 import screening_pb2, screening_service_pb2
from xinqiao.cli.demo import tables as show
from xinqiao.cli.demo.clients import everything, reason_of
from xinqiao.cli.demo.deployment import SCHOOL
from xinqiao.cli.demo.notice import tell_guardian
from xinqiao.cli.demo.stage import DEADLINE_S, Stage, key
from xinqiao.contract.clock import BEIJING, from_us
from xinqiao.server.not_taken import Tally


def intake(stage: Stage, roster: Path | None, scores: Path | None) -> None:
    """Files are dropped into the platform's folder; the adapter reads them and every form is submitted."""
    school = stage.deployment.school
    if roster is None and scores is None:
        school.drop_school(students=120)
    for path in (roster, scores):
        if path is not None:
            school.drop(path)
    tallies: list[Tally] = []
    deadline = time.monotonic() + 45
    while time.monotonic() < deadline:
        tallies.append(stage.gateway.read_all().get(SCHOOL, Tally()))
        if not (tallies[-1].students or tallies[-1].forms or tallies[-1].rejected):
            break
    rejected = [r for tally in tallies for r in tally.rejected]
    count = stage.counts()
    stage.tell(
        f"{count['students']} 名学生, {count['assessments']} 份量表入库, {count['signals']} 个危机信号 (不论总分)",
        f"{count['students']} students, {count['assessments']} forms stored, {count['signals']} crisis signals"
        " (whatever the total)",
    )
    if rejected:
        stage.console.print(show.rejected(rejected[:8], len(rejected), stage.zh))


def confirm(stage: Stage) -> None:
    """She takes each signal and confirms each proposal, the most urgent first."""
    for sign in everything(stage.clients.screening.ListSignals, screening_service_pb2.ListSignalsRequest, "signals"):
        if sign.state == screening_pb2.SIGNAL_STATE_OPEN:
            stage.clients.screening.AcknowledgeSignal(
                screening_service_pb2.AcknowledgeSignalRequest(request_id=key("ack", sign.name), name=sign.name),
                timeout=DEADLINE_S,
            )
    tiers: Counter[int] = Counter()
    for triage in stage.triages():
        if triage.state == screening_pb2.TRIAGE_STATE_PROPOSED:
            triage = stage.clients.screening.ConfirmTier(
                screening_service_pb2.ConfirmTierRequest(
                    request_id=key("confirm", triage.name), name=triage.name, tier=triage.proposed
                ),
                timeout=DEADLINE_S,
            ).triage
        tiers[triage.confirmed] += 1
    listed = ", ".join(f"{stage.texts(f'tier.{tier}')} {count}" for tier, count in sorted(tiers.items(), reverse=True))
    stage.tell(f"机器建议，由人确认: {listed}", f"a machine proposed, a person confirmed: {listed}")


def teacher(stage: Stage) -> None:
    """A class teacher reports a student whom the forms showed as yellow; a classmate's report joins the same case."""
    yellow = [each for each in stage.triages() if each.proposed == types.TIER_YELLOW]
    if not yellow:
        stage.tell("没有黄色个案，跳过", "no yellow case in these files: skipped")
        return
    answers = [
        stage.clients.platform.ReportSignal(
            screening_service_pb2.ReportSignalRequest(
                request_id=key(f"signal.{source}", yellow[0].name),
                student=types.StudentRef(name=yellow[0].student),
                source=source,
                kind=screening_pb2.SIGNAL_KIND_SUICIDAL,
                facts=facts,
            ),
            timeout=DEADLINE_S,
        )
        for source, facts in (
            (screening_pb2.SIGNAL_SOURCE_CLASS_TEACHER, "周记里写了告别的话，课间不与人说话"),
            (screening_pb2.SIGNAL_SOURCE_PEER, "同桌说他把自己的东西都送人了"),
        )
    ]
    first, second = answers
    joined = first.triage.name == second.triage.name
    stage.tell(
        f"班主任的信号开立红色个案 (量表只到黄色); 同学的信号{'并入同一个案' if joined else '另立个案'}，两份来源都保留",
        f"the class teacher's signal opens a red case (the forms said yellow); a classmate's"
        f" {'joins it' if joined else 'opens another'}, both sources stay on record",
    )


def families(stage: Stage) -> None:
    """The guardians of every red case are told within the hour; one gets the notice on paper, and shows it."""
    told = 0
    for held in everything(stage.clients.referrals.ListHoldings, referral_service_pb2.ListHoldingsRequest, "holdings"):
        if held.kind == "duty" and held.step == "guardian":
            stage.clients.cases.DischargeDuty(
                casefile_service_pb2.DischargeDutyRequest(
                    request_id=key("told", held.item), name=held.item, how="心理教师电话告知监护人，已请到校面谈"
                ),
                timeout=DEADLINE_S,
            )
            told += 1
    stage.tell(
        f"红色个案的监护人均已告知 ({told} 项义务办结)",
        f"the guardians of every red case are told ({told} duties discharged)",
    )
    notice(stage)


def notice(stage: Stage) -> None:
    """A notice of mental-health status is issued, printed, served, and its code read at the hospital's counter."""
    triage = stage.red(0)
    if triage is None:
        return
    language = notice_pb2.DOCUMENT_LANGUAGE_ZH if stage.zh else notice_pb2.DOCUMENT_LANGUAGE_EN
    try:
        told = tell_guardian(
            stage.clients.psychologist, stage.clients.hospital, student=triage.student, triage=triage.name,
            observed_behaviour="近三周上课常伏桌、不与同学来往，周记中多次写到“没有意思”",
            advice="请尽快带孩子到医院精神心理科就诊，近期不要让孩子独处，收好家中药品和锐器",
            file=stage.deployment.folder / "notice.pdf", key=key("notice", triage.name), language=language,
        )  # fmt: skip
    except grpc.RpcError as error:
        if not reason_of(error).endswith("/NO_GUARDIAN"):
            raise
        stage.tell("名册中没有监护人，告知书跳过", "the roster has no guardian for a notice: skipped")
        return
    seen = "真实有效" if told.priority_due else told.verdict
    until = from_us(told.notice.expire_time_us).astimezone(BEIJING)
    stage.tell(
        f"告知书 {told.notice.number} 已送达监护人; 医院扫码: {seen}，{until:%m-%d} 前优先接诊",
        f"notice {told.notice.number} served to a guardian; scanned at the hospital: {told.verdict},"
        f" to be seen with priority until {until:%m-%d}",
    )
    stage.tell(f"打印件: {told.file}", f"on paper: {told.file}")
