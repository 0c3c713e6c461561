"""What leaves for the police, as an envelope: only what was released is in it, what was withheld is absent.

Every try of one delivery has the same bytes, so all times in it are the record's own, never now.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from xinqiao.adapters.errors import RecordRejected
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.common.v1.types_pb2 import Guardian, Sex, Student
from xinqiao.api.referral.v1.notice_pb2 import PoliceReport
from xinqiao.api.referral.v1.referral_pb2 import Referral, ReferralPackage, ReferralState, Urgency
from xinqiao.api.screening.v1.screening_pb2 import CallerConsent, CallHandOff, LocationBasis, SignalUpdate
from xinqiao_police.handoff import CallFacts
from xinqiao_police.wire import Envelope, Json, beijing

_URGENCY: Mapping[int, str] = {
    Urgency.URGENCY_EMERGENCY: "emergency",
    Urgency.URGENCY_URGENT: "urgent",
    Urgency.URGENCY_ROUTINE: "routine",
}
_OVER = frozenset(
    {
        ReferralState.REFERRAL_STATE_CANCELLED,
        ReferralState.REFERRAL_STATE_REDIRECTED,
        ReferralState.REFERRAL_STATE_CLOSED,
    }
)


_WORDS: Mapping[str, str] = {
    name: "UNKNOWN" if number == 0 else name.removeprefix("LOCATION_BASIS_") for name, number in LocationBasis.items()
}
_CONSENT: Mapping[int, str] = {
    CallerConsent.CALLER_CONSENT_UNSPECIFIED: "NOT_ASKED",
    CallerConsent.CALLER_CONSENT_GIVEN: "GIVEN",
    CallerConsent.CALLER_CONSENT_REFUSED: "REFUSED",
}


def message_id(request: DeliverRequest) -> str:
    """The webhook's id and idempotency key: the same for every try, and without the dots that separate what is signed."""
    return f"msg_{hashlib.sha256(request.request_id.encode()).hexdigest()[:32]}"


def envelope(
    request: DeliverRequest, *, sender: str, first_sent_us: int, token: Callable[[CallFacts], str] | None = None
) -> Envelope:  # fmt: skip
    """What is said. ``first_sent_us`` is for a report, which bears no time of its own; ``token`` seals what is personal
    about a call, where a key for that is agreed.

    Raises RecordRejected for a body that is not for the police, or a change of nobody knows what.
    """
    match request.WhichOneof("body"):
        case "referral":
            return _rescue(request.referral, drill=request.drill)
        case "referral_update":
            return _change(request.referral_update, request.request_id, sender=sender, drill=request.drill)
        case "police_report":
            return _escort(request, first_sent_us)
        case "signal_update":
            return _taken(request.signal_update, drill=request.drill)
        case "call_hand_off":
            return _call(request.call_hand_off, token, drill=request.drill)
        case _:
            why = "the police take a referral, a change of one, a police report, news of an alert or a call"
            raise RecordRejected("DATA/REQUIRED", why, "DeliverRequest.body")


def _rescue(package: ReferralPackage, *, drill: bool) -> Envelope:
    referral = package.referral
    data = {
        "message": _identifier(referral.name), "request": referral.name, "from": package.sender_title,
        "urgency": _URGENCY.get(referral.urgency, "routine"), "facts": referral.crisis_facts,
        "location": referral.location,
        "basis": _present(id=package.basis.id, citation=package.basis.citation, version=package.basis.version),
        "student": _student(package.student),
    }  # fmt: skip
    said = drill or package.drill or referral.drill
    return Envelope("rescue.requested", beijing(referral.create_time_us), _present(**data), drill=said)


def _change(referral: Referral, request_id: str, *, sender: str, drill: bool) -> Envelope:
    if not referral.name:
        why = "a change that does not say of which request; the police need the class CASE_REF"
        raise RecordRejected("DATA/REQUIRED", why, "referral_update.name")
    over = referral.state in _OVER
    original = _identifier(referral.name)
    at = referral.history[-1].time_us if referral.history else referral.create_time_us
    state = ReferralState.Name(referral.state).removeprefix("REFERRAL_STATE_").lower()
    data = {
        "message": f"{original}~{request_id}", "request": referral.name, "state": state,
        "references": f"{sender},{original},{beijing(referral.create_time_us)}",
        "urgency": _URGENCY.get(referral.urgency, "routine"),
    }  # fmt: skip
    kind = "rescue.cancelled" if over else "rescue.updated"
    return Envelope(kind, beijing(at), _present(**data), drill=drill or referral.drill)


def _escort(request: DeliverRequest, first_sent_us: int) -> Envelope:
    report: PoliceReport = request.police_report
    data = {
        "message": _identifier(report.notice) or message_id(request), "report": report.notice, "facts": report.crisis_facts,
        "location": report.location, "basis": _present(citation=report.citation), "student": _student(report.student),
    }  # fmt: skip
    return Envelope("escort.requested", beijing(first_sent_us), _present(**data), drill=request.drill or report.drill)


def _taken(update: SignalUpdate, *, drill: bool) -> Envelope:
    """The acknowledgement the centre's clock waits for: a person at the school has the alert in hand."""
    data = {"message": f"{update.reference}~taken", "alert": update.reference}
    return Envelope("alert.taken", beijing(update.taken_us), data, drill=drill or update.drill)


def _call(call: CallHandOff, token: Callable[[CallFacts], str] | None, *, drill: bool) -> Envelope:
    """A three-way call: the line asks 110 to join it, or to look for the caller."""
    said = call.call
    basis = _WORDS[LocationBasis.Name(said.location_basis)]
    facts = CallFacts(said.call, said.origin_number, call.location, basis, line=said.line)
    where = {"origin_number": said.origin_number, "location": call.location, "location_basis": basis}
    data = {
        "message": f"call.{said.call}", "alert": said.call, "line": said.line, "parties": [said.line, "110"],
        "from": call.sender_title, "facts": call.facts, "basis": _present(citation=call.citation),
        "consent": _CONSENT[said.consent], **({"token": token(facts)} if token is not None else where),
    }  # fmt: skip
    return Envelope("call.handoff", beijing(call.create_time_us), _present(**data), drill=drill or call.drill)


def _student(student: Student) -> Json:
    sex = {Sex.SEX_MALE: "male", Sex.SEX_FEMALE: "female"}.get(student.sex, "")
    return _present(
        name=student.name, full_name=student.family_name + student.given_name, sex=sex,
        birth_date=student.birth_date, phone=student.phone,
        guardians=[_guardian(guardian) for guardian in student.guardians],
    )  # fmt: skip


def _guardian(guardian: Guardian) -> Json:
    if guardian.in_conflict:  # that there is one to keep away from is what a rescuer must know; not who or where
        return {"in_conflict": "true"}
    return _present(full_name=guardian.full_name, relation=guardian.relation, phone=guardian.phone)


def _identifier(name: str) -> str:
    return name.replace("/", ".", 1)


def _present(**fields: Any) -> Json:
    return {name: value for name, value in fields.items() if value}
