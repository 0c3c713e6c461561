"""The business date is the one of a clock on a wall in Beijing."""

from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from xinqiao.contract.clock import BEIJING, local_date, to_us

MOMENTS = st.datetimes(datetime(1902, 1, 1), datetime(2199, 12, 31), timezones=st.just(UTC))
MIDNIGHT = datetime(2026, 10, 1, tzinfo=BEIJING)


@given(MOMENTS)
@example(MIDNIGHT)
@example(MIDNIGHT - timedelta(microseconds=1))
@example(datetime(1988, 4, 16, 23, 59, 59, 999_999, tzinfo=BEIJING))  # China put its clocks forward the night after
@example(datetime(1988, 9, 11, tzinfo=BEIJING))
def test_a_moment_has_the_date_of_its_time_in_beijing(moment: datetime) -> None:
    assert local_date(to_us(moment)) == moment.astimezone(BEIJING).date()
