"""A social-work agency and a youth league behind their own plugins: what is asked goes out, what came of it comes back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters.host import AdapterHost
from xinqiao.api.casefile.v1 import consent_pb2 as consent
from xinqiao.api.casefile.v1 import plan_service_pb2 as plan
from xinqiao.api.casefile.v1 import team_pb2, team_service_pb2
from xinqiao.api.casefile.v1.casefile_service_pb2 import WithdrawConsentRequest
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.api.referral.v1.referral_service_pb2 import GetReferralRequest
from xinqiao.contract.clock import local_date
from xinqiao.store import tables
from xinqiao_social_work.simulator import SocialWorkSimulator
from xinqiao_youth_league.simulator import YouthLeagueSimulator

AIDE, LEAGUE = "social-work", "youth-league"
CARE = 4
ROLES = {AIDE: 6, LEAGUE: 10}
CLASSES = [2, 3, 4, 5, 6, 8, 13]
NEED = "每周三下午辅导作业"


@pytest.fixture
def agency(tmp_path: Path) -> SocialWorkSimulator:
    return SocialWorkSimulator(tmp_path / "aide")


@pytest.fixture
def league(tmp_path: Path) -> Iterator[YouthLeagueSimulator]:
    made = YouthLeagueSimulator(tmp_path / "league")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def town(make_town: Any, agency: SocialWorkSimulator, league: YouthLeagueSimulator, tmp_path: Path) -> Iterator[Any]:
    def adapters(settings: dict[str, Any]) -> None:
        settings["adapters"] = {
            AIDE: {"adapter": "social_work", "settings": agency.start()},
            LEAGUE: {"adapter": "youth_league", "settings": league.start()},
        }
        for name, partner in ((AIDE, agency), (LEAGUE, league)):
            key = tmp_path / f"{name}.pub"
            key.write_bytes(partner.receipt_public_key_pem())
            settings["partners"][name]["receipt_key"] = str(key)

    with make_town(listen=False, change=adapters, host=AdapterHost.load(["social_work", "youth_league"])) as made:
        yield made


def task(town: Any, local: str, holder: str, role: int) -> Any:
    town.call(town.PSYCH, plan.OpenPlanRequest(student={"local_id": local}, reason="RED_CASE"))
    made = town.call(town.PSYCH, team_service_pb2.OpenTeamRequest(student={"local_id": local})).team
    until = town.clock.now_us() + 20 * 86_400_000_000
    member = team_service_pb2.AddMemberRequest(
        team=made.name, recipient=holder, role=role, not_after_us=until, reason="TEAM"
    )
    town.call(town.PSYCH, member)
    due = town.clock.now_us() + 3 * 86_400_000_000
    request = team_service_pb2.AssignTaskRequest(team=made.name, holder=holder, due_us=due, what=NEED)
    return town.call(town.PSYCH, request).task


def state(town: Any, name: str) -> int:
    (row,) = town.rows(tables.tasks, id=name.removeprefix("tasks/"))
    return int(row["state"])


def test_a_referral_goes_to_the_agency_and_its_yes_and_its_advice_come_back(
    town: Any, agency: SocialWorkSimulator
) -> None:
    local = town.student()
    town.consent(local, recipient=AIDE, purpose=CARE, classes=CLASSES)
    name = town.refer(local, recipient=AIDE, reason="同伴冲突", support="一对一陪伴").referral.name
    town.deliver_all()
    (sent,) = agency.fetch()
    assert sent["referral"]["referral"]["support"] == "一对一陪伴"
    assert "assessments" not in sent["referral"]
    agency.answer(name, "接受")
    assert (town.intake(AIDE).run_once().rejected, town.intake(AIDE).run_once().updates) == ([], 0)
    assert town.call(AIDE, GetReferralRequest(name=name)).referral.state == ref.REFERRAL_STATE_ACCEPTED
    agency.answer(name, "到访")
    agency.answer(name, "反馈", advice="座位靠前", care="每周一次")
    assert town.intake(AIDE).run_once().rejected == []
    (outcome,) = town.rows(tables.referrals, id=name.removeprefix("referrals/"))
    assert outcome["state"] == ref.REFERRAL_STATE_OUTCOME_REPORTED


def test_the_agency_may_say_no(town: Any, agency: SocialWorkSimulator) -> None:
    local = town.student()
    town.consent(local, recipient=AIDE, purpose=CARE, classes=CLASSES)
    name = town.refer(local, recipient=AIDE, support="陪伴").referral.name
    town.deliver_all()
    agency.answer(name, "婉拒", "名额已满")
    assert town.intake(AIDE).run_once().rejected == []
    assert town.call(AIDE, GetReferralRequest(name=name)).referral.state == ref.REFERRAL_STATE_DECLINED


def test_a_session_of_a_student_in_care_is_in_the_plan_and_counted_once(town: Any, agency: SocialWorkSimulator) -> None:
    local = town.student()
    town.consent(local, recipient=AIDE, purpose=CARE, classes=CLASSES)
    made = task(town, local, AIDE, ROLES[AIDE])
    town.deliver_all()
    (sent,) = agency.fetch()
    pseudonym, day = sent["task"]["student"]["name"], local_date(town.clock.now_us()).isoformat()
    header = ("编号", "日期", "个案编号", "高危", "时长", "学生代号", "主题", "服务记录")
    agency.drop("个案服务记录.csv", header, [("s-1", day, "case-1", "否", "50", pseudonym, "同伴关系", "秘密")])
    agency.answer(made.name, "已完成", "去过了")
    for _ in range(2):
        assert town.intake(AIDE).run_once().rejected == []
    known = town.inside_id(local)
    assert len(town.rows(tables.entries, student=known)) == 1
    assert len(town.rows(tables.activities, agency=AIDE)) == 1
    assert state(town, made.name) == team_pb2.TASK_STATE_DONE


def test_the_league_learns_what_is_needed_and_not_who_needs_it(town: Any, league: YouthLeagueSimulator) -> None:
    local = town.student(guardians=[{"full_name": "欧阳敏", "relation": "mother", "phone": "13800000000"}])
    town.consent(local, recipient=LEAGUE, purpose=CARE, classes=[2, 3, 4, 13])
    made = task(town, local, LEAGUE, ROLES[LEAGUE])
    town.deliver_all()
    (body,) = league.bodies
    assert json.loads(body)["need"] == NEED
    assert not [word for word in ("欧阳", "𠮷明", "students/", "1380000", local) if word in body.decode()]
    league.tell(made.name, "found", group="blue-team", volunteers=3)
    league.month("m-1", "2026-09", 3, 120)
    for _ in range(2):
        assert town.intake(LEAGUE).run_once().rejected == []
    assert state(town, made.name) == team_pb2.TASK_STATE_DONE
    assert town.rows(tables.activities, agency=LEAGUE)[0]["attendances"] == 120


def test_what_the_league_cannot_do_stays_open_and_a_person_learns_of_it(
    town: Any, league: YouthLeagueSimulator
) -> None:
    local = town.student()
    town.consent(local, recipient=LEAGUE, purpose=CARE, classes=[2, 3, 4, 13])
    made = task(town, local, LEAGUE, ROLES[LEAGUE])
    town.deliver_all()
    league.tell(made.name, "cannot", why="TOO_FAR")
    assert [item.reason for item in town.intake(LEAGUE).run_once().rejected] == ["CANNOT/TOO_FAR"]
    assert state(town, made.name) == team_pb2.TASK_STATE_OPEN
    kinds = {row["kind"] for row in town.rows(tables.holdings)}
    assert {"intake", "task"} <= kinds


def test_a_consent_taken_back_recalls_what_was_given_and_their_signed_answers_close_it(
    town: Any, agency: SocialWorkSimulator, league: YouthLeagueSimulator
) -> None:
    for name, classes in ((AIDE, CLASSES), (LEAGUE, [2, 3, 4, 13])):
        local = town.student()
        given = town.consent(local, recipient=name, purpose=CARE, classes=classes)
        task(town, local, name, ROLES[name])
        town.deliver_all()
        town.call(town.PSYCH, WithdrawConsentRequest(name=given.name))
        town.deliver_all()
    (recall,) = (found["recall"] for found in agency.fetch() if "recall" in found)
    agency.delete(recall["name"])
    (other,) = league.recalls.values()
    assert league.requests == {}
    league.delete(other["recall"])
    for name in (AIDE, LEAGUE):
        assert town.intake(name).run_once().rejected == []
    assert [row["state"] for row in town.rows(tables.recalls)] == [consent.RECALL_STATE_CONFIRMED] * 2
