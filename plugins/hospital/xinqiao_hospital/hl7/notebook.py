"""A small durable memory: pairs of hashes in one file, each line on disk before ``note`` returns."""

import hashlib
import re
import threading
from pathlib import Path

from xinqiao.adapters import durable

_LINE = re.compile(r"([0-9a-f]{32}) ([0-9a-f]{32})\n", re.ASCII)


class Notebook:
    """Remembers for a key the last value noted. Only hashes are written: neither can be read back from the file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = path
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}
        for line in path.read_text("ascii").splitlines(keepends=True) if path.exists() else []:
            # A line torn by a crash was never relied upon.
            if found := _LINE.fullmatch(line):
                self._known[found.group(1)] = found.group(2)

    def note(self, key: str, value: str = "") -> None:
        """Remember ``value`` for ``key``. Raises OSError when the disk does not take it."""
        pair = (_hash(key), _hash(value))
        with self._lock:
            if self._known.get(pair[0]) == pair[1]:
                return
            durable.append(self._path, f"{pair[0]} {pair[1]}\n".encode())
            self._known[pair[0]] = pair[1]

    def knows(self, key: str) -> bool:
        """Whether anything was noted for ``key``."""
        return _hash(key) in self._known

    def contradicts(self, key: str, value: str) -> bool:
        """Whether another value was noted for ``key``."""
        return self._known.get(_hash(key), _hash(value)) != _hash(value)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
