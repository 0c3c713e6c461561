from collections.abc import Callable
from typing import Any

import pytest

from xinqiao.adapters.errors import PartnerRefused
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, ReadResponse
from xinqiao.api.referral.v1.referral_pb2 import Fitness, ReferralEvent
from xinqiao_hospital.adapter import HospitalAdapter
from xinqiao_hospital.faults import FaultScript
from xinqiao_hospital.simulator import HospitalSimulator

AdapterFor = Callable[..., HospitalAdapter]


@pytest.fixture
def adapter(hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest) -> HospitalAdapter:
    adapter = adapter_for(hospital)
    adapter.deliver(request_, 5)
    return adapter


def events(items: list[ReadResponse]) -> list[str]:
    return [ReferralEvent.Name(i.referral.event).removeprefix("REFERRAL_EVENT_") for i in items]


def edit(hospital: HospitalSimulator, **elements: Any) -> None:
    hospital.records.change("Task", "1", lambda task: {**task, **elements})


def test_a_task_only_created_is_no_news(adapter: HospitalAdapter) -> None:
    assert list(adapter.read("")) == []


def test_the_whole_way_is_read_in_order(hospital: HospitalSimulator, adapter: HospitalAdapter) -> None:
    for step in ("accept", "waitlist", "schedule", "no_show", "schedule", "attend", "outcome"):
        assert hospital.act("referrals/r1", step)
    items = list(adapter.read(""))
    assert events(items) == ["ACCEPT", "WAITLIST", "SCHEDULE", "NO_SHOW", "SCHEDULE", "ATTEND", "REPORT_OUTCOME"]
    assert {i.referral.referral for i in items} == {"referrals/r1"}
    assert [i.referral.source for i in items][:2] == ["Task/1/_history/2", "Task/1/_history/3"]
    assert list(adapter.read(items[-1].cursor)) == []


def test_each_poll_brings_only_what_is_new(hospital: HospitalSimulator, adapter: HospitalAdapter) -> None:
    hospital.accept_all()
    first = list(adapter.read(""))
    hospital.schedule_all()
    assert events(list(adapter.read(first[-1].cursor))) == ["SCHEDULE"]


def test_a_new_adapter_goes_on_at_the_cursor(
    hospital: HospitalSimulator, adapter: HospitalAdapter, adapter_for: AdapterFor
) -> None:
    hospital.accept_all()
    cursor = list(adapter.read(""))[-1].cursor
    hospital.stop()
    assert list(adapter_for(hospital).read(cursor)) == []


def test_a_crash_between_items_loses_none(
    hospital: HospitalSimulator, adapter: HospitalAdapter, adapter_for: AdapterFor
) -> None:
    for step in ("accept", "schedule"):
        hospital.act("Task/1", step)
    first = next(adapter.read(""))
    hospital.stop()
    assert "SCHEDULE" in events(list(adapter_for(hospital).read(first.cursor)))


def test_an_appointment_carries_its_moment(hospital: HospitalSimulator, adapter: HospitalAdapter) -> None:
    hospital.act("Task/1", "accept")
    hospital.act("Task/1", "schedule", appointment_us=1_791_300_000_000_000)
    assert list(adapter.read(""))[-1].referral.appointment_us == 1_791_300_000_000_000


def test_a_decline_carries_its_reason(hospital: HospitalSimulator, adapter: HospitalAdapter) -> None:
    hospital.act("Task/1", "decline", reason="没有床位")
    (item,) = adapter.read("")
    assert (item.referral.event, item.referral.reason) == (ReferralEvent.REFERRAL_EVENT_DECLINE, "没有床位")


def test_an_outcome_is_read_field_by_field(hospital: HospitalSimulator, adapter: HospitalAdapter) -> None:
    hospital.accept_all()
    assert hospital.report_outcomes() == 1
    outcome = list(adapter.read(""))[-1].referral.outcome
    assert outcome.diagnosis == "中度抑郁发作" and outcome.fitness == Fitness.FITNESS_ATTEND_WITH_ADJUSTMENTS
    assert outcome.treatment and outcome.school_advice and outcome.care_advice and len(outcome.next_visit) == 10


def test_a_diagnosis_in_a_contained_condition_is_read_and_any_other_address_refused(
    hospital: HospitalSimulator, adapter: HospitalAdapter
) -> None:
    kind = {"coding": [{"system": "urn:xinqiao:task-output", "code": "diagnosis"}]}
    done: dict[str, Any] = {"status": "completed", "businessStatus": {"coding": []}}
    inside = [{"resourceType": "Condition", "id": "c1", "code": {"text": "焦虑"}}]
    edit(hospital, **done, contained=inside, output=[{"type": kind, "valueReference": {"reference": "#c1"}}])
    edit(hospital, **done, output=[{"type": kind, "valueReference": {"reference": "file:///etc/passwd"}}])
    read, refused = adapter.read("")
    assert read.referral.outcome.diagnosis == "焦虑"
    assert (refused.rejected.reason, refused.rejected.place) == ("DATA/REFERENCE", "Task.output[0]")


def test_a_pause_and_its_end_are_read(hospital: HospitalSimulator, adapter: HospitalAdapter) -> None:
    for step in ("accept", "schedule", "hold", "resume"):
        assert hospital.act("Task/1", step)
    assert events(list(adapter.read(""))) == ["ACCEPT", "SCHEDULE", "HOLD", "RESUME"]


def test_a_version_that_says_nothing_new_is_no_news(hospital: HospitalSimulator, adapter: HospitalAdapter) -> None:
    hospital.accept_all()
    edit(hospital, description="内部备注")
    assert events(list(adapter.read(""))) == ["ACCEPT"]


def test_an_unknown_code_table_is_rejected_with_its_place(
    hospital: HospitalSimulator, adapter: HospitalAdapter
) -> None:
    hospital.inject(FaultScript("wrong_code"))
    (item,) = adapter.read("")
    assert (item.rejected.reason, item.rejected.place) == ("DATA/CODE", "Task.businessStatus.coding")
    assert item.rejected.source == "Task/1/_history/1"


@pytest.mark.parametrize(
    ("elements", "reason", "place"),
    [
        ({"modifierExtension": [{"url": "urn:x", "valueBoolean": True}]}, "DATA/PROFILE", "Task.modifierExtension"),
        (
            {"owner": {"identifier": {"modifierExtension": [{"url": "x"}]}}},
            "DATA/PROFILE",
            "Task.owner.identifier.modifierExtension",
        ),
        ({"implicitRules": "urn:x"}, "DATA/PROFILE", "Task.implicitRules"),
        ({"requestedPeriod": {"start": "2026"}}, "DATA/PROFILE", "Task.requestedPeriod"),
        ({"statusReason": {"concept": {"text": "x"}}}, "DATA/PROFILE", "Task.statusReason"),
        ({"context": {"reference": "Encounter/1"}}, "DATA/PROFILE", "Task.context"),
        ({"status": "rejected"}, "DATA/STATE", "Task.status"),
        ({"status": "in-progress", "businessStatus": {"text": "?"}}, "DATA/CODE", "Task.businessStatus"),
        ({"status": "rejected", "businessStatus": {"text": "?"}}, "DATA/REASON", "Task.statusReason.text"),
        ({"status": "completed", "businessStatus": {"text": "?"}}, "DATA/OUTCOME", "Task.output"),
    ],
)
def test_a_task_that_cannot_be_trusted_is_rejected_with_its_place(
    hospital: HospitalSimulator, adapter: HospitalAdapter, elements: dict[str, Any], reason: str, place: str
) -> None:
    edit(hospital, **elements)
    (item,) = adapter.read("")
    assert (item.rejected.reason, item.rejected.place) == (reason, place)


def test_a_page_with_doubles_or_backwards_gives_each_event_once_in_order(
    hospital: HospitalSimulator, adapter: HospitalAdapter, request_: DeliverRequest
) -> None:
    for number in (2, 3):
        request_.referral.referral.name = f"referrals/r{number}"
        request_.request_id = f"delivery-000{number}"
        adapter.deliver(request_, 5)
    hospital.accept_all()
    hospital.inject(FaultScript("duplicate"), FaultScript("out_of_order"))
    assert [i.referral.referral for i in adapter.read("")] == ["referrals/r1", "referrals/r2", "referrals/r3"]


def test_more_than_a_page_is_read_to_its_end(
    hospital: HospitalSimulator, adapter: HospitalAdapter, request_: DeliverRequest
) -> None:
    del request_.referral.assessments[:]
    for number in range(60):
        request_.referral.referral.name = f"referrals/n{number}"
        request_.request_id = f"delivery-n{number}"
        adapter.deliver(request_, 5)
    hospital.accept_all()
    assert len(list(adapter.read(""))) == 61


def test_a_foreign_cursor_is_refused(adapter: HospitalAdapter) -> None:
    with pytest.raises(PartnerRefused, match="DATA/CURSOR"):
        list(adapter.read("yesterday|7"))


def test_the_autopilot_accepts_and_schedules_what_comes_in(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest
) -> None:
    adapter = adapter_for(hospital)
    hospital.autopilot(("accept", "schedule"))
    adapter.deliver(request_, 5)
    assert events(list(adapter.read(""))) == ["ACCEPT", "SCHEDULE"]
