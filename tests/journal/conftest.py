"""What the tests of the journal share: the signer's key, rows in a store, and an administrator who tampers with them."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import create_engine

from xinqiao.journal.append import append
from xinqiao.journal.entry import Entry
from xinqiao.journal.signing import public_key_pem
from xinqiao.store.engine import Store
from xinqiao.store.readonly import open_journal

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = KEY.public_key()


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    path = tmp_path / "signer.pub.pem"
    path.write_bytes(public_key_pem(KEY))
    return path


def add(store: Store, count: int, reason: str = "R") -> list[Entry]:
    """``count`` rows in one command, so all on one chain."""
    return store.run(lambda tx: [append(tx, kind="TEST", decision="PERMIT", actor="a", reason=reason)
                                 for _ in range(count)])  # fmt: skip


def stored(url: str) -> list[Entry]:
    with open_journal(url) as journal:
        return [Entry._make(row) for row in journal.rows()]


def tamper(url: str, *statements: str) -> None:
    """Change the database as its administrator could: triggers first."""
    engine = create_engine(url)
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            names = (f"{table}_no_{what}" for table in ("journal", "checkpoints") for what in ("update", "delete"))
            drops = tuple(f"DROP TRIGGER IF EXISTS {name}" for name in names)
        else:
            drops = tuple(f"ALTER TABLE {table} DISABLE TRIGGER ALL" for table in ("journal", "checkpoints"))
        for statement in (*drops, *statements):
            connection.exec_driver_sql(statement)
    engine.dispose()
