"""Which calls were held when, without anybody in it: for counts a day, calls at one time, and the same call twice."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from xinqiao.adapters import durable
from xinqiao.api.exchange.v1 import activity_service_pb2 as pb
from xinqiao.contract.clock import local_date, to_us

KEPT_DAYS: Final = 400
"""Days a call is remembered. Whoever records it keeps it for three years (技术指南 2021); this is not that record."""

_LINE = re.compile(
    r"(?P<call>[0-9a-f]{32}) (?P<line>[A-Za-z0-9-]+) (?P<start>[0-9]+) (?P<end>[0-9]+) (?P<crisis>[01]) (?P<letter>[0-9]+)"
)


@dataclass(frozen=True, slots=True)
class Held:
    """One call: hash of its number, its line, when it was held (microseconds since 1970 UTC), and who brought it."""

    call: str
    line: str
    start_us: int
    end_us: int
    crisis: bool
    letter: int

    @property
    def day(self) -> date:
        """The day it began, in Beijing."""
        return local_date(self.start_us)

    def text(self) -> str:
        return f"{self.call} {self.line} {self.start_us} {self.end_us} {int(self.crisis)} {self.letter}\n"


class CallLog:
    """The calls of a centre by their number. Added in memory until ``keep``; ``forget`` takes that back."""

    def __init__(self, path: Path, now: datetime) -> None:
        self._path = path
        self._held: dict[str, Held] = {}
        self._days: dict[tuple[str, date], dict[str, Held]] = {}
        self._fresh: dict[str, Held] = {}
        oldest = to_us(now - timedelta(days=KEPT_DAYS))
        lines = path.read_text("ascii").splitlines() if path.exists() else []
        for line in lines:
            found = _LINE.fullmatch(line)
            if found is not None and int(found["end"]) >= oldest:
                times = (int(found["start"]), int(found["end"]))
                self._remember(Held(found["call"], found["line"], *times, found["crisis"] == "1", int(found["letter"])))
        if len(self._held) < len(lines):
            durable.replace(path, "".join(held.text() for held in self._held.values()).encode())

    def add(self, call: Held) -> None:
        """Count a call. One that is known keeps its first line; what makes it a crisis stays with it."""
        before = self._fresh.get(call.call) or self._held.get(call.call)
        if before is None:
            self._fresh[call.call] = call
        elif call.crisis and not before.crisis:
            self._fresh[call.call] = replace(before, crisis=True)

    def keep(self) -> None:
        """Write down what was added. Raises OSError."""
        if self._fresh:
            durable.append(self._path, "".join(held.text() for held in self._fresh.values()).encode())
        for held in self._fresh.values():
            self._remember(held)
        self._fresh = {}

    def forget(self) -> None:
        """Take back what was added since the last ``keep``."""
        self._fresh = {}

    def at_one_time(self, line: str, at_us: int) -> int:
        """How many calls of ``line`` that were kept were being held at this moment."""
        day = local_date(at_us)
        near = (self._days.get((line, each), {}) for each in (day - timedelta(days=1), day))
        return sum(held.start_us <= at_us < held.end_us for calls in near for held in calls.values())

    def days(self, touched: Iterable[str]) -> list[tuple[str, date]]:
        """The lines and days of these calls (hashes)."""
        return sorted({(held.line, held.day) for call in touched if (held := self._held.get(call)) is not None})

    def counts(self, line: str, day: date) -> Iterator[pb.Activity]:
        """The calls of a day: those about a crisis apart. The same id replaces what stood under it."""
        calls = self._days.get((line, day), {}).values()
        for crisis in (False, True):
            some = [held for held in calls if held.crisis is crisis]
            if not some and (crisis or not calls):
                continue
            # Where every call turned out to be about a crisis, what stood for the others must count no more.
            minutes = sum((held.end_us - held.start_us + 59_999_999) // 60_000_000 for held in some)
            yield pb.Activity(
                source=f"calls-{line}-{day.isoformat()}{'-crisis' if crisis else ''}", kind=pb.ACTIVITY_KIND_CALL,
                day=day.isoformat(), series=line, times=len(some), minutes=min(minutes, 100_000), crisis=crisis,
                withdrawn=not some,
            )  # fmt: skip

    def _remember(self, held: Held) -> None:
        self._held[held.call] = held
        self._days.setdefault((held.line, held.day), {})[held.call] = held
