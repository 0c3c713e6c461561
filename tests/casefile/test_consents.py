"""Consents: who must sign, how long they hold, and that no beats yes."""

from datetime import timedelta

import pytest

from xinqiao.api.casefile.v1 import casefile_pb2 as case
from xinqiao.api.casefile.v1 import casefile_service_pb2 as rpc
from xinqiao.store import tables

GUARDIAN, STUDENT, BOTH = 1, 2, 3
GIVEN, REFUSED, DISPUTED = case.CONSENT_STATE_GIVEN, case.CONSENT_STATE_REFUSED, case.CONSENT_STATE_DISPUTED
YOUNG, OLD = "2014-01-01", "2010-01-01"


def reason_for_hospital(town, local):
    """Why the scores would not go to the hospital now; empty when they would."""
    request = rpc.ExplainDisclosureRequest(recipient=town.HOSPITAL, purpose=2)
    request.student.local_id = local
    return {v.field_class: v.reason for v in town.call(town.PSYCH, request).verdicts}[7]


def test_a_child_under_fourteen_cannot_consent_alone(town):
    local = town.student(born=YOUNG)
    assert town.refusal(town.PSYCH, town.consent_request(local, signer=STUDENT)) == (
        "FAILED_PRECONDITION/GUARDIAN_REQUIRED"
    )
    assert town.rows(tables.consents, student=town.inside_id(local)) == []


def test_an_unknown_birth_date_counts_as_under_fourteen(town):
    local = town.student(born="")
    assert town.refusal(town.PSYCH, town.consent_request(local, signer=STUDENT)).endswith("GUARDIAN_REQUIRED")


def test_a_guardian_alone_cannot_consent_for_a_student_of_fourteen(town):
    local = town.student(born=OLD)
    assert town.refusal(town.PSYCH, town.consent_request(local, signer=GUARDIAN)).endswith("STUDENT_REQUIRED")


@pytest.mark.parametrize(("born", "signer"), [(YOUNG, GUARDIAN), (YOUNG, BOTH), (OLD, STUDENT), (OLD, BOTH)])
def test_whoever_the_law_asks_can_consent(town, born, signer):
    local = town.student(born=born)
    town.consent(local, signer=signer)
    assert reason_for_hospital(town, local) == ""


def test_a_guardian_may_refuse_for_a_student_of_any_age_and_refusal_beats_the_students_yes(town):
    local = town.student(born=OLD)
    town.consent(local, signer=STUDENT)
    town.consent(local, signer=GUARDIAN, state=REFUSED)
    assert reason_for_hospital(town, local) == "DISPUTED"


def test_a_later_yes_of_the_other_signer_does_not_lift_a_refusal(town):
    local = town.student(born=OLD)
    town.consent(local, signer=GUARDIAN, state=REFUSED)
    town.consent(local, signer=STUDENT, at_family_request=True)
    assert reason_for_hospital(town, local) == "DISPUTED"


def test_the_same_signer_may_change_their_mind(town):
    local = town.student(born=YOUNG)
    town.consent(local, signer=GUARDIAN, state=REFUSED)
    town.consent(local, signer=GUARDIAN, at_family_request=True)
    assert reason_for_hospital(town, local) == ""
    states = sorted(row["state"] for row in town.rows(tables.consents, student=town.inside_id(local)))
    assert states == [case.CONSENT_STATE_GIVEN, case.CONSENT_STATE_SUPERSEDED]


def test_a_newer_consent_of_the_same_signer_replaces_the_wider_older_one(town):
    local = town.student(born=YOUNG)
    town.consent(local, signer=GUARDIAN)
    town.consent(local, signer=GUARDIAN, classes=[2, 3])
    assert reason_for_hospital(town, local) == "NOT_CONSENTED"


def test_a_dispute_is_a_no_whatever_else_was_given(town):
    local = town.student(born=YOUNG)
    town.consent(local, signer=GUARDIAN)
    town.consent(local, signer=GUARDIAN, state=DISPUTED)
    assert reason_for_hospital(town, local) == "DISPUTED"


@pytest.mark.parametrize("days", [367, 3650, 0, -1])
def test_a_term_over_twelve_months_or_over_already_is_refused(town, days):
    local = town.student()
    assert town.refusal(town.PSYCH, town.consent_request(local, days=days)) == "INVALID_ARGUMENT/TERM"


def test_a_consent_of_exactly_a_leap_year_holds(town):
    assert town.consent(town.student(), days=366).state == GIVEN


def test_counselling_notes_cannot_be_consented_away(town):
    local = town.student()
    assert town.refusal(town.PSYCH, town.consent_request(local, classes=[3, 15])).endswith("CLASS_NEVER_SHARED")


def test_a_consent_for_a_person_instead_of_an_agency_is_refused(town):
    local = town.student()
    assert town.refusal(town.PSYCH, town.consent_request(local, recipient=town.PSYCH)) == "NOT_FOUND/RECIPIENT"


def test_a_consent_recorded_as_withdrawn_is_refused(town):
    assert town.refusal(town.PSYCH, town.consent_request(town.student(), state=3)) == "INVALID_ARGUMENT/ENUM"


def test_an_expired_consent_opens_nothing(fresh_town):
    local = fresh_town.student()
    fresh_town.consent(local, days=2)
    assert reason_for_hospital(fresh_town, local) == ""
    fresh_town.clock.advance(timedelta(days=2))
    assert reason_for_hospital(fresh_town, local) == "CONSENT_EXPIRED"


def test_a_withdrawn_consent_opens_nothing_and_cannot_be_withdrawn_twice(town):
    local = town.student()
    name = town.consent(local).name
    town.call(town.PSYCH, rpc.WithdrawConsentRequest(name=name))
    assert reason_for_hospital(town, local) == "WITHDRAWN"
    assert town.refusal(town.PSYCH, rpc.WithdrawConsentRequest(name=name)) == "FAILED_PRECONDITION/STATE"


def test_another_schools_consent_cannot_be_withdrawn_and_does_not_exist_for_it(town):
    name = town.consent(town.student()).name
    foreign = town.refusal("psych-li", rpc.WithdrawConsentRequest(name=name))
    absent = town.refusal("psych-li", rpc.WithdrawConsentRequest(name="consents/" + "0" * 32))
    assert foreign == absent == "NOT_FOUND/CONSENT"


@pytest.mark.parametrize("born", ["2026-02-30", "2031-01-01", "2026-10-13", "2013-02-29"])
def test_a_birth_date_that_is_no_day_or_lies_ahead_is_refused_and_nobody_is_registered(town, born):
    request = rpc.RegisterStudentsRequest()
    before = len(town.rows(tables.students))
    request.students.add(local_id=f"bad-{born}", birth_date=born, school="3205830001")
    assert town.refusal(town.SCHOOL, request) == "INVALID_ARGUMENT/DATE_RANGE"
    assert len(town.rows(tables.students)) == before


def test_a_student_of_a_school_that_is_not_the_callers_is_refused_with_everybody_beside(town):
    request = rpc.RegisterStudentsRequest()
    before = len(town.rows(tables.students))
    request.students.add(local_id="mine", school="3205830001")
    request.students.add(local_id="theirs", school="3205830002")
    assert town.refusal(town.SCHOOL, request) == "PERMISSION_DENIED/SCOPE"
    assert len(town.rows(tables.students)) == before


def test_registering_again_updates_the_same_student(town):
    local = town.student(grade="七年级")
    first = town.inside_id(local)
    town.student(local_id=local, grade="八年级")
    assert town.inside_id(local) == first
    request = rpc.GetCaseRequest()
    request.student.local_id = local
    assert town.call(town.PSYCH, request).case.student.grade == "八年级"


def test_a_student_named_twice_in_one_request_is_one_student(town):
    request = rpc.RegisterStudentsRequest()
    for grade in ("七年级", "八年级"):
        request.students.add(local_id="twice", school="3205830001", grade=grade)
    names = town.call(town.SCHOOL, request).names
    assert names[0] == names[1]


def test_a_case_shows_the_hospital_nothing_for_the_purpose_of_care(town, caplog):
    local = town.student(family_name="CANARYNAME")
    town.consent(local)
    made = town.refer(local)
    town.deliver_all()
    named = next(r.referral.referral.student for a, r in reversed(town.recorder.seen) if a == town.HOSPITAL)
    assert made.referral.student != named
    request = rpc.GetCaseRequest()
    request.student.name = named
    assert town.refusal(town.HOSPITAL, request) == "NOT_FOUND/STUDENT"  # a referral is no share of the case
    assert "cut fields" not in caplog.text  # the room cut it; the last net had nothing to do


def test_a_duty_is_open_with_a_holder_until_discharged_once(town):
    local = town.student()
    made = town.refer(local, basis="life-safety", crisis_facts="facts", urgency=3)
    assert made.duty
    held = town.rows(tables.holdings, item=made.duty)[0]
    assert held["holder"] == town.PSYCH
    assert held["deadline_us"] == town.clock.now_us() + 24 * 3600 * 1_000_000
    town.call(town.PSYCH, rpc.DischargeDutyRequest(name=made.duty, how="called the mother"))
    assert town.rows(tables.holdings, item=made.duty) == []
    again = rpc.DischargeDutyRequest(name=made.duty, how="again")
    assert town.refusal(town.PSYCH, again) == "FAILED_PRECONDITION/STATE"
