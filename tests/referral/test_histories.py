"""Random histories of referrals: whatever happens in whatever order, an open one is held and a final one is not."""

import random
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xinqiao.api.common.v1.options_pb2 import PURPOSE_OPERATION
from xinqiao.api.referral.v1 import referral_pb2 as pb
from xinqiao.api.referral.v1 import referral_service_pb2 as rpc
from xinqiao.store import tables
from xinqiao.testing.histories import Histories

EXAMPLE = Path(__file__).resolve().parents[2] / "config" / "gateway.example.yaml"
OUTCOME = pb.Outcome(diagnosis="d", treatment="t", fitness=1, school_advice="rest", care_advice="visit")


def holding(town, name):
    return town.rows(tables.holdings, item=name)


def referral(town, name):
    return town.rows(tables.referrals, id=name.removeprefix("referrals/"))[0]


@pytest.fixture(scope="module")
def local(town):
    local = town.student()
    town.consent(local)
    return local


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False), st.integers(min_value=30, max_value=70))
def test_whatever_happens_an_open_referral_has_one_holder_and_one_deadline_and_a_final_one_none(luck, steps):
    """Several referrals; crashes, repeats, late updates, redirects, recalls, escalations, hospitals that fail."""
    with tempfile.TemporaryDirectory() as folder:
        town = Histories(Path(folder) / "town", EXAMPLE, luck)
        try:
            for _ in range(steps):
                word = town.step()
                assert town.violations == [], word
        finally:
            town.close()


def test_a_history_on_the_other_database_keeps_the_promise_too(store_urls, tmp_path):
    url, keys_url = store_urls
    if url.startswith("sqlite"):
        pytest.skip("the property test above is on SQLite")
    town = Histories(tmp_path / "town", EXAMPLE, random.Random(11), url=url, keys_url=keys_url)
    try:
        for _ in range(150):
            town.step()
        assert town.violations == []
        assert town.done["crash and restart"] + town.done["killed in a transaction"] > 0
    finally:
        town.close()


def test_an_answer_to_a_repeated_event_is_the_first_one_and_changes_nothing(town, local):
    name = town.refer(local).referral.name
    request = rpc.AdvanceReferralRequest(request_id=town.key(), name=name, event=pb.REFERRAL_EVENT_ACCEPT)
    first = town.call(town.HOSPITAL, request)
    town.advance(town.HOSPITAL, name, pb.REFERRAL_EVENT_SCHEDULE)
    before = referral(town, name)
    assert town.call(town.HOSPITAL, request) == first
    assert referral(town, name) == before


def test_going_on_after_a_pause_leads_back_to_where_it_was(town, local):
    name = town.refer(local).referral.name
    town.advance(town.HOSPITAL, name, pb.REFERRAL_EVENT_ACCEPT)
    town.advance(town.HOSPITAL, name, pb.REFERRAL_EVENT_SCHEDULE)
    town.advance(town.PSYCH, name, pb.REFERRAL_EVENT_HOLD)
    assert town.advance(town.PSYCH, name, pb.REFERRAL_EVENT_RESUME).state == pb.REFERRAL_STATE_SCHEDULED


def test_every_change_stands_in_the_history_with_its_time_and_reason(town, local):
    name = town.refer(local).referral.name
    town.advance(town.PSYCH, name, pb.REFERRAL_EVENT_HOLD, reason="family is away")
    change = town.call(town.PSYCH, rpc.GetReferralRequest(name=name)).referral.history[-1]
    assert (change.event, change.actor, change.reason) == (pb.REFERRAL_EVENT_HOLD, town.PSYCH, "family is away")
    assert change.time_us > 0


def finish(town, local):
    name = town.refer(local).referral.name
    town.advance(town.HOSPITAL, name, pb.REFERRAL_EVENT_ACCEPT)
    town.call(town.HOSPITAL, rpc.ReportOutcomeRequest(name=name, outcome=OUTCOME))
    return name


def test_a_referral_from_sent_to_closed_leaves_every_step_in_its_history_and_journal(town, local):
    name = finish(town, local)
    closed = town.advance(town.PSYCH, name, pb.REFERRAL_EVENT_CLOSE)
    assert [change.event for change in closed.history] == [1, 3, 11, 12]
    assert holding(town, name) == []
    assert {row["kind"] for row in town.journal(resource=name)} >= {
        "referral.created", "referral.advanced", "referral.outcome",
    }  # fmt: skip


def test_the_hospital_cannot_close_and_the_school_cannot_accept(town, local):
    name = finish(town, local)
    close = rpc.AdvanceReferralRequest(name=name, event=pb.REFERRAL_EVENT_CLOSE)
    assert town.refusal(town.HOSPITAL, close) == "PERMISSION_DENIED/NOT_YOURS"
    accept = rpc.AdvanceReferralRequest(name=town.refer(local).referral.name, event=pb.REFERRAL_EVENT_ACCEPT)
    assert town.refusal(town.PSYCH, accept) == "PERMISSION_DENIED/NOT_YOURS"


def test_an_outcome_cannot_be_smuggled_in_without_its_content(town, local):
    name = town.refer(local).referral.name
    request = rpc.AdvanceReferralRequest(name=name, event=pb.REFERRAL_EVENT_REPORT_OUTCOME)
    assert town.refusal(town.HOSPITAL, request) == "FAILED_PRECONDITION/OUTCOME_REQUIRED"


def test_a_stale_version_is_refused_and_the_current_one_taken(town, local):
    made = town.refer(local).referral
    seen = town.advance(town.HOSPITAL, made.name, pb.REFERRAL_EVENT_ACCEPT)
    stale = rpc.AdvanceReferralRequest(name=made.name, event=pb.REFERRAL_EVENT_WAITLIST, etag=made.etag)
    assert town.refusal(town.HOSPITAL, stale) == "ABORTED/VERSION"
    assert town.advance(town.HOSPITAL, made.name, pb.REFERRAL_EVENT_WAITLIST, etag=seen.etag).state == 6


def test_delivery_marks_the_referral_received_and_gives_the_recipient_its_clock(town, local):
    name = town.refer(local).referral.name
    assert town.deliver_all()
    assert referral(town, name)["state"] == pb.REFERRAL_STATE_RECEIVED
    assert holding(town, name)[0]["holder"] == town.HOSPITAL


def test_an_unconfirmed_tier_cannot_be_referred_but_an_emergency_never_waits(town):
    local = town.student()
    town.consent(local)
    triage = town.submit(local).triage.name
    assert town.refusal(town.PSYCH, town.refer_request(local, triage=triage)).endswith("TIER_NOT_CONFIRMED")
    made = town.refer(local, triage=triage, urgency=pb.URGENCY_EMERGENCY, crisis_facts="facts")
    assert made.referral.tier == 4
    assert town.rows(tables.deliveries, item=made.referral.name)[0]["lane"] == 2


def test_a_triage_of_another_student_cannot_carry_a_referral(town, local):
    other = town.student()
    assert town.refusal(town.PSYCH, town.refer_request(local, triage=town.confirmed(other))) == "NOT_FOUND/TRIAGE"


@pytest.mark.parametrize("recipient", ["nobody", "psych-chen", "kunshan-no1-middle", "bureau-admin"])
def test_only_an_agency_of_a_role_that_the_policy_names_takes_referrals(town, local, recipient):
    assert town.refusal(town.PSYCH, town.refer_request(local, recipient=recipient)) == "NOT_FOUND/RECIPIENT"


def test_a_strangers_referral_looks_like_none_at_all(town, local):
    name = town.refer(local).referral.name
    for stranger in ("other-hospital", "psych-li", "other-school"):
        foreign = town.refusal(stranger, rpc.GetReferralRequest(name=name))
        assert foreign == town.refusal(stranger, rpc.GetReferralRequest(name="referrals/" + "0" * 32))
        assert foreign == "NOT_FOUND/REFERRAL"
        assert town.call(stranger, rpc.ListReferralsRequest()).referrals == []


# -- the ladder -------------------------------------------------------------------------------------------------------


def test_a_passed_deadline_moves_the_item_up_the_districts_ladder_once_each(fresh_town):
    town = fresh_town
    local = town.student()
    town.consent(local)
    name = town.refer(local).referral.name
    ladder = town.gate.gateway.ladder
    assert ladder.climb() == 0
    assert holding(town, name)[0]["holder"] == town.HOSPITAL
    for round_, holder in enumerate([town.PSYCH, town.SCHOOL, town.OPERATOR, town.OPERATOR], 1):
        deadline = holding(town, name)[0]["deadline_us"]
        town.clock.advance(timedelta(microseconds=deadline + 1 - town.clock.now_us()))
        assert ladder.climb() >= 1
        assert ladder.climb() == 0
        held = holding(town, name)
        assert [(row["holder"], row["escalations"]) for row in held] == [(holder, round_)]
        assert held[0]["deadline_us"] > town.clock.now_us()
    rows = town.journal(kind="escalated", resource=name)
    assert len(rows) == 4
    assert {row["purpose"] for row in rows} == {PURPOSE_OPERATION}


def test_an_item_that_moved_on_in_time_is_not_escalated(fresh_town):
    town = fresh_town
    local = town.student()
    town.consent(local)
    name = town.refer(local).referral.name
    deadline = holding(town, name)[0]["deadline_us"]
    town.advance(town.HOSPITAL, name, pb.REFERRAL_EVENT_ACCEPT)
    town.clock.advance(timedelta(microseconds=deadline + 1 - town.clock.now_us()))
    town.gate.gateway.ladder.climb()
    assert town.journal(kind="escalated", resource=name) == []


def test_an_escalated_item_that_is_acted_on_starts_a_fresh_clock(fresh_town):
    town = fresh_town
    local = town.student()
    town.consent(local)
    name = town.refer(local).referral.name
    town.clock.advance(timedelta(days=3))
    town.gate.gateway.ladder.climb()
    town.advance(town.HOSPITAL, name, pb.REFERRAL_EVENT_ACCEPT)
    held = holding(town, name)[0]
    assert (held["holder"], held["escalations"]) == (town.HOSPITAL, 0)


def test_holdings_show_each_partner_what_it_may_watch(fresh_town):
    town = fresh_town
    local = town.student()
    town.consent(local)
    name = town.refer(local).referral.name
    listed = {
        who: {h.item for h in town.call(who, rpc.ListHoldingsRequest()).holdings}
        for who in (town.PSYCH, town.HOSPITAL, town.OPERATOR, "other-hospital", "psych-li")
    }
    assert all(name in listed[who] for who in (town.PSYCH, town.HOSPITAL, town.OPERATOR))
    assert listed["other-hospital"] == listed["psych-li"] == set()


def test_a_hospitals_worklist_is_cut_by_its_room_not_by_the_last_net(fresh_town, caplog):
    town = fresh_town
    local = town.student()
    town.consent(local)
    town.refer(local)
    caplog.clear()
    town.call(town.HOSPITAL, rpc.ListHoldingsRequest())
    assert not [r for r in caplog.records if "cut fields" in r.getMessage()]
