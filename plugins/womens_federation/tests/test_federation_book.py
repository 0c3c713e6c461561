import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from plugins.womens_federation.tests.conftest import recall, referral, task
from python_calamine import CalamineWorkbook

from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao_womens_federation import wire
from xinqiao_womens_federation.book import Mend, error_book, workbook
from xinqiao_womens_federation.sheets import read_book

ROWS = [referral(1), referral(2, "c", support="=HYPERLINK(1)"), task()]


def part(data: bytes, sheet: str) -> str:
    with CalamineWorkbook.from_filelike(io.BytesIO(data)) as book:
        number = book.sheet_names.index(sheet) + 1
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(f"xl/worksheets/sheet{number}.xml").decode()


def cells(data: bytes, sheet: str) -> list[list[Any]]:
    with CalamineWorkbook.from_filelike(io.BytesIO(data)) as book:
        return book.get_sheet_by_name(sheet).to_python()


def test_the_workbook_as_it_leaves_is_read_back_without_a_word() -> None:
    found = read_book(workbook("2026-11", ROWS), "book", {})
    assert (found.items, found.refused, found.noted) == ([], [], [])


def test_each_sheet_is_frozen_and_locked_without_a_password_and_each_choice_is_a_drop_down() -> None:
    data = workbook("2026-11", ROWS)
    for sheet in wire.ANSWERED:
        xml = part(data, sheet.name)
        assert 'state="frozen"' in xml and "<sheetProtection sheet=" in xml and "password" not in xml
        choices = [field for field in sheet.fields if field.choices]
        assert xml.count('type="list"') >= len(choices) > 0
        assert 'width="' in xml
    assert f"<formula1>'{wire.STUDENTS.name}'!$A$2:$A$4</formula1>" in part(data, wire.VISITS.name)


def test_only_the_clerks_cells_are_open() -> None:
    data = workbook("2026-11", ROWS)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        styles = archive.read("xl/styles.xml").decode()
    cell_formats = styles.partition("<cellXfs")[2].partition("</cellXfs>")[0].split("<xf ")[1:]
    open_ones = {at for at, xf in enumerate(cell_formats) if 'locked="0"' in xf}
    xml = part(data, wire.REFERRALS.name)
    row = xml.partition('<row r="2"')[2].partition("</row>")[0]
    styled = {
        cell[4 : cell.index('"', 4)]: int(cell.partition(' s="')[2].partition('"')[0]) for cell in row.split("<c")[1:]
    }
    assert {ref for ref, style in styled.items() if style in open_ones} == {"I2", "J2", "K2"}
    assert len(styled) == len(wire.REFERRALS.fields)


def test_every_header_says_it_in_chinese_with_an_english_line() -> None:
    header = cells(workbook("2026-11", []), wire.REFERRALS.name)[0]
    assert header[:2] == ["转介编号\nReferral", "学生编号\nStudent code"]
    assert all("\n" in each for each in header)


def test_a_guardian_in_conflict_is_neither_named_nor_reachable() -> None:
    text = str(cells(workbook("2026-11", ROWS), wire.REFERRALS.name))
    assert "李梅" in text and "13800000002" in text and "勿联系" in text
    assert "欧阳刚" not in text and "13800000003" not in text


def test_what_looks_like_a_formula_is_text() -> None:
    data = workbook("2026-11", ROWS)
    assert cells(data, wire.REFERRALS.name)[2][6] == "'=HYPERLINK(1)"
    assert "<f>" not in part(data, wire.REFERRALS.name)
    assert cells(error_book([Mend("s", 1, "c", "DATA/CODE", "m", "=1+1")]), "须修改")[1][4] == "'=1+1"


def test_the_same_rows_are_the_same_bytes_and_nothing_of_them_touches_the_machines_temporary_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a temporary file was made")

    for name in ("TemporaryFile", "NamedTemporaryFile", "mkstemp", "mkdtemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    assert workbook("2026-11", ROWS) == workbook("2026-11", ROWS)


def test_every_reason_the_reader_of_sheets_gives_has_words_for_the_clerk() -> None:
    source = "".join(path.read_text("utf-8") for path in Path(wire.__file__).parent.glob("*.py"))
    used = {word for word in source.split('"') if word.startswith("DATA/") and word != "DATA/TRUNCATED"}
    assert used <= set(wire.MEND)
    assert len(used) > 8


def test_a_drop_down_fits_what_a_workbook_can_hold() -> None:
    for sheet in wire.ANSWERED:
        for field in sheet.fields:
            assert len(",".join(field.choices)) <= 255, field.zh


@pytest.mark.parametrize("drill", [True, False])
@pytest.mark.parametrize(
    ("request_", "sheet"), [(referral(), wire.REFERRALS), (task(), wire.TASKS), (recall(), wire.RECALLS)]
)
def test_a_drill_says_so_on_every_sheet(request_: DeliverRequest, sheet: wire.Sheet, drill: bool) -> None:
    request_.drill = drill
    assert ("演练" in str(cells(workbook("2026-11", [request_]), sheet.name))) is drill
