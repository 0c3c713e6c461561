"""Sealed records: authenticated encryption under a student's own key, bound to the place where the record lies.

Blob: format 1 (u8), suite (u8), key version (u16), nonce (12 bytes), ciphertext with its 16-byte tag. The associated
data names table, student, record key, suite and key version, each with its length, so that a blob moved to another
row, table or student no longer opens. Suite 1 is AES-256-GCM (NIST SP 800-38D), suite 2 is SM4-GCM (RFC 8998).
"""

import hmac
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from google.protobuf.message import DecodeError, Message

from xinqiao.store.errors import SealBroken
from xinqiao.store.ids import random_bytes

M = TypeVar("M", bound=Message)

AES_256_GCM = 1
SM4_GCM = 2
SUITES = (AES_256_GCM, SM4_GCM)

_FORMAT = 1
_HEADER = struct.Struct(">BBH")
_NONCE = 12
_TAG = 16
_SHORTEST = _HEADER.size + _NONCE + _TAG
_LENGTH = struct.Struct(">I")


class Aead(Protocol):
    """What AESGCM offers; the ciphertext carries its tag at the end."""

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...
    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes: ...


class Sm4Gcm:
    """SM4 in Galois/Counter mode with the interface of ``AESGCM``; ``key`` has 16 bytes (RFC 8998)."""

    def __init__(self, key: bytes) -> None:
        self._algorithm = SM4(key)

    def encrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        encryptor = Cipher(self._algorithm, modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(associated_data or b"")
        return encryptor.update(data) + encryptor.finalize() + encryptor.tag

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """Raises ``InvalidTag``."""
        decryptor = Cipher(self._algorithm, modes.GCM(nonce, data[-_TAG:])).decryptor()
        decryptor.authenticate_additional_data(associated_data or b"")
        return decryptor.update(data[:-_TAG]) + decryptor.finalize()


class Sealer:
    """Seals and opens the records of one student; holds the unwrapped keys, so never log or store it."""

    __slots__ = ("_aeads", "_committing", "_prefixes", "_sealing", "_student", "_suites", "_version")

    def __init__(self, student: str, keys: Mapping[int, tuple[int, bytes]]) -> None:
        """``keys``: suite and 32-byte data key by key version. The highest version seals, every version opens."""
        self._student = _field(student.encode())
        self._aeads: dict[int, Aead] = {version: _aead(suite, key) for version, (suite, key) in keys.items()}
        self._suites = {version: suite for version, (suite, _) in keys.items()}
        self._version = max(keys)
        # Always the first key: a commitment in the journal must stay provable after a new key version.
        self._committing: bytes | HMAC = keys[min(keys)][1]
        self._prefixes: dict[tuple[str, int], bytes] = {}
        self._sealing: dict[str, tuple[Callable[[bytes, bytes, bytes], bytes], bytes, bytes]] = {}

    def seal(self, plaintext: bytes, *, table: str, key: str) -> bytes:
        """The sealed form of ``plaintext``, to be stored in ``table`` under the record key ``key``."""
        known = self._sealing.get(table)
        if known is None:
            version = self._version
            header = _HEADER.pack(_FORMAT, self._suites[version], version)
            known = self._sealing[table] = (self._aeads[version].encrypt, header, self._prefix(table, version))
        encrypt, header, prefix = known
        nonce = random_bytes(_NONCE)
        return header + nonce + encrypt(nonce, plaintext, prefix + key.encode())

    def open(self, blob: bytes, *, table: str, key: str) -> bytes:
        """What was sealed. Raises :class:`SealBroken` when altered, moved, or sealed under an unknown key version."""
        if len(blob) < _SHORTEST:
            raise SealBroken("it is too short")
        form, suite, version = _HEADER.unpack_from(blob)
        if form != _FORMAT:
            raise SealBroken("it has an unknown format")
        if self._suites.get(version) != suite:
            raise SealBroken("its key version and suite do not belong together")
        start = _HEADER.size
        try:
            return self._aeads[version].decrypt(
                blob[start : start + _NONCE],
                blob[start + _NONCE :],
                self._prefix(table, version) + key.encode(),
            )
        except InvalidTag as error:
            raise SealBroken("it was altered or lies in another place") from error

    def record(self, kind: type[M], blob: bytes, *, table: str, key: str) -> M:
        """As :meth:`open`, read as a record. What this version cannot read is as good as broken: SealBroken too."""
        try:
            return kind.FromString(self.open(blob, table=table, key=key))
        except DecodeError:  # written by another version of this program
            raise SealBroken(f"it is no {kind.DESCRIPTOR.name} that this version can read") from None

    def commit(self, writer: str, seq: int, payload: bytes) -> bytes:
        """A keyed commitment to ``payload`` for one journal row: unlinkable and, once the key is gone, meaningless."""
        # Not hmac.digest: it lets go of the interpreter lock each time, which costs the writer more than the hash.
        if isinstance(self._committing, bytes):  # made when first needed: a roster's million sealers never commit
            self._committing = HMAC(self._committing, SHA256())
        derive = self._committing.copy()
        derive.update(b"journal" + _field(writer.encode()) + seq.to_bytes(8, "big"))
        commitment = HMAC(derive.finalize(), SHA256())
        commitment.update(payload)
        return commitment.finalize()

    def __repr__(self) -> str:
        return f"<Sealer version {self._version}>"

    def _prefix(self, table: str, version: int) -> bytes:
        prefix = self._prefixes.get((table, version))
        if prefix is None:
            place = _field(table.encode()) + self._student
            # The record key comes last, after everything of known length, so its own length needs no field.
            prefix = b"xinqiao\x01" + place + _HEADER.pack(_FORMAT, self._suites[version], version)
            self._prefixes[(table, version)] = prefix
        return prefix


def seal_first(
    records: Sequence[tuple[str, bytes]], version: int, suite: int, keys: Sequence[bytes], *, table: str
) -> list[bytes]:
    """The first record of many students, (student, plaintext) each, under the student's id and key.

    As ``Sealer(student, {version: (suite, key)}).seal``, where nothing else is sealed: a third of the time.
    """
    header, nonces = _HEADER.pack(_FORMAT, suite, version), random_bytes(_NONCE * len(records))
    place, sealed = b"xinqiao\x01" + _field(table.encode()), list[bytes]()
    for at, ((student, plaintext), key) in enumerate(zip(records, keys, strict=True)):
        nonce, name = nonces[_NONCE * at : _NONCE * (at + 1)], student.encode()
        about = place + _field(name) + header + name
        sealed.append(header + nonce + _aead(suite, key).encrypt(nonce, plaintext, about))
    return sealed


def _aead(suite: int, key: bytes) -> Aead:
    # Own keys per suite and apart from the commitments: one key never serves two algorithms.
    if suite == AES_256_GCM:
        return AESGCM(hmac.digest(key, b"seal aes-256-gcm", "sha256"))
    if suite == SM4_GCM:
        return Sm4Gcm(hmac.digest(key, b"seal sm4-gcm", "sha256")[:16])
    raise SealBroken(f"its key has the unknown suite {suite}")


def _field(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value
