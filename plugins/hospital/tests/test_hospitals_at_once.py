"""Several hospitals with one plugin, each with its own settings; and hospitals that give notice."""

import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xinqiao.adapters.host import AdapterHost, AgencySpec
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.api.gateway.v1.gateway_service_pb2 import AGENCY_STATE_READY
from xinqiao.api.referral.v1.referral_pb2 import ReferralEvent
from xinqiao.config import Secret
from xinqiao_hospital.faults import FaultScript
from xinqiao_hospital.simulator import HospitalSimulator


class Hospitals:
    """A gateway's adapter host with hospitals configured on it, as the gateway starts them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = AdapterHost.load(["hospital"])
        self.simulators: dict[str, HospitalSimulator] = {}
        self.specs: dict[str, AgencySpec] = {}

    def add(self, name: str, **receiver: Any) -> HospitalSimulator:
        simulator = self.simulators[name] = HospitalSimulator(self.folder / f"{name}-hospital")
        settings = simulator.start()
        if receiver:
            token = self.folder / f"{name}.token"
            token.touch(mode=0o600)
            token.write_text(f"token-of-{name}-and-nobody-else")
            settings["receiver"] = {"token": Secret("file", str(token)), **receiver}
        self.specs[name] = AgencySpec(name, {"en": name}, "hospital", settings)
        return simulator

    def start(self) -> dict[str, Any]:
        assert not self.host.failures
        return dict(self.host.start(self.specs, deployment="test", folder=self.folder / "adapters", listen=True))

    def close(self) -> None:
        self.host.close()
        for simulator in self.simulators.values():
            simulator.stop()


@pytest.fixture
def hospitals(tmp_path: Path) -> Iterator[Hospitals]:
    made = Hospitals(tmp_path)
    yield made
    made.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def to(request_: DeliverRequest, hospital: str, referral: str) -> DeliverRequest:
    own = DeliverRequest()
    own.CopyFrom(request_)
    own.request_id = f"delivery-{referral}"
    own.referral.referral.name, own.referral.referral.recipient = f"referrals/{referral}", hospital
    return own


def events(items: list[Any]) -> list[str]:
    return [
        f"{item.referral.referral} {ReferralEvent.Name(item.referral.event).removeprefix('REFERRAL_EVENT_')}"
        for item in items
    ]


def test_two_hospitals_each_get_and_bring_their_own_and_one_down_does_not_hold_up_the_other(
    hospitals: Hospitals, request_: DeliverRequest
) -> None:
    east, west = hospitals.add("east"), hospitals.add("west")
    agencies = hospitals.start()
    agencies["east"].deliver(to(request_, "east", "e1"))
    agencies["west"].deliver(to(request_, "west", "w1"))
    east.accept_all()
    west.act("referrals/w1", "decline")
    assert events(list(agencies["east"].read(""))) == ["referrals/e1 ACCEPT"]
    assert events(list(agencies["west"].read(""))) == ["referrals/w1 DECLINE"]
    east.inject(FaultScript("down", times=0))
    assert agencies["west"].deliver(to(request_, "west", "w2")).receipt == "Task/2"
    assert agencies["west"].state == AGENCY_STATE_READY


def test_a_hospital_cannot_push_about_the_other_ones_referral_nor_with_the_other_ones_token(
    hospitals: Hospitals, request_: DeliverRequest
) -> None:
    ports = {name: free_port() for name in ("east", "west")}
    east = hospitals.add("east", listen=f"127.0.0.1:{ports['east']}")
    west = hospitals.add("west", listen=f"127.0.0.1:{ports['west']}")
    agencies = hospitals.start()
    agencies["east"].deliver(to(request_, "east", "e1"))
    agencies["west"].deliver(to(request_, "west", "w1"))
    [task] = east.records.all("Task")
    west.push_to(f"http://127.0.0.1:{ports['west']}/fhir", "token-of-west-and-nobody-else")
    assert west.pusher.push(task).reasons == ["DATA/UNKNOWN_REFERRAL"]
    west.push_to(f"http://127.0.0.1:{ports['east']}/fhir", "token-of-west-and-nobody-else")
    assert west.pusher.push(task).status == 401
    east.push_to(f"http://127.0.0.1:{ports['east']}/fhir", "token-of-east-and-nobody-else")
    east.accept_all()
    assert east.pusher.wait()
    found = list(agencies["east"].read(""))
    assert events(found)[0] == "referrals/e1 ACCEPT"
    assert {item.referral.source for item in found} == {"Task/1/_history/2"}


def test_a_subscribed_hospital_is_asked_when_it_gives_notice_and_not_before(
    hospitals: Hospitals, request_: DeliverRequest
) -> None:
    port = free_port()
    door = {"listen": f"127.0.0.1:{port}", "public_url": f"http://127.0.0.1:{port}/fhir", "subscribe": True}
    hospital = hospitals.add("east", **door)
    agency = hospitals.start()["east"]
    assert list(agency.read("")) == []
    [subscription] = hospital.records.all("Subscription")
    assert subscription["channel"]["endpoint"] == f"http://127.0.0.1:{port}/fhir/notify"
    assert "payload" not in subscription["channel"]
    agency.deliver(to(request_, "east", "e1"))
    assert hospital.pusher.wait()
    list(agency.read(""))
    hospital.pusher.subscriptions = []
    hospital.accept_all()
    assert list(agency.read("")) == []
    hospital.pusher.subscriptions = hospital.records.all("Subscription")
    hospital.schedule_all()
    assert hospital.pusher.wait()
    assert [answer.status for answer in hospital.pusher.answers][-1] == 200
    assert events(list(agency.read(""))) == ["referrals/e1 ACCEPT", "referrals/e1 SCHEDULE"]
    assert len(hospital.records.all("Subscription")) == 1


def test_a_notice_whose_look_failed_is_not_forgotten(hospitals: Hospitals, request_: DeliverRequest) -> None:
    port = free_port()
    door = {"listen": f"127.0.0.1:{port}", "public_url": f"http://127.0.0.1:{port}/fhir", "subscribe": True}
    hospital = hospitals.add("east", **door)
    agency = hospitals.start()["east"]
    list(agency.read(""))
    agency.deliver(to(request_, "east", "e1"))
    hospital.accept_all()
    assert hospital.pusher.wait()
    hospital.inject(FaultScript("unavailable", times=1))
    with pytest.raises(Exception, match="503"):
        list(agency.read(""))
    assert events(list(agency.read(""))) == ["referrals/e1 ACCEPT"]


def _openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority with a server's and a client's certificate, and one of nobody's."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    for name in ("ca", "other"):
        _openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                 "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}")  # fmt: skip
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1\n")
    for name, signer in (("server", "ca"), ("client", "ca"), ("stranger", "other")):
        _openssl(folder, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                 "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")  # fmt: skip
        _openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{signer}.pem", "-CAkey", f"{signer}.key",
                 "-days", "2", "-out", f"{name}.pem", "-extfile", "san", "-CAcreateserial")  # fmt: skip
    return folder


def _client(folder: Path, certificate: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    if certificate:
        context.load_cert_chain(folder / f"{certificate}.pem", folder / f"{certificate}.key")
    return context


def test_with_a_client_authority_only_its_certificates_are_let_in(
    hospitals: Hospitals, request_: DeliverRequest, authority: Path
) -> None:
    port = free_port()
    hospital = hospitals.add(
        "east", listen=f"127.0.0.1:{port}", token=None, certificate=str(authority / "server.pem"),
        key=str(authority / "server.key"), client_authority=str(authority / "ca.pem"),
    )  # fmt: skip
    agency = hospitals.start()["east"]
    assert agency.state == AGENCY_STATE_READY, agency.message
    agency.deliver(to(request_, "east", "e1"))
    hospital.accept_all()
    [task] = hospital.records.all("Task")
    for certificate in ("stranger", None):
        hospital.push_to(f"https://127.0.0.1:{port}/fhir", None, _client(authority, certificate))
        with pytest.raises(OSError):
            hospital.pusher.push(task)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as silent:
        hospital.push_to(f"https://127.0.0.1:{port}/fhir", None, _client(authority, "client"))
        started = time.monotonic()
        assert hospital.pusher.push(task).status == 201
        assert time.monotonic() - started < 5
        silent.close()
    assert events(list(agency.read("")))[0] == "referrals/e1 ACCEPT"


@pytest.mark.parametrize(
    "receiver",
    [
        {"listen": "127.0.0.1:8443"},
        {"listen": "127.0.0.1:8443", "client_authority": "/ca.pem"},
        {"listen": "127.0.0.1:8443", "token": Secret("env", "T"), "certificate": "/c.pem"},
        {"listen": "127.0.0.1:8443", "token": Secret("env", "T"), "subscribe": True},
        {"listen": "127.0.0.1:8443", "token": "written in the file"},
    ],
)
def test_a_receiver_that_could_not_know_who_pushes_is_refused_at_start(receiver: dict[str, Any]) -> None:
    from xinqiao_hospital.settings import HospitalSettings

    with pytest.raises(ValueError):
        HospitalSettings.model_validate({"base_url": "https://a.cn", "receiver": receiver})


def test_clear_text_beyond_loopback_is_not_opened_and_the_agency_says_so(hospitals: Hospitals) -> None:
    hospitals.add("east", listen="0.0.0.0:0")
    agency = hospitals.start()["east"]
    assert "TLS" in agency.message
