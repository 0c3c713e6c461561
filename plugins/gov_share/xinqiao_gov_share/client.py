"""The conversation with the platform: signed requests, and what each of its answers means for the gateway."""

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from xinqiao.adapters.errors import AdapterError, PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.adapters.transport import HttpResponse, HttpTransport
from xinqiao.config import Secret
from xinqiao.contract.clock import Clock
from xinqiao_gov_share import codes
from xinqiao_gov_share.settings import CatalogueEntry, GovShareSettings
from xinqiao_gov_share.signing import signed_headers
from xinqiao_gov_share.wire import Fields, Json, WireRefused, dump, is_object, parse

_TICKET = r"[A-Za-z0-9][A-Za-z0-9-]{0,63}"
_MAX_WAIT_S = 86_400.0
_MAX_BYTES = 8 * 2**20
_MAX_SKEW_S = 60
_DRILL = "【演练 DRILL】"


@dataclass(frozen=True, slots=True)
class Request:
    """One sharing request (共享申请): what is carried, and the words the platform wants beside it."""

    number: str
    contract: str
    entry: CatalogueEntry
    content: bytes
    content_type: str
    sealed: bool
    urgent: bool = False
    drill: bool = False

    def body(self, agency_code: str) -> bytes:
        """The same bytes whenever it is sent again."""
        return dump(
            {
                "requestNo": self.number,
                "catalogue": self.entry.id,
                "agency": agency_code,
                "basis": self.entry.basis,
                # Where the platform's people look, too.
                "scene": f"{_DRILL}{self.entry.scene}" if self.drill else self.entry.scene,
                "urgent": self.urgent,
                "drill": self.drill,
                "contract": self.contract,
                "contentType": self.content_type,
                "sealed": self.sealed,
                "sha256": hashlib.sha256(self.content).hexdigest(),
                "content": base64.b64encode(self.content).decode(),
            }
        )


class PlatformClient:
    """Speaks to one platform; every answer comes back as its ``data`` or as one of the adapter errors."""

    def __init__(self, settings: GovShareSettings, http: HttpTransport, clock: Clock) -> None:
        self._settings = settings
        self._http = http
        self._clock = clock

    def status(self, timeout_s: float) -> str:
        """What the platform calls itself. Raises PartnerRefused ``PARTNER/CLOCK`` before the clocks differ too much."""
        data = self._call("GET", "/status", b"", timeout_s)
        try:
            fields = Fields(data, "data")
            name = fields.text("version", r"[A-Za-z0-9 ._/-]{1,40}")
            theirs = fields.integer("time", 0, 10**11)
        except WireRefused as e:
            raise PartnerRefused(e.reason, f"the platform's answer at {e.place}: {e.message}") from None
        if abs(theirs - self._clock.now_us() // 1_000_000) > _MAX_SKEW_S:
            raise PartnerRefused("PARTNER/CLOCK", f"the clocks differ by more than {_MAX_SKEW_S} s; set this machine's")
        return name

    def submit(self, request: Request, timeout_s: float) -> str:
        """Hand a request in; the platform's ticket (受理编号), the one it has where it knows the request already."""
        body = request.body(self._settings.agency_code)
        data = self._call("POST", "/requests", body, timeout_s, duplicate_is_fine=True)
        return _ticket_of(data)

    def ticket(self, ticket: str, timeout_s: float) -> Json:
        """Where a ticket stands, still to be judged."""
        return self._call("GET", f"/requests/{ticket}", b"", timeout_s)

    def _call(self, method: str, path: str, body: bytes, timeout_s: float, *, duplicate_is_fine: bool = False) -> Json:
        url = f"{self._settings.base_url}{path}"
        headers = {"Accept": "application/json", **self._signed(method, urlsplit(url).path, body)}
        if body:
            headers["Content-Type"] = "application/json; charset=utf-8"
        answer = self._http.request(
            method, url, headers=headers, body=body or None, timeout_s=timeout_s, max_bytes=_MAX_BYTES
        )
        if answer.status == 429 or answer.status >= 500:
            raise PartnerUnavailable(f"the platform answered HTTP {answer.status}; tried again later", _wait(answer))
        if answer.status in (401, 403):
            raise PartnerRefused(
                "PARTNER/UNAUTHORIZED", f"HTTP {answer.status}: the platform does not let this gateway in"
            )
        code, data = _envelope(answer)
        if code == codes.OK or (duplicate_is_fine and code == codes.DUPLICATE):
            if not is_object(data):
                raise PartnerRefused("DATA/PROFILE", "the platform's answer has no data; check base_url")
            return data
        raise _error(code, _wait(answer))

    def _signed(self, method: str, path: str, body: bytes) -> dict[str, str]:
        return signed_headers(
            self._settings.algorithm, self._settings.app_id, _revealed(self._settings.secret), method=method, path=path,
            timestamp=str(self._clock.now_us() // 1_000_000), nonce=secrets.token_hex(16), body=body,
        )  # fmt: skip


def _ticket_of(data: Json) -> str:
    try:
        fields = Fields(data, "data")
        ticket = fields.text("ticket", _TICKET)
        fields.end()
    except WireRefused as e:
        raise PartnerRefused(e.reason, f"the platform's answer at {e.place}: {e.message}") from None
    return ticket


def _envelope(answer: HttpResponse) -> tuple[int, Any]:
    """``(code, data)``. Raises PartnerRefused where the answer is none of the platform's."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        what = "a web page" if kind == "text/html" else "no JSON"
        raise PartnerRefused("PARTNER/CONTENT_TYPE", f"HTTP {answer.status} with {what}; check base_url")
    try:
        found = parse(answer.body)
        if found.keys() != {"code", "message", "data"}:
            raise WireRefused("DATA/PROFILE", "must be code, message and data, and nothing else", "$")
        fields = Fields({"code": found["code"], "message": found["message"]}, "$")
        fields.words("message", 2000)
        return fields.integer("code", 0, 99_999), found["data"]
    except WireRefused as e:
        raise PartnerRefused(e.reason, f"the platform's answer at {e.place}: {e.message}") from None


def _error(code: int, wait_s: float | None) -> AdapterError:
    meaning = codes.ANSWERS.get(code)
    if meaning is None:
        return PartnerRefused(
            "PARTNER/CODE", f"the platform answered code {code}, which is not agreed; ask its operator"
        )
    if meaning.action == "later":
        return PartnerUnavailable(f"platform code {code}: {meaning.message}", wait_s)
    if meaning.action == "record":
        return RecordRejected(meaning.reason, f"platform code {code}: {meaning.message}", "request")
    return PartnerRefused(meaning.reason, f"platform code {code}: {meaning.message}")


def _wait(answer: HttpResponse) -> float | None:
    text = answer.headers.get("retry-after", "")
    return min(float(text), _MAX_WAIT_S) if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) else None


def _revealed(secret: Secret) -> str:
    try:
        return secret.reveal()
    except (LookupError, OSError):
        raise PartnerRefused("EGRESS/SECRET", f"{secret} is empty, missing or readable by others; set it") from None
