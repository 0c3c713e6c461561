"""Months in Beijing time, and when the exchange of a finished month starts and closes."""

import logging
import re
from calendar import monthrange
from datetime import date, datetime, time, timedelta
from typing import Final, Literal, NamedTuple, Protocol

from chinese_calendar import is_workday  # type: ignore[import-untyped,unused-ignore]

from xinqiao.contract.clock import BEIJING, from_us, to_us
from xinqiao.contract.errors import Refusal

_PERIOD: Final = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])", re.ASCII)
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_FIRST: Final = 2000 * 12
_LAST: Final = 2099 * 12 + 11
_log = logging.getLogger(__name__)


class RunAt(Protocol):
    """When in the month after the period a run starts; ``gateway.yaml``'s ``schedule.run`` is one."""

    @property
    def day(self) -> int | Literal["last"]: ...
    @property
    def working(self) -> bool: ...
    @property
    def at(self) -> str: ...


class Schedule(Protocol):
    """When an exchange runs and closes; ``gateway.yaml``'s ``schedule`` is one."""

    @property
    def run(self) -> RunAt: ...
    @property
    def close_after_days(self) -> int: ...


class Span(NamedTuple):
    """Half-open: ``from_us`` belongs to it, ``to_us`` is the first microsecond after it."""

    from_us: int
    to_us: int


class Window(NamedTuple):
    """When a period is run and when it closes, microseconds since 1970 UTC.

    ``guessed`` tells that the calendar has no holidays for the year, so working days are taken as Monday to Friday.
    """

    start_us: int
    close_us: int
    guessed: bool


def span(period: str) -> Span:
    """The microseconds of a month such as ``2026-10``. Raises Refusal INVALID_ARGUMENT/PERIOD."""
    index = _index(period)
    return Span(_midnight(_first_day(index)), _midnight(_first_day(index + 1)))


def finished(period: str, now_us: int) -> Span:
    """The span of a month that is over. Raises Refusal INVALID_ARGUMENT/PERIOD for a bad, running or future one."""
    found = span(period)
    if now_us < found.to_us:
        raise Refusal("INVALID_ARGUMENT", "PERIOD", "the period is not over yet (Beijing time): run it once it is")
    return found


def current_period(now_us: int) -> str:
    """The month that is running in Beijing."""
    day = from_us(now_us).astimezone(BEIJING)
    return f"{day.year:04}-{day.month:02}"


def previous_period(now_us: int) -> str:
    """The newest month that is over."""
    return shift(current_period(now_us), -1)


def shift(period: str, months: int) -> str:
    """The period so many months later, or earlier. Raises Refusal INVALID_ARGUMENT/PERIOD outside 2000 to 2099."""
    index = _index(period) + months
    if not _FIRST <= index <= _LAST:
        raise _bad()
    return f"{index // 12:04}-{index % 12 + 1:02}"


def due_at(schedule: Schedule, period: str) -> Window:
    """When ``period`` is run, in the month that follows it, and when it closes.

    The n-th (working) day of the month; a month with fewer working days is run on its last one. Reports, in
    ``guessed`` and once a call in the log, a year for which the calendar knows no holidays.
    Raises Refusal INVALID_ARGUMENT/PERIOD or INVALID_ARGUMENT/SCHEDULE.
    """
    first = _first_day(_index(period) + 1)
    last = monthrange(first.year, first.month)[1]
    guessed = False
    days = [first + timedelta(days=offset) for offset in range(last)]
    if schedule.run.working:
        days, guessed = working_days(days)
    wanted = schedule.run.day
    if wanted != "last" and not 1 <= wanted <= 28:
        raise Refusal("INVALID_ARGUMENT", "SCHEDULE", "a run's day is 1 to 28, or `last`")
    day = days[-1] if wanted == "last" or wanted > len(days) else days[wanted - 1]
    hour = _TIME.fullmatch(schedule.run.at)
    if hour is None:
        raise Refusal("INVALID_ARGUMENT", "SCHEDULE", 'a run\'s time is Beijing time such as "02:00"')
    start = datetime.combine(day, time(int(hour[1]), int(hour[2])), BEIJING)
    return Window(to_us(start), to_us(start + timedelta(days=schedule.close_after_days)), guessed)


def close_at(schedule: Schedule, period: str) -> int:
    """When an unanswered ``period`` closes, microseconds since 1970 UTC."""
    return due_at(schedule, period).close_us


def working_days(days: list[date]) -> tuple[list[date], bool]:
    """The working days among ``days`` (make-up Saturdays count, holidays do not), and whether they were guessed."""
    try:
        return [day for day in days if is_workday(day)], False
    except NotImplementedError:  # how chinesecalendar says that the State Council's notice is not in it yet
        _log.warning("no holidays known for %d: Monday to Friday count as working days", days[0].year)
        return [day for day in days if day.weekday() < 5], True


def _index(period: str) -> int:
    found = _PERIOD.fullmatch(period)
    if found is None:
        raise _bad()
    return int(found[1]) * 12 + int(found[2]) - 1


def _first_day(index: int) -> date:
    return date(index // 12, index % 12 + 1, 1)


def _midnight(day: date) -> int:
    return to_us(datetime.combine(day, time(), BEIJING))


def _bad() -> Refusal:
    return Refusal("INVALID_ARGUMENT", "PERIOD", "a period is a month from 2000 to 2099, such as 2026-10")
