"""Ed25519 keys of the checkpoint signer: created and loaded as PEM files, the private one readable by its owner only."""

import os
from collections.abc import Iterable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)


class KeyFileError(ValueError):
    """A key file is absent, too open, or holds no Ed25519 key."""


def create_signing_key(path: Path) -> Ed25519PrivateKey:
    """Make a new key in a new file of mode 0600. Raises KeyFileError when the file exists: a key is never replaced."""
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise KeyFileError(f"{path}: exists already; move the old key away, its signatures stay valid") from None
    with os.fdopen(handle, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    return key


def load_signing_key(path: Path) -> Ed25519PrivateKey:
    """Read the signer's private key. Raises KeyFileError when absent, readable by others, or not Ed25519."""
    pem = _read(path)
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise KeyFileError(f"{path}: others can read this private key; run chmod 600 on it")
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyFileError(f"{path}: not an unencrypted PEM private key") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFileError(f"{path}: the checkpoint signer needs an Ed25519 key")
    return key


def public_key_pem(key: Ed25519PrivateKey | Ed25519PublicKey) -> bytes:
    """The public half of ``key`` as PEM, to hand to partners and auditors."""
    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def load_public_keys(where: Path | Iterable[Path]) -> tuple[Ed25519PublicKey, ...]:
    """Every public key of a folder (its ``*.pem`` files), of one file, or of a list of files.

    Raises KeyFileError when nothing is found or a file holds no Ed25519 public key.
    """
    if not isinstance(where, Path):
        paths = list(where)
    else:
        paths = sorted(where.glob("*.pem")) if where.is_dir() else [where]
    if not paths:
        raise KeyFileError("no public key given: name the signer's public key file (*.pem) or its folder")
    return tuple(_load_public(path) for path in paths)


def _load_public(path: Path) -> Ed25519PublicKey:
    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        if isinstance(error, KeyFileError):
            raise
        raise KeyFileError(f"{path}: not a PEM public key") from None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFileError(f"{path}: not an Ed25519 public key")
    return key


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read ({error.strerror})") from None
