"""The red lane: from an accepted crisis signal to the first byte at the hospital, idle and beside a month's bulk load.

``redlane.py partners FOLDER`` and ``redlane.py load FOLDER PORT ROWS`` are processes of their own, so that neither the
hospital nor the load shares an interpreter with the clock.
"""

import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import deployment
import grpc
import yaml

from xinqiao.api.casefile.v1 import casefile_service_pb2 as casefile
from xinqiao.api.casefile.v1 import casefile_service_pb2_grpc as casefile_grpc
from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.exchange.v1 import exchange_service_pb2 as exchange
from xinqiao.api.exchange.v1 import exchange_service_pb2_grpc as exchange_grpc
from xinqiao.api.referral.v1 import referral_pb2
from xinqiao.api.referral.v1 import referral_service_pb2 as referral
from xinqiao.api.referral.v1 import referral_service_pb2_grpc as referral_grpc
from xinqiao.api.screening.v1 import screening_pb2
from xinqiao.api.screening.v1 import screening_service_pb2 as screening
from xinqiao.api.screening.v1 import screening_service_pb2_grpc as screening_grpc
from xinqiao.config import Secret

SCHOOL, PSYCHOLOGIST, HOSPITAL, OPERATOR = "kunshan-no1-middle", "psych-chen", "kunshan-mental-health", "bureau-admin"
_TIME = struct.Struct("<d")
_PATIENCE_S = 30.0


class _SettingsLoader(yaml.SafeLoader):
    """Reads the demo's configuration, its secrets by where they lie."""


_SettingsLoader.add_constructor("!file", lambda _, node: Secret("file", node.value))


@dataclass(frozen=True, slots=True)
class Cases:
    """Seconds from the answer to a crisis signal to the first byte at the hospital, one a case."""

    seconds: list[float]

    def at(self, share: float) -> float:
        """The percentile, 0 to 1."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@contextmanager
def partners(folder: Path) -> "Iterator[None]":
    """School and hospital as simulators, the hospital behind a counter of what arrives when."""
    process = subprocess.Popen(
        [sys.executable, __file__, "partners", str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if not process.stdout.readline():
            raise RuntimeError("the simulators did not start")
        yield
    finally:
        process.stdin.close()
        process.wait(60)


def channel(folder: Path, partner: str, port: int) -> grpc.Channel:
    """A channel with the certificate of ``partner``."""
    pki = folder / "pki"
    credentials = grpc.ssl_channel_credentials(
        (pki / "ca.pem").read_bytes(),
        (pki / "partners" / f"{partner}.key").read_bytes(),
        (pki / "partners" / f"{partner}.pem").read_bytes(),
    )
    return grpc.secure_channel(f"127.0.0.1:{port}", credentials, [("grpc.ssl_target_name_override", "localhost")])


def register(folder: Path, port: int) -> None:
    """Put the roster into the gateway."""
    config = yaml.load((folder / "gateway.yaml").read_text(encoding="utf-8"), Loader=_SettingsLoader)
    school = config["partners"][SCHOOL]["schools"][0]
    request = casefile.RegisterStudentsRequest(request_id="bench-roster-0001")
    for number in range(deployment.STUDENTS):
        request.students.add(
            local_id=deployment.local_id(number), family_name="欧阳", given_name=f"同学{number}",
            birth_date="2011-05-04", sex=types.Sex.ValueType(1 + number % 2), school=school,
            school_title="示范中学", grade="八年级",
        )  # fmt: skip
    with channel(folder, SCHOOL, port) as opened:
        casefile_grpc.CaseFileServiceStub(opened).RegisterStudents(request, timeout=30)


def cases(folder: Path, port: int, count: int, start: int) -> Cases:
    """Report ``count`` crises one after another, refer each at once under the statutory basis, and time its arrival."""
    arrivals = folder / "arrivals"
    taken: list[float] = []
    with channel(folder, PSYCHOLOGIST, port) as opened:
        signals = screening_grpc.ScreeningServiceStub(opened)
        referrals = referral_grpc.ReferralServiceStub(opened)
        for number in range(start, start + count):
            before = arrivals.stat().st_size
            report = screening.ReportSignalRequest(
                request_id=f"red-signal-{number:06d}", source=screening_pb2.SIGNAL_SOURCE_SCHOOL_CENTRE,
                kind=screening_pb2.SIGNAL_KIND_SUICIDAL, facts="合成案例: 留言告别",
            )  # fmt: skip
            report.student.local_id = deployment.local_id(number)
            answer = signals.ReportSignal(report, timeout=20)
            accepted = time.monotonic()
            request = referral.CreateReferralRequest(
                request_id=f"red-referral-{number:06d}", recipient=HOSPITAL, triage=answer.triage.name,
                urgency=referral_pb2.URGENCY_EMERGENCY, reason="合成案例", crisis_facts="合成案例: 留言告别",
                basis="life-safety",
            )  # fmt: skip
            request.student.local_id = deployment.local_id(number)
            referrals.CreateReferral(request, timeout=20)
            taken.append(_arrival(arrivals, before) - accepted)
            time.sleep(0.02)
    return Cases(taken)


def _arrival(arrivals: Path, before: int) -> float:
    give_up = time.monotonic() + _PATIENCE_S
    while time.monotonic() < give_up:
        if arrivals.stat().st_size >= before + _TIME.size:
            with arrivals.open("rb") as file:
                file.seek(before)
                return float(_TIME.unpack(file.read(_TIME.size))[0])
        time.sleep(0.001)
    raise RuntimeError("a crisis referral did not reach the hospital")


@contextmanager
def load(folder: Path, port: int, rows: int) -> "Iterator[subprocess.Popen[bytes]]":
    """An upload of ``rows`` forms, again and again, and the monthly exchange beside it, until the end of the block."""
    process = subprocess.Popen(
        [sys.executable, __file__, "load", str(folder), str(port), str(rows)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        if not process.stdout.readline():
            raise RuntimeError("the load did not start")
        yield process
    finally:
        process.stdin.close()
        process.wait(120)


def _load(folder: Path, port: int, rows: int) -> None:
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()

    def months() -> None:
        with channel(folder, OPERATOR, port) as opened:
            stub = exchange_grpc.ExchangeServiceStub(opened)
            number = 0
            while not over.is_set():
                month = f"2026-{1 + number % 10:02d}"
                request = exchange.RunExchangeRequest(
                    request_id=f"red-exchange-{number:06d}", exchange="school-hospital-monthly", period=month
                )
                stub.RunExchange(request, timeout=30)
                number += 1

    exchanging = threading.Thread(target=months)
    prepared = list(deployment.batches(min(rows, 20_000), 2_000, 7))
    with channel(folder, SCHOOL, port) as opened:
        stub = screening_grpc.ScreeningServiceStub(opened)
        exchanging.start()
        turn = 0
        while not over.is_set():
            header = screening.UploadHeader(
                upload_id=f"red-upload-{turn:04d}", instrument="PHQ-9", taken_on="2026-10-02"
            )

            def requests(header: screening.UploadHeader = header) -> Iterator[screening.UploadAssessmentsRequest]:
                yield screening.UploadAssessmentsRequest(header=header)
                for number in range(1, rows // 2_000 + 1):
                    if over.is_set():
                        return
                    batch = prepared[number % len(prepared)]
                    batch.number = number
                    yield screening.UploadAssessmentsRequest(batch=batch)

            for count, _answer in enumerate(stub.UploadAssessments(requests())):
                if not turn and count == 2:
                    print("running", flush=True)
            turn += 1
    exchanging.join()


class _Counter(socketserver.ThreadingTCPServer):
    """Hands bytes on to the hospital and writes down when each POST began to arrive."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, target: int, arrivals: Path) -> None:
        self.target = target
        self.arrivals = arrivals.open("ab", buffering=0)
        super().__init__(("127.0.0.1", 0), _Relay)


class _Relay(socketserver.BaseRequestHandler):
    server: _Counter

    def handle(self) -> None:
        onward = socket.create_connection(("127.0.0.1", self.server.target))
        back = threading.Thread(target=_pump, args=(onward, self.request), daemon=True)
        back.start()
        while chunk := self.request.recv(1 << 16):
            if chunk.startswith(b"POST "):
                self.server.arrivals.write(_TIME.pack(time.monotonic()))
            onward.sendall(chunk)
        onward.shutdown(socket.SHUT_WR)
        back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while chunk := source.recv(1 << 16):
            target.sendall(chunk)
    except OSError:
        pass  # the other side hung up: the play is over


def _partners(folder: Path) -> None:
    from xinqiao.cli.demo.agencies import SettingsDumper
    from xinqiao.cli.demo.deployment import prepare

    made = prepare(folder, deployment.ROOT / "config/gateway.example.yaml", {}, "")
    (folder / "arrivals").touch()
    counter = _Counter(made.hospital.port, folder / "arrivals")
    threading.Thread(target=counter.serve_forever, daemon=True).start()
    config = yaml.load(made.config.read_text(encoding="utf-8"), Loader=_SettingsLoader)
    config["adapters"][HOSPITAL]["settings"]["base_url"] = f"http://127.0.0.1:{counter.server_address[1]}/fhir"
    config["server"]["limits"]["max_deadline_s"] = 30
    made.config.write_text(yaml.dump(config, Dumper=SettingsDumper, allow_unicode=True), encoding="utf-8")
    print("ready", flush=True)
    sys.stdin.read()
    counter.shutdown()
    made.stop()


if __name__ == "__main__":
    if sys.argv[1] == "partners":
        _partners(Path(sys.argv[2]))
    else:
        _load(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
