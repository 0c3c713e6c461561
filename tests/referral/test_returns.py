"""Leave and return to school: every step in its turn, with what it needs, held by one school until the last check."""

from datetime import datetime, time, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xinqiao.api.casefile.v1.casefile_service_pb2 import WithdrawConsentRequest
from xinqiao.api.referral.v1 import return_pb2 as pb
from xinqiao.api.referral.v1 import return_service_pb2 as rpc
from xinqiao.contract.clock import BEIJING, local_date, to_us
from xinqiao.contract.errors import Refusal
from xinqiao.referral.return_to_school import FINAL, HOLDS, STEPS, word
from xinqiao.store import tables

NEXT = "other-school"
EVENTS = [value for value in pb.ReturnEvent.values() if value]
OPINION = {
    "institution": "昆山示范精神卫生中心",
    "doctor": "王医生",
    "day": "2026-10-20",
    "grade": 2,
    "conditions": ["按时服药", "每两周复诊"],
}


def today(town):
    return local_date(town.clock.now_us())


def opened(town, local=None, **words):
    request = rpc.OpenReturnRequest(
        student={"local_id": local or town.student()}, found="三周未到校，自述撑不住", **words
    )
    return town.call(town.PSYCH, request).plan


def request(town, made, event, **words):
    day = today(town)
    words = {
        "reason": "说明", "opinion": OPINION, "assessment": {"members": ["心理教师", "班主任"], "day": day.isoformat(), "result": "可返校"},
        "leave": {"first_day": day.isoformat(), "last_day": (day + timedelta(days=60)).isoformat()},
        "plan": {"first_day": day.isoformat(), "conditions": ["按时服药"], "steps": [
            {"first_day": day.isoformat(), "attendance": "上午到校"},
            {"first_day": (day + timedelta(days=14)).isoformat(), "attendance": "全天到校"}]},
        "check": {"result": pb.CHECK_RESULT_WELL}, **words,
    }  # fmt: skip
    needs = STEPS[event].needs
    given_ = {name: value for name, value in words.items() if name in needs and value is not None}
    return rpc.AdvanceReturnRequest(name=made.name, event=event, **given_)


def advance(town, plan, *events, as_=None, **words):
    for event in events:
        number = pb.ReturnEvent.Value(f"RETURN_EVENT_{event}")
        plan = town.call(as_ or town.PSYCH, request(town, plan, number, **words)).plan
    return plan


TO_LEAVE = ("ASSESS_LEAVE", "TALK", "APPLY_LEAVE", "START_LEAVE")
TO_ASSESSED = ("SUBMIT_MATERIALS", "REVIEW", "ASSESS_RETURN")


def held(town, plan):
    return [(row["step"], row["holder"]) for row in town.rows(tables.holdings, item=plan.name)]


def deadline(town, plan):
    return town.rows(tables.holdings, item=plan.name)[0]["deadline_us"]


def end_of(day):
    return to_us(datetime.combine(day + timedelta(days=1), time(), BEIJING)) - 1


def test_four_steps_out_five_back_and_three_checks(fresh_town):
    town = fresh_town
    plan = advance(town, opened(town), *TO_LEAVE)
    assert plan.state == pb.RETURN_STATE_ON_LEAVE
    plan = advance(town, plan, *TO_ASSESSED, "PASS")
    assert [check.day for check in plan.plan.checks] == [7, 30, 90]
    first = today(town)
    for day, following in ((7, "check_30"), (30, "check_90"), (90, None)):
        assert held(town, plan) == [(f"check_{day}", town.PSYCH)]
        assert deadline(town, plan) == end_of(first + timedelta(days=day))
        plan = advance(town, plan, "CHECK")
        assert held(town, plan) == ([(following, town.PSYCH)] if following else [])
    assert plan.state == pb.RETURN_STATE_CLOSED
    assert [word(change.event) for change in plan.history][1:] == [
        *TO_LEAVE,
        *TO_ASSESSED,
        "PASS",
        "CHECK",
        "CHECK",
        "CHECK",
    ]
    assert len(town.journal(kind="return.advanced", resource=plan.name)) == 11


def test_the_return_is_applied_for_fifteen_days_before_the_leave_ends(town):
    last = today(town) + timedelta(days=60)
    plan = advance(town, opened(town), *TO_LEAVE)
    assert held(town, plan) == [("return", town.PSYCH)]
    assert deadline(town, plan) == end_of(last - timedelta(days=15))


def test_a_longer_leave_moves_the_deadline_with_it(town):
    plan = advance(town, opened(town), *TO_LEAVE)
    last = today(town) + timedelta(days=100)
    advance(town, plan, "EXTEND_LEAVE", leave={"first_day": today(town).isoformat(), "last_day": last.isoformat()})
    assert deadline(town, plan) == end_of(last - timedelta(days=15))


def test_a_leave_that_ends_sooner_than_that_is_due_tomorrow_not_yesterday(town):
    plan = opened(town)
    plan = advance(town, plan, "ASSESS_LEAVE", "TALK")
    short = {"first_day": today(town).isoformat(), "last_day": (today(town) + timedelta(days=3)).isoformat()}
    advance(town, plan, "APPLY_LEAVE", "START_LEAVE", leave=short)
    assert town.clock.now_us() < deadline(town, plan) <= town.clock.now_us() + 86_400_000_000


def test_not_passed_is_not_the_end_somebody_still_holds_the_student(town):
    plan = advance(town, opened(town), *TO_LEAVE, *TO_ASSESSED, "NOT_PASS")
    assert held(town, plan) == [("appeal", town.PSYCH)]
    plan = advance(town, plan, "APPEAL")
    assert held(town, plan) == [("decide_appeal", town.PSYCH)]
    assert advance(town, plan, "PASS").state == pb.RETURN_STATE_RETURNED


def test_a_missed_check_is_seen_by_the_next_on_the_ladder_and_stays_on_record(fresh_town):
    town = fresh_town
    plan = advance(town, opened(town), *TO_LEAVE, *TO_ASSESSED, "PASS")
    town.clock.advance(timedelta(days=9))
    town.gate.gateway.ladder.climb()
    escalated = [row["reason"] for row in town.journal(kind="escalated", resource=plan.name)]
    assert escalated == ["check_7:overdue:psych-chen"]
    missed = {"result": pb.CHECK_RESULT_MISSED}
    refused = request(town, plan, pb.RETURN_EVENT_CHECK, check=missed)
    assert town.refusal(town.PSYCH, refused).endswith("/REASON_REQUIRED")
    plan = advance(town, plan, "CHECK", check={**missed, "note": "家长未带来校"})
    assert (plan.plan.checks[0].late, plan.plan.checks[0].result) == (True, pb.CHECK_RESULT_MISSED)
    assert held(town, plan) == [("check_30", town.PSYCH)]


def test_an_opinion_has_conditions_and_its_medication_is_not_for_the_school(town):
    plan = advance(town, opened(town), "ASSESS_LEAVE", opinion={**OPINION, "medication": "舍曲林"})
    assert list(plan.opinions[0].conditions) == OPINION["conditions"]
    assert plan.opinions[0].medication == ""


@pytest.mark.parametrize("event", [event for event in EVENTS if STEPS[event].needs and event != 16])
def test_a_step_without_what_it_needs_is_refused(town, event):
    plan = opened(town)
    store = town.gate.gateway.store
    source = STEPS[event].sources[0]

    def put(tx):  # any state in which this event can happen, without walking there
        room = town.gate.gateway.pipeline.rooms["xinqiao.api.referral.v1.ReturnService"]
        row = tx.get(tables.returns, plan.name.removeprefix("returns/"))
        kept = room._load(row)
        kept.state, kept.next_school = source, NEXT
        sealed = room._seal(row["id"], row["student"], kept)
        recipient = NEXT if STEPS[event].side == "next" else ""
        tx.update(tables.returns, (row["id"],), state=source, sealed=sealed, recipient=recipient)

    store.run(put)
    who = NEXT if STEPS[event].side == "next" else town.PSYCH
    reason = town.refusal(who, rpc.AdvanceReturnRequest(name=plan.name, event=event))
    assert reason == f"FAILED_PRECONDITION/{STEPS[event].needs[0].upper()}_REQUIRED"


@pytest.mark.parametrize(
    "leave", [("2026-02-30", "2026-03-05"), ("2026-03-05", "2026-03-01"), ("", "2026-03-01"), ("2026-03-01", "")]
)
def test_a_leave_needs_two_real_days_in_order(town, leave):
    plan = advance(town, opened(town), "ASSESS_LEAVE", "TALK")
    dates = {"first_day": leave[0], "last_day": leave[1]}
    assert town.refusal(town.PSYCH, request(town, plan, 3, leave=dates)) == "INVALID_ARGUMENT/DATE_RANGE"


def test_the_steps_back_follow_one_another(town):
    plan = advance(town, opened(town), *TO_LEAVE, *TO_ASSESSED)
    backwards = {"first_day": "2026-11-10", "steps": [
        {"first_day": "2026-11-20", "attendance": "a"}, {"first_day": "2026-11-12", "attendance": "b"}]}  # fmt: skip
    assert town.refusal(town.PSYCH, request(town, plan, 10, plan=backwards)) == "INVALID_ARGUMENT/DATE_RANGE"


def test_a_student_has_one_open_leave_at_most_and_can_have_another_later(town):
    local = town.student()
    plan = opened(town, local)
    again = rpc.OpenReturnRequest(student={"local_id": local}, found="again")
    assert town.refusal(town.PSYCH, again) == "ALREADY_EXISTS/OPEN_RETURN"
    advance(town, plan, "CANCEL")
    assert opened(town, local).name != plan.name


def test_a_strangers_plan_looks_like_none_at_all(town):
    plan = opened(town)
    for stranger in ("psych-li", NEXT):
        foreign = town.refusal(stranger, rpc.GetReturnRequest(name=plan.name))
        assert foreign == town.refusal(stranger, rpc.GetReturnRequest(name="returns/" + "0" * 32)) == "NOT_FOUND/RETURN"
        listed = town.call(stranger, rpc.ListReturnsRequest(page_size=1000)).plans
        assert plan.name not in [found.name for found in listed]


# -- to the next school -----------------------------------------------------------------------------------------------


def offered(town, *, consent=True):
    local = town.student()
    plan = advance(town, opened(town, local), *TO_LEAVE, *TO_ASSESSED, "PASS")
    if consent:
        town.consent(local, recipient=NEXT, purpose=5, classes=[2, 3, 5])
    return local, plan


def hand_over(plan, recipient=NEXT):
    return rpc.HandOverReturnRequest(name=plan.name, recipient=recipient, reason="升学")


def test_the_next_school_gets_the_plan_with_its_conditions_and_not_what_was_found(town):
    _, plan = offered(town)
    town.call(town.PSYCH, hand_over(plan))
    assert held(town, plan) == [("take_over", NEXT)]
    asked = town.call(NEXT, rpc.GetReturnRequest(name=plan.name)).plan
    assert asked.person.family_name == "欧阳"
    assert list(asked.plan.conditions) == ["按时服药"]
    assert (asked.found, asked.state_reason, list(asked.person.guardians)) == ("", "", [])
    taken = town.call(NEXT, rpc.AdvanceReturnRequest(name=plan.name, event=pb.RETURN_EVENT_TAKE_OVER)).plan
    assert (taken.handed_over_from, taken.state) == (plan.name, pb.RETURN_STATE_RETURNED)
    assert [check.day for check in taken.plan.checks] == [7, 30, 90]
    assert held(town, plan) == []
    assert held(town, taken) == [("check_7", "psych-li")]
    assert town.call("psych-li", rpc.GetReturnRequest(name=taken.name)).plan.found == ""
    assert town.refusal(town.PSYCH, rpc.GetReturnRequest(name=taken.name)) == "NOT_FOUND/RETURN"
    assert [r["partner"] for r in town.journal(kind="released") if r["reason"] == "return"][-1] == NEXT


def test_a_plan_is_taken_over_for_a_school_of_the_caller_only(town):
    _, plan = offered(town)
    town.call(town.PSYCH, hand_over(plan))
    take = rpc.AdvanceReturnRequest(name=plan.name, event=pb.RETURN_EVENT_TAKE_OVER, school="3205830001")
    assert town.refusal(NEXT, take) == "PERMISSION_DENIED/SCOPE"
    take = rpc.AdvanceReturnRequest(name=plan.name, event=pb.RETURN_EVENT_TAKE_OVER, school="3205830002")
    assert (
        town.rows(tables.returns, id=town.call(NEXT, take).plan.name.removeprefix("returns/"))[0]["school"]
        == "3205830002"
    )


def test_without_a_consent_nothing_is_handed_over_and_the_school_keeps_it(town):
    _, plan = offered(town, consent=False)
    assert town.refusal(town.PSYCH, hand_over(plan)) == "FAILED_PRECONDITION/NO_CONSENT"
    assert held(town, plan) == [("check_7", town.PSYCH)]


def test_a_consent_taken_back_after_the_offer_stops_the_take_over(town):
    local = town.student()
    plan = advance(town, opened(town, local), *TO_LEAVE, *TO_ASSESSED, "PASS")
    consent = town.consent(local, recipient=NEXT, purpose=5, classes=[2, 3, 5])
    town.call(town.PSYCH, hand_over(plan))
    town.call(town.PSYCH, WithdrawConsentRequest(name=consent.name))
    take = rpc.AdvanceReturnRequest(name=plan.name, event=pb.RETURN_EVENT_TAKE_OVER)
    assert town.refusal(NEXT, take) == "FAILED_PRECONDITION/WITHDRAWN"
    assert not town.call(NEXT, rpc.GetReturnRequest(name=plan.name)).plan.HasField("plan")
    assert not [found for found in town.call(NEXT, rpc.ListReturnsRequest()).plans if not found.name]
    assert held(town, plan) == [("take_over", NEXT)]


def test_a_declined_offer_comes_back_to_where_it_was(town):
    _, plan = offered(town)
    town.call(town.PSYCH, hand_over(plan))
    declined = rpc.AdvanceReturnRequest(name=plan.name, event=pb.RETURN_EVENT_DECLINE_HAND_OVER, reason="不是我校学生")
    town.call(NEXT, declined)
    back = town.call(town.PSYCH, rpc.GetReturnRequest(name=plan.name)).plan
    assert (back.state, back.next_school) == (pb.RETURN_STATE_RETURNED, "")
    assert held(town, plan) == [("check_7", town.PSYCH)]
    assert town.refusal(NEXT, rpc.GetReturnRequest(name=plan.name)) == "NOT_FOUND/RETURN"


@pytest.mark.parametrize("recipient", ["kunshan-mental-health", "kunshan-no1-middle", "psych-li", "nobody", "police"])
def test_only_another_school_is_a_next_school(town, recipient):
    _, plan = offered(town)
    assert town.refusal(town.PSYCH, hand_over(plan, recipient)) == "NOT_FOUND/RECIPIENT"


# -- the invariant ----------------------------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 10_000), st.booleans(), st.integers(0, 40)), min_size=4, max_size=24))
def test_whatever_happens_an_open_plan_has_one_holder_and_a_deadline_and_a_final_one_none(town, history):
    local = town.student()
    town.consent(local, recipient=NEXT, purpose=5, classes=[2, 3, 5])
    opened(town, local)
    for pick, wild, hours in history:
        town.clock.advance(timedelta(hours=hours))
        if hours % 3 == 0:
            town.gate.gateway.ladder.climb()
        student = town.inside_id(local)
        row = next((r for r in town.rows(tables.returns, student=student) if r["state"] not in FINAL), None)
        if row is None:
            break
        possible = [event for event in EVENTS if row["state"] in STEPS[event].sources]
        event = (EVENTS if wild else possible)[pick % len(EVENTS if wild else possible)]
        plan = pb.Return(name=f"returns/{row['id']}")
        who = row["recipient"] if STEPS[event].side == "next" and row["recipient"] else (
            "psych-li" if row["agency"] == NEXT else town.PSYCH
        )  # fmt: skip
        other = town.SCHOOL if row["agency"] == NEXT else NEXT
        asked = hand_over(plan, other) if event == 16 else request(town, plan, event)
        try:
            town.call(who, asked)
        except Refusal as refusal:
            assert refusal.reason in ("STATE", "NOT_YOURS", "NO_CONSENT")
            assert refusal.reason == "NO_CONSENT" or event not in possible
        else:
            assert event in possible
        for now in town.rows(tables.returns, student=student):
            holdings = town.rows(tables.holdings, item=f"returns/{now['id']}")
            if now["state"] in FINAL:
                assert holdings == []
                continue
            assert len(holdings) == 1
            assert holdings[0]["step"].partition("_")[0] == HOLDS[now["state"]].partition("_")[0]
            assert holdings[0]["holder"]
            assert holdings[0]["deadline_us"] > 0
        assert sum(r["state"] not in FINAL for r in town.rows(tables.returns, student=student)) <= 1


def test_every_state_is_reached_and_every_open_one_can_be_left():
    sources = {source for step in STEPS.values() for source in step.sources}
    targets = {step.target for step in STEPS.values()} | {pb.RETURN_STATE_FOUND, pb.RETURN_STATE_CLOSED}
    states = {value for value in pb.ReturnState.values() if value}
    assert targets == states
    assert sources == states - FINAL == set(HOLDS)
    assert set(STEPS) == set(EVENTS)
