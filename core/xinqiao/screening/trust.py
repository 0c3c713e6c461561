"""What a report is worth, what it is proposed as, and which duty it brings: `config/policy/signals.yaml`, checked."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field

from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.common.v1 import types_pb2 as types
from xinqiao.api.screening.v1 import screening_pb2 as pb
from xinqiao.config.fields import Duration, Slug
from xinqiao.config.loader import FileModel, Strict, load
from xinqiao.config.problems import ConfigError, Finding, Problem
from xinqiao.config.settings import Names, Role
from xinqiao.disclosure.bases import Basis

CRISES: Final = ("SUICIDAL", "SELF_HARM", "VIOLENCE", "ABUSE", "OTHER")
"""Kinds that are signs of crisis: no configuration proposes them below RED."""

_SECOND_US: Final = 1_000_000

TierName = Literal["GREEN", "YELLOW", "ORANGE", "RED"]
SourceName = Literal[
    "SCREENING", "CLASS_TEACHER", "GRADE_GROUP", "SCHOOL_CENTRE", "GRID_MEMBER", "HOTLINE", "POLICE",
    "ONLINE_MONITORING", "HOSPITAL", "WOMENS_FEDERATION", "YOUTH_LEAGUE", "PEER", "MAILBOX", "GUARDIAN", "STUDENT",
    "SOCIAL_WORKER",
]  # fmt: skip
KindName = Literal["SUICIDAL", "SELF_HARM", "VIOLENCE", "ABUSE", "OTHER", "CONCERN"]


class Reason(Strict):
    """A text for people in both languages."""

    zh: Annotated[str, Field(min_length=1, max_length=400)] = Field(description="Chinese.")
    en: Annotated[str, Field(min_length=1, max_length=400)] = Field(description="English.")


class TrustLevel(Strict):
    """How far a source is believed. It orders and words a report; it never silences one."""

    names: Names = Field(description="What the level is called.")
    weight: int = Field(ge=1, le=9, description="Adds up over the independent sources of one concern.")
    wording: Reason = Field(description="Follows the reason of a proposal.")
    acknowledge: Duration | None = Field(
        default=None, description="Shortens the clock of a crisis from such a source; it cannot lengthen it."
    )


class Source(Strict):
    """Who noticed."""

    trust: Slug = Field(description="One of the levels under `trust`.")
    role: Role | None = Field(default=None, description="The agency that alone may say that it is this source.")


class Raised(Strict):
    """What further sources make of a concern."""

    tier: TierName = Field(description="The tier it is then proposed as.")
    at_weight: int = Field(ge=2, le=99, description="Weight of the independent sources together, from which on.")


class Kind(Strict):
    """What was noticed."""

    tier: TierName = Field(description="What one report is proposed as; RED for a sign of crisis.")
    window: Duration = Field(description="Reports this close together belong together.")
    raised: Raised | None = Field(default=None, description="Only for a concern.")
    reason: Reason = Field(description="Why, as the person who confirms reads it.")


class DutyRule(Strict):
    """A duty to report that a signal brings."""

    id: Slug = Field(description="The duty's kind, as `Duty.kind` shows it.")
    kinds: tuple[KindName, ...] = Field(min_length=1, description="Signals that bring it.")
    sources: tuple[SourceName, ...] = Field(default=(), description="Only from these; none means any.")
    tell: Literal["GUARDIAN"] | Role = Field(description="Who must be told.")
    within: Duration = Field(description="How soon, on the wall clock.")
    basis: Slug = Field(description="Entry of legal_bases.yaml.")


class HandOffRule(Strict):
    """A helpline's call that goes to the police."""

    basis: Slug = Field(description="Entry of legal_bases.yaml.")


class SignalFile(FileModel):
    """config/policy/signals.yaml."""

    version: int = Field(ge=1, le=1, description="Version of this file's form.")
    trust: dict[Slug, TrustLevel] = Field(min_length=1, description="Levels of trust, the most trusted first.")
    sources: dict[SourceName, Source] = Field(description="Every source and its level.")
    kinds: dict[KindName, Kind] = Field(description="Every kind of signal.")
    duties: tuple[DutyRule, ...] = Field(default=(), description="Duties to report.")
    hand_off: HandOffRule | None = Field(default=None, description="How calls go to the police; left out, none does.")

    def faults(self, bases: Collection[str]) -> Iterator[Finding]:
        """What no model of a single key can see."""
        for name in SourceName.__args__:  # type: ignore[attr-defined]  # the words of a Literal
            if name not in self.sources:
                yield Finding(("sources", name), "CONFIG/MISSING", "every source needs a level of trust")
        for name, source in self.sources.items():
            if source.trust not in self.trust:
                yield Finding(("sources", name, "trust"), "CONFIG/REFERENCE", "no such level", "add it under trust")
        for name in KindName.__args__:  # type: ignore[attr-defined]
            if name not in self.kinds:
                yield Finding(("kinds", name), "CONFIG/MISSING", "every kind needs a tier")
        for name, kind in self.kinds.items():
            yield from _kind_faults(name, kind)
        if self.hand_off is not None and self.hand_off.basis not in bases:
            yield Finding(
                ("hand_off", "basis"), "CONFIG/REFERENCE", "no such legal basis", "add it to legal_bases.yaml"
            )
        for index, duty in enumerate(self.duties):
            if duty.basis not in bases:
                place = ("duties", index, "basis")
                yield Finding(place, "CONFIG/REFERENCE", "no such legal basis", "add it to legal_bases.yaml")
            if any(duty.id == other.id for other in self.duties[:index]):
                yield Finding(("duties", index, "id"), "CONFIG/CONFLICT", "the id is given twice")


class Trust(NamedTuple):
    """A level of trust as code uses it."""

    id: str
    weight: int
    wording_zh: str
    wording_en: str
    acknowledge_us: int


class Duty(NamedTuple):
    """A duty to open: its kind, legal basis, who must be told, and time."""

    kind: str
    basis: str
    tell: str
    within_us: int


class SignalPolicy:
    """The answers of the file, by numbers of the contract."""

    def __init__(self, file: SignalFile) -> None:
        self._file = file

    @property
    def hand_off_basis(self) -> str:
        """The law under which a call goes to the police; empty where none does."""
        return self._file.hand_off.basis if self._file.hand_off is not None else ""

    def owner(self, source: int) -> int | None:
        """The role that alone may report as this source, or None where anybody may."""
        role = self._source(source).role
        return None if role is None else int(options.Role.Value(f"ROLE_{role}"))

    def trust(self, source: int) -> Trust:
        """How far the source is believed."""
        name = self._source(source).trust
        level = self._file.trust[name]
        shorter = 0 if level.acknowledge is None else int(level.acknowledge.total_seconds() * _SECOND_US)
        return Trust(name, level.weight, level.wording.zh, level.wording.en, shorter)

    def tier(self, kind: int, sources: Collection[int]) -> int:
        """What a kind is proposed as, once all these sources have reported it. A crisis is RED from the first on."""
        rule = self._kind(kind)
        tier = int(types.Tier.Value(f"TIER_{rule.tier}"))
        if rule.raised is None:
            return tier
        weight = sum(self.trust(source).weight for source in set(sources))
        raised = int(types.Tier.Value(f"TIER_{rule.raised.tier}"))
        return max(tier, raised) if weight >= rule.raised.at_weight else tier

    def is_crisis(self, kind: int) -> bool:
        """Whether the kind is a sign of crisis."""
        return _kind_name(kind) in CRISES

    def window_us(self, kind: int) -> int:
        """How close together reports of the kind belong together."""
        return int(self._kind(kind).window.total_seconds() * _SECOND_US)

    def reason(self, kind: int) -> Reason:
        """Why a report of this kind needs a person."""
        return self._kind(kind).reason

    def duties(self, kind: int, source: int, reporter: frozenset[int]) -> list[Duty]:
        """The duties a report brings; none that the reporter, being who must be told, has met by reporting."""
        found: list[Duty] = []
        for duty in self._file.duties:
            if _kind_name(kind) not in duty.kinds or (duty.sources and _source_name(source) not in duty.sources):
                continue
            if duty.tell != "GUARDIAN" and int(options.Role.Value(f"ROLE_{duty.tell}")) in reporter:
                continue
            found.append(Duty(duty.id, duty.basis, duty.tell, int(duty.within.total_seconds() * _SECOND_US)))
        return found

    def _source(self, source: int) -> Source:
        return self._file.sources[_source_name(source)]

    def _kind(self, kind: int) -> Kind:
        return self._file.kinds[_kind_name(kind)]


def load_signal_policy(path: Path, bases: Mapping[str, Basis]) -> SignalPolicy:
    """Read and check the file. Raises ConfigError with every problem, each with its line."""
    file = load(path, SignalFile)
    problems: list[Problem] = [file.problem(finding) for finding in file.faults(bases)]
    if problems:
        raise ConfigError(problems)
    return SignalPolicy(file)


def _kind_faults(name: str, kind: Kind) -> Iterator[Finding]:
    place = ("kinds", name)
    if name in CRISES and (kind.tier != "RED" or kind.raised is not None):
        message = "a sign of crisis is proposed RED, from its first report on"
        yield Finding((*place, "tier"), "CONFIG/POLICY_FORBIDDEN", message, "write tier: RED and no raised")
    if kind.raised is not None and types.Tier.Value(f"TIER_{kind.raised.tier}") <= types.Tier.Value(
        f"TIER_{kind.tier}"
    ):
        yield Finding((*place, "raised", "tier"), "CONFIG/CONFLICT", "further sources raise a tier, or say nothing")


def _source_name(source: int) -> SourceName:
    return pb.SignalSource.Name(pb.SignalSource.ValueType(source)).removeprefix("SIGNAL_SOURCE_")  # type: ignore[return-value]


def _kind_name(kind: int) -> KindName:
    return pb.SignalKind.Name(pb.SignalKind.ValueType(kind)).removeprefix("SIGNAL_KIND_")  # type: ignore[return-value]
