"""Settings of one helpline centre: its lines with seats and hours, how its records come, and what of them is taken."""

import re
from datetime import datetime, time, timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from xinqiao.adapters.files import Encoding
from xinqiao.adapters.transport import configured_endpoint
from xinqiao.config import ConfigPath, PartnerUrl, Secret
from xinqiao.config.loader import Strict
from xinqiao.contract.clock import BEIJING
from xinqiao_hotline.wire import CALLERS, OUTCOMES, TOPICS

_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(([01][0-9]|2[0-3]):([0-5][0-9])|24:00)", re.ASCII)
_LINE = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,19}", re.ASCII)
_DAY = timedelta(days=1)


def _span(text: str) -> str:
    if _HOURS.fullmatch(text) is None:
        raise ValueError("write opening hours as 'HH:MM-HH:MM' in quotes, such as '08:00-24:00'")
    if text[:5] == text[6:]:
        raise ValueError("opening hours begin and end at the same time; write '00:00-24:00' for the whole day")
    return text


class Guideline(Strict):
    """What a national line must offer: NHC notice on 12356 (2025): at least 2 seats and 18 hours a day."""

    seats: int = Field(default=2, ge=1, le=500, description="Seats a national line must have")
    hours: int = Field(default=18, ge=1, le=24, description="Hours a day it must be open")


class Line(Strict):
    """One number. ``hours`` may pass midnight: ``18:00-06:00``."""

    seats: int = Field(ge=1, le=500, description="Calls that can be held at one time (座席)")
    hours: tuple[Annotated[str, AfterValidator(_span)], ...] = Field(
        default=("00:00-24:00",), min_length=1, max_length=4, description="When it is open, every day, Beijing time"
    )
    national: bool = Field(default=False, description="Held to the guideline: seats and hours are checked at start")

    def minutes_open(self) -> int:
        """How long it is open on a day, in minutes; what overlaps counts once."""
        return sum(
            self.is_open(datetime(2026, 1, 1, minute // 60, minute % 60, tzinfo=BEIJING)) for minute in range(1440)
        )

    def is_open(self, at: datetime) -> bool:
        """Whether it is open at this moment."""
        clock = at.astimezone(BEIJING).time().replace(second=0, microsecond=0)
        return any(_within(clock, span) for span in self.hours)


class RestSettings(Strict):
    """A centre with a system of its own."""

    base_url: PartnerUrl = Field(description="Such as https://hotline.example.cn/api; http on loopback only")
    token: Secret | None = Field(
        default=None, description="Bearer token the centre issued: `!env NAME` or `!file path`"
    )
    page_size: int = Field(default=200, ge=1, le=5000, description="Records a page")


class HotlineSettings(Strict):
    """One helpline centre, which may run several lines."""

    rest: RestSettings | None = Field(default=None, description="The centre's system; left out, it works in folders")
    inbox: ConfigPath | None = Field(default=None, description="Folder the centre writes and the gateway reads")
    outbox: ConfigPath | None = Field(default=None, description="Folder the gateway writes and the centre reads")
    lines: dict[str, Line] = Field(min_length=1, max_length=50, description="Its lines by number, such as '12355'")
    guideline: Guideline = Field(default=Guideline(), description="What a national line must offer")
    free_text: bool = Field(
        default=False, description="Take the summary of a call; else only codes (未成年人保护法 art. 63)"
    )
    closure_days: int = Field(default=7, ge=1, le=90, description="Days in which a call-back must be closed (回访闭环)")
    encoding: Encoding = Field(default="utf-8", description="Encoding of its CSV files, declared and never guessed")
    accept_valid_rows: bool = Field(default=False, description="Take a file's good rows although it has bad ones")
    topics: dict[str, str] = Field(
        default_factory=dict[str, str], description=f"Its own words for: {', '.join(TOPICS)}"
    )
    callers: dict[str, str] = Field(
        default_factory=dict[str, str], description=f"Its own words for: {', '.join(CALLERS)}"
    )
    outcomes: dict[str, str] = Field(
        default_factory=dict[str, str], description=f"Its own words for: {', '.join(OUTCOMES)}"
    )

    @model_validator(mode="after")
    def _fits(self) -> "HotlineSettings":
        if (self.rest is None) == (self.inbox is None):
            raise ValueError("give rest, or inbox and outbox: one way to this centre")
        if (self.inbox is None) != (self.outbox is None):
            raise ValueError("give inbox and outbox, or neither")
        if self.inbox is not None and self.inbox == self.outbox:
            raise ValueError("inbox and outbox must be two folders: the centre would read its own files back")
        for words, known in ((self.topics, TOPICS), (self.callers, CALLERS), (self.outcomes, OUTCOMES)):
            if wrong := set(words.values()) - set(known):
                raise ValueError(f"{len(wrong)} word(s) are mapped to none of {', '.join(known)}")
        for number, line in self.lines.items():
            self._check_line(number, line)
        return self

    def _check_line(self, number: str, line: Line) -> None:
        if _LINE.fullmatch(number) is None:
            raise ValueError("a line is named by its number in quotes, such as '12355'")
        if line.national and line.seats < self.guideline.seats:
            raise ValueError(f"line {number}: a national line has at least {self.guideline.seats} seats")
        if line.national and line.minutes_open() < self.guideline.hours * 60:
            raise ValueError(f"line {number}: a national line is open at least {self.guideline.hours} hours a day")


def hosts(settings: HotlineSettings) -> list[str]:
    """The ``host:port`` pairs these settings need: none for folders."""
    return [configured_endpoint(settings.rest.base_url)] if settings.rest is not None else []


def _within(clock: time, span: str) -> bool:
    opens = time.fromisoformat(span[:5])
    if span.endswith("24:00"):
        return clock >= opens
    closes = time.fromisoformat(span[6:])
    return opens <= clock < closes if opens < closes else clock >= opens or clock < closes
