"""What must agree between keys of gateway.yaml, and between the file and the machine it stands on."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from string import hexdigits
from typing import TYPE_CHECKING, Any, cast

from xinqiao.config.problems import Finding, Loc, Problem
from xinqiao.config.secret import Secret

if TYPE_CHECKING:
    from xinqiao.config.settings import Gateway


def gateway_findings(raw: Mapping[str, Any]) -> Iterator[Finding]:
    """Findings on an unvalidated gateway.yaml; a part of the wrong type is passed over, the model tells it."""
    partners = _table(raw, "partners")
    yield from _identities(partners)
    yield from _agencies(partners)
    for agency in _table(raw, "adapters"):
        yield from _known(partners, ("adapters", agency), agency)
    for name, exchange in _tables(raw, "exchanges"):
        yield from _exchange(("exchanges", name), exchange, partners)


def _identities(partners: Mapping[str, Any]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for name, partner in _entries(partners):
        identity = partner.get("spiffe")
        loc: Loc = ("partners", name, "spiffe")
        if not isinstance(identity, str):
            continue
        if identity in first:
            text = f"the same identity as partners.{first[identity]}"
            yield Finding(loc, "CONFIG/CONFLICT", text, "give each partner its own certificate")
        elif "/partner/" in identity and not identity.endswith(f"/partner/{name}"):
            yield Finding(
                loc,
                "CONFIG/CONFLICT",
                "the identity does not end with the partner's id",
                f"end it with /partner/{name}",
            )
        first.setdefault(identity, name)


def _agencies(partners: Mapping[str, Any]) -> Iterator[Finding]:
    for name, partner in _entries(partners):
        agency = partner.get("agency")
        loc: Loc = ("partners", name, "agency")
        if agency == name:
            yield Finding(loc, "CONFIG/REFERENCE", "a partner cannot be its own agency", "remove the key")
        else:
            yield from _known(partners, loc, agency)


def _exchange(loc: Loc, exchange: Mapping[str, Any], partners: Mapping[str, Any]) -> Iterator[Finding]:
    parties = cast("list[object]", exchange["parties"]) if isinstance(exchange.get("parties"), list) else []
    for index, party in enumerate(parties):
        yield from _known(partners, (*loc, "parties", index), party)
    if len(parties) == 2 and parties[0] == parties[1]:
        yield Finding((*loc, "parties"), "CONFIG/CONFLICT", "an exchange needs two different parties")
    datasets = cast("list[object]", exchange["datasets"]) if isinstance(exchange.get("datasets"), list) else []
    seen: set[tuple[str, str]] = set()
    for index, item in enumerate(datasets):
        if not isinstance(item, dict):
            continue
        dataset = cast("dict[str, object]", item)
        place = (*loc, "datasets", index)
        contract, receiver = dataset.get("contract"), dataset.get("to")
        if isinstance(receiver, str) and parties and receiver not in parties:
            yield Finding((*place, "to"), "CONFIG/REFERENCE", "not a party of this exchange", "name one of its parties")
        if isinstance(contract, str) and isinstance(receiver, str):
            if (contract, receiver) in seen:
                yield Finding(place, "CONFIG/CONFLICT", "the same dataset goes to the same party twice", "keep one")
            seen.add((contract, receiver))
    expected = cast("list[object]", exchange["expects"]) if isinstance(exchange.get("expects"), list) else []
    for index, party in enumerate(expected):
        if isinstance(party, str) and parties and party not in parties:
            place = (*loc, "expects", index)
            yield Finding(place, "CONFIG/REFERENCE", "not a party of this exchange", "name one of its parties")
    if expected and exchange.get("nil_report") is False:
        text = "without nil reports nobody can tell a package that is missing from one that is nil"
        yield Finding((*loc, "expects"), "CONFIG/CONFLICT", text, "set nil_report: true, or expect nothing")
    yield from _schedule((*loc, "schedule"), _table(exchange, "schedule"), weekly=exchange.get("period") == "week")


def _schedule(loc: Loc, schedule: Mapping[str, Any], *, weekly: bool) -> Iterator[Finding]:
    run = _table(schedule, "run")
    day, closes = run.get("day"), schedule.get("close_by_working_day")
    if weekly and isinstance(day, int) and 7 < day <= 28:
        yield Finding((*loc, "run", "day"), "CONFIG/SCHEDULE", "a week has 7 days", "write 1 (Monday) to 7, or `last`")
    if not isinstance(closes, int):
        return
    place = (*loc, "close_by_working_day")
    if weekly and 7 < closes <= 28:
        yield Finding(place, "CONFIG/SCHEDULE", "a week has 7 days", "write 1 to 7")
    elif run.get("working") is not True or not isinstance(day, int) or day > closes:
        text = "a period that closes by a working day is run by a working day that is not after it"
        yield Finding(place, "CONFIG/SCHEDULE", text, "set run.working and a run.day not after it, or close_after_days")


def _known(partners: Mapping[str, Any], loc: Loc, name: object) -> Iterator[Finding]:
    if isinstance(name, str) and name not in partners:
        yield Finding(loc, "CONFIG/REFERENCE", "no such partner", "add it under partners, or mend the id")


def _table(raw: Mapping[str, Any], key: str) -> dict[str, Any]:
    value: object = raw.get(key)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _entries(table: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    return ((name, cast("dict[str, Any]", value)) for name, value in table.items() if isinstance(value, dict))


def _tables(raw: Mapping[str, Any], key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    return _entries(_table(raw, key))


def check_files(settings: "Gateway", *, allow_repository: bool = False) -> list[Problem]:
    """What is wrong with the files that the settings name: absent, readable by others, private inside a repository.

    Apart from parsing, so that an example can be checked before its keys exist. ``allow_repository`` is for demos that
    keep throw-away keys in a work tree.
    """
    findings: list[Finding] = []
    for loc, path in _private(settings):
        findings += _private_findings(loc, path, allow_repository=allow_repository)
    for loc, path in _public(settings):
        if not path.exists():
            findings.append(Finding(loc, "CONFIG/FILE", "there is no such file", f"looked for {path}"))
    deny_list = settings.server.tls.deny_list
    if deny_list is not None and deny_list.exists():
        findings += _deny_list_findings(deny_list)
    for loc, secret in settings.secrets:
        findings += _secret_findings(loc, secret)
    return sorted((settings.problem(finding) for finding in findings), key=lambda found: (found.line, found.column))


def _private(settings: "Gateway") -> Iterable[tuple[Loc, Path]]:
    yield ("server", "tls", "key"), settings.server.tls.key
    if settings.store.key_provider == "file":
        yield ("store", "keyring"), _newest_key_file(settings.store.keyring)
    yield ("journal", "signing_key"), settings.journal.signing_key
    if settings.document_key is not None:
        yield ("document_key",), settings.document_key


def _newest_key_file(keyring: Path) -> Path:
    """A rotation adds `kek.2` and so on; the first may be gone by then."""
    later = [path for path in keyring.glob("kek.*") if path.suffix[1:].isdecimal()]
    return max(later, key=lambda path: int(path.suffix[1:]), default=keyring / "kek")


def _public(settings: "Gateway") -> Iterable[tuple[Loc, Path]]:
    tls = settings.server.tls
    named: list[tuple[Loc, Path | None]] = [
        (("server", "tls", "certificate"), tls.certificate),
        (("server", "tls", "ca"), tls.ca),
        (("server", "tls", "deny_list"), tls.deny_list),
        (("store", "vault", "ca"), settings.store.vault.ca if settings.store.vault is not None else None),
        (("policy",), settings.policy),
        (("instruments",), settings.instruments),
        (("instruments_overlay",), settings.instruments_overlay),
        (("triage",), settings.triage),
        (("legal_bases",), settings.legal_bases),
        (("district_overlay",), settings.district_overlay),
        (("documents",), settings.documents),
        (("reports",), settings.reports),
    ]
    named += [(("partners", name, "receipt_key"), partner.receipt_key) for name, partner in settings.partners.items()]
    return [(loc, path) for loc, path in named if path is not None]


def _private_findings(loc: Loc, path: Path, *, allow_repository: bool) -> Iterator[Finding]:
    if not path.exists():
        yield Finding(loc, "CONFIG/FILE", "there is no such file", f"looked for {path}")
        return
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        mend = "chmod 700" if path.is_dir() else "chmod 600"
        yield Finding(
            loc, "CONFIG/SECRET_MODE", f"others may use this private file (mode {mode:04o})", f"{mend} {path}"
        )
    if not allow_repository and any((folder / ".git").exists() for folder in path.resolve().parents):
        yield Finding(
            loc, "CONFIG/SECRET", "a private file inside a git work tree", "keep keys outside of repositories"
        )


def _deny_list_findings(path: Path) -> Iterator[Finding]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        yield Finding(("server", "tls", "deny_list"), "CONFIG/FILE", "it cannot be read as text", f"looked at {path}")
        return
    for number, line in enumerate(lines, 1):
        serial = line.split("#")[0].replace(":", "").strip()
        if serial and any(digit not in hexdigits for digit in serial):
            yield Finding(
                ("server", "tls", "deny_list"), "CONFIG/FILE", f"line {number} of it is no serial number",
                "one a line in hexadecimal; # begins a comment",
            )  # fmt: skip


def _secret_findings(loc: Loc, secret: Secret) -> Iterator[Finding]:
    try:
        secret.reveal()
    except PermissionError:
        yield Finding(
            loc, "CONFIG/SECRET_MODE", "the secret's file cannot be read, or others may read it", "chmod 600 it"
        )
    except (LookupError, OSError):
        yield Finding(loc, "CONFIG/SECRET", "the secret is empty, not set or not readable", "set it before the start")
