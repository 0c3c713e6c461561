"""The state machine of a referral as a table: what may follow what, by whose word; see ``contract.referral_codes`` for
what each state is called in FHIR, BSeR and HL7 v2.
"""

from typing import Literal, NamedTuple

from xinqiao.api.referral.v1.referral_pb2 import ReferralEvent as Event
from xinqiao.api.referral.v1.referral_pb2 import ReferralState as State
from xinqiao.contract.errors import Refusal

Side = Literal["sender", "recipient", "gateway"]


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
    """One row: what an event does, from which states, to which, by which side, and whether it must say why."""

    event: int
    sources: tuple[int, ...]
    target: int
    side: tuple[Side, ...]
    needs_reason: bool = False


STEPS: tuple[Step, ...] = (
    Step(
        Event.REFERRAL_EVENT_SEND,
        (State.REFERRAL_STATE_DRAFT, State.REFERRAL_STATE_DECLINED, State.REFERRAL_STATE_TIMED_OUT),
        State.REFERRAL_STATE_SENT, ("sender",),
    ),
    Step(
        Event.REFERRAL_EVENT_RECEIVE, (State.REFERRAL_STATE_SENT,), State.REFERRAL_STATE_RECEIVED,
        ("recipient", "gateway"),
    ),
    # Told by telephone, in the sender's word: who answered stands in the reason.
    Step(
        Event.REFERRAL_EVENT_RECEIVE, (State.REFERRAL_STATE_SENT, State.REFERRAL_STATE_TIMED_OUT),
        State.REFERRAL_STATE_RECEIVED, ("sender",), True,
    ),
    Step(
        Event.REFERRAL_EVENT_ACCEPT,
        (*_UNANSWERED, State.REFERRAL_STATE_WAITLISTED, State.REFERRAL_STATE_TIMED_OUT),
        State.REFERRAL_STATE_ACCEPTED, ("recipient",),
    ),
    Step(
        Event.REFERRAL_EVENT_DECLINE,
        (*_UNANSWERED, State.REFERRAL_STATE_WAITLISTED, State.REFERRAL_STATE_ACCEPTED),
        State.REFERRAL_STATE_DECLINED, ("recipient",), True,
    ),
    Step(
        Event.REFERRAL_EVENT_WAITLIST, (*_UNANSWERED, State.REFERRAL_STATE_ACCEPTED, State.REFERRAL_STATE_SCHEDULED),
        State.REFERRAL_STATE_WAITLISTED, ("recipient",),
    ),
    Step(
        Event.REFERRAL_EVENT_SCHEDULE,
        (State.REFERRAL_STATE_ACCEPTED, State.REFERRAL_STATE_WAITLISTED, State.REFERRAL_STATE_SCHEDULED,
         State.REFERRAL_STATE_NO_SHOW, State.REFERRAL_STATE_ATTENDED),
        State.REFERRAL_STATE_SCHEDULED, ("recipient",),
    ),
    Step(
        Event.REFERRAL_EVENT_NO_SHOW, (State.REFERRAL_STATE_SCHEDULED,), State.REFERRAL_STATE_NO_SHOW, ("recipient",)
    ),
    Step(
        Event.REFERRAL_EVENT_ATTEND,
        (State.REFERRAL_STATE_ACCEPTED, State.REFERRAL_STATE_SCHEDULED, State.REFERRAL_STATE_RECALL_ASKED),
        State.REFERRAL_STATE_ATTENDED, ("recipient",),
    ),
    Step(
        Event.REFERRAL_EVENT_HOLD, _OPEN_AT_RECIPIENT, State.REFERRAL_STATE_ON_HOLD, ("sender", "recipient"), True
    ),
    Step(
        Event.REFERRAL_EVENT_RESUME, (State.REFERRAL_STATE_ON_HOLD,), State.REFERRAL_STATE_ACCEPTED,
        ("sender", "recipient"),
    ),
    Step(
        Event.REFERRAL_EVENT_REPORT_OUTCOME,
        # The last is a correction: the sender looks again, under a new deadline, before it closes.
        (State.REFERRAL_STATE_ACCEPTED, State.REFERRAL_STATE_SCHEDULED, State.REFERRAL_STATE_ATTENDED,
         State.REFERRAL_STATE_RECALL_ASKED, State.REFERRAL_STATE_OUTCOME_REPORTED),
        State.REFERRAL_STATE_OUTCOME_REPORTED, ("recipient",),
    ),
    Step(
        Event.REFERRAL_EVENT_CLOSE, (State.REFERRAL_STATE_OUTCOME_REPORTED,), State.REFERRAL_STATE_CLOSED, ("sender",)
    ),
    Step(
        Event.REFERRAL_EVENT_ASK_RECALL, (*_OPEN_AT_RECIPIENT, State.REFERRAL_STATE_ON_HOLD),
        State.REFERRAL_STATE_RECALL_ASKED, ("sender",), True,
    ),
    Step(
        Event.REFERRAL_EVENT_CANCEL,
        (State.REFERRAL_STATE_DRAFT, State.REFERRAL_STATE_RECALL_ASKED, State.REFERRAL_STATE_DECLINED,
         State.REFERRAL_STATE_TIMED_OUT, State.REFERRAL_STATE_NO_SHOW),
        State.REFERRAL_STATE_CANCELLED, ("sender",), True,
    ),
    # A recipient that cancels grants a recall; unasked, it gives the student back, and that is a refusal.
    Step(
        Event.REFERRAL_EVENT_CANCEL, (State.REFERRAL_STATE_RECALL_ASKED,), State.REFERRAL_STATE_CANCELLED,
        ("recipient",),
    ),
    Step(
        Event.REFERRAL_EVENT_CANCEL, (*_OPEN_AT_RECIPIENT, State.REFERRAL_STATE_ON_HOLD),
        State.REFERRAL_STATE_DECLINED, ("recipient",), True,
    ),
    Step(
        Event.REFERRAL_EVENT_REDIRECT,
        (State.REFERRAL_STATE_DECLINED, State.REFERRAL_STATE_TIMED_OUT, State.REFERRAL_STATE_NO_SHOW,
         State.REFERRAL_STATE_RECALL_ASKED),
        State.REFERRAL_STATE_REDIRECTED, ("sender",), True,
    ),
    # The crisis lane goes on to the next hospital when the first has not confirmed receipt.
    Step(
        Event.REFERRAL_EVENT_REDIRECT, (State.REFERRAL_STATE_SENT, State.REFERRAL_STATE_TIMED_OUT),
        State.REFERRAL_STATE_REDIRECTED, ("gateway",), True,
    ),
    Step(
        Event.REFERRAL_EVENT_TIME_OUT, (*_UNANSWERED, State.REFERRAL_STATE_WAITLISTED),
        State.REFERRAL_STATE_TIMED_OUT, ("gateway",),
    ),
)  # fmt: skip


def row(state: int, event: int, side: Side) -> Step | None:
    """The row of the table for this state, event and side; None where there is none."""
    for step in STEPS:
        if step.event == event and state in step.sources and side in step.side:
            return step
    return None


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
    step = row(state, event, side)
    if step is None:
        sides = sorted({each for step in STEPS if step.event == event for each in step.side})
        if side not in sides:
            raise Refusal("PERMISSION_DENIED", "NOT_YOURS", f"only the {' or '.join(sides)} does this")
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
