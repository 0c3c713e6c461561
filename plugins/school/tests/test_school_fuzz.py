"""No roster and no score sheet crashes the reader: each gives items, or a refusal with reason and place and nothing else."""

import io
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xinqiao.adapters.protocols import Accepted, Refused
from xinqiao_school.reading import ReadingSettings, SchoolReader
from xinqiao_school.synthetic import make_school, make_workbook, make_zip

BRIEF = settings(max_examples=60, deadline=5000, suppress_health_check=[HealthCheck.too_slow])
LONG = settings(max_examples=20_000, deadline=5000, suppress_health_check=[HealthCheck.too_slow])
SECRET = "密码c4nary"

with tempfile.TemporaryDirectory() as _folder:
    _files = make_school(Path(_folder), students=12)
    with zipfile.ZipFile(_files.roster) as _archive:
        MEMBERS = {
            name: _archive.read(name).replace(b"synthetic-password", SECRET.encode()) for name in _archive.namelist()
        }
    SHEET, BOOK = _files.utf8.read_bytes(), _files.xlsx.read_bytes()

PIECES = st.sampled_from(
    [b"", b",", b"\n", b'"', b"\r\n", b"\0", b"active", b"tobedeleted", b"delta", b"bulk", b"student", b"SYN-00001", b"2013-02-30",
     "姓名".encode(), "\u202e".encode(), b"\xff", b"=1+1", b"1/05/2023", b"sourcedId", b"9" * 400, b"absent", b"-0", b"1e999"]
)  # fmt: skip
EDITS = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), PIECES), min_size=1, max_size=6)


def edited(data: bytes, edits: list[tuple[float, int, bytes]]) -> bytes:
    for where, cut, piece in edits:
        at = int(where * len(data))
        data = data[:at] + piece + data[at + cut :]
    return data


def judge(name: str, data: bytes, **words: object) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        items = list(SchoolReader().read_file(path, ReadingSettings.model_validate(words)))
    refusals = [item for item in items if isinstance(item, Refused)]
    for item in refusals:
        assert item.reason
        assert item.place
        assert item.message
    text = "".join(f"{item}" for item in items)
    assert SECRET not in text
    if any(item.message.startswith("whole file refused") for item in refusals):
        # Nothing partial: what is only a remark about the file may stand beside the refusal, a student or form may not.
        assert not [item for item in items if isinstance(item, Accepted) and item.kind != "file"]


def roster(member: str, edits: list[tuple[float, int, bytes]], accept: bool) -> None:
    files = MEMBERS | {member: edited(MEMBERS[member], edits)}
    judge("r.zip", make_zip(files), accept_valid_rows=accept)


def sheet(edits: list[tuple[float, int, bytes]], encoding: str) -> None:
    judge("s.csv", edited(SHEET.decode("utf-8-sig").encode(encoding), edits), encoding=encoding)


def book(edits: list[tuple[float, int, bytes]]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(BOOK)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            part = old.read(name)
            new.writestr(name, edited(part, edits) if name.endswith("sheet1.xml") else part)
    judge("b.xlsx", buffer.getvalue())


MEMBER = st.sampled_from(sorted(MEMBERS))


@BRIEF
@given(MEMBER, EDITS, st.booleans())
def test_a_roster_with_any_damage_is_read_or_refused(
    member: str, edits: list[tuple[float, int, bytes]], accept: bool
) -> None:
    roster(member, edits, accept)


@BRIEF
@given(EDITS, st.sampled_from(["utf-8", "gb18030"]))
def test_a_sheet_with_any_damage_is_read_or_refused(edits: list[tuple[float, int, bytes]], encoding: str) -> None:
    sheet(edits, encoding)


@BRIEF
@given(EDITS)
def test_a_workbook_with_any_damage_is_read_or_refused(edits: list[tuple[float, int, bytes]]) -> None:
    book(edits)


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["roster", "sheet", "book"])
def test_twenty_thousand_damaged_files_of_each_kind(kind: str) -> None:
    encodings = st.sampled_from(["utf-8", "gb18030"])
    runs: dict[str, Callable[[], None]] = {
        "roster": LONG(given(MEMBER, EDITS, st.booleans())(roster)),
        "sheet": LONG(given(EDITS, encodings)(sheet)),
        "book": LONG(given(EDITS)(book)),
    }
    runs[kind]()


def test_the_undamaged_files_are_accepted() -> None:
    for name, data in (("r.zip", make_zip(MEMBERS)), ("s.csv", SHEET), ("b.xlsx", BOOK)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(data)
            items = list(SchoolReader().read_file(path, ReadingSettings()))
        assert items
        assert all(isinstance(item, Accepted) for item in items)


def test_a_workbook_of_numbers_as_text_gives_the_same_forms() -> None:
    judge(
        "b.xlsx",
        make_workbook([["学号", *(f"phq{n}" for n in range(1, 10))], ["S1", *"012301230"]]),
        default_date="2026-10-12",
    )
