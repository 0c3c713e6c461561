"""A line to a partner that can be cut, slowed or crossed: a TCP relay on loopback, for partners that play no faults."""

import select
import socket
import threading
from contextlib import closing, suppress
from typing import Final

from xinqiao.testing.simulators import Faults

PLAYS: Final = frozenset({"slow", "down", "drop_before", "drop_after", "html"})
"""What can go wrong on a line, whatever is spoken over it."""

_CHUNK: Final = 64 * 1024
_TICK_S: Final = 0.05
_EFFECT_S: Final = 0.5
_CONNECT_S: Final = 5.0
_PAGE: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 29\r\n\r\n<!doctype html><title>x</title>"
)


class Line:
    """Relays every connection to ``host``:``port``; ``Faulty``. A fault hits what the gateway sends next."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._faults = Faults()
        self._stopping = threading.Event()
        self._server: socket.socket | None = None
        self._port = 0

    @property
    def plays(self) -> frozenset[str]:
        """The faults of a line."""
        return PLAYS

    def play(self, fault: str, *, times: int = 1, seconds: float = 0.0) -> None:
        """Play a fault. Raises ValueError for a word that is none."""
        self._faults.play(fault, times=times, seconds=seconds)

    def calm(self) -> None:
        """End every fault."""
        self._faults.calm()

    def open(self) -> str:
        """Begin to relay; the ``ip:port`` to call instead of the partner."""
        self._stopping.clear()
        self._server = socket.create_server(("127.0.0.1", self._port))
        self._port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, args=(self._server,), name="line", daemon=True).start()
        return f"127.0.0.1:{self._port}"

    def close(self) -> None:
        """Cut every connection and give the port back."""
        self._stopping.set()
        if self._server is not None:
            with suppress(OSError):
                self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()
        self._server = None

    def _accept(self, server: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                near, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(near,), name="line-relay", daemon=True).start()

    def _relay(self, near: socket.socket) -> None:
        with closing(near), suppress(OSError):
            if self._faults.take("down") is not None:
                return
            with closing(socket.create_connection(self._target, _CONNECT_S)) as far:
                while not self._stopping.is_set() and self._pass_on(near, far):
                    pass

    def _pass_on(self, near: socket.socket, far: socket.socket) -> bool:
        """Move what is there; whether the connection goes on."""
        ready, _, _ = select.select([near, far], [], [], _TICK_S)
        if far in ready:
            data = far.recv(_CHUNK)
            if not data:
                return False
            near.sendall(data)
        if near in ready:
            data = near.recv(_CHUNK)
            return bool(data) and self._sent(data, near, far)
        return True

    def _sent(self, data: bytes, near: socket.socket, far: socket.socket) -> bool:
        faults = self._faults
        if faults.take("down", "drop_before") is not None:
            return False
        if faults.take("html") is not None:
            near.sendall(_PAGE)
            return False
        slow = faults.take("slow")
        if slow is not None and self._stopping.wait(slow):
            return False
        far.sendall(data)
        if faults.take("drop_after") is not None:
            self._stopping.wait(_EFFECT_S)
            return False
        return True
