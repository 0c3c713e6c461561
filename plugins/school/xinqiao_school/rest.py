"""The OneRoster REST consumer: pages of JSON under OAuth 2 client credentials, laid down as the package a folder gets.

What comes over REST takes the very road of a CSV package: the same checks, joins, deltas and answers.
"""

import base64
import csv
import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import IO, Any, Final, cast
from urllib.parse import quote, urlencode

import numpy as np

from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable
from xinqiao.adapters.transport import HttpResponse, HttpTransport
from xinqiao.contract.clock import Clock, from_us
from xinqiao_school.index import Gathered, marks
from xinqiao_school.package import COLUMNS
from xinqiao_school.settings import RestSettings
from xinqiao_school.wire import write_whole

PULLED: Final = "rest-"
"""How the names of pulled packages begin."""

_TIMEOUT_S: Final = 20.0
"""With the longest wait well within what the gateway allows between two signs of life (30 s by default)."""

_MAX_BYTES: Final = 64 * 1024 * 1024
_MAX_PAGES: Final = 100_000
_PAGE_TRIES: Final = 3
_PULL_TRIES: Final = 3
_LONGEST_WAIT_S: Final = 10.0
_OVERLAP: Final = timedelta(minutes=5)
_SPARE_S: Final = 60.0
_REQUIRED: Final = ("orgs", "classes", "users", "enrollments")
_COLLECTIONS: Final = ("orgs", "academicSessions", "courses", "classes", "users", "enrollments", "demographics")

Json = dict[str, Any]
Wait = Callable[[float], object]


class Tokens:
    """The access token: asked for when there is none, kept until shortly before it ends."""

    def __init__(self, settings: RestSettings, http: HttpTransport, clock: Clock) -> None:
        self._settings = settings
        self._http = http
        self._clock = clock
        self._token = ""
        self._until = 0.0

    def current(self) -> str:
        """Raises PartnerRefused AUTH/CLIENT when the platform does not know this client, PartnerUnavailable."""
        if not self._token or self._clock.monotonic() >= self._until:
            self._ask()
        return self._token

    def forget(self) -> None:
        """The platform did not take it."""
        self._token = ""

    def _ask(self) -> None:
        try:
            secret = self._settings.client_secret.reveal()
        except (LookupError, PermissionError) as error:
            raise PartnerRefused("AUTH/SECRET", str(error)) from None
        pair = f"{quote(self._settings.client_id, safe='')}:{quote(secret, safe='')}"
        body = urlencode({"grant_type": "client_credentials", "scope": " ".join(self._settings.scopes)})
        answer = self._http.request(
            "POST",
            self._settings.token_url,
            headers={
                "Authorization": "Basic " + base64.b64encode(pair.encode()).decode(),
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
            },
            body=body.encode(),
            timeout_s=_TIMEOUT_S,
        )
        if answer.status in (400, 401, 403):
            message = (
                f"the token endpoint does not take this client (HTTP {answer.status}); check id, secret and scopes"
            )
            raise PartnerRefused("AUTH/CLIENT", message)
        found = _object(answer) if answer.status == 200 else {}
        token, lasts = found.get("access_token"), found.get("expires_in", 300)
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise PartnerUnavailable(f"the token endpoint gave no token (HTTP {answer.status})")
        lasts = float(lasts) if isinstance(lasts, int | float) and not isinstance(lasts, bool) else 300.0
        self._token, self._until = token, self._clock.monotonic() + max(lasts - _SPARE_S, lasts / 2)


class Pages:
    """All objects of a collection, page by page, or an error: never a part of it."""

    def __init__(self, settings: RestSettings, http: HttpTransport, clock: Clock, wait: Wait) -> None:
        self._settings = settings
        self._http = http
        self._tokens = Tokens(settings, http, clock)
        self._clock = clock
        self._wait = wait
        self.server_time: datetime | None = None

    def collection(self, name: str, since: str) -> Iterator[list[Json]]:
        """Pages of ``name``, changed since the time ``since`` (empty: all). Raises ``Moved`` when it changed under way."""
        seen = Gathered()
        offset, total, limit = 0, -1, self._settings.page_size
        for _ in range(_MAX_PAGES):
            query = {"limit": limit, "offset": offset, "sort": "sourcedId", "orderBy": "asc"}
            if since:
                query["filter"] = f"dateLastModified>='{since}'"
            answer, items = self._page(name, query)
            told = _count(answer)
            if told is not None and total >= 0 and told != total:
                raise Moved(name)
            total = told if told is not None else total
            seen.add(marks([_text(item.get("sourcedId")) for item in items]))
            if items:
                yield items
            offset += len(items)
            more = 'rel="next"' in answer.headers.get("link", "").replace("rel=next", 'rel="next"')
            if not items or (total >= 0 and offset >= total) or (total < 0 and not more and "link" in answer.headers):
                break
        # An object that came twice is merged later; one that slipped between two pages would be missing for ever.
        if total >= 0 and len(np.unique(seen.all())) != total:
            raise Moved(name)

    def _page(self, name: str, query: Mapping[str, object]) -> tuple[HttpResponse, list[Json]]:
        """One page and what is on it; a hiccup is tried again here, so that it does not cost the pages before it."""
        for attempt in range(1, _PAGE_TRIES + 1):
            try:
                answer = self._get(f"{self._settings.base_url}/{name}?{urlencode(query)}")
                return answer, _items(answer, name)
            except PartnerUnavailable as error:
                pause = error.retry_after_s if error.retry_after_s is not None else float(attempt)
                if attempt == _PAGE_TRIES or pause > _LONGEST_WAIT_S:
                    raise
                self._wait(pause)
        raise AssertionError("the last attempt returns or raises")

    def _get(self, url: str) -> HttpResponse:
        answer = self._send(url)
        if answer.status == 401:
            # Expired, or taken back: one new token, then the refusal stands.
            self._tokens.forget()
            answer = self._send(url)
        self._note_time(answer)
        if answer.status == 200:
            return answer
        if answer.status in (408, 429) or answer.status >= 500:
            raise PartnerUnavailable(f"the platform answers HTTP {answer.status}", self._retry_after(answer))
        reason = "AUTH/TOKEN" if answer.status in (401, 403) else "ROSTER/REFUSED"
        raise PartnerRefused(reason, f"the platform refuses to give its roster (HTTP {answer.status})")

    def _send(self, url: str) -> HttpResponse:
        headers = {"Authorization": f"Bearer {self._tokens.current()}", "Accept": "application/json"}
        return self._http.request("GET", url, headers=headers, body=None, timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES)

    def _note_time(self, answer: HttpResponse) -> None:
        try:
            told = parsedate_to_datetime(answer.headers["date"])
        except (KeyError, ValueError):
            told = from_us(self._clock.now_us())
        told = told if told.tzinfo is not None else told.replace(tzinfo=UTC)
        if self.server_time is None:
            self.server_time = told

    @staticmethod
    def _retry_after(answer: HttpResponse) -> float | None:
        text = answer.headers.get("retry-after", "")
        return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else None


class Moved(Exception):
    """The collection changed between two of its pages: what was read of it may lack somebody."""


class Puller:
    """Brings what the platform has now, or has changed, as a package file in ``folder``."""

    def __init__(self, settings: RestSettings, http: HttpTransport, clock: Clock, folder: Path, wait: Wait) -> None:
        self._settings = settings
        self._http = http
        self._clock = clock
        self._folder = folder
        self._wait = wait
        self._told = folder.parent / "pulled.json"

    def pull(self, *, whole: bool = False) -> Generator[None, None, Path | None]:
        """Pull if it is time, all of it if it is time for that or asked for; the new package, or None.

        Yields now and then. Raises PartnerUnavailable, PartnerRefused.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        about = self._about()
        now_s = self._clock.now_us() / 1e6
        if now_s < float(about.get("next_s", 0)):
            return None
        whole = whole or now_s >= float(about.get("whole_s", 0)) or not about.get("since")
        since = "" if whole else str(about["since"])
        number = int(about.get("number", 0)) + 1
        target = self._folder / f"{PULLED}{number:06}-{'bulk' if whole else 'delta'}.zip"
        told, rows = yield from self._attempts(target, since)
        if whole:
            about["whole_s"] = now_s + self._settings.whole_every_hours * 3600
        about |= {"since": told, "next_s": now_s + self._settings.every_s, "number": number}
        part = target.with_name(target.name + ".part")
        if rows or whole:
            part.replace(target)
        else:
            part.unlink()
        self._keep(about)
        return target if rows or whole else None

    def _attempts(self, target: Path, since: str) -> Generator[None, None, tuple[str, int]]:
        for _ in range(_PULL_TRIES):
            pages = Pages(self._settings, self._http, self._clock, self._wait)
            part = target.with_name(target.name + ".part")
            try:
                with part.open("wb") as file:
                    part.chmod(0o600)
                    rows = yield from _lay_down(pages, file, since, self._folder)
            except Moved:
                continue
            begun = pages.server_time or from_us(self._clock.now_us())
            return (begun - _OVERLAP).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"), rows
        raise PartnerUnavailable("the platform's roster changes while it is read; tried again later", 60.0)

    def _about(self) -> dict[str, Any]:
        try:
            found = json.loads(self._told.read_text("utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return cast("dict[str, Any]", found) if isinstance(found, dict) else {}

    def _keep(self, about: dict[str, Any]) -> None:
        write_whole(self._told, json.dumps(about).encode())


def _lay_down(pages: Pages, file: IO[bytes], since: str, folder: Path) -> Generator[None, None, int]:
    """Write the collections as the files of a package; how many rows there are."""
    mode, count, role_count = ("delta" if since else "bulk"), 0, 0
    present: list[str] = []
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", newline="", dir=folder) as roles,
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        role_writer = csv.writer(roles)
        role_writer.writerow(COLUMNS["roles"])
        for name in _COLLECTIONS:
            found = pages.collection(name, since)
            try:
                page = next(found, None)
            except PartnerRefused as error:
                # Birth dates have a scope of their own, and not every platform has every collection.
                if name in _REQUIRED or error.reason.startswith("EGRESS"):
                    raise
                continue
            present.append(name)
            with archive.open(f"{name}.csv", "w", force_zip64=True) as member:
                text = io.TextIOWrapper(member, "utf-8", newline="")
                writer = csv.writer(text)
                writer.writerow(COLUMNS[name])
                while page is not None:
                    writer.writerows(_rows(name, page))
                    if name == "users":
                        held = list(_roles(page))
                        role_count += len(held)
                        role_writer.writerows(held)
                    count += len(page)
                    yield
                    page = next(found, None)
                text.flush()
                text.detach()
        if role_count:
            roles.seek(0)
            with archive.open("roles.csv", "w", force_zip64=True) as member:
                while piece := roles.read(1 << 16):
                    member.write(piece.encode())
            present.append("roles")
        lines = ["propertyName,value", "manifest.version,1.0", "oneroster.version,1.2"]
        archive.writestr("manifest.csv", "\n".join([*lines, *(f"file.{name},{mode}" for name in present), ""]))
    return count


def _rows(name: str, page: Iterable[Json]) -> Iterator[list[str]]:
    for item in page:
        yield [_cell(item, column) for column in COLUMNS[name]]


def _roles(page: Iterable[Json]) -> Iterator[list[str]]:
    for user in page:
        for role in _objects(user.get("roles")):
            yield [
                _text(user.get("sourcedId")),
                _text(user.get("status")),
                _text(role.get("role")),
                _id(role.get("org")),
            ]


_REFERENCES = {
    "parentSourcedId": "parent", "orgSourcedId": "org", "schoolYearSourcedId": "schoolYear",
    "schoolSourcedId": "school", "courseSourcedId": "course", "userSourcedId": "user", "classSourcedId": "class",
    "primaryOrgSourcedId": "primaryOrg",
}  # fmt: skip
_LISTS = {"termSourcedIds": "terms", "agentSourcedIds": "agents", "orgSourcedIds": "orgs"}


def _cell(item: Json, column: str) -> str:
    """One cell of the package from an object of the REST binding; passwords are never asked for."""
    if column in _REFERENCES:
        return _id(item.get(_REFERENCES[column]))
    if column in _LISTS:
        return ",".join(filter(None, map(_id, _objects(item.get(_LISTS[column])))))
    value = item.get(column)
    if isinstance(value, list):
        return ",".join(map(_text, cast("list[object]", value)))
    return _text(value)


def _id(value: object) -> str:
    return _text(cast("Json", value).get("sourcedId")) if isinstance(value, dict) else ""


def _objects(value: object) -> list[Json]:
    listed = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("Json", one) for one in listed if isinstance(one, dict)]


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) else ""


def _items(answer: HttpResponse, name: str) -> list[Json]:
    found = _object(answer)
    listed = found.get(name)
    if not isinstance(listed, list):
        raise PartnerUnavailable(f"the platform's answer has no list of {name}")
    return _objects(cast("list[object]", listed))


def _object(answer: HttpResponse) -> Json:
    try:
        found: object = json.loads(answer.body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise PartnerUnavailable("the platform's answer is not JSON, or is cut off") from None
    if not isinstance(found, dict):
        raise PartnerUnavailable("the platform's answer is not a JSON object")
    return cast("Json", found)


def _no_constant(_text: str) -> None:
    raise ValueError


def _count(answer: HttpResponse) -> int | None:
    text = answer.headers.get("x-total-count", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
