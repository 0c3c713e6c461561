"""The one source of time: the core never asks the operating system directly, so tests and drills can."""

import time
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

BEIJING = ZoneInfo("Asia/Shanghai")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR_US = 3_600_000_000


class Clock(Protocol):
    """Wall time in whole microseconds since 1970 UTC, and a monotonic counter in seconds."""

    def now_us(self) -> int: ...
    def monotonic(self) -> float: ...


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that a test or a demo moves by hand."""

    def __init__(self, start: datetime) -> None:
        self._us = to_us(start)

    def now_us(self) -> int:
        return self._us

    def monotonic(self) -> float:
        return self._us / 1_000_000

    def advance(self, by: timedelta) -> None:
        """Move forward; a negative ``by`` moves the wall clock back, as a bad NTP step would."""
        self._us += by // timedelta(microseconds=1)


class ShiftedClock:
    """The machine's clock moved by a constant: lets the demo play October while it is November."""

    def __init__(self, start: datetime) -> None:
        self._offset_us = to_us(start) - time.time_ns() // 1000

    def now_us(self) -> int:
        return time.time_ns() // 1000 + self._offset_us

    def monotonic(self) -> float:
        return time.monotonic()

    def advance(self, by: timedelta) -> None:
        self._offset_us += by // timedelta(microseconds=1)


def to_us(moment: datetime) -> int:
    """Microseconds since 1970 UTC. Raises ValueError on a naive ``moment``: a time without a zone is a guess."""
    if moment.tzinfo is None:
        raise ValueError("a time needs a zone")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_us(us: int) -> datetime:
    """The aware UTC datetime for ``us``."""
    return _EPOCH + timedelta(microseconds=us)


def local_date(us: int) -> date:
    """The business date in Beijing time, the only zone in which this system has days."""
    return _date_in(us // _HOUR_US)


@lru_cache(maxsize=64)
def _date_in(hour: int) -> date:
    """Of an hour since 1970 UTC: midnight in Beijing has been on the hour, in UTC, since 1901."""
    return from_us(hour * _HOUR_US).astimezone(BEIJING).date()
