"""Rows 53 to 60 of the bad-inputs list: each bad workbook gets the one answer written for it."""

import io
import re
import struct
import zipfile
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

import openpyxl
import pytest
import xlsxwriter
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files import Column, Findings, Row, TableLimits
from xinqiao.adapters.files.workbook import HiddenSheets, WorkbookLimits, read_workbook
from xinqiao.adapters.files.zipdirectory import ArchiveLimits

COLUMNS = (Column("name"), Column("score"))
CANARY = "CANARY七七"
SHEET = "xl/worksheets/sheet1.xml"


def book(fill: Callable[[Any, Any], None] | None = None) -> bytes:
    """A workbook by openpyxl with a header and two rows; ``fill`` gets the workbook and its sheet."""
    made = openpyxl.Workbook()
    sheet = made.active
    assert sheet is not None
    for line in (["name", "score"], [CANARY, 3], ["b", 0]):
        sheet.append(line)
    if fill is not None:
        fill(made, sheet)
    buffer = io.BytesIO()
    made.save(buffer)
    return buffer.getvalue()


def rebuilt(data: bytes, changes: dict[str, Callable[[bytes], bytes]], added: dict[str, bytes] | None = None) -> bytes:
    """The same workbook with some parts rewritten and some added."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, changes.get(name, bytes)(old.read(name)))
        for name, content in (added or {}).items():
            new.writestr(name, content)
    return buffer.getvalue()


def rows(
    data: bytes,
    *,
    sheet: str | None = None,
    findings: Findings | None = None,
    limits: WorkbookLimits | None = None,
    hidden_sheets: HiddenSheets = "list",
) -> list[Row]:
    return list(
        read_workbook(
            io.BytesIO(data),
            columns=COLUMNS,
            name="scores.xlsx",
            sheet=sheet,
            findings=findings,
            limits=limits or WorkbookLimits(),
            hidden_sheets=hidden_sheets,
        )
    )


def refused(data: bytes, **options: Any) -> RecordRejected:
    with pytest.raises(RecordRejected) as caught:
        rows(data, **options)
    assert CANARY not in str(caught.value)
    return caught.value


def test_a_good_workbook_reads_like_a_csv() -> None:
    table = rows(book())
    assert [(row.number, row.text("name"), row.integer("score", 0, 3)) for row in table] == [
        (2, CANARY, 3),
        (3, "b", 0),
    ]
    assert table[0].text("score") == "3"


def test_a_table_that_does_not_start_in_a1_keeps_its_row_numbers() -> None:
    made = openpyxl.Workbook()
    sheet = made.active
    assert sheet is not None
    sheet["C4"], sheet["D4"], sheet["C6"], sheet["D6"] = "name", "score", "x", 9
    buffer = io.BytesIO()
    made.save(buffer)
    findings = Findings()
    (row,) = rows(buffer.getvalue(), findings=findings)
    with pytest.raises(RecordRejected, match="from 0 to 3") as caught:
        row.integer("score", 0, 3)
    assert str(caught.value.place) == "scores.xlsx: sheet 1, row 6, column score"
    assert findings.warning_count == 1


def test_row_53_one_cell_in_the_last_corner_is_refused_before_iterating() -> None:
    def corner(_: Any, sheet: Any) -> None:
        sheet["XFD1048576"] = 1

    data = book(corner)
    assert refused(data).reason == "DATA/DIMENSION"
    untold = rebuilt(data, {SHEET: lambda raw: re.sub(rb"<dimension[^>]*>", b"", raw)})
    assert refused(untold).reason == "DATA/DIMENSION"
    told = rebuilt(book(), {SHEET: lambda raw: re.sub(rb'ref="A1:B3"', b'ref="A1:XFD1048576"', raw)})
    assert refused(told).reason == "DATA/DIMENSION"
    assert refused(book(), limits=WorkbookLimits(cells=5)).reason == "DATA/DIMENSION"
    assert refused(book(), limits=WorkbookLimits(table=TableLimits(rows=1))).reason == "DATA/DIMENSION"


def shared(count: int = 1, text: str = "b") -> bytes:
    """A workbook by XlsxWriter, which keeps texts as shared strings; ``count`` rows use ``text``."""
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer) as made:
        sheet = made.add_worksheet()
        sheet.write_row(0, 0, ["name", "score"])
        for number in range(count):
            sheet.write_row(number + 1, 0, [text, 1])
    return buffer.getvalue()


def test_row_54_expanding_shared_strings_are_refused_from_the_headers_and_while_streaming() -> None:
    strings = "xl/sharedStrings.xml"
    data = rebuilt(shared(), {strings: lambda raw: raw.replace(b"</si>", b"</si>" + b"<si><t>xy</t></si>" * 9999, 1)})
    small = ArchiveLimits(entry_bytes=100_000)
    assert refused(data, limits=WorkbookLimits(archive=small)).reason == "DATA/EXPANDED_SIZE"
    size = struct.pack("<I", zipfile.ZipFile(io.BytesIO(data)).getinfo(strings).file_size)
    lying = data.replace(size, struct.pack("<I", 900))
    assert refused(lying, limits=WorkbookLimits(archive=small)).reason == "DATA/ZIP_STRUCTURE"


def test_row_54_one_long_string_used_by_many_cells_is_refused() -> None:
    data = shared(300, "y" * 30_000)
    assert len(data) < 20_000
    assert refused(data, limits=WorkbookLimits(characters=8_000_000)).reason == "DATA/EXPANDED_SIZE"


def test_row_54_a_cell_longer_than_32_kib_is_refused() -> None:
    for made, part, old in ((shared(), "xl/sharedStrings.xml", b"<t>b</t>"), (book(), SHEET, b"<t>b</t>")):
        data = rebuilt(made, {part: lambda raw, old=old: raw.replace(old, b"<t>" + b"b" * 40_000 + b"</t>")})
        assert refused(data).reason == "DATA/CELL_TOO_LONG"


def test_row_55_a_sheet_that_expands_too_much_is_refused() -> None:
    data = rebuilt(book(), {SHEET: lambda raw: raw.replace(b"<sheetData>", b" " * 3_000_000 + b"<sheetData>")})
    assert refused(data).reason == "DATA/RATIO"


LAUGHS = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'


@pytest.mark.parametrize("doctype", [LAUGHS, b'<!DOCTYPE x SYSTEM "file:///etc/passwd">', b"<!DOCTYPE x>"])
@pytest.mark.parametrize(
    "part", [SHEET, "xl/workbook.xml", "xl/styles.xml", "[Content_Types].xml", "docProps/core.xml"]
)
def test_row_56_a_document_type_in_any_part_is_refused(part: str, doctype: bytes) -> None:
    def with_doctype(raw: bytes) -> bytes:
        return doctype + re.sub(rb"^<\?xml[^>]*\?>\s*", b"", raw)

    assert refused(rebuilt(book(), {part: with_doctype})).reason == "DATA/XML_DTD"


def test_row_56_a_document_type_in_an_unknown_part_or_picture_is_refused() -> None:
    for name in ("xl/other.xml", "xl/media/x.vml"):
        assert refused(rebuilt(book(), {}, {name: b"<!DOCTYPE x><x/>"})).reason == "DATA/XML_DTD"


def test_a_part_in_another_encoding_or_too_deep_is_refused() -> None:
    wide = '<?xml version="1.0" encoding="UTF-16"?><x/>'.encode("utf-16")
    assert refused(rebuilt(book(), {}, {"xl/other.xml": wide})).reason == "DATA/XML"
    deep = b"<x>" * 100_000 + b"</x>" * 100_000
    assert refused(rebuilt(book(), {}, {"xl/other.xml": deep})).reason == "DATA/XML"
    fat = b"<x a='" + bytes(range(97, 123)) * 100_000 + b"'/>"
    limits = WorkbookLimits(archive=ArchiveLimits(ratio=2000))
    assert refused(rebuilt(book(), {}, {"xl/other.xml": fat}), limits=limits).reason == "DATA/XML"


@pytest.mark.parametrize(
    "data",
    [
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600,
        b"\xef\xbb\xbf\n<html><table><tr><td>CANARY</td></tr></table></html>",
        b"%PDF-1.7",
        b"name,score\nCANARY,1\n",
        b"",
    ],
)
def test_row_57_what_only_pretends_to_be_a_workbook_is_refused_by_content(data: bytes) -> None:
    assert refused(data).reason == "DATA/FILE_TYPE"


def test_row_57_macros_and_other_documents_are_refused_by_content_type() -> None:
    for old, new in ((b"sheet.main+xml", b"sheet.binary.main"), (b"spreadsheetml.sheet.main", b"x.document.main")):
        data = rebuilt(book(), {"[Content_Types].xml": lambda raw, old=old, new=new: raw.replace(old, new)})
        assert refused(data).reason == "DATA/FILE_TYPE"
    macro = b"application/vnd.ms-excel.sheet.macroEnabled.main+xml"
    kind = b"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"
    data = rebuilt(book(), {"[Content_Types].xml": lambda raw: raw.replace(kind, macro)})
    assert refused(data).reason == "DATA/FILE_TYPE"
    assert refused(rebuilt(book(), {}, {"xl/vbaProject.bin": b"x"})).reason == "DATA/FILE_TYPE"


@pytest.mark.parametrize("formula", ["=1+1", "=#REF!", "=[1]Sheet1!A1", "=cmd|'/c calc'!A1"])
def test_row_58_a_formula_is_refused_with_its_cell(formula: str) -> None:
    def fill(_: Any, sheet: Any) -> None:
        sheet["B3"] = formula

    error = refused(book(fill))
    assert (error.reason, str(error.place)) == ("DATA/FORMULA", "scores.xlsx: sheet 1, row 3, column B")
    assert "cell B3" in error.message


def test_row_58_an_error_value_without_formula_is_refused_with_its_cell() -> None:
    data = rebuilt(book(), {SHEET: lambda raw: re.sub(rb'<c r="B3".*?</c>', b'<c r="B3" t="e"><v>#REF!</v></c>', raw)})
    error = refused(data)
    assert (error.reason, "cell B3" in error.message) == ("DATA/FORMULA", True)


def test_row_58_links_to_other_files_are_refused() -> None:
    link = rebuilt(book(), {}, {"xl/externalLinks/externalLink1.xml": b"<externalLink/>"})
    assert refused(link).reason == "DATA/FORMULA"
    told = rebuilt(
        book(),
        {"xl/workbook.xml": lambda raw: raw.replace(b"</sheets>", b"</sheets><externalReferences><externalReference/></externalReferences>")},
    )  # fmt: skip
    assert refused(told).reason == "DATA/FORMULA"


def hide_row(_: Any, sheet: Any) -> None:
    sheet.row_dimensions[3].hidden = True


def hide_column(_: Any, sheet: Any) -> None:
    sheet.column_dimensions["B"].hidden = True


@pytest.mark.parametrize(("hide", "cell"), [(hide_row, "A3"), (hide_column, "B1")])
def test_row_59_data_in_a_hidden_row_or_column_is_refused(hide: Callable[[Any, Any], None], cell: str) -> None:
    error = refused(book(hide))
    assert (error.reason, cell in error.message) == ("DATA/HIDDEN", True)


def test_row_59_rows_hidden_by_height_or_by_default_are_refused() -> None:
    for old, new in ((b'<row r="2"', b'<row r="2" ht="0"'), (b"<sheetFormatPr ", b'<sheetFormatPr zeroHeight="1" ')):
        data = rebuilt(book(), {SHEET: lambda raw, old=old, new=new: raw.replace(old, new)})
        assert refused(data).reason == "DATA/HIDDEN"


def test_row_59_merged_cells_are_refused() -> None:
    assert refused(book(lambda _, sheet: sheet.merge_cells("A2:A3"))).reason == "DATA/MERGED"


@pytest.mark.parametrize("state", ["hidden", "veryHidden"])
def test_row_59_a_hidden_sheet_with_data_is_listed_or_refused_but_never_read(state: str) -> None:
    def fill(made: Any, _: Any) -> None:
        other = made.create_sheet(CANARY)
        other.append(["name", "score"])
        other.append(["ghost", 1])
        other.sheet_state = state

    data = book(fill)
    findings = Findings()
    assert "ghost" not in [row.text("name") for row in rows(data, findings=findings)]
    assert [(item.reason, item.place.sheet) for item in findings.warnings] == [("DATA/HIDDEN", "2")]
    assert refused(data).reason == "DATA/HIDDEN"
    assert refused(data, findings=Findings(), hidden_sheets="refuse").reason == "DATA/HIDDEN"


def test_row_60_two_data_sheets_are_refused_unless_one_is_named() -> None:
    def fill(made: Any, _: Any) -> None:
        other = made.create_sheet("term 2")
        other.append(["name", "score"])
        other.append(["second", 1])

    data = book(fill)
    assert refused(data).reason == "DATA/SHEET"
    assert [row.text("name") for row in rows(data, sheet="term 2")] == ["second"]
    assert refused(data, sheet="term 3").reason == "DATA/SHEET"


@pytest.mark.parametrize("epoch_1904", [False, True])
def test_row_60_dates_count_in_the_declared_system(epoch_1904: bool) -> None:
    def fill(made: Any, sheet: Any) -> None:
        if epoch_1904:
            made.epoch = CALENDAR_MAC_1904
        sheet["B3"] = date(2026, 2, 3)

    assert rows(book(fill))[1].date("score") == date(2026, 2, 3)


@pytest.mark.parametrize("value", [46056, "2026/2/3", datetime(2026, 2, 3, 8, 30), 3.5, True])
def test_row_60_a_bare_serial_a_text_or_a_time_is_not_a_date(value: object) -> None:
    def fill(_: Any, sheet: Any) -> None:
        sheet["B3"] = value

    row = rows(book(fill))[1]
    with pytest.raises(RecordRejected) as caught:
        row.date("score")
    assert caught.value.reason == "DATA/DATE"


def test_row_44_an_identity_number_in_a_number_cell_is_refused_not_rounded() -> None:
    def fill(_: Any, sheet: Any) -> None:
        sheet["B3"] = 110105194912310020

    with pytest.raises(RecordRejected) as caught:
        rows(book(fill))[1].text("score")
    assert caught.value.reason == "DATA/ID_PRECISION"


@pytest.mark.parametrize("value", [2.5, True, "3.0", "高"])
def test_row_52_a_score_that_is_not_whole_is_refused(value: object) -> None:
    def fill(_: Any, sheet: Any) -> None:
        sheet["B3"] = value

    with pytest.raises(RecordRejected) as caught:
        rows(book(fill))[1].integer("score", 0, 3)
    assert caught.value.reason == "DATA/NUMBER"


def test_data_outside_the_header_and_forbidden_characters_reject_only_their_row() -> None:
    def fill(_: Any, sheet: Any) -> None:
        sheet["C2"] = "stray"
        sheet["A3"] = f"{CANARY}\u202e"
        sheet.append(["good", 1])

    findings = Findings(accept_valid_rows=True)
    assert [row.text("name") for row in rows(book(fill), findings=findings)] == ["good"]
    assert [item.reason for item in findings.rejected] == ["DATA/COLUMN_COUNT", "DATA/CHARSET"]


def test_an_empty_workbook_is_refused_and_a_header_alone_is_warned_about() -> None:
    def wipe(_: Any, sheet: Any) -> None:
        sheet.delete_rows(1, 3)

    assert refused(book(wipe)).reason == "DATA/EMPTY"
    findings = Findings()
    assert rows(book(lambda _, sheet: sheet.delete_rows(2, 2)), findings=findings) == []
    assert findings.warnings[0].reason == "DATA/EMPTY"


def laid_out(raw: bytes, rows_xml: bytes) -> bytes:
    before, _, rest = raw.partition(b"<sheetData>")
    return before + b"<sheetData>" + rows_xml + b"</sheetData>" + rest.partition(b"</sheetData>")[2]


@pytest.mark.parametrize(
    "sheet_data",
    [
        b'<row r="2"/><row r="1"/>',
        b'<row r="1"><c r="B1"><v>1</v></c><c r="A1"><v>1</v></c></row>',
        b'<row r="1"><c r="A2"><v>1</v></c></row>',
        b'<row r="1"><c r="A1" t="s"><v>99</v></c></row>',
        b'<row r="1"><c r="1A"><v>1</v></c></row>',
        b"</sheetData><sheetData>",
    ],
)
def test_a_sheet_laid_out_so_that_readers_could_differ_is_refused(sheet_data: bytes) -> None:
    data = rebuilt(book(), {SHEET: lambda raw: laid_out(raw, sheet_data)})
    assert refused(data).reason == "DATA/XML"


def test_twenty_thousand_rows_of_zeros_by_another_writer_pass_the_ratio_limit() -> None:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"constant_memory": True}) as made:
        sheet = made.add_worksheet()
        for number in range(20_001):
            sheet.write_row(number, 0, ["name", "score"] if not number else ["同学", 0])
    assert sum(1 for _ in rows(buffer.getvalue())) == 20_000
