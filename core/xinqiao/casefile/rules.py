"""Terms of shares, what each member of a care team sees, when a letter is red: `config/policy/casefile.yaml`, checked."""

import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import Field

from xinqiao.api.casefile.v1 import sharing_pb2 as sharing
from xinqiao.api.common.v1 import options_pb2 as options
from xinqiao.api.screening.v1 import screening_pb2 as screening
from xinqiao.config.fields import Duration, Slug
from xinqiao.config.loader import FileModel, Strict, load
from xinqiao.config.problems import ConfigError, Finding, Problem
from xinqiao.config.settings import Names, Role
from xinqiao.contract.fields import mask_of

_SECOND_US: Final = 1_000_000
_YEAR_US: Final = 366 * 86_400 * _SECOND_US

MemberName = Literal[
    "VILLAGE_WORKER", "GRID_MEMBER", "DOCTOR", "POLICE", "DISABILITY_ASSISTANT", "SOCIAL_WORKER", "VOLUNTEER", "RESCUER",
    "WOMENS_FEDERATION", "YOUTH_LEAGUE", "HOTLINE",
]  # fmt: skip
ClassName = Literal[
    "AGGREGATE", "CASE_REF", "IDENTITY", "CONTACT", "SCHOOL", "TIER", "SCORES", "REFERRAL_REASON", "DIAGNOSIS", "TREATMENT",
    "CRISIS_FACT", "LOCATION", "CARE_TASK", "CONSENT_EVIDENCE",
]  # fmt: skip
KindName = Literal["SUICIDAL", "SELF_HARM", "VIOLENCE", "ABUSE", "OTHER"]


class Member(Strict):
    """What a member of a care team may be and see."""

    roles: tuple[Role, ...] = Field(min_length=1, description="Partners of these roles may be it.")
    classes: tuple[ClassName, ...] = Field(min_length=1, description="Classes it may see, at most.")


class RedRule(Strict):
    """When a letter is red."""

    names: Names = Field(description="What the rule is called.")
    kind: KindName = Field(description="What the signal says once the writer is unmasked.")
    phrases: tuple[Annotated[str, Field(min_length=2, max_length=40)], ...] = Field(
        default=(), description="Words that make a letter red; none: only a person can tell."
    )


class MailboxTerms(Strict):
    """The mailbox of the social worker."""

    reply: Duration = Field(description="From a letter until it is answered, unless it is red.")
    red: dict[Slug, RedRule] = Field(min_length=1, description="Red rules.")


class CasefileFile(FileModel):
    """config/policy/casefile.yaml."""

    version: int = Field(ge=1, le=1, description="Version of this file's form.")
    review: Duration = Field(description="How often a plan must be looked at again.")
    terms: dict[Role, Duration] = Field(default={}, description="Longest term of a share for partners of a role.")
    team: dict[MemberName, Member] = Field(min_length=1, description="Members of a care team.")
    mailbox: MailboxTerms = Field(description="The mailbox of the social worker.")

    def faults(self) -> Iterator[Finding]:
        """What no model of a single key can see."""
        for name in MemberName.__args__:  # type: ignore[attr-defined]  # the words of a Literal
            if name not in self.team:
                yield Finding(("team", name), "CONFIG/MISSING", "every kind of member needs its roles and classes")
        for name in self.terms:
            if f"ROLE_{name}" not in options.Role.keys():  # noqa: SIM118, an enum's words
                yield Finding(("terms", name), "CONFIG/REFERENCE", "no such role")
        for name, member in self.team.items():
            if any(f"ROLE_{role}" not in options.Role.keys() for role in member.roles):  # noqa: SIM118
                yield Finding(("team", name, "roles"), "CONFIG/REFERENCE", "no such role")
            if "CASE_REF" not in member.classes:
                where = ("team", name, "classes")
                yield Finding(where, "CONFIG/MISSING", "a member without CASE_REF could name nothing", "add CASE_REF")


class Red(NamedTuple):
    """A red rule that a letter met: its id, and the ``SignalKind`` it stands for."""

    id: str
    kind: int


class CasefileRules:
    """The answers of the file, by numbers of the contract."""

    def __init__(self, file: CasefileFile) -> None:
        self._file = file
        self.review_us = _us(file.review)
        self.reply_us = _us(file.mailbox.reply)
        self._members: Mapping[int, tuple[frozenset[int], int]] = {
            int(sharing.MemberRole.Value(f"MEMBER_ROLE_{name}")): (
                frozenset(int(options.Role.Value(f"ROLE_{role}")) for role in member.roles),
                mask_of([int(options.FieldClass.Value(f"FIELD_CLASS_{each}")) for each in member.classes]),
            )
            for name, member in file.team.items()
        }

    def may_be(self, member: int, roles: frozenset[int]) -> bool:
        """Whether a partner of these roles may be this member."""
        return not self._members[member][0].isdisjoint(roles)

    def classes(self, member: int) -> int:
        """The mask of classes a member may see, at most."""
        return self._members[member][1]

    def longest_us(self, roles: frozenset[int]) -> int:
        """The longest term of a share with a partner of these roles."""
        terms = [
            _us(term) for role, term in self._file.terms.items() if int(options.Role.Value(f"ROLE_{role}")) in roles
        ]
        return min([_YEAR_US, *terms])

    def red(self, text: str) -> Red | None:
        """The first red rule that a letter meets; spaces, points and wide letters between hide nothing."""
        letter = _letters(text)
        for name, rule in self._file.mailbox.red.items():
            if any(_letters(phrase) in letter for phrase in rule.phrases):
                return self.rule(name)
        return None

    def rule(self, name: str) -> Red | None:
        """The red rule of this id, or None."""
        rule = self._file.mailbox.red.get(name)
        return None if rule is None else Red(name, int(screening.SignalKind.Value(f"SIGNAL_KIND_{rule.kind}")))


def _letters(text: str) -> str:
    return "".join(ch for ch in unicodedata.normalize("NFKC", text).casefold() if ch.isalnum())


def _us(span: Duration) -> int:
    return int(span.total_seconds()) * _SECOND_US


def load_casefile_rules(path: Path) -> CasefileRules:
    """Read `casefile.yaml`. Raises ConfigError with file, line and key."""
    file = load(path, CasefileFile)
    problems: list[Problem] = [file.problem(finding) for finding in file.faults()]
    if problems:
        raise ConfigError(problems)
    return CasefileRules(file)
