"""Emergency access: under a law, with facts, decided on by a second person, told to the guardians but never to one in
conflict."""

from dataclasses import replace
from datetime import timedelta

import pytest

from xinqiao.api.casefile.v1 import casefile_service_pb2 as case_rpc
from xinqiao.api.casefile.v1 import consent_pb2 as pb
from xinqiao.api.casefile.v1 import consent_service_pb2 as rpc
from xinqiao.contract.clock import local_date
from xinqiao.store import tables

MOTHER = {"full_name": "CANARY-MOTHER", "phone": "13900000001"}
FATHER = {"full_name": "CANARY-FATHER", "phone": "13900000002", "in_conflict": True}


@pytest.fixture
def town(fresh_town):
    return fresh_town


def known_to(town, agency="police", **words):
    """A student with a crisis on record whom an agency can name; (the school's id, the agency's name)."""
    local = town.student(guardians=[FATHER, MOTHER], family_name="CANARY-NAME", **words)
    town.submit(local)
    town.confirmed(local)
    return local, town.gate.gateway.door.students.name(agency, town.inside_id(local))


def request(name, **words):
    asked = rpc.BreakGlassRequest(**{"basis": "life-safety", "facts": "missing since noon", **words})
    asked.student.name = name
    return asked


def test_a_rescuer_sees_what_the_law_allows_and_two_things_are_owed(town):
    local, name = known_to(town)
    seen = town.call("police", request(name))
    assert seen.student.family_name == "CANARY-NAME"
    assert [g.full_name for g in seen.student.guardians] == ["CANARY-MOTHER"]
    assert "facts" in seen.crisis_facts
    assert not seen.student.school  # a class that the basis does not name
    held = {row["kind"]: row for row in town.rows(tables.holdings, student=town.inside_id(local))}
    assert held["override"]["holder"] == town.PSYCH
    assert held["override"]["deadline_us"] == seen.due_us == town.clock.now_us() + 24 * 3600 * 1_000_000
    found = town.call(town.PSYCH, case_rpc.GetCaseRequest(student={"local_id": local})).case.duties
    (duty,) = (each for each in found if each.kind == "notify-guardian")
    assert [g.full_name for g in duty.contacts] == ["CANARY-MOTHER"]
    told = case_rpc.DischargeDutyRequest(name=duty.name, how="called", told="CANARY-FATHER")
    assert town.refusal(town.PSYCH, told).endswith("GUARDIAN_IN_CONFLICT")
    (row,) = town.journal(kind="override.used")
    assert (row["actor"], row["basis"]) == ("police", "life-safety")


def test_a_guardian_flagged_since_is_no_longer_among_those_to_be_told(town):
    local, name = known_to(town)
    town.call("police", request(name))
    town.student(local_id=local, guardians=[{**MOTHER, "in_conflict": True}])
    found = town.call(town.PSYCH, case_rpc.GetCaseRequest(student={"local_id": local})).case.duties
    (duty,) = (each for each in found if each.kind == "notify-guardian")
    assert list(duty.contacts) == []


@pytest.mark.parametrize(
    ("agency", "change", "answer"),
    [
        ("police", {"facts": " "}, "INVALID_ARGUMENT/FACTS_REQUIRED"),
        ("police", {"basis": "no-such-law"}, "FAILED_PRECONDITION/BASIS_UNKNOWN"),
        ("police", {"basis": "mandatory-report"}, "FAILED_PRECONDITION/BASIS_PURPOSE"),
        ("grid", {}, "PERMISSION_DENIED/ROLE"),
        ("lapsed-hospital", {}, "PERMISSION_DENIED/AGREEMENT_EXPIRED"),
    ],
)
def test_without_law_facts_or_agreement_nothing_is_shown_and_nothing_owed(town, agency, change, answer):
    local, name = known_to(town, agency)
    assert town.refusal(agency, request(name, **change)) == answer
    assert town.rows(tables.overrides) == []
    assert town.rows(tables.duties, student=town.inside_id(local), kind="notify-guardian") == []


@pytest.mark.parametrize(("field", "day"), [("end", -1), ("start", 1)])
def test_a_law_that_ran_out_or_is_not_yet_in_force_opens_nothing(town, field, day):
    _, name = known_to(town)
    door = town.gate.gateway.door
    today = local_date(town.clock.now_us())
    changed = replace(door.bases["life-safety"], **{field: today + timedelta(days=day)})
    door.bases = {**door.bases, "life-safety": changed}
    word = "NOT_YET" if field == "start" else "EXPIRED"
    assert town.refusal("police", request(name)) == f"FAILED_PRECONDITION/BASIS_{word}"


def test_a_student_that_the_caller_cannot_name_does_not_exist(town):
    _, name = known_to(town)
    assert town.refusal(town.HOSPITAL, request(name)) == "NOT_FOUND/STUDENT"


def test_a_second_person_approves_once_and_nobody_else_may(town):
    _, name = known_to(town)
    made = town.call("police", request(name)).override
    decide = rpc.DecideOverrideRequest(name=made, approve=True, note="right")
    assert town.refusal("psych-li", decide) == "NOT_FOUND/OVERRIDE"
    decided = town.call(town.PSYCH, decide)
    assert (decided.override.state, decided.override.decided_by) == (pb.OVERRIDE_STATE_APPROVED, town.PSYCH)
    assert town.rows(tables.holdings, item=made) == []
    again = rpc.DecideOverrideRequest(name=made, approve=False, note="no")
    assert town.refusal(town.OPERATOR, again) == "FAILED_PRECONDITION/STATE"


def test_what_is_not_approved_is_recalled(town):
    _, name = known_to(town)
    made = town.call("police", request(name)).override
    answer = town.call(town.PSYCH, rpc.DecideOverrideRequest(name=made, approve=False, note="nobody was missing"))
    (recall,) = town.call("police", rpc.ListRecallsRequest()).recalls
    assert (recall.name, recall.cause, recall.student) == (answer.recall, made, name)
    assert 3 in recall.classes
    assert town.rows(tables.holdings, item=answer.recall)[0]["holder"] == town.PSYCH  # police has no adapter here


def test_when_nobody_decides_it_shows_and_climbs(town):
    _, name = known_to(town)
    made = town.call("police", request(name)).override
    town.clock.advance(timedelta(hours=24, seconds=1))
    town.gate.gateway.ladder.climb()
    assert town.rows(tables.holdings, item=made)[0]["escalations"] == 1
    for partner in (town.PSYCH, town.OPERATOR):
        (shown,) = town.call(partner, rpc.ListOverridesRequest()).overrides
        assert (shown.name, shown.state) == (made, pb.OVERRIDE_STATE_OVERDUE)
        assert bool(shown.facts) is (partner == town.PSYCH)  # the operator sees that, not what
    assert len(town.call("psych-li", rpc.ListOverridesRequest()).overrides) == 0
    assert town.call(town.PSYCH, rpc.DecideOverrideRequest(name=made, approve=True, note="late")).override.state == 2


def test_whoever_cited_a_law_that_needs_an_approver_does_not_approve_it(town):
    door = town.gate.gateway.door
    door.bases = {**door.bases, "life-safety": replace(door.bases["life-safety"], needs_approver=True)}
    town.refer(town.student(), basis="life-safety", crisis_facts="facts", urgency=3)
    (row,) = town.rows(tables.overrides)
    assert (row["actor"], row["recipient"]) == (town.PSYCH, town.HOSPITAL)
    name = f"overrides/{row['id']}"
    assert town.rows(tables.holdings, item=name)[0]["holder"] == town.OPERATOR
    decide = rpc.DecideOverrideRequest(name=name, approve=True, note="n")
    assert town.refusal(town.PSYCH, decide) == "PERMISSION_DENIED/OWN_OVERRIDE"
    assert town.call(town.OPERATOR, decide).override.state == pb.OVERRIDE_STATE_APPROVED
