"""How a FHIR Task says where a referral stands, both ways."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from xinqiao.api.adapter.v1.adapter_service_pb2 import ReferralUpdate
from xinqiao.api.referral.v1.referral_pb2 import Fitness, Outcome, ReferralEvent, ReferralState
from xinqiao.contract.clock import to_us
from xinqiao.contract.referral_codes import BUSINESS, NOTHING, TASK, TASK_TERMINAL, Contradiction, told_by_task
from xinqiao_hospital import codes
from xinqiao_hospital.wire import Json, as_list, as_object, as_text, is_object, path_text

MAX_TEXT = 2000
_REFERRAL_NAME = re.compile(r"referrals/[A-Za-z0-9._-]{1,128}")
_REASON_CODE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OTHER_RELEASES = {
    "context": "STU3",
    "definitionReference": "STU3",
    "definitionUri": "STU3",
    "reason": "STU3 or R5",
    "requestedPerformer": "R5",
    "requestedPeriod": "R5",
}
_FITNESS = {
    "attend": Fitness.FITNESS_ATTEND,
    "attend-with-adjustments": Fitness.FITNESS_ATTEND_WITH_ADJUSTMENTS,
    "leave": Fitness.FITNESS_LEAVE,
}
TERMINAL = TASK_TERMINAL

# Only what the sender or the gateway does to a referral; the hospital writes its own states itself.
_SENDER: dict[ReferralState.ValueType, tuple[str, str]] = {
    ReferralState.REFERRAL_STATE_ON_HOLD: ("on-hold", ""),
    ReferralState.REFERRAL_STATE_RECALL_ASKED: ("", "5.2"),
    ReferralState.REFERRAL_STATE_CANCELLED: ("cancelled", "6.0"),
    ReferralState.REFERRAL_STATE_REDIRECTED: ("cancelled", "6.0"),
    ReferralState.REFERRAL_STATE_CLOSED: ("completed", "7.0"),
    ReferralState.REFERRAL_STATE_TIMED_OUT: ("failed", ""),
}
_RESUMED: dict[ReferralState.ValueType, tuple[str, str]] = {
    ReferralState.REFERRAL_STATE_SENT: ("requested", "2.0"),
    ReferralState.REFERRAL_STATE_RECEIVED: ("requested", "2.0"),
    ReferralState.REFERRAL_STATE_ACCEPTED: ("accepted", "3.0"),
    ReferralState.REFERRAL_STATE_WAITLISTED: ("accepted", "3.0"),
    ReferralState.REFERRAL_STATE_SCHEDULED: ("in-progress", "5.1.1"),
    ReferralState.REFERRAL_STATE_NO_SHOW: ("in-progress", "5.1.2"),
    ReferralState.REFERRAL_STATE_ATTENDED: ("in-progress", "5.1.4"),
}


class TaskRefused(Exception):
    """One Task cannot be taken. ``place`` is a path in the Task, the message says how to mend it; no value in either."""

    def __init__(self, reason: str, message: str, place: str) -> None:
        super().__init__(f"{reason} at {place}: {message}")
        self.reason = reason
        self.message = message
        self.place = place


@dataclass(frozen=True, slots=True)
class Change:
    """What the gateway writes into a Task; an empty status or business code leaves that element as it is."""

    status: str
    business: str


def wanted(state: ReferralState.ValueType, resumed: bool, held: bool) -> Change | None:
    """What a referral in ``state`` asks of the hospital's Task, None for nothing.

    ``resumed`` says that the newest change ended a pause, ``held`` that the Task is on hold.
    """
    if state in _SENDER:
        return Change(*_SENDER[state])
    if resumed and held and state in _RESUMED:
        return Change(*_RESUMED[state])
    return None


def check_task(task: Json) -> None:
    """Raise TaskRefused unless this is an R4 Task with nothing in it that changes its meaning unknown to us."""
    if task.get("resourceType") != "Task":
        raise TaskRefused("DATA/PROFILE", "the resource is not a Task", "resourceType")
    for element, release in _OTHER_RELEASES.items():
        if element in task:
            raise TaskRefused("DATA/PROFILE", f"the element belongs to FHIR {release}; send R4 (4.0.1)", element)
    if "concept" in as_object(task.get("statusReason")):
        raise TaskRefused("DATA/PROFILE", "the element is shaped as in FHIR R5; send R4 (4.0.1)", "statusReason")
    _check_modifiers(task)


def referral_name(task: Json) -> str:
    """``referrals/{id}`` of the Task. Raises TaskRefused where it has none or more than one."""
    names = {
        as_text(as_object(item).get("value"))
        for item in as_list(task.get("identifier"))
        if as_object(item).get("system") == codes.REFERRAL
    }
    if len(names) != 1 or not _REFERRAL_NAME.fullmatch(name := names.pop()):
        raise TaskRefused("DATA/IDENTIFIER", f"exactly one {codes.REFERRAL} identifier is needed", "identifier")
    return name


def business_code(task: Json) -> str:
    """The code of a known system, or empty where there is none. Raises TaskRefused for codes of other systems."""
    found: list[str] = []
    codings = as_list(as_object(task.get("businessStatus")).get("coding"))
    for coding in codings:
        if as_object(coding).get("system") in (codes.BUSINESS_STATUS, codes.WAITLIST):
            found.append(as_text(as_object(coding).get("code")))
    if (codings and not found) or len(set(found)) > 1:
        raise TaskRefused("DATA/CODE", f"use one code of {codes.BUSINESS_STATUS}", "businessStatus.coding")
    return found[0] if found else ""


def update_of(task: Json) -> ReferralUpdate | None:
    """What a checked Task says happened, without ``source``; None where it says nothing new. Raises TaskRefused."""
    event = _event(task)
    if event == NOTHING:
        return None
    update = ReferralUpdate(referral=referral_name(task), event=event)
    reason = as_text(as_object(task.get("statusReason")).get("text"))
    needs_reason = event in (ReferralEvent.REFERRAL_EVENT_DECLINE, ReferralEvent.REFERRAL_EVENT_HOLD)
    if needs_reason and not reason.strip():
        raise TaskRefused("DATA/REASON", "say why in plain words", "statusReason.text")
    if needs_reason or event in (ReferralEvent.REFERRAL_EVENT_CANCEL, ReferralEvent.REFERRAL_EVENT_WAITLIST):
        update.reason = _bounded(reason, "statusReason.text")
    if event == ReferralEvent.REFERRAL_EVENT_DECLINE:
        update.reason_code = _reason_code(task)
    if event == ReferralEvent.REFERRAL_EVENT_SCHEDULE:
        update.appointment_us = _appointment(task)
    if event == ReferralEvent.REFERRAL_EVENT_REPORT_OUTCOME:
        update.outcome.CopyFrom(_outcome(task))
    return update


def _reason_code(task: Json) -> str:
    """The district's code of a permitted refusal, empty where the hospital gives none."""
    codings = [as_object(coding) for coding in as_list(as_object(task.get("statusReason")).get("coding"))]
    found = [as_text(coding.get("code")) for coding in codings if coding.get("system") == codes.DECLINE_REASON]
    if any(not _REASON_CODE.fullmatch(code) for code in found) or len(found) > 1:
        message = f"give one code of {codes.DECLINE_REASON}, 1 to 64 of a-z A-Z 0-9 . _ -"
        raise TaskRefused("DATA/CODE", message, "statusReason.coding")
    return found[0] if found else ""


def resume_of(task: Json, before: Json) -> ReferralUpdate | None:
    """The end of a pause between two versions of a Task, if there was one."""
    if before.get("status") != "on-hold" or task.get("status") in {"on-hold", *TERMINAL}:
        return None
    return ReferralUpdate(referral=referral_name(task), event=ReferralEvent.REFERRAL_EVENT_RESUME)


def written_after(task: Json) -> str:
    """The version after which the gateway wrote this one into the hospital's server, empty where it did not."""
    for tag in as_list(as_object(task.get("meta")).get("tag")):
        if as_object(tag).get("system") == codes.WRITTEN:
            return as_text(as_object(tag).get("code"))
    return ""


def other_subject(task: Json, student: str) -> bool:
    """Whether a Task names, by our own identifier, another student than ``student``."""
    subject = as_object(task.get("for"))
    named = [as_object(subject.get("identifier"))]
    for item in as_list(task.get("contained")):
        patient = as_object(item)
        if patient.get("resourceType") == "Patient" and subject.get("reference") == f"#{patient.get('id')}":
            named += [as_object(identifier) for identifier in as_list(patient.get("identifier"))]
    return any(i.get("system") == codes.PSEUDONYM and i.get("value") != student for i in named)


def _event(task: Json) -> ReferralEvent.ValueType:
    status, code = as_text(task.get("status")), business_code(task)
    if status != "on-hold" and not code and status not in TASK:
        raise TaskRefused("DATA/CODE", "this status needs a BSeR business status", "businessStatus")
    if status != "on-hold" and code and code not in BUSINESS:
        raise TaskRefused("DATA/CODE", "the business status is not one of BSeR TaskBusinessStatusCS", "businessStatus")
    try:
        return ReferralEvent.ValueType(told_by_task(status, code))
    except Contradiction:
        message = f"business status {code} contradicts the Task's status"
        raise TaskRefused("DATA/STATE", message, "status") from None


def _outputs(task: Json) -> list[tuple[str, str, Json]]:
    """``(code, path, output)`` of every output whose type is of our code system."""
    found: list[tuple[str, str, Json]] = []
    for index, item in enumerate(as_list(task.get("output"))):
        for coding in as_list(as_object(as_object(item).get("type")).get("coding")):
            if as_object(coding).get("system") == codes.OUTPUT:
                found.append((as_text(as_object(coding).get("code")), f"output[{index}]", as_object(item)))
    return found


def _appointment(task: Json) -> int:
    texts = [(p, as_text(item.get("valueDateTime"))) for code, p, item in _outputs(task) if code == "appointment"]
    if not texts:
        start = as_text(as_object(task.get("executionPeriod")).get("start"))
        texts = [("executionPeriod.start", start)]
    place, text = texts[-1]
    try:
        return to_us(datetime.fromisoformat(text))
    except ValueError:
        message = "give the appointment as a date with a time and an offset, such as +08:00"
        raise TaskRefused("DATA/DATE", message, place) from None


def _outcome(task: Json) -> Outcome:
    outcome = Outcome()
    for code, place, item in _outputs(task):
        if code == "diagnosis":
            outcome.diagnosis = _joined(outcome.diagnosis, _words(item, task, place), place)
        elif code == "treatment":
            outcome.treatment = _joined(outcome.treatment, _words(item, task, place), place)
        elif code == "school-advice":
            outcome.school_advice = _joined(outcome.school_advice, _words(item, task, place), place)
        elif code == "care-advice":
            outcome.care_advice = _joined(outcome.care_advice, _words(item, task, place), place)
        elif code == "fitness":
            outcome.fitness = _fitness(item, place)
        elif code == "next-visit":
            outcome.next_visit = _date(item, place)
    if not outcome.ListFields():
        raise TaskRefused("DATA/OUTCOME", f"a completed Task needs outputs of {codes.OUTPUT}", "output")
    return outcome


def _words(item: Json, task: Json, place: str) -> str:
    if "valueReference" in item:
        reference = as_text(as_object(item["valueReference"]).get("reference"))
        inside = [as_object(r) for r in as_list(task.get("contained")) if f"#{as_object(r).get('id')}" == reference]
        if len(inside) != 1:
            raise TaskRefused("DATA/REFERENCE", "only a contained resource is read, no other address", place)
        return _concept_text(inside[0].get("code"))
    return as_text(item.get("valueString")) or _concept_text(item.get("valueCodeableConcept"))


def _concept_text(value: object) -> str:
    concept = as_object(value)
    shown = [as_text(as_object(coding).get("display")) for coding in as_list(concept.get("coding"))]
    return as_text(concept.get("text")) or next((text for text in shown if text), "")


def _fitness(item: Json, place: str) -> Fitness.ValueType:
    codings = as_list(as_object(item.get("valueCodeableConcept")).get("coding"))
    found = [as_text(as_object(c).get("code")) for c in codings if as_object(c).get("system") == codes.FITNESS]
    code = found[0] if found else as_text(item.get("valueCode"))
    if code not in _FITNESS:
        raise TaskRefused("DATA/CODE", f"fitness is one of {', '.join(_FITNESS)}", place)
    return _FITNESS[code]


def _date(item: Json, place: str) -> str:
    text = as_text(item.get("valueDate")) or as_text(item.get("valueDateTime"))[:10]
    try:
        if len(text) == 10:
            return date.fromisoformat(text).isoformat()
    except ValueError:
        pass
    raise TaskRefused("DATA/DATE", "give the whole date, year, month and day", place)


def _joined(so_far: str, more: str, place: str) -> str:
    if not more.strip():
        raise TaskRefused("DATA/OUTCOME", "the output holds no text", place)
    return _bounded(f"{so_far}\n{more}" if so_far else more, place)


def _bounded(text: str, place: str) -> str:
    if len(text) > MAX_TEXT:
        raise TaskRefused("DATA/TOO_LONG", f"the text is longer than {MAX_TEXT} characters", place)
    return text


def _check_modifiers(root: Json) -> None:
    open_: list[tuple[tuple[str | int, ...], object]] = [((), root)]
    while open_:
        path, value = open_.pop()
        if isinstance(value, (str, int, float, Decimal)) or value is None:
            continue
        items: Sequence[tuple[str | int, object]] = (
            list(as_object(value).items()) if is_object(value) else list(enumerate(as_list(value)))
        )
        for key, item in items:
            if key in ("modifierExtension", "implicitRules") and item:
                message = "it may change the meaning of the record and is not understood; leave it out"
                raise TaskRefused("DATA/PROFILE", message, path_text((*path, key)))
            open_.append(((*path, key), item))
