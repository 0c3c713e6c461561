"""Months in Beijing time, working days, windows."""

from datetime import UTC, date, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xinqiao.contract.clock import from_us, to_us
from xinqiao.contract.errors import Refusal
from xinqiao.contract.workdays import Term, WorkCalendar, days
from xinqiao.exchange import periods
from xinqiao.exchange.periods import Window, current_period, finished, length_of, previous_period, shift, span

CST = timezone(timedelta(hours=8))  # on purpose not the zone data that the code under test uses
WEEKS = st.dates(date(2000, 1, 3), date(2098, 12, 28)).map(lambda day: day.strftime("%G-W%V"))
MONTHS = st.builds(lambda year, month: f"{year:04}-{month:02}", st.integers(2000, 2098), st.integers(1, 12))


def schedule(day: Any, *, working: bool = False, at: str = "02:00", days: int = 10, close: int | None = None) -> Any:
    run = SimpleNamespace(day=day, working=working, at=at)
    return SimpleNamespace(run=run, close_after_days=None if close else days, close_by_working_day=close)


def due_at(scheduled: Any, period: str, calendar: WorkCalendar | None = None) -> Window:
    return periods.due_at(scheduled, period, calendar or WorkCalendar())


def beijing(us: int) -> datetime:
    return from_us(us).astimezone(CST)


@given(MONTHS)
def test_periods_touch_without_gap_or_overlap(period: str) -> None:
    assert span(period).to_us == span(shift(period, 1)).from_us


@given(MONTHS)
def test_a_period_holds_its_first_and_last_microsecond_and_neither_neighbour(period: str) -> None:
    first, end = span(period)
    assert current_period(first) == current_period(end - 1) == period
    assert current_period(first - 1) == shift(period, -1) if period != "2000-01" else True
    assert current_period(end) == shift(period, 1)
    assert previous_period(end) == period


@given(MONTHS)
def test_a_period_starts_at_midnight_in_beijing(period: str) -> None:
    assert beijing(span(period).from_us) == datetime(int(period[:4]), int(period[5:]), 1, tzinfo=CST)


@pytest.mark.parametrize(("period", "days"), [("2028-02", 29), ("2026-02", 28), ("2000-02", 29), ("2026-12", 31)])
def test_a_month_has_the_days_of_the_calendar(period: str, days: int) -> None:
    first, end = span(period)
    assert end - first == days * 86_400_000_000


def test_october_begins_while_it_is_still_september_in_utc() -> None:
    assert span("2026-10").from_us == to_us(datetime(2026, 9, 30, 16, tzinfo=UTC))


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "2026-13",
        "2026-00",
        "2027-1",
        "1999-12",
        "2026-10\n",
        "２０２６-10",
        "2026/10",
        "2026-W00",
        "2026-W54",
        "2027-W53",
        "2026-w41",
        "2026-W7",
        "2026-Q0",
        "2026-Q5",
        "2026-Q03",
        "2026-q3",
        "2026-T1",
        "2026-T9",
    ],
)
def test_a_bad_period_is_refused_without_echo(bad: str) -> None:
    with pytest.raises(Refusal) as caught:
        span(bad)
    assert (caught.value.status, caught.value.reason) == ("INVALID_ARGUMENT", "PERIOD")
    assert not bad or bad not in caught.value.message


@given(MONTHS)
def test_a_period_is_over_from_the_first_microsecond_of_the_next(period: str) -> None:
    end = span(period).to_us
    assert finished(period, end) == span(period)
    with pytest.raises(Refusal, match="PERIOD"):
        finished(period, end - 1)


def test_the_first_working_day_of_october_comes_after_the_holidays() -> None:
    window = due_at(schedule(1, working=True), "2026-09")
    assert beijing(window.start_us) == datetime(2026, 10, 8, 2, tzinfo=CST)
    assert beijing(window.close_us) == datetime(2026, 10, 18, 2, tzinfo=CST)
    assert not window.guessed


def test_a_make_up_saturday_is_the_last_working_day_of_february_2026() -> None:
    assert beijing(due_at(schedule("last", working=True), "2026-01").start_us).date() == date(2026, 2, 28)


def test_the_last_day_of_a_leap_february_is_the_29th() -> None:
    assert beijing(due_at(schedule("last", at="23:30"), "2028-01").start_us) == datetime(
        2028, 2, 29, 23, 30, tzinfo=CST
    )


def test_a_year_without_known_holidays_is_guessed_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    window = due_at(schedule(2, working=True), "2026-12")
    assert window.guessed
    assert beijing(window.start_us).date() == date(2027, 1, 4)
    assert "2027" in caplog.text


def test_a_plain_day_is_never_guessed() -> None:
    assert not due_at(schedule(5), "2029-12").guessed


@given(MONTHS, st.one_of(st.integers(1, 28), st.just("last")), st.booleans())
def test_a_period_is_run_after_its_end_and_within_the_next_month(period: str, day: Any, working: bool) -> None:
    window = due_at(schedule(day, working=working), period)
    assert span(period).to_us <= window.start_us < span(shift(period, 1)).to_us
    assert window.close_us - window.start_us == 10 * 86_400_000_000


@given(WEEKS)
def test_weeks_touch_without_gap_or_overlap_and_each_has_seven_days_from_monday(week: str) -> None:
    first, end = span(week)
    assert (end, end - first) == (span(shift(week, 1)).from_us, 7 * 86_400_000_000)
    assert (beijing(first).weekday(), beijing(first).hour) == (0, 0)
    assert current_period(first, "week") == current_period(end - 1, "week") == week
    assert previous_period(end, "week") == week
    assert length_of(week) == "week"


def test_the_53rd_week_of_2026_ends_in_2027_and_the_first_of_2027_follows_it() -> None:
    assert beijing(span("2026-W53").from_us).date() == date(2026, 12, 28)
    assert shift("2026-W53", 1) == "2027-W01"


@given(WEEKS, st.one_of(st.integers(1, 7), st.just("last")), st.booleans())
def test_a_week_is_run_after_its_end_and_within_the_next_week(week: str, day: Any, working: bool) -> None:
    window = due_at(schedule(day, working=working), week)
    assert span(week).to_us <= window.start_us < span(shift(week, 1)).to_us


def test_a_week_after_which_the_first_working_day_is_a_thursday_is_run_then() -> None:
    """2026-10-05 to 07 are holidays, the 8th is a working day."""
    assert beijing(due_at(schedule(1, working=True), "2026-W40").start_us).date() == date(2026, 10, 8)


def test_a_week_whose_next_week_has_no_working_day_is_run_on_its_last_day() -> None:
    closed = WorkCalendar(overrides=dict.fromkeys(days(date(2026, 10, 5), date(2026, 10, 11)), False))
    assert beijing(due_at(schedule(1, working=True), "2026-W40", closed).start_us).date() == date(2026, 10, 11)


def test_the_districts_own_holidays_and_make_up_days_count() -> None:
    calendar = WorkCalendar(overrides={date(2026, 10, 8): False, date(2027, 1, 2): True})
    assert beijing(due_at(schedule(1, working=True), "2026-09", calendar).start_us).date() == date(2026, 10, 9)
    assert beijing(due_at(schedule(1, working=True), "2026-12", calendar).start_us).date() == date(2027, 1, 1)
    assert beijing(due_at(schedule(2, working=True), "2026-12", calendar).start_us).date() == date(2027, 1, 2)


def test_one_unknown_day_does_not_make_a_working_day_of_a_known_holiday() -> None:
    """The week after 2026-W52 reaches into 2027; a holiday that is known in it stays one."""
    calendar = WorkCalendar(overrides={date(2026, 12, 28): False})
    window = due_at(schedule(1, working=True), "2026-W52", calendar)
    assert (beijing(window.start_us).date(), window.guessed) == (date(2026, 12, 29), True)


def test_the_eighth_day_of_a_week_does_not_exist() -> None:
    with pytest.raises(Refusal, match="SCHEDULE"):
        due_at(schedule(8), "2026-W40")


# -- quarters, terms, and closing by a working day ---------------------------------------------------------------------

QUARTERS = st.builds(lambda year, quarter: f"{year:04}-Q{quarter}", st.integers(2000, 2098), st.integers(1, 4))
TERMS = WorkCalendar(
    terms=(
        Term("2025-spring", 2025, date(2026, 2, 24), date(2026, 6, 30)),
        Term("2026-autumn", 2026, date(2026, 9, 1), date(2027, 1, 29)),
        Term("2026-spring", 2026, date(2027, 2, 22), date(2027, 6, 30)),
    )
)


@given(QUARTERS)
def test_a_quarter_is_its_three_months(quarter: str) -> None:
    first, end = span(quarter)
    months = [f"{quarter[:4]}-{month:02}" for month in range(int(quarter[-1]) * 3 - 2, int(quarter[-1]) * 3 + 1)]
    assert (first, end) == (span(months[0]).from_us, span(months[-1]).to_us)
    assert current_period(first, "quarter") == current_period(end - 1, "quarter") == quarter
    assert previous_period(end, "quarter") == quarter
    assert end == span(shift(quarter, 1)).from_us


@given(QUARTERS, st.one_of(st.integers(1, 28), st.just("last")), st.booleans())
def test_a_quarter_is_run_in_the_month_after_it(quarter: str, day: Any, working: bool) -> None:
    window = due_at(schedule(day, working=working), quarter)
    first = span(quarter).to_us
    assert first <= window.start_us < span(shift(current_period(first), 1)).to_us
    assert current_period(window.start_us) == current_period(first)


def test_a_term_is_counted_in_its_school_year_and_has_the_holidays_before_it() -> None:
    autumn, spring = span("2026-T1", TERMS), span("2026-T2", TERMS)
    assert beijing(autumn.from_us) == datetime(2026, 7, 1, tzinfo=CST)
    assert beijing(autumn.to_us) == beijing(spring.from_us) == datetime(2027, 1, 30, tzinfo=CST)
    assert beijing(spring.to_us) == datetime(2027, 7, 1, tzinfo=CST)
    assert beijing(span("2025-T1", TERMS).from_us) == datetime(2026, 2, 24, tzinfo=CST)
    assert shift("2025-T1", 1, TERMS) == "2026-T1"


def test_the_newest_term_that_is_over_and_the_one_that_runs() -> None:
    holidays, autumn = to_us(datetime(2026, 8, 1, tzinfo=CST)), to_us(datetime(2026, 10, 12, tzinfo=CST))
    for now_us in (holidays, autumn):
        assert previous_period(now_us, "term", TERMS) == "2025-T1"
        assert current_period(now_us, "term", TERMS) == "2026-T1"
    assert previous_period(span("2026-T1", TERMS).to_us, "term", TERMS) == "2026-T1"
    assert previous_period(span("2026-T1", TERMS).to_us - 1, "term", TERMS) == "2025-T1"


def test_a_term_that_the_calendar_does_not_know_is_refused_with_how_to_mend_it() -> None:
    for ask in (
        lambda: span("2027-T1", TERMS),
        lambda: span("2026-T1"),
        lambda: current_period(span("2026-T2", TERMS).to_us, "term", TERMS),
        lambda: previous_period(to_us(datetime(2026, 6, 30, tzinfo=CST)), "term", TERMS),
    ):
        with pytest.raises(Refusal, match="config/calendars"):
            ask()


def test_a_term_is_run_on_a_working_day_after_it() -> None:
    window = due_at(schedule(3, working=True), "2025-T1", TERMS)
    assert beijing(window.start_us) == datetime(2026, 7, 3, 2, tzinfo=CST)


def test_periods_that_are_over_come_oldest_first_from_the_one_that_holds_the_first_moment() -> None:
    now, calendar = to_us(datetime(2026, 10, 12, tzinfo=CST)), WorkCalendar()
    may = to_us(datetime(2026, 5, 31, 23, tzinfo=CST))
    assert list(periods.over("month", may, now, 36, calendar)) == [
        "2026-05",
        "2026-06",
        "2026-07",
        "2026-08",
        "2026-09",
    ]
    assert list(periods.over("month", may, now, 2, calendar)) == ["2026-08", "2026-09"]
    assert list(periods.over("quarter", may, now, 12, calendar)) == ["2026-Q2", "2026-Q3"]
    assert list(periods.over("term", may, now, 6, TERMS)) == ["2025-T1"]
    assert list(periods.over("term", may, now, 6, calendar)) == []
    assert list(periods.over("month", now, now, 36, calendar)) == []


def test_closed_by_the_fifth_working_day_means_at_its_end() -> None:
    """October 2026: 8, 9, 10 (a make-up Saturday), 12, 13 are the first five working days."""
    window = due_at(schedule(1, working=True, close=5), "2026-09")
    assert beijing(window.start_us) == datetime(2026, 10, 8, 2, tzinfo=CST)
    assert beijing(window.close_us) == datetime(2026, 10, 14, tzinfo=CST)


@given(st.one_of(MONTHS, WEEKS, QUARTERS), st.integers(1, 7), st.integers(0, 7))
def test_a_period_closes_after_its_run_and_within_what_follows_it(period: str, day: int, more: int) -> None:
    window = due_at(schedule(day, working=True, close=min(day + more, 7)), period)
    assert span(period).to_us <= window.start_us < window.close_us
    assert window.close_us - span(period).to_us <= 31 * 86_400_000_000


def test_a_schedule_that_closes_before_it_is_run_is_refused() -> None:
    with pytest.raises(Refusal, match="SCHEDULE"):
        due_at(schedule(28, close=1), "2026-10")
