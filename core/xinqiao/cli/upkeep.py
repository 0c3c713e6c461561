"""`xinqiao keys init`, `db upgrade`: what is done beside a gateway, not through one."""

import os
from collections.abc import Iterator
from pathlib import Path

from xinqiao.cli.files import document_public_key, journal_public_key, load_settings, partner_certificate, use_password
from xinqiao.cli.output import as_json, say
from xinqiao.cli.tables import table
from xinqiao.cli.texts import Texts
from xinqiao.config.settings import Gateway
from xinqiao.contract.clock import Clock, SystemClock
from xinqiao.contract.errors import Refusal
from xinqiao.journal.signing import create_signing_key, load_signing_key, public_key_pem
from xinqiao.server.pki import Authority, write_private
from xinqiao.store.keys import KeyStore
from xinqiao.store.migrate import upgrade

Made = tuple[str, Path, bool]
"""What it is, its path, and whether this call created it."""


def make_keys(texts: Texts, config: Path, *, json: bool) -> int:
    """Create what is missing of the deployment's keys and say what was created and what was kept."""
    settings = load_settings(texts, config)
    made = create_missing(texts, settings, SystemClock())
    created = sum(new for _, _, new in made)
    if json:
        as_json([{"what": what, "file": str(path), "created": new} for what, path, new in made])
    else:
        headings = [texts("col.what"), texts("col.file"), texts("col.state")]
        table(headings, [(what, path, texts("created" if new else "kept")) for what, path, new in made])
        say(texts("keys.done", created=created, kept=len(made) - created))
    return 0


def create_missing(texts: Texts, settings: Gateway, clock: Clock) -> list[Made]:
    """Create the keys and certificates that ``settings`` name and that do not exist; never replace one.

    Raises Refusal when a certificate is missing and the authority that would sign it is not here.
    """
    master = _master_key(texts, settings) if settings.store.key_provider == "file" else ()
    return [*master, *_signing_keys(texts, settings), *_certificates(texts, settings, clock)]


def _master_key(texts: Texts, settings: Gateway) -> Iterator[Made]:
    keyring = settings.store.keyring
    path = next(iter(sorted(keyring.glob("kek*"))), keyring / "kek")
    new = not path.exists()
    if new:
        KeyStore.create(keyring)
    yield texts("keys.kek"), path, new


def _signing_keys(texts: Texts, settings: Gateway) -> Iterator[Made]:
    yield from _signing_pair(texts, "keys.journal", settings.journal.signing_key, journal_public_key(settings))
    if settings.document_key is not None:
        yield from _signing_pair(
            texts, "keys.document", settings.document_key, document_public_key(settings.document_key)
        )


def _signing_pair(texts: Texts, key: str, path: Path, public: Path) -> Iterator[Made]:
    new = not path.exists()
    if new:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        create_signing_key(path)
    yield texts(key), path, new
    new = not public.exists()
    if new:
        _write_new(public, public_key_pem(load_signing_key(path)))
    yield texts(f"{key}_public"), public, new


def _certificates(texts: Texts, settings: Gateway, clock: Clock) -> Iterator[Made]:
    tls = settings.server.tls
    first = next(iter(settings.partners.values()))
    domain = first.spiffe.removeprefix("spiffe://").partition("/")[0]
    gateway = texts("keys.gateway"), tls.certificate, tls.key, f"spiffe://{domain}/gateway", ("localhost",)
    wanted: list[tuple[str, Path, Path, str, tuple[str, ...]]] = [gateway]
    for name, partner in settings.partners.items():
        certificate, key = partner_certificate(settings, name)
        wanted.append((texts("keys.partner", name=name), certificate, key, partner.spiffe, ()))
    authority = _authority(texts, settings, clock, any(not certificate.exists() for _, certificate, *_ in wanted))
    yield texts("keys.ca"), tls.ca, authority is not None and authority[1]
    for what, certificate, key, uri, dns in wanted:
        new = not certificate.exists()
        if new and authority is not None:
            pem, private = authority[0].issue(certificate.stem, uris=(uri,), dns=dns)
            write_private(key, private)
            _write_new(certificate, pem)
        yield what, certificate, new


def _authority(texts: Texts, settings: Gateway, clock: Clock, needed: bool) -> tuple[Authority, bool] | None:
    """The deployment's own authority and whether it was founded now; None when nothing is to be signed."""
    if not needed:
        return None
    tls = settings.server.tls
    folder, key = tls.ca.parent, tls.ca.parent / "ca.key"
    if tls.ca.exists() != key.exists() or tls.ca.name != "ca.pem":
        raise Refusal("FAILED_PRECONDITION", "CONFIG", texts("keys.no_ca", file=key if tls.ca.exists() else tls.ca))
    new = not key.exists()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return Authority(folder, clock), new


def _write_new(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def upgrade_databases(texts: Texts, config: Path) -> int:
    """Bring both databases to this program's schema."""
    settings = load_settings(texts, config)
    use_password(settings)
    upgrade(settings.store.url, settings.store.keys_url)
    say(texts("db.done"))
    return 0
