"""What is wrong in a configuration file: where, which rule, how to mend it; never the value that stands there."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic_core import PydanticCustomError

Loc = tuple[str | int, ...]
"""A place in the file as keys and list positions, outermost first."""

Reason = Literal[
    "CONFIG/ALIAS",
    "CONFIG/BELOW_LEGAL_MINIMUM",
    "CONFIG/CHARSET",
    "CONFIG/CONFLICT",
    "CONFIG/DATE",
    "CONFIG/DEPTH",
    "CONFIG/DOCUMENTS",
    "CONFIG/DUPLICATE",
    "CONFIG/DURATION",
    "CONFIG/EMPTY",
    "CONFIG/ENCODING",
    "CONFIG/FILE",
    "CONFIG/FORMAT",
    "CONFIG/LINE_ENDING",
    "CONFIG/MISSING",
    "CONFIG/NOT_INSTALLED",
    "CONFIG/POLICY_FORBIDDEN",
    "CONFIG/RANGE",
    "CONFIG/REFERENCE",
    "CONFIG/SCHEDULE",
    "CONFIG/SECRET",
    "CONFIG/SECRET_MODE",
    "CONFIG/SYNTAX",
    "CONFIG/TAB",
    "CONFIG/TAG",
    "CONFIG/TOO_LARGE",
    "CONFIG/TYPE",
    "CONFIG/UNKNOWN_KEY",
    "CONFIG/URL",
    "CONFIG/VALUE",
]

_KEY_PART_MAX = 64


@dataclass(frozen=True, slots=True)
class Place:
    """A position in a file: line and column, both from 1, columns in characters."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem that knows its key but not yet its line."""

    loc: Loc
    reason: Reason
    message: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend in a file. ``reason`` is for machines, ``message`` and ``hint`` are for the admin."""

    file: str
    line: int
    column: int
    key: str
    reason: Reason
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: "
        key = f"{self.key}: " if self.key else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{where}{key}{self.message}{hint} [{self.reason}]"


class ConfigError(Exception):
    """A configuration that must not be used; ``problems`` holds all that is wrong, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def refusal(reason: Reason, message: str, hint: str = "") -> PydanticCustomError:
    """The error a field validator raises to choose its own reason; ``message`` must not hold the value."""
    # The text goes through the context because pydantic would read a brace in it as a placeholder.
    return PydanticCustomError(reason, "{message}", {"message": message, "hint": hint})


def render_key(loc: Iterable[str | int]) -> str:
    """``('parties', 1, 'names')`` as ``parties[1].names``; unprintable characters are shown as code points."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + _printable(part)
    return text


def _printable(part: str) -> str:
    shown = "".join(ch if ch.isprintable() else f"\\u{ord(ch):04x}" for ch in part[:_KEY_PART_MAX])
    return shown + ("..." if len(part) > _KEY_PART_MAX else "")
