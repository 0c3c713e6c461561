"""What FHIR R4 requires of the resources a referral is made of: elements, codes and invariants, and nothing more.

The kept library (see ``r4``) knows types and cardinalities; it knows neither required bindings nor invariants.
"""

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
    "Subscription": ("status", "criteria", "reason", "channel"),
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
    ("Bundle", "type"): "document message transaction transaction-response batch batch-response history searchset"
    " collection",
    ("Subscription", "status"): "requested active error off",
    ("Slot", "status"): "busy free busy-unavailable busy-tentative entered-in-error",
}
_DATES: dict[tuple[str, str], re.Pattern[str]] = {
    ("Patient", "birthDate"): _DATE,
    ("ServiceRequest", "authoredOn"): _DATE_TIME,
    ("Task", "authoredOn"): _DATE_TIME,
    ("Consent", "dateTime"): _DATE_TIME,
    ("QuestionnaireResponse", "authored"): _DATE_TIME,
    ("Observation", "effectiveDateTime"): _DATE_TIME,
}
_RULES = ("permit", "deny")
_CONTACT = {"name", "telecom", "address", "organization"}


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
    for (of, element), pattern in _DATES.items():
        if of == kind and element in resource and not pattern.fullmatch(as_text(resource[element])):
            issues.append(Issue("value", f"{place}.{element}"))
    return issues + check_codes(resource, place)


def check_codes(resource: Json, place: str, *, plain: bool = False) -> list[Issue]:
    """What is wrong with the codes and invariants of a resource of any type; nothing empty stands in it either.

    ``plain`` says that somebody looked already and found nothing empty.
    """
    kind = as_text(resource.get("resourceType"))
    issues: list[Issue] = []
    for (of, element), words in _CODES.items():
        if of == kind and element in resource and resource[element] not in words.split():
            issues.append(Issue("code-invalid", f"{place}.{element}"))
    return issues + _invariants(kind, resource, place) + ([] if plain else _empties(resource, place))


def _invariants(kind: str, resource: Json, place: str) -> list[Issue]:
    broken: list[str] = []
    if kind == "Consent":
        if not (resource.get("policy") or resource.get("policyRule")):
            broken.append("policyRule")  # ppc-1
        provision = as_object(resource.get("provision"))
        if provision.get("type", "permit") not in ("permit", "deny"):
            broken.append("provision.type")
        nested = enumerate(as_list(provision.get("provision")))
        broken += [f"provision.provision[{i}].type" for i, p in nested if as_object(p).get("type") not in _RULES]
    elif kind == "Observation":
        if any(key.startswith("value") for key in resource) and "dataAbsentReason" in resource:
            broken.append("dataAbsentReason")  # obs-6
    elif kind == "Patient":
        contacts = enumerate(as_list(resource.get("contact")))
        broken += [f"contact[{i}]" for i, c in contacts if not _CONTACT & set(as_object(c))]  # pat-1
    elif kind == "QuestionnaireResponse":
        broken += _nested_twice(resource, "")
    elif kind == "Task":
        first, last = as_text(resource.get("authoredOn")), as_text(resource.get("lastModified"))
        # inv-1; texts of one zone and precision compare as the moments do, others are left to the eye.
        if first and len(first) == len(last) and first[-6:] == last[-6:] and last < first:
            broken.append("lastModified")
    elif kind == "Bundle":
        broken += _bundle_rules(resource)
    contained = enumerate(as_list(resource.get("contained")))
    broken += [f"contained[{i}].contained" for i, c in contained if "contained" in as_object(c)]  # dom-2
    return [Issue("invariant", f"{place}.{element}") for element in broken]


def _nested_twice(item: Json, place: str) -> list[str]:
    """qrs-1: nested items stand beneath the item or beneath its answer, not both."""
    broken: list[str] = []
    for index, found in enumerate(as_list(item.get("item"))):
        inner, path = as_object(found), f"{place}item[{index}]"
        answers = [as_object(answer) for answer in as_list(inner.get("answer"))]
        if inner.get("item") and any(answer.get("item") for answer in answers):
            broken.append(path)
        broken += _nested_twice(inner, f"{path}.")
        for number, answer in enumerate(answers):
            broken += _nested_twice(answer, f"{path}.answer[{number}].")
    return broken


def _bundle_rules(bundle: Json) -> list[str]:
    kind = as_text(bundle.get("type"))
    broken = ["total"] if "total" in bundle and kind not in ("searchset", "history") else []  # bdl-1
    seen = set[tuple[str, str]]()
    for index, found in enumerate(as_list(bundle.get("entry"))):
        entry, place = as_object(found), f"entry[{index}]"
        if ("request" in entry) != (kind in ("batch", "transaction", "history")):
            broken.append(f"{place}.request")  # bdl-3
        if ("response" in entry) != (kind in ("batch-response", "transaction-response", "history")):
            broken.append(f"{place}.response")  # bdl-4
        if not {"resource", "request", "response"} & set(entry):
            broken.append(place)  # bdl-5
        url = as_text(entry.get("fullUrl"))
        version = as_text(as_object(as_object(entry.get("resource")).get("meta")).get("versionId"))
        if url and (url, version) in seen and kind != "history":
            broken.append(f"{place}.fullUrl")  # bdl-7
        if "/_history/" in url:
            broken.append(f"{place}.fullUrl")  # bdl-8
        seen.add((url, version))
    return broken


def _empties(value: object, place: str) -> list[Issue]:
    """FHIR knows no empty string, array or object, and no null outside of arrays."""
    if value is None or value in ("", [], {}):
        return [Issue("structure", place)]
    if is_object(value):
        return [issue for key, item in as_object(value).items() for issue in _empties(item, f"{place}.{key}")]
    if is_list(value):
        return [issue for i, item in enumerate(as_list(value)) for issue in _empties(item, f"{place}[{i}]")]
    return []
