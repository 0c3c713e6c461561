"""No bytes crash a reader: it gives rows or a refusal with a reason and a place."""

import io
import zipfile
from collections.abc import Callable, Iterable
from typing import Any

import openpyxl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from xinqiao.adapters.errors import RecordRejected
from xinqiao.adapters.files import Column, Findings, TableLimits, delimited, open_archive, read_table
from xinqiao.adapters.files.delimited import Encoding
from xinqiao.adapters.files.workbook import read_workbook

COLUMNS = (Column("姓名", ("name",)), Column("score", required=False))
CODECS: tuple[Encoding, ...] = ("utf-8", "gb18030")


def good_book() -> bytes:
    made = openpyxl.Workbook()
    sheet = made.active
    assert sheet is not None
    for line in (["name", "score"], ["a", 3], ["b", 0]):
        sheet.append(line)
    buffer = io.BytesIO()
    made.save(buffer)
    return buffer.getvalue()


def good_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", b"name,score\n" * 20)
        archive.writestr("b/c.csv", b"x")
    return buffer.getvalue()


BOOK, ZIP = good_book(), good_zip()
CHANGES = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=6)
ODD_TEXT = st.lists(
    st.sampled_from(['"', ",", "\n", "\r", "\0", "姓名", "name", "score", "1", "é", "\ufeff", " ", ";"])
)


def changed(data: bytes, changes: Iterable[tuple[int, int]]) -> bytes:
    raw = bytearray(data)
    for position, value in changes:
        raw[position % len(raw)] = value
    return bytes(raw)


def survives(read: Callable[[], object]) -> None:
    try:
        read()
    except RecordRejected as error:
        assert error.reason.startswith("DATA/")
        assert str(error.place).startswith("f.bin")
        assert error.message


def csv_in_both_codecs(data: bytes) -> None:
    for codec in CODECS:
        for findings in (None, Findings(accept_valid_rows=True)):
            survives(
                lambda codec=codec, findings=findings: [
                    (row.text("姓名", optional=True), row.number)
                    for row in read_table(
                        io.BytesIO(data), encoding=codec, columns=COLUMNS, name="f.bin", extra="name", findings=findings
                    )
                ]
            )


def zip_to_its_end(data: bytes) -> None:
    def read() -> None:
        with open_archive(io.BytesIO(data), name="f.bin") as archive:
            archive.verify()

    survives(read)


def book_to_its_end(data: bytes) -> None:
    survives(lambda: list(read_workbook(io.BytesIO(data), columns=COLUMNS, name="f.bin", extra="ignore")))


@settings(max_examples=150, deadline=2000)
@given(st.binary(max_size=300))
@example(b"\xff\xfen\0")
def test_random_bytes_never_crash_a_reader(data: bytes) -> None:
    csv_in_both_codecs(data)
    zip_to_its_end(data)
    zip_to_its_end(b"PK\x03\x04" + data + b"PK\x05\x06" + data[:18].ljust(18, b"\0"))
    book_to_its_end(data)
    book_to_its_end(b"PK" + data)


@settings(max_examples=200, deadline=2000)
@given(ODD_TEXT, st.sampled_from(CODECS))
def test_odd_csv_text_never_crashes_the_reader(parts: list[str], codec: str) -> None:
    csv_in_both_codecs(("name,score\n" + "".join(parts)).encode(codec))
    csv_in_both_codecs("".join(parts).encode(codec))


PIECES = st.sampled_from(
    ["name,score\n", "甲,1\n", "b,2\r\n", '"c","3"\n', '"d\nd",4\n', '"e\r\ne",5\r\n', '"f', ",\n", "\n", " , \n", "g\n",
     "h,6,7\n", "\ufffd,8\n", "\u200b,9\n", "i\r", "j\x0bj,1\n", "k\u2028k,2\n", "l" * 70 + ",3\n", '"', "m"]
)  # fmt: skip


@settings(max_examples=400, deadline=2000)
@given(st.lists(PIECES, max_size=40), st.sampled_from([b"", b"\xff", b"\xe4\xb8"]), st.sampled_from([32, 64, 256]))
@example(['"a', "\n" * 31, 'b",1\n'], b"", 32)
def test_a_file_is_read_the_same_in_blocks_and_line_by_line(parts: list[str], tail: bytes, cell_bytes: int) -> None:
    data = b"name,score\n" + "".join(parts).encode() + tail
    limits = TableLimits(rows=30, cell_bytes=cell_bytes, line_bytes=2 * cell_bytes)

    def told() -> object:
        findings = Findings(accept_valid_rows=True)
        found: list[object] = []
        try:
            for row in read_table(
                io.BytesIO(data), encoding="utf-8", columns=COLUMNS, name="f", extra="name", limits=limits, findings=findings
            ):  # fmt: skip
                found.append((row.number, row.raw(["姓名", "score"])))
        except RecordRejected as error:
            found.append((error.reason, error.message, str(error.place)))
        return found, [str(each) for each in findings.rejected], [str(each) for each in findings.warnings]

    in_blocks = told()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "_parsed", lambda lines: [])
        assert told() == in_blocks


@settings(max_examples=200, deadline=2000)
@given(CHANGES, st.integers(0, 40))
def test_a_damaged_archive_never_crashes_the_reader(changes: list[tuple[int, int]], cut: int) -> None:
    zip_to_its_end(changed(ZIP[: len(ZIP) - cut], changes))
    zip_to_its_end(changed(ZIP, changes))


@settings(max_examples=100, deadline=2000)
@given(CHANGES)
def test_a_damaged_workbook_never_crashes_the_reader(changes: list[tuple[int, int]]) -> None:
    book_to_its_end(changed(BOOK, changes))


@settings(max_examples=150, deadline=2000)
@given(st.sampled_from(["xl/workbook.xml", "xl/worksheets/sheet1.xml", "xl/styles.xml", "xl/_rels/workbook.xml.rels"]),
       CHANGES)  # fmt: skip
def test_a_workbook_with_damaged_xml_never_crashes_the_reader(part: str, changes: list[tuple[int, int]]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(BOOK)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, changed(old.read(name), changes) if name == part else old.read(name))
    book_to_its_end(buffer.getvalue())


def test_the_undamaged_files_are_read() -> None:
    assert len(list(read_workbook(io.BytesIO(BOOK), columns=COLUMNS, name="f.bin", extra="ignore"))) == 2
    with open_archive(io.BytesIO(ZIP)) as archive:
        assert archive.size("a.csv") == 220


def test_a_fault_that_is_no_refusal_would_be_seen() -> None:
    def fault() -> None:
        raise IndexError

    with pytest.raises(IndexError):
        survives(fault)


def _long(*strategies: st.SearchStrategy[Any], examples: int = 20_000) -> Callable[[Callable[..., None]], None]:
    def run(test: Callable[..., None]) -> None:
        settings(max_examples=examples, deadline=2000)(given(*strategies)(test))()

    return run


@pytest.mark.soak
def test_a_hundred_thousand_odd_files_crash_no_reader() -> None:
    _long(st.binary(max_size=2000))(lambda data: (csv_in_both_codecs(data), zip_to_its_end(data), None)[2])
    _long(ODD_TEXT, st.sampled_from(CODECS))(lambda parts, codec: csv_in_both_codecs("".join(parts).encode(codec)))
    _long(CHANGES, st.integers(0, 40))(lambda changes, cut: zip_to_its_end(changed(ZIP[: len(ZIP) - cut], changes)))
    _long(CHANGES)(lambda changes: book_to_its_end(changed(BOOK, changes)))
