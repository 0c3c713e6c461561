"""What simulators of partners share: the words for what can go wrong, a queue of faults, and an HTTP partner."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, NamedTuple, cast

FAULTS: Final[Mapping[str, str]] = {
    "slow": "waits `seconds` before it answers",
    "down": "breaks every connection, or its folder is away",
    "drop_before": "breaks the connection before the effect",
    "drop_after": "breaks the connection after the effect, before the answer",
    "unavailable": "answers 503 or 'come back later'",
    "throttled": "answers 429 with `seconds` as Retry-After",
    "unauthorized": "answers 401",
    "forbidden": "answers 403",
    "unprocessable": "answers 422, or refuses this one record in its protocol's way",
    "html": "answers a web page",
    "cut": "breaks off in the middle of the answer",
    "duplicate": "says, sends or lists everything twice",
    "out_of_order": "brings the newer before the older",
    "wrong_code": "has one more item with a code of another table",
}
"""The faults that a conformance suite asks for, with their meaning; a simulator may know more words."""

STATUSES: Final[Mapping[str, int]] = {
    "unavailable": 503,
    "throttled": 429,
    "unauthorized": 401,
    "forbidden": 403,
    "unprocessable": 422,
}
"""The HTTP status of each fault that is one."""

_MAX_BODY: Final = 64 * 2**20


@dataclass(slots=True)
class _Left:
    fault: str
    times: int
    seconds: float


class Faults:
    """The faults still to be played, first come first hit; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: list[_Left] = []

    def play(self, fault: str, *, times: int = 1, seconds: float = 0.0) -> None:
        """Add a fault for ``times`` uses, 0 until ``calm``. Raises ValueError for a word that is none."""
        if fault not in FAULTS:
            raise ValueError(f"no fault of this name; there is: {', '.join(FAULTS)}")
        with self._lock:
            self._left.append(_Left(fault, times, seconds))

    def calm(self) -> None:
        """End every fault."""
        with self._lock:
            self._left.clear()

    def take(self, *faults: str) -> float | None:
        """The ``seconds`` of the next fault of these words, counted as used once; None where there is none."""
        with self._lock:
            for entry in self._left:
                if entry.fault in faults:
                    if entry.times == 1:
                        self._left.remove(entry)
                    elif entry.times > 1:
                        entry.times -= 1
                    return entry.seconds
        return None


class Reply(NamedTuple):
    """What an HTTP partner answers."""

    status: int
    body: bytes = b""
    kind: str = "application/json"


class HttpSimulator:
    """An HTTP partner on 127.0.0.1 that plays faults; a subclass says in ``answer`` what the partner does.

    It keeps its port over ``stop`` and ``start`` and writes no log: a request line holds identifiers.
    """

    plays: frozenset[str] = frozenset({"slow", "down", "drop_before", "drop_after", "html", *STATUSES})

    def __init__(self) -> None:
        self.faults = Faults()
        self.stopping = threading.Event()
        self.lock = threading.RLock()
        self._port = 0
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Reply:
        """What the partner answers to one request; names of ``headers`` are in lower case. Many threads call it."""
        raise NotImplementedError

    def serve(self) -> str:
        """Start serving; returns the origin, such as ``http://127.0.0.1:40001``."""
        self.stopping.clear()
        self._server = _Server(("127.0.0.1", self._port), self)
        self._port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), name="partner-simulator")
        self._thread.start()
        return f"http://127.0.0.1:{self._port}"

    def stop(self) -> None:
        """Stop serving; harmless when not started."""
        self.stopping.set()
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
        self._server = self._thread = None

    def play(self, fault: str, *, times: int = 1, seconds: float = 0.0) -> None:
        """Play a fault, as ``xinqiao.adapters.protocols.Rehearsed`` says."""
        self.faults.play(fault, times=times, seconds=seconds)

    def calm(self) -> None:
        """End every fault."""
        self.faults.calm()

    def receipt_public_key_pem(self) -> bytes:
        """The key of its receipts; a partner that takes no packages signs none."""
        return b""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], partner: HttpSimulator) -> None:
        self.partner = partner
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is part of the play, and a traceback could show a record: say nothing."""


class _Handler(BaseHTTPRequestHandler):
    timeout = 10.0

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing."""

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def _handle(self) -> None:
        self.close_connection = True
        partner = cast(_Server, self.server).partner
        size = self.headers.get("Content-Length", "0")
        if not size.isdigit() or int(size) > _MAX_BODY:
            self._send(Reply(413))
            return
        body = self.rfile.read(int(size))
        faults = partner.faults
        if faults.take("down", "drop_before") is not None:
            return
        slow = faults.take("slow")
        if slow is not None and partner.stopping.wait(slow):
            return
        for fault, status in STATUSES.items():
            seconds = faults.take(fault)
            if seconds is not None:
                self._send(Reply(status), int(seconds))
                return
        if faults.take("html") is not None:
            self._send(Reply(200, b"<!doctype html><title>login</title>", "text/html"))
            return
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = partner.answer(self.command, self.path, headers, body)
        if faults.take("drop_after") is not None:
            return
        self._send(reply._replace(body=reply.body[: len(reply.body) // 2]) if faults.take("cut") is not None else reply)

    def _send(self, reply: Reply, retry_after_s: int = 0) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.kind)
        self.send_header("Content-Length", str(len(reply.body)))
        if retry_after_s:
            self.send_header("Retry-After", str(retry_after_s))
        self.end_headers()
        self.wfile.write(reply.body)
