"""What FHIR R4 requires of the resources a referral is made of: elements, codes and invariants, and nothing more."""

import re
from dataclasses import dataclass

from xinqiao_hospital.wire import Json, as_list, as_object, as_text, is_list, is_object

_DATE = re.compile(r"[0-9]{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?)?")
_DATE_TIME = re.compile(
    _DATE.pattern + r"|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})"
)
_REQUIRED = {
    "Patient": (),
    "ServiceRequest": ("status", "intent", "subject"),
    "Task": ("status", "intent"),
    "Consent": ("status", "scope", "category"),
    "QuestionnaireResponse": ("status",),
    "Observation": ("status", "code"),
    "RiskAssessment": ("status", "subject"),
}
_OBSERVATION = "registered preliminary final amended corrected cancelled entered-in-error unknown"
_PRIORITY = "routine urgent asap stat"
_INTENT = "proposal plan order original-order reflex-order filler-order instance-order option directive"
_CODES: dict[tuple[str, str], str] = {
    ("Patient", "gender"): "male female other unknown",
    ("ServiceRequest", "status"): "draft active on-hold revoked completed entered-in-error unknown",
    ("ServiceRequest", "intent"): _INTENT,
    ("ServiceRequest", "priority"): _PRIORITY,
    ("Task", "status"): "draft requested received accepted rejected ready cancelled in-progress on-hold failed"
    " completed entered-in-error",
    ("Task", "intent"): f"unknown {_INTENT}",
    ("Task", "priority"): _PRIORITY,
    ("Consent", "status"): "draft proposed active rejected inactive entered-in-error",
    ("QuestionnaireResponse", "status"): "in-progress completed amended entered-in-error stopped",
    ("Observation", "status"): _OBSERVATION,
    ("RiskAssessment", "status"): _OBSERVATION,
}
_DATES: dict[tuple[str, str], re.Pattern[str]] = {
    ("Patient", "birthDate"): _DATE,
    ("ServiceRequest", "authoredOn"): _DATE_TIME,
    ("Task", "authoredOn"): _DATE_TIME,
    ("Consent", "dateTime"): _DATE_TIME,
    ("QuestionnaireResponse", "authored"): _DATE_TIME,
    ("Observation", "effectiveDateTime"): _DATE_TIME,
}


@dataclass(frozen=True, slots=True)
class Issue:
    """An error of an OperationOutcome: issue-type code and FHIRPath of the place."""

    code: str
    expression: str


def check_resource(resource: Json, place: str) -> list[Issue]:
    """What is wrong with a resource, empty for nothing. ``place`` is where it stands, such as ``Bundle.entry[0]``."""
    kind = as_text(resource.get("resourceType"))
    if kind not in _REQUIRED:
        return [Issue("not-supported", place)]
    issues = [Issue("required", f"{place}.{element}") for element in _REQUIRED[kind] if not resource.get(element)]
    for (of, element), words in _CODES.items():
        if of == kind and element in resource and resource[element] not in words.split():
            issues.append(Issue("code-invalid", f"{place}.{element}"))
    for (of, element), pattern in _DATES.items():
        if of == kind and element in resource and not pattern.fullmatch(as_text(resource[element])):
            issues.append(Issue("value", f"{place}.{element}"))
    return issues + _invariants(kind, resource, place) + _empties(resource, place)


def _invariants(kind: str, resource: Json, place: str) -> list[Issue]:
    if kind == "Consent" and not (resource.get("policy") or resource.get("policyRule")):
        return [Issue("invariant", f"{place}.policyRule")]  # ppc-1
    if kind == "Observation":
        valued = any(key.startswith("value") for key in resource)
        if valued and "dataAbsentReason" in resource:
            return [Issue("invariant", f"{place}.dataAbsentReason")]  # obs-6
    if kind == "Patient":
        parts = {"name", "telecom", "address", "organization"}
        contacts = enumerate(as_list(resource.get("contact")))
        return [
            Issue("invariant", f"{place}.contact[{i}]") for i, c in contacts if not parts & set(as_object(c))
        ]  # pat-1
    return []


def _empties(value: object, place: str) -> list[Issue]:
    """FHIR knows no empty string, array or object, and no null outside of arrays."""
    if value is None or value in ("", [], {}):
        return [Issue("structure", place)]
    if is_object(value):
        return [issue for key, item in as_object(value).items() for issue in _empties(item, f"{place}.{key}")]
    if is_list(value):
        return [issue for i, item in enumerate(as_list(value)) for issue in _empties(item, f"{place}[{i}]")]
    return []
