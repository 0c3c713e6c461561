"""Where the key-encryption keys are themselves protected: a key file, Vault's transit engine, or an installed driver.

A provider wraps only the few key-encryption keys. They lie wrapped in the key database and are opened once at the start,
so a provider that is down for an hour keeps no red case waiting, and no student's key costs a round trip.
"""

import base64
import binascii
import os
import re
import stat
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from xinqiao.contract.errors import Refusal

if TYPE_CHECKING:
    from xinqiao.config.settings import Store

KEY_BYTES: Final = 32
DRIVERS: Final = "xinqiao.key_providers"
"""Entry-point group of installed drivers (PKCS#11, SDF per GM/T 0018): a name and a callable that takes the settings of
``store.key_driver`` and gives a :class:`KeyProvider` which passes ``xinqiao.testing.key_providers``."""

_FILE = re.compile(r"kek(?:\.(?P<version>[1-9][0-9]{0,8}))?", re.ASCII)


class KeyProvider(Protocol):
    """Wraps keys of 32 bytes under a master key that it holds in versions, numbered from 1. Safe from any thread.

    Every method raises Refusal ``UNAVAILABLE/KEY_PROVIDER`` while the provider cannot be reached, and Refusal
    ``FAILED_PRECONDITION`` where repeating does not help: ``KEY_VERSION`` for a version that is not there (any more),
    ``KEY_FILE_MISMATCH`` for what this provider did not wrap under this version or what was changed since, or a more
    exact reason of its own, as for a file that is missing.
    """

    name: str
    """Kept beside what it wrapped: a key is opened by the provider of this name."""

    def wrap(self, version: int, key: bytes) -> bytes:
        """``key`` under this version of the master key."""
        ...

    def unwrap(self, version: int, wrapped: bytes) -> bytes:
        """What :meth:`wrap` was given."""
        ...

    def rotate(self) -> int:
        """Make a new version, durably, and return its number; the old ones still unwrap."""
        ...

    def destroy(self, version: int) -> None:
        """Destroy this version and all older ones for ever; harmless when repeated.

        Raises Refusal ``FAILED_PRECONDITION/KEY_VERSION_IN_USE`` for the newest version.
        """
        ...

    def health(self) -> list[int]:
        """The versions that can unwrap now, oldest first, asked afresh."""
        ...


class FileProvider:
    """The master key in files of the keyring folder, mode 0600: ``kek`` is version 1, ``kek.2`` the second.

    Wrapping is AES-KW (RFC 3394). Gateways that share a key database need the same files.
    """

    name = "file"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def wrap(self, version: int, key: bytes) -> bytes:
        return aes_key_wrap(self._read(version), key)

    def unwrap(self, version: int, wrapped: bytes) -> bytes:
        if not wrapped:  # before key schema 0002 the file itself was the key-encryption key
            return self._read(version)
        try:
            return aes_key_unwrap(self._read(version), wrapped)
        except InvalidUnwrap as error:
            raise mismatch() from error

    def rotate(self) -> int:
        versions = self.health()
        version = versions[-1] + 1 if versions else 1
        create_key_file(self._path(version))
        return version

    def destroy(self, version: int) -> None:
        versions = self.health()
        if versions and version >= versions[-1]:
            raise in_use()
        for old in versions:
            if old <= version:
                path = self._path(old)
                with path.open("r+b") as file:  # an overwrite helps on plain disks; on flash only destroying it does
                    file.write(os.urandom(path.stat().st_size))
                    file.flush()
                    os.fsync(file.fileno())
                path.unlink()
        _sync_directory(self._folder)

    def health(self) -> list[int]:
        names = [_FILE.fullmatch(path.name) for path in self._folder.iterdir()] if self._folder.is_dir() else []
        versions = sorted(int(found["version"] or 1) for found in names if found is not None)
        if not versions:
            self._read(1)  # says which file is missing
        return versions

    def _path(self, version: int) -> Path:
        return self._folder / ("kek" if version == 1 else f"kek.{version}")

    def _read(self, version: int) -> bytes:
        return _read_key_file(self._path(version))


def provider_of(settings: "Store") -> KeyProvider:
    """The provider that the configuration names. Raises Refusal where it cannot be one."""
    if settings.key_provider == "file":
        return FileProvider(settings.keyring)
    if settings.vault is None:
        return installed_driver(str(settings.key_provider), settings.key_driver)
    from xinqiao.store.vault import VaultTransit  # the default starts without an HTTP client

    vault = settings.vault
    return VaultTransit(
        str(vault.address), vault.key, vault.token.reveal, mount=vault.mount, ca=vault.ca, namespace=vault.namespace
    )


def installed_driver(name: str, settings: Mapping[str, str]) -> KeyProvider:
    """The driver called ``name``. Raises Refusal ``FAILED_PRECONDITION/KEY_DRIVER`` where none is installed."""
    for found in entry_points(group=DRIVERS, name=name):
        make: Callable[[Mapping[str, str]], KeyProvider] = found.load()
        return make(settings)
    raise Refusal(
        "FAILED_PRECONDITION", "KEY_DRIVER",
        f"store.key_provider: no driver called `{name}` is installed. XinQiao itself has `file` and `vault`; a driver for"
        f" PKCS#11 or SDF is a distribution with an entry point `{name}` in the group `{DRIVERS}`",
    )  # fmt: skip


def create_key_file(path: Path) -> None:
    """Write a new key (32 random bytes, base64, mode 0600). Raises ``KEY_FILE_EXISTS``: never replaces one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Refusal(
            "FAILED_PRECONDITION", "KEY_FILE_EXISTS", f"{path} exists; replacing it would lose every record"
        ) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(os.urandom(KEY_BYTES)) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    _sync_directory(path.parent)


def mismatch() -> Refusal:
    """What was wrapped does not open."""
    return Refusal(
        "FAILED_PRECONDITION", "KEY_FILE_MISMATCH",
        "the master key did not wrap the keys in the key database; bring back the one that belongs to it",
    )  # fmt: skip


def in_use() -> Refusal:
    """The newest version wraps what comes next."""
    return Refusal(
        "FAILED_PRECONDITION", "KEY_VERSION_IN_USE", "the newest version of a master key stays; rotate first"
    )


def _read_key_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            content = file.read(1024)
    except FileNotFoundError as error:
        raise Refusal(
            "FAILED_PRECONDITION", "KEY_FILE_MISSING",
            f"{path} is missing; bring it back, or create a new keyring. Gateways that share the keys need the same files",
        ) from error  # fmt: skip
    if mode & 0o077:
        raise Refusal(
            "FAILED_PRECONDITION",
            "KEY_FILE_MODE",
            f"{path} has mode {mode:04o}: others on this machine can use it. Run: chmod 600 {path}",
        )
    try:
        key = base64.b64decode(content.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise Refusal("FAILED_PRECONDITION", "KEY_FILE_BROKEN", f"{path} must hold {KEY_BYTES} bytes in base64")
    return key


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
