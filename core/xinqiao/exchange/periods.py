"""Months and weeks in Beijing time, and when the exchange of a finished one starts and closes."""

import re
from calendar import monthrange
from datetime import date, datetime, time, timedelta
from typing import Final, Literal, NamedTuple, Protocol

from xinqiao.contract.clock import BEIJING, from_us, to_us
from xinqiao.contract.errors import Refusal
from xinqiao.contract.workdays import WorkCalendar

Length = Literal["month", "week"]
_PERIOD: Final = re.compile(r"(20[0-9]{2})-(?:(0[1-9]|1[0-2])|W([0-5][0-9]))", re.ASCII)
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)


class RunAt(Protocol):
    """When in the month or week after the period a run starts; ``gateway.yaml``'s ``schedule.run`` is one."""

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

    ``guessed`` tells that the calendar does not know every day of it, so unknown ones go by Monday to Friday.
    """

    start_us: int
    close_us: int
    guessed: bool


def length_of(period: str) -> Length:
    """What a period's name is the name of. Raises Refusal INVALID_ARGUMENT/PERIOD."""
    return _index(period)[0]


def span(period: str) -> Span:
    """The microseconds of a month such as ``2026-10`` or a week such as ``2026-W41`` (ISO 8601, from Monday).

    Raises Refusal INVALID_ARGUMENT/PERIOD.
    """
    length, index = _index(period)
    return Span(_midnight(_first_day(length, index)), _midnight(_first_day(length, index + 1)))


def finished(period: str, now_us: int) -> Span:
    """The span of a period that is over. Raises Refusal INVALID_ARGUMENT/PERIOD for a bad, running or future one."""
    found = span(period)
    if now_us < found.to_us:
        raise Refusal("INVALID_ARGUMENT", "PERIOD", "the period is not over yet (Beijing time): run it once it is")
    return found


def current_period(now_us: int, length: Length = "month") -> str:
    """The month or week that is running in Beijing."""
    day = from_us(now_us).astimezone(BEIJING).date()
    return _name(length, day.year * 12 + day.month - 1 if length == "month" else (day.toordinal() - 1) // 7)


def previous_period(now_us: int, length: Length = "month") -> str:
    """The newest month or week that is over."""
    return shift(current_period(now_us, length), -1)


def shift(period: str, by: int) -> str:
    """The period so many months or weeks later, or earlier. Raises Refusal INVALID_ARGUMENT/PERIOD outside 2000 to 2099."""
    length, index = _index(period)
    name = _name(length, index + by)
    if not _PERIOD.fullmatch(name):
        raise _bad()
    return name


def due_at(schedule: Schedule, period: str, calendar: WorkCalendar) -> Window:
    """When ``period`` is run, in the month or week that follows it, and when it closes.

    The n-th (working) day of it by the district's ``calendar``; where there are fewer it is run on the last one.
    Raises Refusal INVALID_ARGUMENT/PERIOD or INVALID_ARGUMENT/SCHEDULE.
    """
    length, index = _index(period)
    first = _first_day(length, index + 1)
    guessed = False
    days = [first + timedelta(days=offset) for offset in range(7 if length == "week" else _month_days(first))]
    if schedule.run.working:
        guessed = any(calendar.is_guessed(each) for each in days)
        working = [each for each in days if calendar.is_workday(each)]
        days = working or days[-1:]  # a week of the National Day holiday may have none
    wanted, most = schedule.run.day, 7 if length == "week" else 28
    if wanted != "last" and not 1 <= wanted <= most:
        raise Refusal("INVALID_ARGUMENT", "SCHEDULE", f"a run's day is 1 to {most}, or `last`")
    day = days[-1] if wanted == "last" or wanted > len(days) else days[wanted - 1]
    hour = _TIME.fullmatch(schedule.run.at)
    if hour is None:
        raise Refusal("INVALID_ARGUMENT", "SCHEDULE", 'a run\'s time is Beijing time such as "02:00"')
    start = datetime.combine(day, time(int(hour[1]), int(hour[2])), BEIJING)
    return Window(to_us(start), to_us(start + timedelta(days=schedule.close_after_days)), guessed)


def _index(period: str) -> tuple[Length, int]:
    """Months counted from the year 0, or weeks counted from the Monday 0001-01-01."""
    found = _PERIOD.fullmatch(period)
    if found is None:
        raise _bad()
    if found[2]:
        return "month", int(found[1]) * 12 + int(found[2]) - 1
    try:
        return "week", (date.fromisocalendar(int(found[1]), int(found[3]), 1).toordinal() - 1) // 7
    except ValueError:  # most years have no week 53
        raise _bad() from None


def _first_day(length: Length, index: int) -> date:
    return date(index // 12, index % 12 + 1, 1) if length == "month" else date.fromordinal(index * 7 + 1)


def _name(length: Length, index: int) -> str:
    if length == "month":
        return f"{index // 12:04}-{index % 12 + 1:02}"
    year, week, _ = _first_day(length, index).isocalendar()
    return f"{year:04}-W{week:02}"


def _month_days(first: date) -> int:
    return monthrange(first.year, first.month)[1]


def _midnight(day: date) -> int:
    return to_us(datetime.combine(day, time(), BEIJING))


def _bad() -> Refusal:
    return Refusal(
        "INVALID_ARGUMENT", "PERIOD", "a period is a month such as 2026-10 or a week such as 2026-W41, from 2000 on"
    )
