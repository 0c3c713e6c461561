"""`xinqiao policy`: who may see what, what a changed policy opens, and the legal bases with their signature."""

from pathlib import Path

from xinqiao.cli.exits import CONFIGURATION, DATA
from xinqiao.cli.output import as_json, say, warn
from xinqiao.cli.tables import coloured, table
from xinqiao.cli.texts import Texts
from xinqiao.contract.clock import SystemClock
from xinqiao.disclosure.bases import Basis, check_signature, load_bases, sign_bases
from xinqiao.disclosure.matrix import NEVER, Cell, Change, cells, changes
from xinqiao.disclosure.policy import PolicyError, load_policy
from xinqiao.journal.signing import create_signing_key, load_public_keys, load_signing_key, public_key_pem

_CELL = Cell._fields


def sign(texts: Texts, file: Path, key: Path, *, create: bool) -> int:
    """Sign a file of legal bases; with ``create`` make the key first, its public half beside it."""
    if create:
        key.with_suffix(".pub").write_bytes(public_key_pem(create_signing_key(key)))
    say(texts("policy.signed", file=sign_bases(file, load_signing_key(key)), public=key.with_suffix(".pub")))
    return 0


def check(texts: Texts, file: Path, key: Path | None, *, json: bool) -> int:
    """List the bases and whether each is in force today; exit code 78 where the signature does not hold."""
    now_us = SystemClock().now_us()
    bases = load_bases(file)
    why = ""
    if key is not None:
        try:
            check_signature(file, load_public_keys(key))
        except PolicyError as error:
            why = str(error)
    rows = [
        {
            "id": basis.id, "version": basis.version, "from": basis.start.isoformat(),
            "to": basis.end.isoformat() if basis.end else "", "state": _state(basis, now_us),
            "approver": basis.needs_approver, "citation": basis.citation.get(texts.language, ""),
        }
        for basis in bases.values()
    ]  # fmt: skip
    signed = None if key is None else not why
    if json:
        as_json({"signed": signed, "bases": rows})
    else:
        names = ("id", "version", "from", "to", "state", "citation")
        table(
            [texts(f"col.basis_{name}") for name in names],
            [[texts(f"basis.{row[name]}") if name == "state" else str(row[name]) for name in names] for row in rows],
        )
        say(texts("policy.unchecked" if signed is None else "policy.sound" if signed else "policy.unsound"))
    if why:
        warn(why)
        return CONFIGURATION
    return 0


def show(texts: Texts, file: Path, role: str, *, json: bool) -> int:
    """Print who may see which classes, for which purpose, and what that takes."""
    rows = [(*cell, takes) for cell, takes in cells(load_policy(file)) if takes != NEVER and role in ("", cell.role)]
    if json:
        as_json([dict(zip((*_CELL, "takes"), row, strict=True)) for row in rows])
        return 0
    grouped: dict[tuple[str, ...], list[str]] = {}
    for who, purpose, relation, field_class, takes in rows:
        grouped.setdefault((who, purpose, relation, takes), []).append(field_class)
    names = ("role", "purpose", "relation", "takes", "classes")
    table(
        [texts(f"col.{name}") for name in names],
        [(*where, texts(f"takes.{takes}"), ", ".join(classes)) for (*where, takes), classes in grouped.items()],
    )
    return 0


def diff(texts: Texts, before: Path, after: Path, *, json: bool) -> int:
    """Print the cells of the matrix in which two policies differ; exit code 65 where any of them opens."""
    found = changes(load_policy(before), load_policy(after))
    if json:
        as_json(
            [{**each.cell._asdict(), "before": each.before, "after": each.after, "opens": each.opens} for each in found]
        )
    elif not found:
        say(texts("policy.same"))
    else:
        names = (*_CELL[:3], "class", "before", "after")
        table([texts(f"col.{name}") for name in names], [_change(texts, each) for each in found])
    opening = sum(each.opens for each in found)
    if opening:
        warn(texts("policy.opens", count=opening))
    return DATA if opening else 0


def _change(texts: Texts, each: Change) -> tuple[object, ...]:
    after = texts(f"takes.{each.after}")
    return (*each.cell, texts(f"takes.{each.before}"), coloured(after, "bold red") if each.opens else after)


def _state(basis: Basis, now_us: int) -> str:
    if basis.in_force(now_us):
        return "valid"
    return "not_yet" if basis.state(0, frozenset(), now_us) == "NOT_YET" else "expired"
