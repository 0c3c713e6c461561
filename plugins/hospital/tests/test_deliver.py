from collections.abc import Callable

import pytest

from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.referral.v1.referral_pb2 import Referral, ReferralChange, ReferralEvent, ReferralState
from xinqiao_hospital.adapter import HospitalAdapter
from xinqiao_hospital.faults import FaultScript
from xinqiao_hospital.simulator import HospitalSimulator

AdapterFor = Callable[..., HospitalAdapter]


def update(state: ReferralState.ValueType, *events: ReferralEvent.ValueType) -> DeliverRequest:
    history = [ReferralChange(event=event) for event in events]
    referral = Referral(name="referrals/r1", state=state, state_reason="家长要求", history=history)
    return DeliverRequest(request_id="update-0001", referral_update=referral)


def test_check_names_the_fhir_version(hospital: HospitalSimulator, adapter_for: AdapterFor) -> None:
    assert adapter_for(hospital).check() == "FHIR 4.0.1"


def test_a_referral_becomes_a_task(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest
) -> None:
    assert adapter_for(hospital).deliver(request_, 5).receipt == "Task/1"
    task = hospital.records.read("Task", "1")
    assert task["focus"] == {"reference": "ServiceRequest/1"} and task["for"] == {"reference": "Patient/1"}


def test_a_retry_has_one_effect_and_the_same_receipt(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest
) -> None:
    adapter = adapter_for(hospital)
    hospital.inject(FaultScript("drop_after"))
    with pytest.raises(PartnerUnavailable):
        adapter.deliver(request_, 5)
    assert adapter.deliver(request_, 5).receipt == "Task/1"
    kinds = ("Patient", "Task", "ServiceRequest", "Consent", "QuestionnaireResponse", "Observation", "RiskAssessment")
    assert [len(hospital.records.all(kind)) for kind in kinds] == [1, 1, 1, 1, 2, 3, 1]


def test_a_write_the_network_doubles_has_one_effect(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest
) -> None:
    adapter = adapter_for(hospital)
    hospital.inject(FaultScript("duplicate"))
    assert adapter.deliver(request_, 5).receipt == "Task/1"
    assert len(hospital.records.all("Task")) == 1


def test_records_survive_a_restart(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest
) -> None:
    adapter_for(hospital).deliver(request_, 5)
    hospital.stop()
    again = HospitalSimulator(hospital.records._path.parent)  # pyright: ignore[reportPrivateUsage]
    try:
        assert adapter_for(again).deliver(request_, 5).receipt == "Task/1"
        assert again.receipt_public_key_pem() == hospital.receipt_public_key_pem()
    finally:
        again.stop()


def test_a_busy_hospital_is_tried_again_when_it_wishes(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest
) -> None:
    adapter = adapter_for(hospital)
    hospital.inject(FaultScript("unavailable", times=2, seconds=17))
    for _ in range(2):
        with pytest.raises(PartnerUnavailable) as busy:
            adapter.deliver(request_, 5)
        assert busy.value.retry_after_s == 17
    assert adapter.deliver(request_, 5).receipt == "Task/1"


@pytest.mark.parametrize(
    "fault", [FaultScript("drop_before"), FaultScript("down", times=0), FaultScript("slow", seconds=3)]
)
def test_a_silent_hospital_is_unavailable(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest, fault: FaultScript
) -> None:
    adapter = adapter_for(hospital)
    hospital.inject(fault)
    with pytest.raises(PartnerUnavailable):
        adapter.deliver(request_, 0.3)
    hospital.clear_faults()
    assert adapter.deliver(request_, 5).receipt == "Task/1"


def test_a_web_page_is_refused_as_such(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest
) -> None:
    adapter = adapter_for(hospital)
    hospital.inject(FaultScript("html"))
    with pytest.raises(PartnerRefused, match="HTML"):
        adapter.deliver(request_, 5)


def test_a_wrong_token_is_refused(hospital: HospitalSimulator, adapter_for: AdapterFor) -> None:
    hospital.token = "right"
    with pytest.raises(PartnerRefused, match="PARTNER/UNAUTHORIZED"):
        adapter_for(hospital, token="wrong").check()
    hospital.stop()
    assert adapter_for(hospital, token="right").check() == "FHIR 4.0.1"


def test_what_fhir_does_not_allow_is_refused_with_its_place_before_it_leaves(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest
) -> None:
    request_.referral.student.birth_date = "2011-13-40"
    with pytest.raises(RecordRejected) as refused:
        adapter_for(hospital).deliver(request_, 5)
    assert (refused.value.reason, refused.value.place) == ("DATA/DATE", "Bundle.entry[0].resource.birthDate")
    assert "2011-13-40" not in str(refused.value)
    assert hospital.records.all("Patient") == hospital.records.all("Task") == []


@pytest.mark.parametrize(
    ("state", "status", "business"),
    [
        (ReferralState.REFERRAL_STATE_CANCELLED, "cancelled", "6.0"),
        (ReferralState.REFERRAL_STATE_REDIRECTED, "cancelled", "6.0"),
        (ReferralState.REFERRAL_STATE_RECALL_ASKED, "requested", "5.2"),
        (ReferralState.REFERRAL_STATE_ON_HOLD, "on-hold", "2.0"),
        (ReferralState.REFERRAL_STATE_TIMED_OUT, "failed", "2.0"),
        (ReferralState.REFERRAL_STATE_CLOSED, "completed", "7.0"),
    ],
)
def test_what_the_sender_does_is_written_into_the_task_once(
    hospital: HospitalSimulator,
    adapter_for: AdapterFor,
    request_: DeliverRequest,
    state: ReferralState.ValueType,
    status: str,
    business: str,
) -> None:
    adapter = adapter_for(hospital)
    adapter.deliver(request_, 5)
    assert adapter.deliver(update(state), 5).receipt == adapter.deliver(update(state), 5).receipt == "Task/1"
    task = hospital.records.read("Task", "1")
    assert (task["status"], task["businessStatus"]["coding"][0]["code"]) == (status, business)
    assert task["meta"]["versionId"] == "2"
    assert list(adapter.read("")) == []  # our own change is no news


def test_the_hospitals_own_states_are_never_written_back(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest
) -> None:
    adapter = adapter_for(hospital)
    adapter.deliver(request_, 5)
    hospital.accept_all()
    adapter.deliver(update(ReferralState.REFERRAL_STATE_SCHEDULED), 5)
    assert hospital.records.read("Task", "1")["status"] == "accepted"


def test_the_end_of_a_pause_is_written(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest
) -> None:
    adapter = adapter_for(hospital)
    adapter.deliver(request_, 5)
    adapter.deliver(update(ReferralState.REFERRAL_STATE_ON_HOLD), 5)
    adapter.deliver(update(ReferralState.REFERRAL_STATE_ACCEPTED, ReferralEvent.REFERRAL_EVENT_RESUME), 5)
    assert hospital.records.read("Task", "1")["status"] == "accepted"


def test_a_change_of_a_referral_the_hospital_does_not_know_is_rejected(
    hospital: HospitalSimulator, adapter_for: AdapterFor
) -> None:
    with pytest.raises(RecordRejected, match="PARTNER/UNKNOWN_REFERRAL"):
        adapter_for(hospital).deliver(update(ReferralState.REFERRAL_STATE_CANCELLED), 5)
