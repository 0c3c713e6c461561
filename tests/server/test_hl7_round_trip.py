"""A referral through the whole gateway to a hospital of HL7 v2 and GB 18030, and its outcome back to the school."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters.host import AdapterHost
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.api.referral.v1 import referral_service_pb2 as rpc
from xinqiao_hospital.faults import FaultScript
from xinqiao_hospital.hl7.simulator import Hl7HospitalSimulator


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hl7HospitalSimulator]:
    simulator = Hl7HospitalSimulator(tmp_path / "hospital", charset="GB18030")
    yield simulator
    simulator.stop()


@pytest.fixture
def town(make_town: Callable[..., Any], hospital: Hl7HospitalSimulator) -> Iterator[Any]:
    started = hospital.start()

    def only_the_hospital(settings: dict[str, Any]) -> None:
        settings["adapters"] = {"kunshan-mental-health": {"adapter": "hospital", "settings": started}}

    with make_town(listen=True, change=only_the_hospital, host=AdapterHost.load(["hospital"])) as made:
        yield made


def state(town: Any, name: str) -> int:
    return int(town.call(town.PSYCH, rpc.GetReferralRequest(name=name)).referral.state)


def sent(town: Any, hospital: Hl7HospitalSimulator) -> tuple[str, str]:
    """A referral that the hospital has: its name at the school and at the hospital."""
    local = town.student()
    town.consent(local)
    name = town.refer(local).referral.name
    town.deliver_all()
    (there,) = hospital.referrals()
    return name, there


def test_from_the_school_to_the_hospital_and_its_outcome_back(town: Any, hospital: Hl7HospitalSimulator) -> None:
    name, there = sent(town, hospital)
    assert hospital.messages()[0].one("PID").component(5, 2) == "𠮷明", (
        "a character beyond the basic plane, in GB 18030"
    )
    for step, reached in (
        ("accept", ref.REFERRAL_STATE_ACCEPTED),
        ("schedule", ref.REFERRAL_STATE_SCHEDULED),
        ("attend", ref.REFERRAL_STATE_ATTENDED),
        ("outcome", ref.REFERRAL_STATE_OUTCOME_REPORTED),
    ):
        assert hospital.act(there, step) == "AA"
        town.gate.gateway.read_all()
        assert state(town, name) == reached
    outcome = town.call(town.PSYCH, rpc.GetReferralRequest(name=name)).referral.outcome
    assert outcome.school_advice.startswith("可以上学") and outcome.diagnosis == ""


def test_a_correction_of_the_outcome_reaches_the_school_and_older_news_does_not_undo_it(
    town: Any, hospital: Hl7HospitalSimulator
) -> None:
    name, there = sent(town, hospital)
    first = {"school-advice": "可以上学"}
    for step, words in (
        ("accept", {}),
        ("outcome", {"outcome": first}),
        ("outcome", {"outcome": {"school-advice": "休息一周"}, "correction": True}),
        ("outcome", {"outcome": first}),
    ):
        assert hospital.act(there, step, **words) == "AA"
        town.gate.gateway.read_all()
    shown = town.call(town.PSYCH, rpc.GetReferralRequest(name=name)).referral
    assert (shown.state, shown.outcome.school_advice) == (ref.REFERRAL_STATE_OUTCOME_REPORTED, "休息一周")


def test_a_hospital_that_is_down_gets_it_once_it_is_up(town: Any, hospital: Hl7HospitalSimulator) -> None:
    hospital.inject(FaultScript("down", times=1), FaultScript("drop_after", times=1))
    local = town.student()
    town.consent(local)
    town.refer(local)
    for _ in range(6):
        town.deliver_all()
        town.clock.advance(timedelta(minutes=10))
    assert len(hospital.messages()) == 1


def test_news_of_a_referral_nobody_knows_is_acknowledged_held_and_not_routed(
    town: Any, hospital: Hl7HospitalSimulator
) -> None:
    sent(town, hospital)
    message = hospital._oru(hospital.messages()[0], {"diagnosis": "抑郁"}, correction=False)
    assert hospital.send(message.replace(b"OBR|1|", b"OBR|1|NOBODY", 1)) == "AA"
    before = len(town.journal(kind="intake.rejected"))
    town.gate.gateway.read_all()
    assert len(town.journal(kind="intake.rejected")) == before + 1


def test_nothing_is_left_in_the_inbox_once_the_gateway_has_it(town: Any, hospital: Hl7HospitalSimulator) -> None:
    _, there = sent(town, hospital)
    assert hospital.act(there, "accept") == "AA"
    town.gate.gateway.read_all()
    town.gate.gateway.read_all()
    inbox = next(town.gate.folder.rglob("hl7-inbox"))
    assert [path.name for path in inbox.glob("*.item")] == []
