"""ZIP archives from partners, opened only after every name, size and byte range has been judged."""

import hashlib
import io
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from xinqiao.adapters.files.places import FileRefused, Place
from xinqiao.adapters.files.zipdirectory import DEFLATED, ArchiveLimits, Entry, read_directory

_CHUNK = 64 * 1024
_DEFAULT_LIMITS = ArchiveLimits()
_ARCHIVE_STARTS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08", b"Rar!", b"7z\xbc\xaf", b"\x1f\x8b", b"\xfd7zX", b"BZh")


def open_archive(
    source: BinaryIO | Path, limits: ArchiveLimits = _DEFAULT_LIMITS, *, name: str = "archive"
) -> "Archive":
    """Open a ZIP archive; ``name`` stands for it in every message. Use as a context manager.

    ``source`` must be seekable and stay unchanged. Raises ``FileRefused`` for anything two programs could read
    differently, for encryption, for archives inside, and for sizes above ``limits``. Content is checked against its
    CRC and size while it is read; ``Archive.verify`` does so for all of it.
    """
    stream = source.open("rb") if isinstance(source, Path) else source
    try:
        archive = Archive(stream, name, limits, owned=isinstance(source, Path))
        archive.refuse_nested()
    except BaseException:
        if isinstance(source, Path):
            stream.close()
        raise
    return archive


class Archive:
    """The files of a checked archive. Folders are not files: they are only reported."""

    def __init__(self, stream: BinaryIO, name: str, limits: ArchiveLimits, *, owned: bool) -> None:
        self._stream = stream
        self._name = name
        self._limits = limits
        self._owned = owned
        entries = read_directory(stream, name, limits)
        self._files = {entry.name: entry for entry in entries if not entry.is_folder}
        self._folders = tuple(entry.name for entry in entries if entry.is_folder)

    def __enter__(self) -> "Archive":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file if ``open_archive`` opened it."""
        if self._owned:
            self._stream.close()

    def names(self) -> list[str]:
        """The files, in directory order. A partner chose these names: do not log them."""
        return list(self._files)

    def folders(self) -> tuple[str, ...]:
        """The folder entries, which were ignored."""
        return self._folders

    def size(self, name: str) -> int:
        """Expanded size in bytes of a file. Raises KeyError for a name that is not in ``names``."""
        return self._files[name].size

    def open(self, name: str) -> io.BufferedReader:
        """A stream of the expanded file; a wrong CRC or size raises ``DATA/ZIP_STRUCTURE`` when it is reached.

        Raises KeyError for a name that is not in ``names``.
        """
        entry = self._files[name]
        return io.BufferedReader(_EntryStream(self._stream, entry, self._name), _CHUNK)

    def digest(self, name: str) -> str:
        """SHA-256 (lower-case hex) of the expanded file; reads, and so verifies, all of it."""
        with self.open(name) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def verify(self) -> None:
        """Read every file to its end, so that sizes and CRCs are proved and not only told."""
        for name in self._files:
            with self.open(name) as stream:
                while stream.read(_CHUNK):
                    pass

    def check_manifest(self, digests: Mapping[str, str]) -> None:
        """Raise ``DATA/MANIFEST`` unless the files are exactly those of ``digests`` (name -> SHA-256 hex)."""
        if set(digests) != set(self._files):
            missing, more = len(set(digests) - set(self._files)), len(set(self._files) - set(digests))
            message = f"{missing} file(s) of the manifest are missing, {more} are not in it; send the package again"
            raise FileRefused("DATA/MANIFEST", message, Place(self._name))
        for name, expected in digests.items():
            if self.digest(name) != expected.lower():
                message = f"entry {self._files[name].number}: differs from the manifest; send the package again"
                raise FileRefused("DATA/MANIFEST", message, Place(self._name))

    def refuse_nested(self) -> None:
        """Raise ``DATA/ZIP_NESTED`` if a file is itself an archive, judged by its first bytes."""
        for name, entry in self._files.items():
            with self.open(name) as stream:
                if stream.read(4).startswith(_ARCHIVE_STARTS):
                    message = f"entry {entry.number}: is an archive (or a workbook) itself; send the files side by side"
                    raise FileRefused("DATA/ZIP_NESTED", message, Place(self._name))


class _EntryStream(io.RawIOBase):
    """Expands one entry, believing neither its size nor its CRC."""

    def __init__(self, stream: BinaryIO, entry: Entry, archive: str) -> None:
        super().__init__()
        self._stream = stream
        self._entry = entry
        self._archive = archive
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS) if entry.method == DEFLATED else None
        self._at = entry.data
        self._packed_left = entry.packed
        self._pending = b""
        self._size = 0
        self._crc = 0
        self._done = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview", /) -> int:  # type: ignore[override]
        target = memoryview(buffer).cast("B")
        if self._done or not len(target):
            return 0
        piece = self._stored(len(target)) if self._inflate is None else self._inflated(len(target))
        if not piece:
            self._finish()
            return 0
        self._size += len(piece)
        if self._size > self._entry.size:
            raise self._broken("expands to more than its header says")
        self._crc = zlib.crc32(piece, self._crc)
        target[: len(piece)] = piece
        return len(piece)

    def _stored(self, wanted: int) -> bytes:
        return self._packed(wanted)

    def _inflated(self, wanted: int) -> bytes:
        inflate = self._inflate
        assert inflate is not None  # narrows the type; the caller has looked
        while not inflate.eof:
            packed = inflate.unconsumed_tail or self._packed(_CHUNK)
            try:
                piece = inflate.decompress(packed, wanted)
            except zlib.error:
                raise self._broken("cannot be expanded: it is damaged") from None
            if piece:
                return piece
            if not packed:
                raise self._broken("cannot be expanded: it is cut off")
        return b""

    def _packed(self, wanted: int) -> bytes:
        # Several entries may be read in turn: each keeps its own position in the shared file.
        self._stream.seek(self._at)
        raw = self._stream.read(min(wanted, self._packed_left))
        self._at += len(raw)
        self._packed_left -= len(raw)
        return raw

    def _finish(self) -> None:
        left = self._packed_left or (self._inflate is not None and (self._inflate.unused_data != b""))
        if left or self._size != self._entry.size:
            raise self._broken("its size is not the one its header says")
        if self._crc != self._entry.crc:
            raise self._broken("its checksum is wrong: it was damaged on the way")
        self._done = True

    def _broken(self, message: str) -> FileRefused:
        return FileRefused("DATA/ZIP_STRUCTURE", f"entry {self._entry.number}: {message}", Place(self._archive))
