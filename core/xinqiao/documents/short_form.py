"""The short form of a notice: what its QR code holds, signed, and with nothing in it that tells whom it is about.

``XQ1`` and Base32 of: version, first bytes of the key's hash, ten random bytes, day of issue, days in force, Ed25519
signature. No name, no school, no student: whoever finds the paper's code learns that some notice was issued on a day.
Upper-case Base32 is what a QR code packs tightest after digits.
"""

import base64
import binascii
import hashlib
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PREFIX = "XQ1"
_VERSION = 1
_BODY = struct.Struct(">B4s10sHH")
_SIGNATURE = 64
_DOMAIN = b"xinqiao notice short form v1\0"
_EPOCH = date(1970, 1, 1)
_NUMBERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford: nothing that a person reads as something else


@dataclass(frozen=True, slots=True)
class ShortForm:
    """What a genuine code says. ``serial`` is 20 hex digits; in force from ``issued`` to ``last_day`` inclusive."""

    serial: str
    issued: date
    days: int

    @property
    def last_day(self) -> date:
        """The last day on which it is in force."""
        return self.issued + timedelta(days=self.days)


def sign(form: ShortForm, key: Ed25519PrivateKey) -> str:
    """The text for the QR code."""
    body = _BODY.pack(
        _VERSION, _key_id(key.public_key()), bytes.fromhex(form.serial), (form.issued - _EPOCH).days, form.days
    )
    return PREFIX + base64.b32encode(body + key.sign(_DOMAIN + body)).decode().rstrip("=")


def verify(text: str, keys: Iterable[Ed25519PublicKey]) -> ShortForm | None:
    """What a code says, or None unless one of ``keys`` signed exactly this text; white space around and in it is
    forgiven, for scanners wrap lines."""
    written = "".join(text.split())
    packed = _packed(written)
    if packed is None or len(packed) != _BODY.size + _SIGNATURE:
        return None
    body, signature = packed[: _BODY.size], packed[_BODY.size :]
    version, key_id, serial, day, days = _BODY.unpack(body)
    if version != _VERSION:
        return None
    for key in keys:
        if _key_id(key) == key_id and _signed(key, signature, body):
            return ShortForm(serial.hex(), _EPOCH + timedelta(days=day), days)
    return None


def number(form: ShortForm) -> str:
    """The number that people read and say: year of issue and 60 bits of the serial, such as 2026-7K3Q-9D2M-0XZ4."""
    bits = int(form.serial, 16) >> 20
    letters = "".join(_NUMBERS[bits >> shift & 31] for shift in range(55, -5, -5))
    return "-".join([str(form.issued.year), letters[:4], letters[4:8], letters[8:]])


def _packed(written: str) -> bytes | None:
    if not written.startswith(PREFIX):
        return None
    letters = written.removeprefix(PREFIX)
    try:
        packed = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except (binascii.Error, ValueError):
        return None
    # Base32 has spare bits at its end: another last letter could stand for the same bytes.
    return packed if base64.b32encode(packed).decode().rstrip("=") == letters else None


def _key_id(key: Ed25519PublicKey) -> bytes:
    return hashlib.sha256(key.public_bytes_raw()).digest()[:4]


def _signed(key: Ed25519PublicKey, signature: bytes, body: bytes) -> bool:
    try:
        key.verify(signature, _DOMAIN + body)
    except InvalidSignature:
        return False
    return True
