"""A recall on the hospital's server: asked once, answered over the hospital's own signature."""

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from xinqiao.adapters.errors import RecordRejected
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.casefile.v1.consent_pb2 import RECALL_ACTION_KEPT_BY_LAW, Recall
from xinqiao.api.common.v1.options_pb2 import FIELD_CLASS_CASE_REF, FIELD_CLASS_IDENTITY
from xinqiao.contract.recall import open_receipt
from xinqiao_hospital import codes
from xinqiao_hospital.adapter import HospitalAdapter
from xinqiao_hospital.r4 import faults
from xinqiao_hospital.recall import build
from xinqiao_hospital.simulator import HospitalSimulator


@pytest.fixture
def recall(request_: DeliverRequest) -> DeliverRequest:
    """The withdrawal of the consent that the referral went under."""
    package = request_.referral
    made = Recall(
        name="recalls/w1", student=package.student.name, recipient="city-hospital", cause=package.consent.consent,
        items=[package.referral.name], classes=[FIELD_CLASS_CASE_REF, FIELD_CLASS_IDENTITY], due_us=1_792_000_000_000_000,
        create_time_us=1_791_300_000_000_000,
    )  # fmt: skip
    return DeliverRequest(request_id="recalls.w1", attempt=1, recall=made)


def test_the_consent_becomes_inactive_and_a_task_asks_for_deletion_once(
    hospital: HospitalSimulator, adapter_for: Callable[..., HospitalAdapter], request_: DeliverRequest,
    recall: DeliverRequest,
) -> None:  # fmt: skip
    adapter = adapter_for(hospital)
    adapter.deliver(request_, 5)
    assert hospital.records.all("Consent")[0]["status"] == "active"
    first = adapter.deliver(recall, 5)
    assert adapter.deliver(recall, 5) == first
    (consent,) = hospital.records.all("Consent")
    assert consent["status"] == "inactive"
    asked = [t for t in hospital.records.all("Task") if t["identifier"][0]["system"] == codes.RECALL]
    assert [t["identifier"][0]["value"] for t in asked] == ["recalls/w1"]
    assert first.receipt == f"Task/{asked[0]['id']}"


def test_the_signed_answer_comes_back_and_verifies(
    hospital: HospitalSimulator, adapter_for: Callable[..., HospitalAdapter], recall: DeliverRequest
) -> None:
    adapter = adapter_for(hospital)
    adapter.deliver(recall, 5)
    assert [item.WhichOneof("body") for item in adapter.read("")] == []
    assert hospital.answer_recalls(RECALL_ACTION_KEPT_BY_LAW) == 1
    assert hospital.answer_recalls() == 0
    (item,) = [item for item in adapter.read("") if item.WhichOneof("body")]
    answer = item.recall_receipt
    key = load_pem_public_key(hospital.receipt_public_key_pem())
    assert isinstance(key, Ed25519PublicKey)
    receipt = open_receipt(answer.receipt, key)
    assert (answer.recall, receipt.recall, receipt.action) == ("recalls/w1", "recalls/w1", RECALL_ACTION_KEPT_BY_LAW)
    assert receipt.citation


def test_a_completed_recall_without_a_signature_is_told_with_its_place(
    hospital: HospitalSimulator, adapter_for: Callable[..., HospitalAdapter], recall: DeliverRequest
) -> None:
    adapter = adapter_for(hospital)
    adapter.deliver(recall, 5)
    hospital.records.change("Task", "1", lambda task: {**task, "status": "completed"})
    (item,) = adapter.read("")
    assert (item.rejected.reason, item.rejected.place) == ("DATA/OUTCOME", "Task.output")


def test_what_is_asked_is_sound_r4_and_the_same_on_every_try(recall: DeliverRequest) -> None:
    bundle = build(recall.recall, recall.request_id)
    assert not faults(bundle, "Bundle")
    assert bundle == build(recall.recall, recall.request_id)
    recall.recall.cause = "overrides/o1"  # an access that nobody approved has no consent at the hospital
    assert [e["resource"]["resourceType"] for e in build(recall.recall, recall.request_id)["entry"]] == ["Task"]
    with pytest.raises(RecordRejected):
        build(Recall(), "recalls.w1")
