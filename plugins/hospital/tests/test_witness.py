"""The journal's checkpoints ride beside a FHIR request, and a hospital that gives them back is a witness."""

from collections.abc import Callable

from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao_hospital.adapter import HospitalAdapter
from xinqiao_hospital.faults import FaultScript
from xinqiao_hospital.simulator import HospitalSimulator
from xinqiao_hospital.witness import HEADER, Witness, pack, unpack

AdapterFor = Callable[..., HospitalAdapter]
NOTES = [f"xinqiao/kunshan/main-{number}\n7\n{'A' * 43}=\n\n— xinqiao/kunshan {'B' * 90}==\n" for number in range(4)]


def test_a_hospital_keeps_the_notes_and_gives_them_back(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest
) -> None:
    request_.checkpoints.extend(NOTES)
    answer = adapter_for(hospital).deliver(request_, 5)
    assert (answer.receipt, list(answer.checkpoints)) == ("Task/1", NOTES)
    assert hospital.checkpoints == NOTES


def test_a_repeat_with_a_newer_note_has_one_effect(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest
) -> None:
    adapter = adapter_for(hospital)
    for note in NOTES[:2]:
        del request_.checkpoints[:]
        request_.checkpoints.append(note)
        assert adapter.deliver(request_, 5).receipt == "Task/1"
    assert len(hospital.records.all("Task")) == 1
    assert hospital.checkpoints == NOTES[:2]


def test_a_server_that_knows_nothing_of_it_takes_the_referral_all_the_same(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest
) -> None:
    adapter = adapter_for(hospital)
    hospital.inject(FaultScript("stale"))
    assert list(adapter.deliver(request_, 5).checkpoints) == []


def test_only_what_was_sent_counts_as_given_back() -> None:
    witness = Witness(NOTES[:1])
    witness.hear({HEADER.lower(): pack(NOTES)})
    assert witness.echoed == (NOTES[0],)
    for junk in ("", "%%%", "AAAA, ////", "é", ",,,", pack(["x"]) * 50):
        witness.hear({HEADER.lower(): junk})
        assert witness.echoed == ()


def test_a_header_is_never_longer_than_servers_take() -> None:
    assert Witness(NOTES * 20).headers() == {}
    assert Witness([]).headers() == {}
    assert unpack(Witness(NOTES).headers()[HEADER]) == tuple(NOTES)
