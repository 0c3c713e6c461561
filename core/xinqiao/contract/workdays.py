"""The working calendar: Chinese working days with make-up days, office hours, school terms and intensified windows."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from types import MappingProxyType
from typing import Final, NamedTuple

from chinese_calendar import is_workday  # type: ignore[import-untyped,unused-ignore]

from xinqiao.contract.clock import BEIJING, local_date, to_us

Hours = tuple[time, time]
"""Office hours of a working day in Beijing time; an end of 00:00 is the end of the day."""

WHOLE_DAY: Final[tuple[Hours, ...]] = ((time(), time()),)
"""Working days without office hours: 48 working hours are then two working days (两个工作日)."""

_DAY: Final = timedelta(days=1)
_log = logging.getLogger(__name__)


class Term(NamedTuple):
    """A school term (学期); ``first`` and ``last`` belong to it. ``school_year`` is the year in which it began."""

    id: str
    school_year: int
    first: date
    last: date


class Window(NamedTuple):
    """Days on which reports are expected more often (重点时段), such as before an exam; both ends belong to it."""

    id: str
    first: date
    last: date


class WorkCalendar:
    """Answers for one district. A pure value: no clock, no file.

    The holidays come from the State Council's yearly notice as `chinesecalendar` ships it; ``overrides`` says what a
    district or a newer notice changes (True: a working day). For a year that the library does not know, Monday to
    Friday are taken as working days: ``is_guessed`` and ``guessed_years`` report it, and it is logged once a year.
    """

    def __init__(
        self,
        *,
        overrides: Mapping[date, bool] = MappingProxyType({}),
        hours: Sequence[Hours] = WHOLE_DAY,
        terms: Sequence[Term] = (),
        windows: Sequence[Window] = (),
    ) -> None:
        """Raises ValueError when ``hours`` are empty, overlap or go backwards."""
        self.terms = tuple(sorted(terms, key=lambda term: term.first))
        self.windows = tuple(windows)
        self._overrides = dict(overrides)
        self._hours = tuple(hours)
        self._told: set[int] = set()
        before = timedelta(0)
        for opens, closes in self._hours:
            start, end = _since_midnight(opens), _since_midnight(closes) or _DAY
            if not before <= start < end:
                raise ValueError("office hours follow one another within a day, each ending after it begins")
            before = end
        if not self._hours:
            raise ValueError("a working day needs office hours")

    def is_workday(self, day: date) -> bool:
        """Whether offices work on this day: make-up Saturdays do, holidays do not."""
        told = self._overrides.get(day)
        if told is not None:
            return told
        known = _official(day)
        if known is not None:
            return known
        if day.year not in self._told:
            self._told.add(day.year)
            _log.warning("no holidays known for %d: Monday to Friday count as working days", day.year)
        return day.weekday() < 5

    def is_guessed(self, day: date) -> bool:
        """Whether ``is_workday`` is a guess: neither the yearly notice nor an override speaks of this day."""
        return day not in self._overrides and _official(day) is None

    def guessed_years(self, first: date, last: date) -> tuple[int, ...]:
        """Years from ``first`` to ``last`` with a day that is a guess, to be shown to whoever relies on the calendar."""
        return tuple(sorted({day.year for day in days(first, last) if self.is_guessed(day)}))

    def next_workday(self, day: date) -> date:
        """The first working day after ``day``."""
        following = day + _DAY
        while not self.is_workday(following):
            following += _DAY
        return following

    def add_working_time(self, start_us: int, duration: timedelta) -> int:
        """When ``duration`` of working time has passed since ``start_us``, microseconds since 1970 UTC.

        Time outside office hours does not count, so a start on a holiday begins at the next opening. Nothing to add
        gives ``start_us``. Raises ValueError on a negative ``duration``.
        """
        if duration < timedelta(0):
            raise ValueError("working time goes forwards")
        left = duration // timedelta(microseconds=1)
        if not left:
            return start_us
        day = local_date(start_us)
        while True:
            for opens, closes in self._openings(day):
                begin = max(start_us, opens)
                if begin >= closes:
                    continue
                if left <= closes - begin:
                    return begin + left
                left -= closes - begin
            day += _DAY

    def term(self, day: date) -> Term | None:
        """The school term this day lies in, or None in the holidays."""
        return next((term for term in self.terms if term.first <= day <= term.last), None)

    def is_school_day(self, day: date) -> bool:
        """Whether schools teach: a working day within a term. Without any terms configured, a working day."""
        return self.is_workday(day) and (not self.terms or self.term(day) is not None)

    def in_window(self, day: date) -> tuple[str, ...]:
        """Ids of the intensified windows this day lies in, in configured order, each once."""
        return tuple(dict.fromkeys(window.id for window in self.windows if window.first <= day <= window.last))

    def _openings(self, day: date) -> Iterator[tuple[int, int]]:
        if not self.is_workday(day):
            return
        for opens, closes in self._hours:
            end = day + _DAY if closes == time() else day
            yield to_us(datetime.combine(day, opens, BEIJING)), to_us(datetime.combine(end, closes, BEIJING))


def days(first: date, last: date) -> Iterator[date]:
    """Each day from ``first`` to ``last``, both included."""
    for offset in range((last - first).days + 1):
        yield first + timedelta(days=offset)


def monday(day: date) -> date:
    """The Monday of the week of ``day``."""
    return day - timedelta(days=day.weekday())


def start_of(day: date) -> int:
    """The first microsecond of a day in Beijing."""
    return to_us(datetime.combine(day, time(), BEIJING))


def _since_midnight(moment: time) -> timedelta:
    return timedelta(hours=moment.hour, minutes=moment.minute, seconds=moment.second)


@lru_cache(maxsize=4096)  # the library looks through all its holidays at every question
def _official(day: date) -> bool | None:
    try:
        return bool(is_workday(day))
    except NotImplementedError:  # how chinesecalendar says that the State Council's notice is not in it yet
        return None
