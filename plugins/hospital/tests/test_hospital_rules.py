"""How refusals, conflicts and silence of a hospital's server are met: once, later, or by a person."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from xinqiao.adapters.errors import AdapterError, PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.api.adapter.v1.adapter_service_pb2 import Capacity, CapacityRequest, DeliverRequest
from xinqiao.api.referral.v1.referral_pb2 import ReferralEvent
from xinqiao.contract.clock import ManualClock
from xinqiao_hospital import codes
from xinqiao_hospital.adapter import HospitalAdapter
from xinqiao_hospital.faults import FaultScript
from xinqiao_hospital.settings import HospitalSettings
from xinqiao_hospital.simulator import HospitalSimulator

AdapterFor = Callable[..., HospitalAdapter]


def made(hospital: HospitalSimulator) -> dict[str, int]:
    kinds = ("Patient", "Consent", "QuestionnaireResponse", "Observation", "RiskAssessment", "ServiceRequest", "Task")
    return {kind: len(hospital.records.all(kind)) for kind in kinds}


# -- one effect ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop_after", "duplicate", "drop_before", "unavailable", "throttled", "conflict"])
def test_whatever_happens_to_the_first_try_the_second_leaves_one_of_each(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest, fault: str
) -> None:
    adapter = adapter_for(hospital)
    hospital.inject(FaultScript(fault))  # type: ignore[arg-type]
    if fault != "duplicate":
        with pytest.raises(PartnerUnavailable):
            adapter.deliver(request_, 5)
    assert adapter.deliver(request_, 5).receipt == adapter.deliver(request_, 5).receipt == "Task/1"
    assert made(hospital) == {
        "Patient": 1, "Consent": 1, "QuestionnaireResponse": 2, "Observation": 3, "RiskAssessment": 1, "ServiceRequest": 1,
        "Task": 1,
    }  # fmt: skip


def test_another_request_id_for_the_same_referral_makes_no_second_one_either(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest
) -> None:
    adapter = adapter_for(hospital)
    adapter.deliver(request_, 5)
    request_.request_id = "delivery-0002"
    assert adapter.deliver(request_, 5).receipt == "Task/1"
    assert made(hospital)["Task"] == made(hospital)["ServiceRequest"] == 1


# -- what a refusal means ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        (FaultScript("conflict"), PartnerUnavailable, ""),
        (FaultScript("throttled", seconds=90), PartnerUnavailable, ""),
        (FaultScript("precondition"), RecordRejected, "PARTNER/AMBIGUOUS"),
        (FaultScript("entry_errors", items=(8,)), RecordRejected, "FHIR/BUSINESS_RULE"),
        (FaultScript("entry_errors"), RecordRejected, "FHIR/BUSINESS_RULE"),
        (FaultScript("entry_busy", items=(3,)), PartnerUnavailable, ""),
    ],
)
def test_a_refusal_says_what_to_do_next(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest,
    fault: FaultScript, kind: type[AdapterError], reason: str,
) -> None:  # fmt: skip
    adapter = adapter_for(hospital)
    hospital.inject(fault)
    with pytest.raises(kind) as refused:
        adapter.deliver(request_, 5)
    assert getattr(refused.value, "reason", "") == reason
    assert made(hospital)["Task"] == 0
    if fault.kind == "throttled":
        assert isinstance(refused.value, PartnerUnavailable)
        assert refused.value.retry_after_s == 90
    if fault.items == (8,):
        assert str(getattr(refused.value, "place", "")) == (
            "Bundle.entry[8].resource (ServiceRequest): ServiceRequest.identifier"
        )


def test_what_can_pass_is_tried_again_before_a_record_is_given_up(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest
) -> None:
    from xinqiao_hospital.outcomes import transaction_error

    refused = {"status": "422", "outcome": {}}
    answer = {"entry": [{"response": {"status": "201"}}, {"response": refused}, {"response": {"status": "503 Busy"}}]}
    sent = [{"resource": {"resourceType": "Patient"}}, {"resource": {"resourceType": "Task"}}, {"resource": {}}]
    assert isinstance(transaction_error(answer, sent), PartnerUnavailable)
    assert isinstance(transaction_error({"entry": answer["entry"][:1]}, sent), PartnerRefused)


def test_a_hospital_down_for_days_is_asked_until_it_is_back(
    tmp_path: Path, adapter_for: AdapterFor, request_: DeliverRequest
) -> None:
    clock = ManualClock(datetime(2026, 10, 6, tzinfo=UTC))
    hospital = HospitalSimulator(tmp_path / "slow-hospital", clock=clock)
    try:
        adapter = adapter_for(hospital)
        hospital.inject(FaultScript("down", seconds=3 * 86400))
        for _ in range(3):
            with pytest.raises(PartnerUnavailable):
                adapter.deliver(request_, 5)
            clock.advance(timedelta(hours=23))
        clock.advance(timedelta(hours=4))
        assert adapter.deliver(request_, 5).receipt == "Task/1"
    finally:
        hospital.stop()


def test_pages_of_one_and_tasks_listed_stale_lose_nothing(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest
) -> None:
    adapter = adapter_for(hospital)
    for number in range(1, 5):
        request_.request_id, request_.referral.referral.name = f"delivery-000{number}", f"referrals/r{number}"
        adapter.deliver(request_, 5)
    hospital.accept_all()
    hospital.inject(FaultScript("small_pages", times=0), FaultScript("stale", times=4))
    cursor, seen = "", list[str]()
    for _ in range(3):
        for item in adapter.read(cursor):
            cursor = item.cursor
            seen.append(f"{item.referral.referral} {ReferralEvent.Name(item.referral.event)}")
    assert sorted(seen) == [f"referrals/r{number} REFERRAL_EVENT_ACCEPT" for number in range(1, 5)]


# -- capacity ------------------------------------------------------------------------------------------------------------

_NOW = datetime(2026, 10, 6, tzinfo=UTC)


def _asking(hospital: HospitalSimulator, folder: Path, **capacity: object) -> HospitalAdapter:
    from xinqiao.adapters.protocols import AgencyContext
    from xinqiao.adapters.transport import HttpTransport
    from xinqiao_hospital.settings import hosts

    services = {"child-psychiatry": "http://snomed.info/sct|394588006"}
    given = {**hospital.start(), "capacity": {"services": services, **capacity}}
    settings = HospitalSettings.model_validate(given)
    return HospitalAdapter(
        settings, AgencyContext("h", {}, "test", HttpTransport(hosts(settings)), folder), ManualClock(_NOW)
    )


@pytest.mark.parametrize(
    ("days", "capacity", "wait"),
    [
        ([3, 40], Capacity.CAPACITY_AVAILABLE, 0),
        ([40], Capacity.CAPACITY_WAITLIST, 40),
        ([200], Capacity.CAPACITY_NONE, 0),
        ([], Capacity.CAPACITY_NONE, 0),
    ],
)
def test_free_slots_say_whether_there_is_a_place(
    hospital: HospitalSimulator, tmp_path: Path, days: list[int], capacity: int, wait: int
) -> None:
    adapter = _asking(hospital, tmp_path)
    hospital.free_slots = [_NOW + timedelta(days=number) for number in days]
    answer = adapter.capacity(CapacityRequest(service="child-psychiatry"), 5)
    assert (answer.capacity, answer.wait_days) == (capacity, wait)
    assert answer.as_of_us > 0


@pytest.mark.parametrize(
    ("words", "capacity"),
    [
        (["none", "waitlist"], Capacity.CAPACITY_WAITLIST),
        (["assessment-required"], Capacity.CAPACITY_ASSESSMENT_REQUIRED),
        (["available", "none"], Capacity.CAPACITY_AVAILABLE),
        (["none"], Capacity.CAPACITY_NONE),
        (["odd"], Capacity.CAPACITY_UNSPECIFIED),
        ([], Capacity.CAPACITY_UNSPECIFIED),
    ],
)
def test_healthcare_services_say_whether_there_is_a_place(
    hospital: HospitalSimulator, tmp_path: Path, words: list[str], capacity: int
) -> None:
    adapter = _asking(hospital, tmp_path, search="healthcare-service")
    hospital.capacity_words = words
    assert adapter.capacity(CapacityRequest(), 5).capacity == capacity


def test_a_service_nobody_mapped_is_not_asked_about_and_one_that_assesses_first_says_so(
    hospital: HospitalSimulator, tmp_path: Path
) -> None:
    adapter = _asking(hospital, tmp_path, assess_first=["inpatient"])
    hospital.stop()
    assert adapter.capacity(CapacityRequest(service="dentist"), 5).capacity == Capacity.CAPACITY_UNSPECIFIED
    assert adapter.capacity(CapacityRequest(service="inpatient"), 5).capacity == Capacity.CAPACITY_ASSESSMENT_REQUIRED
    with pytest.raises(PartnerUnavailable):
        adapter.capacity(CapacityRequest(service="child-psychiatry"), 5)


# -- drill ---------------------------------------------------------------------------------------------------------------


def test_a_drill_can_be_mistaken_by_neither_a_machine_nor_a_person(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest
) -> None:
    request_.referral.drill = True
    adapter_for(hospital).deliver(request_, 5)
    for kind, number in made(hospital).items():
        assert number
        for resource in hospital.records.all(kind):
            assert {"HTEST"} == {label["code"] for label in resource["meta"]["security"]}
            assert {codes.DRILL} == {tag["system"] for tag in resource["meta"]["tag"]}
    [order], [task], [patient] = (hospital.records.all(kind) for kind in ("ServiceRequest", "Task", "Patient"))
    assert order["note"][0]["text"].startswith("【演练 DRILL】")
    assert order["reasonCode"][0]["text"].startswith("【演练 DRILL】")
    assert task["description"].startswith("【演练 DRILL】")
    assert patient["name"][0]["text"].startswith("【演练 DRILL】")


def test_what_is_no_drill_bears_no_mark(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest
) -> None:
    adapter_for(hospital).deliver(request_, 5)
    said = json.dumps([hospital.records.all(kind) for kind in made(hospital)], ensure_ascii=False)
    assert "HTEST" not in said
    assert "演练" not in said
