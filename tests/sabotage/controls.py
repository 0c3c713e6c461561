"""The list of controls, as `controls.yaml` has it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("controls.yaml")


@dataclass(frozen=True, slots=True)
class Control:
    """One control: what it guarantees, the text of ``file`` that is it, what stands there without it, and the tests
    that must notice."""

    id: str
    guarantee: str
    file: str
    text: str
    without: str
    tests: tuple[str, ...]

    def removed(self, source: str) -> str:
        """``source`` without the control. Raises ValueError where the text does not stand there exactly once."""
        if source.count(self.text) != 1:
            raise ValueError(f"{self.id}: its text stands {source.count(self.text)} times in {self.file}, not once")
        return source.replace(self.text, self.without)


def controls() -> list[Control]:
    """Every control of the list, in its order."""
    entries: list[dict[str, Any]] = yaml.safe_load(LIST.read_text("utf-8"))
    return [Control(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]
