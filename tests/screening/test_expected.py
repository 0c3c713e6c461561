"""Which reports are expected when: the school calendar decides, not the seven-day week."""

from datetime import date, timedelta

import pytest

from xinqiao.config.cadence import Cadence, Intensified
from xinqiao.contract.clock import BEIJING, from_us
from xinqiao.contract.workdays import Term, Window, WorkCalendar, days
from xinqiao.screening.expected import expected, running_since

AUTUMN = Term("2026-autumn", 2026, date(2026, 9, 1), date(2027, 1, 29))
SPRING = Term("2026-spring", 2026, date(2027, 2, 22), date(2027, 6, 30))
CALENDAR = WorkCalendar(
    # 2027 until its notice is in the library: what this test needs of it
    overrides={day: day.weekday() < 5 for day in days(date(2027, 1, 1), date(2027, 7, 31))},
    terms=[AUTUMN, SPRING],
    windows=[
        Window("exams", date(2026, 11, 9), date(2026, 11, 17)),
        Window("term_start", date(2026, 9, 1), date(2026, 9, 4)),
    ],
)
NAMES = {"zh": "名", "en": "name"}
FIRST, LAST = date(2026, 8, 1), date(2027, 7, 31)


def cadence(**words):
    return Cadence.model_validate({"names": NAMES, "role": "SCHOOL_PLATFORM", **words})


def due(found):
    return {each.period: from_us(each.due_us).astimezone(BEIJING).isoformat(" ")[:16] for each in found}


def test_a_weekly_report_is_due_on_the_last_school_day_also_a_make_up_saturday():
    found = due(expected(cadence(every="week"), CALENDAR, FIRST, LAST))
    assert found["2026-W36"] == "2026-09-04 18:00"
    assert found["2026-W41"] == "2026-10-10 18:00"  # the Saturday after National Day
    assert found["2026-W39"] == "2026-09-24 18:00"  # the Friday is Mid-Autumn


def test_nothing_is_owed_for_a_week_of_holidays():
    found = due(expected(cadence(every="week"), CALENDAR, FIRST, LAST))
    assert "2026-W35" not in found and "2027-W06" not in found and "2027-W27" not in found
    assert "2026-W40" in found  # 28 to 30 September are school days
    assert found["2026-W40"] == "2026-09-30 18:00"


def test_a_visit_that_is_no_schools_business_goes_on_in_the_holidays():
    visits = cadence(every="week", role="GRID", per="partner", school_days_only=False, ask="OPERATOR")
    found = due(expected(visits, CALENDAR, FIRST, LAST))
    assert "2026-W34" in found and "2027-W06" in found


def test_a_monthly_report_has_its_grace_in_working_days():
    found = due(expected(cadence(every="month", grace_days=3), CALENDAR, FIRST, LAST))
    assert found["2026-09"] == "2026-10-10 18:00"  # 30 September, then 8, 9 and the make-up 10 October
    assert "2026-08" not in found


def test_two_drills_a_term_are_spread_over_it():
    found = due(expected(cadence(every="term", times=2), CALENDAR, FIRST, LAST))
    assert list(found) == ["2026-autumn/1", "2026-autumn/2", "2026-spring/1", "2026-spring/2"]
    assert found["2026-autumn/1"].startswith("2026-11-13") and found["2026-autumn/2"].startswith("2027-01-29")


def test_screening_is_owed_once_a_school_year():
    assert due(expected(cadence(every="school_year"), CALENDAR, FIRST, LAST)) == {"2026": "2027-06-30 18:00"}


def test_a_week_that_touches_a_window_gives_way_to_its_halves():
    more = Intensified(windows=("exams",), every="half_week")
    found = expected(cadence(every="week", intensified=more), CALENDAR, date(2026, 11, 2), date(2026, 11, 29))
    assert [each.period for each in found] == [
        "2026-W45",
        "2026-W46a",
        "2026-W46b",
        "2026-W47a",
        "2026-W47b",
        "2026-W48",
    ]
    assert [each.windows for each in found][:2] == [(), ("exams",)]


def test_daily_reports_are_owed_on_school_days_only():
    more = Intensified(windows=("term_start",), every="day")
    found = expected(cadence(every="week", intensified=more), CALENDAR, FIRST, date(2026, 9, 6))
    assert [each.period for each in found] == ["2026-09-01", "2026-09-02", "2026-09-03", "2026-09-04"]


def test_a_monthly_report_stays_beside_the_weekly_ones_of_a_window():
    more = Intensified(windows=("exams",), every="week")
    found = expected(cadence(every="month", intensified=more), CALENDAR, date(2026, 11, 1), date(2026, 11, 30))
    assert [each.period for each in found] == ["2026-W46", "2026-W47", "2026-11"]


@pytest.mark.parametrize("words", [{"every": "week"}, {"every": "month"}, {"every": "term", "times": 2},
    {"every": "week", "intensified": Intensified(windows=("exams", "term_start"), every="day")},
    {"every": "month", "intensified": Intensified(windows=("exams",), every="half_week")}])  # fmt: skip
def test_asking_day_by_day_gives_each_report_once_as_asking_at_once_does(words):
    asked = [each for day in days(FIRST, LAST) for each in expected(cadence(**words), CALENDAR, day, day)]
    assert len({each.period for each in asked}) == len(asked)
    assert sorted(asked) == sorted(expected(cadence(**words), CALENDAR, FIRST, LAST))


def test_a_due_day_in_a_year_without_a_notice_is_marked_as_a_guess():
    calendar = WorkCalendar(terms=[Term("t", 2031, date(2031, 9, 1), date(2031, 12, 31))])
    assert all(each.guessed for each in expected(cadence(every="week"), calendar, date(2031, 9, 1), date(2031, 9, 30)))
    assert not any(each.guessed for each in expected(cadence(every="week"), CALENDAR, FIRST, date(2026, 12, 6)))


def test_a_cadence_switched_on_today_begins_with_the_running_period():
    wednesday = date(2026, 11, 18)
    assert running_since(cadence(every="week"), CALENDAR, wednesday) == date(2026, 11, 16)
    assert running_since(cadence(every="month"), CALENDAR, wednesday) == date(2026, 11, 1)
    assert running_since(cadence(every="school_year"), CALENDAR, wednesday) == AUTUMN.first
    assert running_since(cadence(every="term", times=2), CALENDAR, wednesday) == date(2026, 11, 15)
    assert running_since(cadence(every="term"), CALENDAR, AUTUMN.last + timedelta(days=5)) == date(2027, 2, 1)
