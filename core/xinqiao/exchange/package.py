"""Packages and receipts: what one side signs, and what the other side signs back."""

import hashlib
import io
import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from google.protobuf.message import DecodeError

from xinqiao.api.exchange.v1.exchange_pb2 import Manifest, Package, Receipt, SignedReceipt
from xinqiao.contract.errors import Refusal

VERSION: Final = 1
_REASON: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}", re.ASCII)
_MAX_VARINT: Final = 10


class Items(NamedTuple):
    """The items of a package: their bytes, the SHA-256 of these, and how many there are."""

    data: bytes
    sha256: bytes
    number: int


class ItemWriter:
    """Collects serialized `PackageItem`s, each behind its length as a varint.

    One growing buffer, hashed as it grows: the only whole copy beside the package itself. Not a temporary file, which
    would put what is sealed in the store on a disk in clear text.
    """

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._digest = hashlib.sha256()
        self._count = 0

    def add(self, item: bytes) -> None:
        """Append one serialized item."""
        for part in (_varint(len(item)), item):
            self._buffer.write(part)
            self._digest.update(part)
        self._count += 1

    def add_all(self, items: Iterable[bytes]) -> None:
        """Append many, in their order."""
        for item in items:
            self.add(item)

    def done(self) -> Items:
        """Everything added so far."""
        return Items(self._buffer.getvalue(), self._digest.digest(), self._count)


def read_items(data: bytes) -> list[bytes]:
    """The serialized items in a package's bytes. Raises Refusal INVALID_ARGUMENT/PACKAGE when they are cut short."""
    found: list[bytes] = []
    at = 0
    while at < len(data):
        size, at = _read_varint(data, at)
        if at + size > len(data):
            raise _broken()
        found.append(data[at : at + size])
        at += size
    return found


def package_name(exchange: str, period: str, revision: int, part: int = 0) -> str:
    """`exchange-period-rN`, safe as a file name; `-pN` behind it for a part."""
    return f"{exchange}-{period}-r{revision}" + (f"-p{part}" if part else "")


def make_package(manifest: bytes, items: bytes, key: Ed25519PrivateKey) -> Package:
    """Sign ``manifest``, a serialized `Manifest`, as it is. Ed25519 is deterministic: a repeat is byte-identical."""
    read = Manifest.FromString(manifest)
    return Package(
        manifest=manifest,
        signature=key.sign(manifest),
        name=package_name(read.exchange, read.period, read.revision, read.part),
        items=items,
    )


def read_receipt(signed: SignedReceipt, public_key_pem: bytes) -> Receipt:
    """What the partner signed.

    Raises Refusal FAILED_PRECONDITION with RECEIPT_KEY (the pinned key is no Ed25519 public key), RECEIPT_SIGNATURE
    or RECEIPT_MALFORMED.
    """
    try:
        key = load_pem_public_key(public_key_pem)
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise _refuse("RECEIPT_KEY", "the partner's receipt_key is no Ed25519 public key in PEM")
    try:
        key.verify(signed.signature, signed.receipt)
    except InvalidSignature:
        raise _refuse("RECEIPT_SIGNATURE", "the receipt is not signed with the partner's pinned key") from None
    try:
        return Receipt.FromString(signed.receipt)
    except DecodeError:
        raise _refuse("RECEIPT_MALFORMED", "what the partner signed is no Receipt") from None


def check_receipt(manifest: bytes, signed: SignedReceipt, public_key_pem: bytes) -> Receipt:
    """The partner's receipt for exactly this package; ``manifest`` is the bytes that were sent.

    Raises Refusal FAILED_PRECONDITION as `read_receipt` does, and with RECEIPT_MANIFEST (another package),
    RECEIPT_CHECKPOINT (the checkpoint is not echoed), RECEIPT_ITEMS (an item refused twice, or one that was not in
    it) or RECEIPT_COUNT (accepted and refused are not what was sent).
    """
    receipt = read_receipt(signed, public_key_pem)
    sent = Manifest.FromString(manifest)
    if receipt.manifest_sha256 != hashlib.sha256(manifest).digest():
        raise _refuse("RECEIPT_MANIFEST", "the receipt is for another package")
    if receipt.checkpoint != sent.checkpoint or (receipt.checkpoints and receipt.checkpoints != sent.checkpoints):
        raise _refuse("RECEIPT_CHECKPOINT", "the receipt does not echo the manifest's checkpoint")
    ordinals = [item.ordinal for item in receipt.refused]
    if len(set(ordinals)) != len(ordinals) or any(not 0 <= ordinal < sent.items for ordinal in ordinals):
        raise _refuse("RECEIPT_ITEMS", "the receipt refuses an item twice, or one that was not in the package")
    if receipt.accepted != sent.items - len(ordinals):
        raise _refuse("RECEIPT_COUNT", "accepted and refused items of the receipt are not what was sent")
    return receipt


def partner_reason(reason: str) -> str:
    """A partner's reason word, or OTHER for anything that is no such word: free text could hold personal data."""
    return reason if _REASON.fullmatch(reason) else "OTHER"


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_MAX_VARINT):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at
    raise _broken()


def _broken() -> Refusal:
    return Refusal("INVALID_ARGUMENT", "PACKAGE", "the package's items are cut short or have a bad length")


def _refuse(reason: str, message: str) -> Refusal:
    return Refusal("FAILED_PRECONDITION", reason, message)
