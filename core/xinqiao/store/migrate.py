"""Schema versions: bring both databases to the one this program needs, and refuse to run on any other."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, Connection, MetaData, NullPool, create_engine, inspect, text

from xinqiao.store import tables
from xinqiao.store.databases import FileLock, make_engine, parse_url
from xinqiao.store.errors import SchemaMismatch

if TYPE_CHECKING:
    from alembic.config import Config

_SCRIPTS = Path(__file__).parent / "migrations"
_MIGRATION_LOCK = 0x58510001


def upgrade(url: str, keys_url: str) -> None:
    """Create or migrate both databases. Raises ``StoreBusy`` while a gateway runs on them, ``SchemaMismatch`` when
    one of them is newer than this program."""
    records, keys = parse_url(url, "records"), parse_url(keys_url, "key")
    with FileLock(records, "records"), FileLock(keys, "key"):
        upgrade_locked(records, keys)


def upgrade_locked(records: URL, keys: URL) -> None:
    """As :func:`upgrade`, for a caller that holds the locks. What it leaves fits this program."""
    _upgrade(records, "records", tables.metadata, tables.SCHEMA_VERSION)
    _upgrade(keys, "keys", tables.key_metadata, tables.KEY_SCHEMA_VERSION)


def current(url: str) -> str | None:
    """The schema version of the database, or None when it has none yet."""
    return _current(parse_url(url, "records"))


def check(url: str) -> None:
    """Raises ``SchemaMismatch``, with both versions, unless the records database fits this program."""
    check_records(parse_url(url, "records"))


def check_records(url: URL) -> None:
    """As :func:`check`."""
    _check("records", _current(url), tables.SCHEMA_VERSION)


def check_keys(url: URL) -> None:
    """As :func:`check`, for the key database."""
    _check("key", _current(url), tables.KEY_SCHEMA_VERSION)


def script_config(place: str) -> "Config":
    """Alembic's configuration for ``records`` or ``keys``; without an ini file."""
    # Here and below: a gateway whose databases are up to date starts without Alembic, faster and smaller.
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", _escape(_SCRIPTS))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", _escape(_SCRIPTS / place))
    return config


def _upgrade(url: URL, place: str, metadata: MetaData, wanted: str) -> None:
    found = _current(url)
    if found is not None and found > wanted:
        raise SchemaMismatch(place, found, wanted)
    if found == wanted:
        return
    from alembic import command

    engine = make_engine(url, "migration")
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (_MIGRATION_LOCK,))
            config = script_config(place)
            config.attributes["connection"] = connection
            config.attributes["metadata"] = metadata
            config.attributes["found"] = found
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def _check(what: str, found: str | None, wanted: str) -> None:
    if found != wanted:
        raise SchemaMismatch(what, found, wanted)


def _current(url: URL) -> str | None:
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return None
    engine = create_engine(url, poolclass=NullPool)
    try:
        with engine.connect() as connection:
            return _version(connection)
    finally:
        engine.dispose()


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _escape(path: Path) -> str:
    return str(path).replace("%", "%%")
