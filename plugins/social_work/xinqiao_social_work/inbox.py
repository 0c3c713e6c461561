"""The inbox folder: which files are complete, what stands beside them, and names that may be repeated to people."""

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from xinqiao.adapters import recording
from xinqiao.adapters.errors import PartnerUnavailable
from xinqiao.adapters.files import FileRefused, Place
from xinqiao_social_work import wire

MOST_BYTES = 64 * 1024 * 1024
_MANIFEST = ".manifest.json"
_MANIFEST_BYTES = 64 * 1024
# After the word of the log only what is surely no person's name: anything else stands in messages as a digest.
_PLAIN = re.compile(r"[A-Za-z0-9._()-]{0,80}")


@dataclass(frozen=True, slots=True)
class InboxFile:
    """A complete file as found."""

    path: Path
    size: int
    mtime_ns: int

    @property
    def name(self) -> str:
        return self.path.name

    def read(self) -> bytes:
        """The bytes; a link is not followed. Raises OSError, and FileRefused for a file that is too large."""
        if self.size > MOST_BYTES:
            message = f"is larger than {MOST_BYTES} bytes; split it by year"
            raise FileRefused("DATA/TOO_LARGE", message, Place(safe_label(self.name)))
        descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        recording.filed("in", self.name, data)
        return data

    def manifest(self) -> bytes:
        """What stands in ``<name>.manifest.json`` beside it; empty for none."""
        try:
            with self.path.with_name(self.name + _MANIFEST).open("rb") as stream:
                return stream.read(_MANIFEST_BYTES + 1)
        except FileNotFoundError:
            return b""


def scan(inbox: Path) -> list[InboxFile]:
    """The complete files, oldest first. Raises PartnerUnavailable."""
    try:
        with os.scandir(inbox) as entries:
            found = [file for entry in entries for file in _regular(entry)]
    except OSError as error:
        raise PartnerUnavailable(f"the inbox cannot be listed: {error.strerror}") from None
    return sorted(found, key=lambda file: (file.mtime_ns, file.name))


def rows_told(manifest: bytes, sha256: str, label: str) -> int | None:
    """The row count that the manifest tells. Raises FileRefused where it is not this file's."""
    if not manifest:
        return None
    place = Place(f"{label}{_MANIFEST}")
    try:
        raw = json.loads(manifest) if len(manifest) <= _MANIFEST_BYTES else None
    except (ValueError, RecursionError):
        raw = None
    told = cast("dict[str, object]", raw) if isinstance(raw, dict) else {}
    rows, digest = told.get("rows"), told.get("sha256")
    if type(rows) is not int or not isinstance(digest, str):
        raise FileRefused("DATA/MANIFEST", 'must be {"rows": number, "sha256": hex}', place)
    if digest.lower() != sha256:
        raise FileRefused("DATA/MANIFEST", "differs from the SHA-256 of its manifest; send both again", Place(label))
    return rows


def safe_label(name: str) -> str:
    """``name`` if it can hardly hold a person's, else the word of the log and a stable stand-in."""
    words = [word for log in wire.LOGS for word in log.words] + [*wire.ANSWERS, *wire.BOOKS]
    word = next((word for word in words if name.startswith(word)), "")
    if _PLAIN.fullmatch(name.removeprefix(word)):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{word or 'file'}-{digest}"


def _regular(entry: os.DirEntry[str]) -> Iterator[InboxFile]:
    if entry.name.startswith(".") or entry.name.endswith((".part", _MANIFEST)):
        return
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISREG(status.st_mode):
        yield InboxFile(Path(entry.path), status.st_size, status.st_mtime_ns)
