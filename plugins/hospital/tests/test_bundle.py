import json
import re
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters.errors import RecordRejected
from xinqiao.api.referral.v1.referral_pb2 import BasisCitation, ReferralPackage
from xinqiao.api.screening.v1.screening_pb2 import Assessment, Score
from xinqiao_hospital.bundle import build
from xinqiao_hospital.shapes import check_resource
from xinqiao_hospital.wire import dump

DATA = Path(__file__).parents[4] / "shared" / "data"
PHQ9 = ["44250-9", "44255-8", "44259-0", "44254-1", "44251-7", "44258-2", "44252-5", "44253-3", "44260-8"]


def resources(package: ReferralPackage, kind: str) -> list[dict[str, Any]]:
    entries = build(package, "delivery-0001")["entry"]
    return [entry["resource"] for entry in entries if entry["resource"]["resourceType"] == kind]


def test_the_bundle_is_the_golden_one(package: ReferralPackage) -> None:
    golden = json.loads((Path(__file__).parent / "golden_bundle.json").read_text(encoding="utf-8"))
    assert build(package, "delivery-0001") == golden


def test_every_resource_satisfies_r4(package: ReferralPackage) -> None:
    for entry in build(package, "delivery-0001")["entry"]:
        assert check_resource(entry["resource"], "r") == []


def test_every_reference_in_the_bundle_points_into_it(package: ReferralPackage) -> None:
    bundle = build(package, "delivery-0001")
    urls = {entry["fullUrl"] for entry in bundle["entry"]}
    used = set(re.findall(rb'"reference":"([^"]+)"', dump(bundle)))
    assert used and {url.decode() for url in used} <= urls
    assert all(re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", url) for url in urls)


def test_the_same_request_id_gives_the_same_bytes_and_another_gives_other_ids(package: ReferralPackage) -> None:
    assert dump(build(package, "delivery-0001")) == dump(build(package, "delivery-0001"))
    assert (
        build(package, "delivery-0002")["entry"][0]["fullUrl"] != build(package, "delivery-0001")["entry"][0]["fullUrl"]
    )


def test_every_entry_is_a_conditional_create(package: ReferralPackage) -> None:
    requests = [entry["request"] for entry in build(package, "delivery-0001")["entry"]]
    assert all(r["method"] == "POST" and r["ifNoneExist"].startswith("identifier=urn:xinqiao:") for r in requests)


def test_a_chinese_name_reads_family_first(package: ReferralPackage) -> None:
    (patient,) = resources(package, "Patient")
    assert patient["name"] == [{"use": "official", "text": "欧阳小雨", "family": "欧阳", "given": ["小雨"]}]


def test_phq9_items_stand_in_loinc_order_with_loinc_answers(package: ReferralPackage) -> None:
    response = resources(package, "QuestionnaireResponse")[0]
    assert [item["linkId"] for item in response["item"]] == [f"/{code}" for code in PHQ9]
    codes = [item["answer"][0]["valueCoding"]["code"] for item in response["item"]]
    assert codes[:4] == ["LA6570-1", "LA6570-1", "LA6571-9", "LA6571-9"]
    assert response["status"] == "completed"


def test_the_official_phq9_example_uses_the_same_link_ids_and_answers(package: ReferralPackage) -> None:
    example = DATA / "fhir-us-core" / "QuestionnaireResponse-phq-9-example.json"
    if not example.exists():
        pytest.skip("official examples are not here")
    official = json.loads(example.read_text(encoding="utf-8"))["item"]
    ours = resources(package, "QuestionnaireResponse")[0]["item"]
    assert [i["linkId"] for i in ours] == [i["linkId"] for i in official[:9]]
    assert set(ours[0]["answer"][0]["valueCoding"]) == set(official[0]["answer"][0]["valueCoding"])


def test_an_item_not_answered_is_absent_and_a_missing_total_has_a_reason_and_no_value(package: ReferralPackage) -> None:
    response = resources(package, "QuestionnaireResponse")[1]
    assert "/69733-4" not in [item["linkId"] for item in response["item"]] and len(response["item"]) == 6
    (total,) = [o for o in resources(package, "Observation") if o["code"]["coding"][0]["code"] == "70274-6"]
    assert "dataAbsentReason" in total and not [key for key in total if key.startswith("value")]


def test_the_total_and_the_ninth_item_are_observations_derived_from_the_form(package: ReferralPackage) -> None:
    found = {o["code"]["coding"][0]["code"]: o for o in resources(package, "Observation")}
    assert found["44261-6"]["valueInteger"] == 19
    assert found["44260-8"]["valueCodeableConcept"]["coding"][0]["code"] == "LA6569-3"
    assert found["44260-8"]["derivedFrom"] == found["44261-6"]["derivedFrom"]


def test_an_unanswered_ninth_item_makes_no_observation(package: ReferralPackage) -> None:
    package.assessments[0].answers = bytes([1] * 8 + [255])
    assert "44260-8" not in {o["code"]["coding"][0]["code"] for o in resources(package, "Observation")}


def test_an_answer_beyond_the_scale_is_refused_with_its_place(package: ReferralPackage) -> None:
    package.assessments[0].answers = bytes([1, 1, 4, 1, 1, 1, 1, 1, 1])
    with pytest.raises(RecordRejected) as refused:
        build(package, "delivery-0001")
    assert refused.value.place == "ReferralPackage.assessments[0].answers[2]"


def test_consent_has_a_policy_rule_and_the_period_it_holds(package: ReferralPackage) -> None:
    (consent,) = resources(package, "Consent")
    assert consent["policyRule"]["coding"][0]["code"] == "OPTIN"
    assert consent["provision"]["period"]["start"].endswith("+08:00") and "end" in consent["provision"]["period"]


def test_a_cited_basis_makes_no_consent(package: ReferralPackage) -> None:
    package.ClearField("consent")
    package.basis.CopyFrom(BasisCitation(id="life-safety", citation="个人信息保护法第十三条", version="1"))
    assert resources(package, "Consent") == []
    (order,) = resources(package, "ServiceRequest")
    assert order["supportingInfo"][-1]["identifier"] == {"system": "urn:xinqiao:basis", "value": "life-safety"}


def test_what_the_door_withheld_is_absent(package: ReferralPackage) -> None:
    for name in ("family_name", "given_name", "birth_date", "sex", "phone", "guardians"):
        package.student.ClearField(name)  # type: ignore[arg-type]
    for name in ("reason", "crisis_facts", "tier"):
        package.referral.ClearField(name)  # type: ignore[arg-type]
    package.assessments[0].CopyFrom(Assessment(name="assessments/p1"))
    package.ClearField("consent")
    (patient,) = resources(package, "Patient")
    (order,) = resources(package, "ServiceRequest")
    assert set(patient) == {"resourceType", "identifier"}
    assert "reasonCode" not in order and "note" not in order
    assert len(resources(package, "QuestionnaireResponse")) == 1
    assert resources(package, "Consent") == resources(package, "RiskAssessment") == []


def test_a_note_a_resident_id_and_a_school_id_never_travel(package: ReferralPackage) -> None:
    text = dump(build(package, "delivery-0001")).decode()
    assert "私密咨询记录" not in text and "11010519491231002X" not in text and "2026-0417" not in text


def test_a_guardian_in_conflict_gives_a_warning_and_no_number(package: ReferralPackage) -> None:
    text = dump(build(package, "delivery-0001")).decode()
    assert "13800000003" not in text and "欧阳刚" not in text and "不得通知该监护人" in text


def test_a_form_without_loinc_codes_uses_our_own_system(package: ReferralPackage) -> None:
    package.assessments[0].CopyFrom(
        Assessment(
            name="assessments/w", instrument="WHO-5", answers=bytes([3, 255, 2, 2, 2]), scores=[Score(id="total")]
        )
    )
    response = resources(package, "QuestionnaireResponse")[0]
    assert [item["linkId"] for item in response["item"]] == ["1", "3", "4", "5"] and response["status"] == "stopped"
    assert resources(package, "Observation")[0]["code"]["coding"][0]["system"] == "urn:xinqiao:instrument"


def test_a_referral_without_its_name_is_refused(package: ReferralPackage) -> None:
    package.referral.name = ""
    with pytest.raises(RecordRejected, match="DATA/REQUIRED"):
        build(package, "delivery-0001")
