"""The FHIR endpoint a hospital pushes to: stdlib HTTP over TLS (or loopback), bounded in size, time and connections.

One request a connection, each in a thread of its own. Nothing is logged: a request line holds identifiers.
"""

import hmac
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any, Final
from urllib.parse import urlsplit

from xinqiao.adapters.agency import broken
from xinqiao_hospital.client import FHIR_JSON
from xinqiao_hospital.desk import Desk, Reply, refused
from xinqiao_hospital.r4 import Fault
from xinqiao_hospital.wire import Json, dump

BASE: Final = "/fhir"
NOTIFY: Final = f"{BASE}/notify"
MAX_BODY: Final = 4 * 2**20
MAX_CONNECTIONS: Final = 16
REQUEST_S: Final = 20.0
"""Seconds for one request, from the handshake to the last byte of the answer."""

_LOOK_S = 0.2
_TASK = re.compile(rf"{BASE}/Task/([A-Za-z0-9.-]{{1,64}})", re.ASCII)
_XML = ("application/fhir+xml", "application/xml", "text/xml")
_JSON = (FHIR_JSON, "application/json")
_PATCH = "application/json-patch+json"
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Receiver:
    """Serves ``desk`` on a listening socket until ``close``.

    ``token`` is demanded as Bearer token where given; ``tls`` may demand client certificates. ``notified`` is called
    when a subscription says that something changed.
    """

    def __init__(
        self,
        server: socket.socket,
        desk: Desk,
        *,
        token: str | None,
        tls: ssl.SSLContext | None,
        notified: Callable[[], None] = lambda: None,
        request_s: float = REQUEST_S,
    ) -> None:
        self.desk: Final = desk
        self.token: Final = token
        self.notified: Final = notified
        self.address: Final[tuple[str, int]] = server.getsockname()[:2]
        self._server = server
        self._tls = tls
        self._request_s = request_s
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        server.settimeout(_LOOK_S)
        self._thread = threading.Thread(target=self._accept, name="hospital-receiver", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more connections, end those under way, give the port back."""
        self._closing.set()
        self._thread.join(2)
        self._server.close()
        with self._lock:
            for connection in self._open:
                _end(connection)

    def _accept(self) -> None:
        while not self._closing.is_set():
            self._end_late()
            try:
                connection, address = self._server.accept()
            except TimeoutError:
                continue
            except OSError:
                if self._closing.wait(_LOOK_S):  # Out of descriptors, perhaps: better later than never.
                    return
                continue
            with self._lock:
                full = len(self._open) >= MAX_CONNECTIONS
                if not full:
                    self._open[connection] = time.monotonic() + self._request_s
            if full:
                _turn_away(connection, tell=self._tls is None)
                continue
            thread = threading.Thread(target=self._serve, args=(connection, address), name="hospital-push", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # Out of threads: turn this one away, and go on listening.
                with self._lock:
                    del self._open[connection]
                _turn_away(connection, tell=self._tls is None)

    def _serve(self, connection: socket.socket, address: Any) -> None:
        stream: socket.socket = connection
        try:
            connection.settimeout(self._request_s)
            if self._tls is not None:
                # The wrapped socket takes the descriptor over; the deadline must be able to end that one.
                stream = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                with self._lock:
                    self._open[stream] = self._open.pop(connection)
                stream.do_handshake()
            _Handler(stream, address, self)  # type: ignore[arg-type]
            _linger(stream)
        except (OSError, ValueError):
            pass  # A client that hangs up or speaks no TLS; nothing of it may be logged.
        finally:
            with self._lock:
                self._open.pop(connection, None)
                self._open.pop(stream, None)
            stream.close()

    def _end_late(self) -> None:
        now = time.monotonic()
        with self._lock:
            for connection, deadline in self._open.items():
                if now > deadline:
                    _end(connection)


def _turn_away(connection: socket.socket, *, tell: bool) -> None:
    """No room: say so, without a thread and within a moment; a client that speaks TLS sees a broken connection."""
    with suppress(OSError):
        connection.settimeout(_LOOK_S)
        if tell:
            connection.sendall(_BUSY)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(65536)
    connection.close()


def _linger(stream: socket.socket) -> None:
    """Read what the client still sends: closing on unread bytes would take the answer back from it."""
    # First our end: a client that reads up to it would wait, and hold one of the few connections, for all of that time.
    stream.shutdown(socket.SHUT_WR)
    end = time.monotonic() + 1.0
    while (left := end - time.monotonic()) > 0:
        stream.settimeout(left)
        if not stream.recv(65536):
            return


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "xinqiao"
    sys_version = ""

    @property
    def receiver(self) -> Receiver:
        found = self.server
        assert isinstance(found, Receiver)
        return found

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def do_PUT(self) -> None:
        self._handle()

    def do_PATCH(self) -> None:
        self._handle()

    def do_DELETE(self) -> None:
        self._handle()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library refuses by itself is answered in FHIR too, and never quotes the request line."""
        self._send(refused(code, Fault("DATA/HTTP", "structure", "the HTTP request cannot be read", "")))

    def _handle(self) -> None:
        try:
            reply = self._authorized() or self._reply()
        except OSError:
            raise
        except Exception as e:  # A fault of ours: say so without a word of the request, and take nothing.
            reference = broken("hospital receiver", "push", e)
            why = f"the gateway is at fault; its log says more at {reference}"
            reply = refused(500, Fault("GATEWAY/BROKEN", "exception", why, ""))
        self._send(reply)

    def _authorized(self) -> Reply | None:
        token = self.receiver.token
        if token is None:
            return None
        given = self.headers.get("Authorization", "")
        if hmac.compare_digest(given.encode("utf-8", "replace"), f"Bearer {token}".encode()):
            return None
        return refused(401, Fault("PARTNER/UNAUTHORIZED", "login", "the Bearer token is not the one agreed", ""))

    def _reply(self) -> Reply:
        path = urlsplit(self.path).path.rstrip("/")
        if self.command == "GET" and path == f"{BASE}/metadata":
            return Reply(200, capabilities())
        if self.command == "GET":
            return _no(405, "not-supported", "nothing can be read here; the gateway sends what the hospital may see")
        body = self._body()
        if isinstance(body, Reply):
            return body
        if path == NOTIFY and self.command in ("POST", "PUT"):
            self.receiver.notified()
            return Reply(200, refused(200).body)
        wrong = self._content_type()
        if wrong is not None:
            return wrong
        return self._route(path, body)

    def _route(self, path: str, body: bytes) -> Reply:
        desk, match = self.receiver.desk, self.headers.get("If-Match", "")
        task = _TASK.fullmatch(path)
        if task is not None and self.command == "PUT":
            return desk.put(task.group(1), body, match)
        if task is not None and self.command == "PATCH":
            return desk.patch(task.group(1), body, match)
        if path == BASE and self.command == "POST":
            return desk.bundle(body)
        if path == f"{BASE}/$process-message" and self.command == "POST":
            return desk.bundle(body, message=True)
        return _no(404, "not-supported", f"PUT or PATCH {BASE}/Task/{{id}}, POST {BASE} or {BASE}/$process-message")

    def _content_type(self) -> Reply | None:
        kind = self.headers.get_content_type().lower() if "Content-Type" in self.headers else ""
        wanted = (_PATCH,) if self.command == "PATCH" else _JSON
        charset = (self.headers.get_content_charset() or "utf-8").lower()
        if kind in _XML:
            return _no(415, "not-supported", "FHIR in XML is not read; send JSON", "DATA/FILE_TYPE")
        if kind not in wanted or charset not in ("utf-8", "utf8", "us-ascii"):
            return _no(415, "not-supported", f"Content-Type must be {wanted[0]}, in UTF-8", "DATA/FILE_TYPE")
        release = self.headers.get_param("fhirversion")
        if isinstance(release, str) and not release.startswith("4.0"):
            return _no(415, "not-supported", "send FHIR 4.0 (R4)", "DATA/PROFILE")
        return None

    def _body(self) -> bytes | Reply:
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or not lengths:
            return _no(411, "structure", "give the Content-Length", "DATA/HTTP")
        if len(lengths) > 1 or not re.fullmatch(r"[0-9]{1,12}", lengths[0], re.ASCII):
            return _no(400, "structure", "give one Content-Length", "DATA/HTTP")
        if self.headers.get("Content-Encoding", "identity") != "identity":
            return _no(415, "not-supported", "send it without Content-Encoding", "DATA/FILE_TYPE")
        size = int(lengths[0])
        if size > MAX_BODY:
            return _no(413, "too-long", f"longer than {MAX_BODY} bytes", "DATA/TOO_LARGE")
        body = self.rfile.read(size)
        if len(body) != size:
            raise ConnectionError
        return body

    def _send(self, reply: Reply) -> None:
        self.close_connection = True
        data = dump(reply.body)
        self.send_response(reply.status)
        self.send_header("Content-Type", f"{FHIR_JSON}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.send_header("Cache-Control", "no-store")
        if reply.etag:
            self.send_header("ETag", reply.etag)
        if reply.retry_s:
            self.send_header("Retry-After", str(reply.retry_s))
        if reply.status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        self.end_headers()
        self.wfile.write(data)


def _no(status: int, code: str, message: str, reason: str = "PARTNER/NOT_OFFERED") -> Reply:
    return refused(status, Fault(reason, code, message, ""))


def capabilities() -> Json:
    """What this endpoint offers: updates of Tasks, transactions and messages of them; no reading."""
    task: Json = {
        "type": "Task",
        "interaction": [{"code": "update"}, {"code": "patch"}],
        "versioning": "versioned-update",
        "readHistory": False,
        "updateCreate": True,
        "conditionalCreate": False,
    }
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-26",
        "kind": "instance",
        "implementation": {"description": "XinQiao gateway: takes Task updates of referrals it sent"},
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "patchFormat": [_PATCH],
        "rest": [{"mode": "server", "resource": [task], "interaction": [{"code": "transaction"}]}],
    }
