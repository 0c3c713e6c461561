"""Where a phone with a network hands a form in: one POST, known by its ticket, on disk before it is answered."""

import json
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from xinqiao.adapters.agency import broken
from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files.jsonrows import parse_object
from xinqiao.adapters.receiving import HttpDoor, PushHandler, Unread
from xinqiao.adapters.spool import SpoolFull, Verdict

PATH: Final = "/forms"
MAX_BODY: Final = 256 * 1024
REQUEST_S: Final = 15.0
MAX_OF_A_FORM: Final = 200
"""Times one form is taken between two starts: a ticket that got into wrong hands must not fill the inbox."""

# A page opened from the phone's own storage has no origin: text/plain spares it the question beforehand.
_TYPES = ("text/plain", "application/json")


class Reply(NamedTuple):
    """A status and a word for the phone."""

    status: int
    reason: str


class Door(HttpDoor):
    """Serves on a listening socket until ``close``. ``knows`` says whether a form's ticket is ours, ``keep`` makes it durable."""

    def __init__(
        self, server: socket.socket, tls: ssl.SSLContext | None, knows: Callable[[dict[str, Any]], bool],
        keep: Callable[[bytes], Verdict],
    ) -> None:  # fmt: skip
        self._knows = knows
        self._keep = keep
        self._times: Counter[str] = Counter()
        self._counting = threading.Lock()
        super().__init__(server, _Handler, name="grid", tls=tls, request_s=REQUEST_S)

    def take(self, body: bytes) -> Reply:
        """Keep a form that bears one of our tickets. A repeat is acknowledged again and has one effect."""
        try:
            form = parse_object(body, "form")
        except RecordRejected as error:
            return Reply(400, error.reason)
        if not self._knows(form):
            return Reply(401, "DATA/TICKET")
        with self._counting:
            self._times[str(form["ticket"])] += 1
            if self._times[str(form["ticket"])] > MAX_OF_A_FORM:
                return Reply(429, "TOO_MANY")
        try:
            self._keep(body)
        except (SpoolFull, OSError):
            return Reply(503, "BUSY")
        return Reply(200, "OK")


class _Handler(PushHandler):
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
        if urlsplit(self.path).path != PATH:
            return Reply(404, "HTTP")
        body = self.body(MAX_BODY)
        if isinstance(body, Unread):
            return Reply(body.status, "HTTP" if body.reason == "DATA/HTTP" else body.reason)
        if self.headers.get_content_type() not in _TYPES:
            return Reply(415, "DATA/FILE_TYPE")
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
