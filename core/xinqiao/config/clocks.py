"""The district's clocks as one function: how long each step of a case may take."""

from datetime import timedelta

from xinqiao.config.district import District

# The steps of a case that the overlay does not name itself run on the clock that the law's sense gives them.
_CLOCK_OF = {
    "acknowledge": "acknowledge",
    "send": "acknowledge",
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
_TIERS = {4: "RED", 3: "ORANGE"}


class Clocks:
    """Deadlines for (tier, step) under a district's overlay; GREEN and unknown tiers run on YELLOW's clocks."""

    def __init__(self, district: District) -> None:
        self._clocks = district.clocks

    def deadline(self, tier: int, step: str, now_us: int) -> int:
        """When ``step`` must have happened, microseconds since 1970 UTC. Raises KeyError for an unknown step."""
        limit: timedelta = getattr(getattr(self._clocks, _TIERS.get(tier, "YELLOW")), _CLOCK_OF[step])
        return now_us + limit // timedelta(microseconds=1)
