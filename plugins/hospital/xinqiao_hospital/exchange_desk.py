"""The simulated hospital's side of the monthly exchange: checks a package and counter-signs it."""

import base64
import binascii
import hashlib
import os
import threading
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from google.protobuf.message import DecodeError

from xinqiao.api.exchange.v1.exchange_pb2 import Manifest, PackageItem, Receipt, RefusedItem
from xinqiao.contract.clock import Clock
from xinqiao_hospital.records import Records
from xinqiao_hospital.wire import Json, as_text


class PackageRefused(Exception):
    """A package is not taken; HTTP status and an UPPER_SNAKE reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class ExchangeDesk:
    """Takes packages. One receipt per manifest, for ever: a repeat is answered with the same bytes."""

    def __init__(self, folder: Path, records: Records, clock: Clock, gateway_key_pem: bytes | None) -> None:
        self._records = records
        self._clock = clock
        self._lock = threading.Lock()
        self._key = _own_key(folder / "receipt.key")
        self._gateway = None if gateway_key_pem is None else _public_key(gateway_key_pem)

    @property
    def key(self) -> Ed25519PrivateKey:
        """The hospital's own."""
        return self._key

    def public_key_pem(self) -> bytes:
        """The key that receipts verify with."""
        return self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def take(self, document: Json, request_id: str, refused: tuple[int, ...]) -> Json:
        """Check a package and sign its receipt. Raises PackageRefused."""
        manifest_bytes, signature, items = (_bytes(document, name) for name in ("manifest", "signature", "items"))
        digest = hashlib.sha256(manifest_bytes).digest()
        with self._lock:
            before = self._records.notes.get(f"request/{request_id}")
            if before is not None and before["manifest"] != digest.hex():
                raise PackageRefused(409, "KEY_REUSED")
            known = self._records.notes.get(f"receipt/{digest.hex()}")
            if known is not None and known["items"] == hashlib.sha256(items).hexdigest():
                return {"receipt": known["receipt"], "signature": known["signature"]}
            manifest = self._check(manifest_bytes, signature, items)
            receipt = Receipt(
                manifest_sha256=digest,
                accepted=manifest.items - len(refused),
                refused=[RefusedItem(ordinal=ordinal, reason="SIMULATED") for ordinal in refused],
                receive_time_us=self._clock.now_us(),
                checkpoint=manifest.checkpoint,
                checkpoints=manifest.checkpoints,
            ).SerializeToString(deterministic=True)
            answer: Json = {"receipt": _base64(receipt), "signature": _base64(self._key.sign(receipt))}
            self._records.note(f"receipt/{digest.hex()}", {**answer, "items": manifest.items_sha256.hex()})
            self._records.note(f"request/{request_id}", {"manifest": digest.hex()})
            return answer

    def _check(self, manifest_bytes: bytes, signature: bytes, items: bytes) -> Manifest:
        try:
            manifest = Manifest.FromString(manifest_bytes)
        except DecodeError:
            raise PackageRefused(400, "MANIFEST") from None
        if self._gateway is not None:
            try:
                self._gateway.verify(signature, manifest_bytes)
            except InvalidSignature:
                raise PackageRefused(422, "SIGNATURE") from None
        if hashlib.sha256(items).digest() != manifest.items_sha256:
            raise PackageRefused(422, "ITEMS_HASH")
        if _count(items) != manifest.items:
            raise PackageRefused(422, "ITEMS_COUNT")
        return manifest


def _count(items: bytes) -> int:
    """How many ``PackageItem``s there are, each behind its length as a varint."""
    at = count = 0
    while at < len(items):
        size, shift = 0, 0
        while True:
            if at >= len(items) or shift > 28:
                raise PackageRefused(422, "ITEMS_FORMAT")
            byte = items[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        try:
            PackageItem.FromString(items[at : at + size])
        except DecodeError:
            raise PackageRefused(422, "ITEMS_FORMAT") from None
        at += size
        count += 1
    if at != len(items):
        raise PackageRefused(422, "ITEMS_FORMAT")
    return count


def _own_key(path: Path) -> Ed25519PrivateKey:
    if path.exists():
        key = load_pem_private_key(path.read_bytes(), None)
        if not isinstance(key, Ed25519PrivateKey):
            raise TypeError(f"{path.name} is not an Ed25519 key")
        return key
    key = Ed25519PrivateKey.generate()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key


def _public_key(pem: bytes) -> Ed25519PublicKey:
    key = load_pem_public_key(pem)
    if not isinstance(key, Ed25519PublicKey):
        raise TypeError("the gateway's key is not an Ed25519 key")
    return key


def _bytes(document: Json, name: str) -> bytes:
    try:
        return base64.b64decode(as_text(document.get(name)), validate=True)
    except binascii.Error:
        raise PackageRefused(400, "BASE64") from None


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
