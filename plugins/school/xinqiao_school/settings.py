"""Settings of one school platform: its folders, its code, and how its score sheets name their columns."""

import re
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from xinqiao.adapters.transport import configured_endpoint
from xinqiao.config.secret import Secret
from xinqiao_school.feed_columns import COLUMNS, FeedKind

Encoding = Literal["utf-8", "gb18030"]

_SCOPE = "https://purl.imsglobal.org/spec/or/v1p2/scope/"
_SCOPES = tuple(f"{_SCOPE}{word}.readonly" for word in ("roster-core", "roster", "roster-demographics"))
_PATTERN = re.compile(r"\{([0-9]{1,3})\.\.([0-9]{1,3})\}")
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CODING = re.compile(r"([0-9]{1,3})-([0-9]{1,3})")


def _calendar_day(text: str) -> str:
    if not _ISO.fullmatch(text):
        raise ValueError("write the day as YYYY-MM-DD, in quotes")
    date.fromisoformat(text)
    return text


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InstrumentColumns(_Strict):
    """Where one instrument's answers are: one column an item, in item order, and the answers' range.

    ``coding`` (``1-5``, ``0-4``) is for an instrument that exists in more than one; it stands for ``low`` and ``high``.
    """

    columns: list[str] = Field(min_length=1, max_length=256)
    coding: str = Field(default="", pattern=r"^([0-9]{1,3}-[0-9]{1,3})?$")
    low: int = Field(default=0, ge=0, le=254)
    high: int = Field(default=3, ge=0, le=254)

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        """``phq{1..9}`` or a list of columns may stand for the whole mapping."""
        raw = cast("dict[str, object]", value) if isinstance(value, dict) else {"columns": value}
        if isinstance(coding := raw.get("coding"), str) and (found := _CODING.fullmatch(coding)):
            raw = {"low": int(found[1]), "high": int(found[2]), **raw}
        columns = raw.get("columns")
        return {**raw, "columns": expand(columns)} if isinstance(columns, str) else raw

    @model_validator(mode="after")
    def _consistent(self) -> "InstrumentColumns":
        if self.low > self.high:
            raise ValueError("low is above high")
        if self.coding and _CODING.fullmatch(self.coding) is not None and self.coding != f"{self.low}-{self.high}":
            raise ValueError("coding and low, high say different things; leave low and high out")
        if len(set(self.columns)) != len(self.columns):
            raise ValueError("a column is named twice")
        return self


class SheetSettings(_Strict):
    """How to read the score sheets whose file name matches ``match``; the first match counts.

    What is left out is recognised by the usual headers. ``student: null`` says that the sheet names nobody: a row's
    student is then ``prefix`` and its row number, as a spreadsheet shows it. Give each such sheet its own prefix, or
    the same row of two sheets is taken for one person. ``date`` is a column or a fixed day.
    """

    match: str = "*"
    encoding: Encoding | None = None
    student: str | None = Field(default=None, min_length=1)
    prefix: str = Field(default="row-", min_length=1, max_length=64)
    date: str | None = Field(default=None, min_length=1)
    instruments: dict[str, InstrumentColumns] = Field(default_factory=dict[str, InstrumentColumns])
    missing: list[str] = Field(default_factory=lambda: ["NA"])

    @property
    def anonymous(self) -> bool:
        """Whether ``student: null`` was written, which is not the same as nothing."""
        return "student" in self.model_fields_set and self.student is None

    @property
    def fixed_date(self) -> str | None:
        """The day, when ``date`` is one and not a column."""
        return self.date if self.date is not None and _ISO.fullmatch(self.date) else None

    @model_validator(mode="after")
    def _real_day(self) -> "SheetSettings":
        if self.fixed_date is not None:
            _calendar_day(self.fixed_date)
        named = [name for instrument in self.instruments.values() for name in instrument.columns]
        if len(set(named)) != len(named):
            raise ValueError("two instruments share a column")
        return self


class FeedSettings(_Strict):
    """How to read the tables whose file name matches ``match``: what they are, and their own headers.

    ``columns`` names a header for a column of the feed, such as ``{absent: 旷课}``; the usual ones need no word.
    """

    match: str = Field(min_length=1)
    kind: FeedKind
    encoding: Encoding | None = None
    columns: dict[str, str] = Field(default_factory=dict[str, str])

    @model_validator(mode="after")
    def _known_columns(self) -> "FeedSettings":
        if not self.columns.keys() <= COLUMNS[self.kind].keys():
            raise ValueError(f"the columns of {self.kind} are {', '.join(COLUMNS[self.kind])}")
        return self


class RestSettings(_Strict):
    """A platform that serves OneRoster 1.2 (or 1.1) over REST, with OAuth 2 client credentials."""

    base_url: str = Field(description="Such as https://sis.example/ims/oneroster/rostering/v1p2; http on loopback only")
    token_url: str = Field(description="OAuth 2 token endpoint")
    client_id: str = Field(min_length=1, max_length=200)
    client_secret: Secret = Field(description="`!env NAME` or `!file path`")
    scopes: tuple[str, ...] = Field(default=_SCOPES, description="Scopes asked for")
    page_size: int = Field(default=1000, ge=1, le=10_000, description="Objects a page")
    every_s: int = Field(default=3600, ge=0, le=7 * 86400, description="Seconds between two looks for changes")
    whole_every_hours: int = Field(default=7 * 24, ge=1, le=366 * 24, description="Hours between two whole rosters")

    @field_validator("base_url", "token_url")
    @classmethod
    def _address(cls, value: str) -> str:
        configured_endpoint(value)
        return value.rstrip("/")


class SchoolSettings(_Strict):
    """One school platform."""

    source: Literal["folder", "rest"] = Field(
        default="folder", description="Where rosters come from; score sheets come through the inbox either way"
    )
    rest: RestSettings | None = Field(default=None, description="With `source: rest`: where the roster is")
    inbox: Path = Field(description="Folder the platform writes and the gateway reads")
    outbox: Path = Field(description="Folder the gateway writes and the platform reads")
    school: str = Field(min_length=1, max_length=64, description="School code (学校代码)")
    school_title: str = Field(default="", max_length=120, description="School name; empty: the roster's own")
    schools: dict[str, str] = Field(
        default_factory=dict[str, str],
        description="Roster organisation (its sourcedId or identifier): school code, where one platform serves several",
    )
    sheets: list[SheetSettings] = Field(default_factory=list[SheetSettings])
    feeds: list[FeedSettings] = Field(
        default_factory=list[FeedSettings], description="Attendance, observations and weekly checks, by file name"
    )
    form_classes: list[Annotated[str, Field(min_length=1, max_length=64)]] = Field(
        default_factory=list[str],
        max_length=200,
        description="Classes for which a form of the weekly check is laid into the outbox's `forms`",
    )
    absent_means_left: bool = Field(
        default=False, description="Read students whom a new bulk package no longer names as having left the school"
    )
    accept_valid_rows: bool = Field(default=False, description="Take a file's good rows although it has bad ones")
    register_unknown: bool = Field(
        default=False, description="Register students that only a score sheet names, without a name"
    )
    encoding: Encoding = "utf-8"
    default_date: Annotated[str, AfterValidator(_calendar_day)] | None = Field(
        default=None, description="Day of the forms of a sheet without a date"
    )

    @model_validator(mode="after")
    def _separate_folders(self) -> "SchoolSettings":
        if self.inbox == self.outbox:
            raise ValueError("inbox and outbox must be two folders: the platform would read its own files back")
        if (self.source == "rest") != (self.rest is not None):
            raise ValueError("source: rest and the section rest belong together")
        return self

    def sheet_for(self, file_name: str) -> SheetSettings:
        """The first mapping whose glob matches, else the built-in one."""
        return next((sheet for sheet in self.sheets if fnmatchcase(file_name, sheet.match)), SheetSettings())


def hosts(settings: SchoolSettings) -> list[str]:
    """The ``host:port`` pairs these settings need: none for folders."""
    rest = settings.rest
    return [] if rest is None else sorted({configured_endpoint(rest.base_url), configured_endpoint(rest.token_url)})


def expand(pattern: str) -> list[str]:
    """``phq{1..9}`` -> ``phq1`` ... ``phq9``. Raises ValueError without exactly one rising range."""
    found = _PATTERN.findall(pattern)
    if len(found) != 1:
        raise ValueError("a pattern of columns has one range, such as phq{1..9}")
    first, last = int(found[0][0]), int(found[0][1])
    if last < first or last - first > 255:
        raise ValueError("the range of a pattern of columns must rise, by at most 255")
    return [_PATTERN.sub(str(number), pattern) for number in range(first, last + 1)]
