"""What the adapter keeps in its private folder: the rows of the workbook, sealed, and which files it has taken."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from google.protobuf.message import DecodeError

from xinqiao.adapters import durable
from xinqiao.adapters.spool import Seal
from xinqiao.api.adapter.v1.adapter_service_pb2 import DeliverRequest
from xinqiao.contract.errors import Refusal

Outcome = Literal["taken", "partly", "refused", "conflict"]


class Rows:
    """What was delivered and is not over: one sealed file for each referral, task and recall, by its name."""

    def __init__(self, folder: Path, seal: Seal | None) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._seal = seal

    def put(self, name: str, request: DeliverRequest) -> None:
        """Keep ``request`` as the row ``name``, in place of an earlier one. Raises OSError."""
        path = self._path(name)
        data = request.SerializeToString(deterministic=True)
        durable.replace(path, data if self._seal is None else self._seal.seal(data, table="rows", key=path.name))

    def get(self, name: str) -> DeliverRequest | None:
        """The row, or None; also None for one that was damaged or whose key is gone."""
        path = self._path(name)
        try:
            blob = path.read_bytes()
        except FileNotFoundError:
            return None
        return self._open(path, blob)

    def drop(self, name: str) -> None:
        """Harmless when there is none."""
        self._path(name).unlink(missing_ok=True)

    def all(self) -> list[DeliverRequest]:
        """Every row, in the order of the names of what they are about."""
        found = [self._open(path, path.read_bytes()) for path in self._folder.glob("*.row")]
        return sorted((row for row in found if row is not None), key=subject)

    def _open(self, path: Path, blob: bytes) -> DeliverRequest | None:
        try:
            data = blob if self._seal is None else self._seal.open(blob, table="rows", key=path.name)
            return DeliverRequest.FromString(data)
        except (Refusal, DecodeError):
            return None

    def _path(self, name: str) -> Path:
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.row"


def subject(request: DeliverRequest) -> str:
    """The name of what a delivery is about."""
    body = request.WhichOneof("body")
    if body == "referral":
        return request.referral.referral.name
    if body == "referral_update":
        return request.referral_update.name
    return request.task.task.name if body == "task" else request.recall.name


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that was read: its digest and what became of it."""

    name: str
    sha256: str
    size: int
    mtime: int
    outcome: Outcome
    items: int = 0
    refused: int = 0


class Ledger:
    """Files read, in order. The gateway's cursor says how many count: what it does not know is read again.

    A gateway restored from a backup thus loses nothing, and neither does an adapter that lost this folder.
    """

    def __init__(self, path: Path, cursor: str) -> None:
        self._path = path
        self._lines: list[str] = []
        self.entries: list[Entry] = []
        for line in _lines(path):
            try:
                self.entries.append(Entry(**cast("dict[str, Any]", json.loads(line))))
            except (ValueError, TypeError):
                break
            self._lines.append(line)
        ended, _, self.begun = cursor.partition("+")
        count, _, digest = ended.partition(".")
        keep = int(count) if count.isascii() and count.isdigit() and len(count) < 10 else 0
        if keep > len(self.entries) or self._digest(keep) != digest:
            keep = 0
        if keep < len(self._lines):
            del self._lines[keep:], self.entries[keep:]
            self._store()

    def add(self, entry: Entry) -> str:
        """Append; returns the cursor that covers it."""
        self._lines.append(json.dumps(asdict(entry), separators=(",", ":")))
        self.entries.append(entry)
        self._store()
        return self.cursor

    @property
    def cursor(self) -> str:
        """Covers every entry so far."""
        return f"{len(self._lines)}.{self._digest(len(self._lines))}"

    def knows(self, name: str, size: int, mtime: int) -> bool:
        """Whether this very file was read, as far as its listing tells."""
        return any((e.name, e.size, e.mtime) == (name, size, mtime) for e in self.entries)

    def has(self, sha256: str) -> bool:
        """Whether this content was taken, under any name. What was refused may be right under another, or another day."""
        return any(entry.sha256 == sha256 and entry.outcome in ("taken", "partly") for entry in self.entries)

    def conflicts(self, name: str, sha256: str) -> bool:
        """Whether other content of this name was taken whole. What had refused rows may be mended under its name."""
        return any(e.name == name and e.sha256 != sha256 and e.outcome == "taken" for e in self.entries)

    def _digest(self, count: int) -> str:
        return hashlib.sha256("\n".join(self._lines[:count]).encode()).hexdigest()[:16]

    def _store(self) -> None:
        durable.replace(self._path, "".join(line + "\n" for line in self._lines).encode())


def _lines(path: Path) -> Iterator[str]:
    try:
        yield from path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return
