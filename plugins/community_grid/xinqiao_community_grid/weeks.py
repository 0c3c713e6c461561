"""The station's weekly report: owed by the station, complete only when every one of its grids has spoken."""

import re
from collections.abc import Iterator
from pathlib import Path

from xinqiao.adapters import durable
from xinqiao.api.adapter.v1.adapter_service_pb2 import ReadResponse
from xinqiao.api.screening.v1.screening_service_pb2 import SubmitReportRequest
from xinqiao_community_grid.settings import CommunityGridSettings

_LINE = re.compile(
    r"(?P<grid>[A-Za-z0-9-]+) (?P<week>[0-9W-]+) (?P<seen>[0-9]+) (?P<concerns>[0-9]+) (?P<letter>[0-9]+)"
)
_Spoken = tuple[int, int, int]
"""Seen, concerns, number of the letter that said so."""


class Weeks:
    """Counts of each grid and week, no person in them. A silent grid keeps the report from going: the gateway then asks."""

    def __init__(self, path: Path, settings: CommunityGridSettings) -> None:
        self._path = path
        self._settings = settings
        self._spoken: dict[str, dict[str, _Spoken]] = {}
        self._fresh: list[tuple[str, str, _Spoken]] = []
        for line in path.read_text("ascii").splitlines() if path.exists() else []:
            found = _LINE.fullmatch(line)
            if found is not None:
                told = (int(found["seen"]), int(found["concerns"]), int(found["letter"]))
                self._spoken.setdefault(found["week"], {}).setdefault(found["grid"], told)

    def add(self, grid: str, week: str, seen: int, concerns: int, letter: int) -> bool:
        """Whether this is new, or what the grid said before. In memory until ``keep``."""
        earlier = self._spoken.get(week, {}).get(grid)
        earlier = earlier or next((told for g, w, told in self._fresh if (g, w) == (grid, week)), None)
        if earlier is None:
            self._fresh.append((grid, week, (seen, concerns, letter)))
        return earlier is None or earlier[:2] == (seen, concerns)

    def keep(self) -> None:
        """Write down what is new. Raises OSError."""
        if self._fresh:
            lines = "".join(
                f"{grid} {week} {seen} {concerns} {letter}\n" for grid, week, (seen, concerns, letter) in self._fresh
            )
            durable.append(self._path, lines.encode())
        for grid, week, told in self._fresh:
            self._spoken.setdefault(week, {})[grid] = told
        self._fresh = []

    def forget(self) -> None:
        """Take back what was added since the last ``keep``."""
        self._fresh = []

    def complete(self, letter: int) -> Iterator[ReadResponse]:
        """The reports that letter ``letter`` completed: as often as it is read, the same."""
        for week, said in sorted(self._spoken.items()):
            if any(grid not in said for grid in self._settings.grids):
                continue
            told = [said[grid] for grid in self._settings.grids]
            if not told:  # a station that lists no grids speaks for itself: its first letter of the week is the report
                first = min(number for _, _, number in said.values())
                told = [each for each in said.values() if each[2] == first]
            if max(number for _, _, number in told) != letter:
                continue
            concerns = sum(count for _, count, _ in told)
            report = SubmitReportRequest(
                cadence=self._settings.cadence, period=week, nil_report=concerns == 0,
                students_seen=sum(seen for seen, _, _ in told), concerns=concerns,
            )  # fmt: skip
            yield ReadResponse(report=report)

    def silent(self, week: str) -> list[str]:
        """The grids that owe a report of ``week`` and have not spoken."""
        said = self._spoken.get(week, {})
        return [grid for grid in self._settings.grids if grid not in said]
