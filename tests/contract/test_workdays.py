"""Working time follows the State Council's calendar, and says where it has to guess."""

import logging
from datetime import date, datetime, time, timedelta

import pytest

from xinqiao.contract.clock import BEIJING, from_us, to_us
from xinqiao.contract.workdays import Term, Window, WorkCalendar

OFFICE = ((time(8, 30), time(12)), (time(13, 30), time(17, 30)))


def at(text: str) -> int:
    return to_us(datetime.fromisoformat(text).replace(tzinfo=BEIJING))


def said(us: int) -> str:
    return from_us(us).astimezone(BEIJING).isoformat(" ")[:16]


@pytest.mark.parametrize(
    ("day", "works"),
    [
        (date(2026, 9, 30), True),
        (date(2026, 10, 1), False),  # National Day
        (date(2026, 10, 7), False),
        (date(2026, 10, 10), True),  # a Saturday that makes up for it
        (date(2026, 2, 17), False),  # Spring Festival
        (date(2026, 2, 14), True),  # a Saturday that makes up for it
        (date(2026, 11, 28), False),  # an ordinary Saturday
    ],
)
def test_holidays_and_make_up_days_are_those_of_the_yearly_notice(day, works):
    assert WorkCalendar().is_workday(day) is works


def test_a_year_without_a_notice_is_taken_monday_to_friday_and_reported(caplog):
    calendar = WorkCalendar()
    with caplog.at_level(logging.WARNING):
        assert calendar.is_workday(date(2031, 10, 1))
        assert not calendar.is_workday(date(2031, 10, 4))
    assert calendar.is_guessed(date(2031, 10, 1))
    assert not calendar.is_guessed(date(2026, 10, 1))
    assert calendar.guessed_years(date(2026, 12, 1), date(2031, 1, 2))[-1] == 2031
    assert [record.getMessage() for record in caplog.records] == [
        "no holidays known for 2031: Monday to Friday count as working days"
    ]


def test_an_override_speaks_before_the_notice_and_before_the_guess():
    calendar = WorkCalendar(overrides={date(2026, 9, 30): False, date(2031, 10, 1): False, date(2031, 10, 4): True})
    assert not calendar.is_workday(date(2026, 9, 30))
    assert not calendar.is_workday(date(2031, 10, 1))
    assert calendar.is_workday(date(2031, 10, 4))
    assert not calendar.is_guessed(date(2031, 10, 1))


def test_the_next_working_day_after_the_30th_of_september_comes_after_the_holidays():
    assert WorkCalendar().next_workday(date(2026, 9, 30)) == date(2026, 10, 8)


@pytest.mark.parametrize(
    ("start", "hours", "end"),
    [
        ("2026-11-26 10:00", 1, "2026-11-26 11:00"),
        ("2026-11-26 11:30", 1, "2026-11-26 14:00"),  # over the midday break
        ("2026-11-26 12:10", 1, "2026-11-26 14:30"),  # from within the break
        ("2026-11-27 17:00", 1, "2026-11-30 09:00"),  # over a weekend
        ("2026-11-28 10:00", 1, "2026-11-30 09:30"),  # from a Saturday
        ("2026-11-26 08:30", 7.5, "2026-11-26 17:30"),  # a whole day ends with the day, not with the next opening
        ("2026-09-30 16:30", 2, "2026-10-08 09:30"),  # over National Day
        ("2026-10-09 16:30", 2, "2026-10-10 09:30"),  # into the make-up Saturday
    ],
)
def test_working_time_passes_only_in_office_hours(start, hours, end):
    assert said(WorkCalendar(hours=OFFICE).add_working_time(at(start), timedelta(hours=hours))) == end


@pytest.mark.parametrize(
    ("start", "duration", "end"),
    [
        ("2026-11-26 10:00", timedelta(hours=48), "2026-11-30 10:00"),  # two working days, the weekend between
        ("2026-09-30 10:00", timedelta(days=1), "2026-10-08 10:00"),
        ("2026-11-27 00:00", timedelta(days=1), "2026-11-28 00:00"),  # the end of Friday
    ],
)
def test_without_office_hours_48_working_hours_are_two_working_days(start, duration, end):
    assert said(WorkCalendar().add_working_time(at(start), duration)) == end


def test_nothing_to_add_is_now_and_time_never_goes_back():
    saturday = at("2026-11-28 10:00")
    assert WorkCalendar().add_working_time(saturday, timedelta(0)) == saturday
    with pytest.raises(ValueError):
        WorkCalendar().add_working_time(saturday, timedelta(seconds=-1))


def test_adding_in_two_parts_is_adding_at_once():
    calendar = WorkCalendar(hours=OFFICE)
    for hour in range(0, 24 * 14, 5):
        start = at("2026-09-25 00:00") + hour * 3_600_000_000
        middle = calendar.add_working_time(start, timedelta(hours=5))
        parts = calendar.add_working_time(middle, timedelta(hours=9))
        assert parts == calendar.add_working_time(start, timedelta(hours=14))


@pytest.mark.parametrize(
    "hours",
    [(), ((time(12), time(8)),), ((time(8), time(12)), (time(11), time(17))), ((time(8), time()), (time(9), time(10)))],
)
def test_office_hours_that_make_no_sense_are_refused(hours):
    with pytest.raises(ValueError):
        WorkCalendar(hours=hours)


AUTUMN = Term("2026-autumn", 2026, date(2026, 9, 1), date(2027, 1, 29))


def test_a_school_day_is_a_working_day_in_a_term():
    calendar = WorkCalendar(terms=[AUTUMN])
    assert calendar.is_school_day(date(2026, 10, 10))
    assert not calendar.is_school_day(date(2026, 10, 1))
    assert not calendar.is_school_day(date(2026, 8, 31))
    assert WorkCalendar().is_school_day(date(2026, 8, 31))


def test_a_day_may_lie_in_several_windows():
    exams = Window("exams", date(2026, 11, 9), date(2026, 11, 20))
    start = Window("term_start", date(2026, 9, 1), date(2026, 11, 9))
    calendar = WorkCalendar(windows=[exams, start])
    assert calendar.in_window(date(2026, 11, 9)) == ("exams", "term_start")
    assert calendar.in_window(date(2026, 11, 21)) == ()
