"""Vault's transit engine as key provider, over its HTTP API: the master key never leaves Vault.

The token needs ``update`` on ``{mount}/encrypt/{key}``, ``decrypt/{key}`` and ``read`` on ``keys/{key}``; to rotate and
destroy also ``update`` on ``keys/{key}/rotate``, ``keys/{key}/config`` and ``keys/{key}/trim``.
"""

import base64
import binascii
import http.client
import json
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import urlsplit

from xinqiao.contract.errors import Refusal
from xinqiao.store.providers import KEY_BYTES, in_use, mismatch

_TIMEOUT_S: Final = 10.0
_MOST: Final = 1 << 20
_ABOUT: Final = base64.b64encode(b"xinqiao key-encryption key").decode()
_LOOPBACK: Final = ("127.0.0.1", "::1")


class VaultTransit:
    """One named key of a transit engine, of a type that takes associated data (``aes256-gcm96``, Vault's default)."""

    name = "vault"

    def __init__(
        self,
        address: str,
        key: str,
        token: Callable[[], str],
        *,
        mount: str = "transit",
        ca: Path | None = None,
        namespace: str = "",
    ) -> None:
        """``address`` is https, or http to this machine; ``token`` is asked at every request, so it can be renewed."""
        parts = urlsplit(address)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise Refusal("INVALID_ARGUMENT", "KEY_PROVIDER", "store.vault.address: Vault is reached over https only")
        self._host, self._port = parts.hostname or "", parts.port
        self._tls = ssl.create_default_context(cafile=ca) if parts.scheme == "https" else None
        self._base = f"{parts.path.rstrip('/')}/v1/{mount}"
        self._key = key
        self._token = token
        self._namespace = namespace

    def wrap(self, version: int, key: bytes) -> bytes:
        body = {"plaintext": _b64(key), "key_version": version, "associated_data": _ABOUT}
        return str(self._ask("POST", f"encrypt/{self._key}", body).get("ciphertext", "")).encode()

    def unwrap(self, version: int, wrapped: bytes) -> bytes:
        text = wrapped.decode("ascii", "replace")
        if not text.startswith(f"vault:v{version}:"):
            raise mismatch()
        answer = self._ask("POST", f"decrypt/{self._key}", {"ciphertext": text, "associated_data": _ABOUT}, version)
        try:
            key = base64.b64decode(str(answer.get("plaintext", "")), validate=True)
        except binascii.Error:
            key = b""
        if len(key) != KEY_BYTES:
            raise mismatch()
        return key

    def rotate(self) -> int:
        self._ask("POST", f"keys/{self._key}/rotate", {})
        return self.health()[-1]  # Vault before 1.13 answers a rotation with nothing

    def destroy(self, version: int) -> None:
        versions = self.health()
        if version >= versions[-1]:
            raise in_use()
        if version < versions[0]:
            return
        least = version + 1
        # Trimming is refused unless both minima stand at least there.
        self._ask(
            "POST", f"keys/{self._key}/config", {"min_decryption_version": least, "min_encryption_version": least}
        )
        self._ask("POST", f"keys/{self._key}/trim", {"min_available_version": least})

    def health(self) -> list[int]:
        found = self._ask("GET", f"keys/{self._key}", None)
        least = max(int(found.get("min_decryption_version") or 1), int(found.get("min_available_version") or 1))
        return list(range(least, int(found.get("latest_version") or 0) + 1))

    def _ask(self, method: str, path: str, body: Mapping[str, object] | None, version: int = 0) -> dict[str, Any]:
        """The ``data`` of the answer. ``version`` is the one asked for when a refusal may be about it."""
        headers = {"X-Vault-Request": "true", "X-Vault-Token": self._reveal(), "Content-Type": "application/json"}
        if self._namespace:
            headers["X-Vault-Namespace"] = self._namespace
        connection = (
            http.client.HTTPSConnection(self._host, self._port, timeout=_TIMEOUT_S, context=self._tls)
            if self._tls is not None
            else http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)
        )
        try:
            connection.request(method, f"{self._base}/{path}", None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            status, data = response.status, response.read(_MOST)
        except (OSError, http.client.HTTPException) as error:
            raise _down(f"{self._host} does not answer ({type(error).__name__})") from None
        finally:
            connection.close()
        if status == 204:
            return {}
        if status == 200:
            try:
                answer = cast("dict[str, Any]", json.loads(data))
                return cast("dict[str, Any]", answer["data"])
            except (ValueError, KeyError, TypeError):
                raise _down("the answer is not Vault's") from None
        raise self._refused(status, path, version)

    def _refused(self, status: int, path: str, version: int) -> Refusal:
        """Vault's own words are not passed on: an answer may quote what was asked."""
        if status == 403:
            return Refusal(
                "FAILED_PRECONDITION", "KEY_PROVIDER_DENIED", f"Vault denies this token `{path}`: see its policy"
            )
        if status == 404:
            return Refusal(
                "FAILED_PRECONDITION", "KEY_PROVIDER_KEY", f"Vault has no `{path}`: create the key, check the mount"
            )
        if status == 400 and version:
            return mismatch() if version in self.health() else gone(version)
        if status == 400:
            return Refusal("FAILED_PRECONDITION", "KEY_VERSION", f"Vault refuses `{path}`: no such key version")
        return _down(f"Vault answers {status}" + (": it is sealed" if status == 503 else ""))

    def _reveal(self) -> str:
        try:
            return self._token()
        except (LookupError, OSError) as error:
            raise Refusal("FAILED_PRECONDITION", "KEY_PROVIDER_DENIED", f"store.vault.token: {error}") from None


def gone(version: int) -> Refusal:
    """A version that was destroyed, or never was."""
    return Refusal("FAILED_PRECONDITION", "KEY_VERSION", f"the provider has no version {version} of the master key")


def _down(why: str) -> Refusal:
    return Refusal("UNAVAILABLE", "KEY_PROVIDER", f"the key provider is not to be had: {why}", retry_after_s=5.0)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
