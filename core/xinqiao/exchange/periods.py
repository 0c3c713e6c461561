"""Weeks, months, quarters and terms in Beijing time, and when the exchange of a finished one starts and closes."""

import re
from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Final, Literal, NamedTuple, Protocol

from xinqiao.contract.clock import BEIJING, from_us, to_us
from xinqiao.contract.errors import Refusal
from xinqiao.contract.workdays import WorkCalendar, start_of

Length = Literal["week", "month", "quarter", "term"]
MARKS: Final[dict[Length, str]] = {"week": "W", "month": "", "quarter": "Q", "term": "T"}
"""The letter by which a period's name tells its length; a month's has none."""

LAST_DAY: Final[dict[Length, int]] = {"week": 7, "month": 28, "quarter": 28, "term": 28}
"""The highest number of a run's day, which every period has."""

_PERIOD: Final = re.compile(r"(20[0-9]{2})-(?:(0[1-9]|1[0-2])|W([0-5][0-9])|Q([1-4])|T([1-4]))", re.ASCII)
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_AFTER_TERM: Final = 28  # days after a term in which its exchange is run
_DAY: Final = timedelta(days=1)
_NO_TERMS: Final = WorkCalendar()


class RunAt(Protocol):
    """When after the period a run starts; ``gateway.yaml``'s ``schedule.run`` is one."""

    @property
    def day(self) -> int | Literal["last"]: ...
    @property
    def working(self) -> bool: ...
    @property
    def at(self) -> str: ...


class Schedule(Protocol):
    """When an exchange runs and closes; ``gateway.yaml``'s ``schedule`` is one. One of the closing rules is set."""

    @property
    def run(self) -> RunAt: ...
    @property
    def close_after_days(self) -> int | None: ...
    @property
    def close_by_working_day(self) -> int | None: ...


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
    found = _PERIOD.fullmatch(period)
    if found is None:
        raise _bad()
    for length, mark in MARKS.items():
        if mark == found[0][5]:
            return length
    return "month"


def span(period: str, calendar: WorkCalendar = _NO_TERMS) -> Span:
    """The microseconds of a period by its name.

    `2026-10` is a month, `2026-W41` a week (ISO 8601, from Monday), `2026-Q3` a quarter, and `2026-T1` the first term
    of the school year that began in 2026, by ``calendar``. A term has with it the holidays before it, so that nothing
    lies between two terms and its books close when it ends.
    Raises Refusal INVALID_ARGUMENT/PERIOD, also for a term that the calendar does not know.
    """
    length, index = _index(period, calendar)
    return Span(
        start_of(_first_day(length, index, calendar)), start_of(_first_day(length, index + 1, calendar))
    )  # fmt: skip


def finished(period: str, now_us: int, calendar: WorkCalendar = _NO_TERMS) -> Span:
    """The span of a period that is over. Raises Refusal INVALID_ARGUMENT/PERIOD for a bad, running or future one."""
    found = span(period, calendar)
    if now_us < found.to_us:
        raise Refusal("INVALID_ARGUMENT", "PERIOD", "the period is not over yet (Beijing time): run it once it is")
    return found


def current_period(now_us: int, length: Length = "month", calendar: WorkCalendar = _NO_TERMS) -> str:
    """The period that is running in Beijing. Raises Refusal INVALID_ARGUMENT/PERIOD in a term not in ``calendar``."""
    day = from_us(now_us).astimezone(BEIJING).date()
    match length:
        case "week":
            index = (day.toordinal() - 1) // 7
        case "month":
            index = day.year * 12 + day.month - 1
        case "quarter":
            index = day.year * 4 + (day.month - 1) // 3
        case _:
            index = sum(term.last < day for term in calendar.terms)
            if index < len(calendar.terms) and day < _first_day("term", index, calendar):
                raise _unknown_term()
    return _name(length, index, calendar)


def shift(period: str, by: int, calendar: WorkCalendar = _NO_TERMS) -> str:
    """The period so many later, or earlier. Raises Refusal INVALID_ARGUMENT/PERIOD outside 2000 to 2099."""
    length, index = _index(period, calendar)
    return _name(length, index + by, calendar)


def previous_period(now_us: int, length: Length = "month", calendar: WorkCalendar = _NO_TERMS) -> str:
    """The newest period that is over. Raises Refusal INVALID_ARGUMENT/PERIOD where the calendar knows no such term."""
    if length == "term":
        day = from_us(now_us).astimezone(BEIJING).date()
        return _name("term", sum(term.last < day for term in calendar.terms) - 1, calendar)
    return shift(current_period(now_us, length), -1)


def over(length: Length, first_us: int, now_us: int, most: int, calendar: WorkCalendar) -> Iterator[str]:
    """The newest ``most`` periods that are over, oldest first, from the one that holds ``first_us`` on.

    None where the calendar knows no term that is over.
    """
    try:
        newest = _index(previous_period(now_us, length, calendar), calendar)[1]
    except Refusal:
        return
    for index in range(max(newest - most + 1, 0), newest + 1):
        if start_of(_first_day(length, index + 1, calendar)) > first_us:
            yield _name(length, index, calendar)


def due_at(schedule: Schedule, period: str, calendar: WorkCalendar) -> Window:
    """When ``period`` is run, and when it closes, in what follows it: a week after a week, a month after a month or
    a quarter, 28 days after a term.

    The n-th (working) day of it by the district's ``calendar``; where there are fewer it is run on the last one.
    Closed by a working day means at its end. Raises Refusal INVALID_ARGUMENT/PERIOD or INVALID_ARGUMENT/SCHEDULE.
    """
    length, index = _index(period, calendar)
    days = _days_after(length, _first_day(length, index + 1, calendar))
    counted = schedule.run.working or schedule.close_by_working_day is not None
    guessed = counted and any(calendar.is_guessed(each) for each in days)
    # A week of the National Day holiday may have no working day.
    working = [each for each in days if calendar.is_workday(each)] or days[-1:] if counted else days
    day = _nth(working if schedule.run.working else days, schedule.run.day, length)
    hour = _TIME.fullmatch(schedule.run.at)
    if hour is None:
        raise Refusal("INVALID_ARGUMENT", "SCHEDULE", 'a run\'s time is Beijing time such as "02:00"')
    start = datetime.combine(day, time(int(hour[1]), int(hour[2])), BEIJING)
    if schedule.close_by_working_day is not None:
        close_us = start_of(_nth(working, schedule.close_by_working_day, length) + _DAY)
    else:
        close_us = to_us(start + timedelta(days=schedule.close_after_days or 0))
    if close_us <= to_us(start):
        raise Refusal("INVALID_ARGUMENT", "SCHEDULE", "an exchange closes after it is run")
    return Window(to_us(start), close_us, guessed)


def _nth(days: list[date], wanted: int | Literal["last"], length: Length) -> date:
    if wanted != "last" and not 1 <= wanted <= LAST_DAY[length]:
        raise Refusal("INVALID_ARGUMENT", "SCHEDULE", f"a run's day is 1 to {LAST_DAY[length]}, or `last`")
    return days[-1] if wanted == "last" or wanted > len(days) else days[wanted - 1]


def _days_after(length: Length, first: date) -> list[date]:
    """The days from ``first`` in which a period that ended before it is run."""
    if length in ("month", "quarter"):
        number = (_first_day("month", first.year * 12 + first.month, _NO_TERMS) - first).days
    else:
        number = 7 if length == "week" else _AFTER_TERM
    return [first + timedelta(days=offset) for offset in range(number)]


def _index(period: str, calendar: WorkCalendar) -> tuple[Length, int]:
    """Its place among those of its length: months and quarters from the year 0, weeks from 0001-01-01, known terms."""
    length = length_of(period)
    year, number = int(period[:4]), int(period[5:].lstrip("WQT"))
    match length:
        case "month":
            return length, year * 12 + number - 1
        case "quarter":
            return length, year * 4 + number - 1
        case "term":
            names = _terms(calendar)
            if period not in names:
                raise _unknown_term()
            return length, names.index(period)
        case "week":
            try:
                return length, (date.fromisocalendar(year, number, 1).toordinal() - 1) // 7
            except ValueError:  # most years have no week 53
                raise _bad() from None


def _first_day(length: Length, index: int, calendar: WorkCalendar) -> date:
    match length:
        case "week":
            return date.fromordinal(index * 7 + 1)
        case "month":
            return date(index // 12, index % 12 + 1, 1)
        case "quarter":
            return date(index // 4, index % 4 * 3 + 1, 1)
        case "term":  # from the end of the one before; nothing is known of what went before the first
            return calendar.terms[index - 1].last + _DAY if index else calendar.terms[0].first


def _name(length: Length, index: int, calendar: WorkCalendar) -> str:
    match length:
        case "week":
            year, week, _ = date.fromordinal(max(index, 0) * 7 + 1).isocalendar()
            name = f"{year:04}-W{week:02}"
        case "month":
            name = f"{index // 12:04}-{index % 12 + 1:02}"
        case "quarter":
            name = f"{index // 4:04}-Q{index % 4 + 1}"
        case _:
            names = _terms(calendar)
            if not 0 <= index < len(names):
                raise _unknown_term()
            return names[index]
    if not _PERIOD.fullmatch(name):
        raise _bad()
    return name


def _terms(calendar: WorkCalendar) -> list[str]:
    """`2026-T1`: the terms of a school year are counted in their order."""
    years = [term.school_year for term in calendar.terms]
    return [f"{year:04}-T{years[: place + 1].count(year)}" for place, year in enumerate(years)]


def _bad() -> Refusal:
    return Refusal(
        "INVALID_ARGUMENT", "PERIOD",
        "a period is a month such as 2026-10, a week such as 2026-W41, a quarter such as 2026-Q3 or a term such as "
        "2026-T1, from 2000 on",
    )  # fmt: skip


def _unknown_term() -> Refusal:
    return Refusal(
        "INVALID_ARGUMENT", "PERIOD", "the school calendar knows no such term: add it under `terms` in config/calendars"
    )
