"""A referral out, the hospital's yes and no, and what became of it back: both sides on real sockets."""

import threading
import time
from types import ModuleType

import pytest

from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.exchange.v1.exchange_pb2 import Package
from xinqiao.api.referral.v1.referral_pb2 import Referral, ReferralChange, ReferralEvent, ReferralState
from xinqiao_hospital.faults import FaultScript
from xinqiao_hospital.hl7.simulator import Hl7HospitalSimulator


def change(state: ReferralState.ValueType, event: ReferralEvent.ValueType) -> DeliverRequest:
    history = [ReferralChange(event=event, time_us=1_791_277_200_000_000)]
    student = "students/" + "a" * 26
    referral = Referral(name="referrals/r1", student=student, state=state, state_reason="家长要求", history=history)
    return DeliverRequest(request_id="update-0001", referral_update=referral)


def test_check_reaches_the_hospital(hospital: Hl7HospitalSimulator, agency_for) -> None:
    assert agency_for(hospital.start()).check() == "MLLP, HL7 v2.5.1, UTF-8"


def test_check_says_when_nobody_is_there(agency_for) -> None:
    with pytest.raises(PartnerUnavailable):
        agency_for().check()


def test_a_referral_arrives_and_is_acknowledged(hospital: Hl7HospitalSimulator, agency_for, request_) -> None:
    receipt = agency_for(hospital.start()).deliver(request_, 5).receipt
    (message,) = hospital.messages()
    assert receipt == f"MSH-10/{message.control_id}"
    assert message.one("PID").component(5, 1) == "欧阳" and message.one("RF1").component(2) == "S"


def test_the_whole_way_back(hospital: Hl7HospitalSimulator, agency_for, request_, hl: ModuleType) -> None:
    adapter = agency_for(hospital.start())
    adapter.deliver(request_, 5)
    for step in ("accept", "waitlist", "schedule", "no_show", "schedule", "attend", "hold", "resume", "outcome"):
        assert hospital.act("referrals/r1", step) == "AA"
    updates = [item.referral for item in hl.items(adapter)]
    names = [ReferralEvent.Name(update.event).removeprefix("REFERRAL_EVENT_") for update in updates]
    assert names == (
        ["ACCEPT", "WAITLIST", "SCHEDULE", "NO_SHOW", "SCHEDULE", "ATTEND", "HOLD", "RESUME", "REPORT_OUTCOME"]
    )
    assert {update.referral for update in updates} == {"referrals/r1"}
    assert updates[6].reason == "监护人要求推迟" and updates[2].appointment_us > 0
    assert updates[-1].outcome.diagnosis == "中度抑郁发作" and updates[-1].outcome.school_advice.startswith("可以上学")
    assert len({update.source for update in updates}) == len(updates)


def test_an_rri_may_be_the_answer_itself(tmp_path, agency_for, request_, hl: ModuleType) -> None:
    hospital = Hl7HospitalSimulator(tmp_path / "rri", reply="rri")
    adapter = agency_for(hospital.start())
    try:
        assert adapter.deliver(request_, 5).receipt.startswith("RF1-11/H")
    finally:
        hospital.stop()
    (item,) = hl.items(adapter)
    assert item.referral.event == ReferralEvent.REFERRAL_EVENT_RECEIVE


def test_a_retry_has_the_same_bytes_and_one_effect(hospital: Hl7HospitalSimulator, agency_for, request_) -> None:
    adapter = agency_for(hospital.start())
    hospital.inject(FaultScript("drop_after"))
    with pytest.raises(PartnerUnavailable):
        adapter.deliver(request_, 5)
    request_.attempt = 2
    adapter.deliver(request_, 5)
    assert len(hospital.messages()) == 1


def test_one_that_was_taken_before_the_hospital_restarted_is_known_again(
    tmp_path, hospital: Hl7HospitalSimulator, agency_for, request_
) -> None:
    started = hospital.start()
    adapter = agency_for(started)
    adapter.deliver(request_, 5)
    hospital.stop()
    again = Hl7HospitalSimulator(tmp_path / "hospital", port=started["hl7"]["port"])
    again.start()
    try:
        adapter.deliver(request_, 5)
        assert len(again.messages()) == 1
    finally:
        again.stop()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("nak", PartnerRefused),
        ("unavailable", PartnerUnavailable),
        ("html", PartnerUnavailable),
        ("drop_before", PartnerUnavailable),
        ("down", PartnerUnavailable),
    ],
)
def test_a_no_is_never_a_receipt(hospital: Hl7HospitalSimulator, agency_for, request_, fault, error) -> None:
    adapter = agency_for(hospital.start())
    hospital.inject(FaultScript(fault))
    with pytest.raises(error):
        adapter.deliver(request_, 5)
    assert hospital.messages() == []


def test_a_fault_in_the_record_is_told_with_its_place(hospital: Hl7HospitalSimulator, agency_for, request_) -> None:
    adapter = agency_for(hospital.start(), processing_id="T")
    with pytest.raises(PartnerRefused) as refused:
        adapter.deliver(request_, 5)
    assert refused.value.reason == "PARTNER/PROCESSING_ID" and "MSH[1]-11" in str(refused.value)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("MSA|AE|{id}\rERR||PID^1^3|204^^HL70357|E|||||王小明 13800000009\r", RecordRejected),
        ("MSA|AR|{id}\r", PartnerRefused),
        ("MSA|CE|{id}\r", RecordRejected),
        ("MSA|CR|{id}\r", PartnerRefused),
        ("MSA|ZZ|{id}\r", PartnerUnavailable),
        ("MSA|AE|{id}\rERR|||207^^HL70357|E\r", PartnerUnavailable),
    ],
)
def test_what_each_answer_means(hl: ModuleType, agency_for, request_, answer: str, error) -> None:
    def answering(raw: bytes) -> bytes:
        control = raw.split(b"|")[9].decode()
        return ("MSH|^~\\&|HIS|HOSPITAL|||20261006||ACK|A1|P|2.5.1\r" + answer.format(id=control)).encode()

    with hl.listening(answering) as port, pytest.raises(error) as raised:
        agency_for({"protocol": "hl7v2", "hl7": {"host": "127.0.0.1", "port": port}}).deliver(request_, 5)
    assert "王小明" not in str(raised.value) and "13800000009" not in str(raised.value)
    if error is RecordRejected and "ERR" in answer:
        assert raised.value.reason == "PARTNER/HL7_204" and raised.value.place == "PID[1]-3"


def test_an_answer_to_another_message_is_no_receipt(hl: ModuleType, agency_for, request_) -> None:
    acknowledged = b"MSH|^~\\&|HIS|HOSPITAL|||20261006||ACK|A1|P|2.5.1\rMSA|AA|SOMETHINGELSE\r"
    with hl.listening(lambda raw: acknowledged) as port, pytest.raises(PartnerUnavailable):
        agency_for({"protocol": "hl7v2", "hl7": {"host": "127.0.0.1", "port": port}}).deliver(request_, 1)


def test_a_slow_hospital_is_waited_for_and_no_longer_than_told(
    hospital: Hl7HospitalSimulator, agency_for, request_
) -> None:
    adapter = agency_for(hospital.start())
    hospital.inject(FaultScript("slow", seconds=30))
    started = time.monotonic()
    with pytest.raises(PartnerUnavailable):
        adapter.deliver(request_, 0.5)
    assert time.monotonic() - started < 3


def test_a_hospital_that_stays_silent_is_given_up(hl: ModuleType, agency_for, request_) -> None:
    with hl.listening(lambda raw: time.sleep(2) or b"") as port:
        started = time.monotonic()
        with pytest.raises(PartnerUnavailable):
            agency_for({"protocol": "hl7v2", "hl7": {"host": "127.0.0.1", "port": port, "answer_seconds": 0.3,
                                                     "connect_seconds": 0.2}}).deliver(request_, 60)  # fmt: skip
        assert time.monotonic() - started < 3


def test_duplicates_and_disorder_lose_nothing_and_add_nothing(
    hospital: Hl7HospitalSimulator, agency_for, request_, hl: ModuleType
) -> None:
    adapter = agency_for(hospital.start())
    adapter.deliver(request_, 5)
    hospital.inject(FaultScript("out_of_order"), FaultScript("duplicate", times=2))
    assert [hospital.act("referrals/r1", step) for step in ("accept", "schedule", "attend")] == ["", "AA", "AA"]
    events = [item.referral.event for item in hl.items(adapter)]
    assert sorted(events) == [3, 6, 8]  # ACCEPT, SCHEDULE, ATTEND


def test_a_code_of_another_table_is_refused_and_listed(
    hospital: Hl7HospitalSimulator, agency_for, request_, hl: ModuleType
) -> None:
    adapter = agency_for(hospital.start())
    adapter.deliver(request_, 5)
    hospital.inject(FaultScript("wrong_code"))
    assert hospital.act("referrals/r1", "accept") == "AE" and hospital.act("referrals/r1", "accept") == "AA"
    first, second = hl.items(adapter)
    assert first.rejected.reason == "DATA/CODE" and second.referral.event == ReferralEvent.REFERRAL_EVENT_ACCEPT


def test_a_hospital_of_gb_18030(tmp_path, agency_for, request_, hl: ModuleType) -> None:
    hospital = Hl7HospitalSimulator(tmp_path / "gb", charset="GB18030")
    adapter = agency_for(hospital.start())
    try:
        adapter.deliver(request_, 5)
        assert "欧阳".encode("gb18030") in hospital.inbox.pending()[0].data
        assert hospital.act("referrals/r1", "decline", reason="床位已满^请转诊\\第二医院") == "AA"
    finally:
        hospital.stop()
    assert hl.items(adapter)[0].referral.reason == "床位已满^请转诊\\第二医院"


@pytest.mark.parametrize(
    ("state", "event", "trigger", "status"),
    [
        (ReferralState.REFERRAL_STATE_CANCELLED, ReferralEvent.REFERRAL_EVENT_CANCEL, "I14", ("E", "cancelled")),
        (
            ReferralState.REFERRAL_STATE_RECALL_ASKED,
            ReferralEvent.REFERRAL_EVENT_ASK_RECALL,
            "I13",
            ("A", "recall-asked"),
        ),
        (ReferralState.REFERRAL_STATE_ON_HOLD, ReferralEvent.REFERRAL_EVENT_HOLD, "I13", ("A", "on-hold")),
        (ReferralState.REFERRAL_STATE_SCHEDULED, ReferralEvent.REFERRAL_EVENT_RESUME, "I13", ("A", "resumed")),
    ],
)
def test_a_change_is_told(hospital: Hl7HospitalSimulator, agency_for, state, event, trigger, status) -> None:
    agency_for(hospital.start()).deliver(change(state, event), 5)
    (message,) = hospital.messages()
    rf1 = message.one("RF1")
    assert (message.trigger, (rf1.component(1, 1), rf1.component(1, 4))) == (trigger, status)
    assert message.first("NTE").text(3) == "家长要求"  # type: ignore[union-attr]


def test_a_state_of_the_hospitals_own_is_not_told_back(hospital: Hl7HospitalSimulator, agency_for) -> None:
    agency_for(hospital.start()).deliver(change(ReferralState.REFERRAL_STATE_ACCEPTED, 3), 5)
    assert hospital.messages() == []


def test_packages_need_an_address_of_their_own(agency_for) -> None:
    with pytest.raises(PartnerRefused, match="EXCHANGE/NOT_CONFIGURED"):
        agency_for().exchange(Package(), "request-0001", 5)


def test_many_referrals_at_once_each_arrive_once(hospital: Hl7HospitalSimulator, agency_for, request_) -> None:
    adapter = agency_for(hospital.start())

    def deliver(number: int) -> None:
        mine = DeliverRequest()
        mine.CopyFrom(request_)
        mine.request_id, mine.referral.referral.name = f"delivery-{number:04}", f"referrals/r{number}"
        adapter.deliver(mine, 10)

    threads = [threading.Thread(target=deliver, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(hospital.referrals()) == [f"referrals/r{number}" for number in range(6)]
