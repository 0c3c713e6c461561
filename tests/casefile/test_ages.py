"""Ages as the law counts them."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xinqiao.casefile.ages import birthday, under_fourteen


@pytest.mark.parametrize(
    ("born", "today", "young"),
    [
        ("2012-10-13", date(2026, 10, 12), True),
        ("2012-10-12", date(2026, 10, 12), True),  # the 14th birthday itself: the stricter reading
        ("2012-10-11", date(2026, 10, 12), False),
        ("2012-02-29", date(2026, 2, 28), True),
        ("2012-02-29", date(2026, 3, 1), True),  # counts as 1 March in a common year, and the day itself still counts
        ("2012-02-29", date(2026, 3, 2), False),
        ("", date(2026, 10, 12), True),
        ("2012-02-30", date(2026, 10, 12), True),
    ],
)
def test_the_strict_reading_holds_on_every_edge(born, today, young):
    assert under_fourteen(born, today) is young


@given(st.dates(date(1990, 1, 1), date(2026, 1, 1)), st.integers(0, 6000))
def test_nobody_becomes_younger(born, days):
    today = date(2026, 1, 1)
    if not under_fourteen(born.isoformat(), today):
        assert not under_fourteen(born.isoformat(), today + timedelta(days=days))


def test_a_birthday_on_29_february_exists_in_every_year():
    assert birthday(date(2012, 2, 29), 14) == date(2026, 3, 1)
    assert birthday(date(2012, 2, 29), 4) == date(2016, 2, 29)
