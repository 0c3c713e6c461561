"""The cases of the suite, by id; what each is worth and how to mend it stands in ``rules.yaml``."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final, Literal, TypeVar

from pydantic import Field

from xinqiao.adapters.errors import AdapterError
from xinqiao.config.loader import Strict, load
from xinqiao.testing.conformance.rig import Failed, NotApplicable, NotDeclared, NotShown, Rig, Subject

Tier = Literal["none", "bronze", "silver", "gold", "platinum"]
Result = Literal["passed", "failed", "not_shown", "not_declared", "not_applicable"]

TIERS: Final[tuple[Tier, ...]] = ("bronze", "silver", "gold", "platinum")
"""From low to high; below the first is ``none``."""

_PASSING: Final = ("passed", "not_applicable", "not_declared")

F = TypeVar("F", bound=Callable[..., None])


class Words(Strict):
    """A sentence for people."""

    zh: Annotated[str, Field(min_length=1)]
    en: Annotated[str, Field(min_length=1)]


class Rule(Strict):
    """One case: the tier that needs it, what it shows, and how an adapter that fails it is mended."""

    tier: Literal["bronze", "silver", "gold", "platinum"]
    title: Words
    mend: Words


class Rules(Strict):
    """``rules.yaml``. ``suite`` grows when a case is added or asks more, so that an older quality.yaml can be told."""

    suite: Annotated[int, Field(ge=1)]
    unspoken: dict[str, tuple[str, ...]] = Field(default_factory=dict[str, tuple[str, ...]])
    cases: dict[str, Rule]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one case; ``text`` says what was seen, or why there was nothing to see."""

    case: str
    result: Result
    text: str = ""


_ON_RIG: Final[dict[str, Callable[[Rig], None]]] = {}
_ON_SUBJECT: Final[dict[str, Callable[[Subject], None]]] = {}
_GATES: Final[list[Callable[[Subject], str]]] = []


def case(function: F) -> F:
    """A case that gets a fresh rig; its id is the function's name."""
    _ON_RIG[function.__name__] = function
    return function


def case_apart(function: F) -> F:
    """A case that makes what it needs itself, from the subject."""
    _ON_SUBJECT[function.__name__] = function
    return function


def gate(function: Callable[[Subject], str]) -> Callable[[Subject], str]:
    """Asked before a case runs the adapter in this process; says why it must not, or nothing."""
    _GATES.append(function)
    return function


def implemented() -> frozenset[str]:
    """The ids that have code."""
    return frozenset((*_ON_RIG, *_ON_SUBJECT))


def rules() -> Rules:
    """The shipped rules. Raises xinqiao.config.problems.ConfigError where the file is not usable."""
    with resources.as_file(resources.files("xinqiao.testing.conformance") / "rules.yaml") as path:
        return load(path, Rules)


def run_case(subject: Subject, name: str) -> Outcome:
    """Run one case in a folder of its own. Never raises for what the adapter does."""
    with TemporaryDirectory(prefix="xinqiao-conform-", ignore_cleanup_errors=True) as folder:
        try:
            if name in _ON_SUBJECT:
                _ON_SUBJECT[name](subject)
            else:
                for asked in _GATES:
                    if why := asked(subject):
                        raise NotShown(why)
                with Rig(subject, Path(folder), rules().unspoken) as rig:
                    _ON_RIG[name](rig)
        except NotDeclared as why:
            return Outcome(name, "not_declared", str(why))
        except NotApplicable as why:
            return Outcome(name, "not_applicable", str(why))
        except NotShown as why:
            return Outcome(name, "not_shown", str(why))
        except Failed as why:
            return Outcome(name, "failed", str(why))
        except AdapterError as error:
            return Outcome(name, "failed", f"{type(error).__name__}: {error.message}")
        except (Exception, SystemExit) as error:
            frames = error.__traceback__
            while frames is not None and frames.tb_next is not None:
                frames = frames.tb_next
            where = f"{frames.tb_frame.f_code.co_filename}:{frames.tb_lineno}" if frames is not None else "?"
            return Outcome(name, "failed", f"{type(error).__name__} at {where}")
    return Outcome(name, "passed")


def tier_of(outcomes: Mapping[str, Outcome], known: Rules) -> Tier:
    """The highest tier all of whose cases, and those below, passed or are not about such a partner. What the plugin could
    have declared and did not is passed over too, but then it is not platinum.
    """
    reached: Tier = "none"
    undeclared = any(outcome.result == "not_declared" for outcome in outcomes.values())
    for tier in TIERS:
        wanted = [name for name, rule in known.cases.items() if rule.tier == tier]
        if not all(name in outcomes and outcomes[name].result in _PASSING for name in wanted):
            break
        if tier == TIERS[-1] and undeclared:
            break
        reached = tier
    return reached
