"""Rows 35 to 52 of the bad-inputs list: each bad CSV file gets the one answer written for it."""

import io
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import date
from itertools import islice

import pytest

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files import Column, Duplicates, FileRefused, Findings, Row, TableLimits, read_table
from xinqiao.adapters.files.delimited import Encoding
from xinqiao.adapters.files.identifiers import check_resident_id, normalise
from xinqiao.adapters.files.rows import Extra

NAME, SCORE = Column("姓名", ("name",)), Column("phq3")
CANARY = "CANARY七七"


def rows(
    data: bytes | str,
    *,
    encoding: Encoding = "utf-8",
    columns: tuple[Column, ...] = (NAME, SCORE),
    extra: Extra = "refuse",
    findings: Findings | None = None,
    expected_rows: int | None = None,
    limits: TableLimits | None = None,
) -> list[Row]:
    raw = data.encode() if isinstance(data, str) else data
    return list(
        read_table(
            io.BytesIO(raw),
            encoding=encoding,
            columns=columns,
            name="scores.csv",
            extra=extra,
            findings=findings,
            expected_rows=expected_rows,
            limits=limits or TableLimits(),
        )
    )


def refused(call: Callable[[], object]) -> RecordRejected:
    with pytest.raises(RecordRejected) as caught:
        call()
    assert CANARY not in str(caught.value)
    return caught.value


def cell(text: str) -> Row:
    return rows(f'姓名,phq3\nx,"{text}"\n')[0]


def test_row_35_gb18030_declared_utf8_is_refused_at_the_header() -> None:
    error = refused(lambda: rows("姓名,phq3\n张三,1\n".encode("gb18030")))
    assert (error.reason, str(error.place)) == ("DATA/ENCODING", "scores.csv: row 1")


def test_row_35_utf8_declared_gb18030_is_refused_whether_or_not_it_decodes() -> None:
    for header in ("姓名,phq3", "姓名,phq3,学校"):
        error = refused(lambda header=header: rows(f"{header}\n张三,1\n", encoding="gb18030", extra="ignore"))
        assert error.reason == "DATA/ENCODING"


def test_row_35_utf8_rows_under_an_ascii_header_declared_gb18030_are_refused_at_the_end() -> None:
    body = "name,phq3\n" + "张三丰儿,1\n" * 5
    assert body.encode().decode("gb18030")
    assert refused(lambda: rows(body, encoding="gb18030")).reason == "DATA/ENCODING"


def test_row_35_true_gb18030_is_read() -> None:
    assert rows("姓名,phq3\n张三,1\n𠮷野,2\n".encode("gb18030"), encoding="gb18030")[1].text("姓名") == "𠮷野"


def test_row_36_utf8_and_gb18030_marks_are_skipped() -> None:
    assert len(rows(b"\xef\xbb\xbf" + "姓名,phq3\n张,1\n".encode())) == 1
    assert len(rows("\ufeff姓名,phq3\n张,1\n".encode("gb18030"), encoding="gb18030")) == 1


@pytest.mark.parametrize("codec", ["utf-16", "utf-16-le", "utf-16-be"])
def test_row_36_utf16_is_refused_with_a_hint(codec: str) -> None:
    error = refused(lambda: rows("name,phq3\nx,1\n".encode(codec)))
    assert error.reason == "DATA/ENCODING"
    assert "UTF-16" in error.message


def test_row_36_the_row_of_the_first_bad_byte_is_named() -> None:
    data = "姓名,phq3\n张三,1\n".encode() + f"{CANARY},2\n".encode("gb18030")
    error = refused(lambda: rows(data))
    assert (error.reason, str(error.place)) == ("DATA/ENCODING", "scores.csv: row 3")


@pytest.mark.parametrize("tail", ["", "\nx,2" * 40, "\nx,2" * 100_000])
def test_row_37_an_unterminated_quote_is_refused_with_the_row_it_opens_in(tail: str) -> None:
    error = refused(lambda: rows(f'姓名,phq3\nx,1\n"{CANARY},2{tail}\n'))
    assert (error.reason, str(error.place)) == ("DATA/QUOTE", "scores.csv: row 3")


def test_row_38_text_after_a_closing_quote_is_refused() -> None:
    assert refused(lambda: rows('姓名,phq3\na,"b"c"\n')).reason == "DATA/QUOTE"


def test_row_39_a_long_cell_and_a_long_line_are_refused() -> None:
    assert refused(lambda: rows(f"姓名,phq3\n{'张' * 11_000},1\n")).reason == "DATA/CELL_TOO_LONG"
    assert refused(lambda: rows(f"姓名,phq3\n{'x' * 200_000},1\n")).reason == "DATA/CELL_TOO_LONG"
    assert refused(lambda: rows(f"姓名,phq3\n{'x,' * 600_000}\n")).reason == "DATA/CELL_TOO_LONG"


@pytest.mark.parametrize("bad", ["\0", "\x1b[31m", "\u202e", "\u200b", "\ufffd", "\x85"])
def test_row_40_nul_control_and_invisible_characters_are_refused_with_the_cell(bad: str) -> None:
    error = refused(lambda: rows(f"姓名,phq3\nx,1\n{CANARY}{bad},2\n"))
    assert (error.reason, str(error.place)) == ("DATA/CHARSET", "scores.csv: row 3, column 姓名")


def test_row_41_columns_may_come_in_any_order_and_by_an_alias() -> None:
    assert rows("phq3,name\n2,x\n")[0].integer("phq3", 0, 3) == 2


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("姓名", "phq3"),
        ("姓名,phq3,phq3", "phq3 is there twice, at 2 and 3"),
        ("姓名,PHQ 3", "rename it to phq3"),
        ("姓名,phq_3", "rename it to phq3"),
        (f"姓名,phq3,{CANARY}", "column 3 is not known"),
        ("姓名,phq3,", "column 3 has no name"),
        ("姓名，phq3", "full-width commas"),
        ("姓名;phq3", "semicolons"),
        ("姓名\tphq3", "tabs"),
        (f"{CANARY},1", "missing column(s): 姓名, phq3"),
    ],
)
def test_row_41_a_wrong_header_is_refused_naming_the_column(header: str, says: str) -> None:
    error = refused(lambda: rows(f"{header}\nx,1\n"))
    assert error.reason == "DATA/HEADER"
    assert says in error.message


def test_row_41_tolerated_extra_columns_are_listed_by_position() -> None:
    findings = Findings()
    assert len(rows(f"姓名,phq3,{CANARY},\nx,1,y,\n", extra="name", findings=findings)) == 1
    assert [finding.place.column for finding in findings.warnings] == ["3", "4"]
    assert CANARY not in "".join(map(str, findings.warnings))


def test_row_41_an_optional_column_under_a_near_miss_name_is_not_dropped_silently() -> None:
    columns = (NAME, SCORE, Column("phq9", required=False))
    assert refused(lambda: rows("姓名,phq3,PHQ9\nx,1,2\n", columns=columns, extra="ignore")).reason == "DATA/HEADER"
    absent = rows("姓名,phq3\nx,1\n", columns=columns)[0]
    assert absent.integer("phq9", 0, 3, optional=True) is None


@pytest.mark.parametrize("data", ["", "\n\n\r\n", " , \n,\n", "\ufeff"])
def test_row_42_an_empty_or_blank_file_is_refused(data: str) -> None:
    assert refused(lambda: rows(data)).reason == "DATA/EMPTY"


def test_row_42_a_header_alone_is_no_rows_and_a_warning() -> None:
    findings = Findings()
    assert rows("姓名,phq3\n", findings=findings) == []
    assert [finding.reason for finding in findings.warnings] == ["DATA/EMPTY"]


@pytest.mark.parametrize("line", [f"{CANARY}", f"{CANARY},1,2", f"{CANARY},1,"])
def test_row_43_a_ragged_row_is_refused_with_its_number(line: str) -> None:
    error = refused(lambda: rows(f"姓名,phq3\nx,1\n\n{line}\n"))
    assert (error.reason, str(error.place)) == ("DATA/COLUMN_COUNT", "scores.csv: row 4")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("3.20501E+17", "DATA/ID_PRECISION"),
        ("320501201001011000", "DATA/ID_PRECISION"),
        ("320501100101100", "DATA/ID_LENGTH"),
        ("11010519491231002 ", "DATA/ID_FORMAT"),
        ("１１010519491231002X", "DATA/ID_FORMAT"),
    ],
)
def test_row_44_a_damaged_identity_number_is_refused_without_being_shown(text: str, reason: str) -> None:
    error = refused(lambda: cell(text).identifier("phq3", check_resident_id, normalise))
    assert error.reason == reason
    assert text not in str(error)


def test_row_44_a_lower_case_check_character_is_normalised() -> None:
    assert cell("11010519491231002x").identifier("phq3", check_resident_id, normalise) == "11010519491231002X"


def test_row_46_an_exact_repeat_is_merged_and_a_contradiction_names_both_rows() -> None:
    table = rows("姓名,phq3\na,1\na,1\na,2\n")
    seen = Duplicates()
    assert [seen.is_repeat(row, row.text("姓名"), row.text("phq3")) for row in table[:2]] == [False, True]
    error = refused(lambda: seen.is_repeat(table[2], "a", table[2].text("phq3")))
    assert (error.reason, seen.merged) == ("DATA/DUPLICATE", 1)
    assert "row 4" in str(error)
    assert "row 2" in str(error)


@pytest.mark.parametrize(
    "text", ["2026/2/3", "3-2-26", "46056", "二〇二六年", "2026-02-30", "20260203", "２０２６-02-03"]
)
def test_row_47_only_iso_dates_are_read(text: str) -> None:
    error = refused(lambda: cell(text).date("phq3"))
    assert error.reason == "DATA/DATE"
    assert text not in str(error)


def test_row_47_an_iso_date_is_read() -> None:
    assert cell("2026-02-03").date("phq3") == date(2026, 2, 3)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+2", "@x", "\tx", "\rx", "＝1"])
def test_row_48_text_that_looks_like_a_formula_is_kept_as_text(text: str) -> None:
    assert cell(text).text("phq3") == text


def test_row_49_fewer_rows_than_the_manifest_says_is_truncation() -> None:
    assert refused(lambda: rows("姓名,phq3\nx,1\n", expected_rows=2)).reason == "DATA/TRUNCATED"
    assert len(rows("姓名,phq3\nx,1\n", expected_rows=1)) == 1


def test_row_49_a_last_row_without_line_end_is_warned_about() -> None:
    findings = Findings()
    rows("姓名,phq3\nx,1", findings=findings)
    assert [finding.reason for finding in findings.warnings] == ["DATA/TRUNCATED"]


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
@pytest.mark.parametrize("name", ["𠮷田", "阿卜杜拉·买买提", "ئابدۇللا", "é" * 60, "x y\n z"])
def test_row_51_rare_names_round_trip(name: str, encoding: Encoding) -> None:
    data = f'姓名,phq3\n"{name}",1\n'.encode(encoding)
    assert rows(data, encoding=encoding)[0].text("姓名") == name


@pytest.mark.parametrize("text", ["高", "N/A", "1e999", "1.0", "１", "-0", "+1", " 1", "NaN", "9" * 5000])
def test_row_52_a_score_that_is_not_plain_digits_is_refused(text: str) -> None:
    error = refused(lambda: cell(text).integer("phq3", 0, 3))
    assert (error.reason, str(error.place)) == ("DATA/NUMBER", "scores.csv: row 2, column phq3")


def test_row_52_a_blank_score_is_only_allowed_where_optional() -> None:
    assert refused(lambda: cell("  ").integer("phq3", 0, 3)).reason == "DATA/MISSING"
    assert cell("").integer("phq3", 0, 3, optional=True) is None
    assert refused(lambda: cell("4").integer("phq3", 0, 3)).reason == "DATA/NUMBER_RANGE"


def test_a_bad_row_is_listed_and_the_whole_file_refused() -> None:
    findings = Findings()
    table = rows(f"姓名,phq3\na,1\n{CANARY},x\nb\n", findings=findings)
    read = findings.parsed(table, lambda row: row.integer("phq3", 0, 3))
    assert next(read) == 1
    error = refused(lambda: list(read))
    assert isinstance(error, FileRefused)
    assert sorted(str(finding.place) for finding in findings.rejected) == [
        "scores.csv: row 3, column phq3",
        "scores.csv: row 4",
    ]


def test_valid_rows_are_kept_when_that_was_asked_for() -> None:
    findings = Findings(accept_valid_rows=True)
    table = rows("姓名,phq3\na,1\nb,x\nc,2\n", findings=findings)
    assert list(findings.parsed(table, lambda row: row.integer("phq3", 0, 3))) == [1, 2]
    assert findings.rejected_count == 1


def test_a_refused_file_is_never_noted_as_a_bad_row() -> None:
    error = refused(lambda: rows(""))
    with pytest.raises(FileRefused):
        Findings(accept_valid_rows=True).reject(error)


def test_more_rows_than_the_limit_are_refused_blank_ones_counted() -> None:
    limits = TableLimits(rows=3)
    assert len(rows("姓名,phq3\n" + "x,1\n" * 3, limits=limits)) == 3
    assert refused(lambda: rows("姓名,phq3\n" + "x,1\n" * 4, limits=limits)).reason == "DATA/TOO_MANY_ROWS"
    assert refused(lambda: rows("姓名,phq3\nx,1\n" + "\n" * 4, limits=limits)).reason == "DATA/TOO_MANY_ROWS"


def test_carriage_returns_alone_as_line_ends_are_refused_with_a_hint() -> None:
    assert refused(lambda: rows("姓名,phq3\rx,1\r")).reason == "DATA/LINE_END"


def test_memory_does_not_grow_with_two_hundred_thousand_rows() -> None:
    class Endless(io.RawIOBase):
        """Makes lines as they are asked for, so that the file itself takes no memory."""

        def __init__(self) -> None:
            super().__init__()
            self._lines: Iterator[bytes] = iter(["姓名,phq3\n".encode()] + ["张三丰,2\n".encode()] * 200_000)

        def readline(self, size: int | None = -1, /) -> bytes:
            return next(self._lines, b"")

        def read(self, size: int | None = -1, /) -> bytes:
            return b"".join(islice(self._lines, (size or 0) // 16))

    source = Endless()
    tracemalloc.start()
    try:
        table = read_table(source, encoding="utf-8", columns=(NAME, SCORE), name="big.csv")  # type: ignore[arg-type]
        assert sum(row.integer("phq3", 0, 3) for row in table) == 400_000
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()
