"""Cadences: which reports are expected from whom, how often, and who asks when one does not come; data, not code."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, model_validator

from xinqiao.config.fields import Duration, Slug, TimeOfDay
from xinqiao.config.loader import FileModel, Strict
from xinqiao.config.problems import refusal
from xinqiao.config.settings import Names, Role, SchoolCode

Unit = Annotated[str, Field(min_length=1, max_length=64)]
Every = Literal["week", "month", "term", "school_year"]


class Intensified(Strict):
    """What is expected more often within the calendar's windows [重点时段]."""

    windows: tuple[Slug, ...] = Field(min_length=1, description="Ids of windows of the calendar.")
    every: Literal["day", "half_week", "week"] = Field(description="How often then; a week gives way to its days.")


class Cadence(Strict):
    """One kind of expected report."""

    names: Names = Field(description="What it is called.")
    role: Role = Field(description="Who owes it.")
    per: Literal["school", "partner"] = Field(
        default="school", description="One for each school that such a partner serves, or one for each such partner."
    )
    units: dict[SchoolCode, tuple[Unit, ...]] = Field(
        default_factory=dict[SchoolCode, tuple[Unit, ...]],
        description="Classes or grades of a school that report one by one; none means the school as one.",
    )
    every: Every = Field(description="How often.")
    times: int = Field(default=1, ge=1, le=12, description="How many in each period, spread evenly; drills: 2 a term.")
    school_days_only: bool = Field(default=True, description="Nothing is owed for a period without a school day.")
    grace_days: int = Field(default=0, ge=0, le=60, description="Working days after the last day of the period.")
    due_at: TimeOfDay = Field(default="18:00", description="Time of the due day.")
    intensified: Intensified | None = Field(default=None, description="More often within windows.")
    ask: Role = Field(default="SCHOOL_PSYCHOLOGIST", description="Who holds a report that did not come.")
    ask_within: Duration = Field(default=timedelta(days=1), description="Working time to find out why it did not come.")

    @model_validator(mode="after")
    def _finer(self) -> "Cadence":
        if self.times > 1 and self.every not in ("term", "school_year"):
            raise refusal("CONFIG/CONFLICT", "`times` is for terms and school years", "write every: week")
        if self.intensified is not None and self.intensified.every == self.every:
            raise refusal("CONFIG/CONFLICT", "intensified is as often as usual", "write day or half_week")
        if self.units and self.per == "partner":
            raise refusal("CONFIG/CONFLICT", "units belong to schools", "write per: school")
        if self.per == "partner" and self.ask.startswith("SCHOOL_"):
            raise refusal(
                "CONFIG/CONFLICT", "no school asks for a report that is not a school's", "write ask: OPERATOR"
            )
        return self


class CadenceFile(FileModel):
    """config/cadence/*.yaml."""

    version: int = Field(ge=1, le=1, description="Version of this file's form.")
    cadences: dict[Slug, Cadence] = Field(min_length=1, description="The expected reports by id.")
