"""What the suite found about one plugin: a table, a tier, and ``quality.yaml``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from xinqiao.testing.conformance import conduct, delivering, privacy, reading, trouble
from xinqiao.testing.conformance.registry import Outcome, Rules, Tier, rules, run_case, tier_of
from xinqiao.testing.conformance.rig import Subject

QUALITY: Final = "quality.yaml"

CASES: Final = (conduct, delivering, privacy, reading, trouble)
"""The modules whose import registers the cases."""


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of every case, in the order of ``rules.yaml``."""

    name: str
    rules: Rules
    outcomes: Mapping[str, Outcome]

    @property
    def tier(self) -> Tier:
        """Computed, never declared."""
        return tier_of(self.outcomes, self.rules)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The cases that failed."""
        return tuple(each for each in self.outcomes.values() if each.result == "failed")

    def quality_yaml(self) -> str:
        """The text of the plugin's ``quality.yaml``: the same outcomes give the same text."""
        lines = [
            f"# Computed by `xinqiao adapters conform {self.name} --write`, never written by hand: a test compares it.",
            f"suite: {self.rules.suite}",
            f"tier: {self.tier}",
            "cases:",
            *(f"  {name}: {self.outcomes[name].result}" for name in self.rules.cases),
        ]
        return "\n".join(lines) + "\n"

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "plugin": self.name,
            "suite": self.rules.suite,
            "tier": self.tier,
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
        }


def conform(subject: Subject, *, told: Callable[[Outcome], None] = lambda outcome: None) -> Report:
    """Run every case, telling each outcome as it comes. Never raises for what the adapter does."""
    known = rules()
    outcomes: dict[str, Outcome] = {}
    for name in known.cases:
        outcomes[name] = run_case(subject, name)
        told(outcomes[name])
    return Report(subject.name, known, outcomes)


def quality_file(folder: Path) -> str:
    """The text of the ``quality.yaml`` in a plugin's project folder; empty where there is none."""
    path = folder / QUALITY
    return path.read_text("utf-8") if path.is_file() else ""


def plugin_folder(name: str) -> Path:
    """The project folder of an installed plugin: where its module lies."""
    found = import_module(f"xinqiao_{name}").__file__
    assert found is not None
    return Path(found).parent.parent
