"""The district overlay: clocks per tier, who is asked next, whom to phone. Regions differ; this is data, not code."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Self, cast

from pydantic import Field, model_validator

from xinqiao.config.duty import Crisis, Declines, PhoneEntry, Roster
from xinqiao.config.fields import ConfigPath, DistrictCode, Duration, Limit, Slug, WorkingTime
from xinqiao.config.loader import FileModel, Strict
from xinqiao.config.problems import Finding, refusal
from xinqiao.config.settings import Names, Role


class TierClocks(Strict):
    """The longest time each step may take for a student of one tier, counted from the step before it was due.

    Wall-clock time, or working time where the duration says so: `PT4H working`.
    """

    acknowledge: Limit = Field(description="From the signal until its holder acknowledges it.")
    guardian: Limit = Field(description="From the signal until a guardian is told.")
    accept: Limit = Field(description="From the referral until the receiving agency accepts or refuses it.")
    outcome: Limit = Field(description="From acceptance until the first outcome is reported.")
    confirm: Limit | None = Field(default=None, description="Until a person confirms the tier; as guardian if unset.")
    refer: Limit | None = Field(default=None, description="Until a confirmed case is referred; as accept if unset.")
    close: Limit | None = Field(default=None, description="Until the sender closes it; as outcome if unset.")
    phone: Limit | None = Field(default=None, description="Until somebody was reached; as acknowledge if unset.")

    @model_validator(mode="after")
    def _acknowledged_first(self) -> Self:
        if self.acknowledge > self.guardian or self.acknowledge > self.accept:
            raise refusal(
                "CONFIG/CONFLICT",
                "acknowledge is the longest clock",
                "a signal must be acknowledged before a guardian is told and a referral is accepted",
            )
        return self


_RED = TierClocks(
    acknowledge=timedelta(minutes=30),
    guardian=timedelta(hours=1),
    accept=timedelta(hours=24),
    outcome=timedelta(days=7),
)
_ORANGE = TierClocks(
    acknowledge=timedelta(hours=4), guardian=timedelta(hours=24), accept=timedelta(hours=48), outcome=timedelta(days=14)
)
_YELLOW = TierClocks(
    acknowledge=timedelta(days=2), guardian=timedelta(days=3), accept=timedelta(days=7), outcome=timedelta(days=30)
)


class Clocks(Strict):
    """Clocks of the three tiers that are acted on; GREEN has none."""

    RED: TierClocks = Field(default=_RED, description="Crisis [红色].")
    ORANGE: TierClocks = Field(default=_ORANGE, description="Key support [橙色].")
    YELLOW: TierClocks = Field(default=_YELLOW, description="Attention [黄色].")

    @model_validator(mode="after")
    def _sterner_is_faster(self) -> Self:
        steps = ("acknowledge", "guardian", "accept", "outcome")
        for step in steps:
            red, orange, yellow = (getattr(tier, step) for tier in (self.RED, self.ORANGE, self.YELLOW))
            if not red <= orange <= yellow:
                raise refusal("CONFIG/CONFLICT", f"a sterner tier has a slower `{step}`", "RED <= ORANGE <= YELLOW")
        if isinstance(self.RED.acknowledge, WorkingTime) or isinstance(self.RED.guardian, WorkingTime):
            raise refusal("CONFIG/CONFLICT", "red does not wait for office hours", "leave ` working` out")
        return self


class ReturnTerms(Strict):
    """How long each step of a leave and of the return from it may take."""

    assess: Duration = Field(default=timedelta(days=3), description="From finding until a professional assessed.")
    talk: Duration = Field(
        default=timedelta(days=3), description="From the assessment until the family is talked with."
    )
    apply: Duration = Field(default=timedelta(days=7), description="From the talk until leave is applied for.")
    start: Duration = Field(default=timedelta(days=7), description="From the application until the leave begins.")
    before_end: Duration = Field(
        default=timedelta(days=15), description="How long before the end of the leave the return is applied for."
    )
    review: Duration = Field(
        default=timedelta(days=5), description="From the materials until the school reviewed them."
    )
    panel: Duration = Field(default=timedelta(days=10), description="From the review until the panel assessed.")
    decide: Duration = Field(default=timedelta(days=5), description="From the assessment until the school decides.")
    appeal: Duration = Field(
        default=timedelta(days=15), description="From a refusal until the family says what follows."
    )
    decide_appeal: Duration = Field(default=timedelta(days=15), description="From an appeal until it is decided.")
    take_over: Duration = Field(default=timedelta(days=7), description="From the offer until the next school takes it.")
    checks: tuple[int, ...] = Field(
        default=(7, 30, 90), min_length=1, description="Days after the return to look again."
    )

    @model_validator(mode="after")
    def _checks_rise(self) -> Self:
        if list(self.checks) != sorted({day for day in self.checks if day > 0}):
            raise refusal("CONFIG/CONFLICT", "the days of the checks do not rise", "write days as in [7, 30, 90]")
        return self


class ConsentTerms(Strict):
    """Who signs, how soon one may ask again, and how long a recipient has to delete what was recalled."""

    guardian_co_consent: bool = Field(
        default=False, description="Whether a guardian must sign beside a student of 14 to 17."
    )
    ask_again_after: Duration = Field(
        default=timedelta(days=180),
        ge=timedelta(days=1),
        description="Time after a refusal or withdrawal during which nobody asks again, whole days.",
    )
    recall: Duration = Field(
        default=timedelta(days=15), description="From a withdrawal until the recipient has answered the recall."
    )


class BlockedPlugin(Strict):
    """Versions of a plugin that must not run."""

    name: Slug = Field(description="The plugin, as in `adapter`.")
    versions: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = Field(
        default=(), description="The versions, as `pip list` shows them; left out, all of them."
    )
    reason: str = Field(min_length=1, max_length=200, description="Why, as the status shows it.")


class Plugins(Strict):
    """Which plugins may run."""

    blocked: tuple[BlockedPlugin, ...] = Field(default=(), description="What may not; also while the gateway runs.")


class RepairTerms(Strict):
    """When something counts as to be mended, for `xinqiao repairs` and `xinqiao status`."""

    silent_after: Duration = Field(
        default=timedelta(days=35), ge=timedelta(days=1), description="Time without any contact with a partner."
    )
    consent_notice: Duration = Field(
        default=timedelta(days=30), ge=timedelta(days=1), description="Time before a consent ends, whole days."
    )
    law_notice: Duration = Field(
        default=timedelta(days=60), ge=timedelta(days=1), description="Time before a legal basis or a form ends."
    )
    overrides_within: Duration = Field(
        default=timedelta(days=7), ge=timedelta(days=1), description="Time over which emergency accesses are counted."
    )
    overrides_person: int = Field(default=3, ge=1, le=10_000, description="Emergency accesses of one person then.")
    overrides_agency: int = Field(default=10, ge=1, le=10_000, description="Emergency accesses of one agency then.")


class District(FileModel):
    """config/districts/<code>.yaml. Without an overlay the defaults hold."""

    version: int = Field(default=1, ge=1, le=1, description="Version of this file's form.")
    district: DistrictCode = Field(description="GB/T 2260 code, the same as in gateway.yaml.")
    names: Names | None = Field(default=None, description="Name of the district.")
    clocks: Clocks = Field(default=Clocks(), description="Clocks per tier.")
    ladder: tuple[Role, ...] = Field(
        default=("SCHOOL_PSYCHOLOGIST", "SCHOOL_PLATFORM", "OPERATOR"),
        min_length=1,
        description="Roles asked one after another when a clock runs out.",
    )
    notify_duty: Duration = Field(
        default=timedelta(hours=24), description="Time within which a duty to notify another authority must be met."
    )
    calendar: ConfigPath | None = Field(
        default=None, description="School calendar; without one only the State Council's holidays are known."
    )
    cadence: ConfigPath | None = Field(default=None, description="Expected reports; without it none is expected.")
    notice_valid: Duration = Field(
        default=timedelta(days=30), description="How long the holder of a notice is owed priority at a hospital."
    )
    return_to_school: ReturnTerms = Field(
        default=ReturnTerms(), description="Clocks of leave and return to school [休学与复学]."
    )
    phone_list: tuple[PhoneEntry, ...] = Field(
        default=(), description="Numbers given to students, families and holders."
    )
    crisis: Crisis = Field(default=Crisis(), description="The crisis lane.")
    declines: Declines = Field(default=Declines(), description="What a hospital may decline for.")
    services: dict[Slug, tuple[Slug, ...]] = Field(
        default={}, description="Hospitals of each service, in order of preference."
    )
    capacity_wait: Duration = Field(
        default=timedelta(seconds=3), description="How long a hospital is waited for when it is asked for capacity."
    )
    rosters: tuple[Roster, ...] = Field(default=(), description="Who is on duty, one roster a school.")
    consent: ConsentTerms = Field(default=ConsentTerms(), description="Consents and what follows from taking one back.")
    agreement_notice: Duration = Field(
        default=timedelta(days=30), description="How long before its end an agreement's renewal is put to the operator."
    )
    repairs: RepairTerms = Field(
        default=RepairTerms(), description="When something counts as to be mended [待处理事项]."
    )
    plugins: Plugins = Field(default=Plugins(), description="The kill switch for versions of plugins [插件停用].")

    @classmethod
    def findings(cls, raw: Mapping[str, Any]) -> Iterable[Finding]:
        ladder: object = raw.get("ladder")
        roles = cast("list[object]", ladder) if isinstance(ladder, list) else []
        for index, role in enumerate(roles):
            if role in roles[:index]:
                yield Finding(("ladder", index), "CONFIG/CONFLICT", "this role is on the ladder twice", "keep one")

    def named(self) -> Iterable[tuple[tuple[str | int, ...], str]]:
        """Every partner id in this file with its place, to be compared with the partners there are."""
        for index, entry in enumerate(self.phone_list):
            if entry.partner is not None:
                yield ("phone_list", index, "partner"), entry.partner
        for index, channel in enumerate(self.crisis.channels):
            yield ("crisis", "channels", index), channel
        for service, hospitals in self.services.items():
            for index, hospital in enumerate(hospitals):
                yield ("services", service, index), hospital
        for index, roster in enumerate(self.rosters):
            for holder in roster.holders:
                yield ("rosters", index), holder
