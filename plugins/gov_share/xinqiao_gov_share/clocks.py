"""When an answer is due: the platform's own day where it names one, else working days after the submission.

The days are settings because rules differ: the defaults are one county's (sxgp.gov.cn, 2024: checked within 2 working
days, answered within 5, or 10 for what is not yet published). 《政务数据共享条例》 (2025-08-01) has limits of its own: a
deployment puts in those that hold for it.
"""

from datetime import date, datetime, timedelta

from xinqiao.contract.clock import BEIJING, local_date, to_us
from xinqiao.contract.workdays import WorkCalendar

_CALENDAR = WorkCalendar()


def end_of(day: date) -> int:
    """The end of ``day`` in Beijing, microseconds since 1970 UTC: a day is kept until it is over."""
    return to_us(datetime.combine(day + timedelta(days=1), datetime.min.time(), BEIJING))


def after_workdays(start_us: int, count: int) -> date:
    """The ``count``-th working day after the day of ``start_us``; the day of the start does not count."""
    day = local_date(start_us)
    for _ in range(count):
        day = _CALENDAR.next_workday(day)
    return day
