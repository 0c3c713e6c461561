"""Sealed records: authenticated encryption under a student's own key, bound to the place where the record lies.

Blob: format 1 (u8), suite (u8), key version (u16), nonce (12 bytes), ciphertext with its 16-byte tag. The associated
data names table, student, record key, suite and key version, each with its length, so that a blob moved to another
row, table or student no longer opens. Suite 1 is AES-256-GCM (NIST SP 800-38D), suite 2 is SM4-GCM (RFC 8998).
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from typing import Protocol, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from google.protobuf.message import DecodeError, Message

from xinqiao.store.errors import SealBroken
from xinqiao.store.ids import new_nonce, random_bytes

M = TypeVar("M", bound=Message)

AES_256_GCM = 1
SM4_GCM = 2
SUITES = (AES_256_GCM, SM4_GCM)
SUITE_IDS = {"aes-256-gcm": AES_256_GCM, "sm4-gcm": SM4_GCM}
"""By the names of the configuration."""

_FORMAT = 1
_HEADER = struct.Struct(">BBH")
_NONCE = 12
_TAG = 16
_BODY = _HEADER.size
_SEALED = _BODY + _NONCE
_SHORTEST = _SEALED + _TAG
_LENGTH = struct.Struct(">I")
_BLOCK = 64  # of SHA-256, bytes
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


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

    __slots__ = ("_aead", "_header", "_keys", "_student", "_version")

    def __init__(self, student: str, keys: Mapping[int, tuple[int, bytes]], *, seals: int | None = None) -> None:
        """``keys``: suite and 32-byte data key by key version. Version ``seals`` (by default the highest) seals, every
        version opens."""
        # Whatever costs is made when first needed: a batch brings thousands of students, each for one or two records.
        self._student = _field(student.encode())
        self._keys = keys
        self._version = max(keys) if seals is None else seals
        self._header = _header(keys[self._version][0], self._version)
        self._aead: Aead | None = None

    def seal(self, plaintext: bytes, *, table: str, key: str) -> bytes:
        """The sealed form of ``plaintext``, to be stored in ``table`` under the record key ``key``."""
        aead, header = self._aead or self._cipher(), self._header
        nonce = new_nonce()
        # The record key comes last, after everything of known length, so its own length needs no field.
        about = _place(table) + self._student + header + key.encode()
        return header + nonce + aead.encrypt(nonce, plaintext, about)

    @staticmethod
    def seal_each(
        table: str, sealers: "Iterable[Sealer]", keys: Sequence[str], plaintexts: Iterable[bytes]
    ) -> list[bytes]:  # fmt: skip
        """As :meth:`seal` for many records of one table, each with its sealer and key, two thirds of the time."""
        place, nonces, sealed = _place(table), random_bytes(_NONCE * len(keys)), list[bytes]()
        for start, sealer, key, plaintext in zip(range(0, len(nonces), _NONCE), sealers, keys, plaintexts, strict=True):
            aead, header = sealer._aead or sealer._cipher(), sealer._header
            nonce = nonces[start : start + _NONCE]
            about = place + sealer._student + header + key.encode()
            sealed.append(header + nonce + aead.encrypt(nonce, plaintext, about))
        return sealed

    def open(self, blob: bytes, *, table: str, key: str) -> bytes:
        """What was sealed. Raises :class:`SealBroken` when altered, moved, or sealed under an unknown key version."""
        if len(blob) < _SHORTEST:
            raise SealBroken("it is too short")
        header = blob[:_BODY]
        aead = (self._aead or self._cipher()) if header == self._header else self._older(header)
        about = _place(table) + self._student + header + key.encode()
        try:
            return aead.decrypt(blob[_BODY:_SEALED], blob[_SEALED:], about)
        except InvalidTag as error:
            raise SealBroken("it was altered or lies in another place") from error

    def record(self, kind: type[M], blob: bytes, *, table: str, key: str) -> M:
        """As :meth:`open`, read as a record. What this version cannot read is as good as broken: SealBroken too."""
        message = kind()
        self.read(message, blob, table=table, key=key)
        return message

    def read(self, message: Message, blob: bytes, *, table: str, key: str) -> None:
        """As :meth:`record`, into ``message``, which may be a part of another."""
        data = self.open(blob, table=table, key=key)
        try:
            message.ParseFromString(data)
        except DecodeError:  # written by another version of this program
            raise SealBroken(f"it is no {message.DESCRIPTOR.name} that this version can read") from None

    def commit(self, writer: str, seq: int, payload: bytes) -> bytes:
        """A keyed commitment to ``payload`` for one journal row: unlinkable and, once the key is gone, meaningless."""
        # Always the first key: a commitment in the journal must stay provable after a new key version.
        first = self._keys[min(self._keys)][1]
        once = _hmac_sha256(first, b"journal" + _field(writer.encode()) + seq.to_bytes(8, "big"))
        return _hmac_sha256(once, payload)

    def __repr__(self) -> str:
        return f"<Sealer version {self._version}>"

    def _older(self, header: bytes) -> Aead:
        """The cipher of a version that no longer seals. Raises SealBroken for a header of nobody's."""
        form, suite, version = _HEADER.unpack(header)
        if form != _FORMAT:
            raise SealBroken("it has an unknown format")
        if version not in self._keys or self._keys[version][0] != suite:
            raise SealBroken("its key version and suite do not belong together")
        return _aead(suite, self._keys[version][1])

    def _cipher(self) -> Aead:
        """The cipher that seals, made and kept."""
        self._aead = _aead(*self._keys[self._version])
        return self._aead


def seal_first(
    records: Sequence[tuple[str, bytes]], version: int, suite: int, keys: Sequence[bytes], *, table: str
) -> list[bytes]:
    """The first record of many students, (student, plaintext) each, under the student's id and key.

    As ``Sealer(student, {version: (suite, key)}).seal``, where nothing else is sealed: a third of the time.
    """
    header, nonces = _header(suite, version), random_bytes(_NONCE * len(records))
    place, sealed = _place(table), list[bytes]()
    starts = range(0, len(nonces), _NONCE)
    for start, (student, plaintext), key in zip(starts, records, keys, strict=True):
        nonce, name = nonces[start : start + _NONCE], student.encode()
        about = place + _field(name) + header + name
        sealed.append(header + nonce + _aead(suite, key).encrypt(nonce, plaintext, about))
    return sealed


def _aead(suite: int, key: bytes) -> Aead:
    # Own keys per suite and apart from the commitments: one key never serves two algorithms.
    if suite == AES_256_GCM:
        return AESGCM(_hmac_sha256(key, b"seal aes-256-gcm"))
    if suite == SM4_GCM:
        return Sm4Gcm(_hmac_sha256(key, b"seal sm4-gcm")[:16])
    raise SealBroken(f"its key has the unknown suite {suite}")


def _hmac_sha256(key: bytes, data: bytes) -> bytes:
    """HMAC (RFC 2104) with SHA-256 under a key of at most 64 bytes.

    Not hmac.digest: it lets go of the interpreter lock each time, which costs the writer more than the hash, and takes
    three times as long by itself.
    """
    block = key.ljust(_BLOCK, b"\0")
    return sha256(block.translate(_OUTER) + sha256(block.translate(_INNER) + data).digest()).digest()


@cache
def _header(suite: int, version: int) -> bytes:
    return _HEADER.pack(_FORMAT, suite, version)


@cache
def _place(table: str) -> bytes:
    """How the associated data of a table's records begins."""
    return b"xinqiao\x01" + _field(table.encode())


def _field(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value
