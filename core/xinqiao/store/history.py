"""Stored records beside a running gateway: read with its keys, in short snapshots, by a process that cannot write."""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from xinqiao.contract.clock import Clock
from xinqiao.store.databases import make_engine, parse_url
from xinqiao.store.keys import KeyStore
from xinqiao.store.migrate import check_keys, check_records
from xinqiao.store.providers import KeyProvider
from xinqiao.store.statements import Statements
from xinqiao.store.tx import ReadTx


class Snapshots(Protocol):
    """Gives snapshots; a ``Store`` does, and so does ``History``."""

    def read(self) -> AbstractContextManager[ReadTx]: ...


class History:
    """The records and keys of a node, for reading only."""

    def __init__(
        self, url: str, keys_url: str, keyring_dir: Path, clock: Clock, provider: KeyProvider | None = None
    ) -> None:
        """Raises SchemaMismatch, and Refusals about the URLs and the key file."""
        records = parse_url(url, "records")
        check_records(records)
        check_keys(parse_url(keys_url, "key"))
        self.keys = KeyStore(keyring_dir, keys_url, clock, read_only=True, provider=provider)
        self._clock = clock
        self._engine = make_engine(records, "reader", readers=1)
        self._statements = Statements(self._engine.dialect)

    @contextmanager
    def read(self) -> Generator[ReadTx, None, None]:
        """A snapshot. Keep it short: on SQLite the gateway's log cannot be cut below an open one."""
        with self._engine.connect() as connection, connection.begin():
            yield ReadTx(connection, self._statements, self._clock.now_us())

    def close(self) -> None:
        """Disconnect and forget the keys."""
        self._engine.dispose()
        self.keys.close()
