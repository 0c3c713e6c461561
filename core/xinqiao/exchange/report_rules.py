"""What a report consists of: `config/reports/*.yaml`, checked. Shapes are fixed there; no caller can ask for another."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from xinqiao.config.fields import Slug
from xinqiao.config.loader import FileModel, Strict, load
from xinqiao.config.problems import ConfigError, Finding, Problem
from xinqiao.config.settings import Names

KindName = Literal[
    "SESSION", "CONTACT", "GROUP", "LESSON", "TRAINING", "WORKSHOP", "LECTURE", "LETTER", "ONSITE_DAY", "MEETING",
    "HOME_VISIT", "GRID_VISIT", "CALL", "CONSULTATION", "FAMILY_EDUCATION", "VOLUNTEERING", "DRILL", "CAMPAIGN",
]  # fmt: skip
EntryName = Literal["SESSION", "HOME_VISIT", "GRID_VISIT", "PHONE_CALL", "SUPPORT"]
AudienceName = Literal["STUDENTS", "PEERS", "TEACHERS", "PARENTS", "PUBLIC"]
Measure = Literal["times", "attendances", "persons", "series", "days", "minutes", "months"]
Dimension = Literal["school", "tier", "instrument", "kind", "source", "state"]
_Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]

OF: Mapping[str, tuple[str, ...]] = {
    "assessments": ("school", "instrument", "tier"),
    "signals": ("school", "kind", "source", "tier"),
    "triages": ("school", "tier"),
    "referrals": ("school", "tier", "state"),
}
"""The records that tables are of, each with the dimensions it has."""


class FigureRule(Strict):
    """One figure over what agencies did."""

    id: _Id = Field(description="Its id, as in the comparison with a printed report.")
    names: Names = Field(description="What it is called.")
    unit: Names = Field(description="Its unit; persons (人) and attendances (人次) are two.")
    kinds: tuple[KindName, ...] = Field(min_length=1, description="Activities it counts.")
    entries: tuple[EntryName, ...] = Field(
        default=(), description="Records of plans it counts besides, of agencies that report no such activities."
    )
    audience: tuple[AudienceName, ...] = Field(default=(), description="Only those for these; none means any.")
    crisis: bool = Field(default=False, description="Only those about a crisis.")
    series: str = Field(default="", max_length=64, description="Only those of this series.")
    measure: Measure = Field(
        description="times, attendances, minutes: sums. persons: of each series the most, added. series: how many."
        " days: different days. months: from the first to the last, begun ones whole."
    )

    @property
    def of_persons(self) -> bool:
        """Whether it tells how many people there are: small ones are blank."""
        return self.measure in ("persons", "series")


class StatisticRule(Strict):
    """One table over the students of the district."""

    id: _Id = Field(description="Its id.")
    names: Names = Field(description="What it is called.")
    of: Literal["assessments", "signals", "triages", "referrals"] = Field(description="Records that are counted.")
    rows: Dimension = Field(description="What a row is.")
    columns: Dimension = Field(description="What a column is.")
    measure: Literal["persons", "records"] = Field(description="Different students, or records.")


class ReportFile(FileModel):
    """config/reports/*.yaml."""

    version: str = Field(min_length=1, max_length=40, description="Version of the definition.")
    id: Slug = Field(description="The report's id; the file has its name.")
    titles: Names = Field(description="Its title.")
    period: Literal["month", "year"] = Field(description="What it is about; the same figures for another are refused.")
    least: int = Field(ge=3, le=100, description="Figures about persons from 1 to one less than this are blank.")
    figures: tuple[FigureRule, ...] = Field(default=(), description="Figures over what agencies did.")
    statistics: tuple[StatisticRule, ...] = Field(default=(), description="Tables over the students.")

    def faults(self) -> list[Finding]:
        """What no model of a single key can see."""
        found: list[Finding] = []
        seen: set[str] = set()
        named = [("figures", index, rule.id) for index, rule in enumerate(self.figures)]
        named += [("statistics", index, rule.id) for index, rule in enumerate(self.statistics)]
        for name, index, identifier in named:
            if identifier in seen:
                found.append(Finding((name, index, "id"), "CONFIG/CONFLICT", "the id is given twice"))
            seen.add(identifier)
        for index, figure in enumerate(self.figures):
            if figure.entries and (figure.measure != "times" or figure.audience or figure.crisis or figure.series):
                why = "records of plans are counted as times only, of no audience and no series"
                found.append(Finding(("figures", index, "entries"), "CONFIG/CONFLICT", why))
        for index, statistic in enumerate(self.statistics):
            for key in ("rows", "columns"):
                if getattr(statistic, key) not in OF[statistic.of]:
                    choices = ", ".join(OF[statistic.of])
                    found.append(
                        Finding(("statistics", index, key), "CONFIG/REFERENCE", "these records have no such", choices)
                    )
            if statistic.rows == statistic.columns:
                found.append(
                    Finding(("statistics", index, "columns"), "CONFIG/CONFLICT", "rows and columns are the same")
                )
        return found


def load_reports(folder: Path) -> dict[str, ReportFile]:
    """Every definition of the folder by its id. Raises ConfigError with every problem, each with its line."""
    found: dict[str, ReportFile] = {}
    problems: list[Problem] = []
    for path in sorted(folder.glob("*.yaml")):
        file = load(path, ReportFile)
        problems += [file.problem(finding) for finding in file.faults()]
        if file.id != path.stem:
            problems.append(
                file.problem(Finding(("id",), "CONFIG/CONFLICT", "the file has another name than the report"))
            )
        found[file.id] = file
    problems += _nested(found)
    if problems:
        raise ConfigError(problems)
    return found


def _nested(reports: Mapping[str, ReportFile]) -> list[Problem]:
    """What tells of the same people in a month's report and in a year's: the year less the months that show it would
    tell of the month that does not."""
    monthly = {_about(rule) for each in reports.values() if each.period == "month" for rule in _of_people(each)}
    why = "a monthly report has the same people: the year less eleven months would tell of the one that is blank"
    return [
        file.problem(Finding((name, index), "CONFIG/POLICY_FORBIDDEN", why, "keep it in one of the two"))
        for file in reports.values()
        if file.period == "year"
        for name in ("figures", "statistics")
        for index, rule in enumerate(getattr(file, name))
        if _about(rule) in monthly
    ]


def _of_people(file: ReportFile) -> list[FigureRule | StatisticRule]:
    return [*(each for each in file.figures if each.of_persons), *file.statistics]


def _about(rule: FigureRule | StatisticRule) -> str:
    """What is counted, whatever it is called."""
    return rule.model_dump_json(exclude={"id", "names", "unit"})
