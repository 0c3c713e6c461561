"""What is FHIR R4 that we understand, and what is refused, each with reason and place."""

import json
from decimal import Decimal
from typing import Any

import pytest

from xinqiao.adapters.protocols import Accepted, Refused
from xinqiao_hospital import codes, r4
from xinqiao_hospital.files import read_json
from xinqiao_hospital.r4 import faults, without_narrative
from xinqiao_hospital.wire import dump, parse

SERVICE = {
    "resourceType": "ServiceRequest",
    "status": "active",
    "intent": "order",
    "subject": {"reference": "Patient/1"},
}
RESPONSE = {"resourceType": "QuestionnaireResponse", "status": "completed"}
CONSENT = {
    "resourceType": "Consent",
    "status": "active",
    "scope": {"text": "privacy"},
    "category": [{"text": "consent"}],
    "policyRule": {"text": "opt-in"},
}


def found(resource: dict[str, Any]) -> list[tuple[str, str]]:
    return [(fault.reason, fault.place) for fault in faults(resource)]


@pytest.mark.parametrize("resource", [SERVICE, RESPONSE, CONSENT])
def test_a_sound_resource_has_no_fault(resource: dict[str, Any]) -> None:
    assert faults(resource) == []


@pytest.mark.parametrize(
    ("resource", "reason", "place"),
    [
        ({**SERVICE, "intent": "banana"}, "DATA/CODE", "intent"),
        ({**SERVICE, "reason": [{"concept": {"text": "x"}}]}, "DATA/PROFILE", "reason"),
        ({key: SERVICE[key] for key in SERVICE if key != "subject"}, "DATA/REQUIRED", "subject"),
        ({**SERVICE, "subject": {"reference": "Patient/1", "zzz": 1}}, "DATA/PROFILE", "subject.zzz"),
        ({**SERVICE, "occurrenceDateTime": "2026", "occurrenceTiming": {}}, "DATA/PROFILE", "$"),
        ({**SERVICE, "authoredOn": "二〇二六年"}, "DATA/DATE", "authoredOn"),
        ({**SERVICE, "note": [{"text": "x", "modifierExtension": [{"url": "u"}]}]}, "DATA/PROFILE", "note[0].modifierExtension"),
        ({**SERVICE, "_implicitRules": {"id": "x"}}, "DATA/PROFILE", "_implicitRules"),
        ({**SERVICE, "contained": [{"resourceType": "Basic", "modifierExtension": [{"url": "u"}]}]}, "DATA/PROFILE", "contained[0].modifierExtension"),
        ({**SERVICE, "contained": [{"id": "x"}]}, "DATA/REQUIRED", "contained[0].resourceType"),
        ({**CONSENT, "policyRule": None}, "DATA/INVARIANT", "policyRule"),
        ({**CONSENT, "provision": {"provision": [{"purpose": [{"code": "x"}]}]}}, "DATA/INVARIANT", "provision.provision[0].type"),
        (
            {**RESPONSE, "item": [{"linkId": "1", "item": [{"linkId": "2"}], "answer": [{"valueString": "x", "item": [{"linkId": "3"}]}]}]},
            "DATA/INVARIANT",
            "item[0]",
        ),
        ({"resourceType": "Patient", "contact": [{"gender": "male"}]}, "DATA/INVARIANT", "contact[0]"),
        ({"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": SERVICE}]}, "DATA/INVARIANT", "entry[0].request"),
        ({"resourceType": "Bundle", "type": "collection", "total": 1}, "DATA/INVARIANT", "total"),
        ({"resourceType": "HumanName"}, "DATA/PROFILE", "resourceType"),
        ({"resourceType": "../../etc"}, "DATA/PROFILE", "resourceType"),
        ({}, "DATA/PROFILE", "resourceType"),
    ],
)  # fmt: skip
def test_a_fault_has_reason_and_place(resource: dict[str, Any], reason: str, place: str) -> None:
    shown = found(resource)
    assert (reason, place if place != "$" else shown[0][1]) in shown


def test_every_bad_entry_of_a_bundle_is_named() -> None:
    def entry(resource: dict[str, Any]) -> dict[str, Any]:
        return {"resource": resource, "request": {"method": "POST", "url": "ServiceRequest"}}

    bad = [{**SERVICE, "intent": "banana"}, SERVICE, {**SERVICE, "zzz": 1}]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry(one) for one in bad]}
    assert found(bundle) == [
        ("DATA/CODE", "entry[0].resource.intent"),
        ("DATA/PROFILE", "entry[2].resource.zzz"),
    ]
    read = list(read_json(json.dumps(bundle).encode()))
    assert [type(item) for item in read] == [Refused, Refused, Refused]
    assert read[-1] == Refused("DATA/BUNDLE", "entry[1].resource", read[-1].message)


def test_the_release_an_element_belongs_to_is_named() -> None:
    task = {"resourceType": "Task", "status": "requested", "intent": "order"}
    [r5] = faults({**task, "requestedPerformer": []})
    [stu3] = faults({**task, "definitionUri": "urn:x"})
    assert "R5" in r5.message
    assert "STU3" in stu3.message


def test_more_faults_than_anybody_reads_are_cut() -> None:
    assert len(faults({**SERVICE, **{f"zzz{n}": n for n in range(500)}})) == r4.MAX_FAULTS


def test_no_fault_quotes_a_value() -> None:
    secret = "欧阳小雨 13800000001"
    resource = {**SERVICE, "status": secret, "authoredOn": secret, "subject": secret, secret: 1}
    assert secret not in repr(faults(resource))


def test_a_narrative_with_script_is_dropped_unread_and_counted() -> None:
    div = '<div xmlns="http://www.w3.org/1999/xhtml"><script>alert(1)</script></div>'
    resource = {**SERVICE, "text": {"status": "generated", "div": div}}
    kept, active = without_narrative(resource)
    assert (kept, active) == (SERVICE, 1)
    [item] = read_json(json.dumps(resource).encode())
    assert isinstance(item, Accepted)
    assert item.reason == "DATA/NARRATIVE"
    assert "alert" not in item.note
    calm = {**SERVICE, "text": {"status": "generated", "div": div.replace("<script>alert(1)</script>", "on call only")}}
    assert without_narrative(calm) == (SERVICE, 0)


def test_decimals_keep_their_digits_and_partial_dates_pass_where_fhir_allows_them() -> None:
    observation = (
        b'{"resourceType":"Observation","status":"final","code":{"text":"x"},"effectiveDateTime":"2026-02",'
        b'"valueQuantity":{"value":0.10}}'
    )
    read = parse(observation).clean()
    assert faults(read) == []
    assert read["valueQuantity"]["value"] == Decimal("0.10")
    assert b'"value":0.10}' in dump(read)
    patient = {"resourceType": "Patient", "birthDate": "2011-13"}
    assert found(patient) == [("DATA/DATE", "birthDate")]


@pytest.mark.parametrize(
    ("reference", "refused"),
    [
        ("Patient/1", False),
        ("urn:uuid:0c1f6d4e-7a55-4a0e-9a52-000000000001", False),
        ("https://evil.example/Patient/1", True),
        ("file:///etc/passwd", True),
        ("http://169.254.169.254/Patient/1", True),
        ("#x", True),
    ],
)
def test_a_reference_that_leads_out_is_refused_and_never_followed(reference: str, refused: bool) -> None:
    items = list(read_json(json.dumps({**SERVICE, "subject": {"reference": reference}}).encode()))
    assert [getattr(item, "reason", "") for item in items] == (["DATA/REFERENCE"] if refused else [""])


def test_references_in_a_circle_end() -> None:
    circle = [
        {"resourceType": "Basic", "id": "a", "code": {"text": "x"}, "subject": {"reference": "#b"}},
        {"resourceType": "Basic", "id": "b", "code": {"text": "x"}, "subject": {"reference": "#a"}},
    ]
    assert faults({**SERVICE, "contained": circle, "subject": {"reference": "#a"}}) == []


@pytest.mark.parametrize(
    ("items", "instrument", "answers", "total"),
    [
        ([("/44250-9", {"valueCoding": {"code": "LA6571-9"}}), ("/44261-6", {"valueDecimal": Decimal(12)})], "PHQ-9", 3, 12),
        ([("44250-9", {"valueInteger": 2}), ("44261-6", {"valueString": "12"})], "PHQ-9", 2, 12),
        ([("/69737-5/69725-0", {"valueCoding": {"code": "LA6569-3"}}), ("70274-6", {"valueString": "高"})], "GAD-7", 1, None),
    ],
)  # fmt: skip
def test_answers_are_understood_as_forms_in_use_write_them(
    items: list[tuple[str, dict[str, Any]]], instrument: str, answers: int, total: int | None
) -> None:
    from xinqiao_hospital.answers import form_of

    form = form_of({"item": [{"linkId": link, "answer": [answer]} for link, answer in items]})
    assert form is not None
    assert (form.instrument, form.answers[0], form.total) == (instrument, answers, total)
    assert set(form.answers[1:]) == {codes.NOT_ANSWERED}
