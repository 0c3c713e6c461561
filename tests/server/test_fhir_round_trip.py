"""A referral through the whole gateway to a FHIR hospital that pushes what becomes of it, and its outcome back."""

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from xinqiao.adapters.host import AdapterHost
from xinqiao.api.casefile.v1 import casefile_service_pb2 as case
from xinqiao.api.casefile.v1 import consent_service_pb2 as con
from xinqiao.api.casefile.v1.consent_pb2 import RECALL_ACTION_DELETED
from xinqiao.api.referral.v1 import referral_pb2 as ref
from xinqiao.api.referral.v1 import referral_service_pb2 as rpc
from xinqiao_hospital.faults import FaultScript
from xinqiao_hospital.simulator import HospitalSimulator


class Env(str):
    """Written into the configuration as ``!env NAME``."""

    __slots__ = ()


yaml.SafeDumper.add_representer(Env, lambda dumper, name: dumper.represent_scalar("!env", str(name)))
TOKEN = "agreed-with-the-hospital"


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[HospitalSimulator]:
    simulator = HospitalSimulator(tmp_path / "hospital")
    yield simulator
    simulator.stop()


@pytest.fixture
def town(
    make_town: Callable[..., Any], hospital: HospitalSimulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Any]:
    monkeypatch.setenv("XQ_HOSPITAL_PUSHES", TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    started = hospital.start()

    key = tmp_path / "receipt.pub"
    key.write_bytes(hospital.receipt_public_key_pem())

    def only_the_hospital(settings: dict[str, Any]) -> None:
        settings["partners"]["kunshan-mental-health"]["receipt_key"] = str(key)
        door = {"listen": address, "token": Env("XQ_HOSPITAL_PUSHES")}
        settings["adapters"] = {
            "kunshan-mental-health": {"adapter": "hospital", "settings": {**started, "receiver": door}}
        }

    with make_town(listen=True, change=only_the_hospital, host=AdapterHost.load(["hospital"])) as made:
        hospital.push_to(f"http://{address}/fhir", TOKEN)
        yield made


def state(town: Any, name: str) -> int:
    return int(town.call(town.PSYCH, rpc.GetReferralRequest(name=name)).referral.state)


def sent(town: Any) -> str:
    """A referral that the hospital has, by its name at the school."""
    local = town.student()
    town.consent(local)
    name = str(town.refer(local).referral.name)
    town.deliver_all()
    return name


def test_what_is_pushed_and_asked_for_as_well_moves_the_referral_once(town: Any, hospital: HospitalSimulator) -> None:
    name = sent(town)
    hospital.inject(FaultScript("push_twice", times=0))
    for step, reached in (
        ("accept", ref.REFERRAL_STATE_ACCEPTED),
        ("schedule", ref.REFERRAL_STATE_SCHEDULED),
        ("attend", ref.REFERRAL_STATE_ATTENDED),
        ("outcome", ref.REFERRAL_STATE_OUTCOME_REPORTED),
    ):
        assert hospital.act("Task/1", step)
        assert hospital.pusher.wait()
        town.gate.gateway.read_all()
        assert state(town, name) == reached
    assert {answer.status for answer in hospital.pusher.answers} == {200, 201}
    assert town.journal(kind="intake.rejected") == []
    outcome = town.call(town.PSYCH, rpc.GetReferralRequest(name=name)).referral.outcome
    assert outcome.school_advice.startswith("可以上学")
    assert outcome.diagnosis == ""


def test_a_withdrawal_reaches_the_hospital_and_its_signed_answer_comes_back(
    town: Any, hospital: HospitalSimulator
) -> None:
    local = town.student()
    consent = town.consent(local).name
    town.refer(local)
    town.deliver_all()
    (recall,) = town.call(town.PSYCH, case.WithdrawConsentRequest(name=consent)).recalls
    town.deliver_all()
    assert [each["status"] for each in hospital.records.all("Consent")] == ["inactive"]
    assert hospital.answer_recalls() == 1
    town.gate.gateway.read_all()
    town.gate.gateway.read_all()
    found = town.call(town.PSYCH, con.GetWithdrawalRequest(name=consent))
    assert (found.done, found.recalls[0].name, found.recalls[0].action) == (True, recall, RECALL_ACTION_DELETED)
    assert len(town.journal(kind="recall.confirmed")) == 1
    assert town.journal(kind="intake.rejected") == []


def test_what_was_pushed_is_taken_while_the_hospital_itself_cannot_be_reached(
    town: Any, hospital: HospitalSimulator
) -> None:
    name = sent(town)
    hospital.inject(FaultScript("down", times=0))
    hospital.act("Task/1", "accept")
    assert hospital.pusher.wait()
    town.gate.gateway.read_all()
    assert state(town, name) == ref.REFERRAL_STATE_ACCEPTED


def test_nothing_is_left_in_the_inbox_once_the_gateway_has_it(town: Any, hospital: HospitalSimulator) -> None:
    sent(town)
    hospital.act("Task/1", "accept")
    assert hospital.pusher.wait()
    inbox = next(town.gate.folder.rglob("inbox"))
    assert len(list(inbox.glob("*.item"))) >= 1
    town.gate.gateway.read_all()
    town.gate.gateway.read_all()
    assert list(inbox.glob("*.item")) == []
