"""The inbox folder: which files are complete, which are new, and how far the gateway has taken them."""

import hashlib
import json
import os
import re
import stat
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from xinqiao.adapters import recording
from xinqiao.adapters.errors import PartnerUnavailable
from xinqiao_school.wire import write_whole

Outcome = Literal["taken", "refused", "conflict", "gone"]

_CHUNK = 1024 * 1024
# ASCII, and the words that schools name sheets and classes with; a name outside of it may be a person's.
_PLAIN_NAME = re.compile(
    r"[A-Za-z0-9._()（） 一二三四五六七八九十初高小年级班校学生期春秋季上下心理健康筛查测评量表分数成绩名册单-]{1,80}"
)
_ABOUT = (".manifest.json", ".receipt.json")


@dataclass(frozen=True, slots=True)
class InboxFile:
    """A complete file as found; ``label`` stands for it in messages and holds no person's name."""

    path: Path
    size: int
    mtime_ns: int
    ctime_ns: int

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def label(self) -> str:
        return safe_label(self.name)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that was begun: its digest, what became of it, and the rules (settings, manifest) it was judged by."""

    name: str
    sha256: str
    outcome: Outcome
    rules: str
    size: int
    mtime_ns: int
    ctime_ns: int
    roster: bool = False
    delta: bool = False

    def is_same_version(self, file: InboxFile) -> bool:
        """Whether ``file`` is surely this one, without reading it: a write of any kind moves ctime."""
        mine = (self.name, self.size, self.mtime_ns, self.ctime_ns)
        return mine == (file.name, file.size, file.mtime_ns, file.ctime_ns)


@dataclass(frozen=True, slots=True)
class Cursor:
    """After item ``item`` of ledger entry ``entry`` (from 1); ``ledger`` is the digest of the ledger up to it.

    In the text an item is a ``step``. An ``item`` there was a single student: the entry is then read from its beginning.
    """

    entry: int
    item: int
    done: bool
    ledger: str

    def text(self) -> str:
        about = {"done": self.done, "entry": self.entry, "step": self.item, "ledger": self.ledger}
        return json.dumps(about, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> "Cursor | None":
        """None for an empty cursor and for one that is not ours: then everything is read, which is harmless."""
        try:
            raw = json.loads(text) if text else None
        except ValueError:
            return None
        if not isinstance(raw, dict):
            return None
        found = cast("dict[str, object]", raw)
        entry, item, done, ledger = (found.get(key) for key in ("entry", "step", "done", "ledger"))
        item = 0 if item is None else item
        if type(entry) is int and type(item) is int and isinstance(done, bool) and isinstance(ledger, str):
            return cls(entry, item, done, ledger)
        return None


class Ledger:
    """Files begun, in order, in the adapter's private folder.

    The gateway's cursor says how much of it counts: what the gateway does not know is struck out and read again, so a
    gateway restored from a backup loses nothing, and neither does one whose adapter lost this folder.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "files.jsonl"
        self._lines: list[str] = []
        self.entries: list[Entry] = []
        try:
            text = self._path.read_text("utf-8")
        except FileNotFoundError:
            text = ""
        for line in text.splitlines():
            try:
                entry = Entry(**cast("dict[str, Any]", json.loads(line)))
            except (ValueError, TypeError):
                break
            self._lines.append(line)
            self.entries.append(entry)

    def rewind(self, cursor: Cursor | None) -> tuple[Entry, int] | None:
        """Strike out what ``cursor`` does not cover; return the entry begun and not ended, with its items taken."""
        keep, begun = 0, None
        if cursor is not None and 0 < cursor.entry <= len(self.entries) and self.digest(cursor.entry) == cursor.ledger:
            keep = cursor.entry if cursor.done else cursor.entry - 1
            begun = None if cursor.done else (self.entries[cursor.entry - 1], cursor.item)
        if keep < len(self.entries):
            del self._lines[keep:], self.entries[keep:]
            self._store()
        return begun

    def add(self, entry: Entry) -> int:
        """Append; returns its number from 1."""
        self._lines.append(json.dumps(asdict(entry), ensure_ascii=False, separators=(",", ":")))
        self.entries.append(entry)
        self._store()
        return len(self.entries)

    def digest(self, entry: int) -> str:
        """Digest of the first ``entry`` entries."""
        return hashlib.sha256("\n".join(self._lines[:entry]).encode()).hexdigest()[:16]

    def has_seen(self, file: InboxFile, sha256: str, rules: str) -> bool:
        """Whether this content was dealt with: taken under any name, or judged the same way by the same rules."""
        return any(
            entry.sha256 == sha256
            and (
                entry.outcome == "taken"
                or (entry.outcome == "refused" and entry.rules == rules)
                or (entry.outcome == "conflict" and entry.name == file.name)
            )
            for entry in self.entries
        )

    def conflicts(self, file: InboxFile, sha256: str) -> bool:
        """Whether other content of this name was taken. What was refused may be mended under its old name."""
        return any(e.name == file.name and e.sha256 != sha256 and e.outcome == "taken" for e in self.entries)

    def _store(self) -> None:
        write_whole(self._path, "".join(line + "\n" for line in self._lines).encode())


def scan(inbox: Path, first: str = "") -> list[InboxFile]:
    """The complete files, oldest first, but ``first`` before all. Raises PartnerUnavailable."""
    found: list[InboxFile] = []
    try:
        with os.scandir(inbox) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.endswith((".part", *_ABOUT)) or entry.is_dir():
                    continue
                found.extend(_regular(entry))
    except OSError as error:
        raise PartnerUnavailable(f"the inbox cannot be listed: {error.strerror}") from None
    return sorted(found, key=lambda file: (file.name != first, file.mtime_ns, file.name))


@contextmanager
def opened(file: InboxFile) -> Generator[BinaryIO, None, None]:
    """The file's bytes; a link is not followed, so nothing outside of the inbox can be read."""
    descriptor = os.open(file.path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as stream:
        tape = recording.current()
        if tape is not None and tape.running and file.size <= recording.MOST:
            recording.filed("in", file.name, stream.read())
            stream.seek(0)
        yield stream


def digest_of(stream: BinaryIO) -> str:
    """SHA-256 of all of ``stream``, which is left at its start."""
    hasher = hashlib.sha256()
    stream.seek(0)
    while chunk := stream.read(_CHUNK):
        hasher.update(chunk)
    stream.seek(0)
    return hasher.hexdigest()


def is_unchanged(file: InboxFile, stream: BinaryIO) -> bool:
    """Whether the open file is still as it was listed; one that is being written is left for the next read."""
    now = os.fstat(stream.fileno())
    return (now.st_size, now.st_mtime_ns) == (file.size, file.mtime_ns)


def entry_of(
    file: InboxFile, sha256: str, outcome: Outcome, rules: str, *, roster: bool = False, delta: bool = False
) -> Entry:
    """The ledger entry of ``file``."""
    return Entry(file.name, sha256, outcome, rules, file.size, file.mtime_ns, file.ctime_ns, roster, delta)


def gone(entry: Entry) -> Entry:
    """``entry`` after the platform took its file away before the gateway had all of it."""
    return replace(entry, outcome="gone")


def safe_label(name: str) -> str:
    """``name`` if it can hardly be a person's, else a stable stand-in."""
    if _PLAIN_NAME.fullmatch(name):
        return name
    suffix = Path(name).suffix
    stand_in = "file-" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return stand_in + (suffix if _PLAIN_NAME.fullmatch(suffix or "-") else "")


def _regular(entry: os.DirEntry[str]) -> Iterator[InboxFile]:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return
    if stat.S_ISREG(status.st_mode):
        yield InboxFile(Path(entry.path), status.st_size, status.st_mtime_ns, status.st_ctime_ns)
