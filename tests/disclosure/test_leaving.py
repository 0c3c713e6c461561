"""No record that leaves has the school's own number for the student, or a guardian in conflict, whoever gets it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from xinqiao.api.casefile.v1 import consent_service_pb2 as consent
from xinqiao.api.casefile.v1 import plan_service_pb2 as plan
from xinqiao.api.casefile.v1 import team_service_pb2 as team
from xinqiao.api.common.v1.types_pb2 import Student
from xinqiao.api.referral.v1 import notice_service_pb2 as notices

GRID, POLICE = "grid", "police"
OWN, MOTHER, FATHER = "OWN-NUMBER-77", "欧阳敏", "欧阳强"
GUARDIANS = [
    {"full_name": FATHER, "relation": "father", "phone": "13900000002", "in_conflict": True},
    {"full_name": MOTHER, "relation": "mother", "phone": "13900000001"},
]


@pytest.fixture
def town(make_town: Callable[..., Any]) -> Iterator[Any]:
    def adapters(settings: dict[str, Any]) -> None:
        for name in (GRID, POLICE):
            settings["adapters"][name] = {"adapter": "recorder_partner", "settings": {}}

    with make_town(listen=False, change=adapters) as made:
        made.student(local_id=OWN, guardians=GUARDIANS)
        yield made


def sent(town: Any, body: str) -> Any:
    town.deliver_all()
    (request,) = (each for _, each in town.recorder.seen if each.WhichOneof("body") == body)
    return getattr(request, body)


def referral(town: Any) -> Student:
    town.consent(OWN)
    town.refer(OWN)
    return sent(town, "referral").student


def task(town: Any) -> Student:
    town.consent(OWN, recipient=GRID, purpose=4, classes=[2, 3, 4, 13])
    town.call(town.PSYCH, plan.OpenPlanRequest(student={"local_id": OWN}, reason="RED_CASE"))
    made = town.call(town.PSYCH, team.OpenTeamRequest(student={"local_id": OWN})).team
    until = town.clock.now_us() + 20 * 86_400_000_000
    member = team.AddMemberRequest(team=made.name, recipient=GRID, role=2, not_after_us=until, reason="TEAM")
    town.call(town.PSYCH, member)
    due = town.clock.now_us() + 3 * 86_400_000_000
    town.call(town.PSYCH, team.AssignTaskRequest(team=made.name, holder=GRID, due_us=due, what="每周上门"))
    return sent(town, "task").student


def police_report(town: Any) -> Student:
    issue = notices.IssueNoticeRequest(
        student={"local_id": OWN}, triage=town.confirmed(OWN), observed_behaviour="上课走神", advice="请尽快就诊"
    )
    notice = town.call(town.PSYCH, issue).notice
    refusal = {"witness": "王老师", "time_us": town.clock.now_us(), "reason": "不愿意"}
    town.call(town.PSYCH, notices.RefuseNoticeRequest(name=notice.name, refusal=refusal))
    words = {"grounds": "危险迫近", "basis": "life-safety", "crisis_facts": "说要跳楼", "location": "家中"}
    town.call(town.PSYCH, notices.DecideNoticeRequest(name=notice.name, police=POLICE, **words))
    return sent(town, "police_report").student


def broken_glass(town: Any) -> Student:
    town.confirmed(OWN)
    name = town.gate.gateway.door.students.name(POLICE, town.inside_id(OWN))
    asked = consent.BreakGlassRequest(student={"name": name}, basis="life-safety", facts="missing since noon")
    return town.call(POLICE, asked).student


@pytest.mark.parametrize("leave", [referral, task, police_report, broken_glass])
def test_what_leaves_has_neither_the_schools_own_number_nor_a_guardian_in_conflict(
    town: Any, leave: Callable[[Any], Student]
) -> None:
    record = leave(town)
    assert record.family_name == "欧阳"
    assert record.local_id == ""
    assert [guardian.full_name for guardian in record.guardians] == [MOTHER]
