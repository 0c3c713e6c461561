"""The endpoint a 110 centre sends webhooks to: stdlib HTTP over TLS (or loopback), bounded in size, time and connections.

One request a connection, each in a thread of its own. Nothing is logged: a request may hold a child's name.
"""

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
from xinqiao_police.desk import Desk, Reply, refused
from xinqiao_police.wire import JSON, MAX_BODY, dump

WEBHOOKS: Final = "/police/v1/webhooks"
STATUS: Final = "/police/v1/status"
MAX_CONNECTIONS: Final = 16
REQUEST_S: Final = 20.0
"""Seconds for one request, from the handshake to the last byte of the answer."""

_LOOK_S = 0.2
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Receiver:
    """Serves ``desk`` on a listening socket until ``close``."""

    def __init__(
        self, server: socket.socket, desk: Desk, *, tls: ssl.SSLContext | None, request_s: float = REQUEST_S
    ) -> None:
        self.desk: Final = desk
        self.address: Final[tuple[str, int]] = server.getsockname()[:2]
        self._server = server
        self._tls = tls
        self._request_s = request_s
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        server.settimeout(_LOOK_S)
        self._thread = threading.Thread(target=self._accept, name="police-receiver", daemon=True)
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
            thread = threading.Thread(target=self._serve, args=(connection, address), name="police-push", daemon=True)
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
    """Read what the client still sends, for a second: closing on unread bytes would take the answer back from it."""
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

    def do_POST(self) -> None:
        path = urlsplit(self.path).path.rstrip("/")
        routes = {WEBHOOKS: self.receiver.desk.take, STATUS: self.receiver.desk.status}
        route = routes.get(path)
        if route is None:
            self._send(refused(404, "PARTNER/NOT_OFFERED", "path", f"POST {WEBHOOKS} or {STATUS}"))
        else:
            self._handle(route)

    def do_GET(self) -> None:
        self._send(refused(405, "PARTNER/NOT_OFFERED", "method", f"POST {WEBHOOKS} or {STATUS}"))

    do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = do_GET  # noqa: N815  # names of http.server

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library refuses by itself is answered in our words, and never quotes the request line."""
        self._send(refused(code, "DATA/HTTP", "request", "the HTTP request cannot be read"))

    def _handle(self, route: Callable[[dict[str, str], str, bytes], Reply]) -> None:
        try:
            body = self._body()
            if isinstance(body, Reply):
                reply = body
            else:
                twice = [name for name in set(self.headers) if len(self.headers.get_all(name, [])) > 1]
                headers = {name.lower(): value for name, value in self.headers.items() if name not in twice}
                kind = self.headers.get_content_type() if "Content-Type" in self.headers else ""
                reply = route(headers, kind, body)
        except OSError:
            raise
        except Exception as e:  # A fault of ours: say so without a word of the request, and take nothing.
            reference = broken("police receiver", "push", e)
            reply = refused(500, "GATEWAY/BROKEN", "", f"the gateway is at fault; its log says more at {reference}")
        self._send(reply)

    def _body(self) -> bytes | Reply:
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or not lengths:
            return refused(411, "DATA/HTTP", "Content-Length", "give the Content-Length")
        if len(lengths) > 1 or not re.fullmatch(r"[0-9]{1,12}", lengths[0], re.ASCII):
            return refused(400, "DATA/HTTP", "Content-Length", "give one Content-Length")
        if self.headers.get("Content-Encoding", "identity") != "identity":
            return refused(415, "DATA/FILE_TYPE", "Content-Encoding", "send it without Content-Encoding")
        size = int(lengths[0])
        if size > MAX_BODY:
            return refused(413, "DATA/TOO_LARGE", "body", f"longer than {MAX_BODY} bytes")
        body = self.rfile.read(size)
        if len(body) != size:
            raise ConnectionError
        return body

    def _send(self, reply: Reply) -> None:
        self.close_connection = True
        data = dump(reply.body)
        self.send_response(reply.status)
        self.send_header("Content-Type", JSON)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        self.send_header("Cache-Control", "no-store")
        if reply.status == 405:
            self.send_header("Allow", "POST")
        if reply.retry_s:
            self.send_header("Retry-After", str(reply.retry_s))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
