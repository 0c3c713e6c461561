import json
from collections.abc import Callable
from pathlib import Path

import pytest

from xinqiao.adapters.transport import HttpTransport
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao_hospital import xinqiao_adapters
from xinqiao_hospital.adapter import HospitalAdapter
from xinqiao_hospital.faults import FaultScript
from xinqiao_hospital.simulator import HospitalSimulator

AdapterFor = Callable[..., HospitalAdapter]


def test_the_hook_offers_one_kind_named_hospital() -> None:
    (kind,) = xinqiao_adapters()
    assert kind.name == "hospital"
    assert all(field.description for field in kind.settings.model_fields.values())


def test_control_endpoints_move_tasks(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest
) -> None:
    adapter_for(hospital).deliver(request_, 5)
    host = f"127.0.0.1:{hospital.port}"
    for step in ("accept", "schedule", "attend", "outcome"):
        answer = HttpTransport([host]).request(
            "POST", f"http://{host}/simulator/{step}", headers={}, body=b'{"referral":"referrals/r1"}', timeout_s=5
        )
        assert json.loads(answer.body) == {"changed": 1}
    assert hospital.records.read("Task", "1")["status"] == "completed"


def test_it_says_nothing_on_the_terminal(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    adapter_for(hospital).deliver(request_, 5)
    hospital.stop()
    assert capfd.readouterr() == ("", "")


def test_a_line_torn_by_a_kill_did_not_happen(
    hospital: HospitalSimulator, adapter_for: AdapterFor, request_: DeliverRequest, tmp_path: Path
) -> None:
    adapter_for(hospital).deliver(request_, 5)
    hospital.stop()
    log = tmp_path / "hospital" / "records.jsonl"
    with log.open("ab") as file:
        file.write(b'{"us":1,"put":[{"resourceType":"Ta')
    again = HospitalSimulator(tmp_path / "hospital")
    assert len(again.records.all("Task")) == 1 and log.read_bytes().endswith(b"\n")


def test_faults_are_read_from_the_folder(tmp_path: Path) -> None:
    (tmp_path / "faults.json").write_text('[{"kind": "unavailable", "times": 2, "seconds": 3}]')
    faults = HospitalSimulator(tmp_path).faults
    script = FaultScript("unavailable", times=2, seconds=3.0)
    assert [faults.take("unavailable") for _ in range(3)] == [script, script, None]
