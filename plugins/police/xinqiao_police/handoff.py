"""The token of a three-way call (12355/12356, 110, the caller): where the call came from and on what its location rests.

A JWE in compact form (RFC 7516), ``dir`` with ``A256GCM``: whoever carries it can read nothing but its header, and only
a holder of the shared key can have made it. Short-lived, and taken once.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from xinqiao.adapters import durable
from xinqiao_police.messages import BASES
from xinqiao_police.wire import NotUnderstood, dump, is_object

LIFE_S: Final = 300
"""Longest life of a token, seconds."""

_HEADER: Final = {"alg": "dir", "enc": "A256GCM", "typ": "JWT"}
_PLACE = "data.token"
_ID = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)
_LINE = re.compile(r"[0-9a-f]{64} [0-9a-f]{64} [0-9]{1,12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What is personal about a call. ``basis`` is one of ``messages.BASES``; times are seconds since 1970."""

    call: str
    origin_number: str
    location: str
    basis: str
    line: str = ""
    issued_s: int = 0
    expires_s: int = 0
    token_id: str = ""


def handoff_key(text: str) -> bytes:
    """The key in base64. Raises ValueError where it is not 32 bytes."""
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise ValueError("a hand-off key is 32 bytes in base64")
    return key


def issue(
    key: bytes, facts: CallFacts, *, audience: str, now_s: float, life_s: int = 120, token_id: str = ""
) -> str:  # fmt: skip
    """A token for ``audience``, valid for ``life_s`` seconds, with an id of its own unless ``token_id`` gives it.

    The same content is sealed in the same bytes: the nonce is a keyed hash of it, so none is ever used for two.
    """
    claims = {
        "aud": audience, "iat": int(now_s), "exp": int(now_s) + life_s, "jti": token_id or secrets.token_urlsafe(18),
        "call": facts.call, "origin_number": facts.origin_number, "location": facts.location,
        "location_basis": facts.basis, "line": facts.line,
    }  # fmt: skip
    header, content = _encode(dump(_HEADER)), dump(claims)
    nonce = hmac.digest(key, content, "sha256")[:12]
    sealed = AESGCM(key).encrypt(nonce, content, header.encode())
    return f"{header}..{_encode(nonce)}.{_encode(sealed[:-16])}.{_encode(sealed[-16:])}"


def open_token(keys: Sequence[bytes], token: str, *, audience: str, call: str, now_s: float | None) -> CallFacts:
    """What the token carries. Raises NotUnderstood: made by nobody who has the key, for another, of another call, late.

    ``now_s`` is None where it was judged before and only its content is wanted.
    """
    claims = _claims(keys, token)
    texts = {name: claims.get(name) for name in ("aud", "jti", "call", "origin_number", "location", "location_basis")}
    issued, expires = claims.get("iat"), claims.get("exp")
    whole = isinstance(issued, int) and isinstance(expires, int) and all(isinstance(t, str) for t in texts.values())
    if not whole or texts["location_basis"] not in BASES or not _ID.fullmatch(str(texts["jti"])):
        raise NotUnderstood("TOKEN/CLAIMS", _PLACE, f"aud, iat, exp, jti, call, location_basis ({', '.join(BASES)})")
    facts = CallFacts(
        str(texts["call"]), str(texts["origin_number"])[:40], str(texts["location"])[:400],
        str(texts["location_basis"]), str(claims.get("line", ""))[:40], int(issued or 0), int(expires or 0),
        str(texts["jti"]),
    )  # fmt: skip
    if texts["aud"] != audience or facts.call != call:
        raise NotUnderstood("TOKEN/AUDIENCE", _PLACE, "made for another gateway, or of another call")
    if now_s is not None and not (facts.issued_s - LIFE_S <= now_s < facts.expires_s <= facts.issued_s + LIFE_S):
        raise NotUnderstood("TOKEN/EXPIRED", _PLACE, f"expired, or longer-lived than {LIFE_S} s; issue another")
    return facts


class UsedTokens:
    """Tokens that were taken, by hash, kept on disk until they could not be used any more anyway."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        lines = path.read_text("ascii").splitlines() if path.exists() else []
        # A line torn by a crash is of a token that was not acknowledged.
        parts = [line.split() for line in lines if _LINE.fullmatch(line)]
        self._by: dict[str, tuple[str, int]] = {token: (message, int(end)) for token, message, end in parts}

    def take(self, facts: CallFacts, message_id: str, now_s: float) -> None:
        """Take it for one message, on disk when this returns; again for the same message is a repeat, not a use.

        Raises NotUnderstood TOKEN/USED, or OSError.
        """
        token, message = _hash(facts.token_id), _hash(message_id)
        with self._lock:
            known = self._by.get(token)
            if known is not None:
                if known[0] != message:
                    raise NotUnderstood("TOKEN/USED", _PLACE, "taken before; a token is for one message: issue another")
                return
            if len(self._by) > 1000:
                self._by = {key: value for key, value in self._by.items() if value[1] > now_s - LIFE_S}
                lines = "".join(f"{key} {by} {end}\n" for key, (by, end) in self._by.items())
                durable.replace(self._path, lines.encode())
            durable.append(self._path, f"{token} {message} {facts.expires_s}\n".encode())
            self._by[token] = (message, facts.expires_s)


def _claims(keys: Sequence[bytes], token: str) -> dict[str, Any]:
    parts = token.split(".")
    try:
        header_text, empty, nonce, sealed, tag = parts
        header: object = json.loads(_decode(header_text))
        if empty or not is_object(header) or (header.get("alg"), header.get("enc")) != ("dir", "A256GCM"):
            raise ValueError
        blob = _decode(sealed) + _decode(tag)
        opened = [_opened(key, _decode(nonce), blob, header_text.encode("ascii")) for key in keys]
    except (ValueError, RecursionError):
        raise NotUnderstood("TOKEN/FORM", _PLACE, "a compact JWE of alg dir, enc A256GCM is expected") from None
    for plain in opened:
        if plain is not None:
            found: object = json.loads(plain)
            return found if is_object(found) else {}
    raise NotUnderstood("TOKEN/FORGED", _PLACE, "not made with a key that was agreed")


def _opened(key: bytes, nonce: bytes, blob: bytes, header: bytes) -> bytes | None:
    try:
        return AESGCM(key).decrypt(nonce, blob, header)
    except InvalidTag:
        return None


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode("ascii").rstrip("=")


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
