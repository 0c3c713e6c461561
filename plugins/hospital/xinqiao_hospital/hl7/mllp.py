"""MLLP on plain sockets: 0x0B, message, 0x1C 0x0D. Nothing of a frame is kept beyond the limit, nobody is waited for."""

import ipaddress
import math
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from xinqiao.adapters import recording
from xinqiao.adapters.agency import broken
from xinqiao_hospital.hl7.refused import Hl7Refused

START: Final = b"\x0b"
END: Final = b"\x1c\r"
_CHUNK: Final = 64 * 1024
_TICK_S: Final = 0.2
_DRAIN: Final = 256 * 1024


class Closed(Exception):
    """The peer closed the connection between two frames, or stayed silent for as long as it may."""


def framed(body: bytes) -> bytes:
    """The bytes on the wire of one message."""
    return START + body + END


@dataclass(frozen=True, slots=True)
class Limits:
    """What one peer may cost: bytes of a frame, seconds for a whole frame, seconds of silence between frames."""

    max_bytes: int = 1024 * 1024
    frame_seconds: float = 10.0
    idle_seconds: float = 300.0
    connections: int = 8


class FrameReader:
    """Cuts a connection's bytes into messages. ``stopping`` ends the wait for a next one."""

    def __init__(self, connection: socket.socket, limits: Limits, stopping: threading.Event | None = None) -> None:
        self._connection = connection
        self._limits = limits
        self._stopping = stopping or threading.Event()
        self._buffer = bytearray()

    def read(self, until: float = math.inf) -> bytes:
        """The next message, ``until`` (monotonic) at the latest.

        Raises Closed, or Hl7Refused (AR/FRAME) after which the connection is of no use.
        """
        silent_until = min(until, time.monotonic() + self._limits.idle_seconds)
        while not self._buffer.lstrip(b"\r\n"):
            self._buffer.clear()
            self._receive(silent_until, between=True)
        frame_until = min(until, time.monotonic() + self._limits.frame_seconds)
        # A few systems put a line end between frames; anything else means that the two sides are out of step.
        del self._buffer[: len(self._buffer) - len(self._buffer.lstrip(b"\r\n"))]
        if not self._buffer.startswith(START):
            raise _refused("a frame begins with 0x0B")
        looked = 1
        while (end := self._buffer.find(END[:1], looked)) < 0 or end + 1 >= len(self._buffer):
            looked = end if end >= 0 else len(self._buffer)
            if looked > self._limits.max_bytes:
                raise _refused(f"a message has at most {self._limits.max_bytes} bytes")
            self._receive(frame_until, between=False)
        if not self._buffer.startswith(END, end):
            raise _refused("0x1C ends a frame and is followed by 0x0D")
        if end - 1 > self._limits.max_bytes:
            raise _refused(f"a message has at most {self._limits.max_bytes} bytes")
        body = bytes(self._buffer[1:end])
        del self._buffer[: end + 2]
        if START in body:
            raise _refused("a second frame begins before the first has ended")
        return body

    def _receive(self, deadline: float, *, between: bool) -> None:
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or (between and self._stopping.is_set()):
                if between:
                    raise Closed
                raise _refused(f"a frame must be complete within {self._limits.frame_seconds:g} seconds")
            self._connection.settimeout(min(left, _TICK_S))
            try:
                data = self._connection.recv(_CHUNK)
            except (TimeoutError, ssl.SSLWantReadError):
                continue
            except OSError:
                data = b""
            if not data:
                if between:
                    raise Closed
                raise _refused("the connection ended before the frame did")
            self._buffer += data
            return


Answer = Callable[[bytes], bytes]
Refusal = Callable[[Hl7Refused], bytes]


class Listener:
    """Answers each message on a listening socket, one thread a connection, at most ``limits.connections`` of them.

    ``answer`` gives the acknowledgment of a message, ``refuse`` the one for a frame that is none. Addresses that are
    not in ``peers`` are cut before a byte is read (empty: loopback only).
    """

    def __init__(
        self,
        listening: socket.socket,
        answer: Answer,
        refuse: Refusal,
        limits: Limits,
        *,
        peers: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._listening = listening
        self._answer = answer
        self._refuse = refuse
        self._limits = limits
        self._peers = [ipaddress.ip_network(peer) for peer in peers]
        self._tls = tls
        self._stopping = threading.Event()
        self._tape = recording.current()
        self._slots = threading.BoundedSemaphore(limits.connections)
        self._threads: set[threading.Thread] = set()
        listening.setblocking(False)
        self._accepting = threading.Thread(target=self._accept, name="mllp-accept", daemon=True)
        self._accepting.start()

    @property
    def port(self) -> int:
        return int(self._listening.getsockname()[1])

    def close(self) -> None:
        """Take no more connections, let each thread finish its message, give the port back."""
        self._stopping.set()
        with suppress(OSError):  # wakes the one that waits to accept, where the system has it so
            self._listening.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        self._listening.close()
        for thread in list(self._threads):
            thread.join(self._limits.frame_seconds)

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listening, selectors.EVENT_READ)
            while not self._stopping.is_set():
                if not selector.select(_TICK_S):
                    continue
                try:
                    connection, address = self._listening.accept()
                except OSError:
                    self._stopping.wait(_TICK_S)  # Out of descriptors, perhaps: the selector would not wait
                    continue
                if not self._welcome(str(address[0])) or not self._slots.acquire(blocking=False):
                    connection.close()
                    continue
                thread = threading.Thread(target=self._serve, args=(connection,), name="mllp-peer", daemon=True)
                self._threads.add(thread)
                try:
                    thread.start()
                except RuntimeError:  # Out of threads: turn this one away, and go on listening
                    self._threads.discard(thread)
                    self._slots.release()
                    connection.close()

    def _welcome(self, text: str) -> bool:
        address = ipaddress.ip_address(text.partition("%")[0])
        return any(address in peer for peer in self._peers) if self._peers else address.is_loopback

    def _serve(self, connection: socket.socket) -> None:
        try:
            with self._secured(connection) as peer:
                self._converse(peer)
        except OSError:
            pass  # The peer hung up, or its TLS is not ours: there is nobody left to answer
        except Exception as e:  # A fault of ours: its text may hold what the peer sent, and others go on
            broken("mllp listener", "answer", e)
        finally:
            connection.close()
            self._slots.release()
            self._threads.discard(threading.current_thread())

    def _secured(self, connection: socket.socket) -> socket.socket:
        connection.settimeout(self._limits.frame_seconds)
        return self._tls.wrap_socket(connection, server_side=True) if self._tls is not None else connection

    def _converse(self, peer: socket.socket) -> None:
        reader = FrameReader(peer, self._limits, self._stopping)
        while not self._stopping.is_set():
            try:
                came = reader.read()
                answer, ends = self._answer(came), False
                if self._tape is not None and self._tape.running:
                    self._tape.exchanged("partner", came, answer)
            except Hl7Refused as e:
                answer, ends = self._refuse(e), True
            except Closed:
                return
            peer.settimeout(self._limits.frame_seconds)
            peer.sendall(framed(answer))
            if ends:
                _part(peer)
                return


def _part(peer: socket.socket) -> None:
    """Close so that the answer arrives: unread bytes in the socket would make the kernel reset the connection.

    A little is read and thrown away, for a second at most; whoever sends more than that gets the reset.
    """
    with suppress(OSError):
        peer.shutdown(socket.SHUT_WR)
        peer.settimeout(_TICK_S)
        until, left = time.monotonic() + 1.0, _DRAIN
        while left > 0 and time.monotonic() < until and (data := peer.recv(_CHUNK)):
            left -= len(data)


def _refused(message: str) -> Hl7Refused:
    return Hl7Refused("AR", "FRAME", message, "MLLP")
