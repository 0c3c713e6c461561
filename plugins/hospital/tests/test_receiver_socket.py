"""The receiver's socket: who may push, how many, how slowly, and what a machine in trouble does."""

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from plugins.hospital.tests.door import TOKEN, Door, task

from xinqiao.adapters.listening import Listening
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.transport import HttpTransport
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, ReadResponse
from xinqiao.config import Secret
from xinqiao_hospital import receiver
from xinqiao_hospital.adapter import HospitalAdapter
from xinqiao_hospital.pushing import Gateway
from xinqiao_hospital.settings import HospitalSettings, hosts, listens
from xinqiao_hospital.simulator import HospitalSimulator


def raw(door: Door, data: bytes, wait_s: float = 5.0) -> bytes:
    assert door.adapter.address is not None
    with socket.create_connection(door.adapter.address, timeout=wait_s) as connection:
        connection.sendall(data)
        parts: list[bytes] = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("PUT /fhir/Task/1 HTTP/1.1\r\nContent-Length: 99999999\r\nContent-Type: application/fhir+json\r\n", 413),
        ("PUT /fhir/Task/1 HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n", 400),
        ("PUT /fhir/Task/1 HTTP/1.1\r\nContent-Length: -2\r\n", 400),
        ("PUT /fhir/Task/1 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n", 411),
        ("PUT /fhir/Task/1 HTTP/1.1\r\nContent-Length: 2\r\nContent-Encoding: gzip\r\n", 415),
        ("PUT /fhir/Task/1 HTTP/1.1\r\nContent-Length: 2\r\nContent-Type: application/fhir+xml\r\n", 415),
        ("PUT /fhir/Task/1 HTTP/1.1\r\nContent-Length: 2\r\nContent-Type: text/plain\r\n", 415),
        (
            "PUT /fhir/Task/1 HTTP/1.1\r\nContent-Length: 2\r\n"
            "Content-Type: application/fhir+json; fhirVersion=5.0\r\n",
            415,
        ),
        ("GET /fhir/ServiceRequest/1 HTTP/1.1\r\n", 405),
        ("GET /fhir/Task/1 HTTP/1.1\r\n", 405),
        ("DELETE /fhir/Task/1 HTTP/1.1\r\nContent-Length: 2\r\nContent-Type: application/fhir+json\r\n", 404),
        ("PUT /fhir/Patient/1 HTTP/1.1\r\nContent-Length: 2\r\nContent-Type: application/fhir+json\r\n", 404),
        ("GET /fhir/metadata HTTP/1.1\r\n", 200),
        ("NONSENSE /fhir HTTP/1.1\r\n", 501),
    ],
)
def test_http_that_is_not_offered_is_answered_in_fhir(door: Door, head: str, status: int) -> None:
    answer = raw(door, f"{head}Authorization: Bearer {TOKEN}\r\n\r\n{{}}".encode())
    first, _, body = answer.partition(b"\r\n\r\n")
    assert f" {status} ".encode() in first.splitlines()[0]
    assert json.loads(body)["resourceType"] in ("OperationOutcome", "CapabilityStatement")
    assert door.waiting() == 0


@pytest.mark.parametrize("shown", [None, "wrong", TOKEN + "x", ""])
def test_who_does_not_show_the_token_is_refused_and_nothing_is_read(door: Door, shown: str | None) -> None:
    answer = Gateway(door.gateway.base_url, shown).send("PUT", "/Task/1", json.dumps(task()).encode())
    assert (answer.status, answer.reasons) == (401, ["PARTNER/UNAUTHORIZED"])
    assert door.waiting() == 0


def test_a_slow_sender_is_cut_off_and_others_are_served_meanwhile(
    open_door: Callable[..., Door], request_: DeliverRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receiver.Receiver.__init__, "__kwdefaults__", {
        **receiver.Receiver.__init__.__kwdefaults__, "request_s": 0.8,
    })  # fmt: skip
    door = open_door()
    door.adapter.deliver(request_, 5)
    assert door.adapter.address is not None
    started = time.monotonic()
    with socket.create_connection(door.adapter.address, timeout=10) as slow:
        slow.sendall(b"PUT /fhir/Task/1 HTTP/1.1\r\n")
        assert door.put(task()).status == 201
        with pytest.raises(OSError):
            while time.monotonic() - started < 8:
                slow.sendall(b"X")
                time.sleep(0.05)
    assert time.monotonic() - started < 5


def test_more_connections_than_allowed_are_told_to_come_back(door: Door) -> None:
    """Sixteen at once and no more, as it is built: they are taken in the order in which they come."""
    address = door.adapter.address
    assert address is not None
    held = [socket.create_connection(address, timeout=5) for _ in range(16)]
    assert b" 503 " in raw(door, b"GET /fhir/metadata HTTP/1.1\r\n\r\n").splitlines()[0]
    held.pop().close()
    until = time.monotonic() + 10
    while (status := door.put(task()).status) == 503 and time.monotonic() < until:
        time.sleep(0.05)
    assert status == 201
    for connection in held:
        connection.close()


def test_nothing_is_opened_before_the_gateway_says_listen(hospital: HospitalSimulator, tmp_path: Path) -> None:
    (tmp_path / "token").touch(mode=0o600)
    (tmp_path / "token").write_text(TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        door = {"listen": listen, "token": Secret("file", str(tmp_path / "token"))}
        settings = HospitalSettings.model_validate({**hospital.start(), "receiver": door})
        context = AgencyContext("h", {}, "test", HttpTransport(hosts(settings)), tmp_path, Listening(listens(settings)))
        assert HospitalAdapter(settings, context).check() == "FHIR 4.0.1"


def test_it_says_nothing_on_the_terminal(door: Door, capfd: pytest.CaptureFixture[str]) -> None:
    door.put(task())
    door.put(task(status="banana"))
    raw(door, b"\x16\x03\x01 not http at all\r\n\r\n")
    assert capfd.readouterr() == ("", "")


def test_out_of_threads_turns_one_caller_away_and_goes_on_listening(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def none_left(self: threading.Thread) -> None:
        if self.name == "hospital-push":
            raise RuntimeError("can't start new thread")
        start(self)

    assert door.adapter.address is not None
    with monkeypatch.context() as machine:
        machine.setattr(threading.Thread, "start", none_left)
        with socket.create_connection(door.adapter.address, timeout=5) as caller:
            caller.settimeout(5)
            assert b"503" in caller.recv(4096)
    assert door.put(task()).status == 201


def test_a_notice_stands_when_the_caller_leaves_a_look_half_way(door: Door) -> None:
    failed: list[int] = []
    adapter: Any = door.adapter
    adapter._subscriber = SimpleNamespace(due=lambda: True, failed=lambda: failed.append(1), close=lambda: None)
    adapter._feed = SimpleNamespace(read=lambda cursor: iter([ReadResponse(cursor="a"), ReadResponse(cursor="b")]))
    look = adapter.read("")
    next(look)
    look.close()
    assert failed == [1]
    list(adapter.read(""))
    assert failed == [1]
