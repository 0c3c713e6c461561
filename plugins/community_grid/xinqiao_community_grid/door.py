"""Where a phone with a network hands a form in: one POST, known by its ticket, on disk before it is answered.

One request a connection, each in a thread of its own, bounded in size, time and number. Nothing is logged.
"""

import json
import re
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from xinqiao.adapters.agency import broken
from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files.jsonrows import parse_object
from xinqiao.adapters.spool import SpoolFull, Verdict

PATH: Final = "/forms"
MAX_BODY: Final = 256 * 1024
MAX_CONNECTIONS: Final = 16
REQUEST_S: Final = 15.0
MAX_OF_A_FORM: Final = 200
"""Times one form is taken between two starts: a ticket that got into wrong hands must not fill the inbox."""

_LOOK_S = 0.2
# A page opened from the phone's own storage has no origin: text/plain spares it the question beforehand.
_TYPES = ("text/plain", "application/json")


class Reply(NamedTuple):
    """A status and a word for the phone."""

    status: int
    reason: str


class Door:
    """Serves on a listening socket until ``close``. ``knows`` says whether a form's ticket is ours, ``keep`` makes it durable."""

    def __init__(
        self, server: socket.socket, tls: ssl.SSLContext | None, knows: Callable[[dict[str, Any]], bool],
        keep: Callable[[bytes], Verdict],
    ) -> None:  # fmt: skip
        self.address: Final[tuple[str, int]] = server.getsockname()[:2]
        self._server = server
        self._tls = tls
        self._knows = knows
        self._keep = keep
        self._open: dict[socket.socket, float] = {}
        self._times: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._closing = threading.Event()
        server.settimeout(_LOOK_S)
        self._thread = threading.Thread(target=self._accept, name="grid-door", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more connections, end those under way, give the port back."""
        self._closing.set()
        self._thread.join(2)
        self._server.close()
        with self._lock:
            for connection in self._open:
                _end(connection)

    def take(self, body: bytes) -> Reply:
        """Keep a form that bears one of our tickets. A repeat is acknowledged again and has one effect."""
        try:
            form = parse_object(body, "form")
        except RecordRejected as error:
            return Reply(400, error.reason)
        if not self._knows(form):
            return Reply(401, "DATA/TICKET")
        with self._lock:
            self._times[str(form["ticket"])] += 1
            if self._times[str(form["ticket"])] > MAX_OF_A_FORM:
                return Reply(429, "TOO_MANY")
        try:
            self._keep(body)
        except (SpoolFull, OSError):
            return Reply(503, "BUSY")
        return Reply(200, "OK")

    def _accept(self) -> None:
        while not self._closing.is_set():
            self._end_late()
            try:
                connection, address = self._server.accept()
            except TimeoutError:
                continue
            except OSError:
                if self._closing.wait(_LOOK_S):
                    return
                continue
            with self._lock:
                full = len(self._open) >= MAX_CONNECTIONS
                if not full:
                    self._open[connection] = time.monotonic() + REQUEST_S
            if full:
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection, address), name="grid-form", daemon=True).start()

    def _serve(self, connection: socket.socket, address: Any) -> None:
        stream: socket.socket = connection
        try:
            connection.settimeout(REQUEST_S)
            if self._tls is not None:
                # The wrapped socket takes the descriptor over; the deadline must be able to end that one.
                stream = self._tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                with self._lock:
                    self._open[stream] = self._open.pop(connection)
                stream.do_handshake()
            _Handler(stream, address, self)  # type: ignore[arg-type]
            stream.shutdown(socket.SHUT_WR)
            stream.settimeout(1.0)
            while stream.recv(65536):  # closing on unread bytes would take the answer back from the phone
                pass
        except (OSError, ValueError):
            pass  # A phone that hangs up or speaks no TLS; nothing of it may be logged.
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


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "xinqiao"
    sys_version = ""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library names it
        """Nothing."""

    def do_GET(self) -> None:
        self._send(Reply(405, "POST_ONLY"))

    def do_OPTIONS(self) -> None:
        self._send(Reply(204, ""))

    def do_POST(self) -> None:
        try:
            reply = self._reply()
        except OSError:
            raise
        except Exception as error:  # A fault of ours: say so without a word of the form, and take nothing.
            broken("grid door", "form", error)
            reply = Reply(500, "GATEWAY/BROKEN")
        self._send(reply)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library refuses by itself is answered without quoting the request line."""
        self._send(Reply(code, "HTTP"))

    def _reply(self) -> Reply:
        door = self.server
        assert isinstance(door, Door)
        lengths = self.headers.get_all("Content-Length", [])
        if urlsplit(self.path).path != PATH:
            return Reply(404, "HTTP")
        if "Transfer-Encoding" in self.headers or not lengths:
            return Reply(411, "HTTP")
        if len(lengths) > 1 or re.fullmatch(r"[0-9]{1,9}", lengths[0], re.ASCII) is None:
            return Reply(400, "HTTP")
        if int(lengths[0]) > MAX_BODY:
            return Reply(413, "DATA/TOO_LARGE")
        if (
            self.headers.get("Content-Encoding", "identity") != "identity"
            or self.headers.get_content_type() not in _TYPES
        ):
            return Reply(415, "DATA/FILE_TYPE")
        body = self.rfile.read(int(lengths[0]))
        if len(body) != int(lengths[0]):
            raise ConnectionError
        return door.take(body)

    def _send(self, reply: Reply) -> None:
        self.close_connection = True
        data = b"" if reply.status == 204 else json.dumps({"reason": reply.reason}).encode()
        self.send_response(reply.status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.send_header("Cache-Control", "no-store")
        # Any page may ask: what counts is the ticket in the form, and the answer holds nothing.
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Methods", "POST")
        self.send_header("Access-Control-Allow-Headers", "Content-Type")
        if reply.status == 503:
            self.send_header("Retry-After", "60")
        self.end_headers()
        self.wfile.write(data)
