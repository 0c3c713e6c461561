"""What a refusal by a FHIR server means for the gateway: later, never, or not this record.

===================================================== ======================= =========================================
The server says                                       The adapter raises      Why
===================================================== ======================= =========================================
408, 425, 429, 5xx; 409 without a reason              ``PartnerUnavailable``  it may pass; ``Retry-After`` is kept
issue transient, throttled, lock-error, timeout ...   ``PartnerUnavailable``  the same, said in words
401, 403; issue security, login, forbidden ...        ``PartnerRefused``      an administrator must look
412 to a conditional create                           ``RecordRejected``      two resources bear our identifier
400, 404, 410, 422 with an OperationOutcome           ``RecordRejected``      this record, at the place it names
any other answer                                      ``PartnerRefused``      it is no FHIR server
===================================================== ======================= =========================================

Only code and path are taken from an outcome: ``diagnostics`` and ``details`` may quote the record.
"""

import re
from collections.abc import Sequence

from xinqiao.adapters.errors import AdapterError, PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao_hospital.wire import Json, as_list, as_object, as_text

_CONFLICT_WAIT_S = 1.0
# FHIR R4 issue-type, by what the gateway does next; any other word is not repeated to anyone.
_LATER = frozenset({"transient", "lock-error", "no-store", "exception", "timeout", "incomplete", "throttled"})
_NO = frozenset({"security", "login", "unknown", "expired", "forbidden", "suppressed"})
_RECORD = frozenset(
    {"invalid", "structure", "required", "value", "invariant", "processing", "not-supported", "duplicate"}
    | {"multiple-matches", "not-found", "deleted", "too-long", "code-invalid", "extension", "too-costly"}
    | {"business-rule", "conflict"}
)
_PATH = re.compile(r"[A-Z][A-Za-z0-9]{0,63}(?:\[[0-9]{1,6}\])?(?:\.[A-Za-z][A-Za-z0-9]{0,63}(?:\[[0-9]{1,6}\])?){0,12}")
_STATUS = re.compile(r"(?P<code>[1-5][0-9]{2})(?: .{0,80})?", re.ASCII)
_LISTED = 5


def later(status: int) -> bool:
    """Whether an HTTP status says that the same request may succeed another time."""
    return status in (408, 425, 429) or status >= 500


def error_of(status: int, outcome: Json, place: str = "") -> AdapterError:
    """What an HTTP status of 4xx with this OperationOutcome says; ``place`` is where the refused thing stands."""
    issues = _errors(outcome)
    words = [_word(issue) for issue in issues]
    first = words[0] if words else ""
    if status == 409 and (not words or first in ("conflict", "unspecified")):
        # Two conditional creates at once: the other one has made it, and the next try finds it.
        return PartnerUnavailable("the hospital was writing the same (HTTP 409); tried again", _CONFLICT_WAIT_S)
    if status == 412 and (not words or first in ("conflict", "unspecified")):
        why = "two resources of the hospital bear the identifier of this record; ask it to merge them"
        return RecordRejected("PARTNER/AMBIGUOUS", why, place or _place(issues))
    if not words:
        return PartnerRefused("PARTNER/NOT_FHIR", f"HTTP {status} without an OperationOutcome; check base_url")
    message = f"the hospital refused it (HTTP {status}, {first}){_more(issues)}; look at the place named in its log"
    if first in _LATER:
        return PartnerUnavailable(message)
    reason = f"FHIR/{first.upper().replace('-', '_')}"
    if first in _NO:
        return PartnerRefused(reason, message)
    return RecordRejected(reason, message, _within(place, _place(issues)))


def transaction_error(answer: Json, sent: Sequence[Json]) -> AdapterError | None:
    """What a transaction-response says against the entries sent; None where each was carried out.

    Each entry is judged by its own status and outcome, and what can pass is tried again before anything is given up.
    """
    responses = [as_object(as_object(entry).get("response")) for entry in as_list(answer.get("entry"))]
    found: list[AdapterError] = []
    for index, response in enumerate(responses[: len(sent)]):
        status = _status(response)
        if 200 <= status < 300:
            continue
        kind = as_text(as_object(sent[index].get("resource")).get("resourceType"))
        place = f"Bundle.entry[{index}].resource ({kind})"
        if not status:
            return PartnerRefused("DATA/PROFILE", "an entry of the transaction-response has no HTTP status")
        if later(status):
            found.append(PartnerUnavailable(f"the hospital answered {status} for {place}; tried again later"))
        elif status in (401, 403):
            found.append(PartnerRefused("PARTNER/UNAUTHORIZED", f"the hospital does not let this gateway write {kind}"))
        else:
            found.append(error_of(status, as_object(response.get("outcome")), place))
    if not found and len(responses) != len(sent):
        return PartnerRefused("DATA/PROFILE", "the transaction-response has not one entry for every entry sent")
    for wanted in (PartnerUnavailable, PartnerRefused, RecordRejected):
        for error in found:
            if isinstance(error, wanted):
                return error
    return None


def _errors(outcome: Json) -> list[Json]:
    if outcome.get("resourceType") != "OperationOutcome":
        return []
    issues = [as_object(item) for item in as_list(outcome.get("issue"))]
    return [issue for issue in issues if issue.get("severity") in ("fatal", "error")]


def _word(issue: Json) -> str:
    code = as_text(issue.get("code"))
    return code if code in _RECORD | _LATER | _NO else "unspecified"


def _place(issues: Sequence[Json]) -> str:
    for issue in issues[:1]:
        for path in as_list(issue.get("expression")):
            if _PATH.fullmatch(as_text(path)):
                return as_text(path)
    return "unknown"


def _more(issues: Sequence[Json]) -> str:
    places = [place for issue in issues[1:] if (place := _place([issue])) != "unknown"]
    if not places:
        return ""
    rest = f" and {len(places) - _LISTED} more" if len(places) > _LISTED else ""
    return f", also {', '.join(places[:_LISTED])}{rest}"


def _within(place: str, inner: str) -> str:
    if not place:
        return inner
    return place if inner == "unknown" else f"{place}: {inner}"


def _status(response: Json) -> int:
    found = _STATUS.fullmatch(as_text(response.get("status")))
    return int(found["code"]) if found else 0
