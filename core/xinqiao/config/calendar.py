"""The district's calendar: what the yearly notice does not say, office hours, school terms, exams; data, not code."""

from collections.abc import Iterator
from datetime import date, time, timedelta
from typing import Annotated

from pydantic import Field, model_validator

from xinqiao.config.fields import DistrictCode, Slug, matching
from xinqiao.config.loader import FileModel, Strict
from xinqiao.config.problems import refusal
from xinqiao.config.settings import Names
from xinqiao.contract.workdays import WHOLE_DAY, Term, Window, WorkCalendar

_HOURS = r"([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)"

OfficeHours = Annotated[str, matching(_HOURS, 'Beijing time in quotes, as in "08:30-12:00"', "CONFIG/SCHEDULE")]
Days = Annotated[int, Field(ge=0, le=60)]


class WorkingDays(Strict):
    """What differs from the State Council's yearly notice, or comes before the calendar library knows it."""

    holidays: tuple[date, ...] = Field(default=(), description="Days off that the notice does not name.")
    make_up_days: tuple[date, ...] = Field(default=(), description="Working weekends that the notice does not name.")
    hours: tuple[OfficeHours, ...] = Field(
        default=(), description="Office hours; none means that a working day counts as a whole."
    )

    @model_validator(mode="after")
    def _once(self) -> "WorkingDays":
        both = set(self.holidays) & set(self.make_up_days)
        if both:
            raise refusal("CONFIG/CONFLICT", "a day is both a holiday and a make-up day", "keep one")
        return self


class DaySpan(Strict):
    """Days from the first to the last, both included."""

    first: date = Field(description="First day.")
    last: date = Field(description="Last day.")

    @model_validator(mode="after")
    def _forwards(self) -> "DaySpan":
        if self.last < self.first:
            raise refusal("CONFIG/CONFLICT", "ends before it begins", "last is on or after first")
        return self


class SchoolTerm(DaySpan):
    """A school term [学期]."""

    id: Slug = Field(description="Id of the term, as in 2026-autumn.")
    school_year: int = Field(ge=2000, le=2099, description="Year in which the school year began.")


class NamedSpan(DaySpan):
    """An exam week, or another time to look more closely."""

    names: Names = Field(description="What it is called.")


class ExtraWindow(NamedSpan):
    """A window of the district's own."""

    id: Slug = Field(description="Id of the window.")


class Windows(Strict):
    """How far the intensified windows [重点时段] reach."""

    term_start_days: Days = Field(default=14, description="First days of each term; 0 means no such window.")
    before_holidays_days: Days = Field(default=14, description="Last days of each term; 0 means no such window.")
    before_exams_days: Days = Field(default=7, description="Days before each exam.")
    after_exams_days: Days = Field(default=7, description="Days after each exam.")


class CalendarFile(FileModel):
    """config/calendars/<district>.yaml."""

    version: int = Field(ge=1, le=1, description="Version of this file's form.")
    district: DistrictCode = Field(description="GB/T 2260 code, the same as in gateway.yaml.")
    working_days: WorkingDays = Field(default=WorkingDays(), description="Working days and office hours.")
    terms: tuple[SchoolTerm, ...] = Field(default=(), description="School terms, the earliest first.")
    exams: tuple[NamedSpan, ...] = Field(default=(), description="Exam weeks.")
    windows: Windows = Field(default=Windows(), description="How far the intensified windows reach.")
    extra_windows: tuple[ExtraWindow, ...] = Field(default=(), description="Windows of the district's own.")

    @model_validator(mode="after")
    def _terms_follow(self) -> "CalendarFile":
        for earlier, later in zip(self.terms, self.terms[1:], strict=False):
            if later.first <= earlier.last:
                raise refusal("CONFIG/CONFLICT", "terms overlap or are out of order", "write the earliest first")
        ids = [term.id for term in self.terms]
        if len(set(ids)) != len(ids):
            raise refusal("CONFIG/CONFLICT", "a term's id is given twice", "keep one")
        return self

    def calendar(self) -> WorkCalendar:
        """The calendar as the rooms use it."""
        days = self.working_days
        return WorkCalendar(
            overrides=dict.fromkeys(days.holidays, False) | dict.fromkeys(days.make_up_days, True),
            hours=tuple(_hours(text) for text in days.hours) or WHOLE_DAY,
            terms=[Term(term.id, term.school_year, term.first, term.last) for term in self.terms],
            windows=list(self._windows()),
        )

    def _windows(self) -> Iterator[Window]:
        for term in self.terms:
            yield from _span("term_start", term.first, self.windows.term_start_days)
            length = self.windows.before_holidays_days
            yield from _span("before_holidays", term.last - timedelta(days=max(length - 1, 0)), length)
        for exam in self.exams:
            before, after = self.windows.before_exams_days, self.windows.after_exams_days
            yield Window("exams", exam.first - timedelta(days=before), exam.last + timedelta(days=after))
        for extra in self.extra_windows:
            yield Window(extra.id, extra.first, extra.last)


def _span(name: str, first: date, length: int) -> Iterator[Window]:
    if length:
        yield Window(name, first, first + timedelta(days=length - 1))


def _hours(text: str) -> tuple[time, time]:
    opens, _, closes = text.partition("-")
    return time.fromisoformat(opens), time() if closes == "24:00" else time.fromisoformat(closes)
