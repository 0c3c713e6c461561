"""A small HTTP door for partners that push: stdlib HTTP over TLS (or loopback), bounded in size, time and connections.

One request a connection, each in a thread of its own. Nothing is logged: a request may hold a child's name.
"""

import io
import re
import socket
import ssl
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from xinqiao.adapters import recording

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

MAX_CONNECTIONS: Final = 16
REQUEST_S: Final = 20.0
"""Seconds for one request, from the handshake to the last byte of the answer."""

_LOOK_S = 0.2
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class HttpDoor:
    """Serves a listening socket with ``handler`` until ``close``; what a handler needs, a subclass sets beforehand."""

    def __init__(
        self, server: socket.socket, handler: "type[PushHandler]", *, name: str, tls: ssl.SSLContext | None,
        request_s: float = REQUEST_S,
    ) -> None:  # fmt: skip
        self.address: Final[tuple[str, int]] = server.getsockname()[:2]
        self._server = server
        self._handler = handler
        self._name = name
        self._tls = tls
        self._request_s = request_s
        self._open: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self.tape: Final = recording.current()
        server.settimeout(_LOOK_S)
        self._thread = threading.Thread(target=self._accept, name=f"{name}-door", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more connections, end those under way, give the port back."""
        self._closing.set()
        _end(self._server)  # wakes the one that waits in accept, where the system has it so
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
            thread = threading.Thread(
                target=self._serve, args=(connection, address), name=f"{self._name}-push", daemon=True
            )
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
            self._handler(stream, address, self)  # type: ignore[arg-type]
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


class Unread(NamedTuple):
    """Why a body was not read: an HTTP status, the gateway's reason, the header or part at fault, how to mend it."""

    status: int
    reason: str
    place: str
    message: str


class PushHandler(BaseHTTPRequestHandler):
    """One pushed request; what it does and how it answers is the plugin's."""

    protocol_version = "HTTP/1.1"
    server_version = "xinqiao"
    sys_version = ""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library names it
        """Nothing."""

    def setup(self) -> None:
        """Keep what is answered, where it is recorded."""
        super().setup()
        self._pushed: bytes | None = None
        tape = cast("HttpDoor", self.server).tape
        self._tape = tape if tape is not None and tape.running else None
        if self._tape is not None:
            self._told = self.wfile = _Copied(self.wfile)

    def finish(self) -> None:
        """Put the request on the tape, where it runs and there was one."""
        if self._tape is not None and self._pushed is not None:
            answer = self._told.answer()
            self._tape.posted("partner", self.command, self.path, dict(self.headers.items()), self._pushed, answer)
        super().finish()

    def body(self, most: int) -> bytes | Unread:
        """The whole body, at most so many bytes. Raises OSError where the client breaks off."""
        lengths = self.headers.get_all("Content-Length", [])
        if "Transfer-Encoding" in self.headers or not lengths:
            return Unread(411, "DATA/HTTP", "Content-Length", "give the Content-Length")
        if len(lengths) > 1 or not re.fullmatch(r"[0-9]{1,12}", lengths[0], re.ASCII):
            return Unread(400, "DATA/HTTP", "Content-Length", "give one Content-Length")
        if self.headers.get("Content-Encoding", "identity") != "identity":
            return Unread(415, "DATA/FILE_TYPE", "Content-Encoding", "send it without Content-Encoding")
        size = int(lengths[0])
        if size > most:
            return Unread(413, "DATA/TOO_LARGE", "body", f"longer than {most} bytes")
        found = self.rfile.read(size)
        if len(found) != size:
            raise ConnectionError
        self._pushed = found
        return found


class _Copied(io.BufferedIOBase):
    """Writes on, and remembers what was written."""

    def __init__(self, inner: io.BufferedIOBase) -> None:
        super().__init__()
        self._inner = inner
        self._said = bytearray()

    def write(self, buffer: "ReadableBuffer", /) -> int:
        self._said += memoryview(buffer)
        return self._inner.write(buffer)

    def flush(self) -> None:
        self._inner.flush()

    def answer(self) -> tuple[int, dict[str, str], bytes] | None:
        """Status, headers and body of the one answer; None where there was none."""
        head, _, body = bytes(self._said).partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        status = first[9:12]
        headers = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return (int(status), headers, body) if status.isdigit() else None
