"""The referral table: what may follow what, who may say so, and what each state is called elsewhere."""

import pytest

from xinqiao.api.referral.v1.referral_pb2 import ReferralEvent as Event
from xinqiao.api.referral.v1.referral_pb2 import ReferralState as State
from xinqiao.config.clocks import Clocks
from xinqiao.config.district import District
from xinqiao.contract.errors import Refusal
from xinqiao.referral.states import EQUIVALENTS, FINAL, HOLDS, STEPS, advance

STATES = {v for v in State.values() if v}
EVENTS = {v for v in Event.values() if v}
SIDES = ("sender", "recipient", "gateway")
TASK_STATUS = {
    "draft", "requested", "received", "accepted", "rejected", "ready", "cancelled", "in-progress", "on-hold",
    "failed", "completed", "entered-in-error",
}  # fmt: skip


def test_every_state_has_its_equivalents_and_fhir_words_are_fhirs():
    assert set(EQUIVALENTS) == STATES
    assert {e.task for e in EQUIVALENTS.values()} <= TASK_STATUS
    assert {e.rf1 for e in EQUIVALENTS.values()} <= {"", "P", "A", "R", "E"}  # HL7 table 0283


def test_every_event_has_its_step_and_every_open_state_its_holder():
    assert set(STEPS) == EVENTS
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
                allowed = state in STEPS[event].sources and side in STEPS[event].side
                if allowed:
                    assert advance(state, event, side, reason="why") == STEPS[event].target
                    continue
                with pytest.raises(Refusal) as caught:
                    advance(state, event, side, reason="why")
                assert caught.value.reason == ("STATE" if side in STEPS[event].side else "NOT_YOURS")


def test_nothing_follows_a_final_state():
    assert not any(FINAL & set(step.sources) for step in STEPS.values())


def test_every_state_is_reached_and_every_open_state_can_end():
    reached, ends = {State.REFERRAL_STATE_DRAFT, State.REFERRAL_STATE_SENT}, set(FINAL)
    for _ in STATES:
        for step in STEPS.values():
            if reached & set(step.sources):
                reached.add(step.target)
            if step.target in ends:
                ends |= set(step.sources)
    assert reached == STATES
    assert ends == STATES


def test_closing_needs_an_outcome():
    assert STEPS[Event.REFERRAL_EVENT_CLOSE].sources == (State.REFERRAL_STATE_OUTCOME_REPORTED,)


def test_a_no_show_is_not_a_completion():
    assert EQUIVALENTS[State.REFERRAL_STATE_NO_SHOW].task == "in-progress"
    assert State.REFERRAL_STATE_NO_SHOW not in STEPS[Event.REFERRAL_EVENT_REPORT_OUTCOME].sources
    assert HOLDS[State.REFERRAL_STATE_NO_SHOW][0] == "sender"


@pytest.mark.parametrize("event", [e for e, s in STEPS.items() if s.needs_reason])
def test_an_event_that_owes_a_reason_is_refused_without_one(event):
    step = STEPS[event]
    with pytest.raises(Refusal) as caught:
        advance(step.sources[0], event, step.side[0], reason="  ")
    assert caught.value.reason == "REASON_REQUIRED"
