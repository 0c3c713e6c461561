"""What a person should know about a file: each defect by place, reason and remedy, as ``rejected`` items."""

import csv
import io
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files.places import Finding, Findings, Place
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse, Rejected

_LISTED = 100
_HEADER_BYTES = 256 * 1024


class Notes:
    """Defects of one file, the first ``limit`` listed and all counted."""

    def __init__(self, source: str, limit: int = _LISTED) -> None:
        self._source = source
        self._limit = limit
        self._items: list[tuple[bool, Rejected]] = []
        self._more = 0
        self._waiting: list[tuple[Place, str, str, bool]] | None = None
        self.delta = False
        """Whether the file is a roster delta: set by who opens it."""

    def add(self, place: Place, reason: str, message: str, *, refused: bool = False) -> None:
        """``refused``: something was not taken because of it; else it was read past."""
        if self._waiting is not None:
            self._waiting.append((place, reason, message, refused))
        elif len(self._items) < self._limit:
            self._items.append((refused, rejected(self._source, place, reason, message)))
        else:
            self._more += 1

    @contextmanager
    def by_row(self) -> Generator[None, None, None]:
        """What is added meanwhile is listed row by row: rows that are judged together are judged column by column."""
        self._waiting = waiting = list[tuple[Place, str, str, bool]]()
        try:
            yield
        finally:
            self._waiting = None
            for place, reason, message, refused in sorted(waiting, key=lambda each: each[0].row or 0):
                self.add(place, reason, message, refused=refused)

    def add_findings(self, findings: Findings, *, proven: bool = False) -> None:
        """Take over the rows a reader rejected, then its warnings; a ``proven`` file cannot have been cut off."""
        self._extend(findings.rejected, findings.rejected_count, refused=True)
        idle = [found for found in findings.warnings if proven and found.reason == "DATA/TRUNCATED"]
        self._extend([found for found in findings.warnings if found not in idle], findings.warning_count - len(idle))

    def items(self) -> list[tuple[bool, Rejected]]:
        """Each defect with whether it cost a row, then how many are not listed."""
        items = list(self._items)
        if self._more:
            message = f"{self._more} more defects of this file are not listed; mend those listed and send it again"
            items.append((True, rejected(self._source, Place(self._source), "DATA/MORE", message)))
        return items

    def responses(self, refusal: RecordRejected | None = None) -> Iterator[ReadResponse]:
        """The items, then how many are not listed, then why the whole file was refused, if it was."""
        items = [item for _, item in self.items()]
        if refusal is not None:
            place = refusal.place if isinstance(refusal.place, Place) else Place(self._source)
            items.append(rejected(self._source, place, refusal.reason, f"whole file refused: {refusal.message}"))
        for item in items:
            yield ReadResponse(rejected=item)

    def _extend(self, findings: Iterable[Finding], count: int, *, refused: bool = False) -> None:
        listed = 0
        for finding in findings:
            listed += 1
            self.add(finding.place, finding.reason, finding.message, refused=refused)
        self._more += count - listed


def rejected(source: str, place: Place, reason: str, message: str) -> Rejected:
    """One item; the place within the source as ``sheet s, row n, column c``."""
    inner = Place(place.file if place.file != source else "", place.sheet, place.row, place.column)
    return Rejected(source=source, place=str(inner).removeprefix(": "), reason=reason, message=message)


def header_cells(stream: BinaryIO, encoding: str) -> list[str]:
    """The cells of the first line that holds something, to choose what to read by; the real reader judges them.

    Bytes that are not of ``encoding`` do not raise here: the reader names them with their row.
    """
    text = stream.read(_HEADER_BYTES).decode(encoding, "replace").lstrip("\ufeff")
    for line in io.StringIO(text, newline=None):
        cells = next(csv.reader([line.rstrip("\n")]), list[str]())
        if any(cell.strip() for cell in cells):
            return cells
    return []
