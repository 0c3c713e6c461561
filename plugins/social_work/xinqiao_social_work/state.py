"""What the gateway has of each file, in the adapter's private folder; the read cursor names which state counts.

A state is written before the last item of a file is given, and counts when its name comes back as the cursor. Within a
file the cursor also says how many of its items were taken. A gateway restored from a backup goes on from the older state
that it names: what is brought twice replaces itself.
"""

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from xinqiao.adapters import durable
from xinqiao.api.exchange.v1.activity_service_pb2 import Activity

_NAME = re.compile(r"[0-9]{1,9}-[0-9a-f]{16}", re.ASCII)
_CURSOR = re.compile(r"(?P<state>[0-9a-f-]*)(\+(?P<taken>[0-9]{1,9})@(?P<file>[0-9a-f]{16}))?", re.ASCII)
_KEPT = 64


@dataclass(frozen=True, slots=True)
class Cursor:
    """After ``taken`` items of what ``file`` (a digest of the file and all it was judged by) adds to ``state``."""

    state: str
    taken: int = 0
    file: str = ""

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """The beginning for a text that is no cursor of ours: what is taken twice replaces itself."""
        found = _CURSOR.fullmatch(text)
        return cls(found["state"], int(found["taken"] or 0), found["file"] or "") if found is not None else cls("")

    def text(self) -> str:
        return f"{self.state}+{self.taken}@{self.file}" if self.file else self.state


@dataclass(slots=True)
class FileState:
    """One file: what it was judged by, and the rows of it that the gateway has.

    ``rows``: source -> the activity (base64; empty for none) and the mark of what went beside it. ``comes``: the first
    planned day, ISO 8601, after which the file counts anew.
    """

    sha256: str = ""
    rules: str = ""
    comes: str = ""
    rows: dict[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])


@dataclass(slots=True)
class State:
    """All files by name. ``folder`` is of this private folder alone, so that a lost one starts no number twice."""

    folder: str
    number: int = 0
    files: dict[str, FileState] = field(default_factory=dict[str, FileState])

    def holder(self, source: str, but: str) -> str | None:
        """Another file than ``but`` that has brought this row."""
        return next((name for name, file in self.files.items() if name != but and source in file.rows), None)


class States:
    """The newest states, one file each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "states"
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def load(self, name: str) -> State:
        """The state of this name; an empty one where there is none."""
        if _NAME.fullmatch(name):
            try:
                raw = cast("dict[str, Any]", json.loads((self._folder / f"{name}.json").read_text("utf-8")))
                files = {
                    name: FileState(
                        file["sha256"], file["rules"], file["comes"],
                        {source: (str(row[0]), str(row[1])) for source, row in file["rows"].items()},
                    )
                    for name, file in raw["files"].items()
                }  # fmt: skip
                return State(raw["folder"], raw["number"], files)
            except (OSError, ValueError, KeyError, TypeError):
                pass  # read everything again: it replaces itself
        return State(secrets.token_hex(8))

    def store(self, state: State, before: str) -> str:
        """Keep the state that follows the one named ``before``; returns its name. Raises OSError."""
        state.number += 1
        text = json.dumps(asdict(state), ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        name = f"{state.number}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        durable.replace(self._folder / f"{name}.json", text.encode())
        found = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        for old in found[:-_KEPT]:
            if old.stem != before:
                old.unlink(missing_ok=True)
        return name


class Refused:
    """The rows of each file that the gateway did not take when the file was last brought."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "refused.json"
        self._rows: dict[str, list[str]] = json.loads(self._path.read_text("utf-8")) if self._path.exists() else {}

    def of(self, file: str) -> frozenset[str]:
        """The sources of the rows."""
        return frozenset(self._rows.get(file, ()))

    def add(self, rows: Sequence[tuple[str, str]]) -> None:
        """Note the rows, each as its file and source. Raises OSError."""
        for file, source in rows:
            self._rows[file] = sorted({*self._rows.get(file, ()), source})
        self._store(bool(rows))

    def settle(self, file: str) -> None:
        """All of the file was brought. Raises OSError."""
        self._store(self._rows.pop(file, None) is not None)

    def _store(self, changed: bool) -> None:
        if changed:
            durable.replace(self._path, json.dumps(self._rows, ensure_ascii=False, sort_keys=True).encode())


def kept(activity: Activity | None) -> str:
    """An activity as a state keeps it."""
    if activity is None:
        return ""
    return base64.b64encode(activity.SerializeToString(deterministic=True)).decode()


def withdrawn(text: str) -> Activity:
    """What takes a kept activity back."""
    activity = Activity.FromString(base64.b64decode(text))
    activity.withdrawn = True
    return activity
