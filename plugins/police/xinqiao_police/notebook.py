"""Small facts that must survive a restart, a line each: no name and no word of a person is among them."""

import re
import threading
from pathlib import Path

from xinqiao.adapters import durable
from xinqiao.adapters.errors import PartnerUnavailable

_LINE = re.compile(r"[A-Za-z0-9._:/-]{1,128} [0-9]{1,17}", re.ASCII)


class Notebook:
    """A number to each name; safe from several threads. A line torn by a crash counts for nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        lines = path.read_bytes().decode("ascii", "replace").splitlines() if path.exists() else []
        pairs = [line.split() for line in lines if _LINE.fullmatch(line)]
        self._numbers = {name: int(number) for name, number in pairs}
        if lines and len(lines) != len(self._numbers):
            durable.replace(path, "".join(f"{name} {number}\n" for name, number in self._numbers.items()).encode())

    def of(self, name: str) -> int | None:
        """The number kept under ``name``."""
        return self._numbers.get(name)

    def keep(self, name: str, number: int) -> int:
        """The number first kept under ``name``, on disk when this returns. Raises PartnerUnavailable: no room for it."""
        with self._lock:
            found = self._numbers.get(name)
            return found if found is not None else self._write(name, number)

    def _write(self, name: str, number: int) -> int:
        try:
            durable.append(self._path, f"{name} {number}\n".encode())
        except OSError:
            raise PartnerUnavailable("the gateway's disk does not take a note of this; see its free space") from None
        self._numbers[name] = number
        return number


class Steps(Notebook):
    """The last sequence number of each request that the gateway has."""

    def last(self, request: str) -> int:
        """0 where there was none."""
        return self.of(request) or 0

    def note(self, request: str, sequence: int) -> None:
        """The gateway has this step. Raises PartnerUnavailable."""
        with self._lock:
            if sequence > self.last(request):
                self._write(request, sequence)
