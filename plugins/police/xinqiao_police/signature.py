"""Standard Webhooks: HMAC-SHA256 over ``id.timestamp.`` and the raw body, several secrets and signatures for rotation.

The distribution ``standardwebhooks`` knows one secret and a fixed clock, and breaks on a malformed signature or a body
that is no text; it is the independent judge in the tests instead.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Final

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
TOLERANCE_S: Final = 300

_PREFIX = "whsec_"
_MIN_KEY, _MAX_KEY = 24, 64
_MAX_SIGNATURES = 16
_ID = re.compile(r"[!-~]{1,128}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)


class NotSigned(Exception):
    """The request is not one of the partner's. ``reason`` is ``SIGNATURE`` or ``STALE``."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


def key_of(secret: str) -> bytes:
    """The key in ``whsec_`` and base64. Raises ValueError: another form, or not 24 to 64 bytes."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(_PREFIX) or not _MIN_KEY <= len(key) <= _MAX_KEY:
        raise ValueError("a webhook secret is whsec_ and 24 to 64 bytes in base64")
    return key


def sign(keys: Sequence[bytes], message_id: str, seconds: int, body: bytes) -> dict[str, str]:
    """The three headers; one signature for each key, so that a partner that still has the old one takes it too."""
    signatures = " ".join(f"v1,{base64.b64encode(_mac(key, message_id, str(seconds), body)).decode()}" for key in keys)
    return {ID: message_id, TIMESTAMP: str(seconds), SIGNATURE: signatures}


def verify(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now_s: float) -> str:
    """The message's id, if any signature fits any key and the time is within 300 s of ``now_s``. Raises NotSigned.

    ``headers`` has lower-case names. The body is compared as it came: what re-writes it on the way breaks it.
    """
    message_id, stamp = headers.get(ID, ""), headers.get(TIMESTAMP, "")
    if _ID.fullmatch(message_id) is None or _SECONDS.fullmatch(stamp) is None:
        raise NotSigned("SIGNATURE", f"{ID} and {TIMESTAMP} (whole seconds) must be given")
    given = list(_given(headers.get(SIGNATURE, "")))
    expected = [_mac(key, message_id, stamp, body) for key in keys]
    # Every pair is compared: how long it takes says nothing about which one fits.
    fits = [hmac.compare_digest(one, other) for one in given for other in expected]
    if not any(fits):
        raise NotSigned("SIGNATURE", f"no v1 signature in {SIGNATURE} fits the body as it came and an agreed secret")
    if abs(now_s - int(stamp)) > TOLERANCE_S:
        raise NotSigned("STALE", f"{TIMESTAMP} is more than {TOLERANCE_S} s away; sign each try anew, check the clock")
    return message_id


def _given(header: str) -> "list[bytes]":
    found: list[bytes] = []
    for word in header.split(" ")[:_MAX_SIGNATURES]:
        version, _, text = word.partition(",")
        if version != "v1":
            continue  # another scheme beside it is not our concern
        try:
            found.append(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            continue
    return found


def _mac(key: bytes, message_id: str, stamp: str, body: bytes) -> bytes:
    return hmac.digest(key, f"{message_id}.{stamp}.".encode() + body, hashlib.sha256)
