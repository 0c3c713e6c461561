"""A data-sharing platform that stands in for the real one: signed JSON over a real socket, its records in a folder.

It writes no log of requests: the only place that holds what it was given is its folder.
"""

import os
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast, get_args

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from xinqiao.config import Secret
from xinqiao.contract.clock import Clock, SystemClock
from xinqiao.testing.simulators import FAULTS
from xinqiao_gov_share.faults import Faults, FaultScript, Kind
from xinqiao_gov_share.platform import Platform, Refused
from xinqiao_gov_share.signing import ALGORITHM, APP, NONCE, SIGNATURE, TIME, TOLERANCE_S, is_genuine, signature
from xinqiao_gov_share.wire import WireRefused, dump

_BASE = "/api/v1"
_STATUSES: tuple[tuple[Kind, int], ...] = (
    ("unavailable", 503), ("throttled", 429), ("unauthorized", 401), ("forbidden", 403),
)  # fmt: skip
_MAX_BODY = 64 * 2**20
_APP = "xinqiao"
_AGENCY = "113205830000000001"
_CATALOGUE = {
    name: f"320583-XLJK/{number:06d}"
    for number, name in enumerate(
        ("referral", "referral_update", "task", "police_report", "recall", "package"), start=1
    )
}
_BASIS = "《中华人民共和国未成年人保护法》第一百条"


class GovShareSimulator:
    """Serves on 127.0.0.1. ``platform`` is its desk: ``process``, ``answer``, ``refuse``, ``ask_supplement``.

    Faults come from ``faults.json`` in the folder, or from ``inject``.
    """

    def __init__(
        self, folder: Path, *, port: int = 0, clock: Clock | None = None, algorithm: str = "hmac-sha256",
        sealed: bool = True,
    ) -> None:  # fmt: skip
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self.clock = clock or SystemClock()
        self.algorithm = algorithm
        scripts = folder / "faults.json"
        self.faults = Faults(FaultScript.load(scripts) if scripts.exists() else ())
        self.platform = Platform(folder, self.clock, dict(_CATALOGUE), _AGENCY)
        self.secret = _secret(folder / "app.secret")
        self.stopping = threading.Event()
        self._sealed = sealed
        self.signs = True
        """Whether the agency signs the receipt of a package as soon as it comes."""
        self._nonces: set[str] = set()
        self._nonce_lock = threading.Lock()
        self._port = port
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> dict[str, Any]:
        """Serve; the settings that make the adapter talk to it."""
        if self._server is None:
            self.stopping.clear()
            self._server = _Server(("127.0.0.1", self._port), self)
            self._port = self._server.server_port
            serve = self._server.serve_forever
            self._thread = threading.Thread(target=serve, args=(0.01,), name="gov-share-simulator", daemon=True)
            self._thread.start()
        settings: dict[str, Any] = {
            "base_url": f"http://127.0.0.1:{self._port}{_BASE}",
            "app_id": _APP,
            "secret": Secret("file", str(self._folder / "app.secret")),
            "algorithm": self.algorithm,
            "agency_code": _AGENCY,
            "catalogue": {name: {"id": entry, "basis": _BASIS} for name, entry in _CATALOGUE.items()},
            "poll_seconds": 1,
        }
        return settings | ({"seal_to": str(self._folder / "opening.pub")} if self._sealed else {})

    def stop(self) -> None:
        """Stop serving and give the port back; harmless when not started."""
        self.stopping.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
        self._server = self._thread = None

    def inject(self, *faults: FaultScript) -> None:
        """Add faults."""
        for fault in faults:
            self.faults.add(fault)

    # -- the Rehearsed protocol ---------------------------------------------------------------------------------------

    @property
    def plays(self) -> frozenset[str]:
        """The common faults that it knows; ``FaultScript`` has more."""
        return frozenset(FAULTS) & frozenset(get_args(Kind))

    def play(self, fault: str, *, times: int = 1, seconds: float = 0.0) -> None:
        """Play a common fault. Raises ValueError for another."""
        if fault not in self.plays:
            raise ValueError("not a fault that the platform can play")
        self.inject(FaultScript(cast("Kind", fault), times, seconds))

    def calm(self) -> None:
        """End every fault."""
        self.faults.clear()

    def effects(self) -> list[str]:
        """What the platform was given, as the agency reads it."""
        return self.platform.effects()

    def bring(self, count: int) -> None:
        """Have ``count`` more answers."""
        self.platform.bring(count, wrong=self.faults.take("wrong_code") is not None)

    def receipt_public_key_pem(self) -> bytes:
        """The Ed25519 key with which receipts verify, as PEM."""
        return self.platform.receipt_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def authenticate(self, method: str, path: str, headers: Any, body: bytes) -> None:
        """See that the application sent this, now, and for the first time. Raises Refused."""
        if headers.get(APP) != _APP:
            raise Refused(1002)
        timestamp, nonce = headers.get(TIME, ""), headers.get(NONCE, "")
        if headers.get(ALGORITHM) != self.algorithm:
            raise Refused(1001)
        expected = signature(
            self.algorithm, self.secret, method=method, path=path, timestamp=timestamp, nonce=nonce, body=body
        )
        if not is_genuine(headers.get(SIGNATURE, ""), expected):
            raise Refused(1001)
        skew = abs(int(timestamp) - self.clock.now_us() // 1_000_000) if timestamp.isdigit() else TOLERANCE_S + 1
        if skew > TOLERANCE_S or self.faults.take("clock"):
            raise Refused(1003)
        with self._nonce_lock:
            if nonce in self._nonces:
                raise Refused(1004)
            self._nonces.add(nonce)

    def handle(self, method: str, path: str, body: bytes) -> Any:
        """The ``data`` of an authenticated request. Raises Refused or WireRefused."""
        if self.faults.take("busy"):
            raise Refused(3001)
        if self.faults.take("unknown_code"):
            raise Refused(77777)
        if method == "POST" and self.faults.take("unprocessable"):
            raise Refused(2101)
        if (method, path) == ("GET", "/status"):
            return {"version": "gov-share 1", "time": self.clock.now_us() // 1_000_000}
        if (method, path) == ("POST", "/requests"):
            late = self.platform.late_day() if self.faults.take("overdue") else None
            ticket, new = self.platform.submit(body, due=late)
            if new and self.faults.take("supplement"):
                self.platform.ask_supplement(ticket, ["BASIS", "CONTACT"])
            if self.signs:
                self.platform.sign_receipts()
            if not new or self.faults.take("duplicate"):
                raise Refused(2102, {"ticket": ticket})
            return {"ticket": ticket}
        if method == "GET" and path.startswith("/requests/"):
            shown = self.platform.shown(path.removeprefix("/requests/"))
            answers = shown["answers"]
            if answers and self.faults.take("out_of_order"):
                answers = answers[::-1]
            if answers and self.faults.take("gap"):
                answers = answers[1:]
            if answers and self.faults.take("duplicate"):
                answers = [*answers, *answers]
            shown["answers"] = answers
            return shown
        raise Refused(2404)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], simulator: GovShareSimulator) -> None:
        self.simulator = simulator
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def log_message(self, format: str, *args: object) -> None:
        return

    def _serve(self, method: str) -> None:
        simulator = cast(_Server, self.server).simulator
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > _MAX_BODY:
            self._send(413, b"", "text/plain")
            return
        body = self.rfile.read(int(length))
        if simulator.faults.take("down") or simulator.faults.take("drop_before"):
            self.close_connection = True
            return
        if slow := simulator.faults.take("slow"):
            simulator.stopping.wait(slow.seconds)
        for kind, status in _STATUSES:
            if script := simulator.faults.take(kind):
                self._send(status, b"", "text/plain", {"Retry-After": str(int(script.seconds))})
                return
        if simulator.faults.take("html"):
            self._send(200, b"<html><body>login</body></html>", "text/html")
            return
        code, data = self._answer(simulator, method, body)
        if simulator.faults.take("drop_after"):
            self.close_connection = True
            return
        self._send(200, dump({"code": code, "message": "ok" if code == 0 else "not done", "data": data}))

    def _answer(self, simulator: GovShareSimulator, method: str, body: bytes) -> tuple[int, Any]:
        try:
            if not self.path.startswith(_BASE):
                raise Refused(2404)
            simulator.authenticate(method, self.path, self.headers, body)
            return 0, simulator.handle(method, self.path.removeprefix(_BASE), body)
        except Refused as refused:
            return refused.code, refused.data
        except WireRefused:
            return 2101, None

    def _send(
        self, status: int, body: bytes, kind: str = "application/json", more: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (more or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _secret(path: Path) -> str:
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
    return path.read_text(encoding="ascii")
