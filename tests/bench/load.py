"""A load client that is not the bottleneck: unary gRPC calls as ready-made HTTP/2 frames over mTLS, one thread.

``h2load`` cannot do this job: it shows no client certificate and sends the same body each time, while every submission
needs a ``request_id`` of its own. A call costs this client some 30 microseconds. It knows exactly as much HTTP/2
(RFC 9113) as the measurement needs: fixed request headers (HPACK indexed after the first call), one DATA frame a
request, and of the answer only that the stream ended with ``grpc-status: 0``.
"""

import selectors
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_DATA, _HEADERS, _RST, _SETTINGS, _PING, _GOAWAY, _CONTINUATION = 0, 1, 3, 4, 6, 7, 9
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_CONNECTIONS = 4


@dataclass(slots=True)
class Load:
    """What a run measured. Seconds; ``busy_s`` is the CPU time of the client itself."""

    calls: int = 0
    failed: int = 0
    seconds: float = 0.0
    busy_s: float = 0.0
    latencies: list[float] = field(default_factory=list[float])

    @property
    def rate(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds

    @property
    def median_us(self) -> float:
        """The latency in the middle, microseconds."""
        return sorted(self.latencies)[len(self.latencies) // 2] * 1e6


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">HBBBI", len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


def _literal(prefix: bytes, value: str) -> bytes:
    return prefix + bytes([len(value)]) + value.encode()


class _Connection:
    """One TLS connection with up to ``window`` calls under way."""

    def __init__(self, folder: Path, port: int, path: str, window: int) -> None:
        context = ssl.create_default_context(cafile=folder / "pki/ca.pem")
        context.load_cert_chain(folder / "pki/partner.pem", folder / "pki/partner.key")
        context.set_alpn_protocols(["h2"])
        plain = socket.create_connection(("127.0.0.1", port))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        self.window = window
        self.started: dict[int, float] = {}
        self._stream = 1
        self._buffer = b""
        # Literals with incremental indexing the first time; afterwards one byte each from the dynamic table.
        self._headers = b"\x83\x87" + b"".join(
            (
                _literal(b"\x44", path),
                _literal(b"\x41", "localhost"),
                _literal(b"\x5f", "application/grpc"),
                _literal(_literal(b"\x40", "te"), "trailers"),
                _literal(_literal(b"\x40", "grpc-timeout"), "20S"),
            )
        )
        # No dynamic table for what comes back, so that a status can be read without HPACK state; wide windows.
        settings = struct.pack(">HIHIHI", 1, 0, 2, 0, 4, 1 << 30)
        self.socket.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + _frame(_SETTINGS, 0, 0, settings)
            + _frame(8, 0, 0, struct.pack(">I", (1 << 31) - 1 - 65535))
        )

    def send(self, messages: list[bytes]) -> None:
        """Start a call for each message, in one write."""
        out: list[bytes] = []
        now = time.perf_counter()
        for message in messages:
            out.append(_frame(_HEADERS, _END_HEADERS, self._stream, self._headers))
            out.append(_frame(_DATA, _END_STREAM, self._stream, struct.pack(">BI", 0, len(message)) + message))
            self._headers = b"\x83\x87\xc2\xc1\xc0\xbf\xbe"
            self.started[self._stream] = now
            self._stream += 2
        self.socket.sendall(b"".join(out))

    def receive(self, load: Load) -> int:
        """Read what has come; how many calls it ended."""
        chunk = self.socket.recv(1 << 18)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        while self.socket.pending():
            chunk += self.socket.recv(1 << 18)
        buffer, position, ended = self._buffer + chunk, 0, 0
        now = time.perf_counter()
        while len(buffer) - position >= 9:
            high, low, kind, flags, stream = struct.unpack_from(">HBBBI", buffer, position)
            end = position + 9 + (high << 8 | low)
            if end > len(buffer):
                break
            payload = buffer[position + 9 : end]
            position = end
            if kind == _RST or (kind == _HEADERS and flags & _END_STREAM):
                load.latencies.append(now - self.started.pop(stream))
                load.failed += kind == _RST or b"grpc-status\x010" not in payload
                ended += 1
            elif kind in (_SETTINGS, _PING) and not flags & _ACK:
                self.socket.sendall(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
            elif kind in (_GOAWAY, _CONTINUATION):
                raise ConnectionError(f"unexpected HTTP/2 frame of type {kind}")
        self._buffer = buffer[position:]
        return ended


class Client:
    """``callers`` calls always under way, over a few connections."""

    def __init__(self, folder: Path, port: int, path: str, callers: int) -> None:
        count = min(callers, _CONNECTIONS)
        self._connections = [_Connection(folder, port, path, callers // count) for _ in range(count)]

    def run(self, messages: Iterator[bytes], seconds: float) -> Load:
        """Keep the calls going for ``seconds``, then wait for those under way."""
        load = Load()
        with selectors.DefaultSelector() as ready:
            for connection in self._connections:
                ready.register(connection.socket, selectors.EVENT_READ, connection)
            busy, begin = time.thread_time(), time.perf_counter()
            for connection in self._connections:
                connection.send([next(messages) for _ in range(connection.window)])
            under_way = sum(len(connection.started) for connection in self._connections)
            while under_way:
                for key, _ in ready.select(10) or self._late():
                    connection = key.data
                    ended = connection.receive(load)
                    under_way -= ended
                    if ended and time.perf_counter() - begin < seconds:
                        connection.send([next(messages) for _ in range(ended)])
                        under_way += ended
            load.seconds, load.busy_s = time.perf_counter() - begin, time.thread_time() - busy
        load.calls = len(load.latencies)
        return load

    def close(self) -> None:
        """Disconnect."""
        for connection in self._connections:
            connection.socket.close()

    @staticmethod
    def _late() -> list[tuple[selectors.SelectorKey, int]]:
        raise TimeoutError("no answer for ten seconds")
