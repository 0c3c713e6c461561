"""What a Consent lets the gateway do: a permit only where nothing speaks against it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from xinqiao_hospital.consent import ConsentRefused, understand

NOW = datetime(2026, 10, 6, 8, 0, tzinfo=UTC)
_CODES = "http://terminology.hl7.org/CodeSystem/v3-ActCode"


def consent(policy: str = "OPTIN", provision: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    found = {
        "resourceType": "Consent",
        "status": "active",
        "policyRule": {"coding": [{"system": _CODES, "code": policy}]},
    }
    return {**found, **({"provision": provision} if provision is not None else {}), **more}


@pytest.mark.parametrize("status", ["draft", "proposed", "rejected", "inactive", "entered-in-error"])
def test_only_an_active_consent_counts(status: str) -> None:
    assert understand(consent(status=status), NOW).decision == "none"


@pytest.mark.parametrize(
    ("period", "decision"),
    [
        ({"end": "2026-10-05"}, "none"),
        ({"end": "2026-10-06"}, "permit"),
        ({"end": "2026-10"}, "permit"),
        ({"end": "2026-09"}, "none"),
        ({"end": "2025"}, "none"),
        ({"end": "2026-10-06T15:59:59+08:00"}, "none"),
        ({"end": "2026-10-06T16:00:01+08:00"}, "permit"),
        ({"start": "2026-10-07"}, "none"),
        ({"start": "2026-10-06"}, "permit"),
    ],
)
def test_it_holds_within_its_period_and_days_are_those_of_beijing(period: dict[str, str], decision: str) -> None:
    assert understand(consent(provision={"period": period}), NOW).decision == decision


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"dateTime": "gestern"}, "dateTime"),
        ({"dateTime": "2026-02-30"}, "dateTime"),
        ({"dateTime": "2026-10-06T08:00:00"}, "dateTime"),
        ({"provision": {"period": {"end": "9999-99-99"}}}, "provision.period.end"),
    ],
)
def test_a_garbage_date_is_refused_with_its_place(more: dict[str, Any], place: str) -> None:
    with pytest.raises(ConsentRefused) as refused:
        understand({**consent(), **more}, NOW)
    assert refused.value.place == place


def test_without_a_policy_or_provision_that_decides_there_is_no_consent() -> None:
    assert understand({"status": "active", "policyRule": {"text": "as discussed"}}, NOW).decision == "none"
    assert understand({"status": "active", "policy": [{"uri": "urn:x"}]}, NOW).decision == "none"


_WHO = {"actor": [{"role": {"text": "x"}, "reference": {"reference": "Organization/1"}}]}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Out", consent("OPTOUT", _WHO)),
        ("notOrg", consent("OPTIN", {"provision": [{"type": "deny", **_WHO}]})),
        ("notAuthor", consent("OPTIN", _WHO)),
        ("notThem", consent("OPTIN", {"provision": [{"type": "deny", **_WHO, "action": [{"text": "access"}]}]})),
        ("notTime", consent("OPTIN", {"provision": [{"type": "deny", "dataPeriod": {"start": "2015-01-01"}}]})),
        ("notThis", consent("OPTIN", {"data": [{"meaning": "related", "reference": {"reference": "Task/3"}}]})),
        ("deny with permits", consent("OPTIN", {"type": "deny", "provision": [{"type": "permit"}]})),
        ("limited", consent("OPTIN", {"provision": [{"type": "permit", "class": [{"code": "MedicationRequest"}]}]})),
    ],
)
def test_a_deny_and_any_exception_stands_against_every_permit_however_new(name: str, found: dict[str, Any]) -> None:
    said = understand(found, NOW)
    assert said.overrides, name
    newer = understand(consent(dateTime="2026-10-06"), NOW)
    assert (newer.decision, newer.overrides) == ("permit", False)


def test_an_emergency_consent_permits_in_an_emergency_only() -> None:
    said = understand(consent("OPTIN", {"purpose": [{"code": "ETREAT"}]}), NOW)
    assert (said.decision, said.overrides) == ("permit-emergency", False)
