"""The league's JSON: what a request looks like, and what its answers and monthly counts must be."""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, cast

from pydantic import Field, ValidationError, field_validator, model_validator

from xinqiao.adapters.books import in_parts
from xinqiao.adapters.errors import PartnerRefused, RecordRejected
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest, Origin, ReadResponse, RecallAnswer, Rejected
from xinqiao.api.casefile.v1.consent_pb2 import SignedRecallReceipt
from xinqiao.api.casefile.v1.team_pb2 import TASK_STATE_CANCELLED
from xinqiao.api.casefile.v1.team_service_pb2 import ReportTaskRequest
from xinqiao.api.exchange.v1 import activity_service_pb2 as pb
from xinqiao.api.exchange.v1.exchange_service_pb2 import PackageRecord, SubmitPackageRequest
from xinqiao.config.loader import Strict
from xinqiao.contract.clock import BEIJING

Result = Literal["found", "done", "cannot"]
Why = Literal["NO_VOLUNTEERS", "TOO_FAR", "NOT_OUR_WORK", "OTHER"]

RESULTS: Final[Mapping[Result, str]] = {
    "found": "已找到志愿者队伍 (a group of volunteers was found)",
    "done": "已完成 (done)",
}
"""What ends a request, in the words of the report; ``cannot`` ends none."""

AUDIENCES: Final[Mapping[str, pb.Audience.ValueType]] = {
    "students": pb.AUDIENCE_STUDENTS, "parents": pb.AUDIENCE_PARENTS, "public": pb.AUDIENCE_PUBLIC,
}  # fmt: skip

DRILL: Final = "【演练 DRILL】"
"""Stands where a person looks: nobody is in need."""

_BASE64 = r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
_MONTH = r"^20[0-9]{2}-(0[1-9]|1[0-2])$"
_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_TASK = r"^tasks/[A-Za-z0-9_-]{1,64}$"
_RECALL = r"^recalls/[A-Za-z0-9_-]{1,64}$"
_ABOUT: Final = {
    "answers": ("request", _TASK),
    "receipts": ("recall", _RECALL),
    "activities": ("id", _ID),
    "books": ("month", _MONTH),
}
_SEQ: Final = 2**53
_PHONE = re.compile(r"(?<![0-9])1[3-9][0-9]{9}(?![0-9])")


class Answer(Strict):
    """What the league says about a request: the group is a number of its own, never a person's name."""

    seq: int = Field(ge=1, lt=_SEQ)
    request: str = Field(pattern=_TASK)
    result: Result
    group: str = Field(default="", pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$")
    volunteers: int = Field(default=0, ge=0, le=10_000)
    why: Why = "OTHER"
    words: str = Field(default="", max_length=1000)

    @field_validator("words")
    @classmethod
    def _no_number(cls, value: str) -> str:
        if _PHONE.search(value):
            raise ValueError("a telephone number has no place in an answer")
        return value

    def response(self) -> ReadResponse:
        """The end of the task; or, where the league cannot help, a person's affair: the need is still there."""
        if self.result == "cannot":
            message = f"the league cannot help with {self.request}; hand the task to another holder"
            rejected = Rejected(source="answers", place=self.request, reason=f"CANNOT/{self.why}", message=message)
            return ReadResponse(rejected=rejected, origin=Origin(source="answers", series=self.request))
        parts = [RESULTS[self.result]]
        parts += [f"队伍 group: {self.group}"] if self.group else []
        parts += [f"人数 volunteers: {self.volunteers}"] if self.volunteers else []
        parts += [self.words] if self.words.strip() else []
        report = ReportTaskRequest(name=self.request, report="; ".join(parts))
        return ReadResponse(task_report=report, origin=_origin("answers", self.seq, self.request))


class Counts(Strict):
    """What one group did in one month, as counts."""

    seq: int = Field(ge=1, lt=_SEQ)
    id: str = Field(pattern=_ID)
    month: str = Field(pattern=_MONTH)
    group: str = Field(pattern=_ID)
    audience: Literal["students", "parents", "public"] = "students"
    activities: int = Field(ge=0, le=100_000)
    attendances: int = Field(ge=0, le=1_000_000)
    withdrawn: bool = False

    def activity(self) -> pb.Activity:
        """The counts under the first day of their month; a month without any activity is no activity."""
        return pb.Activity(
            source=f"month/{self.id}", kind=pb.ACTIVITY_KIND_VOLUNTEERING, day=f"{self.month}-01",
            series=f"group/{self.group}", audience=AUDIENCES[self.audience], times=self.activities,
            attendances=self.attendances, withdrawn=self.withdrawn or not self.activities,
        )  # fmt: skip

    def response(self) -> ReadResponse:
        """One activity."""
        request = pb.RecordActivitiesRequest(activities=[self.activity()])
        return ReadResponse(activities=request, origin=_origin("activities", self.seq, self.id))


class Line(Strict):
    """A line of the league's own books: what one of its groups did in the month."""

    id: str = Field(pattern=_ID)
    activities: int = Field(ge=1, le=100_000)
    attendances: int = Field(ge=0, le=1_000_000)


class Books(Strict):
    """The league's own books of one month, whole; a month of nothing says so."""

    seq: int = Field(ge=1, lt=2**31)
    month: str = Field(pattern=_MONTH)
    nil: bool = False
    lines: tuple[Line, ...] = Field(default=(), max_length=5000)

    @model_validator(mode="after")
    def _whole(self) -> "Books":
        if self.nil == bool(self.lines) or len({line.id for line in self.lines}) != len(self.lines):
            raise ValueError("books are nil or have lines, each with an id of its own")
        return self

    def responses(self, exchange: str) -> Iterator[ReadResponse]:
        """Beside the counts that were listed before, under the same ids; the higher ``seq`` corrects the lower."""
        records = [
            PackageRecord(
                source=line.id,
                service=pb.Activity(
                    source=f"month/{line.id}", kind=pb.ACTIVITY_KIND_VOLUNTEERING, day=f"{self.month}-01",
                    times=line.activities, attendances=line.attendances,
                ),
            )
            for line in self.lines
        ]  # fmt: skip
        books, origin = (
            SubmitPackageRequest(exchange=exchange, revision=self.seq),
            _origin("books", self.seq, self.month),
        )
        for part in in_parts(books, self.month, records):
            origin.last = not part.more
            yield ReadResponse(partner_package=part, origin=origin)


class Receipt(Strict):
    """The league's signed answer to a recall."""

    seq: int = Field(ge=1, lt=_SEQ)
    recall: str = Field(pattern=_RECALL)
    receipt: str = Field(pattern=_BASE64, max_length=8192)
    signature: str = Field(pattern=_BASE64, max_length=88)

    def response(self) -> ReadResponse:
        """The answer as it stands; whether its signature holds is the gateway's to judge."""
        signed = SignedRecallReceipt(
            receipt=base64.b64decode(self.receipt), signature=base64.b64decode(self.signature)
        )  # fmt: skip
        source = f"receipt/{hashlib.sha256(signed.SerializeToString()).hexdigest()[:24]}"
        answer = RecallAnswer(recall=self.recall, receipt=signed, source=source)
        return ReadResponse(recall_receipt=answer, origin=_origin("receipts", self.seq, self.recall))


def recall_body(request: DeliverRequest) -> bytes:
    """Which requests must be deleted, and until when it must be answered; nothing about the student."""
    recall = request.recall
    drill = request.drill or recall.drill
    body = {
        "recall": recall.name,
        "note": DRILL if drill else "",
        "requests": [item for item in recall.items if item.startswith("tasks/")],
        "until": _time(recall.due_us) if recall.due_us else "",
        "drill": drill,
    }
    return json.dumps(body, ensure_ascii=False, sort_keys=True).encode()


def request_body(request: DeliverRequest) -> bytes:
    """What is needed and until when: of the student nothing, not even a pseudonym that would join two requests.

    Raises RecordRejected for a task that says nothing that could be done.
    """
    task = request.task.task
    cancelled = task.state == TASK_STATE_CANCELLED
    if not task.what and not cancelled:
        raise RecordRejected("NOT_RELEASED", "the task came without CARE_TASK; look at the consent", "task.what")
    drill = request.drill or request.task.drill
    body = {
        "request": task.name,
        "state": "cancelled" if cancelled else "open",
        "need": (DRILL if drill else "") + ("" if cancelled else task.what),
        "until": _time(task.due_us) if task.due_us else "",
        "drill": drill,
    }
    return json.dumps(body, ensure_ascii=False, sort_keys=True).encode()


def receipt_of(data: bytes) -> str:
    """The league's id of a request. Raises PartnerRefused for an answer that is none."""
    found = _object(data).get("id")
    if not isinstance(found, str) or re.fullmatch(_ID, found) is None:
        raise PartnerRefused("DATA/FORMAT", 'the answer to a request must be {"id": its own id}')
    return found


def page_of(data: bytes, name: str) -> tuple[list[dict[str, object]], bool]:
    """The items of a page and whether there are more. Raises PartnerRefused for what is no page."""
    page = _object(data)
    items, more = page.get(name), page.get("more", False)
    if not isinstance(items, list) or not isinstance(more, bool):
        raise PartnerRefused("DATA/FORMAT", f'a page must be {{"{name}": [items], "more": true or false}}')
    found = cast("list[object]", items)
    if not all(isinstance(item, dict) for item in found):
        raise PartnerRefused("DATA/FORMAT", f"an item of {name} is no object")
    return cast("list[dict[str, object]]", found), more


def sequence_of(item: Mapping[str, object], name: str) -> int:
    """The number that puts an item in its order. Raises PartnerRefused: without it nothing can be skipped or kept."""
    seq = item.get("seq")
    if type(seq) is not int or not 1 <= seq < _SEQ:
        raise PartnerRefused("DATA/FORMAT", f"an item of {name} has no seq: a whole number from 1 that only rises")
    return seq


def read_answer(item: Mapping[str, object]) -> ReadResponse:
    """An answer as the gateway takes it, or why not."""
    try:
        return Answer.model_validate(item, strict=True).response()
    except ValidationError as error:
        return _faulty("answers", item, error)


def read_books(item: Mapping[str, object], exchange: str) -> Sequence[ReadResponse]:
    """Books as the gateway takes them, or why not: whole, for a book with a bad line is not the league's book."""
    try:
        return list(Books.model_validate(_tupled(item), strict=True).responses(exchange))
    except ValidationError as error:
        return [_faulty("books", item, error)]


def findings_body(rejected: Sequence[Rejected]) -> bytes:
    """What of the league's books does not agree: its own id, or ours, and why."""
    found = [{"id": each.place, "reason": each.reason, "message": each.message} for each in rejected]
    return json.dumps({"findings": found}, ensure_ascii=False, sort_keys=True).encode()


def read_receipt(item: Mapping[str, object]) -> ReadResponse:
    """A receipt as the gateway takes it, or why not."""
    try:
        return Receipt.model_validate(item, strict=True).response()
    except ValidationError as error:
        return _faulty("receipts", item, error)


def read_counts(item: Mapping[str, object], month: str) -> Counts | ReadResponse:
    """Counts, or why not: ``month`` is the newest there can be any of."""
    try:
        counts = Counts.model_validate(item, strict=True)
    except ValidationError as error:
        return _faulty("activities", item, error)
    if counts.month > month:
        return _rejected("activities", item, "month", "DATA/DATE", "month has not come yet; list what was done")
    return counts


def _faulty(name: str, item: Mapping[str, object], error: ValidationError) -> ReadResponse:
    """The first fault by field: a key of ours, or none of them; never what stands there."""
    first = error.errors(include_input=False, include_context=False, include_url=False)[0]
    known = {name for model in (Answer, Counts, Receipt, Books) for name in model.model_fields}
    field = str(first["loc"][0]) if first["loc"] and first["loc"][0] in known else "an unknown field"
    reason = {"missing": "DATA/MISSING", "extra_forbidden": "DATA/FIELD"}.get(first["type"], "DATA/VALUE")
    message = f"{field} is not what the wire format says; see the plugin's README, mend it and list it again"
    return _rejected(name, item, field, reason, message)


def _origin(name: str, seq: object, about: str) -> Origin:
    """An item of a list; a later one about the same corrects it."""
    return Origin(source=f"{name}@{seq}", places=[f"seq {seq}"], series=f"{name}/{about}", last=True)


def _rejected(name: str, item: Mapping[str, object], field: str, reason: str, message: str) -> ReadResponse:
    origin = _origin(name, item.get("seq"), _about(name, item))
    said = Rejected(source=origin.source, place=f"{origin.places[0]}, {field}", reason=reason, message=message)
    return ReadResponse(rejected=said, origin=origin)


def _about(name: str, item: Mapping[str, object]) -> str:
    """What an item is about, where that can be told; else it is corrected by none."""
    key, pattern = _ABOUT[name]
    about = item.get(key)
    return about if isinstance(about, str) and re.fullmatch(pattern, about) else f"seq {item.get('seq')}"


def _tupled(item: Mapping[str, object]) -> dict[str, object]:
    """Strict validation takes a list for no tuple."""
    return {
        key: tuple(cast("list[object]", value)) if isinstance(value, list) else value for key, value in item.items()
    }


def _object(data: bytes) -> dict[str, object]:
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise PartnerRefused("DATA/FORMAT", "the league's answer is not JSON in UTF-8; check base_url") from None
    if not isinstance(value, dict):
        raise PartnerRefused("DATA/FORMAT", "the league's answer is no JSON object; check base_url")
    return cast("dict[str, object]", value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


def _time(us: int) -> str:
    return datetime.fromtimestamp(us / 1e6, UTC).astimezone(BEIJING).isoformat(timespec="minutes")
