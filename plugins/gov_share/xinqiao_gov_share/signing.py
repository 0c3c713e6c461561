"""How a request shows who sends it: HMAC over method, path, time, nonce and the digest of the body.

The text that is signed, joined by line feeds: ``METHOD``, path with its query, seconds since 1970 UTC, nonce, body
digest in hexadecimal. Digest and HMAC use the same hash: SHA-256, or SM3 (GB/T 32905) where the platform asks for it.
"""

import base64
import hmac as constant_time
from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256, SM3, Hash, HashAlgorithm
from cryptography.hazmat.primitives.hmac import HMAC

APP, TIME, NONCE, ALGORITHM, SIGNATURE = (
    "X-Share-App", "X-Share-Timestamp", "X-Share-Nonce", "X-Share-Algorithm", "X-Share-Signature",
)  # fmt: skip
TOLERANCE_S: Final = 300
_HASHES: Mapping[str, type[HashAlgorithm]] = {"hmac-sha256": SHA256, "hmac-sm3": SM3}


def signature(algorithm: str, secret: str, *, method: str, path: str, timestamp: str, nonce: str, body: bytes) -> str:
    """The signature in base64. Raises KeyError for an algorithm that is not on the list."""
    digest = Hash(_HASHES[algorithm]())
    digest.update(body)
    mac = HMAC(secret.encode(), _HASHES[algorithm]())
    mac.update("\n".join((method, path, timestamp, nonce, digest.finalize().hex())).encode())
    return base64.b64encode(mac.finalize()).decode()


def signed_headers(
    algorithm: str, app_id: str, secret: str, *, method: str, path: str, timestamp: str, nonce: str, body: bytes
) -> dict[str, str]:
    """The headers of a signed request."""
    made = signature(algorithm, secret, method=method, path=path, timestamp=timestamp, nonce=nonce, body=body)
    return {APP: app_id, TIME: timestamp, NONCE: nonce, ALGORITHM: algorithm, SIGNATURE: made}


def is_genuine(given: str, expected: str) -> bool:
    """Whether both are the same, in a time that tells nothing."""
    return constant_time.compare_digest(given.encode("utf-8", "replace"), expected.encode())
