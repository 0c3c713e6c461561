"""Schema versions: migrated equals declared, and no other version is run on."""

from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, inspect, make_url

from xinqiao.contract.clock import ManualClock
from xinqiao.store import tables as t
from xinqiao.store.databases import make_engine
from xinqiao.store.engine import open_store
from xinqiao.store.errors import SchemaMismatch
from xinqiao.store.migrate import check, current, script_config, upgrade

_TRIGGERS = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' ORDER BY name",
    "postgresql": "SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY tgname",
}


def _shape(url: str, metadata: MetaData, *, create: bool) -> dict[str, Any]:
    """Differences to the declared tables, checks and triggers of a migrated or freshly created database."""
    engine = make_engine(make_url(url), "migration")
    with engine.begin() as connection:
        if create:
            metadata.drop_all(connection)
            connection.exec_driver_sql("DROP TABLE alembic_version")
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("DROP FUNCTION IF EXISTS journal_append_only()")
            metadata.create_all(connection)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        looker = inspect(connection)
        shape = {
            "differences": compare_metadata(context, metadata),
            "checks": {name: looker.get_check_constraints(name) for name in metadata.tables},
            "uniques": {name: looker.get_unique_constraints(name) for name in metadata.tables},
            "triggers": [tuple(row) for row in connection.exec_driver_sql(_TRIGGERS[connection.dialect.name])],
        }
    engine.dispose()
    return shape


def test_the_migrated_records_equal_the_declared_ones(store_url: str) -> None:
    migrated = _shape(store_url, t.metadata, create=False)
    assert migrated["differences"] == []
    assert len(migrated["triggers"]) == 4  # of the journal and of its checkpoints
    assert migrated == _shape(store_url, t.metadata, create=True)


def test_an_index_of_some_rows_only_is_that_in_every_database(store_url: str) -> None:
    engine = make_engine(make_url(store_url), "migration")
    dialect, looker = engine.dialect.name, inspect(engine)
    declared = {
        index.name: str(index.dialect_options["sqlite"]["where"])
        for table in t.metadata.tables.values()
        for index in table.indexes
        if index.dialect_options["sqlite"]["where"] is not None
    }
    found = {
        index["name"]: str(index["dialect_options"][f"{dialect}_where"]).strip("()")
        for name in t.metadata.tables
        for index in looker.get_indexes(name)
        if index.get("dialect_options", {}).get(f"{dialect}_where") is not None
    }
    engine.dispose()
    assert declared
    assert found == declared


def test_the_migrated_keys_equal_the_declared_ones(keys_url: str) -> None:
    migrated = _shape(keys_url, t.key_metadata, create=False)
    assert migrated["differences"] == []
    assert migrated == _shape(keys_url, t.key_metadata, create=True)


@pytest.mark.parametrize(("place", "version"), [("records", t.SCHEMA_VERSION), ("keys", t.KEY_SCHEMA_VERSION)])
def test_the_declared_version_is_the_newest_script(place: str, version: str) -> None:
    assert ScriptDirectory.from_config(script_config(place)).get_current_head() == version


def test_upgrading_again_changes_nothing(store_urls: tuple[str, str]) -> None:
    assert current(store_urls[0]) == t.SCHEMA_VERSION
    upgrade(*store_urls)
    check(store_urls[0])
    assert current(store_urls[0]) == t.SCHEMA_VERSION


def test_a_store_without_schema_is_refused_unless_migration_is_asked_for(
    tmp_path: Path, keyring_dir: Path, clock: ManualClock
) -> None:
    urls = f"sqlite:///{tmp_path / 'new.db'}", f"sqlite:///{tmp_path / 'newkeys.db'}"
    assert current(urls[0]) is None
    with pytest.raises(SchemaMismatch, match="no schema yet"):
        open_store(*urls, keyring_dir, clock)
    open_store(*urls, keyring_dir, clock, migrate=True).close()
    open_store(*urls, keyring_dir, clock).close()


@pytest.mark.parametrize(("found", "word"), [("0000", "older schema 0000"), ("9999", "newer schema 9999")])
@pytest.mark.parametrize("which", [0, 1])
def test_another_schema_version_is_refused_naming_both(
    store_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock, found: str, word: str, which: int
) -> None:
    engine = make_engine(make_url(store_urls[which]), "migration")
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{found}'")
    engine.dispose()
    with pytest.raises(SchemaMismatch, match=f"{word}.*{(t.SCHEMA_VERSION, t.KEY_SCHEMA_VERSION)[which]}"):
        open_store(*store_urls, keyring_dir, clock)


def test_a_newer_schema_is_never_migrated(store_urls: tuple[str, str]) -> None:
    engine = make_engine(make_url(store_urls[0]), "migration")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(SchemaMismatch, match="newer"):
        upgrade(*store_urls)
    assert current(store_urls[0]) == "9999"


def test_migrating_under_a_running_gateway_is_refused(
    sqlite_urls: tuple[str, str], keyring_dir: Path, clock: ManualClock
) -> None:
    store = open_store(*sqlite_urls, keyring_dir, clock)
    with pytest.raises(Exception, match="already running"):
        upgrade(*sqlite_urls)
    store.close()


def test_who_had_left_before_is_counted_from_the_last_change(store_url: str) -> None:
    engine = make_engine(make_url(store_url), "migration")
    rows = [("stayed", "0", 5), ("left", "1", 7)]
    with engine.begin() as connection:
        config = script_config("records")
        config.attributes.update(connection=connection, metadata=t.metadata, found=t.SCHEMA_VERSION)
        command.downgrade(config, "0014")
        for name, state, changed_us in rows:
            connection.exec_driver_sql(
                "INSERT INTO students (id, school, district, state, created_us, updated_us, version, sealed)"
                f" VALUES ('{name}', '', '', '{state}', 1, {changed_us}, 1, '')"
            )
        command.upgrade(config, "head")
        found = connection.exec_driver_sql("SELECT id, left_us FROM students ORDER BY id").all()
    engine.dispose()
    assert [tuple(row) for row in found] == [("left", 7), ("stayed", 0)]
