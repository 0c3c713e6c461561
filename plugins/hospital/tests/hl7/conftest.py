"""A gateway's side and a hospital's side of MLLP, on real sockets; answers are read by another library than ours."""

import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import hl7
import pytest

from xinqiao.adapters.listening import Listening
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.sockets import SocketTransport
from xinqiao.adapters.transport import HttpTransport
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse
from xinqiao_hospital import create
from xinqiao_hospital.hl7.adapter import Hl7Hospital
from xinqiao_hospital.hl7.simulator import Hl7HospitalSimulator
from xinqiao_hospital.settings import HospitalSettings, hosts, listens

STUDENT = "a" * 26
AgencyFor = Callable[..., Hl7Hospital]


def rri(
    status: str = "A^Accepted^HL70283",
    *extra: str,
    control: str = "M1",
    referral: str = "r1^XINQIAO",
    pid3: str = f"{STUDENT}^^^XINQIAO^PI",
    when: str = "20261006090000+0800",
    header: str = "",
) -> str:
    """An RRI^I12 as hospitals write them, with CR ends."""
    msh = header or f"MSH|^~\\&|HIS|HOSPITAL|XINQIAO|XINQIAO|{when}||RRI^I12^RRI_I12|{control}|P|2.5.1"
    rf1 = f"RF1|{status}|R^Routine^HL70280||||{referral}"
    prd = "PRD|RT^Referred to Provider^HL70286"
    return "\r".join([msh, rf1, prd, f"PID|1||{pid3}||^^^^^^U", *extra]) + "\r"


def oru(*results: str, control: str = "R1", placer: str = "r1^XINQIAO", filler: str = "L7^HOSPITAL") -> str:
    """An ORU^R01 with these OBX segments."""
    msh = f"MSH|^~\\&|HIS|HOSPITAL|XINQIAO|XINQIAO|20261020100000+0800||ORU^R01^ORU_R01|{control}|P|2.5.1"
    pid = f"PID|1||{STUDENT}^^^XINQIAO^PI||^^^^^^U"
    obr = f"OBR|1|{placer}|{filler}|outcome^反馈单^99XINQIAO"
    return "\r".join([msh, pid, obr, *results]) + "\r"


DIAGNOSIS = "OBX|1|TX|diagnosis^诊断^99XINQIAO||中度抑郁发作||||||F"


class Wire:
    """A connection to a listener, as a hospital's engine would hold it."""

    def __init__(self, port: int) -> None:
        self._peer = socket.create_connection(("127.0.0.1", port), 10)
        self._file = self._peer.makefile("rb")

    def send(self, data: bytes) -> None:
        self._peer.sendall(data)

    def answer(self) -> bytes:
        """The next frame's body; empty when the connection was closed."""
        data = self._file.read(1)
        if not data:
            return b""
        assert data == b"\x0b"
        body = bytearray()
        while not body.endswith(b"\x1c\r"):
            more = self._file.read(1)
            assert more, "the answer broke off"
            body += more
        return bytes(body[:-2])

    def closed(self) -> bool:
        """Whether the other side has closed."""
        try:
            return self._file.read(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self._file.close()
        self._peer.close()


def said(ack: bytes, charset: str = "utf-8") -> tuple[str, str, str]:
    """MSA-1, the reason in ERR-5 and the place in ERR-8, read by the library ``hl7``."""
    message = hl7.parse(ack.decode(charset))
    code = str(message.segment("MSA")[1])
    if "ERR|" not in ack.decode(charset):
        return code, "", ""
    error = message.segment("ERR")
    return code, str(error[5][0][0]), str(error[8]).partition(":")[0]


Tell = Callable[..., tuple[str, str, str]]


@pytest.fixture
def hl() -> ModuleType:
    """The makers and readers of this file: ``hl.rri(...)``, ``hl.said(...)``."""
    return sys.modules[__name__]


@pytest.fixture
def hospital(tmp_path: Path) -> Iterator[Hl7HospitalSimulator]:
    simulator = Hl7HospitalSimulator(tmp_path / "hospital")
    yield simulator
    simulator.stop()


@pytest.fixture
def agency_for(tmp_path: Path) -> Iterator[AgencyFor]:
    """Makes the gateway's adapter for what a simulator's ``start`` returned, or for nothing but listening."""
    made: list[Hl7Hospital] = []

    def make(started: dict[str, Any] | None = None, **hl7_settings: Any) -> Hl7Hospital:
        given = started or {"protocol": "hl7v2", "hl7": {"host": "127.0.0.1", "port": 9, "listen": "127.0.0.1:0"}}
        settings = HospitalSettings.model_validate({**given, "hl7": {**given["hl7"], **hl7_settings}})
        context = AgencyContext(
            "city-hospital",
            {},
            "test",
            HttpTransport(hosts(settings)),
            tmp_path / "state",
            Listening(listens(settings)),
            SocketTransport(hosts(settings)),
        )
        adapter = create(settings, context)
        assert isinstance(adapter, Hl7Hospital)
        made.append(adapter)
        adapter.listen()
        return adapter

    yield make
    for adapter in made:
        adapter.close()


@pytest.fixture
def tell(agency_for: AgencyFor) -> Tell:
    """Sends one message to a listening gateway and says what came back: code, reason, place."""
    agencies: list[Hl7Hospital] = []

    def send(message: str | bytes, **settings: Any) -> tuple[str, str, str]:
        if not agencies or settings:
            agencies.append(agency_for(**settings))
        data = message if isinstance(message, bytes) else message.encode()
        wire = Wire(agencies[-1].port)
        try:
            wire.send(b"\x0b" + data + b"\x1c\r")
            ack = wire.answer()
        finally:
            wire.close()
        return said(ack, "gb18030" if settings.get("charset") == "GB18030" else "utf-8")

    return send


def items(adapter: Hl7Hospital, cursor: str = "") -> list[ReadResponse]:
    return list(adapter.read(cursor))


@contextmanager
def listening(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """A bare peer on a free port that answers each frame as told."""
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(10)

    def serve() -> None:
        with suppress(OSError):
            peer, _ = server.accept()
            with peer:
                data = b""
                while not data.endswith(b"\x1c\r"):
                    data += peer.recv(65536)
                peer.sendall(b"\x0b" + answer(data[1:-2]) + b"\x1c\r")
                peer.settimeout(5)
                peer.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield int(server.getsockname()[1])
    finally:
        server.close()
        thread.join()
