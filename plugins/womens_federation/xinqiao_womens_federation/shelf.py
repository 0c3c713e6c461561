"""The place both sides see: two folders, here or on the federation's SFTP server. Whole files only."""

import hashlib
import json
import os
import re
import stat
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from xinqiao.adapters import recording
from xinqiao.adapters.errors import PartnerUnavailable

MAX_BYTES: Final = 64 * 1024 * 1024
INBOX, OUTBOX = "inbox", "outbox"
MANIFEST = ".manifest.json"


@dataclass(frozen=True, slots=True)
class Listed:
    """A regular file as listed."""

    name: str
    size: int
    mtime: int


class Files(Protocol):
    """An open shelf. ``place`` is ``inbox`` or ``outbox``, or a folder in one of them.

    Every call raises PartnerUnavailable when the place cannot be used; ``get`` raises FileNotFoundError.
    """

    def names(self, place: str) -> list[Listed]:
        """The regular files there, no links; none where there is no such folder within ``inbox`` or ``outbox``."""
        ...

    def get(self, place: str, name: str, most: int = MAX_BYTES) -> bytes:
        """All of a file, or its first ``most`` + 1 bytes."""
        ...

    def put(self, place: str, name: str, data: bytes) -> None:
        """Write ``name`` as ``.part`` and rename it: a reader sees all of it or nothing."""
        ...

    def remove(self, place: str, name: str) -> None:
        """Remove a file; harmless when there is none."""
        ...


class Shelf(Protocol):
    """How to get at the files."""

    def open(self, timeout_s: float) -> AbstractContextManager[Files]:
        """The files, for one piece of work. Raises PartnerUnavailable or PartnerRefused."""
        ...


class FolderShelf:
    """Two folders of this machine."""

    def __init__(self, inbox: Path, outbox: Path) -> None:
        self._roots = {INBOX: inbox, OUTBOX: outbox}

    @contextmanager
    def open(self, timeout_s: float) -> Generator[Files, None, None]:
        """See that both are there."""
        for name, folder in self._roots.items():
            if not folder.is_dir():
                raise PartnerUnavailable(f"the {name} is not a folder that can be seen; mount or create it")
        try:
            yield self
        except FileNotFoundError:
            raise
        except OSError as error:
            raise PartnerUnavailable(f"the folders cannot be used: {error.strerror}") from None

    def names(self, place: str) -> list[Listed]:
        """See ``Files``."""
        folder, found = self._folder(place), list[Listed]()
        if not folder.is_dir():
            return found
        for path in folder.iterdir():
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(status.st_mode):
                found.append(Listed(path.name, status.st_size, int(status.st_mtime)))
        return found

    def get(self, place: str, name: str, most: int = MAX_BYTES) -> bytes:
        """See ``Files``; a link is not followed, so nothing outside of the folder can be read."""
        descriptor = os.open(self._folder(place) / name, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "rb") as stream:
            data = stream.read(most + 1)
        recording.filed("in", name, data)
        return data

    def put(self, place: str, name: str, data: bytes) -> None:
        """See ``Files``."""
        folder = self._folder(place)
        folder.mkdir(exist_ok=True)
        part = folder / f"{name}.part"
        with part.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(folder / name)
        recording.filed("out", name, data)

    def remove(self, place: str, name: str) -> None:
        """See ``Files``."""
        (self._folder(place) / name).unlink(missing_ok=True)

    def _folder(self, place: str) -> Path:
        root, _, inner = place.partition("/")
        return self._roots[root] / inner if inner else self._roots[root]


def put_with_manifest(files: Files, place: str, name: str, data: bytes, about: dict[str, object]) -> None:
    """The file, then the manifest beside it: whoever waits for the manifest never reads half a file."""
    told = {"file": name, "sha256": hashlib.sha256(data).hexdigest(), **about}
    files.put(place, name, data)
    files.put(place, name + MANIFEST, json_bytes(told))


def json_bytes(value: object) -> bytes:
    """As a small file that a person can read."""
    return (json.dumps(value, ensure_ascii=False, indent=2, sort_keys=True) + "\n").encode()


_PLAIN_NAME = re.compile(r"[A-Za-z0-9._()（） 一二三四五六七八九十零年月妇联心桥工作簿报表更正-]{1,80}")


def safe_label(name: str) -> str:
    """``name`` if it can hardly be a person's, else a stable stand-in."""
    if _PLAIN_NAME.fullmatch(name):
        return name
    suffix = ".xlsx" if name.lower().endswith(".xlsx") else ""
    return "file-" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12] + suffix


def is_odd(name: str) -> bool:
    """Whether no honest file has this name: a path, an option, an odd character, another type than it seems."""
    return not name.isprintable() or "/" in name or "\\" in name or name.startswith("-") or not name.endswith(".xlsx")


def plain_name(name: str) -> str:
    """``name`` as a part of the name of a file that goes back: never a path, whatever the partner called its file."""
    return safe_label(name) if is_odd(name) else name
