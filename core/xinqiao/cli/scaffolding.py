"""`xinqiao adapters new`: ask what the new plugin is to be, write it, and let the conformance suite judge it."""

import importlib.util
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from xinqiao.adapters.host import installed_entry_points
from xinqiao.cli.exits import INTERNAL
from xinqiao.cli.output import as_json, say, warn
from xinqiao.cli.texts import Texts
from xinqiao.contract.errors import Refusal
from xinqiao.testing import scaffolding
from xinqiao.testing.scaffolding import CONTRACTS, PROTOCOLS

_TEXT: Final = re.compile(r"[\w（）() ·-]{1,80}")
_EXAMPLE: Final = "civil_affairs"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the flags say; empty for what is to be asked, or taken from the defaults."""

    zh: str
    en: str
    partner_kind: str
    protocol: str
    contracts: str


def new(texts: Texts, name: str, wishes: Wishes, folder: Path, *, json: bool) -> int:
    """Write the plugin and judge it; 70 when what was written does not conform."""
    if not scaffolding.is_name(name):
        raise _usage(texts("new.bad_name", name=name, example=_EXAMPLE))
    target = folder / name
    if target.exists():
        raise _usage(texts("new.exists", folder=target))
    if any(point.name == name for point in installed_entry_points()):
        raise _usage(texts("new.taken", name=name))
    chosen = _chosen(texts, name, wishes, _asker(texts, json=json))
    written = scaffolding.write(chosen, folder)
    report = scaffolding.judge(target.resolve(), name)
    if json:
        as_json({"plugin": name, "folder": str(target), "files": [str(path) for path in written], "tier": report.tier})
    else:
        say(texts("new.wrote", count=len(written) + 1, folder=target))
        say(texts("conform.tier", name=name, tier=texts(f"tier.{report.tier}"),
                  passed=sum(each.result == "passed" for each in report.outcomes.values()), failed=len(report.failed),
                  open=sum(each.result == "not_shown" for each in report.outcomes.values())))  # fmt: skip
        _say_next(texts, name, target, workspace=(folder.parent / "protos").is_dir())
    for outcome in report.failed:
        warn(f"{outcome.case}: {outcome.text}")
    return INTERNAL if report.failed else 0


def _say_next(texts: Texts, name: str, target: Path, *, workspace: bool) -> None:
    """The commands to go on with, by the Python that runs this one: they work as they stand, whatever is activated."""
    python = Path(os.path.relpath(sys.executable)) if sys.executable.startswith(f"{Path.cwd()}/") else sys.executable
    say(texts("new.next"))
    if importlib.util.find_spec("pytest") is None:
        say("  make dev" if workspace else f"  {python} -m pip install pytest")
    say(f"  {python} -m pip install --no-deps --no-build-isolation -e {target}")
    say(f"  {python} -m pytest {target / 'tests'}")
    say(f"  {python} -m xinqiao.cli adapters conform {name}")
    if workspace:
        say(f"  {texts('new.workspace')}")


def _chosen(texts: Texts, name: str, wishes: Wishes, ask: Callable[[str, str], str]) -> scaffolding.Wishes:
    spoken = name.replace("_", " ")
    zh = wishes.zh or ask(texts("opt.new_zh"), f"{spoken}（示例）")
    en = wishes.en or ask(texts("opt.new_en"), spoken.capitalize())
    partner = wishes.partner_kind or ask(texts("opt.new_partner"), name)
    protocol = wishes.protocol or ask(texts("opt.new_protocol"), PROTOCOLS[0])
    for option, text in (("--zh", zh), ("--en", en)):
        if _TEXT.fullmatch(text) is None or text != text.strip():
            raise _usage(texts("new.bad_text", option=option))
    if zh == en:
        raise _usage(texts("new.same_names"))
    if not scaffolding.is_name(partner):
        raise _usage(texts("new.bad_name", name=partner, example="hospital"))
    if protocol not in PROTOCOLS:
        raise _usage(texts("new.bad_value", option="--protocol", value=protocol, known=", ".join(PROTOCOLS)))
    contracts = _contracts(texts, protocol, wishes.contracts, ask)
    return scaffolding.Wishes(name, zh, en, partner, protocol, contracts)


def _contracts(texts: Texts, protocol: str, given: str, ask: Callable[[str, str], str]) -> tuple[str, ...]:
    if protocol == "webhook":
        if given:
            raise _usage(texts("new.webhook_contracts"))
        return ()
    words = given or ask(texts("opt.new_contracts"), next(iter(CONTRACTS)))
    found = tuple(dict.fromkeys(word.strip() for word in words.split(",") if word.strip()))
    for word in found:
        if word not in CONTRACTS:
            raise _usage(texts("new.bad_value", option="--contracts", value=word, known=", ".join(CONTRACTS)))
    return found or (next(iter(CONTRACTS)),)


def _asker(texts: Texts, *, json: bool) -> Callable[[str, str], str]:
    """Asks the person at the terminal; elsewhere the default is the answer."""
    if json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return lambda question, default: default

    def ask(question: str, default: str) -> str:
        answer: object = typer.prompt(question, default=default)
        return str(answer).strip()

    return ask


def _usage(text: str) -> Refusal:
    return Refusal("INVALID_ARGUMENT", "USAGE", text)
