"""The adapter of one league: posts requests, and lists what it answered and what its groups did."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final, Literal

from xinqiao.adapters.books import BOOKS
from xinqiao.adapters.errors import PartnerRefused, PartnerUnavailable, RecordRejected
from xinqiao.adapters.protocols import AgencyContext
from xinqiao.adapters.transport import HttpResponse
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, DeliverResponse, ReadResponse, Rejected
from xinqiao.contract.clock import Clock, SystemClock, local_date
from xinqiao_youth_league import wire
from xinqiao_youth_league.settings import YouthLeagueSettings
from xinqiao_youth_league.wire import Counts

List = Literal["answers", "receipts", "activities", "books"]

_LISTS: Final = ("answers", "receipts", "activities", "books")
_CURSOR = re.compile(
    "answers:([0-9]{1,16}),receipts:([0-9]{1,16}),activities:([0-9]{1,16})(?:,books:([0-9]{1,16}))?", re.ASCII
)
_CHECK_S: Final = 5.0
_MOST_WAIT_S: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Cursor:
    """The number of the last item taken of each list."""

    answers: int = 0
    receipts: int = 0
    activities: int = 0
    books: int = 0

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Everything from the beginning for an empty text and for one that is not ours: what is taken twice is one."""
        found = _CURSOR.fullmatch(text)
        return cls(*(int(number or 0) for number in found.groups())) if found is not None else cls()

    def text(self) -> str:
        return ",".join(f"{name}:{getattr(self, name)}" for name in _LISTS)


class YouthLeagueAdapter:
    """Recipient, Source and Reporter over the league's REST endpoint; holds nothing between calls."""

    def __init__(self, settings: YouthLeagueSettings, context: AgencyContext, clock: Clock | None = None) -> None:
        self._settings = settings
        self._url = settings.base_url
        self._http = context.http
        self._clock = clock or SystemClock()

    def check(self) -> str:
        """Ask for an empty page."""
        wire.page_of(self._get("/answers?after=0&limit=1", _CHECK_S).body, "answers")
        return "youth league REST 1"

    def close(self) -> None:
        """Nothing is held."""

    def deliver(self, request: DeliverRequest, timeout_s: float) -> DeliverResponse:
        """Post what is needed, or what must be deleted; the key lets the league see that a repeat is the same request."""
        headers = {"Content-Type": "application/json; charset=utf-8", "Idempotency-Key": request.request_id}
        if request.WhichOneof("body") == "recall":
            path, body = "/recalls", wire.recall_body(request)
        else:
            path, body = "/requests", wire.request_body(request)
        answer = self._send("POST", path, headers, body, timeout_s)
        return DeliverResponse(receipt=wire.receipt_of(answer.body))

    def read(self, cursor: str) -> Iterator[ReadResponse]:
        """Yield answers, then counts, then the league's books, each list from its last number on."""
        at = Cursor.parse(cursor)
        for items in self._pages("answers", at.answers):
            for seq, item in items:
                at = replace(at, answers=seq)
                response = wire.read_answer(item)
                response.cursor = at.text()
                yield response
        for items in self._pages("receipts", at.receipts):
            for seq, item in items:
                at = replace(at, receipts=seq)
                response = wire.read_receipt(item)
                response.cursor = at.text()
                yield response
        month = local_date(self._clock.now_us()).isoformat()[:7]
        for items in self._pages("activities", at.activities):
            for seq, response in _counts(items, month):
                at = replace(at, activities=seq)
                response.cursor = at.text()
                yield response
        # After the counts: they are compared with what has come.
        for items in self._pages("books", at.books) if self._settings.books else ():
            for seq, item in items:
                found = wire.read_books(item, self._settings.exchange)
                yield from found[:-1]
                at = replace(at, books=seq)
                found[-1].cursor = at.text()
                yield found[-1]

    def report(self, rejected: Sequence[Rejected]) -> None:
        """Post what of the league's books does not agree; the key makes a repeat the same. All else asks its admin."""
        found = [each for each in rejected if each.source == BOOKS]
        if not found or not self._settings.books:
            return
        body = wire.findings_body(found)
        headers = {"Content-Type": "application/json; charset=utf-8", "Idempotency-Key": sha256(body).hexdigest()[:40]}
        try:
            self._send("POST", "/findings", headers, body, self._settings.timeout_s)
        except RecordRejected as error:
            raise PartnerRefused(error.reason, error.message) from None

    def _pages(self, name: List, after: int) -> Iterator[Sequence[tuple[int, Mapping[str, object]]]]:
        """What a list has after ``after``, a page at a time, in order; what comes twice is dropped."""
        more = True
        while more:
            path = f"/{name}?after={after}&limit={self._settings.page_size}"
            found, more = wire.page_of(self._get(path, self._settings.timeout_s).body, name)
            fresh = {wire.sequence_of(item, name): item for item in reversed(found)}
            items = [(seq, fresh[seq]) for seq in sorted(fresh) if seq > after]
            if not items:
                if more:
                    raise PartnerRefused(
                        "DATA/FORMAT", f"a page of {name} says that there are more and holds nothing new"
                    )
                return
            yield items
            after = items[-1][0]

    def _get(self, path: str, timeout_s: float) -> HttpResponse:
        return self._send("GET", path, {"Accept": "application/json"}, None, timeout_s)

    def _send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None, timeout_s: float
    ) -> HttpResponse:
        token = self._settings.token
        if token is not None:
            try:
                headers = {**headers, "Authorization": f"Bearer {token.reveal()}"}
            except (LookupError, PermissionError):
                raise PartnerRefused("CONFIG/SECRET", f"the token {token} cannot be read; set it") from None
        answer = self._http.request(method, self._url + path, headers=headers, body=body, timeout_s=timeout_s)
        if answer.status in (408, 425, 429) or answer.status >= 500:
            raise PartnerUnavailable(f"the league answered {answer.status}", _wait(answer))
        if answer.status in (409, 422) and method == "POST":
            raise RecordRejected(
                "PARTNER/REQUEST", f"the league does not take this request (HTTP {answer.status})", "task"
            )  # fmt: skip
        if answer.status not in (200, 201):
            raise PartnerRefused("PARTNER/STATUS", f"the league answered {answer.status}; check base_url and token")
        return answer


def _counts(items: Sequence[tuple[int, Mapping[str, object]]], month: str) -> Iterator[tuple[int, ReadResponse]]:
    """The counts of a page in their order, of one id only the last; a bad one in its place."""
    read = [(seq, wire.read_counts(item, month)) for seq, item in items]
    newest = {counts.id: seq for seq, counts in read if isinstance(counts, Counts)}
    for seq, counts in read:
        if not isinstance(counts, Counts):
            yield seq, counts
        elif newest[counts.id] == seq:
            yield seq, counts.response()


def _wait(answer: HttpResponse) -> float | None:
    """Retry-After in seconds, where it is one."""
    text = answer.headers.get("retry-after", "")
    return min(float(text), _MOST_WAIT_S) if re.fullmatch(r"[0-9]{1,6}", text) else None
