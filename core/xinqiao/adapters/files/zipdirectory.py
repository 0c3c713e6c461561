"""The directory of a ZIP archive, read so strictly that no two programs could see different contents in it.

Every byte must belong to exactly one entry, the directory or the end record; the directory and the header before each
entry must agree. Layouts: APPNOTE.TXT 6.3.10, sections 4.3.6 to 4.3.16.
"""

import stat
import struct
import unicodedata
from dataclasses import dataclass
from typing import BinaryIO

from xinqiao.adapters.files.places import FileRefused, Place
from xinqiao.adapters.files.rows import FORBIDDEN, refuse

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_DESCRIPTOR = 0x0008
_UTF8_NAME = 0x0800
_PATCH = 0x0020
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
STORED, DEFLATED = 0, 8
_AES = 99


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """Most that an archive may hold; sizes in bytes.

    ``ratio`` is expanded to packed size and is judged only from ``ratio_from_bytes`` on: short files of zeros are
    harmless. Deflate cannot exceed 1032.
    """

    archive_bytes: int = 256 * 1024 * 1024
    entries: int = 1000
    entry_bytes: int = 256 * 1024 * 1024
    total_bytes: int = 512 * 1024 * 1024
    ratio: int = 200
    ratio_from_bytes: int = 1024 * 1024
    name_bytes: int = 255


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: ``number`` from 1 in directory order (names are not repeated in messages), ``data`` its offset."""

    number: int
    name: str
    method: int
    crc: int
    packed: int
    size: int
    data: int

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/")


@dataclass(frozen=True, slots=True)
class _End:
    entries: int
    size: int
    offset: int


@dataclass(frozen=True, slots=True)
class _Central:
    number: int
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    disk: int
    mode: int


def read_directory(stream: BinaryIO, name: str, limits: ArchiveLimits) -> list[Entry]:
    """All entries, checked. Raises ``FileRefused``: ``DATA/ZIP_STRUCTURE``, ``ZIP_NAME``, ``ENCRYPTED`` and so on."""
    return _Directory(stream, name, limits).entries()


class _Directory:
    def __init__(self, stream: BinaryIO, name: str, limits: ArchiveLimits) -> None:
        self._stream = stream
        self._name = name
        self._limits = limits

    def entries(self) -> list[Entry]:
        length = self._stream.seek(0, 2)
        if length > self._limits.archive_bytes:
            raise refuse("DATA/TOO_LARGE", f"larger than {self._limits.archive_bytes} bytes", self._name)
        end = self._end(length)
        central = self._central(end)
        for item in central:
            self._check_kind(item)
        names = [self._entry_name(item) for item in central]
        self._check_clashes(names)
        self._check_sizes(central)
        entries: list[Entry] = []
        position = 0
        for item, text in sorted(zip(central, names, strict=True), key=lambda pair: pair[0].offset):
            if item.offset != position:
                raise self._broken("entries overlap, or bytes between or before them belong to none", item.number)
            data = self._check_local(item)
            position = self._after(item, data)
            entries.append(Entry(item.number, text, item.method, item.crc, item.packed, item.size, data))
        if position != end.offset:
            raise self._broken("bytes between the entries and the directory belong to none")
        return sorted(entries, key=lambda entry: entry.number)

    def _end(self, length: int) -> _End:
        raw = self._read(length - _END.size, _END.size) if length >= _END.size else b""
        if not raw.startswith(b"PK\x05\x06"):
            if self._read(0, 4) not in (b"PK\x03\x04", b"PK\x05\x06"):
                raise refuse("DATA/FILE_TYPE", "is not a ZIP archive", self._name)
            raise self._broken("the end record is not at the end: cut off, or data or a comment was appended")
        _, disk, first_disk, here, entries, size, offset, comment = _END.unpack(raw)
        if comment:
            raise self._broken("the end record announces a comment that is not there")
        start = length - _END.size
        if _FULL16 in (disk, first_disk, here, entries) or _FULL32 in (size, offset) or self._has_locator(start):
            short = (disk, first_disk, here, entries, size, offset)
            disk, first_disk, here, entries, size, offset, start = self._end64(start)
            wide = (disk, first_disk, here, entries, size, offset)
            if any(a not in (b, _FULL16, _FULL32) for a, b in zip(short, wide, strict=True)):
                raise self._broken("the two end records disagree")
        if disk or first_disk or here != entries:
            raise self._broken("spans several disks; send one file")
        if entries > self._limits.entries:
            raise refuse("DATA/ZIP_ENTRIES", f"more than {self._limits.entries} entries", self._name)
        if offset + size != start:
            raise self._broken("the directory is not where the end record says: data before the archive, or cut off")
        return _End(entries, size, offset)

    def _has_locator(self, end_start: int) -> bool:
        start = end_start - _END64_LOCATOR.size
        return start >= 0 and self._read(start, 4) == b"PK\x06\x07"

    def _end64(self, end_start: int) -> tuple[int, int, int, int, int, int, int]:
        locator_start = end_start - _END64_LOCATOR.size
        start = locator_start - _END64.size
        if start < 0 or not self._has_locator(end_start):
            raise self._broken("the zip64 end record is missing")
        _, disk, offset, disks = _END64_LOCATOR.unpack(self._read(locator_start, _END64_LOCATOR.size))
        if disk or disks != 1:
            raise self._broken("spans several disks; send one file")
        raw = self._read(start, _END64.size)
        if offset != start or not raw.startswith(b"PK\x06\x06"):
            raise self._broken("the zip64 end record is not where its locator says")
        _, length, _, _, disk, first_disk, here, entries, size, directory = _END64.unpack(raw)
        if length != _END64.size - 12:
            raise self._broken("the zip64 end record has an extension")
        return disk, first_disk, here, entries, size, directory, start

    def _central(self, end: _End) -> list[_Central]:
        # Bounded before reading: fixed part, name, extra and comment of each entry have 16-bit lengths.
        if end.size > end.entries * (_CENTRAL.size + 4096) + 1:
            raise self._broken("the directory is larger than its entries can be")
        raw = self._read(end.offset, end.size)
        found: list[_Central] = []
        at = 0
        for number in range(1, end.entries + 1):
            if len(raw) - at < _CENTRAL.size or raw[at : at + 4] != b"PK\x01\x02":
                raise self._broken("the directory is damaged", number)
            (
                _,
                _,
                _,
                flags,
                method,
                _,
                _,
                crc,
                packed,
                size,
                name_len,
                extra_len,
                comment_len,
                disk,
                _,
                mode,
                offset,
            ) = _CENTRAL.unpack_from(raw, at)
            at += _CENTRAL.size
            raw_name, extra = raw[at : at + name_len], raw[at + name_len : at + name_len + extra_len]
            at += name_len + extra_len + comment_len
            if at > len(raw):
                raise self._broken("the directory is damaged", number)
            size, packed, offset = self._wide(extra, [size, packed, offset], number)
            found.append(_Central(number, raw_name, flags, method, crc, packed, size, offset, disk, mode >> 16))
        if at != len(raw):
            raise self._broken("the directory holds bytes that belong to no entry")
        return found

    def _wide(self, extra: bytes, values: list[int], number: int) -> list[int]:
        """Replace each 32-bit value that is all ones by its 64-bit one from the zip64 extra field, in order."""
        wanted = values.count(_FULL32)
        if not wanted:
            return values
        at = 0
        while at + 4 <= len(extra):
            kind, length = struct.unpack_from("<2H", extra, at)
            if kind == 1 and length >= 8 * wanted and at + 4 + length <= len(extra):
                wide = iter(struct.unpack_from(f"<{wanted}Q", extra, at + 4))
                return [next(wide) if value == _FULL32 else value for value in values]
            at += 4 + length
        raise self._broken("a zip64 size is missing", number)

    def _check_kind(self, item: _Central) -> None:
        if item.flags & _ENCRYPTED or item.method == _AES:
            raise self._refusal("DATA/ENCRYPTED", "is encrypted; send it without a password", item.number)
        if item.method not in (STORED, DEFLATED) or item.flags & _PATCH:
            raise self._broken("uses a compression other than deflate", item.number)
        if item.disk:
            raise self._broken("spans several disks; send one file", item.number)
        kind = stat.S_IFMT(item.mode)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise self._refusal("DATA/ZIP_NAME", "is a symbolic link or a device", item.number)

    def _entry_name(self, item: _Central) -> str:
        raw = item.raw_name
        try:
            text = raw.decode("utf-8" if item.flags & _UTF8_NAME else "ascii")
        except UnicodeDecodeError:
            message = "has a name that is not declared UTF-8; pack it anew with UTF-8 or plain names"
            raise self._refusal("DATA/ZIP_NAME", message, item.number) from None
        problem = _name_problem(text, len(raw), self._limits.name_bytes)
        kind = stat.S_IFMT(item.mode)
        if problem is None and kind and text.endswith("/") != (kind == stat.S_IFDIR):
            problem = "says both file and folder"
        if problem is None and text.endswith("/") and (item.size or item.packed > 2):
            problem = "is a folder with content"
        if problem is not None:
            raise self._refusal("DATA/ZIP_NAME", problem, item.number)
        return text

    def _check_clashes(self, names: list[str]) -> None:
        seen: dict[str, int] = {}
        for number, name in enumerate(names, start=1):
            key = _clash_key(name)
            if key in seen:
                message = f"has the same name as entry {seen[key]}, but for case or accents"
                raise self._refusal("DATA/ZIP_NAME", message, number)
            seen[key] = number
        files = {_clash_key(name) for name in names if not name.endswith("/")}
        for number, name in enumerate(names, start=1):
            parts = _clash_key(name).split("/")
            if any("/".join(parts[:depth]) in files for depth in range(1, len(parts))):
                raise self._refusal("DATA/ZIP_NAME", "lies in a folder whose name is also a file", number)

    def _check_sizes(self, central: list[_Central]) -> None:
        limits = self._limits
        for item in central:
            if item.size > limits.entry_bytes:
                message = f"expands to more than {limits.entry_bytes} bytes"
                raise self._refusal("DATA/EXPANDED_SIZE", message, item.number)
            if item.size >= limits.ratio_from_bytes and item.size > item.packed * limits.ratio:
                raise self._refusal("DATA/RATIO", f"expands more than {limits.ratio} times", item.number)
            if item.method == STORED and item.size != item.packed:
                raise self._broken("is stored, but its two sizes differ", item.number)
        if sum(item.size for item in central) > limits.total_bytes:
            raise refuse("DATA/EXPANDED_SIZE", f"expands to more than {limits.total_bytes} bytes", self._name)

    def _check_local(self, item: _Central) -> int:
        """Compare the header before the data with the directory; returns the offset of the data."""
        raw = self._read(item.offset, _LOCAL.size)
        if not raw.startswith(b"PK\x03\x04"):
            raise self._broken("has no header where the directory says", item.number)
        fields: tuple[int, ...] = _LOCAL.unpack(raw)[2:]
        flags, method, _, _, crc, packed, size, name_len, extra_len = fields
        tail = self._read(item.offset + _LOCAL.size, name_len + extra_len)
        size, packed = self._wide(tail[name_len:], [size, packed], item.number)
        same = (flags, method, tail[:name_len]) == (item.flags, item.method, item.raw_name)
        told = (crc, packed, size)
        late = item.flags & _DESCRIPTOR and all(
            value in (0, whole) for value, whole in zip(told, (item.crc, item.packed, item.size), strict=True)
        )
        if not same or not (late or told == (item.crc, item.packed, item.size)):
            raise self._broken("its header and the directory disagree", item.number)
        return item.offset + _LOCAL.size + name_len + extra_len

    def _after(self, item: _Central, data: int) -> int:
        """The offset after the data and, where announced, its descriptor."""
        end = data + item.packed
        if not item.flags & _DESCRIPTOR:
            return end
        raw = self._read(end, 24, exact=False)
        for layout in ("<4s3I", "<4sI2Q", "<3I", "<I2Q"):
            size = struct.calcsize(layout)
            if len(raw) < size:
                continue
            fields: tuple[object, ...] = struct.unpack_from(layout, raw)
            if fields[-3:] == (item.crc, item.packed, item.size) and fields[0] in (b"PK\x07\x08", item.crc):
                return end + size
        raise self._broken("the descriptor after its data is missing or differs", item.number)

    def _read(self, offset: int, size: int, *, exact: bool = True) -> bytes:
        self._stream.seek(offset)
        raw = self._stream.read(size)
        if exact and len(raw) != size and size > 4:
            raise self._broken("is cut off")
        return raw

    def _broken(self, message: str, number: int | None = None) -> FileRefused:
        return self._refusal("DATA/ZIP_STRUCTURE", message, number)

    def _refusal(self, reason: str, message: str, number: int | None) -> FileRefused:
        where = "the archive" if number is None else f"entry {number}"
        return FileRefused(reason, f"{where}: {message}", Place(self._name))


def _name_problem(name: str, raw_length: int, limit: int) -> str | None:
    if not name or raw_length > limit:
        return f"has an empty name or one longer than {limit} bytes"
    if FORBIDDEN.search(name) or any(mark in name for mark in "\t\r\n"):
        return "has control or invisible characters in its name"
    if "\\" in name or ":" in name:
        return "has a backslash or a drive in its name"
    if name.startswith("/"):
        return "has an absolute name"
    parts = name.removesuffix("/").split("/")
    if any(part in ("", ".", "..") or part != part.strip() or part.endswith(".") for part in parts):
        return "has a name that leaves its folder, or that systems read differently"
    return None


def _clash_key(name: str) -> str:
    return unicodedata.normalize("NFKC", name.removesuffix("/")).casefold()
