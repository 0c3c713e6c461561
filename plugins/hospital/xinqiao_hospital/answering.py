"""Smaller things the simulated hospital answers: searches beside Tasks, subscriptions, faults of single entries."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from xinqiao.contract.clock import from_us
from xinqiao_hospital import codes
from xinqiao_hospital.shapes import Issue
from xinqiao_hospital.wire import Json, as_list, as_object

if TYPE_CHECKING:
    from xinqiao_hospital.simulator import HospitalSimulator


def bundle_of(kind: str, resources: Sequence[Json]) -> Json:
    """A searchset or history of these resources."""
    bundle: Json = {"resourceType": "Bundle", "type": kind, "total": len(resources)}
    if resources:
        bundle["entry"] = [{"resource": resource} for resource in resources]
    return bundle


def outcome_of(*issues: Issue) -> Json:
    """An OperationOutcome of these errors."""
    listed = [{"severity": "error", "code": issue.code, "expression": [issue.expression]} for issue in issues]
    return {"resourceType": "OperationOutcome", "issue": listed}


def capabilities() -> Json:
    """The simulated hospital's CapabilityStatement."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-10-01",
        "kind": "instance",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "rest": [{"mode": "server", "interaction": [{"code": "transaction"}]}],
    }


def search(hospital: "HospitalSimulator", kind: str, query: Sequence[tuple[str, str]]) -> Json:
    """Free Slots within the window asked for, HealthcareServices, or Subscriptions by address."""
    asked = dict(query)
    found: list[Json]
    if kind == "Slot":
        bounds = [(value[:2], datetime.fromisoformat(value[2:])) for name, value in query if name == "start"]
        starts = [at for at in sorted(hospital.free_slots) if all(_within(at, op, limit) for op, limit in bounds)]
        found = [_slot(number, at) for number, at in enumerate(starts[: int(asked.get("_count", "50"))], start=1)]
    elif kind == "HealthcareService":
        found = [_service(number, word) for number, word in enumerate(hospital.capacity_words, start=1)]
    else:
        known = hospital.records.all("Subscription")
        found = [item for item in known if as_object(item.get("channel")).get("endpoint") == asked.get("url")]
    now = from_us(hospital.clock.now_us()).astimezone(UTC).isoformat(timespec="seconds")
    return {**bundle_of("searchset", found), "meta": {"lastUpdated": now}}


def subscribe(hospital: "HospitalSimulator", made: Json, id_: str, once: bool) -> tuple[int, Any, dict[str, str]]:
    """Keep a Subscription and set it active; with ``once`` only where there is none for its address yet."""
    endpoint = as_object(made.get("channel")).get("endpoint")
    known = [
        item
        for item in hospital.records.all("Subscription")
        if as_object(item.get("channel")).get("endpoint") == endpoint
    ]
    if once and known:
        return 200, known[0], {}
    stored = hospital.records.keep({**made, "status": "active"}, id_)
    hospital.pusher.subscriptions = hospital.records.all("Subscription")
    return 200 if id_ else 201, stored, {}


def entry_faults(bundle: Json, status: str, items: Sequence[int]) -> Json:
    """A transaction-response in which the entries ``items`` (all, where none are given) were refused."""
    entries: list[Json] = []
    for index, entry in enumerate(as_list(bundle.get("entry"))):
        if items and index not in items:
            entries.append({"response": {"status": "201 Created"}})
            continue
        kind = as_object(as_object(entry).get("resource")).get("resourceType")
        issue = Issue("business-rule", f"{kind}.identifier")
        entries.append({"response": {"status": status, "outcome": outcome_of(issue)}})
    return {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}


def _within(at: datetime, operator: str, limit: datetime) -> bool:
    return at >= limit if operator == "ge" else at <= limit


def _slot(number: int, at: datetime) -> Json:
    return {
        "resourceType": "Slot",
        "id": str(number),
        "schedule": {"reference": "Schedule/1"},
        "status": "free",
        "start": at.isoformat(),
        "end": at.isoformat(),
    }


def _service(number: int, word: str) -> Json:
    return {
        "resourceType": "HealthcareService",
        "id": str(number),
        "active": True,
        "characteristic": [{"coding": [{"system": codes.CAPACITY, "code": word}]}],
    }
