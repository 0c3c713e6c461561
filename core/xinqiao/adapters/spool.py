"""A durable inbox in a folder: what a partner pushes is on disk before it is acknowledged, and handed on from there.

An item lies in one file until the core has it; afterwards only the hashes of its key and content are remembered, so
that a repeat is known and other content under a known key is noticed. What is pending is sealed where the gateway gives
a ``Seal``, under a key of this agency's and bound to the item's file name.
"""

import hashlib
import os
import re
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from xinqiao.adapters import durable
from xinqiao.contract.errors import Refusal

Verdict = Literal["new", "same", "other"]
State = Literal["unknown", "pending", "done"]

MAX_PENDING: Final = 10_000
MAX_PENDING_BYTES: Final = 512 * 2**20
REMEMBERED: Final = 200_000
"""Keys remembered after their items are done; the oldest go first."""

_FILE = re.compile(r"(?P<number>[0-9]{12})-(?P<key>[0-9a-f]{64})\.item", re.ASCII)
_MARK = re.compile(r"(?P<spool>[0-9a-f]{8}):(?P<number>[0-9]{1,12})", re.ASCII)
_LINE = re.compile(r"[0-9]{1,12} [0-9a-f]{64} [0-9a-f]{64}\n", re.ASCII)
_SEEN = "seen"
_NAME = "name"


class Seal(Protocol):
    """What the store's ``Sealer`` offers: authenticated encryption bound to a place; ``open`` raises Refusal."""

    def seal(self, plaintext: bytes, *, table: str, key: str) -> bytes: ...
    def open(self, blob: bytes, *, table: str, key: str) -> bytes: ...


class SpoolFull(Exception):
    """There is no room: tell the partner to come back later, and take nothing."""


@dataclass(frozen=True, slots=True)
class Item:
    """Something pushed and not yet handed on. ``key`` is the SHA-256 of the key it was put under.

    ``data`` is empty where the file was changed or its key is lost: hand that on too, as something to ask for again.
    """

    number: int
    key: str
    data: bytes


class Spool:
    """The inbox of one agency; safe from several threads, for one process at a time.

    ``mark`` and ``settle`` tie it to a read cursor: the cursor that the gateway stores says up to where it has the
    items, so only a cursor that comes back may remove them. What is handed to an iterator is not yet stored.
    """

    def __init__(self, folder: Path, *, seal: Seal | None = None, sync: Callable[[int], None] | None = None) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._seal = seal
        self._sync = sync or os.fsync
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}
        self._files: dict[int, tuple[str, int]] = {}
        self._number = 0
        self.name: Final = self._own_name()
        self._load()

    def put(self, key: str, data: bytes) -> Verdict:
        """Keep ``data`` under ``key`` and return once it is on disk.

        ``same``: it is here or was handed on already; ``other``: the key is known with other content, nothing is kept.
        Raises SpoolFull, or OSError when the disk does not take it; then nothing is kept.
        """
        hashed, content = _sha256(key.encode()), _sha256(data)
        with self._lock:
            known = self._known.get(hashed)
            if known is not None:
                return "same" if known == content else "other"
            if len(self._files) >= MAX_PENDING or self._bytes() + len(data) > MAX_PENDING_BYTES:
                raise SpoolFull
            number = self._number + 1
            path = self._path(number, hashed)
            sealed = data if self._seal is None else self._seal.seal(data, table="spool", key=path.name)
            try:
                durable.replace(path, sealed, self._sync)
            except OSError:
                path.unlink(missing_ok=True)
                raise
            self._number = number
            self._known[hashed] = content
            self._files[number] = (hashed, len(data))
        return "new"

    def state(self, key: str) -> State:
        """Where what was put under ``key`` is: here (``pending``), or handed on; ``unknown`` also once forgotten."""
        hashed = _sha256(key.encode())
        with self._lock:
            if any(pending == hashed for pending, _ in self._files.values()):
                return "pending"
            return "done" if hashed in self._known else "unknown"

    def pending(self) -> list[Item]:
        """What was put and is not done, oldest first."""
        with self._lock:
            wanted = sorted(self._files.items())
            return [Item(number, key, self._read(self._path(number, key))) for number, (key, _) in wanted]

    def each(self) -> Iterator[Item]:
        """As ``pending``, but one in memory at a time; what is done meanwhile is left out."""
        with self._lock:
            wanted = [(number, key) for number, (key, _) in sorted(self._files.items())]
        for number, key in wanted:
            try:
                data = self._read(self._path(number, key))
            except FileNotFoundError:
                continue
            yield Item(number, key, data)

    def done(self, key: str) -> None:
        """The core has the item of ``Item.key``: its content goes, its hashes stay. Harmless when there is none."""
        with self._lock:
            self._forget([number for number, (hashed, _) in self._files.items() if hashed == key])

    def mark(self, number: int) -> str:
        """What a cursor says once the core has every item up to ``number``."""
        return f"{self.name}:{number}"

    def settle(self, mark: str) -> None:
        """Take every item as done that ``mark``, come back in a cursor, covers; a mark of another spool says nothing."""
        found = _MARK.fullmatch(mark)
        if found is None or found["spool"] != self.name:
            return
        with self._lock:
            self._forget([number for number in self._files if number <= int(found["number"])])

    def _forget(self, numbers: list[int]) -> None:
        if not numbers:
            return
        lines = "".join(f"{n} {self._files[n][0]} {self._known[self._files[n][0]]}\n" for n in sorted(numbers))
        durable.append(self._folder / _SEEN, lines.encode(), self._sync)
        for number in numbers:
            key, _ = self._files.pop(number)
            self._path(number, key).unlink(missing_ok=True)

    def _own_name(self) -> str:
        path = self._folder / _NAME
        if not path.exists():
            durable.replace(path, secrets.token_hex(4).encode(), self._sync)
        return path.read_text("ascii")

    def _load(self) -> None:
        seen = self._folder / _SEEN
        # A line torn by a crash is that of an item whose file is still there; no damage here may close the inbox.
        lines = seen.read_text("ascii").splitlines(keepends=True) if seen.exists() else []
        whole = [line for line in lines if _LINE.fullmatch(line)]
        kept = whole[-REMEMBERED:]
        for line in kept:
            number, key, content = line.split()
            self._known[key] = content
            self._number = max(self._number, int(number))
        if len(kept) != len(lines):
            durable.replace(seen, "".join(kept).encode(), self._sync)
        for path in sorted(self._folder.iterdir()):
            found = _FILE.fullmatch(path.name)
            if found is not None:
                data = self._read(path)
                self._known[found["key"]] = _sha256(data)
                self._files[int(found["number"])] = (found["key"], len(data))
                self._number = max(self._number, int(found["number"]))
            elif path.suffix == ".new":
                path.unlink()

    def _read(self, path: Path) -> bytes:
        blob = path.read_bytes()
        try:
            return blob if self._seal is None else self._seal.open(blob, table="spool", key=path.name)
        except Refusal:
            return b""

    def _path(self, number: int, key: str) -> Path:
        return self._folder / f"{number:012d}-{key}.item"

    def _bytes(self) -> int:
        return sum(size for _, size in self._files.values())


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
