"""Which tickets are open and what of them was brought: small facts in an append-only file, nothing of any content.

The gateway's cursor says how much of it counts: what the gateway does not know was brought is struck out and brought
again, so a crash between two items, or a gateway restored from a backup, loses nothing.
"""

import json
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from xinqiao.adapters import durable

_SPARE_LINES = 10_000


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request the platform has: its ticket, our number for it, what it is about, and when it went."""

    ticket: str
    request_no: str
    contract: str
    name: str
    submitted_us: int
    urgent: bool = False


@dataclass(frozen=True, slots=True)
class Brought:
    """The ``number``-th item brought from this agency: which one of which ticket."""

    number: int
    ticket: str
    item: str


class Register:
    """The facts of one agency; safe from several threads, for one process at a time."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "tickets.jsonl"
        self._lock = threading.RLock()
        self._tickets: dict[str, Ticket] = {}
        self._by_request: dict[str, Ticket] = {}
        self._brought: list[Brought] = []
        self._items: set[tuple[str, str]] = set()
        self._closed: dict[str, int] = {}
        self._last = 0
        self._load()

    def of_request(self, request_no: str) -> Ticket | None:
        """The ticket this request got."""
        return self._by_request.get(request_no)

    def note(self, ticket: Ticket) -> None:
        """Remember a ticket; on disk when this returns."""
        with self._lock:
            if self._by_request.get(ticket.request_no) != ticket:
                self._append("ticket", asdict(ticket))
                self._keep(ticket)

    def open(self) -> list[Ticket]:
        """The tickets of which more may come, oldest first."""
        with self._lock:
            return [ticket for ticket in self._tickets.values() if ticket.ticket not in self._closed]

    def has(self, ticket: str, item: str) -> bool:
        """Whether this item was brought."""
        return (ticket, item) in self._items

    def count(self, ticket: str, kind: str) -> int:
        """How many items of ``kind`` were brought of this ticket."""
        return sum(1 for of, item in self._items if of == ticket and item.startswith(f"{kind}/"))

    def bring(self, ticket: str, item: str) -> int:
        """Note that the gateway is about to be given this item; its number, which becomes its cursor."""
        with self._lock:
            brought = Brought(self._last + 1, ticket, item)
            self._append("brought", asdict(brought))
            self._take(brought)
            return brought.number

    def close(self, ticket: str) -> None:
        """Nothing more comes of this ticket."""
        with self._lock:
            self._append("closed", {"ticket": ticket, "after": self._last})
            self._closed[ticket] = self._last

    def rewind(self, number: int) -> None:
        """Strike out what was noted after item ``number``. A number beyond the last is taken over: this folder was lost."""
        with self._lock:
            late = [each for each in self._brought if each.number > number]
            reopened = [ticket for ticket, after in self._closed.items() if after > number]
            if late or reopened:
                self._brought = [each for each in self._brought if each.number <= number]
                self._items = {(each.ticket, each.item) for each in self._brought}
                self._closed = {ticket: after for ticket, after in self._closed.items() if after <= number}
                self._rewrite()
            self._last = number

    def _keep(self, ticket: Ticket) -> None:
        self._tickets.setdefault(ticket.ticket, ticket)
        self._by_request[ticket.request_no] = ticket

    def _take(self, brought: Brought) -> None:
        self._brought.append(brought)
        self._items.add((brought.ticket, brought.item))
        self._last = max(self._last, brought.number)

    def _append(self, kind: str, fact: dict[str, Any]) -> None:
        durable.append(self._path, _line(kind, fact))

    def _load(self) -> None:
        data = self._path.read_bytes() if self._path.exists() else b""
        lines = data[: data.rfind(b"\n") + 1].splitlines()
        for line in lines:
            try:
                ((kind, fact),) = cast("dict[str, dict[str, Any]]", json.loads(line)).items()
            except (ValueError, AttributeError):
                continue  # A line torn by a crash, and written over since: its fact was not relied upon.
            if kind == "ticket":
                self._keep(Ticket(**fact))
            elif kind == "brought":
                self._take(Brought(**fact))
            elif kind == "closed":
                self._closed[fact["ticket"]] = fact["after"]
        # A half line at the end would be glued to the next one, and both would be lost.
        torn = bool(data) and not data.endswith(b"\n")
        if torn or len(lines) > _SPARE_LINES + 2 * (len(self._tickets) + len(self._brought)):
            self._rewrite()

    def _rewrite(self) -> None:
        lines = [_line("ticket", asdict(each)) for each in self._by_request.values()]
        lines += [_line("brought", asdict(each)) for each in self._brought]
        lines += [_line("closed", {"ticket": ticket, "after": after}) for ticket, after in self._closed.items()]
        durable.replace(self._path, b"".join(lines))


def _line(kind: str, fact: dict[str, Any]) -> bytes:
    return json.dumps({kind: fact}, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
