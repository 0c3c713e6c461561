"""Agencies that are no hospital: what reaches their adapters, what they bring, and what neither ever holds."""

from collections.abc import Iterator
from typing import Any

import pytest

from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse
from xinqiao.api.casefile.v1 import plan_service_pb2 as plan
from xinqiao.api.casefile.v1 import team_pb2, team_service_pb2
from xinqiao.api.casefile.v1.casefile_service_pb2 import WithdrawConsentRequest
from xinqiao.api.referral.v1 import notice_service_pb2 as notices
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.api.referral.v1.referral_service_pb2 import GetReferralRequest
from xinqiao.api.screening.v1 import screening_service_pb2 as screening
from xinqiao.contract.clock import local_date
from xinqiao.store import tables

GRID, WOMEN, POLICE = "grid", "womens-federation", "police"
CARE, RESCUE = 4, 3
GRID_ROLE = 2


@pytest.fixture
def town(make_town: Any) -> Iterator[Any]:
    def adapters(settings: dict[str, Any]) -> None:
        for name in (GRID, WOMEN, POLICE):
            settings["adapters"][name] = {"adapter": "recorder_partner", "settings": {}}

    with make_town(listen=False, change=adapters) as made:
        yield made


def consent(town: Any, local: str, recipient: str) -> Any:
    return town.consent(local, recipient=recipient, purpose=CARE, classes=[2, 3, 4, 13])


def withdraw(town: Any, given: Any) -> None:
    town.call(town.PSYCH, WithdrawConsentRequest(name=given.name))


def arrived(town: Any, agency: str) -> list[Any]:
    town.deliver_all()
    return [request for to, request in town.recorder.seen if to == agency]


def read(town: Any, agency: str, items: list[ReadResponse]) -> Any:
    handle: Any = type(
        "Handle", (), {"agency": agency, "read": lambda self, cursor: iter(items), "report": lambda self, kept: None}
    )()
    return town.intake(agency, handle).run_once()


def test_a_family_support_referral_carries_the_need_and_nothing_clinical(town: Any) -> None:
    local = town.student()
    town.submit(local)
    consent(town, local, WOMEN)
    made = town.refer(local, recipient=WOMEN, reason="CLINICAL", support="每周入户一次").referral
    (request,) = arrived(town, WOMEN)
    package = request.referral
    assert package.referral.support == "每周入户一次"
    assert package.student.family_name == "欧阳"
    assert (package.referral.reason, package.referral.tier, package.assessments) == ("", 0, [])
    assert made.name == package.referral.name


def test_without_a_consent_for_care_nothing_goes_and_treatment_does_not_count(town: Any) -> None:
    local = town.student()
    town.consent(local, recipient=WOMEN, purpose=2)
    refused = town.refusal(town.PSYCH, town.refer_request(local, recipient=WOMEN))
    assert refused == "FAILED_PRECONDITION/NO_CONSENT"
    assert arrived(town, WOMEN) == []


def test_the_police_get_what_a_rescue_needs_under_a_basis_and_no_more(town: Any) -> None:
    local = town.student()
    town.submit(local)
    words = {"recipient": POLICE, "urgency": ref.URGENCY_EMERGENCY, "crisis_facts": "在桥上", "location": "大桥"}
    town.refer(local, basis="life-safety", reason="CLINICAL", **words)
    (request,) = arrived(town, POLICE)
    package = request.referral
    assert (package.referral.crisis_facts, package.referral.location) == ("在桥上", "大桥")
    assert (package.referral.reason, package.referral.tier, package.assessments, package.student.grade) == (
        "",
        0,
        [],
        "",
    )


def test_a_partner_may_say_no_and_reads_its_referral_also_when_the_consent_is_over(town: Any) -> None:
    local = town.student()
    given = consent(town, local, WOMEN)
    name = town.refer(local, recipient=WOMEN, support="入户").referral.name
    arrived(town, WOMEN)
    before = town.call(WOMEN, GetReferralRequest(name=name)).referral
    assert before.support == "入户"
    withdraw(town, given)
    declined = town.advance(WOMEN, name, ref.REFERRAL_EVENT_DECLINE, "no capacity")
    assert declined.state == ref.REFERRAL_STATE_DECLINED
    after = town.call(WOMEN, GetReferralRequest(name=name)).referral
    assert (after.name, after.support) == (name, "")


def team(town: Any, local: str) -> Any:
    town.call(town.PSYCH, plan.OpenPlanRequest(student={"local_id": local}, reason="RED_CASE"))
    made = town.call(town.PSYCH, team_service_pb2.OpenTeamRequest(student={"local_id": local})).team
    until = town.clock.now_us() + 20 * 86_400_000_000
    town.call(
        town.PSYCH,
        team_service_pb2.AddMemberRequest(
            team=made.name, recipient=GRID, role=GRID_ROLE, not_after_us=until, reason="TEAM"
        ),
    )
    return made


def assign(town: Any, made: Any, holder: str = GRID) -> Any:
    due = town.clock.now_us() + 3 * 86_400_000_000
    request = team_service_pb2.AssignTaskRequest(team=made.name, holder=holder, due_us=due, what="每周上门")
    return town.call(town.PSYCH, request).task


def test_a_task_reaches_its_holders_adapter_and_so_does_that_it_is_no_longer_theirs(town: Any) -> None:
    local = town.student()
    consent(town, local, GRID)
    task = assign(town, team(town, local))
    (sent,) = arrived(town, GRID)
    assert (sent.task.task.name, sent.task.task.what, sent.task.task.state) == (task.name, "每周上门", 1)
    assert sent.task.student.family_name == "欧阳"
    assert sent.task.student.local_id == ""
    assert town.journal(kind="released", reason="task")
    town.call(town.PSYCH, team_service_pb2.HandTaskRequest(name=task.name, holder=town.PSYCH))
    _, gone = arrived(town, GRID)
    assert (gone.task.task.name, gone.task.task.state) == (task.name, team_pb2.TASK_STATE_CANCELLED)
    assert gone.task.task.what == ""


def test_a_holder_who_may_not_be_sent_it_any_more_gets_nothing_and_that_is_on_record(town: Any) -> None:
    local = town.student()
    given = consent(town, local, GRID)
    made = team(town, local)
    town.recorder.down = True
    assign(town, made)
    withdraw(town, given)
    town.recorder.down = False
    assert [request.WhichOneof("body") for request in arrived(town, GRID)] == ["recall"]
    assert town.journal(kind="delivery.cancelled")


def test_a_police_report_goes_to_the_adapter_that_takes_one(town: Any) -> None:
    local = town.student(guardians=[{"full_name": "欧阳敏", "relation": "mother", "phone": "13800000000"}])
    issue = notices.IssueNoticeRequest(
        student={"local_id": local}, triage=town.confirmed(local), observed_behaviour="上课走神", advice="请尽快就诊"
    )
    notice = town.call(town.PSYCH, issue).notice
    refusal = {"witness": "王老师", "time_us": town.clock.now_us(), "reason": "不愿意"}
    town.call(town.PSYCH, notices.RefuseNoticeRequest(name=notice.name, refusal=refusal))
    words = {
        "police": POLICE,
        "grounds": "危险迫近",
        "basis": "life-safety",
        "crisis_facts": "说要跳楼",
        "location": "家中",
    }
    town.call(town.PSYCH, notices.DecideNoticeRequest(name=notice.name, **words))
    (sent,) = arrived(town, POLICE)
    assert (sent.police_report.crisis_facts, sent.police_report.location) == ("说要跳楼", "家中")
    assert sent.lane == 2


def test_who_reported_is_told_that_a_person_took_it_once_and_only_who_asked_to_be(town: Any) -> None:
    local = town.student()
    request = screening.ReportSignalRequest(student={"local_id": local}, source=2, kind=1, facts="facts")
    known = {"name": town.gate.gateway.door.students.name(GRID, town.inside_id(local))}
    for reference in ("", "G-17"):
        mine = screening.ReportSignalRequest(student=known, source=4, kind=1, facts="facts", reference=reference)
        name = town.call(GRID, mine).signal.name
        town.call(town.PSYCH, screening.AcknowledgeSignalRequest(name=name))
    own = town.call(town.PSYCH, request).signal.name
    town.call(town.PSYCH, screening.AcknowledgeSignalRequest(name=own))
    (told,) = arrived(town, GRID)
    assert (told.signal_update.reference, told.lane) == ("G-17", 2)
    assert told.signal_update.taken_us > 0
    assert town.journal(kind="released", reason="signal_update")


def test_what_a_partner_brings_is_what_it_would_send_and_a_repeat_changes_nothing(town: Any) -> None:
    local = town.student()
    consent(town, local, GRID)
    task = assign(town, team(town, local))
    student = {"name": town.gate.gateway.door.students.name(GRID, town.inside_id(local))}
    day = local_date(town.clock.now_us()).isoformat()
    items = [
        ReadResponse(
            cursor="1",
            signal={"student": student, "source": 4, "kind": 6, "facts": "夜里独自在外"},
        ),
        ReadResponse(
            cursor="2", entry={"student": student, "entry": {"day": day, "grid_visit": {"observed": "祖母照看"}}}
        ),
        ReadResponse(cursor="3", task_report={"name": task.name, "report": "去过了"}),
        ReadResponse(cursor="4", activities={"activities": [{"source": "v-1", "kind": 12, "day": day, "times": 4}]}),
    ]
    for _ in range(2):
        tally = read(town, GRID, items)
        assert [(each.reason, each.message) for each in tally.rejected] == []
        assert tally.updates == 4
    known = town.inside_id(local)
    assert len(town.rows(tables.signals, student=known)) == 1
    assert len(town.rows(tables.entries, student=known)) == 1
    assert town.rows(tables.tasks, student=known)[0]["state"] == team_pb2.TASK_STATE_DONE
    assert town.rows(tables.activities, agency=GRID)[0]["times"] == 4


def test_what_is_refused_of_it_is_named_and_held_and_the_rest_is_taken(town: Any) -> None:
    student = {"name": "students/" + "a" * 26}
    items = [
        ReadResponse(cursor="1", signal={"student": student, "source": 4, "kind": 6, "facts": "SECRET"}),
        ReadResponse(cursor="2", activities={"activities": [{"source": "v-2", "kind": 12, "day": "2026-09-30"}]}),
    ]
    tally = read(town, GRID, items)
    assert [(each.source, each.reason) for each in tally.rejected] == [("signal", "STUDENT")]
    assert "SECRET" not in str(tally.rejected)
    assert town.rows(tables.holdings, kind="intake")
    assert len(town.rows(tables.activities, agency=GRID)) == 1
