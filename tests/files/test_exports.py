"""Row 48 of the bad-inputs list: what is exported can be opened in a spreadsheet without being calculated."""

import csv
import io

import openpyxl
import pytest
import xlsxwriter
from hypothesis import given
from hypothesis import strategies as st

from xinqiao.adapters.files.exports import safe_text, write_csv

DANGEROUS = [
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\tx",
    "\rx",
    "\nx",
    "\n=1",
    "＝1",
    "  =1",
    "|calc",
    "＋1",
    "\u00a0=1",
]


@pytest.mark.parametrize("text", DANGEROUS)
def test_a_formula_is_defused_in_a_reopened_csv(text: str) -> None:
    sink = io.StringIO(newline="")
    assert write_csv(sink, [text], [[text, 3, None]]) == 1
    header, row = csv.reader(io.StringIO(sink.getvalue(), newline=""), strict=True)
    assert header == [f"'{text}"]
    assert row == [f"'{text}", "3", ""]


@pytest.mark.parametrize("text", DANGEROUS)
def test_a_formula_is_defused_in_a_reopened_workbook(text: str) -> None:
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer) as book:
        book.add_worksheet().write(0, 0, safe_text(text))
    sheet = openpyxl.load_workbook(buffer).active
    assert sheet is not None
    cell = sheet["A1"]
    assert cell.data_type == "s"
    assert str(cell.value).startswith("'")


@pytest.mark.parametrize("text", ["", "张三", "阿卜杜拉·买买提", "a=b", "1-2", "  ", "O'Neil"])
def test_ordinary_text_is_not_changed(text: str) -> None:
    assert safe_text(text) == text


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_any_text_comes_back_with_at_most_one_apostrophe_more(cells: list[str]) -> None:
    sink = io.StringIO(newline="")
    write_csv(sink, ["h"], [cells])
    _, row = csv.reader(io.StringIO(sink.getvalue(), newline=""), strict=True)
    assert [back in (cell, f"'{cell}") for cell, back in zip(cells, row, strict=True)] == [True] * len(cells)
    assert all(cell[:1] not in "=+-@\t\r\n＝" or not cell for cell in row)
