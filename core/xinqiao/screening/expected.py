"""Which reports a cadence expects between two days, and until when: arithmetic on the school calendar, nothing else."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from typing import Final, NamedTuple

from xinqiao.config.cadence import Cadence
from xinqiao.contract.clock import BEIJING, to_us
from xinqiao.contract.workdays import WorkCalendar, days, monday

_WEEK: Final = timedelta(days=7)
_DAY: Final = timedelta(days=1)


class Period(NamedTuple):
    """A stretch of days that a report covers; both ends belong to it."""

    id: str
    first: date
    last: date


class Expected(NamedTuple):
    """A period with its due time; ``guessed`` when that rests on a year whose holidays are not known yet."""

    period: str
    first: date
    due_us: int
    windows: tuple[str, ...]
    guessed: bool


def expected(cadence: Cadence, calendar: WorkCalendar, since: date, until: date) -> list[Expected]:
    """The reports whose period begins from ``since`` to ``until``, both included, the earliest due first."""
    found: dict[str, Expected] = {}
    for base in _bases(cadence, calendar, since, until):
        for period in _intensified(cadence, calendar, base):
            if since <= period.first <= until and _owed(cadence, calendar, period):
                found.setdefault(period.id, _due(cadence, calendar, period))
    return sorted(found.values(), key=lambda each: (each.due_us, each.period))


def running_since(cadence: Cadence, calendar: WorkCalendar, today: date) -> date:
    """The first day of the cadence's period that is running: a cadence switched on today begins with it."""
    if cadence.every == "week":
        return monday(today)
    if cadence.every == "month":
        return min(monday(today), today.replace(day=1))
    running = [period.first for period in _spread(cadence, calendar) if period.first <= today <= period.last]
    return min([monday(today), *running])


def _bases(cadence: Cadence, calendar: WorkCalendar, since: date, until: date) -> Iterator[Period]:
    """The usual periods, from one that may still hold ``since`` on."""
    if cadence.every == "week":
        first = monday(since)
        while first <= until:
            yield Period(_week(first), first, first + _WEEK - _DAY)
            first += _WEEK
    elif cadence.every == "month":
        first = since.replace(day=1)
        while first <= until:
            following = (first + timedelta(days=32)).replace(day=1)
            yield Period(f"{first.year:04}-{first.month:02}", first, following - _DAY)
            first = following
    else:
        yield from (each for each in _spread(cadence, calendar) if each.last >= since and each.first <= until)


def _spread(cadence: Cadence, calendar: WorkCalendar) -> Iterator[Period]:
    """Terms or school years, each in as many parts of even length as reports are owed."""
    whole: dict[str, Period] = {}
    for term in calendar.terms:
        key = term.id if cadence.every == "term" else str(term.school_year)
        begun = whole.get(key)
        whole[key] = Period(key, begun.first if begun else term.first, term.last)
    for period in whole.values():
        length = (period.last - period.first).days + 1
        for part in range(cadence.times):
            first = period.first + timedelta(days=length * part // cadence.times)
            last = period.first + timedelta(days=length * (part + 1) // cadence.times - 1)
            yield Period(period.id if cadence.times == 1 else f"{period.id}/{part + 1}", first, last)


def _intensified(cadence: Cadence, calendar: WorkCalendar, base: Period) -> Iterator[Period]:
    """The period itself, or what is expected in its place, or also, within a window.

    A week that touches a window gives way to its halves or days; a longer period stays and its weeks in the window, or
    their halves or days, are expected as well.
    """
    more = cadence.intensified
    if more is None:
        yield base
        return
    touched = False
    first = monday(base.first)
    while first <= base.last:
        week = Period(_week(first), first, first + _WEEK - _DAY)
        if _windows(cadence, calendar, week):
            touched = True
            yield from _parts(cadence, calendar, week)
        first += _WEEK
    if not (touched and cadence.every == "week"):
        yield base


def _parts(cadence: Cadence, calendar: WorkCalendar, week: Period) -> Iterator[Period]:
    every = cadence.intensified.every if cadence.intensified else "week"
    if every == "week":
        yield week
    elif every == "half_week":
        yield Period(f"{week.id}a", week.first, week.first + timedelta(days=2))
        yield Period(f"{week.id}b", week.first + timedelta(days=3), week.last)
    else:
        for day in days(week.first, week.last):
            if _counts(cadence, calendar, day):
                yield Period(day.isoformat(), day, day)


def _owed(cadence: Cadence, calendar: WorkCalendar, period: Period) -> bool:
    return any(_counts(cadence, calendar, day) for day in days(period.first, period.last))


def _counts(cadence: Cadence, calendar: WorkCalendar, day: date) -> bool:
    return calendar.is_school_day(day) if cadence.school_days_only else calendar.is_workday(day)


def _windows(cadence: Cadence, calendar: WorkCalendar, period: Period) -> tuple[str, ...]:
    wanted = cadence.intensified.windows if cadence.intensified else ()
    met = {
        name
        for day in days(period.first, period.last)
        if _counts(cadence, calendar, day)
        for name in calendar.in_window(day)
    }
    return tuple(name for name in wanted if name in met)


def _due(cadence: Cadence, calendar: WorkCalendar, period: Period) -> Expected:
    day = max(day for day in days(period.first, period.last) if _counts(cadence, calendar, day))
    for _ in range(cadence.grace_days):
        day = calendar.next_workday(day)
    due_us = to_us(datetime.combine(day, time.fromisoformat(cadence.due_at), BEIJING))
    guessed = bool(calendar.guessed_years(period.first, max(day, period.last)))
    return Expected(period.id, period.first, due_us, _windows(cadence, calendar, period), guessed)


def _week(first: date) -> str:
    year, week, _ = first.isocalendar()
    return f"{year:04}-W{week:02}"
