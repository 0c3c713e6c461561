"""Triage: a pack of rules, as data, which proposes a tier for one scored form. A person confirms; nothing here decides.

Every rule of the form's instrument is evaluated and the highest tier wins, so adding a rule can only raise a proposal.
Three promises are checked when a pack is loaded, not hoped for: a crisis item always proposes RED, a form without its
total never proposes GREEN, and every possible result of a covered instrument meets a rule.

A district's own scheme is data: ``levels`` gives its words and colours for the contract's tiers it uses, and a pack may
stand on another one (``base``), raise tiers that the scheme does not have, and add rules: it can only be stricter.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import Field, ValidationError, model_validator

from xinqiao.contract.errors import Refusal
from xinqiao.screening.datafile import DataFileError, Label, Strict, Text, parse, read_yaml
from xinqiao.screening.instruments import Instrument, InstrumentLibrary, Word
from xinqiao.screening.scoring import Score

RuleId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]


class Tier(IntEnum):
    """The tiers of the contract (numbers of its enum ``Tier``); a pack may use fewer, with RED always among them."""

    GREEN = 1
    YELLOW = 2
    ORANGE = 3
    RED = 4


TierName = Literal["GREEN", "YELLOW", "ORANGE", "RED"]
_NUMBERS = {tier.name: tier.value for tier in Tier}


class TriageError(DataFileError):
    """A triage rule pack is wrong."""


class When(Strict):
    """The condition of a rule, exactly one kind.

    ``critical``: one of these critical rules of the instrument fired (``any`` for all of them). ``score`` with
    ``at_least`` and/or ``at_most``: the score exists and lies there. ``category``: the form's category is one of these.
    ``no_score``: the named score could not be given because answers are missing or the form is void. ``no_category``:
    the form has no category because answers are missing.
    """

    critical: Literal["any"] | Annotated[tuple[Word, ...], Field(min_length=1)] | None = None
    score: Word | None = None
    at_least: int | None = None
    at_most: int | None = None
    category: Annotated[tuple[Word, ...], Field(min_length=1)] | None = None
    no_score: Word | None = None
    no_category: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = (self.critical, self.score, self.category, self.no_score, self.no_category)
        kinds = [value is not None for value in given]
        bounded = self.at_least is not None or self.at_most is not None
        if sum(kinds) != 1 or bounded != (self.score is not None):
            raise ValueError(
                "give one of critical, category, no_score, no_category, or score with at_least and/or at_most"
            )
        return self


class Rule(Strict):
    """One rule: the tier it proposes for its instrument and why, in both languages (no personal detail)."""

    id: RuleId
    instrument: str
    when: When
    tier: TierName
    signal: Literal["crisis"] | None = None
    reason: Label

    @model_validator(mode="after")
    def _crisis_is_red(self) -> Self:
        if self.signal == "crisis" and self.tier != "RED":
            raise ValueError("a crisis signal needs tier RED")
        return self


class Level(Strict):
    """What a district calls a tier of the contract, and its colour as `#rrggbb`."""

    names: Label
    colour: Annotated[str, Field(pattern=r"^#[0-9a-f]{6}$")]


class PackFile(Strict):
    """The YAML form of a rule pack."""

    id: RuleId
    version: Annotated[int, Field(ge=1)]
    source: Text
    tiers: dict[TierName, int]
    levels: dict[TierName, Level] = Field(default_factory=dict[TierName, Level])
    rules: Annotated[tuple[Rule, ...], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name, number in self.tiers.items():
            if Tier[name].value != number:
                raise ValueError(f"tiers: {name} is {Tier[name].value} in the contract, not {number}")
        if "RED" not in self.tiers:
            raise ValueError("tiers: RED must be among them, a crisis needs it")
        seen: set[str] = set()
        for rule in self.rules:
            if rule.id in seen:
                raise ValueError(f"rules {rule.id}: the id is given twice")
            if rule.tier not in self.tiers:
                raise ValueError(f"rules {rule.id}: tier {rule.tier} is not in tiers")
            seen.add(rule.id)
        if self.levels and self.levels.keys() != self.tiers.keys():
            raise ValueError("levels: give one for each of tiers, and no other")
        return self


class DerivedFile(Strict):
    """The YAML form of a pack that stands on another one: its rules, with tiers raised, and more rules."""

    id: RuleId
    version: Annotated[int, Field(ge=1)]
    source: Text
    base: Text
    tiers: dict[TierName, int]
    levels: dict[TierName, Level] = Field(default_factory=dict[TierName, Level])
    raised: dict[TierName, TierName] = Field(default_factory=dict[TierName, TierName])
    rules: Annotated[tuple[Rule, ...], Field(max_length=1000)] = ()

    @model_validator(mode="after")
    def _upwards(self) -> Self:
        for low, high in self.raised.items():
            if Tier[high] <= Tier[low]:
                raise ValueError(f"raised: {low} may only be raised, never become {high}")
        return self

    def over(self, base: PackFile) -> PackFile:
        """The whole pack. Raises ValueError where the rules do not fit together."""
        moved = tuple(rule.model_copy(update={"tier": self.raised.get(rule.tier, rule.tier)}) for rule in base.rules)
        return PackFile(
            id=self.id, version=self.version, source=self.source, tiers=self.tiers, levels=self.levels,
            rules=(*moved, *self.rules),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class RulePack:
    """A checked rule pack; make it with ``load_triage`` or ``build_pack``.

    ``ordered`` holds, per instrument id, indices into ``rules`` with the strongest rule first: higher tier, then a
    crisis signal, then the order of the file. The first match is therefore the proposal.
    """

    id: str
    version: int
    rules: tuple[Rule, ...]
    ordered: Mapping[str, tuple[int, ...]]
    tiers: tuple[int, ...] = ()
    levels: Mapping[int, Level] = field(default_factory=dict[int, Level])

    def words(self, tier: int) -> tuple[str, str]:
        """What the district calls a tier, in Chinese and English; the contract's word where it says nothing."""
        level = self.levels.get(tier)
        if level is not None:
            return level.names.zh, level.names.en
        word = Tier(tier).name.lower() if tier in list(Tier) else ""
        return word, word


class Proposal(NamedTuple):
    """A proposed ``tier`` (a number of ``Tier``) with the winning ``rule``, its pack and version, the ``inputs`` looked
    at (given scores by id, ``answered``, ``critical.<id>`` = 1 for each fired rule), the reason, and whether a crisis
    signal must go out at once."""

    tier: int
    rule: str
    pack: str
    version: int
    inputs: dict[str, int]
    reason_zh: str
    reason_en: str
    crisis: bool = False


def load_triage(path: Path, library: InstrumentLibrary) -> RulePack:
    """Load a rule pack and check it against ``library``. Raises ``TriageError`` naming the file and the rule."""
    file = _read(path)
    try:
        return build_pack(file, library)
    except ValueError as failure:
        raise TriageError(path, "rules", str(failure)) from None


def _read(path: Path) -> PackFile:
    data = read_yaml(path, TriageError)
    if "base" not in data:
        return parse(path, data, PackFile, TriageError)
    derived = parse(path, data, DerivedFile, TriageError)
    below = path.parent / derived.base
    lower = read_yaml(below, TriageError)
    if "base" in lower:
        raise TriageError(path, "base", "stands on a pack that itself stands on another: name that one")
    try:
        return derived.over(parse(below, lower, PackFile, TriageError))
    except ValidationError as failure:
        first = failure.errors(include_url=False, include_input=False)[0]
        raise TriageError(path, "rules", first["msg"].removeprefix("Value error, ")) from None


def build_pack(file: PackFile, library: InstrumentLibrary) -> RulePack:
    """Check ``file`` against ``library`` and compile it. Raises ``ValueError`` telling the rule and how to mend it."""
    by_instrument: dict[str, list[int]] = {}
    for index, rule in enumerate(file.rules):
        instrument = library.get(rule.instrument)
        if instrument is None:
            raise ValueError(f"{rule.id}: no instrument file defines {rule.instrument}")
        _check_references(rule, instrument)
        by_instrument.setdefault(rule.instrument, []).append(index)
    for instrument in library.enabled():
        if instrument.id not in by_instrument:
            raise ValueError(f"no rule is for {instrument.id}, which is enabled: add rules or disable it")
    for name, indices in by_instrument.items():
        _check_promises(library[name], [file.rules[index] for index in indices])
    ordered = {
        name: tuple(sorted(indices, key=lambda index: _strength(file.rules[index])))
        for name, indices in by_instrument.items()
    }
    levels = {Tier[name].value: level for name, level in file.levels.items()}
    return RulePack(file.id, file.version, file.rules, ordered, tuple(sorted(file.tiers.values())), levels)


def propose(pack: RulePack, instrument: Instrument, score: Score) -> Proposal:
    """The proposal for one scored form. Raises ``Refusal`` FAILED_PRECONDITION/NO_TRIAGE_RULES when the pack has no
    rule for the instrument, or none that fits (an instrument changed after the pack was checked)."""
    for index in pack.ordered.get(instrument.id, ()):
        if _matches(pack.rules[index].when, score):
            return proposal_of(pack, index, score)
    raise no_rules(pack, instrument)


def proposal_of(pack: RulePack, index: int, score: Score) -> Proposal:
    """The proposal of the rule at ``index`` of the pack, which ``score`` has met."""
    rule = pack.rules[index]
    inputs = {name: value for name, value in score.scores.items() if value is not None}
    inputs["answered"] = score.answered
    for fired in score.critical:
        inputs[f"critical.{fired}"] = 1
    return Proposal(
        _NUMBERS[rule.tier], rule.id, pack.id, pack.version, inputs, rule.reason.zh, rule.reason.en,
        rule.signal == "crisis",
    )  # fmt: skip


def _matches(when: When, score: Score) -> bool:
    if when.critical is not None:
        return bool(score.critical) if when.critical == "any" else not set(when.critical).isdisjoint(score.critical)
    if when.score is not None:
        value = score.scores.get(when.score)
        return value is not None and _inside(when, value)
    if when.category is not None:
        return score.category in when.category
    if when.no_category is not None:
        return score.category is None
    return when.no_score is not None and score.scores.get(when.no_score) is None


def _inside(when: When, value: int) -> bool:
    return (when.at_least is None or value >= when.at_least) and (when.at_most is None or value <= when.at_most)


def _strength(rule: Rule) -> tuple[int, bool]:
    """Sort key, strongest first; ``sorted`` keeps the order of the file between equals."""
    return -Tier[rule.tier].value, rule.signal != "crisis"


def _check_references(rule: Rule, instrument: Instrument) -> None:
    when = rule.when
    named_score = when.score or when.no_score
    if named_score is not None and named_score not in instrument.extents:
        raise ValueError(f"{rule.id}: {instrument.id} has no score {named_score}")
    for category in when.category or ():
        if category not in instrument.category_ids:
            raise ValueError(f"{rule.id}: {instrument.id} has no category {category}")
    if when.no_category is not None and not instrument.categories:
        raise ValueError(f"{rule.id}: {instrument.id} has no categories at all")
    ids = {critical.id for critical in instrument.critical}
    if when.critical is not None and (not ids or (when.critical != "any" and not ids.issuperset(when.critical))):
        raise ValueError(f"{rule.id}: {instrument.id} has no such critical rule")
    if when.score is not None:
        low, high = instrument.extents[when.score]
        if not any(_inside(when, value) for value in range(low, high + 1)):
            raise ValueError(f"{rule.id}: no value of {when.score} ({low} to {high}) can meet it")


def _check_promises(instrument: Instrument, rules: list[Rule]) -> None:
    """The three promises of the module docstring, for one instrument.

    Where answers are not added up the category stands for the total; a void form counts as one without its total.
    """
    for critical in instrument.critical:
        crisis = any(
            rule.signal == "crisis"
            and rule.when.critical is not None
            and (rule.when.critical == "any" or critical.id in rule.when.critical)
            for rule in rules
        )
        if critical.severity == "crisis" and not crisis:
            raise ValueError(f"{instrument.id}: critical rule {critical.id} needs a RED rule with signal crisis")
    above = [rule.when for rule in rules if rule.tier != "GREEN"]
    guarded = {when.no_score for when in above if when.no_score is not None}
    category_guarded = any(when.no_category for when in above)
    if not guarded and not category_guarded:
        raise ValueError(
            f"{instrument.id}: add a no_score or no_category rule above GREEN, an unscored form is never GREEN"
        )
    floors = {
        rule.when.score
        for rule in rules
        if rule.when.score in guarded and _inside(rule.when, instrument.extents[rule.when.score][0])
        and _inside(rule.when, instrument.extents[rule.when.score][1])
    }  # fmt: skip
    met = {category for rule in rules for category in rule.when.category or ()}
    if not floors and not (category_guarded and met.issuperset(instrument.category_ids)):
        raise ValueError(
            f"{instrument.id}: some results meet no rule; add one for every value of the guarded score, "
            "or for every category"
        )
    for void in instrument.void_ids:
        if not any(void in (when.category or ()) for when in above):
            raise ValueError(f"{instrument.id}: add a rule above GREEN for category {void}, a void form is never GREEN")
    for rule in rules:
        resting = rule.when.score in guarded or (category_guarded and rule.when.category is not None)
        if rule.tier == "GREEN" and (not resting or not instrument.void_ids.isdisjoint(rule.when.category or ())):
            raise ValueError(
                f"{rule.id}: GREEN may rest only on a score or a category whose absence has a rule above GREEN"
            )


def no_rules(pack: RulePack, instrument: Instrument) -> Refusal:
    return Refusal(
        "FAILED_PRECONDITION",
        "NO_TRIAGE_RULES",
        f"triage pack {pack.id} version {pack.version} has no rule for this result of {instrument.id}: add one",
    )
