"""Care teams: members by role, shared tasks with one holder and one deadline, and no access once it has ended."""

from datetime import timedelta

import pytest

from xinqiao.api.casefile.v1 import team_pb2 as pb
from xinqiao.api.casefile.v1 import team_service_pb2 as rpc
from xinqiao.api.casefile.v1.casefile_service_pb2 import WithdrawConsentRequest
from xinqiao.api.casefile.v1.plan_service_pb2 import ClosePlanRequest
from xinqiao.api.referral.v1.referral_service_pb2 import ListHoldingsRequest
from xinqiao.store import tables

GRID, DOCTOR, POLICE, WORKER, VOLUNTEER = 2, 3, 4, 6, 7
HOSPITAL = "kunshan-mental-health"
ALL = ("grid", HOSPITAL, "police", "social-work", "volunteers")


def held(care, task):
    return [(r["holder"], r["step"], r["deadline_us"]) for r in care.town.rows(tables.holdings, item=task.name)]


def get(care, made, who=None):
    return care.town.call(who or care.town.PSYCH, rpc.GetTeamRequest(name=made.name)).team


def test_each_member_sees_what_its_role_needs(care):
    local = care.student(*ALL)
    for kind in ("session", "outcome_scale", "grid_visit", "attendance"):
        care.entry(local, kind)
    made, _ = care.team(local, grid=GRID, police=POLICE, volunteers=VOLUNTEER, kunshan_mental_health=DOCTOR)
    kinds = {
        who: [entry.WhichOneof("content") for entry in care.case(who, local).case.plan.entries]
        for who in ("grid", "police", "volunteers", HOSPITAL)
    }
    assert kinds == {
        "grid": ["grid_visit"], "police": ["grid_visit"], "volunteers": ["grid_visit"],
        HOSPITAL: ["session", "outcome_scale", "grid_visit", "attendance"],
    }  # fmt: skip
    people = {who: care.case(who, local).case.student.family_name for who in ("grid", "volunteers")}
    assert people == {"grid": "欧阳", "volunteers": ""}
    assert [(m.recipient, m.role) for m in get(care, made, "grid").members] == [
        ("grid", GRID), ("police", POLICE), ("volunteers", VOLUNTEER), (HOSPITAL, DOCTOR)
    ]  # fmt: skip
    for member in get(care, made, "grid").members:  # what another may see, and until when, is not for it
        assert bool(member.classes) == (member.recipient == "grid")


@pytest.mark.parametrize(("who", "role"), [("grid", POLICE), ("police", VOLUNTEER), ("volunteers", DOCTOR)])
def test_a_partner_is_a_member_only_of_its_own_kind(care, who, role):
    made, _ = care.team(care.student(*ALL))
    assert care.town.refusal(care.town.PSYCH, care.member_request(made, who, role)) == "FAILED_PRECONDITION/ROLE"


def test_nobody_is_a_member_without_a_consent_nor_twice(care):
    made, _ = care.team(care.student("grid"), grid=GRID)
    assert care.town.refusal(care.town.PSYCH, care.member_request(made, "police", POLICE)).endswith("/NO_CONSENT")
    assert care.town.refusal(care.town.PSYCH, care.member_request(made, "grid", GRID)) == "ALREADY_EXISTS/MEMBER"
    unknown = care.member_request(made, "nobody", GRID)
    assert care.town.refusal(care.town.PSYCH, unknown) == "NOT_FOUND/RECIPIENT"


def test_a_task_has_one_holder_and_one_deadline_from_first_to_last(care):
    local = care.student("grid", "police")
    made, _ = care.team(local, grid=GRID, police=POLICE)
    task = care.task(made, "grid")
    assert held(care, task) == [("grid", "do_task", task.due_us)]
    assert task.name in [h.item for h in care.town.call("grid", ListHoldingsRequest()).holdings]
    for who in ("grid", "police", None):  # shared: all see it
        assert [(t.what, t.holder) for t in get(care, made, who).tasks] == [("每周上门，问问睡眠", "grid")]
    not_mine = rpc.ReportTaskRequest(name=task.name, report="去过了")
    assert care.town.refusal("police", not_mine) == "PERMISSION_DENIED/NOT_YOURS"
    handed = care.town.call("grid", rpc.HandTaskRequest(name=task.name, holder="police")).task
    assert held(care, handed) == [("police", "do_task", task.due_us)]
    dropped = rpc.ReportTaskRequest(name=task.name, report="不需要", cancelled=True)
    assert care.town.refusal("police", dropped) == "PERMISSION_DENIED/NOT_YOURS"
    done = care.town.call("police", rpc.ReportTaskRequest(name=task.name, report="一切平安")).task
    assert (done.state, done.report) == (pb.TASK_STATE_DONE, "一切平安")
    assert held(care, task) == []
    assert care.town.refusal("police", not_mine) == "FAILED_PRECONDITION/STATE"


def test_a_task_goes_to_a_member_or_the_school_and_to_nobody_else(care):
    made, _ = care.team(care.student("grid", "police"), grid=GRID)
    for holder in ("police", "nobody", "psych-li"):
        request = rpc.AssignTaskRequest(
            team=made.name, holder=holder, what="w", due_us=care.town.clock.now_us() + 10**9
        )
        assert care.town.refusal(care.town.PSYCH, request) == "NOT_FOUND/HOLDER"
    assert care.task(made, care.town.PSYCH).holder == care.town.PSYCH
    for due in (care.town.clock.now_us() - 1, care.town.clock.now_us() + 400 * 86_400_000_000):
        request = rpc.AssignTaskRequest(team=made.name, holder="grid", what="w", due_us=due)
        assert care.town.refusal(care.town.PSYCH, request) == "INVALID_ARGUMENT/DATE_RANGE"


def test_a_task_that_is_late_is_seen_by_the_school(fresh_care):
    town = fresh_care.town
    made, _ = fresh_care.team(fresh_care.student("grid"), grid=GRID)
    task = fresh_care.task(made, "grid", days=3)
    town.clock.advance(timedelta(days=3, minutes=1))
    town.gate.gateway.ladder.climb()
    assert [row[:2] for row in held(fresh_care, task)] == [(town.PSYCH, "do_task")]
    assert [r["reason"] for r in town.journal(kind="escalated", resource=task.name)] == ["do_task:overdue:grid"]


@pytest.mark.parametrize("end", ["revoked", "over"])
def test_the_tasks_of_who_leaves_go_back_to_the_school(fresh_care, end):
    town = fresh_care.town
    made, members = fresh_care.team(fresh_care.student("grid"), grid=GRID)
    task = fresh_care.task(made, "grid", days=40 if end == "over" else 3)
    if end == "revoked":
        assert fresh_care.revoke(members["grid"]).returned_tasks == 1
    else:
        town.clock.advance(timedelta(days=20))
        assert not [h for h in town.call("grid", ListHoldingsRequest()).holdings if h.item == task.name]
        assert town.gate.gateway.shares.end_due(town.gate.gateway.store) == 1
    assert [row[0] for row in held(fresh_care, task)] == [town.PSYCH]
    report = rpc.ReportTaskRequest(name=task.name, report="r")
    assert town.refusal("grid", report) == "NOT_FOUND/TASK"
    absent = rpc.ReportTaskRequest(name="tasks/" + "0" * 32, report="r")
    assert town.refusal("grid", absent) == "NOT_FOUND/TASK"
    assert town.refusal("grid", rpc.GetTeamRequest(name=made.name)) == "NOT_FOUND/TEAM"
    assert not town.call("grid", rpc.ListTeamsRequest()).teams
    assert town.call(town.PSYCH, report).task.state == pb.TASK_STATE_DONE


def test_a_team_with_open_tasks_is_not_dissolved_and_a_dissolved_one_opens_nothing(care):
    local = care.student("grid", "police")
    made, _ = care.team(local, grid=GRID, police=POLICE)
    plan = care.case(care.town.PSYCH, local).case.plan.name
    closing = ClosePlanRequest(name=plan, reason="OVER")
    assert care.town.refusal(care.town.PSYCH, closing) == "FAILED_PRECONDITION/OPEN_TEAM"
    task = care.task(made, "grid")
    close = rpc.CloseTeamRequest(name=made.name, reason="STABLE")
    assert care.town.refusal(care.town.PSYCH, close) == "FAILED_PRECONDITION/OPEN_TASKS"
    care.town.call("grid", rpc.ReportTaskRequest(name=task.name, report="r"))
    closed = care.town.call(care.town.PSYCH, rpc.CloseTeamRequest(name=made.name, reason="STABLE")).team
    assert {member.state for member in closed.members} == {3}
    for who in ("grid", "police"):
        assert care.town.refusal(who, rpc.GetTeamRequest(name=made.name)) == "NOT_FOUND/TEAM"
    again = care.member_request(made, "grid", GRID)
    assert care.town.refusal(care.town.PSYCH, again) == "FAILED_PRECONDITION/STATE"
    assert care.team(local)[0].name != made.name


def test_a_student_has_one_team_and_a_stranger_finds_none(care):
    local = care.student("grid")
    made, _ = care.team(local)
    second = rpc.OpenTeamRequest(student={"local_id": local})
    assert care.town.refusal(care.town.PSYCH, second) == "ALREADY_EXISTS/OPEN_TEAM"
    for who in ("psych-li", "grid", "police", "worker-lu"):
        foreign = care.town.refusal(who, rpc.GetTeamRequest(name=made.name))
        assert foreign == care.town.refusal(who, rpc.GetTeamRequest(name="teams/" + "0" * 32)) == "NOT_FOUND/TEAM"


def test_a_consent_taken_back_closes_a_members_eyes_and_takes_its_tasks_at_once(care):
    town = care.town
    local = care.student("grid", "police")
    made, _ = care.team(local, grid=GRID, police=POLICE)
    task, other = care.task(made, "grid"), care.task(made, "police")
    (consent,) = [each for each in care.case(town.PSYCH, local).case.consents if each.recipient == "grid"]
    assert town.call(town.PSYCH, WithdrawConsentRequest(name=consent.name)).returned_tasks == 1
    assert not get(care, made, "grid").ByteSize()
    assert task.name not in [h.item for h in town.call("grid", ListHoldingsRequest()).holdings]
    assert [row[0] for row in held(care, task) + held(care, other)] == [town.PSYCH, "police"]
    (row,) = town.journal(kind="consent.withdrawn", resource=consent.name)
    assert row["reason"].endswith("tasks:1")
    for again in (
        rpc.HandTaskRequest(name=task.name, holder="grid"),
        rpc.AssignTaskRequest(team=made.name, holder="grid", what="w", due_us=town.clock.now_us() + 10**9),
    ):
        assert town.refusal(town.PSYCH, again) == "NOT_FOUND/HOLDER"  # it could not even read what it is to do
