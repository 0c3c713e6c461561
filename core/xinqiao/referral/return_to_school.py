"""The state machine of a leave and the return from it as a table: who may take which step, what each one needs, and who
holds it next, on which of the district's clocks.

Source: 健康研究 2025;45(3):241, Hangzhou expert consensus: four steps of leave, five of return, an appeal.
"""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from typing import Literal, NamedTuple

from xinqiao.api.referral.v1 import return_pb2 as pb
from xinqiao.api.referral.v1.return_pb2 import ReturnEvent as Event
from xinqiao.api.referral.v1.return_pb2 import ReturnState as State
from xinqiao.config.district import ReturnTerms
from xinqiao.contract.clock import BEIJING, to_us
from xinqiao.contract.errors import Refusal

Side = Literal["school", "next"]
Need = Literal["reason", "opinion", "leave", "assessment", "plan", "check"]
_DAY_US = 86_400_000_000

FINAL = frozenset({State.RETURN_STATE_CLOSED, State.RETURN_STATE_TRANSFERRED, State.RETURN_STATE_CANCELLED})
"""States in which nobody holds it any more."""


class Step(NamedTuple):
    """What an event does: from which states, to which, by which side, and what it must bring."""

    sources: tuple[int, ...]
    target: int
    needs: tuple[Need, ...] = ()
    side: Side = "school"


_LEAVING = (
    State.RETURN_STATE_FOUND,
    State.RETURN_STATE_LEAVE_ASSESSED,
    State.RETURN_STATE_FAMILY_TALKED,
    State.RETURN_STATE_LEAVE_APPLIED,
)

STEPS: Mapping[int, Step] = {
    Event.RETURN_EVENT_ASSESS_LEAVE: Step(
        (State.RETURN_STATE_FOUND,), State.RETURN_STATE_LEAVE_ASSESSED, ("opinion",)
    ),
    Event.RETURN_EVENT_TALK: Step(
        (State.RETURN_STATE_LEAVE_ASSESSED,), State.RETURN_STATE_FAMILY_TALKED, ("reason",)
    ),
    Event.RETURN_EVENT_APPLY_LEAVE: Step(
        (State.RETURN_STATE_FAMILY_TALKED,), State.RETURN_STATE_LEAVE_APPLIED, ("leave",)
    ),
    Event.RETURN_EVENT_START_LEAVE: Step((State.RETURN_STATE_LEAVE_APPLIED,), State.RETURN_STATE_ON_LEAVE),
    Event.RETURN_EVENT_EXTEND_LEAVE: Step(
        (State.RETURN_STATE_ON_LEAVE, State.RETURN_STATE_NOT_PASSED), State.RETURN_STATE_ON_LEAVE, ("leave", "reason")
    ),
    Event.RETURN_EVENT_SUBMIT_MATERIALS: Step(
        (State.RETURN_STATE_ON_LEAVE, State.RETURN_STATE_NOT_PASSED), State.RETURN_STATE_MATERIALS, ("opinion",)
    ),
    Event.RETURN_EVENT_REJECT_MATERIALS: Step(
        (State.RETURN_STATE_MATERIALS,), State.RETURN_STATE_ON_LEAVE, ("reason",)
    ),
    Event.RETURN_EVENT_REVIEW: Step((State.RETURN_STATE_MATERIALS,), State.RETURN_STATE_REVIEWED),
    Event.RETURN_EVENT_ASSESS_RETURN: Step(
        (State.RETURN_STATE_REVIEWED, State.RETURN_STATE_APPEALED), State.RETURN_STATE_ASSESSED, ("assessment",)
    ),
    Event.RETURN_EVENT_PASS: Step(
        (State.RETURN_STATE_ASSESSED, State.RETURN_STATE_APPEALED), State.RETURN_STATE_RETURNED, ("plan",)
    ),
    Event.RETURN_EVENT_NOT_PASS: Step(
        (State.RETURN_STATE_ASSESSED, State.RETURN_STATE_APPEALED), State.RETURN_STATE_NOT_PASSED, ("reason",)
    ),
    Event.RETURN_EVENT_APPEAL: Step((State.RETURN_STATE_NOT_PASSED,), State.RETURN_STATE_APPEALED, ("reason",)),
    # CLOSED instead, once the last check is recorded: see `after_check`.
    Event.RETURN_EVENT_CHECK: Step((State.RETURN_STATE_RETURNED,), State.RETURN_STATE_RETURNED, ("check",)),
    Event.RETURN_EVENT_RELAPSE: Step((State.RETURN_STATE_RETURNED,), State.RETURN_STATE_FOUND, ("reason",)),
    Event.RETURN_EVENT_CANCEL: Step(
        (*_LEAVING, State.RETURN_STATE_ON_LEAVE, State.RETURN_STATE_NOT_PASSED), State.RETURN_STATE_CANCELLED,
        ("reason",),
    ),
    Event.RETURN_EVENT_HAND_OVER: Step(
        (State.RETURN_STATE_ON_LEAVE, State.RETURN_STATE_NOT_PASSED, State.RETURN_STATE_RETURNED),
        State.RETURN_STATE_HANDING_OVER, ("reason",),
    ),
    Event.RETURN_EVENT_TAKE_OVER: Step(
        (State.RETURN_STATE_HANDING_OVER,), State.RETURN_STATE_TRANSFERRED, (), "next"
    ),
    # Back to where it was before the offer: see `before_offer`.
    Event.RETURN_EVENT_DECLINE_HAND_OVER: Step(
        (State.RETURN_STATE_HANDING_OVER,), State.RETURN_STATE_RETURNED, ("reason",), "next"
    ),
}  # fmt: skip

HOLDS: Mapping[int, str] = {
    State.RETURN_STATE_FOUND: "assess",
    State.RETURN_STATE_LEAVE_ASSESSED: "talk",
    State.RETURN_STATE_FAMILY_TALKED: "apply",
    State.RETURN_STATE_LEAVE_APPLIED: "start",
    State.RETURN_STATE_ON_LEAVE: "return",
    State.RETURN_STATE_MATERIALS: "review",
    State.RETURN_STATE_REVIEWED: "panel",
    State.RETURN_STATE_ASSESSED: "decide",
    State.RETURN_STATE_RETURNED: "check",
    State.RETURN_STATE_NOT_PASSED: "appeal",
    State.RETURN_STATE_APPEALED: "decide_appeal",
    State.RETURN_STATE_HANDING_OVER: "take_over",
}
"""What must happen next in each open state; the school holds it, but the next school what it is asked to take over."""


def advance(state: int, event: int, side: Side) -> int:
    """The state after ``event``. Raises Refusal PERMISSION_DENIED/NOT_YOURS or FAILED_PRECONDITION/STATE."""
    step = STEPS[event]
    if side != step.side:
        raise Refusal(
            "PERMISSION_DENIED", "NOT_YOURS",
            "only the school that is asked does this" if step.side == "next" else "only the school that runs it does this",
        )  # fmt: skip
    if state not in step.sources:
        raise Refusal("FAILED_PRECONDITION", "STATE", f"{word(event)} cannot follow {state_word(state)}")
    return step.target


def word(event: int) -> str:
    """``TALK`` for ``RETURN_EVENT_TALK``."""
    return Event.Name(Event.ValueType(event)).removeprefix("RETURN_EVENT_")


def state_word(state: int) -> str:
    """``ON_LEAVE`` for ``RETURN_STATE_ON_LEAVE``."""
    return State.Name(State.ValueType(state)).removeprefix("RETURN_STATE_")


def before_offer(plan: pb.Return) -> int:
    """The state an offer to another school interrupted."""
    states = [change.state for change in plan.history]
    offered = len(states) - 1 - states[::-1].index(State.RETURN_STATE_HANDING_OVER)
    return states[offered - 1]


def checks_of(terms: ReturnTerms, first_day: str) -> list[pb.ReturnCheck]:
    """The checks after a return on ``first_day``, each due at the end of its day."""
    first = date.fromisoformat(first_day)
    return [pb.ReturnCheck(day=day, due_us=_end_of(first + timedelta(days=day))) for day in terms.checks]


def next_check(plan: pb.Return) -> pb.ReturnCheck | None:
    """The first check that is not recorded yet."""
    return next((check for check in plan.plan.checks if not check.time_us), None)


def due(plan: pb.Return, terms: ReturnTerms, now_us: int) -> tuple[str, int]:
    """The step an open plan waits for and until when: never in the past on arrival, so that each alarm is a new one."""
    step = HOLDS[plan.state]
    if plan.state == State.RETURN_STATE_ON_LEAVE:
        last = date.fromisoformat(plan.leave.last_day)
        return step, max(_end_of(last - terms.before_end), now_us + _DAY_US)
    if plan.state == State.RETURN_STATE_RETURNED:
        check = next_check(plan)
        if check is None:
            raise ValueError("a plan without an open check is closed")
        return f"check_{check.day}", max(check.due_us, now_us + _DAY_US)
    span: timedelta = getattr(terms, step)
    return step, now_us + span // timedelta(microseconds=1)


def _end_of(day: date) -> int:
    return to_us(datetime.combine(day + timedelta(days=1), time(), BEIJING)) - 1
