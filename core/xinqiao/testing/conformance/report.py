"""What the suite found about one plugin: a table, a tier, and ``quality.yaml``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from xinqiao.testing.conformance import conduct, delivering, privacy, reading, trouble
from xinqiao.testing.conformance.registry import TIERS, Outcome, Rules, Tier, rules, run_case, tier_of
from xinqiao.testing.conformance.rig import Failed, Subject

QUALITY: Final = "quality.yaml"
_ORDER: Final[tuple[Tier, ...]] = ("none", *TIERS)

CASES: Final = (conduct, delivering, privacy, reading, trouble)
"""The modules whose import registers the cases."""


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of every case, in the order of ``rules.yaml``; ``variants`` are the reports of the kind's other ways."""

    name: str
    rules: Rules
    outcomes: Mapping[str, Outcome]
    variants: "Mapping[str, Report]" = field(default_factory=dict[str, "Report"])

    @property
    def tier(self) -> Tier:
        """Computed, never declared: the lowest of all its ways."""
        return min([self.own_tier, *(each.tier for each in self.variants.values())], key=_ORDER.index)

    @property
    def own_tier(self) -> Tier:
        """Of its first way alone."""
        return tier_of(self.outcomes, self.rules)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The cases that failed, of all its ways."""
        own = tuple(each for each in self.outcomes.values() if each.result == "failed")
        return own + tuple(each for variant in self.variants.values() for each in variant.failed)

    def quality_yaml(self) -> str:
        """The text of the plugin's ``quality.yaml``: the same outcomes give the same text."""
        lines = [
            f"# Computed by `xinqiao adapters conform {self.name} --write`, never written by hand: a test compares it.",
            f"suite: {self.rules.suite}",
            f"tier: {self.tier}",
            *([f"own_tier: {self.own_tier}"] if self.variants else []),
            *self._case_lines(""),
            *(["variants:"] if self.variants else []),
        ]
        for name, variant in self.variants.items():
            lines += [f"  {name}:", f"    tier: {variant.tier}", *variant._case_lines("    ")]
        return "\n".join(lines) + "\n"

    def _case_lines(self, indent: str) -> list[str]:
        return [f"{indent}cases:", *(f"{indent}  {name}: {self.outcomes[name].result}" for name in self.rules.cases)]

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "plugin": self.name,
            "suite": self.rules.suite,
            "tier": self.tier,
            "own_tier": self.own_tier,
            "cases": [
                {
                    "case": name,
                    "tier": rule.tier,
                    "result": self.outcomes[name].result,
                    "text": self.outcomes[name].text,
                    "mend": rule.mend.model_dump() if self.outcomes[name].result in ("failed", "not_shown") else None,
                }
                for name, rule in self.rules.cases.items()
            ],
            "variants": {name: variant.plain() for name, variant in self.variants.items()},
        }


def conform(subject: Subject, *, told: Callable[[Outcome], None] = lambda outcome: None) -> Report:
    """Run every case of every way, telling each outcome as it comes. Never raises for what the adapter does."""
    further = () if subject.variant else ways(subject)
    variants = {name: conform(replace(subject, variant=name), told=told) for name in further}
    known = rules()
    outcomes: dict[str, Outcome] = {}
    for name in known.cases:
        outcomes[name] = run_case(subject, name)
        told(outcomes[name])
    return Report(subject.name, known, outcomes, variants)


def ways(subject: Subject) -> tuple[str, ...]:
    """The variants of the subject's kind; none where it cannot be loaded, or is judged beside another partner."""
    if subject.partner is not None:
        return ()
    try:
        return tuple(subject.load().kinds[subject.name].variants)
    except Failed:
        return ()


def quality_file(folder: Path) -> str:
    """The text of the ``quality.yaml`` in a plugin's project folder; empty where there is none."""
    path = folder / QUALITY
    return path.read_text("utf-8") if path.is_file() else ""


def plugin_folder(name: str) -> Path:
    """The project folder of an installed plugin: where its module lies."""
    found = import_module(f"xinqiao_{name}").__file__
    assert found is not None
    return Path(found).parent.parent
