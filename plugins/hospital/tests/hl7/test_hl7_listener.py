"""Who may connect, how many, how: and what the settings refuse at the start."""

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from pathlib import Path
from types import ModuleType

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from xinqiao.adapters.errors import PartnerRefused
from xinqiao.adapters.sockets import SocketTransport
from xinqiao_hospital.hl7.settings import Hl7Settings
from xinqiao_hospital.settings import HospitalSettings, hosts, listens


def test_a_peer_that_is_not_named_is_cut_before_a_byte_is_read(hl: ModuleType, agency_for) -> None:
    wire = hl.Wire(agency_for(peers=["10.1.2.0/24"]).port)
    assert wire.closed()
    wire.close()


def test_a_named_peer_is_heard(hl: ModuleType, agency_for) -> None:
    wire = hl.Wire(agency_for(peers=["127.0.0.0/8"]).port)
    wire.send(b"\x0b" + hl.rri().encode() + b"\x1c\r")
    assert hl.said(wire.answer())[0] == "AA"
    wire.close()


def test_no_more_connections_than_allowed(hl: ModuleType, agency_for) -> None:
    port = agency_for(max_connections=2).port
    first, second = hl.Wire(port), hl.Wire(port)
    for wire in (first, second):
        wire.send(b"\x0b" + hl.rri(control=str(id(wire))).encode() + b"\x1c\r")
        assert hl.said(wire.answer())[0] == "AA"
    third = hl.Wire(port)
    assert third.closed()
    for wire in (first, second, third):
        wire.close()


def test_a_connection_carries_many_messages(hl: ModuleType, agency_for) -> None:
    adapter = agency_for()
    wire = hl.Wire(adapter.port)
    wire.send(b"".join(b"\x0b" + hl.rri(control=f"M{n}").encode() + b"\x1c\r" for n in range(20)))
    assert [hl.said(wire.answer())[0] for _ in range(20)] == ["AA"] * 20
    wire.close()
    assert len(hl.items(adapter)) == 20


def test_closing_ends_every_thread_and_gives_the_port_back(hl: ModuleType, agency_for) -> None:
    before = threading.active_count()
    adapter = agency_for()
    wire, port = hl.Wire(adapter.port), adapter.port
    adapter.close()
    assert threading.active_count() == before
    socket.create_server(("127.0.0.1", port)).close()
    wire.close()


def test_nothing_listens_without_an_address(agency_for) -> None:
    assert agency_for(listen="").port == 0


def test_over_tls_both_ways(hl: ModuleType, agency_for, tmp_path: Path, request_) -> None:
    authority = _certificate(tmp_path)
    files = {"tls": True, "tls_authority": tmp_path / "cert.pem", "tls_certificate": tmp_path / "cert.pem",
             "tls_key": tmp_path / "key.pem"}  # fmt: skip
    adapter = agency_for(**files)
    client = ssl.create_default_context(cafile=str(authority))
    client.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with (
        socket.create_connection(("127.0.0.1", adapter.port), 5) as raw,
        client.wrap_socket(raw, server_hostname="127.0.0.1") as peer,
    ):
        peer.sendall(b"\x0b" + hl.rri().encode() + b"\x1c\r")
        assert b"MSA|AA|M1" in peer.recv(4096)
    sending = agency_for({"protocol": "hl7v2", "hl7": {"host": "127.0.0.1", "port": adapter.port, **files}})
    with pytest.raises(PartnerRefused, match="MESSAGE_TYPE"):
        sending.deliver(request_, 5)  # the gateway itself is no hospital; that it answers shows the way


def test_plaintext_and_unknown_certificates_get_nothing_over_tls(hl: ModuleType, agency_for, tmp_path: Path) -> None:
    _certificate(tmp_path)
    adapter = agency_for(tls=True, tls_certificate=tmp_path / "cert.pem", tls_key=tmp_path / "key.pem", frame_seconds=1)
    wire = hl.Wire(adapter.port)
    wire.send(b"\x0b" + hl.rri().encode() + b"\x1c\r")
    try:
        answered = wire._file.read()
    except ConnectionResetError:
        answered = b""
    wire.close()
    assert b"MSA" not in answered
    with pytest.raises(PartnerRefused, match="EGRESS/CERTIFICATE"):
        transport = SocketTransport([f"127.0.0.1:{adapter.port}"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_default_certs()
        transport.connect(f"127.0.0.1:{adapter.port}", 5, context)


@pytest.mark.parametrize(
    ("endpoint", "reason"), [("127.0.0.1:9", "EGRESS/NOT_ALLOWED"), ("192.168.1.5:2575", "EGRESS/PLAINTEXT")]
)
def test_only_allowed_hosts_and_beyond_loopback_only_tls(endpoint: str, reason: str) -> None:
    with pytest.raises(PartnerRefused, match=reason):
        SocketTransport(["192.168.1.5:2575"]).connect(endpoint, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"protocol": "hl7v2"},
        {"protocol": "fhir"},
        {"protocol": "hl7v2", "hl7": {"host": "h", "port": 0}},
        {"protocol": "hl7v2", "hl7": {"host": "h", "port": 2575, "charset": "GBK"}},
        {"protocol": "hl7v2", "hl7": {"host": "h", "port": 2575, "peers": ["all"]}},
        {"protocol": "hl7v2", "hl7": {"host": "h", "port": 2575, "status_codes": {"03": "maybe"}}},
        {"protocol": "hl7v2", "hl7": {"host": "h", "port": 2575, "result_codes": {"03": "mood"}}},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        HospitalSettings.model_validate(wrong)


def test_only_what_the_settings_name_may_be_reached_and_opened() -> None:
    hl7 = {"host": "127.0.0.1", "port": 2575, "listen": "127.0.0.1:2576"}
    settings = HospitalSettings.model_validate({"protocol": "hl7v2", "hl7": hl7, "exchange_url": "https://x.example/e"})
    assert hosts(settings) == ["127.0.0.1:2575", "x.example:443"] and listens(settings) == ["127.0.0.1:2576"]
    assert Hl7Settings(host="::1", port=1).endpoint == "[::1]:1"


def _certificate(folder: Path) -> Path:
    """A certificate for 127.0.0.1, its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)
    return folder / "cert.pem"
