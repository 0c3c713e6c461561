"""What every command that reads gateway.yaml needs: the settings, and where their certificates lie."""

import os
from pathlib import Path

from xinqiao.adapters.host import AdapterHost
from xinqiao.cli.texts import Texts
from xinqiao.config.bundle import Bundle, named_adapters
from xinqiao.config.document import read_document
from xinqiao.config.settings import Gateway
from xinqiao.contract.errors import Refusal


def load_bundle(texts: Texts, config: Path, host: AdapterHost | None = None) -> Bundle:
    """The configuration at ``config``, its settings parsed. Raises ConfigError, and Refusal when there is no file."""
    return load_node(texts, config, host)[0]


def load_node(texts: Texts, config: Path, host: AdapterHost | None = None) -> tuple[Bundle, AdapterHost]:
    """As :func:`load_bundle`, with the plugins that were loaded for it: those it names, where there is no ``host``."""
    if not config.exists():
        raise Refusal("NOT_FOUND", "CONFIG", texts("no_config", file=config))
    document = read_document(config)
    host = host or AdapterHost.load(named_adapters(document))
    bundle = Bundle(document, host.settings_models())
    _ = bundle.gateway
    return bundle, host


def load_settings(texts: Texts, config: Path) -> Gateway:
    """As :func:`load_bundle`, the gateway's own settings."""
    return load_bundle(texts, config).gateway


def use_password(settings: Gateway) -> None:
    """Hand PostgreSQL's password to its client library, which reads PGPASSWORD; it never enters a URL."""
    if settings.store.password is not None:
        os.environ["PGPASSWORD"] = settings.store.password.reveal()


def partner_certificate(settings: Gateway, partner: str) -> tuple[Path, Path]:
    """Certificate and private key that `xinqiao keys init` made for ``partner``."""
    folder = settings.server.tls.ca.parent / "partners"
    return folder / f"{partner}.pem", folder / f"{partner}.key"


def journal_public_key(settings: Gateway) -> Path:
    """Where `xinqiao keys init` puts the public half of the journal's key."""
    return settings.journal.signing_key.with_suffix(".pub")


def document_public_key(key: Path) -> Path:
    """Where `xinqiao keys init` puts the public half of the key that signs notices: for hospitals to verify offline."""
    return key.with_suffix(".pub")
