"""Parts of the district overlay about people: crisis channels, duty rosters, permitted refusals, services, phones."""

from datetime import date, timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from xinqiao.config.fields import Duration, Slug, matching
from xinqiao.config.loader import Strict
from xinqiao.config.problems import refusal
from xinqiao.config.settings import Names, Text

Phone = Annotated[str, matching(r"\+?[0-9]{3,15}", "digits only, in quotes")]
Weekday = Literal["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]
WEEK: Final[tuple[Weekday, ...]] = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")


class PhoneEntry(Strict):
    """A number people are given; with ``partner`` it is that partner's duty telephone."""

    names: Names = Field(description="Whose number it is.")
    phone: Phone = Field(description="The number, digits only.")
    hours: Text = Field(default="24h", description="When it is answered.")
    partner: Slug | None = Field(default=None, description="Partner id whose duty telephone this is.")


class Crisis(Strict):
    """The crisis lane: under which basis, through which channels, and when a person takes the telephone."""

    basis: Slug = Field(default="life-safety", description="Legal basis of an emergency that names none.")
    channels: tuple[Slug, ...] = Field(default=(), max_length=8, description="Hospitals tried one after another.")
    next_after: Duration = Field(
        default=timedelta(seconds=20), description="Time for a channel to confirm receipt before the next is told too."
    )
    phone_after: Duration = Field(
        default=timedelta(seconds=60), description="Time without any confirmation until a person telephones."
    )
    drill_time: Duration = Field(
        default=timedelta(minutes=5), description="Time after which a drill is ended and judged."
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.next_after > self.phone_after:
            raise refusal(
                "CONFIG/CONFLICT", "next_after is longer than phone_after", "try the next channel before the telephone"
            )
        return self


class DeclineReason(Strict):
    """A reason for which a hospital may decline."""

    code: Slug = Field(description="Code sent by the hospital.")
    names: Names = Field(description="The reason in words.")
    suspected: bool = Field(default=False, description="Permitted also where a mental disorder is suspected.")


_REASONS = (
    ("duplicate", "重复转介", "The same referral twice", True),
    ("wrong-person", "非本人信息，无法核对身份", "Not this person, identity cannot be established", True),
    ("already-in-care", "已在其他医疗机构就诊", "In care elsewhere already", True),
    ("guardian-chose-other", "监护人选择其他医疗机构", "The guardian has chosen another hospital", True),
    ("no-capacity", "暂无接诊能力", "No capacity", False),
    ("not-our-service", "不属于本机构服务范围", "Not a service of this hospital", False),
    ("information-missing", "转介信息不全", "Information is missing", False),
)


class Declines(Strict):
    """What a hospital may decline for; where a disorder is suspected the list is short (Suzhou draft art. 36)."""

    suspected_from: Literal["GREEN", "YELLOW", "ORANGE", "RED"] = Field(
        default="ORANGE", description="From this tier on a referral is for a suspected disorder."
    )
    reasons: tuple[DeclineReason, ...] = Field(
        default=tuple(
            DeclineReason(code=code, names=Names(zh=zh, en=en), suspected=suspected)
            for code, zh, en, suspected in _REASONS
        ),
        min_length=1,
        description="The reasons.",
    )


class DutyException(Strict):
    """Days on which somebody else is on duty."""

    first: date = Field(description="First day, ISO 8601.")
    last: date | None = Field(default=None, description="Last day, where there is more than one.")
    holder: Slug = Field(description="Partner id of who is on duty.")

    @model_validator(mode="after")
    def _forwards(self) -> Self:
        if self.last is not None and self.last < self.first:
            raise refusal("CONFIG/CONFLICT", "last is before first", "swap them")
        return self


class Roster(Strict):
    """Who is on duty at one school: by weekday, with exceptions; on days off and days not named, the stand-in."""

    school: Text = Field(description="School code.")
    week: dict[Weekday, Slug] = Field(description="Partner id of who is on duty, by weekday.")
    stand_in: Slug = Field(description="Partner id of who is on duty on all other days, and on holidays.")
    exceptions: tuple[DutyException, ...] = Field(default=(), description="Days on which it is otherwise.")

    def on_duty(self, day: date, *, workday: bool) -> str:
        """Who is on duty on ``day``."""
        for each in self.exceptions:
            if each.first <= day <= (each.last or each.first):
                return each.holder
        return self.week.get(WEEK[day.weekday()], self.stand_in) if workday else self.stand_in

    @property
    def holders(self) -> tuple[str, ...]:
        """Everybody who can be on duty."""
        return tuple(dict.fromkeys([*self.week.values(), self.stand_in, *(each.holder for each in self.exceptions)]))
