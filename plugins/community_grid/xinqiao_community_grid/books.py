"""A station's own books of a month: which visits it made, to be compared with those that the gateway has."""

import re
from collections.abc import Iterator

from xinqiao.adapters.books import in_parts
from xinqiao.adapters.files import Row
from xinqiao.adapters.files.cells import matching, yes_or_no
from xinqiao.adapters.intray import Letter, rejected
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse
from xinqiao.api.casefile.v1.plan_pb2 import ENTRY_KIND_GRID_VISIT
from xinqiao.api.common.v1.types_pb2 import StudentRef
from xinqiao.api.exchange.v1.exchange_service_pb2 import PackageRecord, SubmitPackageRequest
from xinqiao_community_grid.wire import RECORD, STUDENT

_MONTH = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])", re.ASCII)


class Books:
    """The books that one letter brings, by month."""

    def __init__(self, exchange: str) -> None:
        self._exchange = exchange
        self._found: dict[str, dict[str, PackageRecord]] = {}
        self._nil: set[str] = set()

    def add(self, row: Row) -> None:
        """One line. Raises RecordRejected."""
        month = matching(row, "month", _MONTH, "must be a month written YYYY-MM, as in 2026-10")
        lines = self._found.setdefault(month, {})
        if yes_or_no(row, "nil", optional=True):
            if lines or row.text("record", optional=True).strip():
                raise row.reject("nil", "DATA/NIL", "says that there was no visit, and there are visits; say no")
            self._nil.add(month)
            return
        record = matching(row, "record", RECORD, "letters, digits, . _ : - ; at most 64")
        if month in self._nil:
            raise row.reject("nil", "DATA/NIL", "an earlier row says that there was no visit in this month")
        if record in lines:
            raise row.reject("record", "DATA/DUPLICATE", "stands twice in the books of this month")
        student = matching(row, "student", STUDENT, "the student code of the task sheet (students/...)")
        lines[record] = PackageRecord(
            source=record, student=StudentRef(name=student), entry_kind=ENTRY_KIND_GRID_VISIT,
            day=row.date("day").isoformat(),
        )  # fmt: skip

    def brought(self, letter: Letter, *, broken: bool) -> Iterator[ReadResponse]:
        """As the gateway takes them. Books with a ``broken`` row are not the station's books: they come whole or not."""
        if broken and self._found:
            message = "the books are compared whole: mend the rows that were refused and send all of them again"
            yield ReadResponse(rejected=rejected(letter, "books", "DATA/INCOMPLETE", message))
            return
        books = SubmitPackageRequest(exchange=self._exchange, revision=letter.number)
        for month, lines in self._found.items():
            for part in in_parts(books, month, list(lines.values())):
                yield ReadResponse(partner_package=part)
