"""XLSX workbooks from partners: judged part by part before any library opens them, then read as a table."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import BinaryIO, Literal

from python_calamine import CalamineError, CalamineSheet, CalamineWorkbook

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files.archive import Archive, open_archive
from xinqiao.adapters.files.header import match_header
from xinqiao.adapters.files.places import FileRefused, Findings, Place
from xinqiao.adapters.files.plainrows import PlainRows
from xinqiao.adapters.files.rows import Cell, Column, Extra, Layout, Row, TableLimits, check_cells, is_blank, refuse
from xinqiao.adapters.files.sheetxml import SharedStrings, SheetScan, Start, walk
from xinqiao.adapters.files.zipdirectory import ArchiveLimits

_MAIN = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
_BOOK = "xl/workbook.xml"
_BOOK_LINKS = "xl/_rels/workbook.xml.rels"
_PICTURES = (".png", ".jpeg", ".jpg", ".gif", ".emf", ".wmf", ".bin", ".vml")
_ACTIVE = ("xl/vbaproject", "xl/macrosheets/", "xl/activex/", "xl/embeddings/", "xl/ctrlprops/")
_REMOTE = ("xl/externallinks/", "xl/connections", "xl/querytables/")
_MAGIC = (
    (b"\xd0\xcf\x11\xe0", "is an old .xls or a workbook with a password; save as .xlsx without password"),
    (b"%PDF", "is a PDF; export the table as .xlsx"),
    (b"{\\rtf", "is a text document; export the table as .xlsx"),
)
_EXACT = 1e15

HiddenSheets = Literal["refuse", "list"]


@dataclass(frozen=True, slots=True)
class WorkbookLimits:
    """Most that a workbook may hold: ``cells`` is rows x columns of the extent, ``characters`` all text of a sheet."""

    table: TableLimits = TableLimits()  # noqa: RUF009 - frozen
    cells: int = 4_000_000
    characters: int = 32 * 1024 * 1024
    archive: ArchiveLimits = ArchiveLimits(  # noqa: RUF009 - frozen
        archive_bytes=64 * 1024 * 1024,
        entries=500,
        entry_bytes=128 * 1024 * 1024,
        total_bytes=256 * 1024 * 1024,
    )


_DEFAULT_LIMITS = WorkbookLimits()


def read_workbook(
    source: BinaryIO | Path,
    *,
    columns: "Sequence[Column] | Callable[[list[str]], Sequence[Column]]",
    name: str,
    sheet: str | None = None,
    extra: Extra = "refuse",
    hidden_sheets: HiddenSheets = "list",
    limits: WorkbookLimits = _DEFAULT_LIMITS,
    findings: Findings | None = None,
) -> Iterator[Row]:
    """Rows of the one sheet that holds data, or of ``sheet``; the same ``Row`` as ``read_table`` yields.

    ``columns`` may be a function that says what to read of the header it is given.

    Hidden sheets with data are never read: they are listed as warnings in ``findings``, or refused with
    ``hidden_sheets="refuse"`` or without ``findings``. Formulas, error values, merged cells and data in hidden rows
    or columns of the sheet refuse the file, and so do macros, links to other files and any document type declaration.
    Dates count in the date system that the workbook declares. Errors are those of ``read_table``.
    """
    if isinstance(source, Path):
        with source.open("rb") as stream:
            yield from _Reader(stream, columns, name, sheet, extra, hidden_sheets, limits, findings).rows()
    else:
        yield from _Reader(source, columns, name, sheet, extra, hidden_sheets, limits, findings).rows()


@dataclass(slots=True)
class _Sheet:
    number: int
    name: str
    state: str
    link: str
    scan: SheetScan | None = None


@dataclass(slots=True)
class _Book:
    """Callbacks for the workbook part and its links."""

    sheets: list[_Sheet] = field(default_factory=list["_Sheet"])
    targets: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    linked: bool = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "sheet":
            state, link = attributes.get("state", "visible"), attributes.get("id", "")
            self.sheets.append(_Sheet(len(self.sheets) + 1, attributes.get("name", ""), state, link))
        elif name == "externalReference":
            self.linked = True

    def start_link(self, name: str, attributes: dict[str, str]) -> None:
        if name == "Relationship":
            kind = attributes.get("Type", "").rpartition("/")[2]
            self.targets[attributes.get("Id", "")] = (kind, attributes.get("Target", ""))


class _Reader:
    def __init__(
        self,
        stream: BinaryIO,
        columns: "Sequence[Column] | Callable[[list[str]], Sequence[Column]]",
        name: str,
        sheet: str | None,
        extra: Extra,
        hidden_sheets: HiddenSheets,
        limits: WorkbookLimits,
        findings: Findings | None,
    ) -> None:
        self._stream = stream
        self._columns = columns
        self._name = name
        self._wanted = sheet
        self._extra: Extra = extra
        self._hidden_sheets: HiddenSheets = "refuse" if findings is None else hidden_sheets
        self._limits = limits
        self._report = findings
        self._findings = findings or Findings()
        self._place = Place(name)

    def rows(self) -> Iterator[Row]:
        self._check_magic()
        with open_archive(self._stream, self._limits.archive, name=self._name) as archive:
            self._check_parts(archive)
            sheets = self._scan(archive)
        chosen = self._choose(sheets)
        label = str(chosen.number) if self._wanted is None else self._wanted
        self._judge(chosen, label)
        yield from self._table(self._values(sheets, chosen), label)

    def _check_magic(self) -> None:
        self._stream.seek(0)
        start = self._stream.read(512)
        for magic, message in _MAGIC:
            if start.startswith(magic):
                raise refuse("DATA/FILE_TYPE", message, self._name)
        if not start.startswith(b"PK"):
            looks = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
            what = "is a web page" if looks.startswith(b"<") else "is not a workbook"
            raise refuse("DATA/FILE_TYPE", f"{what}, whatever its name says; save it as .xlsx", self._name)

    def _check_parts(self, archive: Archive) -> None:
        names = archive.names()
        main: list[str] = []

        def start(name: str, attributes: dict[str, str]) -> None:
            kind = attributes.get("ContentType", "")
            if "main+xml" in kind or "macroEnabled" in kind or "vbaProject" in kind or "binary.main" in kind:
                main.append(kind)

        if "[Content_Types].xml" in names:
            with archive.open("[Content_Types].xml") as part:
                walk(part, self._place, start)
        if main != [_MAIN] or _BOOK not in names or _BOOK_LINKS not in names:
            raise refuse("DATA/FILE_TYPE", "is not a plain .xlsx workbook (macros, binary or other type)", self._name)
        for lowered in map(str.lower, names):
            if lowered.startswith(_ACTIVE):
                raise refuse("DATA/FILE_TYPE", "holds macros, controls or embedded files; send plain cells", self._name)
            if lowered.startswith(_REMOTE):
                raise refuse("DATA/FORMULA", "links to data outside the workbook; paste values", self._name)

    def _scan(self, archive: Archive) -> list[_Sheet]:
        """One pass over every part, which also proves all sizes and checksums; sheets come last, they need strings."""
        book = _Book()
        self._walk(archive, _BOOK, book.start)
        self._walk(archive, _BOOK_LINKS, book.start_link)
        if book.linked:
            raise refuse("DATA/FORMULA", "links to another workbook; paste values", self._name)
        strings = SharedStrings(self._limits.table, self._place)
        parts = self._sheet_parts(archive, book)
        string_parts = {_absolute(target) for kind, target in book.targets.values() if kind == "sharedStrings"}
        for name in archive.names():
            if name in string_parts:
                with archive.open(name) as part:
                    walk(part, self._place, strings.start, strings.end, strings.text)
            elif name not in parts:
                self._scan_other(archive, name)
        for name, sheet in parts.items():
            place = Place(self._name, str(sheet.number))
            sheet.scan = self._scan_sheet(archive, name, place, strings.lengths)
        return book.sheets

    def _scan_sheet(self, archive: Archive, name: str, place: Place, strings: list[int]) -> SheetScan:
        """Plain rows at once, all others by the parser. Where that is not exact enough, every cell by the parser."""
        scan = SheetScan(self._limits.table, place, strings, self._limits.cells)
        # The parser sees the other rows without their neighbours, so its refusal is not the last word.
        with suppress(FileRefused), archive.open(name) as part:
            walk(PlainRows(part, scan.take_plain), place, scan.start, scan.end, scan.text)
            scan.whole = True
        if scan.is_exact and scan.characters <= self._limits.characters:
            return scan
        scan = SheetScan(self._limits.table, place, strings, self._limits.cells)
        with archive.open(name) as part:
            walk(part, place, scan.start, scan.end, scan.text)
        return scan

    def _sheet_parts(self, archive: Archive, book: _Book) -> dict[str, _Sheet]:
        parts: dict[str, _Sheet] = {}
        names = set(archive.names())
        for sheet in book.sheets:
            kind, target = book.targets.get(sheet.link, ("", ""))
            part = _absolute(target)
            if kind in ("chartsheet", "dialogsheet"):
                continue
            if kind != "worksheet" or part not in names or part in parts or not part.endswith(".xml"):
                raise refuse("DATA/XML", f"sheet {sheet.number} has no content of its own; save anew", self._name)
            parts[part] = sheet
        if len({sheet.name.casefold() for sheet in book.sheets}) != len(book.sheets):
            raise refuse("DATA/SHEET", "two sheets have the same name", self._name)
        return parts

    def _scan_other(self, archive: Archive, name: str) -> None:
        if not name.lower().endswith(_PICTURES):
            self._walk(archive, name, None)
            return
        with archive.open(name) as part:
            before = b""
            while piece := part.read(64 * 1024):
                if b"<!doctype" in (before + piece).lower():
                    raise refuse("DATA/XML_DTD", "a part of the file declares a document type", self._name)
                before = piece[-16:]

    def _walk(self, archive: Archive, name: str, start: Start | None) -> None:
        with archive.open(name) as part:
            walk(part, self._place, start)

    def _choose(self, sheets: Sequence[_Sheet]) -> _Sheet:
        filled = [sheet for sheet in sheets if sheet.scan is not None and sheet.scan.cells]
        for sheet in filled:
            if sheet.state != "visible" and sheet.name != self._wanted:
                self._note_hidden(sheet)
        if self._wanted is not None:
            for sheet in sheets:
                if sheet.name == self._wanted and sheet.scan is not None:
                    return sheet
            raise refuse("DATA/SHEET", f"no sheet {self._wanted!r}, which the configuration names", self._name)
        visible = [sheet for sheet in filled if sheet.state == "visible"]
        if len(visible) > 1:
            numbers = ", ".join(str(sheet.number) for sheet in visible)
            raise refuse("DATA/SHEET", f"sheets {numbers} all hold data; name one or delete the others", self._name)
        if not visible:
            raise refuse("DATA/EMPTY", "no sheet holds data", self._name)
        return visible[0]

    def _note_hidden(self, sheet: _Sheet) -> None:
        place = Place(self._name, str(sheet.number))
        if self._hidden_sheets == "refuse":
            raise FileRefused("DATA/HIDDEN", "the sheet is hidden and holds data; show or delete it", place)
        self._findings.warn(place, "DATA/HIDDEN", "the sheet is hidden and holds data; it was not read")

    def _judge(self, sheet: _Sheet, label: str) -> None:
        scan = sheet.scan
        if scan is None:
            raise refuse("DATA/SHEET", "the sheet holds no cells", self._name, label)
        if sheet.state != "visible":
            raise refuse("DATA/HIDDEN", "the sheet is hidden; show it before sending", self._name, label)
        for ref, reason, message in (
            (scan.formula, "DATA/FORMULA", "holds a formula; paste values"),
            (scan.error, "DATA/FORMULA", "holds an error value; correct it"),
            (scan.hidden, "DATA/HIDDEN", "holds data in a hidden or filtered row or column; show or delete it"),
        ):
            if ref is not None:
                letters = ref.rstrip("0123456789")
                place = Place(self._name, label, int(ref[len(letters) :]), letters)
                raise FileRefused(reason, f"cell {ref} {message}", place)
        if scan.merged:
            raise refuse("DATA/MERGED", "the sheet has merged cells; unmerge them", self._name, label)
        if scan.characters > self._limits.characters:
            message = f"the sheet holds more than {self._limits.characters} characters; split it"
            raise refuse("DATA/EXPANDED_SIZE", message, self._name, label)

    def _values(self, sheets: Sequence[_Sheet], chosen: _Sheet) -> Iterator[list[Cell]]:
        try:
            self._stream.seek(0)
            with CalamineWorkbook.from_filelike(self._stream) as book:
                if book.sheet_names != [sheet.name for sheet in sheets]:
                    raise self._unreadable()
                table = book.get_sheet_by_name(chosen.name)
                self._check_same(table, chosen)
                numbers = _NUMBERS
                for row in table.iter_rows():
                    yield [numbers[v] if type(v) is float else v if type(v) is str and v else _cell(v) for v in row]
        except CalamineError:
            raise self._unreadable() from None
        except BaseException as error:
            # A fault inside the Rust reader arrives as a BaseException of no importable type.
            if type(error).__name__ == "PanicException":
                raise self._unreadable() from None
            raise

    def _check_same(self, table: CalamineSheet, chosen: _Sheet) -> None:
        """The library must not see more than the first pass did: else something unjudged would be read."""
        scan = chosen.scan
        end = table.end
        if scan is None or (end is not None and (end[0] >= scan.last_row or end[1] >= scan.last_column)):
            raise self._unreadable()

    def _unreadable(self) -> FileRefused:
        return refuse("DATA/XML", "the workbook cannot be read; open it in Excel and save it anew", self._name)

    def _table(self, values: Iterator[list[Cell]], label: str) -> Iterator[Row]:
        layout: Layout | None = None
        count = blank = 0
        for number, cells in enumerate(values, start=1):
            if is_blank(cells):
                blank += layout is not None
                continue
            if layout is None:
                layout = self._header(cells, number, label)
                continue
            count += 1
            if len(cells) > layout.width and is_blank(cells[layout.width :]):
                cells = cells[: layout.width]
            try:
                check_cells(number, cells, layout, self._limits.table)
            except RecordRejected as error:
                if self._report is None:
                    raise
                self._report.reject(error)
                continue
            yield Row(number, cells, layout)
        if layout is None:
            raise refuse("DATA/EMPTY", "the sheet holds no header and no rows", self._name, label)
        place = Place(self._name, label)
        if count == 0:
            self._findings.warn(place, "DATA/EMPTY", "the sheet has a header and no rows")
        if blank:
            self._findings.warn(place, "DATA/EMPTY", f"{blank} blank row(s) skipped")

    def _header(self, cells: Sequence[Cell], number: int, label: str) -> Layout:
        texts = ["" if cell is None else str(cell) for cell in cells]
        while texts and not texts[-1].strip():
            texts.pop()
        columns = self._columns(texts) if callable(self._columns) else self._columns
        return match_header(
            texts,
            columns,
            Place(self._name, label, number),
            extra=self._extra,
            limits=self._limits.table,
            findings=self._findings,
        )


def _absolute(target: str) -> str:
    return target.lstrip("/") if target.startswith("/") else f"xl/{target}"


class _Numbers(dict[float, Cell]):
    """Small whole numbers, nearly all that a score sheet holds, by the float that stands for them; the others are made."""

    def __missing__(self, value: float) -> Cell:
        return _cell(value)


_NUMBERS = _Numbers({float(number): number for number in range(256)})


def _cell(value: object) -> Cell:
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return int(value)
    if value == "":
        return None
    if isinstance(value, str | int | float | bool | date):
        return value
    return str(value)
