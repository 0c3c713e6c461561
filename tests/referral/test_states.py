"""The referral table: what may follow what, who may say so, and what each state is called elsewhere."""

import pytest

from xinqiao.api.referral.v1.referral_pb2 import ReferralEvent as Event
from xinqiao.api.referral.v1.referral_pb2 import ReferralState as State
from xinqiao.config.clocks import Clocks
from xinqiao.config.district import District
from xinqiao.contract.errors import Refusal
from xinqiao.referral.states import FINAL, HOLDS, STEPS, advance, row

STATES = {v for v in State.values() if v}
EVENTS = {v for v in Event.values() if v}
SIDES = ("sender", "recipient", "gateway")


def test_every_event_has_its_step_and_every_open_state_its_holder():
    assert {step.event for step in STEPS} == EVENTS
    assert set(HOLDS) == STATES - FINAL


def test_every_step_runs_on_a_clock_of_the_district():
    clocks = Clocks(District(district="320583"))
    for _, step in HOLDS.values():
        for tier in range(5):
            assert clocks.deadline(tier, step, 1) > 1


def test_only_what_the_table_says_can_happen():
    for state in STATES:
        for event in EVENTS:
            for side in SIDES:
                step = row(state, event, side)
                if step is not None:
                    assert advance(state, event, side, reason="why") == step.target
                    continue
                with pytest.raises(Refusal) as caught:
                    advance(state, event, side, reason="why")
                theirs = any(step.event == event and side in step.side for step in STEPS)
                assert caught.value.reason == ("STATE" if theirs else "NOT_YOURS")


def test_no_two_rows_answer_the_same_question():
    asked = [(step.event, state, side) for step in STEPS for state in step.sources for side in step.side]
    assert len(asked) == len(set(asked))


def test_nothing_follows_a_final_state():
    assert not any(FINAL & set(step.sources) for step in STEPS)


def test_every_state_is_reached_and_every_open_state_can_end():
    reached, ends = {State.REFERRAL_STATE_DRAFT, State.REFERRAL_STATE_SENT}, set(FINAL)
    for _ in STATES:
        for step in STEPS:
            if reached & set(step.sources):
                reached.add(step.target)
            if step.target in ends:
                ends |= set(step.sources)
    assert reached == STATES
    assert ends == STATES


def test_closing_needs_an_outcome():
    closing = [step for step in STEPS if step.target == State.REFERRAL_STATE_CLOSED]
    assert [step.sources for step in closing] == [(State.REFERRAL_STATE_OUTCOME_REPORTED,)]


def test_a_no_show_is_not_a_completion():
    assert row(State.REFERRAL_STATE_NO_SHOW, Event.REFERRAL_EVENT_REPORT_OUTCOME, "recipient") is None
    assert HOLDS[State.REFERRAL_STATE_NO_SHOW][0] == "sender"


@pytest.mark.parametrize("step", [step for step in STEPS if step.needs_reason])
def test_an_event_that_owes_a_reason_is_refused_without_one(step):
    with pytest.raises(Refusal) as caught:
        advance(step.sources[0], step.event, step.side[0], reason="  ")
    assert caught.value.reason == "REASON_REQUIRED"


def test_a_recipient_that_cancels_grants_a_recall_and_otherwise_gives_the_student_back():
    cancel = Event.REFERRAL_EVENT_CANCEL
    assert advance(State.REFERRAL_STATE_RECALL_ASKED, cancel, "recipient") == State.REFERRAL_STATE_CANCELLED
    back = advance(State.REFERRAL_STATE_ACCEPTED, cancel, "recipient", reason="why")
    assert back == State.REFERRAL_STATE_DECLINED
    assert HOLDS[back][0] == "sender"
