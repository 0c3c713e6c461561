"""CSV files from partners: strict decoding by the declared encoding, strict quoting, bounded memory."""

import csv
import io
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, Literal

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files.header import knows_any, match_header
from xinqiao.adapters.files.places import FileRefused, Findings, Place
from xinqiao.adapters.files.rows import (
    Column,
    Extra,
    Layout,
    Row,
    TableLimits,
    check_cells,
    is_blank,
    refuse,
)

Encoding = Literal["utf-8", "gb18030"]

_DEFAULT_LIMITS = TableLimits()
_UTF8_MARK = b"\xef\xbb\xbf"
_GB18030_MARK = b"\x84\x31\x95\x33"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")
# Three lines of real GB18030 text are all valid UTF-8 by accident about once in 100,000 files.
_UTF8_LINES_TO_REFUSE = 3
_TOGETHER = 1000  # rows whose columns are read at once


def read_table(
    source: BinaryIO | Path,
    *,
    encoding: Encoding,
    columns: Sequence[Column],
    name: str,
    extra: Extra = "refuse",
    limits: TableLimits = _DEFAULT_LIMITS,
    findings: Findings | None = None,
    expected_rows: int | None = None,
) -> Iterator[Row]:
    """Rows of a comma-separated file, one at a time; memory does not grow with the file.

    ``name`` stands for the file in every message. ``extra`` says what to do with unknown columns: refuse the file,
    ignore them, or ignore and list them as warnings. With ``findings`` a bad row is listed there and skipped (call
    ``findings.settle`` at the end); without, it is raised. ``expected_rows`` is the row count of a manifest.

    Nothing is read before the first row is asked for. Raises ``FileRefused`` for what spoils the whole file, also at
    its very end: commit nothing before the iterator has ended.
    """
    if isinstance(source, Path):
        with source.open("rb") as stream:
            yield from _Reader(stream, encoding, columns, name, extra, limits, findings).rows(expected_rows)
    else:
        yield from _Reader(source, encoding, columns, name, extra, limits, findings).rows(expected_rows)


def read_columns(
    source: BinaryIO,
    *,
    encoding: Encoding,
    columns: Sequence[Column],
    name: str,
    extra: Extra = "refuse",
    limits: TableLimits = _DEFAULT_LIMITS,
    findings: Findings | None = None,
) -> Iterator[tuple[list[int], list[list[str]]]]:
    """As ``read_table``, without a ``Row``: a thousand rows at once, their numbers and the cells of each of ``columns``.

    For tables of millions of rows. An optional column that the file lacks gives ``""``. Every check is the same.
    """
    yield from _Reader(source, encoding, columns, name, extra, limits, findings).columns()


class _Reader:
    def __init__(
        self,
        stream: BinaryIO,
        encoding: Encoding,
        columns: Sequence[Column],
        name: str,
        extra: Extra,
        limits: TableLimits,
        findings: Findings | None,
    ) -> None:
        self._lines = _Lines(stream, encoding, name, limits)
        self._columns = columns
        self._name = name
        self._extra: Extra = extra
        self._limits = limits
        self._report = findings
        self._findings = findings or Findings()

    def rows(self, expected: int | None) -> Iterator[Row]:
        for number, rows, layout in self._checked(expected):
            for at, cells in enumerate(rows, number):
                yield Row(at, cells, layout)

    def columns(self) -> Iterator[tuple[list[int], list[list[str]]]]:
        numbers = list[int]()
        waiting = [list[str]() for _ in self._columns]
        for number, rows, layout in self._checked(None):
            # Cell by cell into its column: texts in a list are nothing for the garbage collector to walk through.
            numbers.extend(range(number, number + len(rows)))
            for column, cells in zip(self._columns, waiting, strict=True):
                place = layout.index.get(column.name)
                cells.extend([""] * len(rows) if place is None else map(itemgetter(place), rows))
            if len(numbers) >= _TOGETHER:
                yield numbers, waiting
                numbers, waiting = [], [list[str]() for _ in self._columns]
        if numbers:
            yield numbers, waiting

    def _checked(self, expected: int | None) -> Iterator[tuple[int, list[list[str]], Layout]]:
        """Rows that follow one another, with the number of the first."""
        layout: Layout | None = None
        count = blank = 0
        for first, rows, usual in self._blocks():
            if usual and layout is not None and {layout.width} == set(map(len, rows)) and _begin(rows):
                count += len(rows)
                yield first, rows, layout
                continue
            for number, cells in enumerate(rows, first):
                if not (cells and cells[0].strip()) and is_blank(cells):
                    blank += 1
                    continue
                if layout is None:
                    layout = self._header(cells, number)
                    continue
                count += 1
                if not usual or len(cells) != layout.width:
                    try:
                        check_cells(number, cells, layout, self._limits)
                    except RecordRejected as error:
                        if self._report is None:
                            raise
                        self._report.reject(error)
                        continue
                yield number, [cells], layout
        if layout is None:
            raise refuse("DATA/EMPTY", "the file holds no header and no rows", self._name)
        self._finish(count, blank, expected)

    def _blocks(self) -> Iterator[tuple[int, list[list[str]], bool]]:
        """Records: their first row's number, and whether no cell needs a look. What is odd comes one by one."""
        lines, most = self._lines, self._limits.rows + 1
        reader = csv.reader(iter(lines), strict=True)
        while True:
            rows = _parsed(lines.block())
            if rows and lines.row + len(rows) - 1 <= most:
                lines.drop()
                lines.row += len(rows)
                yield lines.row - len(rows), rows, True
                continue
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise self._syntax(str(error)) from None
            number, usual = lines.row, not lines.unusual
            lines.row, lines.in_record, lines.unusual = number + 1, 0, False
            # One row for the header; a blank row costs as much as a full one.
            if number > most:
                raise refuse("DATA/TOO_MANY_ROWS", f"more than {self._limits.rows} rows; split the file", self._name)
            yield number, [cells], usual

    def _syntax(self, problem: str) -> FileRefused:
        row = self._lines.row
        if "new-line character" in problem:
            return refuse("DATA/LINE_END", "lines end with CR alone; save with LF or CR LF", self._name, row=row)
        if "field limit" in problem and self._lines.in_record == 1:
            message = f"a cell is longer than {self._limits.cell_bytes} bytes"
            return refuse("DATA/CELL_TOO_LONG", message, self._name, row=row)
        message = "a quoted cell that starts here is not closed, or text follows its closing quote"
        return refuse("DATA/QUOTE", message, self._name, row=row)

    def _header(self, cells: list[str], number: int) -> Layout:
        place = Place(self._name, None, number)
        try:
            return match_header(
                cells, self._columns, place, extra=self._extra, limits=self._limits, findings=self._findings
            )
        except FileRefused:
            other = self._lines.first_line_otherwise()
            if other is not None and knows_any(other.split(","), self._columns):
                raise FileRefused("DATA/ENCODING", self._lines.wrong_declaration(), place) from None
            raise

    def _finish(self, count: int, blank: int, expected: int | None) -> None:
        lines, place = self._lines, Place(self._name)
        if lines.encoding == "gb18030" and lines.utf8_lines >= _UTF8_LINES_TO_REFUSE and not lines.only_gb_lines:
            raise FileRefused("DATA/ENCODING", lines.wrong_declaration(), place)
        if expected is not None and expected != count:
            raise FileRefused("DATA/TRUNCATED", f"{count} rows, the manifest says {expected}; send it again", place)
        if count == 0:
            self._findings.warn(place, "DATA/EMPTY", "the file has a header and no rows")
        if blank:
            self._findings.warn(place, "DATA/EMPTY", f"{blank} blank row(s) skipped")
        if lines.utf8_lines:
            message = f"{lines.utf8_lines} line(s) are also valid UTF-8; check the names from the row named here"
            self._findings.warn(Place(self._name, None, lines.utf8_row), "DATA/ENCODING", message)
        if not lines.ended:
            self._findings.warn(place, "DATA/TRUNCATED", "no line end after the last row; the upload may be cut off")


def _begin(rows: list[list[str]]) -> bool:
    """Whether each row's first cell holds something: then none of them is blank."""
    first = list(map(itemgetter(0), rows))
    return all(first) and not any(map(str.isspace, first))


def _parsed(lines: list[str]) -> list[list[str]]:
    """The records of a block; none where a record does not end in it, or is no CSV: then it is read line by line."""
    try:
        return list(csv.reader(lines, strict=True))
    except csv.Error:
        return []


class _Lines:
    """Decoded lines for ``csv.reader``, with the row number of the record being read.

    Splitting the bytes at LF is safe: neither encoding has the byte 0x0A inside a character. ``unusual`` is set by a
    line whose cells must be looked at one by one: the others have no character and no length that could be refused.
    """

    def __init__(self, stream: BinaryIO, encoding: Encoding, name: str, limits: TableLimits) -> None:
        self.encoding: Encoding = encoding
        self.row = 1
        self.in_record = 0
        self.ended = True
        self.unusual = False
        self.utf8_lines = 0
        self.utf8_row: int | None = None
        self.only_gb_lines = 0
        self._stream = stream
        self._name = name
        self._limit = limits.line_bytes
        self._cell_limit = limits.cell_bytes
        self._first: bytes | None = None
        self._ahead = io.BytesIO()

    def block(self) -> list[str]:
        """The next lines, if each is complete, short and without a character to look at; they stay until ``drop``."""
        if self._first is None or self.encoding != "utf-8" or self._ahead.tell() < self._ahead.getbuffer().nbytes:
            return []
        raw = self._stream.read(self._cell_limit // 2)
        if raw and not raw.endswith(b"\n"):
            raw += self._stream.readline(self._limit + 1)
        self._ahead = io.BytesIO(raw)
        # In a block no longer than a cell may be, no cell and no line is.
        if not raw.endswith(b"\n") or len(raw) > self._cell_limit:
            return []
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            return []
        bare = text.replace("\n", "")
        if "\r" in bare:
            if text.count("\r") != text.count("\r\n"):
                return []
            bare = bare.replace("\r", "")
        if not bare.isprintable() or "\ufffd" in bare or "\ufffc" in bare:
            return []
        return text.splitlines(keepends=True)

    def drop(self) -> None:
        """The block was taken whole."""
        self.ended = True
        self._ahead = io.BytesIO()

    def _line(self) -> bytes:
        """The next line, what is left of a block first; the last piece of a block may go on in the stream."""
        raw = self._ahead.readline(self._limit + 1)
        if raw.endswith(b"\n") or len(raw) > self._limit:
            return raw
        return raw + self._stream.readline(self._limit + 1 - len(raw))

    def __iter__(self) -> Iterator[str]:
        limit, cell_limit = self._limit, self._cell_limit
        while raw := self._line():
            if len(raw) > cell_limit:
                self.unusual = True
                if len(raw) > limit:
                    message = f"a line is longer than {limit} bytes"
                    raise refuse("DATA/CELL_TOO_LONG", message, self._name, row=self.row)
            if self._first is None:
                raw = self._first = self._unmarked(raw)
            self.in_record += 1
            self.ended = raw.endswith(b"\n")
            text = raw.decode("ascii") if raw.isascii() else self._decode(raw)
            # The two that are printable and refused: a conversion has lost the character they stand for.
            if not text.rstrip("\r\n").isprintable() or "\ufffd" in text or "\ufffc" in text:
                self.unusual = True
            yield text

    def first_line_otherwise(self) -> str | None:
        """The first line in the encoding that was not declared, if it can be read so; only for a better message."""
        try:
            return (self._first or b"").decode("gb18030" if self.encoding == "utf-8" else "utf-8").rstrip("\r\n")
        except UnicodeDecodeError:
            return None

    def wrong_declaration(self) -> str:
        other = "gb18030" if self.encoding == "utf-8" else "utf-8"
        return f"declared {self.encoding}, but reads as {other}; correct the declaration or save the file anew"

    def _decode(self, raw: bytes) -> str:
        try:
            text = raw.decode(self.encoding)
        except UnicodeDecodeError as error:
            message = f"byte {error.start + 1} of the line is not {self.encoding}; save the file as {self.encoding}"
            raise refuse("DATA/ENCODING", message, self._name, row=self.row) from None
        if self.encoding == "gb18030":
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError:
                self.only_gb_lines += 1
            else:
                self.utf8_lines += 1
                self.utf8_row = self.utf8_row or self.row
        return text

    def _unmarked(self, raw: bytes) -> bytes:
        if raw.startswith(_UTF16_MARKS) or (len(raw) > 3 and (raw[1] == raw[3] == 0 or raw[0] == raw[2] == 0)):
            message = f"the file is UTF-16; save it as CSV in {self.encoding}"
            raise refuse("DATA/ENCODING", message, self._name, row=1)
        if raw.startswith(_UTF8_MARK):
            if self.encoding != "utf-8":
                raise refuse("DATA/ENCODING", self.wrong_declaration(), self._name, row=1)
            return raw[len(_UTF8_MARK) :]
        if self.encoding == "gb18030" and raw.startswith(_GB18030_MARK):
            return raw[len(_GB18030_MARK) :]
        return raw
