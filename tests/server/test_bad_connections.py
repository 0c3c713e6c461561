"""bad-inputs row 31: slow streams, many streams, ping floods, over a real TLS socket; the others notice nothing."""

import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest

from xinqiao.api.referral.v1 import referral_service_pb2 as referral
from xinqiao.api.screening.v1 import screening_service_pb2 as screening

UPLOAD = "/xinqiao.api.screening.v1.ScreeningService/UploadAssessments"
SUBMIT = "/xinqiao.api.screening.v1.ScreeningService/SubmitAssessment"
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_HEADERS, END_STREAM, ACK = 4, 1, 1
ENHANCE_YOUR_CALM, REFUSED_STREAM = 11, 7


class Frame(NamedTuple):
    """One HTTP/2 frame."""

    kind: int
    flags: int
    stream: int
    payload: bytes


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def headers(path: str) -> bytes:
    """The headers of a gRPC call without a deadline, in HPACK's plainest form: literal, never indexed, no Huffman."""
    fields = {
        ":method": "POST", ":scheme": "https", ":path": path, ":authority": "localhost",
        "content-type": "application/grpc", "te": "trailers",
    }  # fmt: skip
    return b"".join(
        b"\x10" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )


class Rogue:
    """A partner with a good certificate and bad manners, one TLS connection deep."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        self._connection = connection
        self._read = b""

    def send(self, *frames: bytes) -> None:
        self._connection.sendall(b"".join(frames))

    def frames(self, within_s: float) -> Iterator[Frame]:
        """What the gateway says until the time is over or it hangs up."""
        end = time.monotonic() + within_s
        while (left := end - time.monotonic()) > 0:
            while len(self._read) >= 9 and len(self._read) >= 9 + (size := int.from_bytes(self._read[:3], "big")):
                kind, flags, stream = struct.unpack(">BBI", self._read[3:9])
                payload, self._read = self._read[9 : 9 + size], self._read[9 + size :]
                yield Frame(kind, flags, stream, payload)
            self._connection.settimeout(max(left, 0.01))
            try:
                more = self._connection.recv(65536)
            except TimeoutError:
                return
            except OSError:
                more = b""
            if not more:
                return
            self._read += more


@pytest.fixture(scope="module")
def wire(make_town: Callable[..., Any]) -> Iterator[Any]:
    """Streams are cut after one idle second here."""

    def impatient(settings: dict[str, Any]) -> None:
        settings["server"]["limits"] = {"stream_idle_s": 1}

    with make_town(change=impatient) as town:
        yield town


@pytest.fixture
def rogue(wire: Any) -> Iterator[Rogue]:
    with _rogue(wire) as made:
        yield made


@contextmanager
def _rogue(wire: Any) -> Iterator[Rogue]:
    pki: Path = wire.gate.folder / "pki"
    context = ssl.create_default_context(cafile=str(pki / "ca.pem"))
    context.load_cert_chain(pki / "partners" / f"{wire.SCHOOL}.pem", pki / "partners" / f"{wire.SCHOOL}.key")
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", wire.gate.gateway.port), 5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        rogue = Rogue(connection)
        rogue.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(SETTINGS, 0, 0), frame(SETTINGS, ACK, 0))
        yield rogue


def others_are_served(wire: Any) -> bool:
    """Another partner gets its answer, and the rogue's own agency its crisis answer, both in time."""
    wire.gate.call(wire.HOSPITAL, referral.ListReferralsRequest(), timeout_s=5)
    report = screening.ReportSignalRequest(request_id=wire.key(), source=2, kind=1, facts="facts")
    report.student.local_id = wire.student()
    return bool(wire.gate.call(wire.SCHOOL, report, timeout_s=5).signal.name)


def test_row_31_a_flood_of_pings_is_told_to_calm_down_and_cut(wire: Any, rogue: Rogue) -> None:
    for _ in range(20):
        try:
            rogue.send(frame(PING, 0, 0, bytes(8)))
        except OSError:  # it hung up while we were still shouting
            break
        time.sleep(0.01)
    last = [found for found in rogue.frames(5) if found.kind == GOAWAY]
    assert last
    assert struct.unpack(">I", last[-1].payload[4:8])[0] == ENHANCE_YOUR_CALM
    assert others_are_served(wire)


def test_row_31_a_stream_that_drips_is_cut_although_it_is_never_silent(wire: Any, rogue: Rogue) -> None:
    rogue.send(frame(HEADERS, END_HEADERS, 1, headers(UPLOAD)))
    message = b"\0" + struct.pack(">I", 1000) + bytes(1000)
    begun = time.monotonic()
    for place in range(20):
        rogue.send(frame(DATA, 0, 1, message[place : place + 1]))
        if any(found.stream == 1 and (found.flags & END_STREAM or found.kind == RESET) for found in rogue.frames(0.25)):
            break
    else:
        pytest.fail("it may drip for ever")
    assert 0.9 < time.monotonic() - begun < 4
    assert others_are_served(wire)


def test_row_31_a_silent_stream_is_told_why_it_is_cut_and_how_to_go_on(wire: Any) -> None:
    stream = wire.gate.channel(wire.SCHOOL).stream_stream(UPLOAD)

    def silent() -> Iterator[bytes]:
        time.sleep(3)
        yield b""

    refused = wire.refused(lambda: list(stream(silent(), timeout=20)))
    assert refused.word == "RESOURCE_EXHAUSTED/STREAM_IDLE"
    assert b"resume" in refused.text


@pytest.mark.parametrize("path", [UPLOAD, SUBMIT])
def test_row_31_ten_thousand_streams_on_one_connection_take_the_places_of_nobody(
    wire: Any, rogue: Rogue, path: str
) -> None:
    opened = headers(path)
    turned_away = False
    for first in range(1, 20_001, 400):
        try:
            rogue.send(*(frame(HEADERS, END_HEADERS, stream, opened) for stream in range(first, first + 400, 2)))
        except OSError:
            turned_away = True
            break
    for found in rogue.frames(2):
        code = struct.unpack(">I", found.payload[-4:])[0] if found.kind == RESET else 0
        turned_away = turned_away or found.kind == GOAWAY or code == REFUSED_STREAM
        if turned_away:
            break
    assert turned_away
    assert others_are_served(wire)


def test_row_31_unary_calls_that_never_send_their_message_take_the_places_of_nobody(wire: Any, rogue: Rogue) -> None:
    opened = headers(SUBMIT)
    rogue.send(*(frame(HEADERS, END_HEADERS, stream, opened) for stream in range(1, 200, 2)))
    assert others_are_served(wire)
    with pytest.raises(grpc.RpcError) as caught:  # its own next call is judged as any other
        wire.gate.call(wire.SCHOOL, screening.SubmitAssessmentRequest(), timeout_s=5)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
