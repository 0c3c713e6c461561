"""Scenes with the other agencies: what they notice, what they are asked to do, and what they did."""

import secrets
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

from xinqiao.api.casefile.v1 import (
    casefile_pb2,
    casefile_service_pb2,
    plan_service_pb2,
    sharing_pb2,
    team_pb2,
    team_service_pb2,
)
from xinqiao.api.casefile.v1.plan_service_pb2_grpc import CasePlanServiceStub
from xinqiao.api.casefile.v1.team_service_pb2_grpc import CareTeamServiceStub
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.common.v1.types_pb2 import Student, StudentRef
from xinqiao.api.exchange.v1 import report_service_pb2
from xinqiao.api.exchange.v1.report_service_pb2_grpc import ReportServiceStub
from xinqiao.api.referral.v1 import referral_pb2, referral_service_pb2
from xinqiao.api.screening.v1 import screening_pb2, screening_service_pb2
from xinqiao.cli.demo.agencies import GRID, HOTLINE, PLATFORM, POLICE, SOCIAL_WORK, WOMEN, YOUTH
from xinqiao.cli.demo.clients import everything
from xinqiao.cli.demo.deployment import SCHOOL
from xinqiao.cli.demo.referral_scenes import give_consent
from xinqiao.cli.demo.stage import BEGIN, DEADLINE_S, Stage, key, wind
from xinqiao.contract.clock import BEIJING, from_us, to_us
from xinqiao.disclosure.door import words
from xinqiao.store import tables
from xinqiao.store.claims import DeliveryState
from xinqiao.store.sql import RowMapping, func, select

_DAY_US: Final = 86_400_000_000
_CARE: Final = [
    options.FIELD_CLASS_CASE_REF,
    options.FIELD_CLASS_IDENTITY,
    options.FIELD_CLASS_CONTACT,
    options.FIELD_CLASS_CARE_TASK,
]
_SUPPORT: Final[Mapping[str, str]] = {
    WOMEN: "每周一次家庭教育指导，帮助母子沟通",
    SOCIAL_WORK: "驻校社工每周陪伴一次",
    PLATFORM: "核实困境儿童津贴，减免课后托管费",
}
_WHAT: Final[Mapping[str, str]] = {
    GRID: "本周上门一次，问问睡眠",
    HOTLINE: "三天内回访一次，确认有人陪伴",
    YOUTH: "周末课业辅导，一名大学生志愿者",
}


def police(stage: Stage) -> None:
    """The 110 centre names a child on a bridge as it was told; a person takes it, and the centre hears that."""
    centre = stage.deployment.others.get(POLICE)
    student = _somebody(stage, 0)
    if centre is None or student is None:
        return
    centre.connect(stage.deployment.others.receivers[POLICE])
    described = {
        "school_code": student.school, "full_name": student.family_name + student.given_name,
        "birth_date": student.birth_date,
    }  # fmt: skip
    begin = time.monotonic()
    centre.alert(
        "J-2026-1013", kind="SUICIDAL", facts="群众报警：河边有学生独自徘徊", location="玉山大桥", student=described
    )
    found = _until(stage, lambda: _signal(stage))
    took = time.monotonic() - begin
    stage.clients.screening.AcknowledgeSignal(
        screening_service_pb2.AcknowledgeSignalRequest(request_id=key("taken", found.name), name=found.name),
        timeout=DEADLINE_S,
    )
    stage.quiet()
    told = any(each.type == "alert.taken" for each in centre.received)
    stage.tell(
        f"110 推送警情 {took:.2f} 秒后成为红色信号；校方接手，110 收到回执: {'是' if told else '否'}",
        f"an alert of the 110 centre was a red signal after {took:.2f} s; taken by the school, and the centre told: {told}",
    )


def team(stage: Stage) -> None:
    """A care team with tasks for the grid and the hotline; the hotline's system goes down that very day."""
    student, members = _somebody(stage, 1), _members(stage)
    if student is None or not members:
        return
    for agency, _ in members:
        _care(stage, student.name, agency)
    plans, teams = CasePlanServiceStub(stage.clients.psychologist), CareTeamServiceStub(stage.clients.psychologist)
    ref = StudentRef(name=student.name)
    plans.OpenPlan(
        plan_service_pb2.OpenPlanRequest(request_id=key("plan", student.name), student=ref, reason="DEMO"),
        timeout=DEADLINE_S,
    )
    made = teams.OpenTeam(
        team_service_pb2.OpenTeamRequest(request_id=key("team", student.name), student=ref), timeout=DEADLINE_S
    ).team
    _play(stage, HOTLINE, "down", times=0)
    for agency, role in members:
        until_us = to_us(BEGIN) + 20 * _DAY_US
        teams.AddMember(
            team_service_pb2.AddMemberRequest(
                request_id=key(f"member-{agency}", made.name), team=made.name, recipient=agency, role=role,
                not_after_us=until_us, reason="CARE_TEAM",
            ),
            timeout=DEADLINE_S,
        )  # fmt: skip
        teams.AssignTask(
            team_service_pb2.AssignTaskRequest(
                request_id=key(f"task-{agency}", made.name), team=made.name, holder=agency,
                due_us=to_us(BEGIN) + 7 * _DAY_US, what=_WHAT[agency],
            ),
            timeout=DEADLINE_S,
        )  # fmt: skip
    time.sleep(0.5)
    who = "、".join(stage.name(agency) for agency, _ in members)
    stage.tell(
        f"关爱小组成立，任务派给 {who}; 热线系统当天中断，任务在本网关等候",
        f"a care team is formed, with tasks for {who}; the hotline's system goes down: its task waits here",
    )


def support(stage: Stage) -> None:
    """The family of the first referral is supported: each agency is asked for its own, and told nothing clinical."""
    triage = stage.red(0)
    asked = [agency for agency in _SUPPORT if stage.deployment.others.get(agency) is not None]
    if triage is None or not asked:
        return
    for agency in asked:
        _care(stage, triage.student, agency)
        request = referral_service_pb2.CreateReferralRequest(
            request_id=key(f"support-{agency}", triage.name), recipient=agency, triage=triage.name,
            urgency=referral_pb2.URGENCY_ROUTINE, reason="见量表与访谈", support=_SUPPORT[agency],
        )  # fmt: skip
        request.student.name = triage.student
        created = stage.clients.referrals.CreateReferral(request, timeout=DEADLINE_S)
        stage.wait(created.referral.name, referral_pb2.REFERRAL_STATE_RECEIVED)
        kept = words(list(created.withheld)) or "-"
        stage.tell(
            f"{stage.name(agency)}：“{_SUPPORT[agency]}”；未给出: {kept}",
            f"{stage.name(agency)} is asked for support; kept back: {kept}",
        )


def counts(stage: Stage) -> None:
    """The month in figures, as it may leave the bureau: what was done, and no table in which anybody could be found."""
    youth = stage.deployment.others.get(YOUTH)
    if youth is not None:
        youth.month("blue-2026-10", "2026-10", 4, 57)
    made = report_service_pb2.Report()
    for _ in range(30):
        stage.gateway.read_all()
        made = ReportServiceStub(stage.clients.operator).MakeReport(
            report_service_pb2.MakeReportRequest(request_id=f"demo.{secrets.token_hex(4)}", report="monthly", period="2026-10"),
            timeout=DEADLINE_S,
        ).report  # fmt: skip
        if youth is None or any(each.id == "volunteering" and each.value for each in made.figures):
            break
        time.sleep(0.1)
    said = [
        f"{each.name_zh if stage.zh else each.name_en} {each.value} {each.unit_zh if stage.zh else each.unit_en}"
        for each in made.figures if each.value
    ]  # fmt: skip
    blank = sum(cell < 0 for table in made.statistics for cell in table.cells)
    stage.tell(
        f"月度报告: {'、'.join(said) or '无'}; 统计表 {len(made.statistics)} 张，其中 {blank} 格人数过少不显示",
        f"monthly report: {', '.join(said) or 'nothing'}; {len(made.statistics)} tables, {blank} cells blank: too few",
    )


def back(stage: Stage) -> None:
    """Three days later the hotline is back: nothing is lost, nothing doubled, and both say what they did."""
    hotline, grid = stage.deployment.others.get(HOTLINE), stage.deployment.others.get(GRID)
    student = _somebody(stage, 1)
    if student is None or hotline is None:
        return
    tries = max((int(row["attempt"]) for row in _tasks_of(stage, HOTLINE)), default=0)
    hotline.calm()
    for _ in range(20):
        if all(row["state"] == int(DeliveryState.DELIVERED) for row in _tasks_of(stage, HOTLINE)):
            break
        time.sleep(0.5)  # the breaker lets the next try through after a second
        stage.gateway.read_all()
        wind(stage.gateway, stage.clock, from_us(stage.clock.now_us()) + timedelta(minutes=1))  # which is due then
    tasks = [str(task) for task in hotline.callbacks]
    stage.tell(
        f"热线中断三天后恢复：其间尝试 {tries} 次，恢复后送达 {len(tasks)} 件，无丢失、无重复",
        f"the hotline is back after three days: tried {tries} times meanwhile, {len(tasks)} delivered, none lost or doubled",
    )
    now = from_us(stage.clock.now_us()).astimezone(BEIJING)
    _play(stage, HOTLINE, "duplicate", times=0)
    mine = stage.gateway.door.students.name(HOTLINE, _inside(stage, student))
    for number, task in enumerate(tasks):
        hotline.call(
            f"C-2026-{number}", now - timedelta(hours=1), topic="none", task=task, closed="是",
            student=mine,
        )  # fmt: skip
    youth = stage.deployment.others.get(YOUTH)
    if youth is not None:
        for request in list(youth.requests):
            youth.tell(request, "found", group="blue-team")
    if grid is not None:
        told = stage.gateway.door.students.name(GRID, _inside(stage, student))
        grid.visit(
            "V-2026-1", told, day=f"{now:%Y-%m-%d}", observed="祖母照看，情绪平稳", need="课后陪伴",
            task=next(f"tasks/{row['item'].removeprefix('tasks/')}" for row in _tasks_of(stage, GRID)),
        )  # fmt: skip
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and _open_tasks(stage):
        stage.gateway.read_all()
        time.sleep(0.1)
    stage.tell(
        f"网格走访与热线回访记入一生一策；热线每条记录发两遍，各计一次；未办任务 {_open_tasks(stage)} 件",
        f"the grid's visit and the hotline's call-back are in the plan; it says everything twice, each counts once;"
        f" open tasks: {_open_tasks(stage)}",
    )


def _members(stage: Stage) -> "list[tuple[str, sharing_pb2.MemberRole.ValueType]]":
    roles = {
        GRID: sharing_pb2.MEMBER_ROLE_GRID_MEMBER,
        HOTLINE: sharing_pb2.MEMBER_ROLE_HOTLINE,
        YOUTH: sharing_pb2.MEMBER_ROLE_YOUTH_LEAGUE,
    }
    return [(agency, role) for agency, role in roles.items() if stage.deployment.others.get(agency) is not None]


def _care(stage: Stage, student: str, recipient: str) -> None:
    """The family agrees to what a member of the care team needs."""
    consent = casefile_service_pb2.RecordConsentRequest(request_id=key(f"care-{recipient}", student))
    consent.student.name = student
    consent.consent.recipient, consent.consent.purpose = recipient, options.PURPOSE_CARE
    consent.consent.classes.extend(_CARE)
    consent.consent.not_after_us = to_us(BEGIN) + 180 * _DAY_US
    consent.consent.signer, consent.consent.state = casefile_pb2.SIGNER_BOTH, casefile_pb2.CONSENT_STATE_GIVEN
    give_consent(stage, consent)


def _play(stage: Stage, agency: str, fault: str, *, times: int) -> None:
    simulator = stage.deployment.others.get(agency)
    if simulator is not None:
        simulator.play(fault, times=times)


def _tasks_of(stage: Stage, agency: str) -> list[RowMapping]:
    d = tables.deliveries
    with stage.gateway.store.read() as reading:
        return list(reading.all(d.select().where((d.c.recipient == agency) & (d.c.kind == "task"))))


def _open_tasks(stage: Stage) -> int:
    t = tables.tasks.c
    with stage.gateway.store.read() as reading:
        wanted = tables.tasks.select().with_only_columns(func.count()).where(t.state == int(team_pb2.TASK_STATE_OPEN))
        return int(reading.scalar(wanted) or 0)


def _inside(stage: Stage, student: Student) -> str:
    return stage.gateway.door.students.identified(SCHOOL, student.name.removeprefix("students/"))


def _signal(stage: Stage) -> screening_pb2.Signal | None:
    found = everything(stage.clients.screening.ListSignals, screening_service_pb2.ListSignalsRequest, "signals")
    return next((each for each in found if each.source == screening_pb2.SIGNAL_SOURCE_POLICE), None)


def _somebody(stage: Stage, number: int) -> Student | None:
    """A student of the roster, the same after a restart: the last but ``number``, so that no red case is theirs."""
    s, t = tables.students.c, tables.triages.c
    screened = select(t.student).where(t.subject.like("assessments/%"))  # what the story itself adds changes nobody
    with stage.gateway.store.read() as reading:
        rows = reading.all(select(s.id).where(s.id.not_in(screened)).order_by(s.id.desc()).limit(number + 40))
        for row in rows[number:]:
            student = stage.gateway.door.students.load(reading, str(row["id"]), SCHOOL)
            if student.family_name and student.birth_date:
                return student
    return None


def _until(stage: Stage, look: Callable[[], screening_pb2.Signal | None]) -> screening_pb2.Signal:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        stage.gateway.read_all()
        time.sleep(0.05)
    raise RuntimeError("what a partner sent did not arrive")
