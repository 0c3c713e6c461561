"""The district's clocks and rosters as functions: how long each step of a case may take, and who is on duty."""

from collections.abc import Callable
from datetime import timedelta

from xinqiao.config.district import District
from xinqiao.config.fields import WorkingTime
from xinqiao.contract.clock import local_date
from xinqiao.contract.workdays import WorkCalendar

Deadline = Callable[[int, str, int], int]
"""(tier, step, now_us) -> deadline_us: ``Clocks.deadline``."""

# The steps of a case that the overlay does not name itself run on the clock that the law's sense gives them.
_CLOCK_OF = {
    "acknowledge": "acknowledge",
    "send": "acknowledge",
    "phone": "acknowledge",
    "confirm": "guardian",
    "resolve": "guardian",
    "guardian": "guardian",
    "serve": "guardian",  # a notice is told to a guardian when one has it
    "decide": "guardian",
    "refer": "accept",
    "accept": "accept",
    "present": "accept",
    "outcome": "outcome",
    "close": "outcome",
}
_OWN = ("confirm", "refer", "close", "phone")
_TIERS = {4: "RED", 3: "ORANGE"}
_US = timedelta(microseconds=1)


class Clocks:
    """Deadlines for (tier, step) under a district's overlay; GREEN and unknown tiers run on YELLOW's clocks."""

    def __init__(self, district: District, calendar: WorkCalendar | None = None) -> None:
        self.use(district, calendar or WorkCalendar())

    def use(self, district: District, calendar: WorkCalendar) -> None:
        """Go on with another overlay; deadlines that were set stay as they were set."""
        self._calendar = calendar
        self.capacity_wait = district.capacity_wait
        self._clocks = district.clocks
        self._crisis = district.crisis
        self.consent, self.agreement_notice = district.consent, district.agreement_notice
        self.repairs = district.repairs
        self._rosters = {roster.school: roster for roster in district.rosters}

    def deadline(self, tier: int, step: str, now_us: int) -> int:
        """When ``step`` must have happened, microseconds since 1970 UTC. Raises KeyError for an unknown step."""
        if step == "receive":  # the crisis lane's own clock, the same for every tier
            return now_us + self._crisis.next_after // _US
        clocks = getattr(self._clocks, _TIERS.get(tier, "YELLOW"))
        own: timedelta | None = getattr(clocks, step) if step in _OWN else None
        limit: timedelta = getattr(clocks, _CLOCK_OF[step]) if own is None else own
        if isinstance(limit, WorkingTime):
            return self._calendar.add_working_time(now_us, limit)
        return now_us + limit // _US

    def on_duty(self, school: str, now_us: int) -> str:
        """Who is on duty at a school now; empty where it has no roster."""
        roster = self._rosters.get(school)
        if roster is None:
            return ""
        today = local_date(now_us)
        return roster.on_duty(today, workday=self._calendar.is_workday(today))
