"""A partner that stands in for the real one: JSON over a real socket, with faults on command. It logs nothing."""

import json
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal, cast
from urllib.parse import parse_qsl, urlsplit

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files.jsonrows import parse_object

Fault = Literal[
    "down", "slow", "drop_after", "unavailable", "throttled", "unauthorized", "html", "cut", "refuse", "forbidden"
]
_STATUS: Final[dict[Fault, int]] = {
    "unavailable": 503, "throttled": 429, "unauthorized": 401, "forbidden": 403, "refuse": 422,
}  # fmt: skip
PLAYS: Final = frozenset({"down", "drop_before", "drop_after", "slow", "html", "unprocessable", *_STATUS} - {"refuse"})
"""What it can play, in the words of ``xinqiao.testing.simulators.FAULTS``."""

Reply = tuple[int, Any]
Answer = Callable[[str, str, dict[str, str], dict[str, Any]], Reply]
"""Method, path, query and body in; status and JSON out."""

_MAX_BODY = 16 * 2**20


class JsonPartner:
    """Serves ``answer`` on 127.0.0.1 until ``stop``; ``token`` is demanded as Bearer token where given.

    One effect per ``Idempotency-Key``: the same key and bytes get the same answer, other bytes 409. Faults, each for so
    many requests: ``down`` breaks the connection before the effect, ``drop_after`` after it, ``slow`` waits a second,
    ``unavailable`` is 503 and ``throttled`` 429 (Retry-After 7), ``unauthorized`` 401, ``html`` a login page, ``cut``
    half of the answer, ``refuse`` 422.
    """

    def __init__(self, answer: Answer, token: str | None = None) -> None:
        self.answer = answer
        self.token = token
        self.faults: Counter[Fault] = Counter()
        self.slow_s = 1.0
        self.seen: dict[str, tuple[bytes, Reply]] = {}
        self.lock = threading.RLock()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> str:
        """Serve; the base address."""
        self._server = _Server(("127.0.0.1", 0), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="partner", daemon=True)
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """Stop serving and give the port back; harmless when not started."""
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
        self._server = self._thread = None

    def fail(self, fault: Fault, times: int = 1) -> None:
        """Let the next ``times`` requests meet this fault."""
        with self.lock:
            self.faults[fault] += times

    def play(self, fault: str, times: int, seconds: float) -> None:
        """As ``Faulty.play``, for the words of it that are a connection's."""
        word = {"unprocessable": "refuse", "drop_before": "down"}.get(fault, fault)
        self.slow_s = seconds or 1.0
        self.fail(cast("Fault", word), times or 1_000_000_000)

    def calm(self) -> None:
        """End every fault."""
        with self.lock:
            self.faults.clear()

    def take(self, fault: Fault) -> bool:
        """Whether this request meets ``fault``."""
        with self.lock:
            if self.faults[fault] < 1:
                return False
            self.faults[fault] -= 1
            return True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], partner: JsonPartner) -> None:
        self.partner = partner
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of the play, and a traceback could show a record: say nothing."""


class _Handler(BaseHTTPRequestHandler):
    timeout = 10.0

    @property
    def partner(self) -> JsonPartner:
        return cast("_Server", self.server).partner

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library names it
        """Nothing: a request line holds identifiers."""

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def _handle(self) -> None:
        partner = self.partner
        size = min(int(self.headers.get("Content-Length", "0")), _MAX_BODY)
        body = self.rfile.read(size)
        if partner.take("down"):
            return
        if partner.take("slow"):
            threading.Event().wait(partner.slow_s)
        status, value = self._early() or self._answer(body)
        if partner.take("drop_after"):
            return
        self._send(status, value)

    def _early(self) -> Reply | None:
        partner = self.partner
        if partner.token and self.headers.get("Authorization") != f"Bearer {partner.token}":
            return 401, {}
        for fault, status in _STATUS.items():
            if partner.take(fault):
                return status, {}
        return None

    def _answer(self, body: bytes) -> Reply:
        parts = urlsplit(self.path)
        key = self.headers.get("Idempotency-Key", "")
        with self.partner.lock:
            before = self.partner.seen.get(key)
            if key and before is not None:
                return before[1] if before[0] == body else (409, {})
            try:
                found = parse_object(body, "body") if body else {}
            except RecordRejected:
                return 400, {}
            reply = self.partner.answer(self.command, parts.path, dict(parse_qsl(parts.query)), found)
            if key:
                self.partner.seen[key] = (body, reply)
        return reply

    def _send(self, status: int, value: Any) -> None:
        data, kind = json.dumps(value, ensure_ascii=False).encode(), "application/json"
        if self.partner.take("html"):
            data, kind = b"<!doctype html><title>login</title>", "text/html"
        if self.partner.take("cut"):
            data = data[: len(data) // 2]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        if status in (429, 503):
            self.send_header("Retry-After", "7")
        self.end_headers()
        self.wfile.write(data)
