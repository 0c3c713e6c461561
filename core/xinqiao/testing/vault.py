"""A simulator of Vault's transit engine: its HTTP API on a real socket of this machine, with faults, for tests only."""

import base64
import binascii
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, cast

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12


class VaultSimulator:
    """One transit mount with keys of type ``aes256-gcm96``; a context manager that listens from entry to exit.

    ``sealed`` makes it answer 503, ``denied`` 403, ``silent`` close the connection unanswered. ``asked`` lists
    ``METHOD path`` of every request.
    """

    def __init__(self, token: str = "s.simulated", mount: str = "transit") -> None:  # noqa: S107, a test's token
        self.token = token
        self.sealed = self.denied = self.silent = False
        self.asked: list[str] = []
        self._mount = mount
        self._keys: dict[str, _Key] = {}
        self._lock = threading.Lock()
        simulator = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._do("GET")

            def do_POST(self) -> None:
                self._do("POST")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002, the name of the base class
                """Nothing: tests read ``asked``."""

            def _do(self, method: str) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                simulator.asked.append(f"{method} {self.path}")
                if simulator.silent:
                    self.close_connection = True
                    return
                token = self.headers.get("X-Vault-Token", "")
                try:
                    status, data = simulator.answer(method, self.path, token, json.loads(body or b"{}"))
                except ValueError:
                    status, data = 400, {"errors": ["error parsing JSON"]}
                payload = json.dumps(data).encode() if data is not None else b""
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def create_key(self, name: str) -> None:
        """As ``vault write -f transit/keys/{name}``."""
        self._keys[name] = _Key()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, method: str, path: str, token: str, body: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
        """Status and body of one request."""
        if self.sealed:
            return 503, {"errors": ["Vault is sealed"]}
        if token != self.token or self.denied:
            return 403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]}
        head, _, rest = path.removeprefix("/v1/").partition("/")
        parts = rest.split("/")
        if head != self._mount or len(parts) < 2:
            return 404, {"errors": [f"no handler for route {path!r}"]}
        name = parts[1]
        with self._lock:
            key = self._keys.get(name)
            if key is None:
                return (400, {"errors": ["encryption key not found"]}) if method == "POST" else (404, {"errors": []})
            try:
                return self._do(key, name, method, (parts[0], *parts[2:]), body)
            except (_Wrong, binascii.Error, KeyError, TypeError) as error:
                return 400, {"errors": [str(error) if isinstance(error, _Wrong) else "invalid request"]}

    def _do(
        self, key: "_Key", name: str, method: str, what: tuple[str, ...], body: dict[str, Any]
    ) -> tuple[int, dict[str, Any] | None]:
        match (method, *what):
            case ("POST", "encrypt"):
                return 200, {"data": key.encrypt(body)}
            case ("POST", "decrypt"):
                return 200, {"data": {"plaintext": key.decrypt(body)}}
            case ("GET", "keys"):
                return 200, {"data": {"name": name, "type": "aes256-gcm96", **key.facts()}}
            case ("POST", "keys", "rotate"):
                key.versions[key.latest + 1] = os.urandom(32)
                return 200, {"data": {"name": name, **key.facts()}}
            case ("POST", "keys", "config"):
                key.configure(body)
                return 200, {"data": {"name": name, **key.facts()}}
            case ("POST", "keys", "trim"):
                key.trim(int(body["min_available_version"]))
                return 204, None
            case _:
                return 405, {"errors": ["unsupported operation"]}


class _Wrong(Exception):
    """What Vault answers 400 for."""


class _Key:
    """One named key and its versions."""

    def __init__(self) -> None:
        self.versions = {1: os.urandom(32)}
        self._min_decryption, self._min_encryption, self._min_available = 1, 0, 0

    @property
    def latest(self) -> int:
        return max(self.versions)

    def facts(self) -> dict[str, object]:
        return {
            "keys": {str(v): 1_760_000_000 + v for v in self.versions if v >= self._min_decryption},
            "latest_version": self.latest, "min_decryption_version": self._min_decryption,
            "min_encryption_version": self._min_encryption, "min_available_version": self._min_available,
            "deletion_allowed": False, "exportable": False,
        }  # fmt: skip

    def encrypt(self, body: dict[str, Any]) -> dict[str, object]:
        version = int(body.get("key_version") or 0) or self.latest
        if version > self.latest:
            raise _Wrong("requested version for encryption is higher than the latest key version")
        if version < self._min_encryption or version not in self.versions:
            raise _Wrong("requested version for encryption is less than the minimum encryption key version")
        nonce = os.urandom(_NONCE)
        sealed = AESGCM(self.versions[version]).encrypt(nonce, _decoded(body["plaintext"]), _about(body))
        return {"ciphertext": f"vault:v{version}:{base64.b64encode(nonce + sealed).decode()}", "key_version": version}

    def decrypt(self, body: dict[str, Any]) -> str:
        prefix, _, rest = str(body["ciphertext"]).removeprefix("vault:v").partition(":")
        if not prefix.isdecimal():
            raise _Wrong("invalid ciphertext: no prefix")
        version = int(prefix)
        if version < self._min_decryption or version not in self.versions:
            raise _Wrong("ciphertext or signature version is disallowed by policy (too old)")
        blob = _decoded(rest)
        try:
            plain = AESGCM(self.versions[version]).decrypt(blob[:_NONCE], blob[_NONCE:], _about(body))
        except (InvalidTag, ValueError):
            raise _Wrong("cipher: message authentication failed") from None
        return base64.b64encode(plain).decode()

    def configure(self, body: dict[str, Any]) -> None:
        for name in ("min_decryption_version", "min_encryption_version"):
            if int(body.get(name, 0)) > self.latest:
                raise _Wrong(f"cannot set {name} greater than the latest key version")
        self._min_decryption = int(body.get("min_decryption_version") or self._min_decryption)
        self._min_encryption = int(body.get("min_encryption_version", self._min_encryption))

    def trim(self, least: int) -> None:
        if not self._min_encryption:
            raise _Wrong("minimum available version cannot be set when minimum encryption version is not set")
        if least > min(self._min_encryption, self._min_decryption):
            raise _Wrong("minimum available version cannot be higher than minimum encryption or decryption version")
        if least < self._min_available:
            raise _Wrong("minimum available version cannot be decremented")
        self._min_available = least
        self.versions = {version: key for version, key in self.versions.items() if version >= least}


def _decoded(text: object) -> bytes:
    return base64.b64decode(cast(str, text), validate=True)


def _about(body: dict[str, Any]) -> bytes | None:
    return _decoded(body["associated_data"]) if body.get("associated_data") else None
