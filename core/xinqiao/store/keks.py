"""The key-encryption keys: in versions, opened once by their provider, then held in memory to wrap and unwrap the rest."""

import logging
import os
from array import array
from collections.abc import Sequence
from typing import NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap
from sqlalchemy import Connection, select, update

from xinqiao.contract.errors import Refusal
from xinqiao.store.providers import KEY_BYTES, KeyProvider, mismatch
from xinqiao.store.statements import Statements
from xinqiao.store.tables import keks

LEGACY = 0
"""The version of what the key file itself wrapped, before key schema 0002."""

_log = logging.getLogger(__name__)
_IN_USE = select(keks).where(keks.c.retired_us == 0).order_by(keks.c.version)
# FOR SHARE on PostgreSQL: whoever retires a version waits for those who are about to wrap under it.
_NEWEST = (
    select(keks.c.version).where(keks.c.retired_us == 0).order_by(keks.c.version.desc()).limit(1)
).with_for_update(read=True)


class NewKek(NamedTuple):
    """A key-encryption key that is not stored yet."""

    provider: str
    provider_version: int
    key: bytes
    wrapped: bytes


class Keks:
    """Every version that is not retired. Not locked: the key store calls it under its own lock."""

    def __init__(self, provider: KeyProvider, others: Sequence[KeyProvider]) -> None:
        """``provider`` wraps new versions; ``others`` open what they wrapped before."""
        self.provider = provider
        self._providers = {each.name: each for each in (*others, provider)}
        self._keys: dict[int, bytes] = {}

    @property
    def providers(self) -> list[KeyProvider]:
        """All of them."""
        return list(self._providers.values())

    @property
    def versions(self) -> list[int]:
        """The versions in memory, oldest first."""
        return sorted(self._keys)

    @property
    def legacy(self) -> bytes | None:
        """The key file's own bytes, while something may still be wrapped by them."""
        return self._keys.get(LEGACY)

    def load(self, connection: Connection) -> None:
        """Learn new versions and forget retired ones. Raises the provider's Refusals, and ``KEY_DRIVER``."""
        rows = connection.execute(_IN_USE).mappings().all()
        for row in rows:
            if row["version"] not in self._keys:
                provider = self._providers.get(row["provider"])
                if provider is None:
                    raise _no_provider(str(row["provider"]))
                self._keys[row["version"]] = provider.unwrap(row["provider_version"], bytes(row["wrapped"]))
        for version in self._keys.keys() - {row["version"] for row in rows}:
            del self._keys[version]

    def make(self, provider_version: int) -> NewKek:
        """A new key, wrapped by the provider, which has shown that it can open it again."""
        key = os.urandom(KEY_BYTES)
        wrapped = self.provider.wrap(provider_version, key)
        if self.provider.unwrap(provider_version, wrapped) != key:
            raise mismatch()
        return NewKek(self.provider.name, provider_version, key, wrapped)

    def store(self, connection: Connection, statements: Statements, new: NewKek, now_us: int) -> int:
        """Keep ``new`` as the newest version: from the commit on it wraps. Another gateway may have been faster with the
        version that is returned; :meth:`load` learns whose it is."""
        version = max(self._keys, default=LEGACY) + 1
        values = (version, new.provider, new.provider_version, new.wrapped, now_us, 0)
        connection.exec_driver_sql(statements.insert_if_absent(keks), values)
        return version

    def current(self, connection: Connection) -> int:
        """The version that wraps, in the transaction that stores what is wrapped: it cannot be retired before that."""
        version = int(connection.execute(_NEWEST).scalar_one())
        if version not in self._keys:
            self.load(connection)
        return version

    def wrap(self, version: int, key: bytes) -> bytes:
        """AES-KW (RFC 3394) under a version that :meth:`current` gave."""
        return aes_key_wrap(self._keys[version], key)

    def wrap_all(self, version: int, keys: bytes) -> list[bytes]:
        """As :meth:`wrap`, of many keys laid end to end."""
        return wrap_all(self._keys[version], keys)

    def unwrap(self, connection: Connection, version: int, wrapped: bytes) -> bytes:
        """Raises Refusal ``KEY_VERSION`` under a retired version, ``KEY_FILE_MISMATCH``."""
        if version not in self._keys:
            self.load(connection)
        kek = self._keys.get(version)
        if kek is None:
            raise Refusal(
                "FAILED_PRECONDITION", "KEY_VERSION",
                f"a key is wrapped under key-encryption key {version}, which is retired: it comes from an older copy of the"
                " key database",
            )  # fmt: skip
        try:
            return aes_key_unwrap(kek, wrapped)
        except InvalidUnwrap as error:
            raise mismatch() from error

    def rewrap(self, old: int, new: int, wrapped: bytes) -> bytes:
        """The same key under version ``new``. What does not open stays as it is, and stays without effect: one damaged
        row must not hold up a rotation for ever."""
        try:
            return aes_key_wrap(self._keys[new], aes_key_unwrap(self._keys[old], wrapped))
        except InvalidUnwrap:
            _log.error("a wrapped key does not open under key-encryption key %d and is left as it is", old)
            return wrapped

    def retire(self, connection: Connection, below: int, now_us: int) -> None:
        """Nothing is wrapped under the versions below ``below`` any more: they open nothing from now on."""
        older = (keks.c.version < below) & (keks.c.retired_us == 0)
        connection.execute(update(keks).where(older).values(retired_us=now_us))


def wrap_all(kek: bytes, keys: bytes) -> list[bytes]:
    """AES Key Wrap (RFC 3394) of many 256-bit keys laid end to end, all in one pass: a quarter of the time."""
    count = len(keys) // KEY_BYTES
    words = array("Q", keys)
    first, rest = array("Q", b"\xa6" * 8 * count), [words[at::4] for at in range(4)]
    blocks = array("Q", bytes(16 * count))
    cipher = Cipher(AES(kek), modes.ECB()).encryptor()  # noqa: S305 - RFC 3394 is made of single blocks
    for step in range(24):
        blocks[0::2], blocks[1::2] = first, rest[step % 4]
        enciphered = array("Q", cipher.update(blocks.tobytes()))
        counted = int.from_bytes((step + 1).to_bytes(8, "big") * count, "big")
        first = array("Q", (int.from_bytes(enciphered[0::2].tobytes(), "big") ^ counted).to_bytes(8 * count, "big"))
        rest[step % 4] = enciphered[1::2]
    whole = array("Q", bytes(40 * count))
    for at, column in enumerate((first, *rest)):
        whole[at::5] = column
    wrapped = whole.tobytes()
    return [wrapped[at : at + 40] for at in range(0, len(wrapped), 40)]


def _no_provider(name: str) -> Refusal:
    return Refusal(
        "FAILED_PRECONDITION", "KEY_DRIVER",
        f"store.key_provider: the keys are still wrapped by `{name}`; set it, or rotate the keys before it is left",
    )  # fmt: skip
