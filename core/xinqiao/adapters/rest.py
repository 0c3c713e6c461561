"""A partner's JSON over HTTP: every status as what the gateway does next, and a feed of pages into an ``Intray``."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from xinqiao.adapters import durable
from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.adapters.files.jsonrows import is_list, parse_object
from xinqiao.adapters.files.places import FileRefused
from xinqiao.adapters.intray import MAX_LETTER, Intray
from xinqiao.adapters.spool import SpoolFull
from xinqiao.adapters.transport import HttpResponse, HttpTransport
from xinqiao.config.secret import Secret

JSON: Final = "application/json"
_MAX_WAIT_S = 3600.0
_PAGES_A_LOOK = 200
_MAX_TOKEN = 500


class JsonApi:
    """One partner's API below ``base_url``; ``token`` is shown as Bearer token where given."""

    def __init__(self, base_url: str, http: HttpTransport, token: Secret | None) -> None:
        self._base = base_url.rstrip("/")
        self._http = http
        self._token = token

    def get(self, path: str, timeout_s: float) -> bytes:
        """The body of a 200. Raises PartnerUnavailable or PartnerRefused."""
        answer = self._send("GET", path, {}, None, timeout_s)
        if answer.status != 200:
            raise PartnerRefused("PARTNER/STATUS", f"answered HTTP {answer.status}; check base_url with the partner")
        _must_be_json(answer)
        return answer.body

    def post(self, path: str, body: Mapping[str, Any], key: str, timeout_s: float) -> dict[str, Any]:
        """Send one record; the same ``key`` always has the same bytes. The answer's object, empty where it has none.

        Raises PartnerUnavailable, PartnerRefused, or RecordRejected for 400, 409, 413 and 422.
        """
        data = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
        headers = {"Content-Type": f"{JSON}; charset=utf-8", "Idempotency-Key": key}
        answer = self._send("POST", path, headers, data, timeout_s)
        if answer.status in (400, 409, 413, 422):
            reason = "KEY_REUSED" if answer.status == 409 else "PARTNER/RECORD"
            raise RecordRejected(reason, f"the partner refused this record (HTTP {answer.status})", "body")
        if not 200 <= answer.status < 300:
            raise PartnerRefused("PARTNER/STATUS", f"answered HTTP {answer.status}; ask the partner what it expects")
        _must_be_json(answer, empty=True)
        try:
            return parse_object(answer.body, "answer") if answer.body else {}
        except FileRefused:
            return {}

    def _send(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None, timeout_s: float
    ) -> HttpResponse:
        sent = {"Accept": JSON, **headers}
        if self._token is not None:
            sent["Authorization"] = f"Bearer {_revealed(self._token)}"
        answer = self._http.request(
            method, self._base + path, headers=sent, body=body, timeout_s=timeout_s, max_bytes=MAX_LETTER
        )
        if answer.status >= 500 or answer.status in (408, 425, 429):
            text = answer.headers.get("retry-after", "")
            wait = min(float(text), _MAX_WAIT_S) if text.isascii() and text.isdigit() and len(text) <= 9 else None
            raise PartnerUnavailable(f"answered HTTP {answer.status}; tried again later", wait)
        if answer.status in (401, 403):
            raise PartnerRefused(
                "PARTNER/UNAUTHORIZED", f"HTTP {answer.status}: the token is not accepted; ask for a new one"
            )
        return answer


class Feed:
    """Pages under ``path``: ``{"records": [...], "next": token, "more": bool}``, and other arrays of the plugin's.

    ``next`` says where the following look begins. It is kept once the page is durable: a crash between repeats a page,
    which is then known by its bytes.
    """

    def __init__(self, api: JsonApi, path: str, intray: Intray, state: Path, size: int) -> None:
        self._api = api
        self._path = path
        self._intray = intray
        self._state = state
        self._size = size

    def pull(self, timeout_s: float) -> Iterator[None]:
        """Keep every page there is now, each asked for within ``timeout_s``; yields after each, as a sign of life.

        Raises PartnerUnavailable or PartnerRefused.
        """
        name = self._path.strip("/").replace("/", "-")
        for _ in range(_PAGES_A_LOOK):
            after = self._state.read_text("utf-8") if self._state.exists() else ""
            data = self._api.get(f"{self._path}?after={quote(after, safe='')}&limit={self._size}", timeout_s)
            following, more, empty = _page(data)
            if not empty:
                key = f"page {self._path} {after} {hashlib.sha256(data).hexdigest()}"
                try:
                    self._intray.put(key, "page", name, data)
                except SpoolFull:
                    return
            if following != after:
                durable.replace(self._state, following.encode())
            yield
            if not more:
                return
            if following == after:
                raise PartnerRefused("PARTNER/PAGING", "says there is more but gives no new 'next'; ask the partner")


def receipt_of(answer: Mapping[str, object], otherwise: str) -> str:
    """The partner's own ``id`` in its answer, where it gives one that can be kept; else ``otherwise``."""
    given = answer.get("id")
    return given if isinstance(given, str) and 0 < len(given) <= 200 and given.isascii() else otherwise


def _must_be_json(answer: HttpResponse, *, empty: bool = False) -> None:
    """A login page in place of an answer is no receipt. Raises PartnerRefused."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON and not (empty and not answer.body):
        message = f"did not answer {JSON}; check base_url, a login page may be there"
        raise PartnerRefused("PARTNER/CONTENT_TYPE", message)


def _page(data: bytes) -> tuple[str, bool, bool]:
    """Where to go on, whether at once, and whether there is nothing on it."""
    try:
        page = parse_object(data, "page")
    except FileRefused as error:
        raise PartnerRefused(error.reason, f"a page of records cannot be read: {error.message}") from None
    following, more, records = page.get("next"), page.get("more", False), page.get("records")
    if (
        not isinstance(following, str)
        or len(following) > _MAX_TOKEN
        or not isinstance(more, bool)
        or not is_list(records)
    ):
        raise PartnerRefused("DATA/PROFILE", "a page must have records (array), next (text) and more (true or false)")
    return following, more, not any(is_list(value) and value for value in page.values())


def _revealed(secret: Secret) -> str:
    try:
        return secret.reveal()
    except (LookupError, OSError):
        raise PartnerRefused("EGRESS/SECRET", f"{secret} is empty, missing or readable by others; set it") from None
