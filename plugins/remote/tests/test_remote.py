"""What the gateway makes of a partner's own service: only what the district declared, no word of the partner's passed on."""

import datetime as dt
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.protobuf.any_pb2 import Any as Packed
from google.rpc import error_details_pb2, status_pb2

from xinqiao.adapters.errors import AdapterError, PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, DeliverResponse, ReadResponse
from xinqiao.api.adapter.v1.adapter_service_pb2_grpc import AdapterServiceServicer, add_AdapterServiceServicer_to_server
from xinqiao.api.common.v1.options_pb2 import FieldClass
from xinqiao.api.common.v1.types_pb2 import Student
from xinqiao.api.gateway.v1.gateway_service_pb2 import AGENCY_STATE_FAILED, AGENCY_STATE_READY
from xinqiao.testing.conformance import samples
from xinqiao_remote import RemoteSimulator

NAME = "欧阳小雨"
MANIFEST = """\
domain: clinic
api: 1
names: {zh: 诊所, en: Clinic}
partner_kind: hospital
capabilities: [check, deliver, read]
contracts:
  written: [{contract: referral, classes: [CASE_REF, IDENTITY]}]
  read: [{contract: referral, classes: [CASE_REF]}]
hosts: the address
legal_bases: [consent]
"""


class Service(AdapterServiceServicer):
    """Answers as a test says."""

    def __init__(self) -> None:
        self.deliver: Callable[[grpc.ServicerContext], DeliverResponse] = lambda context: DeliverResponse(receipt="r/1")
        self.items: list[ReadResponse] = []
        self.peers: list[Any] = []

    def Deliver(self, request: DeliverRequest, context: grpc.ServicerContext) -> DeliverResponse:
        self.peers.append(context.auth_context().get("x509_common_name"))
        return self.deliver(context)

    def Read(self, request: Any, context: grpc.ServicerContext) -> Iterator[ReadResponse]:
        yield from self.items


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def serve(service: Service) -> Iterator[Callable[..., int]]:
    servers: list[grpc.Server] = []

    def make(credentials: grpc.ServerCredentials | None = None) -> int:
        server = grpc.server(ThreadPoolExecutor(4))
        add_AdapterServiceServicer_to_server(service, server)
        here = "127.0.0.1:0"
        port = server.add_secure_port(here, credentials) if credentials else server.add_insecure_port(here)
        server.start()
        servers.append(server)
        return port

    yield make
    for server in servers:
        server.stop(None).wait()


@pytest.fixture
def settings(serve: Any, tmp_path: Path) -> dict[str, Any]:
    manifest = tmp_path / "clinic.yaml"
    manifest.write_text(MANIFEST, "utf-8")
    return {"address": f"127.0.0.1:{serve()}", "manifest": str(manifest)}


def ending(code: grpc.StatusCode, *details: Any) -> Callable[[grpc.ServicerContext], DeliverResponse]:
    def answer(context: grpc.ServicerContext) -> DeliverResponse:
        packed = []
        for detail in details:
            packed.append(Packed())
            packed[-1].Pack(detail)
        status = status_pb2.Status(code=code.value[0], message=NAME, details=packed)
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, f"{NAME} is unknown")
        raise AssertionError

    return answer


def field(name: str) -> error_details_pb2.BadRequest:
    return error_details_pb2.BadRequest(field_violations=[error_details_pb2.BadRequest.FieldViolation(field=name)])


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("UNAVAILABLE", PartnerUnavailable), ("RESOURCE_EXHAUSTED", PartnerUnavailable), ("ABORTED", PartnerUnavailable),
        ("INTERNAL", PartnerUnavailable), ("UNKNOWN", PartnerUnavailable), ("DEADLINE_EXCEEDED", PartnerUnavailable),
        ("INVALID_ARGUMENT", RecordRejected), ("FAILED_PRECONDITION", PartnerRefused), ("PERMISSION_DENIED", PartnerRefused),
        ("UNAUTHENTICATED", PartnerRefused), ("NOT_FOUND", PartnerRefused), ("UNIMPLEMENTED", PartnerRefused),
        ("ALREADY_EXISTS", PartnerRefused), ("OUT_OF_RANGE", PartnerRefused), ("DATA_LOSS", PartnerRefused),
    ],
)  # fmt: skip
def test_each_status_says_what_the_gateway_does_next_and_nothing_of_the_partners_words(
    start: Any, service: Service, settings: dict[str, Any], code: str, kind: type[AdapterError]
):
    service.deliver = ending(grpc.StatusCode[code], error_details_pb2.ErrorInfo(reason=NAME), field(NAME))
    with pytest.raises(AdapterError) as caught:
        start(settings).deliver(samples.request("referral"))
    assert type(caught.value) is kind
    assert NAME not in str(caught.value) + repr(caught.value.__context__)


def test_reason_place_and_wait_are_taken_over_where_they_are_words(
    start: Any, service: Service, settings: dict[str, Any]
):
    handle = start(settings)
    info = error_details_pb2.ErrorInfo(reason="NO_BED")
    service.deliver = ending(grpc.StatusCode.INVALID_ARGUMENT, info, field("referral.student.phone"))
    with pytest.raises(RecordRejected) as rejected:
        handle.deliver(samples.request("referral"))
    assert (rejected.value.reason, rejected.value.place) == ("NO_BED", "referral.student.phone")
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.seconds = 90
    service.deliver = ending(grpc.StatusCode.UNAVAILABLE, retry)
    with pytest.raises(PartnerUnavailable) as later:
        handle.deliver(samples.request("referral"))
    assert later.value.retry_after_s == 90


def test_a_reason_that_is_the_gateways_own_is_not_taken_over(start: Any, service: Service, settings: dict[str, Any]):
    service.deliver = ending(grpc.StatusCode.FAILED_PRECONDITION, error_details_pb2.ErrorInfo(reason="ADAPTER/BROKEN"))
    with pytest.raises(PartnerRefused) as caught:
        start(settings).deliver(samples.request("referral"))
    assert caught.value.reason == "PARTNER/FAILED_PRECONDITION"


def test_the_agency_is_given_only_what_its_own_manifest_declares(start: Any, settings: dict[str, Any]):
    handle = start(settings)
    classes = {FieldClass.FIELD_CLASS_CASE_REF, FieldClass.FIELD_CLASS_IDENTITY}
    assert handle.declared_classes("referral") == classes
    assert handle.declared_classes("recall") == frozenset()
    with pytest.raises(PartnerRefused, match="ADAPTER/NOT_DECLARED"):
        handle.deliver(samples.request("recall"))


def test_what_it_brings_beyond_its_manifest_is_refused(start: Any, service: Service, settings: dict[str, Any]):
    service.items = [ReadResponse(cursor="1", student=Student(local_id="1", school="s"))]
    with pytest.raises(PartnerRefused, match="ADAPTER/NOT_DECLARED"):
        list(start(settings).read(""))


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("classes: [CASE_REF, IDENTITY]", "classes: [CASE_REF, DIAGNOSIS]"),
        ("capabilities: [check, deliver, read]", "capabilities: [check, deliver, read, listen]\nlistens: all"),
        ("partner_kind: hospital", "partner_kind: Hospital!"),
    ],
)
def test_a_manifest_that_goes_too_far_or_is_none_fails_the_agency(
    start: Any, settings: dict[str, Any], text: str, other: str
):
    Path(settings["manifest"]).write_text(MANIFEST.replace(text, other), "utf-8")
    assert start(settings).state == AGENCY_STATE_FAILED


@pytest.mark.parametrize(
    "changes",
    [
        {"address": "adapter.example.cn:443"},
        {"address": "10.0.0.1:443"},
        {"address": "127.0.0.1"},
        {"address": "http://127.0.0.1:1"},
        {"address": "unix:socket"},
        {"certificate": "gateway.pem"},
        {"authority": "no-such-file.pem"},
        {"manifest": "no-such-file.yaml"},
    ],
)
def test_plain_text_beyond_loopback_and_other_contradictions_do_not_start(
    start: Any, settings: dict[str, Any], changes: dict[str, str]
):
    handle = start(settings | changes)
    assert handle.state == AGENCY_STATE_FAILED
    assert handle.message


def test_a_partner_that_is_not_there_is_unavailable_and_the_agency_starts(start: Any, settings: dict[str, Any]):
    handle = start(settings | {"address": "127.0.0.1:9"})
    assert handle.state == AGENCY_STATE_READY
    with pytest.raises(PartnerUnavailable):
        handle.check()


def test_a_reader_that_leaves_early_leaves_no_thread_behind(start: Any, partner: RemoteSimulator):
    handle = start(partner.start())
    partner.bring(500)
    stream = handle.read("")
    assert next(stream).cursor == "1"
    stream.close()
    assert handle.workers.hung == 0
    assert [item.cursor for item in handle.read("498")] == ["499", "500"]


class Pki:
    """An authority and what it signed, as files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._signed("authority", self.key.public_key(), authority=True)
        (folder / "ca.pem").write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        pem, private = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        pem.write_bytes(self._signed(name, key.public_key()).public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return pem, private

    def _signed(self, name: str, key: ec.EllipticCurvePublicKey, *, authority: bool = False) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")])
        builder = x509.CertificateBuilder(
            issuer, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, x509.random_serial_number(),
            now - dt.timedelta(hours=1), now + dt.timedelta(hours=1),
        )  # fmt: skip
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        return builder.add_extension(names, critical=False).sign(self.key, hashes.SHA256())


def test_over_mutual_tls_each_side_knows_the_other(
    start: Any, service: Service, serve: Any, settings: Any, tmp_path: Path
):
    pki = Pki(tmp_path)
    pem, key = pki.issue("adapter.example.cn")
    own_pem, own_key = pki.issue("gateway")
    authority = tmp_path / "ca.pem"
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), pem.read_bytes())], authority.read_bytes(), require_client_auth=True
    )
    port = serve(credentials)
    trust = {"address": f"127.0.0.1:{port}", "authority": str(authority), "server_name": "adapter.example.cn"}
    mutual = {**settings, **trust, "certificate": str(own_pem), "key": str(own_key)}
    assert start(mutual).deliver(samples.request("referral")).receipt == "r/1"
    assert service.peers == [[b"gateway"]]
    for wrong in ({**settings, **trust}, {**mutual, "server_name": "another.example.cn"}):
        with pytest.raises(PartnerUnavailable):
            start(wrong).deliver(samples.request("referral"))
    assert len(service.peers) == 1
