"""What a referral's states are called in FHIR Task, BSeR and HL7 v2, both ways, as data in one place.

The core and every plugin read this table, so that two adapters can never tell a partner two different things.
Sources: HL7 FHIR R4 Task, SDOHCC task states, BSeR TaskBusinessStatusCS, HL7 v2 tables 0283 (RF1-1) and 0280 (RF1-2).
"""

from typing import NamedTuple

from xinqiao.api.referral.v1.referral_pb2 import ReferralEvent as Event
from xinqiao.api.referral.v1.referral_pb2 import ReferralState as State
from xinqiao.api.referral.v1.referral_pb2 import Urgency

WAITLISTED = "waitlisted"
"""The one business status that BSeR has no word for; it is of the gateway's own code system."""


class Equivalent(NamedTuple):
    """What a state is called elsewhere; empty where a standard has no word for it."""

    task: str
    business: str
    rf1: str


EQUIVALENTS: dict[int, Equivalent] = {
    State.REFERRAL_STATE_DRAFT: Equivalent("draft", "", ""),
    State.REFERRAL_STATE_SENT: Equivalent("requested", "2.0", "P"),
    State.REFERRAL_STATE_RECEIVED: Equivalent("requested", "2.0", "P"),  # SDOHCC leaves `received` out
    State.REFERRAL_STATE_ACCEPTED: Equivalent("accepted", "3.0", "A"),
    State.REFERRAL_STATE_DECLINED: Equivalent("rejected", "4.0", "R"),
    State.REFERRAL_STATE_WAITLISTED: Equivalent("accepted", WAITLISTED, "A"),
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
"""Out: what each state is called."""

NOTHING = Event.REFERRAL_EVENT_UNSPECIFIED
"""The partner's status tells nothing that happened."""

_WORKING = frozenset({"accepted", "in-progress"})
_OPEN = frozenset({"requested", "received", *_WORKING})


class Meaning(NamedTuple):
    """The event that a business status tells, and the Task statuses with which it makes sense."""

    event: int
    statuses: frozenset[str]


BUSINESS: dict[str, Meaning] = {
    "2.0": Meaning(NOTHING, frozenset({"draft", "requested", "received"})),
    "3.0": Meaning(Event.REFERRAL_EVENT_ACCEPT, _WORKING),
    "4.0": Meaning(Event.REFERRAL_EVENT_DECLINE, frozenset({"rejected"})),
    "5.1.1": Meaning(Event.REFERRAL_EVENT_SCHEDULE, _WORKING),
    "5.1.2": Meaning(Event.REFERRAL_EVENT_NO_SHOW, _WORKING),
    # The visit was cancelled, the referral was not: the student waits for another time.
    "5.1.3": Meaning(Event.REFERRAL_EVENT_WAITLIST, _WORKING),
    "5.1.4": Meaning(Event.REFERRAL_EVENT_ATTEND, _WORKING),
    "5.2": Meaning(NOTHING, _OPEN),  # the sender's own word, seen again
    "6.0": Meaning(Event.REFERRAL_EVENT_CANCEL, frozenset({"cancelled"})),
    "7.0": Meaning(Event.REFERRAL_EVENT_REPORT_OUTCOME, frozenset({"completed"})),
    WAITLISTED: Meaning(Event.REFERRAL_EVENT_WAITLIST, _WORKING),
}
"""In: what a business status tells."""

TASK: dict[str, int] = {
    "draft": NOTHING,
    "requested": NOTHING,
    "received": Event.REFERRAL_EVENT_RECEIVE,
    "accepted": Event.REFERRAL_EVENT_ACCEPT,
    "rejected": Event.REFERRAL_EVENT_DECLINE,
    "on-hold": Event.REFERRAL_EVENT_HOLD,
    "cancelled": Event.REFERRAL_EVENT_CANCEL,
    "completed": Event.REFERRAL_EVENT_REPORT_OUTCOME,
}
"""In: what a Task status tells where there is no business status; what is absent needs one (or cannot be told)."""

RF1: dict[str, int] = {
    "P": Event.REFERRAL_EVENT_RECEIVE,
    "A": Event.REFERRAL_EVENT_ACCEPT,
    "R": Event.REFERRAL_EVENT_DECLINE,
    "E": Event.REFERRAL_EVENT_CANCEL,
}
"""In: what an RF1-1 (table 0283) in an answer tells."""

TASK_TERMINAL = frozenset({"rejected", "cancelled", "failed", "completed", "entered-in-error"})
"""Task statuses after which FHIR lets nothing follow."""

WRITTEN_BY_SENDER = frozenset(
    {
        State.REFERRAL_STATE_ON_HOLD,
        State.REFERRAL_STATE_RECALL_ASKED,
        State.REFERRAL_STATE_CANCELLED,
        State.REFERRAL_STATE_REDIRECTED,
        State.REFERRAL_STATE_CLOSED,
        State.REFERRAL_STATE_TIMED_OUT,
    }
)
"""States that the sender's side writes into the recipient's system; the recipient writes the others there itself."""

RF1_PRIORITY: dict[int, str] = {
    Urgency.URGENCY_UNSPECIFIED: "R",
    Urgency.URGENCY_ROUTINE: "R",
    Urgency.URGENCY_URGENT: "A",
    Urgency.URGENCY_EMERGENCY: "S",
}
"""RF1-2 (table 0280): STAT, ASAP, routine."""

REQUEST_PRIORITY: dict[int, str] = {
    Urgency.URGENCY_UNSPECIFIED: "routine",
    Urgency.URGENCY_ROUTINE: "routine",
    Urgency.URGENCY_URGENT: "urgent",
    Urgency.URGENCY_EMERGENCY: "stat",
}
"""FHIR request-priority of ServiceRequest and Task."""


class Contradiction(ValueError):
    """A business status that is unknown, or that does not go with the Task's status; ``args[0]`` says which."""


def told_by_task(status: str, business: str = "") -> int:
    """The ``ReferralEvent`` that a Task tells, NOTHING where it tells none. Raises Contradiction.

    A pause beats every business status: the pause is what happened last.
    """
    if status == "on-hold":
        return int(Event.REFERRAL_EVENT_HOLD)
    if not business:
        if status not in TASK:
            raise Contradiction("this status needs a business status")
        return TASK[status]
    meaning = BUSINESS.get(business)
    if meaning is None:
        raise Contradiction("the business status is not one of BSeR TaskBusinessStatusCS")
    if status not in meaning.statuses:
        raise Contradiction("the business status contradicts the Task's status")
    return int(Event.REFERRAL_EVENT_RECEIVE) if status == "received" and business == "2.0" else meaning.event
