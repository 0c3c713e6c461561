"""The one table of a referral's words elsewhere: complete, only words the standards have, and a way there and back."""

import pytest

from xinqiao.api.referral.v1.referral_pb2 import ReferralEvent as Event
from xinqiao.api.referral.v1.referral_pb2 import ReferralState as State
from xinqiao.api.referral.v1.referral_pb2 import Urgency
from xinqiao.contract.referral_codes import (
    BUSINESS,
    EQUIVALENTS,
    NOTHING,
    REQUEST_PRIORITY,
    RF1,
    RF1_PRIORITY,
    TASK,
    TASK_TERMINAL,
    WAITLISTED,
    WRITTEN_BY_SENDER,
    Contradiction,
    told_by_task,
)
from xinqiao.referral.states import FINAL, STEPS

STATES = {v for v in State.values() if v}
TASK_STATUS = {
    "draft", "requested", "received", "accepted", "rejected", "ready", "cancelled", "in-progress", "on-hold",
    "failed", "completed", "entered-in-error",
}  # fmt: skip
BSER = {"", "2.0", "3.0", "4.0", "5.1.1", "5.1.2", "5.1.3", "5.1.4", "5.2", "6.0", "7.0"}
# What the sender does is told by the sender, so it does not come back from the recipient's system.
NOT_TOLD_BACK = {
    State.REFERRAL_STATE_DRAFT: "never sent",
    State.REFERRAL_STATE_SENT: "the gateway's own first word",
    State.REFERRAL_STATE_RECEIVED: "SDOHCC has no `received`: a Task stays `requested`",
    State.REFERRAL_STATE_CLOSED: "a Task is `completed` once the outcome is reported; closing is the sender's",
    State.REFERRAL_STATE_RECALL_ASKED: "the sender asks",
    State.REFERRAL_STATE_REDIRECTED: "to the first recipient it is a cancellation",
    State.REFERRAL_STATE_TIMED_OUT: "the gateway's clock",
}


def test_every_state_has_its_equivalents_and_they_are_the_standards_words():
    assert set(EQUIVALENTS) == STATES
    assert {e.task for e in EQUIVALENTS.values()} <= TASK_STATUS
    assert {e.business for e in EQUIVALENTS.values()} - {WAITLISTED} <= BSER
    assert {e.rf1 for e in EQUIVALENTS.values()} <= {"", *RF1}  # HL7 table 0283
    assert set(BUSINESS) - {WAITLISTED} == BSER - {""}
    assert set(TASK) <= TASK_STATUS
    assert TASK_TERMINAL <= TASK_STATUS


@pytest.mark.parametrize("state", sorted(STATES - set(NOT_TOLD_BACK)), ids=State.Name)
def test_what_a_recipient_says_of_its_state_leads_to_that_state(state):
    said = EQUIVALENTS[state]
    event = told_by_task(said.task, said.business)
    assert state in {step.target for step in STEPS if step.event == event and "recipient" in step.side}


@pytest.mark.parametrize("state", sorted(NOT_TOLD_BACK), ids=State.Name)
def test_what_the_sender_says_is_never_read_back_as_another_event(state):
    said = EQUIVALENTS[state]
    if said.task not in ("completed", "cancelled", "failed"):
        assert told_by_task(said.task, said.business) == NOTHING


def test_rf1_leads_back_to_the_state_it_was_written_for():
    assert RF1[EQUIVALENTS[State.REFERRAL_STATE_ACCEPTED].rf1] == Event.REFERRAL_EVENT_ACCEPT
    assert RF1[EQUIVALENTS[State.REFERRAL_STATE_DECLINED].rf1] == Event.REFERRAL_EVENT_DECLINE
    assert RF1[EQUIVALENTS[State.REFERRAL_STATE_RECEIVED].rf1] == Event.REFERRAL_EVENT_RECEIVE
    assert RF1[EQUIVALENTS[State.REFERRAL_STATE_CANCELLED].rf1] == Event.REFERRAL_EVENT_CANCEL


def test_a_business_status_that_contradicts_the_task_is_a_contradiction():
    for status, business in (("requested", "7.0"), ("completed", "5.1.2"), ("rejected", "3.0")):
        with pytest.raises(Contradiction, match="contradicts"):
            told_by_task(status, business)
    with pytest.raises(Contradiction, match="BSeR"):
        told_by_task("in-progress", "5.1.9")
    with pytest.raises(Contradiction, match="needs a business status"):
        told_by_task("in-progress")


def test_a_pause_beats_every_business_status_and_received_is_told():
    assert told_by_task("on-hold", "5.1.1") == Event.REFERRAL_EVENT_HOLD
    assert told_by_task("received", "2.0") == told_by_task("received") == Event.REFERRAL_EVENT_RECEIVE


def test_a_no_show_is_not_a_completion_in_any_language():
    said = EQUIVALENTS[State.REFERRAL_STATE_NO_SHOW]
    assert said.task not in TASK_TERMINAL
    assert told_by_task(said.task, said.business) == Event.REFERRAL_EVENT_NO_SHOW


def test_priorities_name_every_urgency():
    assert set(RF1_PRIORITY) == set(REQUEST_PRIORITY) == set(Urgency.values())


def test_what_the_sender_writes_are_states_that_need_no_word_of_the_recipient():
    assert WRITTEN_BY_SENDER & FINAL == FINAL
    assert State.REFERRAL_STATE_ACCEPTED not in WRITTEN_BY_SENDER
