"""The FHIR endpoint a hospital pushes to."""

import hmac
import re
import socket
import ssl
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from xinqiao.adapters.agency import broken
from xinqiao.adapters.receiving import REQUEST_S, HttpDoor, PushHandler, Unread
from xinqiao_hospital.client import FHIR_JSON
from xinqiao_hospital.desk import Desk, Reply, refused
from xinqiao_hospital.r4 import Fault
from xinqiao_hospital.wire import Json, dump

BASE: Final = "/fhir"
NOTIFY: Final = f"{BASE}/notify"
MAX_BODY: Final = 4 * 2**20
_TASK = re.compile(rf"{BASE}/Task/([A-Za-z0-9.-]{{1,64}})", re.ASCII)
_XML = ("application/fhir+xml", "application/xml", "text/xml")
_JSON = (FHIR_JSON, "application/json")
_PATCH = "application/json-patch+json"
_UNREAD = {413: "too-long", 415: "not-supported"}  # IssueType of a body that was not read


class Receiver(HttpDoor):
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
        super().__init__(server, _Handler, name="hospital", tls=tls, request_s=request_s)


class _Handler(PushHandler):
    @property
    def receiver(self) -> Receiver:
        found = self.server
        assert isinstance(found, Receiver)
        return found

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
        body = self.body(MAX_BODY)
        if isinstance(body, Unread):
            return _no(body.status, _UNREAD.get(body.status, "structure"), body.message, body.reason)
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
