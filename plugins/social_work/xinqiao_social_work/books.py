"""The agency's own books of a month: a line a service, session or referral, to be compared with what the gateway has."""

import re
from collections.abc import Iterator
from typing import BinaryIO

from xinqiao.adapters.books import in_parts, revision
from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files import FileRefused, Findings, Place, Row
from xinqiao.adapters.files.cells import matching
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse
from xinqiao.api.casefile.v1.plan_pb2 import ENTRY_KIND_SESSION
from xinqiao.api.exchange.v1 import activity_service_pb2 as activity
from xinqiao.api.exchange.v1.exchange_service_pb2 import PackageRecord, SubmitPackageRequest
from xinqiao_social_work import wire
from xinqiao_social_work.rows import code_of, own_id, rows_of
from xinqiao_social_work.settings import SocialWorkSettings

_MONTH = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])", re.ASCII)
_STUDENT = re.compile(r"students/[a-z2-7]{26}", re.ASCII)
_REFERRAL = re.compile(r"referrals/[A-Za-z0-9_-]{1,64}", re.ASCII)
_MOST = 10_000


def read_books(
    stream: BinaryIO, file_name: str, label: str, settings: SocialWorkSettings, made_s: int = 0,
    expected: int | None = None,
) -> list[ReadResponse]:  # fmt: skip
    """The books as the gateway takes them; ``made_s`` is when the file was written, seconds since 1970 UTC.

    One bad row refuses all of them, whatever the settings: what is compared must be the agency's books and no part of
    them. Raises FileRefused, with every such row.
    """
    findings = Findings()
    months: dict[str, dict[str, PackageRecord]] = {}
    nil: set[str] = set()
    for row in rows_of(stream, file_name, label, settings, wire.BOOK_COLUMNS, findings, expected):
        try:
            _add(row, months, nil)
        except RecordRejected as error:
            findings.reject(error)
    findings.settle()
    if not months:
        raise FileRefused("DATA/EMPTY", "has no line; a month of nothing says so in the column 零报告", Place(label))
    books = SubmitPackageRequest(exchange=settings.exchange, revision=revision(made_s))
    return [
        ReadResponse(partner_package=part)
        for month, lines in months.items()
        for part in in_parts(books, month, list(lines.values()))
    ]


def _add(row: Row, months: dict[str, dict[str, PackageRecord]], nil: set[str]) -> None:
    """Put what a row says to its month. Raises RecordRejected."""
    month = matching(row, wire.MONTH.name, _MONTH, "must be a month written YYYY-MM, as in 2026-10")
    lines = months.setdefault(month, {})
    says_nil = row.text(wire.NIL.name, optional=True).strip() in wire.YES
    if (says_nil and lines) or month in nil:
        raise row.reject(wire.NIL.name, "DATA/NIL", "says that there was nothing, and there are lines of this month")
    if says_nil:
        nil.add(month)
        return
    for record in _records(row):
        if record.source in lines:
            raise row.reject(wire.ROW.name, "DATA/DUPLICATE", "stands twice in the books of this month")
        lines[record.source] = record


def _records(row: Row) -> Iterator[PackageRecord]:
    """What a line is about: a referral; or a service, and for a session of a student the gateway knows its entry too."""
    word, number = row.text(wire.KIND.name).strip(), own_id(row, wire.ROW)
    if word in wire.REFERRAL_KIND:
        record = PackageRecord(source=f"referral:{number}".replace("/", ":"))
        record.referral = matching(row, wire.ITEM.name, _REFERRAL, "must be the referrals/… as the gateway gave it")
        record.student.name = matching(row, wire.STUDENT.name, _STUDENT, "must be the students/… of the referral")
        state = code_of(row, wire.STATE, wire.STATES)
        record.state = state
        yield record
        return
    log = next((each for each in wire.LOGS if word in each.words), None)
    if log is None:
        raise row.reject(wire.KIND.name, "DATA/CODE", f"must be 转介 or a log: {wire.known_words()}")
    source, day = f"{log.id}/{number}", row.date(wire.DAY.name).isoformat()
    record = PackageRecord(source=source.replace("/", ":"))
    attendances, persons = (
        1 if log.one_person else _count(row, column.name) for column in (wire.ATTENDANCES, wire.PERSONS)
    )
    service = activity.Activity(
        source=source, kind=log.kind, day=day, times=_count(row, wire.TIMES.name), attendances=attendances,
        persons=persons,
    )  # fmt: skip
    record.service.CopyFrom(service)
    yield record
    if log.id == "session" and row.text(wire.STUDENT.name, optional=True).strip():
        entry = PackageRecord(source=f"{record.source}:entry", entry_kind=ENTRY_KIND_SESSION, day=day)
        entry.student.name = matching(row, wire.STUDENT.name, _STUDENT, "must be the students/… as the gateway gave it")
        yield entry


def _count(row: Row, name: str) -> int:
    return row.integer(name, 0, _MOST, optional=True) or 0
