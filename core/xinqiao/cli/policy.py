"""`xinqiao policy sign` and `check`: the legal bases, signed by the person who answers for them."""

from pathlib import Path

from xinqiao.cli.exits import CONFIGURATION
from xinqiao.cli.output import as_json, say, warn
from xinqiao.cli.tables import table
from xinqiao.cli.texts import Texts
from xinqiao.contract.clock import SystemClock
from xinqiao.disclosure.bases import Basis, check_signature, load_bases, sign_bases
from xinqiao.disclosure.policy import PolicyError
from xinqiao.journal.signing import create_signing_key, load_public_keys, load_signing_key, public_key_pem


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


def _state(basis: Basis, now_us: int) -> str:
    if basis.in_force(now_us):
        return "valid"
    return "not_yet" if basis.state(0, frozenset(), now_us) == "NOT_YET" else "expired"
