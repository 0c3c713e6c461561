"""Rows 61 to 66 of the bad-inputs list: each bad archive gets the one answer written for it."""

import hashlib
import io
import stat
import struct
import zipfile
import zlib

import pytest

from xinqiao.adapters.files import Archive, ArchiveLimits, Column, FileRefused, open_archive, read_table

TEXT = b"name,score\n" + b"CANARY,1\n" * 30


def packed(*files: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return buffer.getvalue()


def raw_name(name: bytes) -> bytes:
    """An archive whose one entry has exactly these bytes as its name and no UTF-8 flag."""
    return packed(("n" * len(name), TEXT)).replace(b"n" * len(name), name)


def reason(data: bytes, limits: ArchiveLimits | None = None) -> str:
    with pytest.raises(FileRefused) as caught, open_archive(io.BytesIO(data), limits or ArchiveLimits()) as archive:
        archive.verify()
    assert "CANARY" not in str(caught.value)
    return caught.value.reason


def test_a_good_archive_gives_its_files_and_reports_its_folders() -> None:
    with open_archive(io.BytesIO(packed(("data/", b""), ("data/花名册.csv", TEXT), ("empty.csv", b"")))) as archive:
        assert archive.names() == ["data/花名册.csv", "empty.csv"]
        assert archive.folders() == ("data/",)
        assert archive.open("data/花名册.csv").read() == TEXT
        assert archive.open("empty.csv").read() == b""


def test_a_table_is_read_straight_from_an_entry() -> None:
    with open_archive(io.BytesIO(packed(("a.csv", TEXT)))) as archive:
        table = read_table(archive.open("a.csv"), encoding="utf-8", columns=[Column("name"), Column("score")], name="a")
        assert sum(row.integer("score", 0, 3) for row in table) == 30


def test_two_entries_can_be_read_in_turn() -> None:
    with open_archive(io.BytesIO(packed(("a", b"a" * 300_000), ("b", b"b" * 300_000)))) as archive:
        one, two = archive.open("a"), archive.open("b")
        assert [(one.read(100_000), two.read(100_000)) for _ in range(3)] == [(b"a" * 100_000, b"b" * 100_000)] * 3


def test_an_archive_written_as_a_stream_with_descriptors_is_read() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            super().__init__()
            self.got = b""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes, /) -> int:  # type: ignore[override]
            self.got += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", TEXT)
    with open_archive(io.BytesIO(pipe.got)) as read:
        assert read.open("a.csv").read() == TEXT
    assert reason(pipe.got.replace(b"PK\x07\x08", b"PK\x07\x09")) == "DATA/ZIP_STRUCTURE"


@pytest.mark.parametrize(
    "name",
    [
        "../../CANARY", "a/../../CANARY", "/CANARY", "C:\\CANARY", "C:CANARY", "..\\CANARY", "./CANARY", "a//CANARY",
        "CANARY.", "CANARY ", "a\u202eCANARY", "CANARY\n",
    ],
)  # fmt: skip
def test_row_61_a_name_that_could_leave_its_folder_is_refused(name: str) -> None:
    assert reason(packed((zipfile.ZipInfo("x"), TEXT), (name, TEXT))) == "DATA/ZIP_NAME"


def test_row_61_a_nul_or_gbk_name_is_refused() -> None:
    assert reason(raw_name(b"a.csv\0.exe")) == "DATA/ZIP_NAME"
    assert reason(raw_name("花名册".encode("gbk"))) == "DATA/ZIP_NAME"
    assert reason(raw_name("花名册".encode())) == "DATA/ZIP_NAME"


def test_row_61_a_symbolic_link_is_refused() -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    assert reason(packed((link, b"/etc/passwd"))) == "DATA/ZIP_NAME"


@pytest.mark.parametrize("pair", [("a.csv", "A.CSV"), ("é", "e\u0301"), ("a", "a/b"), ("a.csv", "ａ.csv"), ("d/", "D")])
def test_row_61_names_that_clash_on_some_systems_are_refused(pair: tuple[str, str]) -> None:
    files = [(name, b"" if name.endswith("/") else TEXT) for name in pair]
    assert reason(packed(*files)) == "DATA/ZIP_NAME"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_row_61_the_same_name_twice_is_refused() -> None:
    assert reason(packed(("a", TEXT), ("a", b"other"))) == "DATA/ZIP_NAME"


def test_row_62_two_directory_entries_over_one_range_are_refused() -> None:
    data = packed(("a", TEXT))
    start = data.index(b"PK\x01\x02")
    entry, end = data[start : data.index(b"PK\x05\x06")], data.index(b"PK\x05\x06")
    second = entry.replace(b"a", b"b")
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 2, 2, 2 * len(entry), start, 0)
    assert reason(data[:end] + second + tail) == "DATA/ZIP_STRUCTURE"


@pytest.mark.parametrize("field", [6, 8, 14, 18, 22, 30])
def test_row_62_a_header_that_differs_from_the_directory_is_refused(field: int) -> None:
    data = bytearray(packed(("abc.csv", TEXT)))
    data[field] ^= 0x02
    assert reason(bytes(data)) == "DATA/ZIP_STRUCTURE"


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_row_62_a_wrong_checksum_is_refused_when_the_end_is_reached(method: int) -> None:
    crc = struct.pack("<I", zlib.crc32(TEXT))
    assert reason(packed(("a", TEXT), method=method).replace(crc, b"\1\2\3\4")) == "DATA/ZIP_STRUCTURE"


@pytest.mark.parametrize("lie", [len(TEXT) - 1, len(TEXT) + 1, 5])
def test_row_62_a_declared_size_that_lies_is_refused(lie: int) -> None:
    size = struct.pack("<I", len(TEXT))
    assert reason(packed(("a", TEXT)).replace(size, struct.pack("<I", lie))) == "DATA/ZIP_STRUCTURE"


def test_row_62_more_is_never_expanded_than_was_declared() -> None:
    data = packed(("a", b"x" * 900_000)).replace(struct.pack("<I", 900_000), struct.pack("<I", 10))
    entry = Archive(io.BytesIO(data), "lying.zip", ArchiveLimits(), owned=False).open("a")
    with pytest.raises(FileRefused, match="more than its header says"):
        entry.read(1)


def test_row_63_an_archive_or_workbook_inside_is_refused() -> None:
    inner = packed(("deep.zip", packed(("a", TEXT))))
    assert reason(packed(("holiday.csv", inner))) == "DATA/ZIP_NESTED"
    assert reason(packed(("a.csv", b"\x1f\x8b\x08\0"))) == "DATA/ZIP_NESTED"


def test_row_63_too_many_entries_are_refused_before_the_directory_is_read() -> None:
    data = packed(*((f"f{number}", b"") for number in range(21)))
    assert reason(data, ArchiveLimits(entries=20)) == "DATA/ZIP_ENTRIES"
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 60_000, 60_000, 60_000 * 46, 4, 0)
    assert reason(b"PK\x03\x04" + tail) == "DATA/ZIP_ENTRIES"


def test_row_63_zip64_is_read_within_limits() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("a.csv", "w", force_zip64=True) as entry:
        entry.write(TEXT)
    with open_archive(buffer) as read:
        assert read.open("a.csv").read() == TEXT


def test_row_63_several_disks_are_refused() -> None:
    data = packed(("a", TEXT))
    assert reason(data[:-18] + b"\1\0" + data[-16:]) == "DATA/ZIP_STRUCTURE"


@pytest.mark.parametrize("flag", [0x01, 0x41])
def test_row_64_an_entry_with_a_password_is_refused(flag: int) -> None:
    data = bytearray(packed(("a", TEXT)))
    data[6] |= flag
    data[data.index(b"PK\x01\x02") + 8] |= flag
    assert reason(bytes(data)) == "DATA/ENCRYPTED"


def test_row_64_aes_is_refused() -> None:
    data = bytearray(packed(("a", TEXT)))
    data[8] = data[data.index(b"PK\x01\x02") + 10] = 99
    assert reason(bytes(data)) == "DATA/ENCRYPTED"


def test_row_65_data_before_or_after_the_archive_is_refused() -> None:
    data = packed(("a", TEXT))
    assert reason(b"%PDF-1.7\n" + data) == "DATA/ZIP_STRUCTURE"
    assert reason(data + b"x") == "DATA/ZIP_STRUCTURE"
    assert reason(data + data) == "DATA/ZIP_STRUCTURE"
    assert reason(data[:-2] + b"\5\0hello") == "DATA/ZIP_STRUCTURE"
    assert reason(data[:-30]) == "DATA/ZIP_STRUCTURE"
    assert reason(b"name,score\n") == "DATA/FILE_TYPE"


def test_row_65_bytes_hidden_between_entries_are_refused() -> None:
    data = packed(("a", TEXT))
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 1, 1, end - start, start + 6, 0)
    assert reason(data[:start] + b"HIDDEN" + data[start:end] + tail) == "DATA/ZIP_STRUCTURE"


def test_row_65_bytes_hidden_before_the_second_entry_are_refused() -> None:
    data = packed(("a", TEXT), ("b", TEXT))
    second, start, end = data.index(b"PK\x03\x04", 4), data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    directory = data[start:end].replace(struct.pack("<I", second) + b"b", struct.pack("<I", second + 6) + b"b")
    tail = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, 2, 2, end - start, start + 6, 0)
    assert reason(data[:second] + b"HIDDEN" + data[second:start] + directory + tail) == "DATA/ZIP_STRUCTURE"


def test_a_bomb_is_refused_by_ratio_and_by_size_from_its_headers() -> None:
    bomb = packed(("a", b"\0" * 3_000_000))
    assert reason(bomb) == "DATA/RATIO"
    assert reason(bomb, ArchiveLimits(entry_bytes=2_000_000)) == "DATA/EXPANDED_SIZE"
    two = packed(("a", TEXT), ("b", TEXT))
    assert reason(two, ArchiveLimits(total_bytes=len(TEXT) + 1)) == "DATA/EXPANDED_SIZE"
    assert reason(two, ArchiveLimits(archive_bytes=100)) == "DATA/TOO_LARGE"


def test_row_66_a_manifest_must_name_every_file_and_its_digest() -> None:
    good = {"a.csv": hashlib.sha256(TEXT).hexdigest().upper()}
    with open_archive(io.BytesIO(packed(("a.csv", TEXT)))) as archive:
        archive.check_manifest(good)
        for bad in ({}, {"a.csv": "0" * 64}, good | {"b.csv": "0" * 64}):
            with pytest.raises(FileRefused, match="manifest") as caught:
                archive.check_manifest(bad)
            assert caught.value.reason == "DATA/MANIFEST"
