"""The state machine of a referral as a table, and its equivalents in FHIR Task, BSeR and HL7 RF1.

Sources: HL7 FHIR R4 Task, SDOHCC task states, BSeR TaskBusinessStatusCS, HL7 v2 table 0283; Suzhou draft Art. 36.
"""

from typing import Literal, NamedTuple

from xinqiao.api.referral.v1.referral_pb2 import ReferralEvent as Event
from xinqiao.api.referral.v1.referral_pb2 import ReferralState as State
from xinqiao.contract.errors import Refusal

Side = Literal["sender", "recipient", "gateway"]


class Equivalent(NamedTuple):
    """What a state is called elsewhere; empty where a standard has no word for it."""

    task: str
    bser: str
    rf1: str


EQUIVALENTS: dict[int, Equivalent] = {
    State.REFERRAL_STATE_DRAFT: Equivalent("draft", "", ""),
    State.REFERRAL_STATE_SENT: Equivalent("requested", "2.0", "P"),
    State.REFERRAL_STATE_RECEIVED: Equivalent("requested", "2.0", "P"),
    State.REFERRAL_STATE_ACCEPTED: Equivalent("accepted", "3.0", "A"),
    State.REFERRAL_STATE_DECLINED: Equivalent("rejected", "4.0", "R"),
    State.REFERRAL_STATE_WAITLISTED: Equivalent("accepted", "3.0", "A"),
    State.REFERRAL_STATE_SCHEDULED: Equivalent("in-progress", "5.1.1", "A"),
    State.REFERRAL_STATE_NO_SHOW: Equivalent("in-progress", "5.1.2", "A"),
    State.REFERRAL_STATE_ATTENDED: Equivalent("in-progress", "5.1.4", "A"),
    State.REFERRAL_STATE_ON_HOLD: Equivalent("on-hold", "", "A"),
    State.REFERRAL_STATE_OUTCOME_REPORTED: Equivalent("completed", "7.0", "A"),
    State.REFERRAL_STATE_CLOSED: Equivalent("completed", "7.0", "A"),
    State.REFERRAL_STATE_RECALL_ASKED: Equivalent("in-progress", "5.2", "A"),
    State.REFERRAL_STATE_CANCELLED: Equivalent("cancelled", "6.0", "E"),
    State.REFERRAL_STATE_REDIRECTED: Equivalent("cancelled", "6.0", "E"),
    State.REFERRAL_STATE_TIMED_OUT: Equivalent("failed", "", "E"),
}

FINAL = frozenset({State.REFERRAL_STATE_CLOSED, State.REFERRAL_STATE_CANCELLED, State.REFERRAL_STATE_REDIRECTED})
"""States in which nobody holds the referral any more."""

_OPEN_AT_RECIPIENT = (
    State.REFERRAL_STATE_SENT,
    State.REFERRAL_STATE_RECEIVED,
    State.REFERRAL_STATE_ACCEPTED,
    State.REFERRAL_STATE_WAITLISTED,
    State.REFERRAL_STATE_SCHEDULED,
    State.REFERRAL_STATE_NO_SHOW,
    State.REFERRAL_STATE_ATTENDED,
)
_UNANSWERED = (State.REFERRAL_STATE_SENT, State.REFERRAL_STATE_RECEIVED)


class Step(NamedTuple):
    """What an event does: from which states, to which, by which side, and what must be said."""

    sources: tuple[int, ...]
    target: int
    side: tuple[Side, ...]
    needs_reason: bool = False


STEPS: dict[int, Step] = {
    Event.REFERRAL_EVENT_SEND: Step(
        (State.REFERRAL_STATE_DRAFT, State.REFERRAL_STATE_DECLINED, State.REFERRAL_STATE_TIMED_OUT),
        State.REFERRAL_STATE_SENT, ("sender",),
    ),
    Event.REFERRAL_EVENT_RECEIVE: Step(
        (State.REFERRAL_STATE_SENT,), State.REFERRAL_STATE_RECEIVED, ("recipient", "gateway")
    ),
    Event.REFERRAL_EVENT_ACCEPT: Step(
        (*_UNANSWERED, State.REFERRAL_STATE_WAITLISTED, State.REFERRAL_STATE_TIMED_OUT),
        State.REFERRAL_STATE_ACCEPTED, ("recipient",),
    ),
    Event.REFERRAL_EVENT_DECLINE: Step(
        (*_UNANSWERED, State.REFERRAL_STATE_WAITLISTED, State.REFERRAL_STATE_ACCEPTED),
        State.REFERRAL_STATE_DECLINED, ("recipient",), True,
    ),
    Event.REFERRAL_EVENT_WAITLIST: Step(
        (*_UNANSWERED, State.REFERRAL_STATE_ACCEPTED), State.REFERRAL_STATE_WAITLISTED, ("recipient",)
    ),
    Event.REFERRAL_EVENT_SCHEDULE: Step(
        (State.REFERRAL_STATE_ACCEPTED, State.REFERRAL_STATE_WAITLISTED, State.REFERRAL_STATE_SCHEDULED,
         State.REFERRAL_STATE_NO_SHOW, State.REFERRAL_STATE_ATTENDED),
        State.REFERRAL_STATE_SCHEDULED, ("recipient",),
    ),
    Event.REFERRAL_EVENT_NO_SHOW: Step(
        (State.REFERRAL_STATE_SCHEDULED,), State.REFERRAL_STATE_NO_SHOW, ("recipient",)
    ),
    Event.REFERRAL_EVENT_ATTEND: Step(
        (State.REFERRAL_STATE_ACCEPTED, State.REFERRAL_STATE_SCHEDULED, State.REFERRAL_STATE_RECALL_ASKED),
        State.REFERRAL_STATE_ATTENDED, ("recipient",)
    ),
    Event.REFERRAL_EVENT_HOLD: Step(
        _OPEN_AT_RECIPIENT, State.REFERRAL_STATE_ON_HOLD, ("sender", "recipient"), True
    ),
    Event.REFERRAL_EVENT_RESUME: Step(
        (State.REFERRAL_STATE_ON_HOLD,), State.REFERRAL_STATE_ACCEPTED, ("sender", "recipient")
    ),
    Event.REFERRAL_EVENT_REPORT_OUTCOME: Step(
        (State.REFERRAL_STATE_ACCEPTED, State.REFERRAL_STATE_SCHEDULED, State.REFERRAL_STATE_ATTENDED,
         State.REFERRAL_STATE_RECALL_ASKED),
        State.REFERRAL_STATE_OUTCOME_REPORTED, ("recipient",),
    ),
    Event.REFERRAL_EVENT_CLOSE: Step(
        (State.REFERRAL_STATE_OUTCOME_REPORTED,), State.REFERRAL_STATE_CLOSED, ("sender",)
    ),
    Event.REFERRAL_EVENT_ASK_RECALL: Step(
        _OPEN_AT_RECIPIENT, State.REFERRAL_STATE_RECALL_ASKED, ("sender",), True
    ),
    Event.REFERRAL_EVENT_CANCEL: Step(
        (State.REFERRAL_STATE_DRAFT, State.REFERRAL_STATE_RECALL_ASKED, State.REFERRAL_STATE_DECLINED,
         State.REFERRAL_STATE_TIMED_OUT, State.REFERRAL_STATE_NO_SHOW),
        State.REFERRAL_STATE_CANCELLED, ("sender",), True,
    ),
    Event.REFERRAL_EVENT_REDIRECT: Step(
        (State.REFERRAL_STATE_DECLINED, State.REFERRAL_STATE_TIMED_OUT), State.REFERRAL_STATE_REDIRECTED,
        ("sender",), True,
    ),
    Event.REFERRAL_EVENT_TIME_OUT: Step(
        (*_UNANSWERED, State.REFERRAL_STATE_WAITLISTED), State.REFERRAL_STATE_TIMED_OUT, ("gateway",)
    ),
}  # fmt: skip

HOLDS: dict[int, tuple[Side, str]] = {
    State.REFERRAL_STATE_DRAFT: ("sender", "send"),
    State.REFERRAL_STATE_SENT: ("recipient", "accept"),
    State.REFERRAL_STATE_RECEIVED: ("recipient", "accept"),
    State.REFERRAL_STATE_ACCEPTED: ("recipient", "outcome"),
    State.REFERRAL_STATE_DECLINED: ("sender", "refer"),
    State.REFERRAL_STATE_WAITLISTED: ("recipient", "accept"),
    State.REFERRAL_STATE_SCHEDULED: ("recipient", "outcome"),
    State.REFERRAL_STATE_NO_SHOW: ("sender", "refer"),
    State.REFERRAL_STATE_ATTENDED: ("recipient", "outcome"),
    State.REFERRAL_STATE_ON_HOLD: ("sender", "outcome"),
    State.REFERRAL_STATE_OUTCOME_REPORTED: ("sender", "close"),
    State.REFERRAL_STATE_RECALL_ASKED: ("recipient", "accept"),
    State.REFERRAL_STATE_TIMED_OUT: ("sender", "refer"),
}
"""Who must act next in each open state, and on which of the district's clocks."""


def advance(state: int, event: int, side: Side, *, reason: str = "") -> int:
    """The state after ``event``.

    Raises Refusal PERMISSION_DENIED/NOT_YOURS when the other side does this, FAILED_PRECONDITION/STATE when it cannot
    happen now, REASON_REQUIRED without a reason where one is owed.
    """
    step = STEPS[event]
    if side not in step.side:
        raise Refusal("PERMISSION_DENIED", "NOT_YOURS", f"only the {' or '.join(step.side)} does this")
    if state not in step.sources:
        raise Refusal(
            "FAILED_PRECONDITION", "STATE",
            f"{word(Event.Name(Event.ValueType(event)))} cannot follow {word(State.Name(State.ValueType(state)))}",
        )  # fmt: skip
    if step.needs_reason and not reason.strip():
        raise Refusal("FAILED_PRECONDITION", "REASON_REQUIRED", "say why in reason: the other side must be able to act")
    return step.target


def word(name: str) -> str:
    """``ON_HOLD`` for ``REFERRAL_STATE_ON_HOLD``."""
    return name.removeprefix("REFERRAL_STATE_").removeprefix("REFERRAL_EVENT_")
