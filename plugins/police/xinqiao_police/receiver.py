"""The endpoint a 110 centre sends webhooks to."""

import socket
import ssl
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from xinqiao.adapters.agency import broken
from xinqiao.adapters.receiving import REQUEST_S, HttpDoor, PushHandler, Unread
from xinqiao_police.desk import Desk, Reply, refused
from xinqiao_police.wire import JSON, MAX_BODY, dump

WEBHOOKS: Final = "/police/v1/webhooks"
STATUS: Final = "/police/v1/status"


class Receiver(HttpDoor):
    """Serves ``desk`` on a listening socket until ``close``."""

    def __init__(
        self, server: socket.socket, desk: Desk, *, tls: ssl.SSLContext | None, request_s: float = REQUEST_S
    ) -> None:
        self.desk: Final = desk
        super().__init__(server, _Handler, name="police", tls=tls, request_s=request_s)


class _Handler(PushHandler):
    @property
    def receiver(self) -> Receiver:
        found = self.server
        assert isinstance(found, Receiver)
        return found

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
            body = self.body(MAX_BODY)
            if isinstance(body, Unread):
                reply = refused(*body)
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
